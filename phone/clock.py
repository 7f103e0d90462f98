"""The phone's clock: wall time that may be wrong, a monotonic clock that may drift, and the session that ties the two.

The server trusts only differences inside one session (design.md 3.1), so a new session begins whenever continuity is
unproven. `SimulatedClock` lets tests and the demo own time.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Final, Protocol

from contracts.mutation import Capture


class Clock(Protocol):
    """One reading is one `Capture`."""

    def read(self) -> Capture: ...


APART_MS: Final = 60_000  # how far wall and monotonic clock may drift apart between two readings of a session


class SystemClock:
    """This machine's clock. The session is this process: after a restart continuity is unproven.

    The monotonic clock counts sleep where the system has one that does (Linux, Android). Elsewhere it stands still, and only the
    wall clock tells: a phone that finds more of that elapsed begins a session, for the two may have been set or have slept.

    elapsed_ns   the monotonic clock
    wall_ns      Unix time
    counts_sleep the first goes on while the machine is suspended
    """

    def __init__(
        self,
        elapsed_ns: Callable[[], int] | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        *,
        counts_sleep: bool = hasattr(time, "CLOCK_BOOTTIME"),
    ) -> None:
        self._elapsed_ns = elapsed_ns or (_boot_ns if counts_sleep else time.monotonic_ns)
        self._wall_ns = wall_ns
        self._counts_sleep = counts_sleep
        self._begin(self._elapsed_ns())

    def _begin(self, elapsed_ns: int) -> None:
        self._session = uuid.uuid4().hex
        self.began_ns = elapsed_ns
        self._apart_ms: int | None = None

    def read(self) -> Capture:
        elapsed_ns, wall_ms = self._elapsed_ns(), self._wall_ns() // 1_000_000
        apart_ms = wall_ms - elapsed_ns // 1_000_000
        if not self._counts_sleep and self._apart_ms is not None and apart_ms - self._apart_ms > APART_MS:
            self._begin(elapsed_ns)
        self._apart_ms = apart_ms
        return Capture(wall_ms=wall_ms, mono_ms=(elapsed_ns - self.began_ns) // 1_000_000, session=self._session)


def _boot_ns() -> int:
    """Nanoseconds since boot, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class SimulatedClock:
    """A phone clock in a world whose true time is `true_ms()`.

    offset_ms   how far the wall clock is off (positive: ahead)
    drift_ppm   how much faster than true time both clocks run, parts per million
    """

    def __init__(self, true_ms: Callable[[], int], *, offset_ms: int = 0, drift_ppm: int = 0) -> None:
        self._true_ms = true_ms
        self._offset_ms = offset_ms
        self._drift_ppm = drift_ppm
        self._made_ms = true_ms()
        self.reboot()

    def reboot(self) -> None:
        """The monotonic clock starts again at zero, under a new session."""
        self._session = uuid.uuid4().hex
        self._session_began_ms = self._true_ms()
        self._slept_ms = 0

    def sleep(self, for_ms: int) -> None:
        """The monotonic clock stood still for so long, in the same session, as on phones that do not count suspend."""
        self._slept_ms += for_ms

    def jump(self, by_ms: int) -> None:
        """Somebody sets the wall clock, or the network does; the monotonic clock goes on."""
        self._offset_ms += by_ms

    def read(self) -> Capture:
        now = self._true_ms()
        drifted_ms = (now - self._made_ms) * self._drift_ppm // 1_000_000
        mono_ms = now - self._session_began_ms - self._slept_ms
        mono_ms += mono_ms * self._drift_ppm // 1_000_000
        return Capture(wall_ms=now + self._offset_ms + drifted_ms, mono_ms=max(0, mono_ms), session=self._session)
