"""Admission: at most so many at work, at most so many waiting, and an honest 503 for the rest.

A queue without a bound answers nobody in time: everyone waits until they give up and come again. Bounded, those who are in
are served quickly and those who are not learn at once when to come.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from contracts.problems import Problem, ProblemCode

RETRY_S_MIN: Final = 1
RETRY_S_MAX: Final = 60
SMOOTHING: Final = 0.1  # weight of the newest service time in the average


class Admission:
    """One gate. `async with gate.slot():` or Problem(busy)."""

    def __init__(self, *, running_max: int, waiting_max: int, wait_seconds_max: float = 20.0) -> None:
        self.running = 0
        self.waiting = 0
        self.refused = 0
        self.service_seconds = 0.1
        self._running_max = running_max
        self._waiting_max = waiting_max
        self._wait_seconds_max = wait_seconds_max
        self._free = asyncio.Semaphore(running_max)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        await self._enter()
        started = time.monotonic()
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._free.release()
            self.service_seconds += SMOOTHING * (time.monotonic() - started - self.service_seconds)

    async def _enter(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        if self.waiting >= self._waiting_max:
            raise self._refusal()
        self.waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds_max):
                await self._free.acquire()
        except TimeoutError:
            raise self._refusal() from None
        finally:
            self.waiting -= 1

    def _refusal(self) -> Problem:
        """Come again when those before you are done; spread, or all who were refused come back in the same second."""
        self.refused += 1
        queue_seconds = self.service_seconds * (self.waiting + self.running) / self._running_max
        wait = math.ceil(queue_seconds * random.uniform(1.0, 3.0))
        return Problem(ProblemCode.BUSY, retry_after_s=min(max(wait, RETRY_S_MIN), RETRY_S_MAX))
