"""The phone's clock: wall time that may be wrong, a monotonic clock that may drift, and the session that ties the two.

The server trusts only differences inside one session (design.md 3.1), so a new session begins whenever continuity is
unproven. `SimulatedClock` lets tests and the demo own time.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Protocol

from contracts.mutation import Capture


class Clock(Protocol):
    """One reading is one `Capture`."""

    def read(self) -> Capture: ...


class SystemClock:
    """This machine's clock. The session is this process: after a restart continuity is unproven."""

    def __init__(self) -> None:
        self._session = uuid.uuid4().hex
        self._began = time.monotonic_ns()

    def read(self) -> Capture:
        mono_ms = (time.monotonic_ns() - self._began) // 1_000_000
        return Capture(wall_ms=time.time_ns() // 1_000_000, mono_ms=mono_ms, session=self._session)


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

    def jump(self, by_ms: int) -> None:
        """Somebody sets the wall clock, or the network does; the monotonic clock goes on."""
        self._offset_ms += by_ms

    def read(self) -> Capture:
        now = self._true_ms()
        drifted_ms = (now - self._made_ms) * self._drift_ppm // 1_000_000
        mono_ms = now - self._session_began_ms
        mono_ms += mono_ms * self._drift_ppm // 1_000_000
        return Capture(wall_ms=now + self._offset_ms + drifted_ms, mono_ms=max(0, mono_ms), session=self._session)
