"""When was it captured? A simulated phone whose true time is known, against what the server believes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.mutation import Capture
from contracts.people import Role
from phone.clock import SimulatedClock
from sync.clock import CLOCKS_MAX, MARKS_MAX, DeviceClock, Interval, captured, remember
from sync.permission import Verdict, may
from tests.builders import PLACES, a_duty, utc
from tests.county import TOWNSHIP, VILLAGE_A, VILLAGE_B

T0 = 1_795_000_000_000
HOUR = 3_600_000


class Phone:
    """True time, a clock that jumps and reboots, mutations with the hour they were really made."""

    def __init__(self, offset_ms: int) -> None:
        self.true_ms = T0
        self.clock = SimulatedClock(lambda: self.true_ms, offset_ms=offset_ms)
        self.made: list[tuple[int, Capture]] = []
        self.known = DeviceClock()

    def wait(self, ms: int) -> None:
        self.true_ms += ms

    def make(self) -> None:
        self.made.append((self.true_ms, self.clock.read()))

    def exchange(self) -> None:
        self.known = remember(self.known, self.clock.read(), len(self.made), self.true_ms)


ACTIONS = st.lists(
    st.tuples(st.just("wait"), st.integers(0, 12 * HOUR))
    | st.tuples(st.sampled_from(["make", "exchange", "reboot"]), st.just(0))
    | st.tuples(st.just("jump"), st.integers(-48 * HOUR, 48 * HOUR)),
    max_size=30,
)


def lived(offset_ms: int, actions: list[tuple[str, int]], *, jumps: bool) -> Phone:
    phone = Phone(offset_ms)
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
def test_a_session_that_the_server_has_met_is_exact_even_while_the_wall_clock_jumps(offset_ms: int, actions: list[tuple[str, int]]) -> None:
    """Promise 8."""
    phone = lived(offset_ms, [a for a in actions if a[0] != "reboot"], jumps=True)
    for n, (true_ms, at) in enumerate(phone.made, start=1):
        assert captured(at, n, phone.known, phone.true_ms) == Interval(true_ms, true_ms)


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
