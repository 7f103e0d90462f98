"""One try to log in: the password, where there is one the second factor, and a new password where somebody else knows this one.

Tries are counted before anything is checked. A device that was logged in before (its proof, docs/decisions/0029) has a count of its own, so
strangers' wrong tries lock out strangers only: neither the person on their own phone nor the township behind the same address.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from api.codes import is_code_right
from api.passwords import check_new_password
from api.proxies import source_group
from api.resources import Resources
from contracts.access import Action, EnrolRequest
from contracts.ids import PersonId
from contracts.problems import Problem, ProblemCode
from storage.audit_log import Note, Origin, insert_note
from storage.credentials import Login, fetch_login, lock_login, rehash, update_password
from storage.devices import enrol, make_room
from storage.pool import Connection, transaction
from storage.rate_limit import Rate, bucket_key, forget, give_back, take
from storage.second_factor import Factor, fetch_factor
from storage.tokens import Pair, end_person_tokens

SECOND_FACTOR: Final = "second_factor"
ROOM: Final = "room_for_another"  # of the audit log: why a device was retired


@dataclass(frozen=True)
class Attempt:
    """What is asked for, when and from where."""

    request: EnrolRequest
    resources: Resources
    now: datetime
    origin: Origin

    @property
    def party(self) -> str:
        return source_group(self.origin.source)

    async def log_in(self) -> Pair:
        """Tokens. Problem for what the person has to mend, or the device: with `new_device_id_needed` this id cannot have any."""
        login, is_changed = await self._check_password()
        await self._limit("logins", login, self.resources.access.logins, ProblemCode.TOO_MANY_REQUESTS)
        factor = await fetch_factor(self.resources.pool, login.id)
        if factor is not None and not self.request.code:
            raise Problem(ProblemCode.SECOND_FACTOR_NEEDED)
        if login.must_change and (is_changed or self.request.new_password is None):  # changed: to the password that is to go
            raise Problem(ProblemCode.PASSWORD_CHANGE_REQUIRED)
        if factor is not None:
            await self._limit("code", login, self.resources.access.account, ProblemCode.ACCOUNT_LOCKED)
        new_hash = None if is_changed else await self._new_hash(login)
        try:
            return await self._enrol(login, factor, new_hash)
        except Problem as refused:
            if refused.code is ProblemCode.SECOND_FACTOR_WRONG:
                await self.note_failure(Action.LOGIN_FAILED, login.id, SECOND_FACTOR)
            raise

    # ------------------------------------------------------------------------------------------ the password

    async def _check_password(self) -> tuple[Login, bool]:
        """Whose password it is, and whether it is the new one already: the answer to the change was lost."""
        pool = self.resources.pool
        login = await fetch_login(pool, self.request.phone)
        buckets = self._buckets(login)
        await self._take(buckets, login)
        is_right, is_changed = await self._is_right(login, self.request.password), False
        if not is_right and self.request.new_password is not None:
            await self._take(buckets, login)  # another guess, another try
            is_right = is_changed = await self._is_right(login, self.request.new_password)
        if not is_right or login is None:
            await self.note_failure(Action.LOGIN_FAILED, login.id if login else None)
            raise Problem(ProblemCode.WRONG_CREDENTIALS)
        await self._settle(buckets)
        if login.disabled_at is not None:
            raise Problem(ProblemCode.ACCOUNT_DISABLED)
        if not is_changed and self.resources.passwords.is_old(login.password_hash):
            again = await self.resources.passwords.hash(self.request.password, self.party)
            await rehash(pool, login.id, login.password_hash, again)
        return login, is_changed

    def _buckets(self, login: Login | None) -> dict[str, Rate]:
        """{key: rate} of what counts this try."""
        rules, device = self.resources.access, self.request.device
        if login is not None and self._enrolled_before(login) is not None:
            return {known_key(login.phone, str(device.id)): rules.account}
        return {bucket_key("source", self.party): rules.source, bucket_key("account", self.request.phone): rules.account}

    def _enrolled_before(self, login: Login) -> datetime | None:
        """When this device was enrolled first, if it has a proof that it was."""
        device = self.request.device
        return self.resources.account_keys.enrolled_at(device.proof, login.id, device.id)

    async def _take(self, buckets: dict[str, Rate], login: Login | None) -> None:
        for key, rate in buckets.items():
            if wait_s := await take(self.resources.pool, key, rate, self.now):
                if key.startswith("source"):
                    self.resources.metrics.logins.labels("source_limited").inc()
                    raise Problem(ProblemCode.TOO_MANY_REQUESTS, retry_after_s=wait_s)
                await self.note_failure(Action.LOGIN_LOCKED, login.id if login else None)
                raise Problem(ProblemCode.ACCOUNT_LOCKED, retry_after_s=wait_s)

    async def _settle(self, buckets: dict[str, Rate]) -> None:
        """A good try gives back what it took; what others behind the same address took stays taken."""
        for key in buckets:
            await (give_back if key.startswith("source") else forget)(self.resources.pool, key)

    async def _is_right(self, login: Login | None, password: str) -> bool:
        return await self.resources.passwords.is_right(login.password_hash if login else None, password, self.party)

    async def _new_hash(self, login: Login) -> str | None:
        """Of the password that is to replace this one. Problem: it is too weak."""
        new = self.request.new_password
        if new is None:
            return None
        check_new_password(new, login.phone, old=self.request.password)
        return await self.resources.passwords.hash(new, self.party)

    # ------------------------------------------------------------------------------------------ the tokens

    async def _limit(self, what: str, login: Login, rate: Rate, refusal: ProblemCode) -> None:
        """Right passwords cost as much as wrong ones, and codes are guessed as passwords are."""
        if wait_s := await take(self.resources.pool, bucket_key(what, str(login.id)), rate, self.now):
            raise Problem(refusal, retry_after_s=wait_s)

    async def _enrol(self, login: Login, factor: Factor | None, new_hash: str | None) -> Pair:
        device = self.request.device
        async with transaction(self.resources.pool) as conn:
            await lock_unchanged(conn, login)
            if await fetch_factor(conn, login.id) != factor:  # set up or reset since it was looked at
                raise Problem(ProblemCode.SECOND_FACTOR_NEEDED)
            if factor is not None:
                await self._use_code(conn, login, factor)
            if new_hash is not None:
                await self._change(conn, login, new_hash)
            await self._make_room(conn, login)
            lifetimes, before = self.resources.access.lifetimes, self._enrolled_before(login)
            pair = await enrol(conn, login.id, device, self.now, lifetimes, enrolled_before=before, strong=factor is not None)
            if isinstance(pair, ProblemCode):  # raised in here: no code is used and no password changed
                raise Problem(pair, new_device_id_needed=True)
            detail = {"kind": device.kind.value, "name": device.name}
            note = Note(action=Action.ENROLLED, person=login.id, device=device.id, subject=str(device.id), detail=detail)
            await insert_note(conn, note, self.origin, self.now)
        return pair

    async def _make_room(self, conn: Connection, login: Login) -> None:
        device, devices_max = self.request.device.id, self.resources.access.devices_max
        for retired in await make_room(conn, login.id, device, devices_max, self.now):
            detail = {"why": ROOM}
            note = Note(action=Action.DEVICE_REVOKED, person=login.id, device=device, about=login.id, subject=str(retired), detail=detail)
            await insert_note(conn, note, self.origin, self.now)

    async def _use_code(self, conn: Connection, login: Login, factor: Factor) -> None:
        if not await is_code_right(conn, self.resources.account_keys, factor, self.request.code, self.now):
            raise Problem(ProblemCode.SECOND_FACTOR_WRONG)
        await forget(conn, bucket_key("code", str(login.id)))

    async def _change(self, conn: Connection, login: Login, new_hash: str) -> None:
        await update_password(conn, login.id, new_hash)
        await end_person_tokens(conn, login.id)
        note = Note(action=Action.PASSWORD_CHANGED, person=login.id, device=self.request.device.id, subject=str(login.id))
        await insert_note(conn, note, self.origin, self.now)

    async def note_failure(self, action: Action, person: PersonId | None, what: str = "password") -> None:
        await note_failure(action, person, what, self.resources, self.now, self.origin)


def known_key(phone: str, device: str) -> str:
    """Of the bucket that counts the tries of a device that was logged in before."""
    return bucket_key("known", f"{phone}/{device}")


async def lock_unchanged(conn: Connection, login: Login) -> None:
    """Nobody changes the account until the transaction ends; Problem when somebody has since the password was checked."""
    found = await lock_login(conn, login.id)
    if found.credential != login.credential:
        raise Problem(ProblemCode.WRONG_CREDENTIALS)
    if found.disabled_at is not None:
        raise Problem(ProblemCode.ACCOUNT_DISABLED)


async def note_failure(action: Action, person: PersonId | None, what: str, resources: Resources, now: datetime, origin: Origin) -> None:
    """A try that failed, for the audit log. `what` was wrong: the password, or the second factor."""
    resources.metrics.logins.labels(action.value).inc()
    detail = {"wrong": what} if what == SECOND_FACTOR else {}
    async with transaction(resources.pool) as conn:
        await insert_note(conn, Note(action=action, about=person, subject=str(person) if person else None, detail=detail), origin, now)
