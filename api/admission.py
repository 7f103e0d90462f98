"""Admission: at most so many at work, at most so many waiting, and an honest 503 for the rest.

A queue without a bound answers nobody in time: everyone waits until they give up and come again. Bounded, those who are in
are served quickly and those who are not learn at once when to come. The bound is a number and a time: on a slow day fewer may
wait, so that whoever waits is still served within seconds.

Those sent away get turns one after the other, at the pace at which the queue moves. Told one and the same time they would
all come back at once; told random ones they leave the server idle between them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from contracts.problems import Problem, ProblemCode

RETRY_S_MIN: Final = 1
RETRY_S_MAX: Final = 60
QUEUE_SECONDS_MAX: Final = 3.0  # how long the last one in the queue may have to wait, by what is known
EARLINESS: Final = 0.7  # a phone adds a random share to what it is told, half of it on average: so it is told less
SMOOTHING: Final = 0.1  # weight of the newest service time in the average


class Admission:
    """One gate. `async with gate.slot():` or Problem(busy). `watch` is told how many run and wait, whenever that changes."""

    def __init__(
        self, *, running_max: int, waiting_max: int, wait_seconds_max: float = 20.0, watch: Callable[[int, int], None] | None = None
    ) -> None:
        self.running = 0
        self.waiting = 0
        self.refused = 0
        self.service_seconds = 0.1
        self._running_max = running_max
        self._waiting_max = waiting_max
        self._wait_seconds_max = wait_seconds_max
        self._watch = watch
        self._free = asyncio.Semaphore(running_max)
        self._promised = 0.0  # until this moment (monotonic clock) turns have been given away

    @property
    def queue_seconds(self) -> float:
        """How long a newcomer will probably have to wait."""
        return self.service_seconds * (self.waiting + self.running) / self._running_max

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        await self._enter()
        started = time.monotonic()
        self._count(running=1)
        try:
            yield
        finally:
            self._count(running=-1)
            self._free.release()
            self.service_seconds += SMOOTHING * (time.monotonic() - started - self.service_seconds)

    async def _enter(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        if self.waiting >= self._waiting_max or self.queue_seconds > QUEUE_SECONDS_MAX:
            raise self._refusal()
        self._count(waiting=1)
        try:
            async with asyncio.timeout(self._wait_seconds_max):
                await self._free.acquire()
        except TimeoutError:
            raise self._refusal() from None
        finally:
            self._count(waiting=-1)

    def _count(self, *, running: int = 0, waiting: int = 0) -> None:
        self.running += running
        self.waiting += waiting
        if self._watch is not None:
            self._watch(self.running, self.waiting)

    def _refusal(self) -> Problem:
        """Come again when it is your turn: after the queue, and after those who were sent away before you."""
        self.refused += 1
        now = time.monotonic()
        turn = max(self._promised, now + self.queue_seconds) + self.service_seconds / self._running_max
        if turn - now > RETRY_S_MAX:  # beyond this nothing can be foreseen: come and ask again
            return Problem(ProblemCode.BUSY, retry_after_s=random.randint(RETRY_S_MAX // 2, RETRY_S_MAX))
        self._promised = turn
        return Problem(ProblemCode.BUSY, retry_after_s=max(RETRY_S_MIN, round((turn - now) * EARLINESS)))
