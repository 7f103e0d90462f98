"""When was it captured? The phone's clock is never trusted (promise 8); what can be known is an interval.

Inside one clock session (no reboot, reload or suspend) elapsed time is known but for the drift of a quartz, so one exchange in
that session fixes every moment of it. Otherwise a mutation was made after the last exchange at which the phone had made fewer mutations, and
before its receipt. All times are Unix milliseconds of the server.

What is exact is so only as long as nothing contradicts it (docs/decisions/0022): a monotonic clock that stood still while the
phone slept shows in the wall clock, a body that was long on its way in when its first byte came; and nothing is captured
before its device was enrolled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from contracts.mutation import Capture

CLOCKS_MAX: Final = 16  # sessions remembered per device and county; a phone reboots a few times a week
MARKS_MAX: Final = 32
OFFSET_SLACK_MS: Final = 3_600_000  # how far a wall clock may drift between sessions and still narrow the interval
READ_AT_ONCE_MS: Final = 5_000  # a body that was read within this was sent when it was read
DOUBT_MS: Final = 120_000  # how far two readings may differ without contradicting each other,
DOUBT_PER_MS: Final = 1_000  # and one in so many of what has passed between them: both clocks drift
DRIFT_PER_MS: Final = 4_000  # a quartz errs by one in so many at most (250 ppm): 7 s in a day of work, 11 minutes in a month without signal
DRIFT_LEAST_MS: Final = 10_000  # less is passed over: a day of work has its moments to the second


class Interval(msgspec.Struct, frozen=True):
    """Capture happened between these moments, both inclusive."""

    start_ms: int
    end_ms: int


class ClockMark(msgspec.Struct, frozen=True, array_like=True):
    """One exchange of a session: at `server_ms`, or at most `late_ms` later, the monotonic clock said `mono_ms`, the wall clock `wall_ms`."""

    session: str
    mono_ms: int
    server_ms: int
    wall_ms: int
    late_ms: int = 0


class MadeMark(msgspec.Struct, frozen=True, array_like=True):
    """At `server_ms` (latest such moment) the phone had made `n_made` mutations."""

    n_made: int
    server_ms: int


class DeviceClock(msgspec.Struct, frozen=True):
    """What the server knows of one device's clock, oldest first."""

    clocks: tuple[ClockMark, ...] = ()
    marks: tuple[MadeMark, ...] = ()


def begun(known: DeviceClock, enrolled_ms: int) -> DeviceClock:
    """With what is certain of every device: when it was enrolled first, it had made nothing."""
    return DeviceClock(known.clocks, (MadeMark(0, enrolled_ms), *known.marks))


def remember(known: DeviceClock, now: Capture, n_made: int, server_ms: int, read_ms: int | None = None) -> DeviceClock:
    """The knowledge after one more exchange. `server_ms`: when its first byte came; `read_ms`: when its last one was read."""
    mark = _mark(known, now, server_ms, server_ms if read_ms is None else read_ms)
    clocks = (*(c for c in known.clocks if c.session != now.session), mark)[-CLOCKS_MAX:]
    marks = (*(m for m in known.marks if m.n_made != n_made), MadeMark(n_made, server_ms))[-MARKS_MAX:]
    return DeviceClock(clocks, marks)


def _mark(known: DeviceClock, now: Capture, server_ms: int, read_ms: int) -> ClockMark:
    """A body that was long on its way is dated by an earlier exchange of its session, if that was quick and does not contradict it."""
    late_ms = read_ms - server_ms if read_ms - server_ms > READ_AT_ONCE_MS else 0
    quick = next((c for c in known.clocks if c.session == now.session and not c.late_ms), None) if late_ms else None
    if quick is not None:
        passed_ms = now.mono_ms - quick.mono_ms
        if server_ms - _doubt(passed_ms) <= quick.server_ms + passed_ms <= read_ms:
            return ClockMark(now.session, now.mono_ms, quick.server_ms + passed_ms, now.wall_ms)
    return ClockMark(now.session, now.mono_ms, server_ms, now.wall_ms, late_ms)


def captured(at: Capture, n: int, known: DeviceClock, server_ms: int) -> Interval:
    """When mutation `n` was captured. `known` already holds the exchange that brought it, which had been read at `server_ms`."""
    clocks: Sequence[ClockMark] = known.clocks
    wide = certain(n, known, server_ms)
    for mark in clocks:
        if mark.session == at.session:
            return _in_session(at, mark, wide)
    return _narrowed(wide, at, clocks[-2] if len(clocks) > 1 else None)


def _in_session(at: Capture, mark: ClockMark, wide: Interval) -> Interval:
    """By the monotonic clock; wider where the wall clock saw more time pass; all that is certain, where that contradicts it."""
    mono_ms, wall_ms = at.mono_ms - mark.mono_ms, at.wall_ms - mark.wall_ms
    drift_ms = drift_of(mono_ms)
    first, last = mark.server_ms + mono_ms - drift_ms, mark.server_ms + mono_ms + mark.late_ms + drift_ms
    if last < wide.start_ms - _doubt(mono_ms):
        return wide
    if mono_ms <= 0 and wall_ms < mono_ms - _doubt(mono_ms):  # the phone slept between capture and exchange, or its clock was set forward
        first = min(first, max(wide.start_ms, mark.server_ms + wall_ms))
    elif mono_ms >= 0 and wall_ms > mono_ms + _doubt(mono_ms):
        last = mark.server_ms + mark.late_ms + wall_ms
    end = min(wide.end_ms, last)
    return Interval(min(first, end), end)


def drift_of(passed_ms: int) -> int:
    """By how much a monotonic clock may err over this time, where that counts; milliseconds."""
    drift_ms = abs(passed_ms) // DRIFT_PER_MS
    return drift_ms if drift_ms >= DRIFT_LEAST_MS else 0


def _doubt(passed_ms: int) -> int:
    return DOUBT_MS + abs(passed_ms) // DOUBT_PER_MS


def not_before(when: Interval, floor_ms: int, read_ms: int) -> Interval:
    """The part of the interval from `floor_ms` on; if there is none, what was said of its end counts for nothing either."""
    if floor_ms <= when.start_ms:
        return when
    return Interval(floor_ms, when.end_ms) if floor_ms <= when.end_ms else Interval(min(floor_ms, read_ms), read_ms)


def certain(n: int, known: DeviceClock, server_ms: int) -> Interval:
    """After the last exchange at which fewer than `n` mutations had been made, before the receipt."""
    start = max((m.server_ms for m in known.marks if m.n_made < n and m.server_ms <= server_ms), default=0)
    return Interval(start, server_ms)


def _narrowed(wide: Interval, at: Capture, last: ClockMark | None) -> Interval:
    """By the last known offset between wall clock and server, unless that contradicts what is certain."""
    if last is None:
        return wide
    guess = at.wall_ms + last.server_ms - last.wall_ms
    start, end = max(wide.start_ms, guess - OFFSET_SLACK_MS), min(wide.end_ms, guess + OFFSET_SLACK_MS)
    return Interval(start, end) if start <= end else wide
