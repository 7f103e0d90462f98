"""Who listens to which streams, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final

from contracts.ids import County, StreamName

POLL_S: Final = 3.0  # how often a listener looks for movement in other processes


class Live:
    """Listeners of this process."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Event, tuple[frozenset[StreamName], set[StreamName]]] = {}

    def moved(self, streams: Iterable[tuple[County, StreamName]]) -> None:
        """Tell who listens. Never blocks: a slow listener finds the set of what moved when it comes."""
        names = {stream for _, stream in streams}
        for event, (scope, told) in self._listeners.items():
            if names & scope:
                told.update(names & scope)
                event.set()

    async def listen(self, streams: frozenset[StreamName]) -> AsyncIterator[list[StreamName]]:
        """Streams that moved, as they move; an empty list about every `POLL_S`, so that the caller can look elsewhere."""
        event = asyncio.Event()
        told: set[StreamName] = set()
        self._listeners[event] = (streams, told)
        try:
            while True:
                try:
                    async with asyncio.timeout(POLL_S):
                        await event.wait()
                except TimeoutError:
                    yield []
                    continue
                names = sorted(told)
                told.clear()
                event.clear()
                yield names
        finally:
            del self._listeners[event]
