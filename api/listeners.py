"""Who listens to which streams, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from contracts.ids import County, DeviceId, PersonId, StreamName

POLL_S: Final = 3.0  # how often a listener looks for movement in other processes
LINES_OF_DEVICE_MAX: Final = 2  # one that listens, and one of which nobody knows yet that it is dead
LINES_OF_PERSON_MAX: Final = 8


class Line:
    """One open connection. `scope`: the streams it hears of; `is_replaced`: a newer one took its place, and it has to end."""

    def __init__(self, person: PersonId, device: DeviceId) -> None:
        self.person = person
        self.device = device
        self.scope: frozenset[StreamName] = frozenset()
        self.is_replaced = False
        self._moved: set[StreamName] = set()
        self._event = asyncio.Event()

    def tell(self, names: Iterable[StreamName]) -> None:
        self._moved.update(names)
        self._event.set()

    def replace(self) -> None:
        self.is_replaced = True
        self._event.set()

    async def moves(self) -> set[StreamName]:
        """Streams that moved, as they move; none after `POLL_S`, so that the listener can look elsewhere."""
        try:
            async with asyncio.timeout(POLL_S):
                await self._event.wait()
        except TimeoutError:
            return set()
        names, self._moved = self._moved, set()
        self._event.clear()
        return names


class Live:
    """Listeners of this process, the longest open first."""

    def __init__(self) -> None:
        self._lines: dict[Line, None] = {}

    def moved(self, streams: Iterable[tuple[County, StreamName]]) -> None:
        """Tell who listens. Never blocks: a slow listener finds the set of what moved when it comes."""
        names = {stream for _, stream in streams}
        for line in self._lines:
            if names & line.scope:
                line.tell(names & line.scope)

    @contextmanager
    def line(self, person: PersonId, device: DeviceId) -> Iterator[Line]:
        """A place for one more connection. Where a device or person has too many, the oldest has to end: a phone that comes again has lost it."""
        mine = Line(person, device)
        self._lines[mine] = None
        for same, bound in (("device", LINES_OF_DEVICE_MAX), ("person", LINES_OF_PERSON_MAX)):
            open_now = [line for line in self._lines if getattr(line, same) == getattr(mine, same) and not line.is_replaced]
            for line in open_now[:-bound]:
                line.replace()
        try:
            yield mine
        finally:
            del self._lines[mine]
