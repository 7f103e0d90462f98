"""Setting up the second factor, seeing how it stands, and taking it from who has lost it (docs/access.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

from litestar import Router, get, post
from litestar.params import FromPath, JSONBody

from api.auth import WITHOUT_FACTOR, lacks_second_factor
from api.codes import hashes_of, is_code_right, new_recovery_codes, new_secret, provisioning_uri
from api.dependencies import Deed, GivenCaller, GivenDeed, GivenNow, GivenPlaces, GivenResources
from api.log_in import SECOND_FACTOR, known_key, lock_unchanged, note_failure
from api.resources import Resources
from contracts.access import Action, BeginSecondFactor, CodeIn, RecoveryCodes, SecondFactorDraft, SecondFactorState
from contracts.caller import Caller
from contracts.problems import Problem, ProblemCode
from storage.credentials import Login, fetch_login_of, lock_login
from storage.people import fetch_duties
from storage.pool import Connection, transaction
from storage.rate_limit import bucket_key, forget, take
from storage.second_factor import (
    Factor,
    confirm_factor,
    count_recovery_codes,
    delete_factor,
    fetch_draft,
    fetch_factor,
    replace_recovery_codes,
    set_draft,
    strengthen,
)
from storage.tokens import end_person_tokens
from sync.administration import person_refusal

BODY_BYTES_MAX: Final = 16 * 1024


@get("/", summary="第二因素状态 · How the second factor stands")
async def show(caller: GivenCaller, resources: GivenResources, now: GivenNow) -> SecondFactorState:
    """Whether there is one, whether this person's roles need one, and how many recovery codes are left."""
    factor = await fetch_factor(resources.pool, caller.person)
    left = await count_recovery_codes(resources.pool, caller.person)
    is_lacking = lacks_second_factor(caller, resources.access, now)
    return SecondFactorState(confirmed_at=factor.confirmed_at if factor else None, lacking=is_lacking, recovery_codes_left=left)


@post("/", status_code=201, summary="开始设置第二因素 · Begin to set up the second factor")
async def begin(data: JSONBody[BeginSecondFactor], caller: GivenCaller, resources: GivenResources, deed: GivenDeed) -> SecondFactorDraft:
    """The secret for an authenticator app, as text and as the URI of a QR code. It counts once a code of it is confirmed."""
    login = await _check_password(data.password, caller, resources, deed)
    secret = new_secret()
    async with transaction(resources.pool) as conn:
        await lock_unchanged(conn, login)
        if not await set_draft(conn, caller.person, resources.account_keys.seal(caller.person, secret)):
            raise Problem(
                ProblemCode.CONFLICTING_STATE,
                "已设置第二因素；手机丢失的，请用恢复码登录或由另一位管理员重置",
                reason="second_factor_exists",
            )
    return SecondFactorDraft(secret=secret, uri=provisioning_uri(secret, login.phone))


@post("/confirm", status_code=200, summary="确认第二因素 · Confirm the second factor")
async def confirm(data: JSONBody[CodeIn], caller: GivenCaller, resources: GivenResources, deed: GivenDeed) -> RecoveryCodes:
    """With a code of the new secret. The recovery codes are in this answer and nowhere else; other devices log in again, with a code."""
    codes = new_recovery_codes()
    async with _code_transaction(caller, resources, deed) as conn:
        await lock_login(conn, caller.person)  # a log-in under way was checked without it
        draft = await fetch_draft(conn, caller.person)
        if draft is None:
            raise Problem(ProblemCode.CONFLICTING_STATE, "没有待确认的第二因素，请先开始设置", reason="no_draft")
        await _use_code(conn, data.code, draft, resources, deed.now)
        await confirm_factor(conn, caller.person, deed.now)
        await replace_recovery_codes(conn, caller.person, hashes_of(resources.account_keys, caller.person, codes))
        await end_person_tokens(conn, caller.person, but=caller.device)
        await strengthen(conn, caller.device)
        await deed.tell(conn, deed.note(Action.SECOND_FACTOR_SET, caller.person, about=caller.person))
    return RecoveryCodes(codes=codes)


@post("/recovery-codes", status_code=200, summary="换一批恢复码 · New recovery codes")
async def renew_recovery_codes(data: JSONBody[CodeIn], caller: GivenCaller, resources: GivenResources, deed: GivenDeed) -> RecoveryCodes:
    """The old ones end. Needs a code."""
    codes = new_recovery_codes()
    async with _code_transaction(caller, resources, deed) as conn:
        factor = await fetch_factor(conn, caller.person)
        if factor is None:
            raise Problem(ProblemCode.CONFLICTING_STATE, "尚未设置第二因素，请先设置", reason="no_second_factor")
        await _use_code(conn, data.code, factor, resources, deed.now)
        await replace_recovery_codes(conn, caller.person, hashes_of(resources.account_keys, caller.person, codes))
        await deed.tell(conn, deed.note(Action.RECOVERY_CODES_RENEWED, caller.person, about=caller.person))
    return RecoveryCodes(codes=codes)


@post("/persons/{person_id:uuid}/second-factor/reset", status_code=204, summary="重置他人的第二因素 · Reset another person's second factor")
async def reset(person_id: FromPath[UUID], caller: GivenCaller, resources: GivenResources, places: GivenPlaces, deed: GivenDeed) -> None:
    """By an admin of all their open duties, and never one's own. The person is logged out, and sets it up anew at the next log-in."""
    if person_id == caller.person:
        raise Problem(ProblemCode.NOT_ALLOWED, "不能重置自己的第二因素，请由另一位管理员办理", reason="own_second_factor")
    if person_refusal(caller.duties, await fetch_duties(resources.pool, person_id), places, deed.now):
        raise Problem(ProblemCode.NOT_FOUND)
    async with transaction(resources.pool) as conn:
        await lock_login(conn, person_id)  # a log-in under way has used the old one
        if not await delete_factor(conn, person_id):
            raise Problem(ProblemCode.CONFLICTING_STATE, "该人员尚未设置第二因素，不需要重置", reason="no_second_factor")
        await end_person_tokens(conn, person_id)
        await deed.tell(conn, deed.note(Action.SECOND_FACTOR_RESET, person_id, about=person_id))


async def _check_password(password: str, caller: Caller, resources: Resources, deed: Deed) -> Login:
    """The caller's account, if this is the password: a console that was left open sets up nothing."""
    login = await fetch_login_of(resources.pool, caller.person)
    tries = known_key(login.phone, str(caller.device))
    if wait_s := await take(resources.pool, tries, resources.access.account, deed.now):
        raise Problem(ProblemCode.ACCOUNT_LOCKED, retry_after_s=wait_s)
    if not await resources.passwords.is_right(login.password_hash, password, str(caller.person)):
        await note_failure(Action.LOGIN_FAILED, caller.person, "password", resources, deed.now, deed.origin)
        raise Problem(ProblemCode.WRONG_CREDENTIALS)
    await forget(resources.pool, tries)
    return login


@asynccontextmanager
async def _code_transaction(caller: Caller, resources: Resources, deed: Deed) -> AsyncIterator[Connection]:
    """In which a code is used. A try is counted before it is looked at; a wrong one is noted once the rest is rolled back."""
    if wait_s := await take(resources.pool, bucket_key("code", str(caller.person)), resources.access.account, deed.now):
        raise Problem(ProblemCode.ACCOUNT_LOCKED, retry_after_s=wait_s)
    try:
        async with transaction(resources.pool) as conn:
            yield conn
    except Problem as refused:
        if refused.code is ProblemCode.SECOND_FACTOR_WRONG:
            await note_failure(Action.LOGIN_FAILED, caller.person, SECOND_FACTOR, resources, deed.now, deed.origin)
        raise


async def _use_code(conn: Connection, code: str, factor: Factor, resources: Resources, now: datetime) -> None:
    if not await is_code_right(conn, resources.account_keys, factor, code, now):
        raise Problem(ProblemCode.SECOND_FACTOR_WRONG)
    await forget(conn, bucket_key("code", str(factor.person)))


SECOND_FACTOR_ROUTES: Final = Router(
    "/auth/v1/second-factor",
    opt=WITHOUT_FACTOR,
    route_handlers=[show, begin, confirm, renew_recovery_codes],
    tags=["auth"],
    request_max_body_size=BODY_BYTES_MAX,
)

# closed to log-ins that have shown no second factor
SECOND_FACTOR_RESETS: Final = Router("/people/v1", route_handlers=[reset], tags=["people"], request_max_body_size=BODY_BYTES_MAX)
