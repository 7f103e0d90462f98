"""When was it captured? A simulated phone whose true time is known, against what the server believes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.mutation import Capture
from contracts.people import Role
from phone.clock import SimulatedClock
from sync.clock import (
    CLOCKS_MAX,
    DOUBT_MS,
    DOUBT_PER_MS,
    DRIFT_LEAST_MS,
    MARKS_MAX,
    DeviceClock,
    Interval,
    begun,
    captured,
    drift_of,
    remember,
)
from sync.permission import Verdict, may
from tests.builders import PLACES, a_duty, utc
from tests.county import TOWNSHIP, VILLAGE_A, VILLAGE_B

T0 = 1_795_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR


class Phone:
    """True time, a clock that jumps and reboots, mutations with the hour they were really made."""

    def __init__(self, offset_ms: int, drift_ppm: int = 0) -> None:
        self.true_ms = T0
        self.clock = SimulatedClock(lambda: self.true_ms, offset_ms=offset_ms, drift_ppm=drift_ppm)
        self.made: list[tuple[int, Capture]] = []
        self.known = DeviceClock()

    def wait(self, ms: int) -> None:
        self.true_ms += ms

    def make(self) -> None:
        self.made.append((self.true_ms, self.clock.read()))

    def exchange(self) -> None:
        self.known = remember(self.known, self.clock.read(), len(self.made), self.true_ms)


def around(moment_ms: int, passed_ms: int) -> Interval:
    """A moment of a session, known by an exchange so much later: by the drift of a quartz."""
    drift_ms = drift_of(passed_ms)
    return Interval(moment_ms - drift_ms, moment_ms + drift_ms)


ACTIONS = st.lists(
    st.tuples(st.just("wait"), st.integers(0, 12 * HOUR))
    | st.tuples(st.sampled_from(["make", "exchange", "reboot"]), st.just(0))
    | st.tuples(st.just("jump"), st.integers(-48 * HOUR, 48 * HOUR)),
    max_size=30,
)


def lived(offset_ms: int, actions: list[tuple[str, int]], *, jumps: bool, drift_ppm: int = 0) -> Phone:
    phone = Phone(offset_ms, drift_ppm)
    phone.exchange()
    for action, ms in actions:
        match action:
            case "wait":
                phone.wait(ms)
            case "make":
                phone.make()
            case "exchange":
                phone.exchange()
            case "reboot":
                phone.clock.reboot()
            case "jump" if jumps:
                phone.clock.jump(ms)
            case "sleep":
                phone.wait(ms)
                phone.clock.sleep(ms)
    phone.exchange()
    return phone


@settings(max_examples=300, deadline=None)
@given(st.integers(-48 * HOUR, 48 * HOUR), ACTIONS)
def test_the_true_hour_lies_in_the_interval(offset_ms: int, actions: list[tuple[str, int]]) -> None:
    """Promise 8. However wrong the wall clock is: while nobody turns it, reboots and hours without signal do no harm."""
    phone = lived(offset_ms, actions, jumps=False)
    for n, (true_ms, at) in enumerate(phone.made, start=1):
        when = captured(at, n, phone.known, phone.true_ms)
        assert when.start_ms <= true_ms <= when.end_ms <= phone.true_ms


@settings(max_examples=300, deadline=None)
@given(st.integers(-48 * HOUR, 48 * HOUR), ACTIONS)
def test_a_session_that_the_server_has_met_is_true_even_while_the_wall_clock_jumps(offset_ms: int, actions: list[tuple[str, int]]) -> None:
    """Promise 8. As wide as the clock was set forward, which looks as a phone does that has slept, and as a quartz drifts."""
    phone = lived(offset_ms, [a for a in actions if a[0] != "reboot"], jumps=True)
    forward_ms = sum(max(0, ms) for action, ms in actions if action == "jump")
    for n, (true_ms, at) in enumerate(phone.made, start=1):
        when = captured(at, n, phone.known, phone.true_ms)
        drift_ms = drift_of(phone.true_ms - T0)
        assert when.start_ms <= true_ms <= when.end_ms <= true_ms + drift_ms
        assert when.end_ms - when.start_ms <= forward_ms + 2 * drift_ms


@settings(max_examples=300, deadline=None)
@given(st.integers(-48 * HOUR, 48 * HOUR), ACTIONS)
def test_a_session_that_the_server_has_met_is_known_but_for_drift_while_nobody_sets_the_clock_forward(
    offset_ms: int, actions: list[tuple[str, int]]
) -> None:
    """Promise 8."""
    back = [(a, -abs(ms) if a == "jump" else ms) for a, ms in actions if a != "reboot"]
    phone = lived(offset_ms, back, jumps=True)
    for n, (true_ms, at) in enumerate(phone.made, start=1):
        when, widest = captured(at, n, phone.known, phone.true_ms), around(true_ms, phone.true_ms - T0)
        assert widest.start_ms <= when.start_ms <= true_ms <= when.end_ms <= widest.end_ms


@settings(max_examples=300, deadline=None)
@given(st.integers(-240, 240), st.integers(0, 60 * 24 * HOUR), st.integers(0, 60 * 24 * HOUR))
def test_a_month_without_signal_is_dated_as_well_as_its_quartz_keeps_time(drift_ppm: int, before_ms: int, after_ms: int) -> None:
    """Promise 8. A clock that is slow by 200 ppm has lost nine minutes when its phone comes home after a month."""
    steps = [("wait", before_ms), ("make", 0), ("wait", after_ms)]
    phone = lived(0, steps, jumps=False, drift_ppm=drift_ppm)
    ((true_ms, at),) = phone.made
    when = captured(at, 1, phone.known, phone.true_ms)
    assert when.start_ms - DRIFT_LEAST_MS <= true_ms <= when.end_ms + DRIFT_LEAST_MS
    if after_ms >= 2 * DAY:
        assert when.start_ms - 2 <= true_ms <= when.end_ms + 2  # clocks are read in whole milliseconds


@settings(max_examples=300, deadline=None)
@given(st.integers(-48 * HOUR, 48 * HOUR), ACTIONS.map(lambda actions: [("sleep" if a == "jump" else a, abs(ms)) for a, ms in actions]))
def test_the_true_hour_lies_in_the_interval_of_a_phone_whose_clock_sleeps_with_it(offset_ms: int, actions: list[tuple[str, int]]) -> None:
    """A monotonic clock that stood still is contradicted by the wall clock; what is certain of the rest is kept."""
    phone = lived(offset_ms, actions, jumps=False)
    for n, (true_ms, at) in enumerate(phone.made, start=1):
        when = captured(at, n, phone.known, phone.true_ms)
        doubt_ms = DOUBT_MS + (phone.true_ms - T0) // DOUBT_PER_MS
        assert when.start_ms - doubt_ms <= true_ms <= when.end_ms + doubt_ms


def test_nine_hours_of_sleep_do_not_make_the_morning_an_evening() -> None:
    """The wall clock says nine hours, the monotonic one ten minutes: both bounds are kept, and neither is believed."""
    phone = Phone(offset_ms=0)
    phone.exchange()
    phone.wait(HOUR)
    phone.make()
    made_ms = phone.true_ms
    phone.wait(9 * HOUR)
    phone.clock.sleep(9 * HOUR - 600_000)
    phone.exchange()
    ((_, at),) = phone.made
    when = captured(at, 1, phone.known, phone.true_ms)
    assert (when.start_ms, when.end_ms) == (made_ms, phone.true_ms - 600_000)


def test_a_body_that_is_long_on_its_way_is_dated_from_when_its_first_byte_came() -> None:
    """Twenty minutes of upload: the phone read its clock before, the server read the last byte after."""
    phone = Phone(offset_ms=0)
    phone.wait(HOUR)
    phone.make()
    ((made_ms, at),) = phone.made
    phone.wait(60_000)
    sent, read_ms = phone.clock.read(), phone.true_ms + 20 * 60_000
    known = remember(phone.known, sent, 1, phone.true_ms, read_ms)
    assert captured(at, 1, known, read_ms) == Interval(made_ms, made_ms + 20 * 60_000)


def test_an_earlier_quick_exchange_of_the_session_dates_a_slow_one_exactly() -> None:
    phone = Phone(offset_ms=0)
    phone.exchange()
    phone.wait(HOUR)
    phone.make()
    ((made_ms, at),) = phone.made
    known = remember(phone.known, phone.clock.read(), 1, phone.true_ms, phone.true_ms + 20 * 60_000)
    assert captured(at, 1, known, phone.true_ms + 20 * 60_000) == Interval(made_ms, made_ms)


def test_nothing_is_captured_before_the_device_was_enrolled() -> None:
    """Neither of an unknown session, nor by a monotonic clock that says so."""
    now = T0 + 10 * HOUR
    enrolled = begun(remember(DeviceClock(), Capture(wall_ms=now, mono_ms=9 * HOUR, session="s"), 1, now), T0 + 8 * HOUR)
    unknown = Capture(wall_ms=T0, mono_ms=0, session="another")
    assert captured(unknown, 1, enrolled, now).start_ms == T0 + 8 * HOUR
    assert captured(Capture(wall_ms=now, mono_ms=0, session="s"), 1, enrolled, now) == Interval(T0 + 8 * HOUR, now)
    assert captured(Capture(wall_ms=now, mono_ms=8 * HOUR, session="s"), 1, enrolled, now) == around(T0 + 9 * HOUR, HOUR)


def test_what_contradicts_an_earlier_exchange_is_only_as_certain_as_that() -> None:
    """The phone said at ten that it had made nothing yet; a clock that says eight of its first mutation is not believed."""
    known = remember(DeviceClock(), Capture(wall_ms=T0 + 10 * HOUR, mono_ms=10 * HOUR, session="s"), 0, T0 + 10 * HOUR)
    known = remember(known, Capture(wall_ms=T0 + 11 * HOUR, mono_ms=11 * HOUR, session="s"), 1, T0 + 11 * HOUR)
    at = Capture(wall_ms=T0 + 8 * HOUR, mono_ms=8 * HOUR, session="s")
    assert captured(at, 1, known, T0 + 11 * HOUR) == Interval(T0 + 10 * HOUR, T0 + 11 * HOUR)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(-(2**53), 2**53),
    st.integers(0, 2**53),
    st.sampled_from(["a", "b", ""]),
    st.integers(0, 2**53),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**41), st.sampled_from("ab")), max_size=40),
)
def test_no_clock_makes_an_interval_that_ends_after_the_receipt(
    wall: int, mono: int, session: str, n: int, marks: list[tuple[int, int, str]]
) -> None:
    """Promise 8. Total, and bounded by what is certain, whatever a phone says."""
    known = DeviceClock()
    for n_made, server_ms, mark_session in marks:
        known = remember(known, Capture(wall_ms=wall, mono_ms=n_made, session=mark_session), n_made, server_ms)
    assert len(known.clocks) <= CLOCKS_MAX
    assert len(known.marks) <= MARKS_MAX
    when = captured(Capture(wall_ms=wall, mono_ms=mono, session=session), n, known, 2**41)
    assert when.start_ms <= when.end_ms <= 2**41


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_a_duty_that_covers_part_of_the_interval_is_flagged_and_none_is_no_duty(start: int, length: int, begins: int, lasts: int) -> None:
    """Promise 8. Whole: yes. Some: accepted and flagged. None: held."""
    when = Interval(T0 + start * 1000, T0 + (start + length) * 1000)
    duty = a_duty(Role.GRID_MEMBER, VILLAGE_A, starts=utc(T0 + begins * 1000), ends=utc(T0 + (begins + lasts + 1) * 1000))
    seconds = range(start, start + length + 1)
    held = [begins <= second < begins + lasts + 1 for second in seconds]
    expected = Verdict.YES if all(held) else Verdict.FLAGGED if any(held) else Verdict.NO_DUTY
    assert may([duty], PLACES, "site", "edit", VILLAGE_A, when) is expected
    assert may([duty], PLACES, "site", "edit", VILLAGE_B, when) is Verdict.NO_DUTY
    if expected is not Verdict.NO_DUTY:
        assert may([duty], PLACES, "site", "delete", VILLAGE_A, when) is Verdict.WRONG_ROLE


def test_a_duty_covers_what_lies_below_its_unit() -> None:
    """Promise 6."""
    when = Interval(T0, T0)
    township = a_duty(Role.TOWNSHIP_LEAD, TOWNSHIP, starts=utc(T0))
    assert may([township], PLACES, "site", "delete", VILLAGE_A, when) is Verdict.YES
    assert may([township], PLACES, "site", "delete", "610902", when) is Verdict.NO_DUTY
