"""One person's requests take turns, so that no account takes more than a share of the server with any input.

A few of a person's requests are at work at the same time; a few more wait; what is beyond that is refused at once. Requests that only arrive
(a body on a slow road) count as waiting. Each process counts for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from contracts.ids import PersonId
from contracts.problems import Problem, ProblemCode

SHARE: Final = 4  # one account has a quarter at most
WAITING_MAX: Final = 30  # a browser's page with all its lists, or a phone that tries again and again
RETRY_S: Final = 2
OWN_TURN: Final = "own_turn"  # opt of a route that takes its turn itself, or is no work (live hints)


class _Queue:
    def __init__(self, at_once: int) -> None:
        self.free = asyncio.Semaphore(at_once)
        self.present = 0


class Turns:
    """`places`: how many requests the server works on at the same time."""

    def __init__(self, places: int) -> None:
        self._at_once = max(1, places // SHARE)
        self._queues: dict[PersonId, _Queue] = {}

    @contextmanager
    def present(self, person: PersonId) -> Iterator[None]:
        """The request is here, at work or not; Problem when there are too many of this person."""
        queue = self._queues.get(person)
        if queue is None:
            queue = self._queues[person] = _Queue(self._at_once)
        if queue.present >= self._at_once + WAITING_MAX:
            raise Problem(ProblemCode.TOO_MANY_REQUESTS, "您同时发出的请求过多，请等前面的完成后再试", retry_after_s=RETRY_S)
        queue.present += 1
        try:
            yield
        finally:
            queue.present -= 1
            if not queue.present:
                del self._queues[person]

    @asynccontextmanager
    async def at_work(self, person: PersonId) -> AsyncIterator[None]:
        """Wait for the person's turn and hold it; the request is `present`."""
        async with self._queues[person].free:
            yield


class TakeTurns(ASGIMiddleware):
    """Behind authentication: who is not logged in is bounded by the routes that need no log-in."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        caller = scope.get("user")
        if caller is None:
            await next_app(scope, receive, send)
            return
        turns: Turns = scope["litestar_app"].state.resources.turns
        with turns.present(caller.person):
            if scope["route_handler"].opt.get(OWN_TURN):
                await next_app(scope, receive, send)
            else:
                async with turns.at_work(caller.person):
                    await next_app(scope, receive, send)
