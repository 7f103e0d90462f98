"""Logging in and out. What fails is counted, takes its time, and says the same whether or not there is such an account."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from litestar import Router, post
from litestar.params import JSONBody

from api.auth import PUBLIC, refusal
from api.dependencies import GivenCaller, GivenNow, GivenOrigin, GivenResources
from api.passwords import check_new_password
from api.proxies import source_group
from api.resources import Resources
from contracts.access import Action, ChangePassword, DeviceIn, EnrolRequest, RefreshRequest, Tokens
from contracts.ids import PersonId
from contracts.problems import Problem, ProblemCode
from storage.audit_log import Note, Origin, insert_note
from storage.credentials import Login, fetch_login, fetch_login_of, lock_login, rehash, update_password
from storage.devices import enrol
from storage.pool import Connection, transaction
from storage.rate_limit import bucket_key, forget, give_back, take
from storage.tokens import Pair, Refused, Reused, end_device_tokens, end_person_tokens, rotate

BODY_BYTES_MAX: Final = 16 * 1024


@post("/enrol", opt=PUBLIC, status_code=200, summary="登录并登记设备 · Log in and enrol this device")
async def enrol_device(data: JSONBody[EnrolRequest], resources: GivenResources, now: GivenNow, origin: GivenOrigin) -> Tokens:
    """Phone number and password for a pair of tokens. The phone makes its own device id, once per local store."""
    login = await _log_in(data.phone, data.password, resources, now, origin)
    refused = await _enrol(login, data.device, resources, now, origin)
    if isinstance(refused, ProblemCode):
        raise Problem(refused, new_device_id_needed=True)
    resources.metrics.logins.labels("ok").inc()
    return _tokens(refused, now)


async def _log_in(phone: str, password: str, resources: Resources, now: datetime, origin: Origin) -> Login:
    """Whose password it is. Every try takes a token of the account's and of the source's bucket; a good one gives them back."""
    rules, pool = resources.access, resources.pool
    account, source = bucket_key("account", phone), bucket_key("source", source_group(origin.source))
    if wait_s := await take(pool, source, rules.source, now):
        resources.metrics.logins.labels("source_limited").inc()
        raise Problem(ProblemCode.TOO_MANY_REQUESTS, retry_after_s=wait_s)
    login = await fetch_login(pool, phone)
    if wait_s := await take(pool, account, rules.account, now):
        await _note_failure(Action.LOGIN_LOCKED, login.id if login else None, resources, now, origin)
        raise Problem(ProblemCode.ACCOUNT_LOCKED, retry_after_s=wait_s)
    if not await resources.passwords.is_right(login.password_hash if login else None, password) or login is None:
        await _note_failure(Action.LOGIN_FAILED, login.id if login else None, resources, now, origin)
        raise Problem(ProblemCode.WRONG_CREDENTIALS)
    await forget(pool, account)
    await give_back(pool, source)
    if login.disabled_at is not None:
        raise Problem(ProblemCode.ACCOUNT_DISABLED)
    if resources.passwords.is_old(login.password_hash):
        await rehash(pool, login.id, login.password_hash, await resources.passwords.hash(password))
    return login


async def _lock_unchanged(conn: Connection, login: Login) -> None:
    """Nobody changes the account until the transaction ends; Problem when somebody has since the password was checked."""
    now_it_is = await lock_login(conn, login.id)
    if now_it_is.credential != login.credential:
        raise Problem(ProblemCode.WRONG_CREDENTIALS)
    if now_it_is.disabled_at is not None:
        raise Problem(ProblemCode.ACCOUNT_DISABLED)


async def _note_failure(action: Action, person: PersonId | None, resources: Resources, now: datetime, origin: Origin) -> None:
    resources.metrics.logins.labels(action.value).inc()
    async with transaction(resources.pool) as conn:
        await insert_note(conn, Note(action=action, about=person, subject=str(person) if person else None), origin, now)


async def _enrol(login: Login, device: DeviceIn, resources: Resources, now: datetime, origin: Origin) -> Pair | ProblemCode:
    async with transaction(resources.pool) as conn:
        await _lock_unchanged(conn, login)
        pair = await enrol(conn, login.id, device, now, resources.access.lifetimes)
        if isinstance(pair, Pair):
            detail = {"kind": device.kind.value, "name": device.name}
            note = Note(action=Action.ENROLLED, person=login.id, device=device.id, subject=str(device.id), detail=detail)
            await insert_note(conn, note, origin, now)
    return pair


def _tokens(pair: Pair, now: datetime) -> Tokens:
    return Tokens(
        access=pair.access,
        access_ends=pair.access_ends,
        refresh=pair.refresh,
        refresh_ends=pair.refresh_ends,
        person=pair.person,
        device=pair.device,
        server_ms=int(now.timestamp() * 1000),
    )


@post("/refresh", opt=PUBLIC, status_code=200, summary="换取新凭证 · A new pair of tokens")
async def refresh_tokens(data: JSONBody[RefreshRequest], resources: GivenResources, now: GivenNow, origin: GivenOrigin) -> Tokens:
    """A pair for a refresh token. The old one stays good until the new one is used: this answer may be lost.

    The same token again within minutes gets the same pair.
    """
    source = bucket_key("refresh", source_group(origin.source))
    if wait_s := await take(resources.pool, source, resources.access.refresh, now):
        raise Problem(ProblemCode.TOO_MANY_REQUESTS, retry_after_s=wait_s)
    async with transaction(resources.pool) as conn:
        pair = await rotate(conn, data.refresh, now, resources.access.lifetimes, resources.access.wiped_for)
        if isinstance(pair, Pair) and (wait_s := await take(conn, bucket_key("session", str(pair.device)), resources.access.session, now)):
            raise Problem(ProblemCode.TOO_MANY_REQUESTS, retry_after_s=wait_s)
        if isinstance(pair, Reused):
            note = Note(action=Action.REFRESH_REUSED, about=pair.person, device=pair.device, subject=str(pair.device))
            await insert_note(conn, note, origin, now)
    match pair:
        case Pair():
            await give_back(resources.pool, source)
            return _tokens(pair, now)
        case Reused():
            raise Problem(ProblemCode.NOT_AUTHENTICATED, "登录凭证被重复使用，请重新登录", reused=True)
        case Refused():
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
    account = bucket_key("account", login.phone)
    if wait_s := await take(resources.pool, account, resources.access.account, now):
        raise Problem(ProblemCode.ACCOUNT_LOCKED, retry_after_s=wait_s)
    if not await resources.passwords.is_right(login.password_hash, data.old):
        await _note_failure(Action.LOGIN_FAILED, caller.person, resources, now, origin)
        raise Problem(ProblemCode.WRONG_CREDENTIALS)
    await forget(resources.pool, account)
    check_new_password(data.new, login.phone, data.old)
    new_hash = await resources.passwords.hash(data.new)
    async with transaction(resources.pool) as conn:
        await _lock_unchanged(conn, login)
        await update_password(conn, caller.person, new_hash)
        await end_person_tokens(conn, caller.person, but=caller.device)
        note = Note(action=Action.PASSWORD_CHANGED, person=caller.person, device=caller.device, subject=str(caller.person))
        await insert_note(conn, note, origin, now)


ACCOUNTS: Final = Router(
    "/auth/v1",
    route_handlers=[enrol_device, refresh_tokens, log_out, change_password],
    tags=["auth"],
    request_max_body_size=BODY_BYTES_MAX,
)
