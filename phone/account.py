"""Enrolment, tokens and the server's keys. A password is used once and never stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeVar

import httpx
import msgspec
from uuid_utils.compat import uuid7

from contracts.access import DeviceIn, EnrolRequest, RefreshRequest, Tokens, Units
from contracts.ids import County, DeviceId, PersonId, UnitCode
from contracts.photos import KEYS_PATH
from phone import wire
from phone.receipts import pin_keys
from phone.store import Store, fetch_meta, set_meta

ENROL_PATH: Final = "/auth/v1/enrol"
REFRESH_PATH: Final = "/auth/v1/refresh"
UNITS_PATH: Final = "/people/v1/units"
REFRESH: Final = "refresh"
_STALE: Final = {"not_authenticated", "token_expired"}

_T = TypeVar("_T")


class _Key(msgspec.Struct, frozen=True):
    key: str
    public: str


class Account:
    """Who this store belongs to."""

    def __init__(self, store: Store, client: httpx.AsyncClient) -> None:
        self._store = store
        self._client = client

    @property
    def device(self) -> DeviceId:
        """Made when first asked for; a wiped store is another device."""
        if fetch_meta(self._store.db, "device") is None:
            with self._store.transaction("device named") as db:
                set_meta(db, "device", str(uuid7()))
        return DeviceId(fetch_meta(self._store.db, "device"))

    @property
    def person(self) -> PersonId | None:
        """None before enrolment."""
        person = fetch_meta(self._store.db, "person")
        return None if person is None else PersonId(person)

    async def enrol(self, phone: str, password: str, name: str, *, new_password: str | None = None, code: str = "") -> None:
        """Log in, and pin the server's keys. May be repeated, after a lost answer or when the tokens have ended.

        Refused with `password_change_required`: ask the person for a new password and give both. With `second_factor_needed`: a code.
        """
        device = DeviceIn(id=self.device, name=name, proof=fetch_meta(self._store.db, "proof", ""))
        request = EnrolRequest(phone=phone, password=password, device=device, code=code, new_password=new_password)
        self._store_tokens(await wire.call(self._client, "POST", ENROL_PATH, None, request, Tokens))
        await self.fetch_keys()

    async def fetch_keys(self) -> None:
        """Pin what the server shows; a key pinned before is never replaced."""
        answer = await wire.call(self._client, "GET", KEYS_PATH, None, None, list[_Key])
        with self._store.transaction("keys pinned") as db:
            pin_keys(db, {key.key: key.public for key in answer})

    async def fetch_units(self) -> None:
        """Remember the units of this person's scope, so that records can be created without signal."""
        answer = await self.call("GET", UNITS_PATH, None, Units)
        with self._store.transaction("units stored") as db:
            set_meta(db, "units", msgspec.json.encode({unit.code: unit.county for unit in answer.units}).decode())

    def county_of(self, unit: UnitCode) -> County | None:
        """None: not a unit of this person, as far as this phone was told."""
        return msgspec.json.decode(fetch_meta(self._store.db, "units", "{}"), type=dict[str, int]).get(unit)

    async def call(self, method: str, path: str, send: Any, expect: type[_T]) -> _T:
        """One authenticated JSON request."""

        async def once(token: str | None) -> _T:
            return await wire.call(self._client, method, path, token, send, expect)

        return await self._with_fresh_token(once)

    @asynccontextmanager
    async def open_lines(self, path: str, body: bytes) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        """POST; inside, the complete lines of the answer as they arrive."""
        async with AsyncExitStack() as opened:

            async def once(token: str | None) -> AsyncIterator[list[bytes]]:
                return await opened.enter_async_context(wire.open_lines(self._client, path, token, body))

            yield await self._with_fresh_token(once)

    async def _with_fresh_token(self, once: Callable[[str | None], Awaitable[_T]]) -> _T:
        access = fetch_meta(self._store.db, "access")
        try:
            return await once(access)
        except wire.RefusedError as refused:
            if refused.code not in _STALE or fetch_meta(self._store.db, "refresh") is None:
                raise
        await self._refresh(access)
        return await once(fetch_meta(self._store.db, "access"))

    async def _refresh(self, stale: str | None) -> None:
        """The next pair, unless the app or its background job has fetched it meanwhile: a refresh token is used once."""
        async with self._store.turn(REFRESH):
            if fetch_meta(self._store.db, "access") == stale:
                request = RefreshRequest(refresh=fetch_meta(self._store.db, "refresh"))
                self._store_tokens(await wire.call(self._client, "POST", REFRESH_PATH, None, request, Tokens))

    def _store_tokens(self, tokens: Tokens) -> None:
        with self._store.transaction("tokens stored") as db:
            set_meta(db, "access", tokens.access)
            set_meta(db, "refresh", tokens.refresh)
            set_meta(db, "person", str(tokens.person))
            if tokens.proof:
                set_meta(db, "proof", tokens.proof)
