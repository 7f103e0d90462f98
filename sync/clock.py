"""When was it captured? The phone's clock is never trusted (promise 8); what can be known is an interval.

Inside one clock session (no reboot, reload or suspend) elapsed time is exact, so one exchange in that session fixes every
moment of it. Otherwise a mutation was made after the last exchange at which the phone had made fewer mutations, and
before its receipt. All times are Unix milliseconds of the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from contracts.mutation import Capture

CLOCKS_MAX: Final = 16  # sessions remembered per device and county; a phone reboots a few times a week
MARKS_MAX: Final = 32
OFFSET_SLACK_MS: Final = 3_600_000  # how far a wall clock may drift between sessions and still narrow the interval


class Interval(msgspec.Struct, frozen=True):
    """Capture happened between these moments, both inclusive."""

    start_ms: int
    end_ms: int


class ClockMark(msgspec.Struct, frozen=True, array_like=True):
    """One exchange of a session: at `server_ms` the phone's monotonic clock said `mono_ms`, its wall clock `wall_ms`."""

    session: str
    mono_ms: int
    server_ms: int
    wall_ms: int


class MadeMark(msgspec.Struct, frozen=True, array_like=True):
    """At `server_ms` (latest such moment) the phone had made `n_made` mutations."""

    n_made: int
    server_ms: int


class DeviceClock(msgspec.Struct, frozen=True):
    """What the server knows of one device's clock, oldest first."""

    clocks: tuple[ClockMark, ...] = ()
    marks: tuple[MadeMark, ...] = ()


def remember(known: DeviceClock, now: Capture, n_made: int, server_ms: int) -> DeviceClock:
    """The knowledge after one more exchange."""
    mark = ClockMark(now.session, now.mono_ms, server_ms, now.wall_ms)
    clocks = (*(c for c in known.clocks if c.session != now.session), mark)[-CLOCKS_MAX:]
    marks = (*(m for m in known.marks if m.n_made != n_made), MadeMark(n_made, server_ms))[-MARKS_MAX:]
    return DeviceClock(clocks, marks)


def captured(at: Capture, n: int, known: DeviceClock, server_ms: int) -> Interval:
    """When mutation `n` was captured. `known` already holds the exchange that brought it, received at `server_ms`."""
    clocks: Sequence[ClockMark] = known.clocks
    for mark in clocks:
        if mark.session == at.session:
            moment = min(server_ms, mark.server_ms + at.mono_ms - mark.mono_ms)
            return Interval(moment, moment)
    return _narrowed(certain(n, known, server_ms), at, clocks[-2] if len(clocks) > 1 else None)


def certain(n: int, known: DeviceClock, server_ms: int) -> Interval:
    """After the last exchange at which fewer than `n` mutations had been made, before the receipt."""
    start = max((m.server_ms for m in known.marks if m.n_made < n and m.server_ms < server_ms), default=0)
    return Interval(start, server_ms)


def _narrowed(wide: Interval, at: Capture, last: ClockMark | None) -> Interval:
    """By the last known offset between wall clock and server, unless that contradicts what is certain."""
    if last is None:
        return wide
    guess = at.wall_ms + last.server_ms - last.wall_ms
    start, end = max(wide.start_ms, guess - OFFSET_SLACK_MS), min(wide.end_ms, guess + OFFSET_SLACK_MS)
    return Interval(start, end) if start <= end else wide
