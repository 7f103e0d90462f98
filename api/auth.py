"""Token -> `Caller`, before any handler runs. A route is closed unless it says otherwise, in its `opt`:

public=True      no token needed (log-in, health, documentation)
push_only=True   also for a wiped device, which may only hand in
limited=True     counted against the person's rate
without_factor   kinds of device that may ask also when their person's roles need a second factor that the log-in has not shown
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from litestar.connection import ASGIConnection
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from api.resources import AccessRules, Resources
from contracts.caller import Caller, DeviceKind
from contracts.problems import Problem, ProblemCode
from storage.access import fetch_caller
from storage.devices import spend_allowance
from storage.pool import retrying
from storage.tokens import Refused, hash_token
from sync.administration import SECOND_FACTOR_ROLES
from sync.scope import open_duties

PUBLIC = {"public": True}
PUSH_ONLY = {"push_only": True, "limited": True}
LIMITED = {"limited": True}
WITHOUT_FACTOR = {"without_factor": tuple(DeviceKind)}  # setting one up
PHONE_WITHOUT_FACTOR = {"without_factor": (DeviceKind.PHONE,)}  # what a phone does in the field


class Authenticate(AbstractAuthenticationMiddleware):
    """Litestar calls `authenticate_request` for every route that is not public."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        resources: Resources = connection.app.state.resources
        token = bearer_token(connection.headers.get("authorization", ""))
        now, wiped_for = resources.now(), resources.access.wiped_for
        found = await retrying(lambda: fetch_caller(resources.pool, hash_token(token), now, wiped_for))
        if isinstance(found, Refused):
            raise refusal(found)
        opt = connection.route_handler.opt
        if (found.wiped or found.cloned) and not opt.get("push_only"):
            raise refusal(Refused(ProblemCode.DEVICE_REVOKED, wipe=found.wiped))
        if found.device_kind not in opt.get("without_factor", ()) and lacks_second_factor(found, resources.access, now):
            raise Problem(ProblemCode.SECOND_FACTOR_REQUIRED)
        if opt.get("limited"):
            await resources.person_limit.check(resources.pool, found.person, now)
        return AuthenticationResult(user=found, auth=token)


def lacks_second_factor(caller: Caller, rules: AccessRules, now: datetime) -> bool:
    """Whether the caller's roles need a second factor that this log-in has not shown."""
    if caller.strong or not rules.second_factor_required or (caller.demo and rules.demo):
        return False
    return any(duty.role in SECOND_FACTOR_ROLES for duty in open_duties(caller.duties, now))


def bearer_token(header: str) -> str:
    """The token of an `Authorization` header; Problem when there is none."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem(ProblemCode.NOT_AUTHENTICATED)
    return token.strip()


def refusal(refused: Refused) -> Problem:
    """The problem to answer with. A lost phone is told to wipe itself also when it may no longer hand in."""
    return Problem(refused.code, wipe=True) if refused.wipe else Problem(refused.code)


async def charge_wiped(resources: Resources, caller: Caller, body_bytes: int) -> None:
    """Count what a wiped or cloned device hands in (bytes, unpacked); Problem once it is more than a phone can hold."""
    if not caller.wiped and not caller.cloned:
        return
    if not await spend_allowance(resources.pool, caller.device, body_bytes, resources.access.wiped_bytes_max):
        raise refusal(Refused(ProblemCode.DEVICE_REVOKED, wipe=caller.wiped))
