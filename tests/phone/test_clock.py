"""The phone's clock as the server will see it: only differences inside a session mean anything (promise 8)."""

import time

from phone.clock import SimulatedClock, SystemClock


class Time:
    def __init__(self) -> None:
        self.ms = 1_790_000_000_000


def test_a_jump_of_the_wall_clock_leaves_the_elapsed_time_and_the_session():
    time = Time()
    clock = SimulatedClock(lambda: time.ms)
    before = clock.read()
    clock.jump(-2 * 24 * 3600 * 1000)
    time.ms += 60_000
    after = clock.read()
    assert after.mono_ms - before.mono_ms == 60_000
    assert after.wall_ms - before.wall_ms == 60_000 - 2 * 24 * 3600 * 1000
    assert after.session == before.session


def test_a_reboot_begins_a_session_at_zero():
    time = Time()
    clock = SimulatedClock(lambda: time.ms)
    time.ms += 5000
    before = clock.read()
    clock.reboot()
    assert clock.read().mono_ms == 0
    assert clock.read().session != before.session


def test_drift_moves_both_clocks_alike():
    time = Time()
    clock = SimulatedClock(lambda: time.ms, offset_ms=7000, drift_ppm=100)
    start = clock.read()
    time.ms += 10_000_000
    end = clock.read()
    assert end.mono_ms - start.mono_ms == 10_001_000
    assert end.wall_ms - start.wall_ms == 10_001_000
    assert start.wall_ms == 1_790_000_007_000


def test_the_system_clock_counts_forward_within_its_session():
    clock = SystemClock()
    first, second = clock.read(), clock.read()
    assert first.session == second.session
    assert 0 <= first.mono_ms <= second.mono_ms
    assert SystemClock().read().session != first.session


class Machine:
    """Both clocks of a machine, in seconds."""

    def __init__(self) -> None:
        self.elapsed_s, self.wall_s = 100, 1_790_000_000

    def pass_by(self, elapsed_s: int, wall_s: int) -> None:
        self.elapsed_s, self.wall_s = self.elapsed_s + elapsed_s, self.wall_s + wall_s

    def clock(self, *, counts_sleep: bool) -> SystemClock:
        return SystemClock(lambda: self.elapsed_s * 10**9, lambda: self.wall_s * 10**9, counts_sleep=counts_sleep)


def test_a_clock_that_does_not_count_sleep_begins_a_session_when_the_wall_clock_has_gained_on_it():
    machine = Machine()
    clock = machine.clock(counts_sleep=False)
    first = clock.read()
    machine.pass_by(600, 630)  # the network has set it by half a minute
    second = clock.read()
    machine.pass_by(600, 9 * 3600)  # the machine slept
    third = clock.read()
    machine.pass_by(60, 60)
    fourth = clock.read()
    assert first.session == second.session != third.session == fourth.session
    assert (second.mono_ms, third.mono_ms, fourth.mono_ms) == (600_000, 0, 60_000)


def test_a_clock_that_counts_sleep_keeps_its_session_whatever_the_wall_clock_says():
    machine = Machine()
    clock = machine.clock(counts_sleep=True)
    first = clock.read()
    machine.pass_by(9 * 3600, 9 * 3600 + 7200)
    second = clock.read()
    assert (second.session, second.mono_ms) == (first.session, 9 * 3_600_000)


def test_the_systems_clock_counts_sleep_where_the_system_has_one_that_does():
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic_ns()
    clock = SystemClock()
    assert 0 <= clock.began_ns - before < 60 * 10**9
