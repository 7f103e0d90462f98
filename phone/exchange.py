"""The exchange loop: hand in, read, repair, until both sides have nothing more for each other (docs/sync-protocol.md)."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, Final, LiteralString

import httpx
import msgspec

from contracts.exchange import EXCHANGE_PATH, REPAIR_STREAMS_MAX, ExchangeRequest, Limits
from contracts.mutation import CONTRACT_MAX
from phone import photos, wire
from phone.account import Account
from phone.clock import Clock
from phone.copies import fetch_streams
from phone.inbox import ProtocolError, discard, drain, store_frames
from phone.outbox import count_unsent, fetch_parts
from phone.receipts import UnknownKeyError
from phone.store import Store, fetch_meta, set_meta

BATCH_MUTATIONS: Final = 200  # per county and request; a server that takes fewer says 413
BATCH_BYTES: Final = 1024 * 1024  # raw mutations per county and request, uncompressed
EXCHANGES_MAX: Final = 10_000  # of one sync: a server that never comes to an end must not hold a phone for ever
RETRY_AFTER_S: Final = 5.0  # when a busy server does not say


class Ended(Enum):
    """Why a sync stopped. Only COMPLETE means that nothing is left to do; nothing is lost in any case."""

    COMPLETE = "complete"
    OFFLINE = "offline"  # no answer, or it broke off
    BUSY = "busy"  # come back after `retry_after_s`
    REFUSED = "refused"  # `code` is the problem's; a login may be needed
    STALLED = "stalled"  # an exchange changed nothing although something is left: try again later
    UNBELIEVABLE = "unbelievable"  # the answer broke the protocol or its receipt did not verify
    WIPED = "wiped"  # the wipe order was obeyed: this store is empty


class Synced(msgspec.Struct, frozen=True, kw_only=True):
    """How a sync went. `problem` and `message` are what the server wants the person to know (hello frame).

    code   a problem code for BUSY and REFUSED; for OFFLINE and UNBELIEVABLE words for a log
    """

    ended: Ended
    exchanges: int = 0
    unsent: int = 0
    code: str | None = None
    retry_after_s: float | None = None
    problem: str | None = None
    message: str | None = None


class Pacing(msgspec.Struct, frozen=True, kw_only=True):
    """How a phone waits for a busy server; injected so that tests own time and chance."""

    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep
    jitter: Callable[[], float] = random.random  # 0 <= x < 1: a herd of phones must not come back at once
    patience_s: float = 30.0  # longer waits are left to the caller


LIMITS: Final = Limits()
PACING: Final = Pacing()


def build_request(
    db: sqlite3.Connection, account: Account, clock: Clock, contract: int, limits: Limits, mutations_max: int
) -> ExchangeRequest:
    streams = fetch_streams(db)
    return ExchangeRequest(
        device=account.device,
        contract=contract,
        clock=clock.read(),
        counties=fetch_parts(db, mutations_max, BATCH_BYTES),
        cursor={s.name: (s.incarnation, s.seq) for s in streams if s.incarnation > 0},
        replacing=frozenset(s.name for s in streams if s.replace_from is not None),
        limits=limits,
        buckets=frozenset([s.name for s in streams if s.verdict == "differs"][:REPAIR_STREAMS_MAX]),
        repair=dict([(s.name, frozenset(s.buckets)) for s in streams if s.verdict == "repair"][:REPAIR_STREAMS_MAX]),
    )


class Syncer:
    """One phone's side of the exchange. One at a time per store."""

    def __init__(
        self,
        store: Store,
        account: Account,
        clock: Clock,
        *,
        contract: int = CONTRACT_MAX,
        limits: Limits = LIMITS,
        pacing: Pacing = PACING,
        mutations_max: int = BATCH_MUTATIONS,
    ) -> None:
        self._store = store
        self._account = account
        self._clock = clock
        self._contract = contract
        self._limits = limits
        self._pacing = pacing
        self._mutations_max = mutations_max

    async def sync(self) -> Synced:
        """Exchange until nothing is left or nothing moves."""
        exchanges = 0
        try:
            await self._drain()
            if self._is_wiped():
                return self._result(Ended.WIPED, exchanges)
            while True:
                before = self._progress()
                await self._exchange_patiently()
                exchanges += 1
                if self._is_wiped():
                    return self._result(Ended.WIPED, exchanges)
                if self._is_done():
                    return self._result(Ended.COMPLETE, exchanges)
                if self._progress() == before or exchanges == EXCHANGES_MAX:
                    return self._result(Ended.STALLED, exchanges)
        except (ProtocolError, wire.StrangeAnswerError) as error:
            return self._result(Ended.UNBELIEVABLE, exchanges, code=str(error))
        except wire.OfflineError as error:
            return self._result(Ended.OFFLINE, exchanges, code=str(error))
        except wire.RefusedError as refused:
            if refused.wipe:
                self._note_wipe()
            return self._result(ended_by(refused), exchanges, code=refused.code, retry_after_s=refused.retry_after_s)

    async def _exchange_patiently(self) -> None:
        """One exchange; waits for a busy server as it asks, and sends less where a batch was too large."""
        waited_s, mutations_max = 0.0, self._mutations_max
        while True:
            try:
                return await self._exchange(mutations_max)
            except wire.RefusedError as refused:
                if refused.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE and mutations_max > 1:
                    mutations_max //= 2
                    continue
                pause_s = pause_of(refused, self._pacing.jitter())
                if pause_s is None or waited_s + pause_s > self._pacing.patience_s:
                    raise
                waited_s += pause_s
                await self._pacing.sleep(pause_s)

    async def _exchange(self, mutations_max: int) -> None:
        db = self._store.db
        request = build_request(db, self._account, self._clock, self._contract, self._limits, mutations_max)
        exchange, ordinal = int(fetch_meta(db, "exchange", 0)) + 1, 0
        async with self._account.open_lines(EXCHANGE_PATH, msgspec.json.encode(request)) as answer:
            async for lines in answer:
                store_frames(self._store, exchange, ordinal, lines)
                ordinal += len(lines)
                await self._drain()
        if fetch_meta(db, "ended") != exchange:
            raise wire.OfflineError("the answer had no end")

    async def _drain(self) -> None:
        try:
            drain(self._store)
        except UnknownKeyError:
            await self._account.fetch_keys()
            try:
                drain(self._store)
            except UnknownKeyError as error:
                discard(self._store)
                raise ProtocolError(f"the server does not show its key {error}") from error

    def _progress(self) -> tuple[Any, ...]:
        streams = tuple(msgspec.structs.astuple(s) for s in fetch_streams(self._store.db))
        return count_unsent(self._store.db), repr(streams)

    def _is_done(self) -> bool:
        db = self._store.db
        if fetch_meta(db, "more") or count_unsent(db):
            return False
        return all(s.verdict not in ("differs", "repair") and s.replace_from is None for s in fetch_streams(db))

    def _note_wipe(self) -> None:
        """The order came with a refusal: for whoever comes too late for a hello."""
        with self._store.transaction("wipe noted") as db:
            set_meta(db, "wipe", 1)

    def _is_wiped(self) -> bool:
        """Obey a wipe order: copies at once, own work when its receipts are stored."""
        if not fetch_meta(self._store.db, "wipe"):
            return False
        forget_copies(self._store)
        if count_unsent(self._store.db) or photos.count_unreceipted(self._store.db):
            return False
        erase(self._store)
        return True

    def _result(self, ended: Ended, exchanges: int, **more: Any) -> Synced:
        db = self._store.db
        problem, message = fetch_meta(db, "problem"), fetch_meta(db, "message")
        unsent = count_unsent(db)
        return Synced(ended=ended, exchanges=exchanges, unsent=unsent, problem=problem, message=message, **more)


def ended_by(refused: wire.RefusedError) -> Ended:
    return Ended.REFUSED if pause_of(refused, 0) is None else Ended.BUSY


def pause_of(refused: wire.RefusedError, jitter: float) -> float | None:
    """Seconds to wait before the same request again; None: waiting does not help."""
    if refused.status in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS):
        return (refused.retry_after_s or RETRY_AFTER_S) * (1 + jitter)
    return None


SQL_FORGET_CONFIRMED: Final[LiteralString] = "DELETE FROM confirmed"
SQL_FORGET_STREAMS: Final[LiteralString] = "DELETE FROM stream"
SQL_FORGET_RECEIPTED: Final[LiteralString] = "DELETE FROM mutation WHERE outcome IS NOT NULL"


def forget_copies(store: Store) -> None:
    """The first half of a wipe: everything the server has anyway."""
    with store.transaction("copies forgotten") as db:
        for statement in (SQL_FORGET_CONFIRMED, SQL_FORGET_STREAMS, SQL_FORGET_RECEIPTED):
            db.execute(statement)


def erase(store: Store) -> None:
    """The second half: nothing remains, not even who this was."""
    photos.delete_all(store)
    store.erase()
