"""GET /sync/v1/live: which streams moved. Only a hint; the exchange is what counts (design.md 3.4).

Movement inside this process is told at once. That of other processes is found by asking for the heads of the listened-to
streams every few seconds: no connection that can die silently, nothing to lose.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import msgspec
from litestar import get
from litestar.response import ServerSentEvent, ServerSentEventMessage

from api.dependencies import GivenCaller, GivenPlaces, GivenResources
from api.listeners import POLL_S
from api.resources import Resources
from contracts.caller import Caller
from contracts.exchange import LIVE_PATH
from contracts.ids import County, StreamName
from storage.pull import fetch_heads
from sync.places import Places
from sync.scope import streams_of

PING_S: Final = 20.0  # below the idle limits of mobile networks and proxies


async def live_events(resources: Resources, caller: Caller, places: Places) -> AsyncIterator[ServerSentEventMessage]:
    """`event: moved`, data: list of stream names; comments keep the line open."""
    scope = streams_of(caller.duties, caller.device, places, resources.now())
    counties: dict[County, list[StreamName]] = {}
    for stream, county in scope.items():
        counties.setdefault(county, []).append(stream)
    seqs = await _seqs(resources, counties)
    quiet_s = 0.0
    yield ServerSentEventMessage(comment="ready")
    async for names in resources.live.listen(frozenset(scope)):
        now = await _seqs(resources, counties)
        moved = sorted({s for s, seq in now.items() if seqs.get(s) != seq} | set(names))
        seqs = now
        if moved:
            quiet_s = 0.0
            yield ServerSentEventMessage(event="moved", data=msgspec.json.encode(moved).decode())
        else:
            quiet_s += POLL_S
            if quiet_s >= PING_S:
                quiet_s = 0.0
                yield ServerSentEventMessage(comment="ping")


async def _seqs(resources: Resources, counties: dict[County, list[StreamName]]) -> dict[StreamName, tuple[int, int]]:
    seqs: dict[StreamName, tuple[int, int]] = {}
    for county, streams in counties.items():
        heads = await fetch_heads(resources.pool, county, streams)
        seqs |= {stream: (head.incarnation, head.seq) for stream, head in heads.items()}
    return seqs


@get(
    LIVE_PATH,
    tags=["sync"],
    summary="动态提示 / live hints",
    description="Server-sent events: `moved` with the names of streams that have something new. Only a hint.",
)
async def live_streams(caller: GivenCaller, resources: GivenResources, places: GivenPlaces) -> ServerSentEvent:
    return ServerSentEvent(live_events(resources, caller, places))
