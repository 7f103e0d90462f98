"""Logging in and out. What fails is counted, takes its time, and says the same whether or not there is such an account."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from litestar import Router, post
from litestar.params import JSONBody

from api.auth import PUBLIC, WITHOUT_FACTOR, refusal
from api.dependencies import GivenCaller, GivenNow, GivenOrigin, GivenResources
from api.log_in import Attempt, known_key, lock_unchanged, note_failure
from api.passwords import check_new_password
from api.proxies import source_group
from api.resources import Resources
from contracts.access import Action, ChangePassword, EnrolRequest, RefreshRequest, Tokens
from contracts.problems import Problem, ProblemCode
from storage.audit_log import Note, insert_note
from storage.credentials import fetch_login_of, lock_login, update_password
from storage.pool import transaction
from storage.rate_limit import bucket_key, forget, take
from storage.tokens import Pair, Reused, end_device_tokens, end_person_tokens, rotate

BODY_BYTES_MAX: Final = 16 * 1024


@post("/enrol", opt=PUBLIC, status_code=200, summary="登录并登记设备 · Log in and enrol this device")
async def enrol_device(data: JSONBody[EnrolRequest], resources: GivenResources, now: GivenNow, origin: GivenOrigin) -> Tokens:
    """Phone number and password for a pair of tokens. The phone makes its own device id, once per local store."""
    attempt = Attempt(data, resources, now, origin)
    pair = await attempt.log_in()
    resources.metrics.logins.labels("ok").inc()
    return _tokens(pair, now, resources.account_keys.proof(pair.person, pair.device, pair.enrolled_at or now))


def _tokens(pair: Pair, now: datetime, proof: str = "") -> Tokens:
    return Tokens(
        access=pair.access,
        access_ends=pair.access_ends,
        refresh=pair.refresh,
        refresh_ends=pair.refresh_ends,
        person=pair.person,
        device=pair.device,
        server_ms=int(now.timestamp() * 1000),
        proof=proof,
    )


@post("/refresh", opt=PUBLIC, status_code=200, summary="换取新凭证 · A new pair of tokens")
async def refresh_tokens(data: JSONBody[RefreshRequest], resources: GivenResources, now: GivenNow, origin: GivenOrigin) -> Tokens:
    """A pair for a refresh token. The old one stays good until the new one is used: this answer may be lost.

    The same token again within minutes gets the same pair.
    """
    async with transaction(resources.pool) as conn:
        pair = await rotate(conn, data.refresh, now, resources.access.lifetimes, resources.access.wiped_for)
        if isinstance(pair, Pair) and (wait_s := await take(conn, bucket_key("session", str(pair.device)), resources.access.session, now)):
            raise Problem(ProblemCode.TOO_MANY_REQUESTS, retry_after_s=wait_s)
        if isinstance(pair, Reused):
            note = Note(action=Action.REFRESH_REUSED, about=pair.person, device=pair.device, subject=str(pair.device))
            await insert_note(conn, note, origin, now)
    if isinstance(pair, Pair):
        return _tokens(pair, now)
    # only what is no token counts against the address: others behind it refresh as ever
    if wait_s := await take(resources.pool, bucket_key("refresh", source_group(origin.source)), resources.access.refresh, now):
        raise Problem(ProblemCode.TOO_MANY_REQUESTS, retry_after_s=wait_s)
    if isinstance(pair, Reused):
        raise Problem(ProblemCode.NOT_AUTHENTICATED, "登录凭证被重复使用，请重新登录", reused=True)
    raise refusal(pair)


@post("/logout", status_code=204, summary="退出登录 · Log out")
async def log_out(caller: GivenCaller, resources: GivenResources, now: GivenNow, origin: GivenOrigin) -> None:
    """End the tokens of this device. Its records and unsent work stay on it."""
    async with transaction(resources.pool) as conn:
        await lock_login(conn, caller.person)
        await end_device_tokens(conn, caller.device)
        note = Note(action=Action.LOGGED_OUT, person=caller.person, device=caller.device, subject=str(caller.device))
        await insert_note(conn, note, origin, now)


@post("/password", status_code=204, summary="修改密码 · Change password")
async def change_password(
    data: JSONBody[ChangePassword],
    caller: GivenCaller,
    resources: GivenResources,
    now: GivenNow,
    origin: GivenOrigin,
) -> None:
    """Needs the old one. All other devices must log in again; what they hold unsent stays on them."""
    login = await fetch_login_of(resources.pool, caller.person)
    tries = known_key(login.phone, str(caller.device))  # strangers' wrong tries do not count here
    await _count(tries, resources, now)
    party = source_group(origin.source)
    if not await resources.passwords.is_right(login.password_hash, data.old, party):
        if await resources.passwords.is_right(login.password_hash, data.new, party):
            await forget(resources.pool, tries)
            return  # it is the new one already: the answer was lost
        await note_failure(Action.LOGIN_FAILED, caller.person, "password", resources, now, origin)
        raise Problem(ProblemCode.WRONG_CREDENTIALS)
    await forget(resources.pool, tries)
    check_new_password(data.new, login.phone, old=data.old)
    new_hash = await resources.passwords.hash(data.new, party)
    async with transaction(resources.pool) as conn:
        await lock_unchanged(conn, login)
        await update_password(conn, caller.person, new_hash)
        await end_person_tokens(conn, caller.person, but=caller.device)
        note = Note(action=Action.PASSWORD_CHANGED, person=caller.person, device=caller.device, subject=str(caller.person))
        await insert_note(conn, note, origin, now)


async def _count(tries: str, resources: Resources, now: datetime) -> None:
    if wait_s := await take(resources.pool, tries, resources.access.account, now):
        raise Problem(ProblemCode.ACCOUNT_LOCKED, retry_after_s=wait_s)


ACCOUNTS: Final = Router(
    "/auth/v1",
    opt=WITHOUT_FACTOR,
    route_handlers=[enrol_device, refresh_tokens, log_out, change_password],
    tags=["auth"],
    request_max_body_size=BODY_BYTES_MAX,
)
