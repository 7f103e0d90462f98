"""Who read what: noted once an hour for each reader and target, from memory and in batches, so that reading waits for no write.

The entry's id is made from hour, reader and target, so that it is one entry whichever process was read from, and however often it is written.
A search's target is all that was asked for. What a process has not written yet when it is killed is lost: `FLUSH_SECONDS` at most (decision 0032).
An entry that the database cannot hold is set aside with a log line, so that the others are written.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from contracts.access import Action
from contracts.caller import Caller
from contracts.ids import PersonId
from contracts.problems import Problem, ProblemCode
from storage.audit_log import Note, Origin, Reading, insert_readings
from storage.pool import Pool, is_infrastructure

FLUSH_SECONDS: Final = 5.0
BATCH: Final = 500
WAITING_MAX: Final = 10_000  # more wait only while the database takes nothing; then nothing is read either
WAITING_OF_READER: Final = 1000  # of these, so that one reader does not take the others' places
SEARCHES_PER_HOUR: Final = 1000  # different ones of one reader: the log does not grow without bound, and no search goes unnoted
SEEN_MAX: Final = 100_000  # what is forgotten is written once more, and is the same entry
HOUR_MS: Final = 3_600_000

log = structlog.get_logger("xunling.readings")


class Readings:
    """What was read in this process and is not in the audit log yet."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._hour = 0
        self._seen: set[UUID] = set()
        self._waiting: dict[UUID, Reading] = {}
        self._waiting_of: Counter[PersonId] = Counter()
        self._searches: Counter[PersonId] = Counter()

    def note(self, caller: Caller, action: Action, subject: str, *, origin: Origin, now: datetime, **more: Any) -> None:
        """The caller read this. `more`: of the note (unit, about, detail). Problem when the log takes nothing any more."""
        hour = self._hour_of(now)
        self._add(reading_id(hour, caller.person, action, subject), caller, action, subject, origin=origin, now=now, **more)

    def note_search(self, caller: Caller, action: Action, subject: str, asked: dict[str, Any], *, origin: Origin, now: datetime) -> None:
        """The caller searched for this, found or not; each different search is an entry. Problem also when there were too many this hour."""
        hour = self._hour_of(now)
        entry = reading_id(hour, caller.person, action, subject, msgspec.json.encode(asked, order="sorted").decode())
        if entry in self._seen:
            return
        if self._searches[caller.person] >= SEARCHES_PER_HOUR:
            wait_s = HOUR_MS // 1000 - int(now.timestamp()) % (HOUR_MS // 1000)
            raise Problem(ProblemCode.TOO_MANY_REQUESTS, "一小时内的不同查询过多，请稍后再试", retry_after_s=wait_s)
        self._add(entry, caller, action, subject, origin=origin, now=now, detail=asked)
        self._searches[caller.person] += 1

    def _hour_of(self, now: datetime) -> int:
        """Hours since 1970. What was seen in another hour is forgotten."""
        hour = int(now.timestamp() * 1000) // HOUR_MS
        if hour != self._hour:
            self._hour = hour
            self._seen.clear()
            self._searches.clear()
        elif len(self._seen) >= SEEN_MAX:
            self._seen.clear()
        return hour

    def _add(self, entry: UUID, caller: Caller, action: Action, subject: str, *, origin: Origin, now: datetime, **more: Any) -> None:
        if entry in self._seen:
            return
        if len(self._waiting) >= WAITING_MAX or self._waiting_of[caller.person] >= WAITING_OF_READER:
            raise Problem(ProblemCode.BUSY, retry_after_s=int(FLUSH_SECONDS))
        if entry not in self._waiting:
            self._waiting_of[caller.person] += 1
        note = Note(action=action, person=caller.person, device=caller.device, subject=subject, **more)
        self._waiting[entry] = Reading(id=entry, at=now, note=note, origin=origin)
        self._seen.add(entry)

    async def flush(self) -> None:
        """Write what waits. Raises while the database takes nothing; then all of it goes on waiting."""
        while batch := list(self._waiting.values())[:BATCH]:
            try:
                await insert_readings(self._pool, batch)
            except Exception as error:
                if is_infrastructure(error):
                    raise
                await self._write_each(batch)
            else:
                self._done(batch)

    async def _write_each(self, batch: Sequence[Reading]) -> None:
        """One of them cannot be written: it must not keep the others."""
        for reading in batch:
            try:
                await insert_readings(self._pool, [reading])
            except Exception as error:
                if is_infrastructure(error):
                    raise
                note = reading.note
                log.exception(
                    "reading_not_written",
                    id=str(reading.id),
                    action=note.action.value,
                    person=str(note.person),
                    subject=ascii(note.subject)[:200],
                    detail=ascii(note.detail)[:500],
                    error=type(error).__name__,
                )
            self._done([reading])

    def _done(self, readings: Sequence[Reading]) -> None:
        for reading in readings:
            found = self._waiting.pop(reading.id, None)
            if found is None or found.note.person is None:  # written already by a flush at the same time
                continue
            self._waiting_of[found.note.person] -= 1
            if self._waiting_of[found.note.person] <= 0:
                del self._waiting_of[found.note.person]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Written every few seconds while the block runs, and once more at its end."""
        task = asyncio.create_task(self._go_on())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._try_flush()

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._try_flush()

    async def _try_flush(self) -> None:
        try:
            await self.flush()
        except Exception as error:  # the next try has them all
            log.exception("readings_wait", count=len(self._waiting), error=type(error).__name__)


def reading_id(hour: int, person: UUID, action: Action, subject: str, asked: str = "") -> UUID:
    """A UUIDv7 of the hour's beginning (hours since 1970) whose random part is a digest of reader and target (subject, what was asked)."""
    target = f"{hour}/{person}/{action.value}/{subject}" + (f"\0{asked}" if asked else "")
    digest = int.from_bytes(hashlib.sha256(target.encode(errors="surrogatepass")).digest()[:16])
    return UUID(int=(hour * HOUR_MS << 80) | (7 << 76) | ((digest >> 64 & 0xFFF) << 64) | (2 << 62) | (digest & (1 << 62) - 1))
