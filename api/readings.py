"""Who read what: noted once an hour for each reader and target, from memory and in batches, so that reading waits for no write.

The entry's id is made from hour, reader and target, so that it is one entry whichever process was read from, and however often it is written.
What a process has not written yet when it is killed is lost: `FLUSH_SECONDS` at most (decision 0032).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog

from contracts.access import Action
from contracts.caller import Caller
from contracts.problems import Problem, ProblemCode
from storage.audit_log import Note, Origin, Reading, insert_readings
from storage.pool import Pool

FLUSH_SECONDS: Final = 5.0
BATCH: Final = 500
WAITING_MAX: Final = 10_000  # more wait only while the database takes nothing; then nothing is read either
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

    def note(self, caller: Caller, action: Action, subject: str, *, origin: Origin, now: datetime, **more: Any) -> None:
        """The caller read this. `more`: of the note (unit, about, detail). Problem when the log takes nothing any more."""
        hour = int(now.timestamp() * 1000) // HOUR_MS
        if hour != self._hour or len(self._seen) >= SEEN_MAX:
            self._hour, self._seen = hour, set()
        entry = reading_id(hour, caller.person, action, subject)
        if entry in self._seen:
            return
        if len(self._waiting) >= WAITING_MAX:
            raise Problem(ProblemCode.BUSY, retry_after_s=int(FLUSH_SECONDS))
        note = Note(action=action, person=caller.person, device=caller.device, subject=subject, **more)
        self._waiting[entry] = Reading(id=entry, at=now, note=note, origin=origin)
        self._seen.add(entry)

    async def flush(self) -> None:
        """Write what waits; what cannot be written goes on waiting."""
        while batch := list(self._waiting.values())[:BATCH]:
            await insert_readings(self._pool, batch)
            for reading in batch:
                del self._waiting[reading.id]

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


def reading_id(hour: int, person: UUID, action: Action, subject: str) -> UUID:
    """A UUIDv7 of the hour's beginning (hours since 1970) whose random part is a digest of reader and target."""
    digest = int.from_bytes(hashlib.sha256(f"{hour}/{person}/{action.value}/{subject}".encode()).digest()[:16])
    return UUID(int=(hour * HOUR_MS << 80) | (7 << 76) | ((digest >> 64 & 0xFFF) << 64) | (2 << 62) | (digest & (1 << 62) - 1))
