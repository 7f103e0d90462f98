"""GET /sync/v1/live: which streams moved. Only a hint; the exchange is what counts (design.md 3.4).

Movement inside this process is told at once. That of other processes is found by asking for the heads of the listened-to
streams every few seconds: no connection that can die silently, nothing to lose.

Who listens is looked up again and again: a token, a duty or an account that has ended ends the hints about it within `LOOK_AGAIN_S`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.response import ServerSentEvent, ServerSentEventMessage

from api.auth import LIMITED, PHONE_WITHOUT_FACTOR, lacks_second_factor
from api.dependencies import GivenResources
from api.listeners import Line
from api.resources import Resources
from api.turns import OWN_TURN
from contracts.caller import Caller, DeviceKind
from contracts.exchange import LIVE_PATH
from contracts.ids import County, StreamName
from contracts.problems import ProblemCode
from storage.access import fetch_caller
from storage.pull import fetch_heads
from storage.tokens import Refused, hash_token
from sync.scope import streams_of

PING_S: Final = 20.0  # below the idle limits of mobile networks and proxies
LOOK_AGAIN_S: Final = 15.0
REPLACED: Final = "replaced"  # the code of an end that is no problem: the same device or person listens elsewhere

Seqs = dict[StreamName, tuple[int, int]]


class Listener:
    """One connection. `scope` is what its caller may hear of, as it was found last."""

    def __init__(self, resources: Resources, token: str, line: Line) -> None:
        self.resources = resources
        self.token = token
        self.line = line
        self.counties: dict[County, list[StreamName]] = {}
        self.seqs: Seqs | None = None

    async def events(self) -> AsyncIterator[ServerSentEventMessage]:
        """`event: moved`, data: list of stream names; `event: end`, data: why; comments keep the line open."""
        looked_at, spoken_at = float("-inf"), time.monotonic()
        yield ServerSentEventMessage(comment="ready")
        while not self.line.is_replaced:
            if time.monotonic() - looked_at >= LOOK_AGAIN_S:
                refused = await self._look_again()
                if refused is not None:
                    yield _event("end", {"code": refused.value})
                    return
                looked_at = time.monotonic()
            moved = await self._moved()
            if moved:
                yield _event("moved", moved)
                spoken_at = time.monotonic()
            elif time.monotonic() - spoken_at >= PING_S:
                yield ServerSentEventMessage(comment="ping")
                spoken_at = time.monotonic()
        yield _event("end", {"code": REPLACED})

    async def _look_again(self) -> ProblemCode | None:
        """What the caller may hear of now; or why nothing any more."""
        resources = self.resources
        now = resources.now()
        caller = await fetch_caller(resources.pool, hash_token(self.token), now, resources.access.wiped_for)
        if isinstance(caller, Refused):
            return caller.code
        if caller.wiped or caller.cloned:
            return ProblemCode.DEVICE_REVOKED
        if caller.device_kind is not DeviceKind.PHONE and lacks_second_factor(caller, resources.access, now):
            return ProblemCode.SECOND_FACTOR_REQUIRED
        scope = streams_of(caller.duties, caller.device, await resources.units.places(), now)
        self.line.scope = frozenset(scope)
        self.counties = {}
        for stream, county in scope.items():
            self.counties.setdefault(county, []).append(stream)
        if self.seqs is None:
            self.seqs = await self._heads()
        return None

    async def _moved(self) -> list[StreamName]:
        """A stream that has come into the scope has moved, too."""
        told = await self.line.moves()
        before, self.seqs = self.seqs or {}, await self._heads()
        return sorted({s for s, seq in self.seqs.items() if before.get(s) != seq} | (told & self.line.scope))

    async def _heads(self) -> Seqs:
        seqs: Seqs = {}
        for county, streams in self.counties.items():
            heads = await fetch_heads(self.resources.pool, county, streams)
            seqs |= {stream: (head.incarnation, head.seq) for stream, head in heads.items()}
        return seqs


async def live_events(resources: Resources, caller: Caller, token: str) -> AsyncIterator[ServerSentEventMessage]:
    """The events of one connection, from its opening to its end."""
    with resources.live.line(caller.person, caller.device) as line:
        async for event in Listener(resources, token, line).events():
            yield event


def _event(name: str, data: object) -> ServerSentEventMessage:
    return ServerSentEventMessage(event=name, data=msgspec.json.encode(data).decode())


@get(
    LIVE_PATH,
    opt=LIMITED | PHONE_WITHOUT_FACTOR | {OWN_TURN: True},
    tags=["sync"],
    summary="动态提示 / live hints",
    description="Server-sent events: `moved` with the names of streams that have something new; `end` with the reason. Only a hint.",
)
async def live_streams(request: Request[Caller, str, Any], resources: GivenResources) -> ServerSentEvent:
    return ServerSentEvent(live_events(resources, request.user, request.auth))
