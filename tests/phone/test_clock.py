"""The phone's clock as the server will see it: only differences inside a session mean anything (promise 8)."""

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
