"""Admission by turns: at most so many at work, and those who wait stand in one queue for each party.

A single queue gives a slow resource to the party that asks most often. Here the queues take turns, so one address with a hundred
requests and one with a single request are served alternately; and where all places to wait are taken, the longest queue gives one up.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from api.admission import RETRY_S_MAX, RETRY_S_MIN, SMOOTHING
from contracts.problems import Problem, ProblemCode

WAIT_SECONDS_MAX: Final = 20.0
SHARE: Final = 2  # one party may take half of the places to wait: a township's phones come from one address, too

_Turn: TypeAlias = "asyncio.Future[None]"


class FairQueue:
    """One gate. `async with turns.slot(party):` or Problem(busy). `party`: an address, or another name for who asks."""

    def __init__(self, *, running_max: int, waiting_max: int) -> None:
        self.running = 0
        self.waiting = 0
        self.refused = 0
        self.service_seconds = 0.1
        self._running_max = running_max
        self._waiting_max = waiting_max
        self._queues: OrderedDict[str, deque[_Turn]] = OrderedDict()

    @asynccontextmanager
    async def slot(self, party: str) -> AsyncIterator[None]:
        """Wait for a turn and hold it."""
        await self._enter(party)
        started = time.monotonic()
        try:
            yield
        finally:
            self.service_seconds += SMOOTHING * (time.monotonic() - started - self.service_seconds)
            self._pass_on()

    async def _enter(self, party: str) -> None:
        if self.running < self._running_max:
            self.running += 1
            return
        self._make_room(party)
        turn: _Turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(party, deque()).append(turn)
        self.waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await turn
        except TimeoutError:
            self._leave(party, turn)
            raise self._refusal() from None
        except asyncio.CancelledError:
            self._leave(party, turn)
            raise

    def _make_room(self, party: str) -> None:
        """Problem when this party waits often enough, or everybody does and no queue is longer than its own would be."""
        own = len(self._queues.get(party, ()))
        if own >= math.ceil(self._waiting_max / SHARE):
            raise self._refusal()
        if self.waiting < self._waiting_max:
            return
        longest = max(self._queues, key=lambda name: len(self._queues[name]), default=party)
        if len(self._queues.get(longest, ())) <= own + 1:
            raise self._refusal()
        last = self._queues[longest][-1]
        self._take_out(longest, last)
        last.set_exception(self._refusal())

    def _leave(self, party: str, turn: _Turn) -> None:
        """Gone before the turn came, or in the very moment it came: then it is passed on."""
        if turn in self._queues.get(party, ()):
            self._take_out(party, turn)
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self._pass_on()

    def _take_out(self, party: str, turn: _Turn) -> None:
        self._queues[party].remove(turn)
        self.waiting -= 1
        if not self._queues[party]:
            del self._queues[party]

    def _pass_on(self) -> None:
        """The next party's first; the party then stands behind the others."""
        while self._queues:
            party, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            self.waiting -= 1
            if queue:
                self._queues[party] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def _refusal(self) -> Problem:
        self.refused += 1
        queue_seconds = self.service_seconds * (self.waiting + self.running) / self._running_max
        return Problem(ProblemCode.BUSY, retry_after_s=min(RETRY_S_MAX, max(RETRY_S_MIN, math.ceil(queue_seconds))))
