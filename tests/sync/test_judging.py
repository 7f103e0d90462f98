"""The next moment: between two of them nothing falls due, whatever the story, the rules and the times of asking."""

from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.ids import RecordId
from contracts.kind import Step
from contracts.kinds.problem import Problem
from contracts.kinds.supervision import Supervision
from contracts.rules import Colour, ColourTrigger, Duration, LookBackRule, RemindersRule, RuleName, RuleVersion
from sync.colours import Colours
from sync.due import GONE, Due, Ended, Family, Letter, Subject, Summoned, basis_of, ended
from sync.judging import Judged, judge
from sync.places import Places
from sync.rules import RuleBook
from tests.builders import PLACES, an_id
from tests.county import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A
from tests.sync.test_colours import BEGAN, DAY, LATE, NOW, WHITE, YELLOW, a_summons, after, assigned, rule, step

FIRST = BEGAN - timedelta(days=2)
HOURS = st.integers(0, 60 * 24)
RED = ColourTrigger(key="red", colour=Colour.RED, fact="unanswered", after=Duration(working_days=1))
TRIGGERS = st.lists(
    st.sampled_from(
        [
            msgspec.structs.replace(WHITE, after=None),
            WHITE,
            msgspec.structs.replace(WHITE, after=Duration(working_days=3)),
            msgspec.structs.replace(WHITE, answer_within=Duration(working_days=2)),
            YELLOW,
            RED,
            LATE,
            ColourTrigger(key="again", colour=Colour.YELLOW, fact="returned", count=1, after=Duration(hours=30)),
            ColourTrigger(key="back", colour=Colour.RED, fact="rebounded", count=1, answer_within=Duration(hours=20)),
        ]
    ),
    unique_by=lambda trigger: trigger.key,
)


def reminders_and_look_backs(hours: list[int], look_back: int | None) -> list[RuleVersion]:
    bodies: dict[RuleName, Any] = {
        RuleName.REMINDERS: RemindersRule(before=[Duration(hours=h) for h in hours if h]),
        RuleName.LOOK_BACK: LookBackRule(after=Duration(working_days=look_back) if look_back is not None else None),
    }
    return [RuleVersion(county=COUNTY, name=name, version=1, starts=BEGAN, body=msgspec.to_builtins(body)) for name, body in bodies.items()]


@st.composite
def books(draw: st.DrawFn) -> RuleBook:
    starts = sorted(draw(st.lists(HOURS, max_size=3, unique=True)))
    colours = [rule(*draw(TRIGGERS), n=n + 1, starts=BEGAN + timedelta(hours=h)) for n, h in enumerate([0, *starts])]
    others = reminders_and_look_backs(draw(st.lists(st.integers(1, 200), max_size=2)), draw(st.none() | st.integers(0, 9)))
    return RuleBook([*colours, *others])


WAY: dict[str, tuple[str, str]] = {  # command -> the states between which it is told
    "problem.extend": ("assigned", "assigned"),
    "problem.assign": ("assigned", "assigned"),
    "problem.submit_fix": ("assigned", "submitted"),
    "problem.return": ("submitted", "rectifying"),
    "problem.suspend": ("assigned", "suspended"),
    "problem.resume": ("suspended", "assigned"),
    "problem.close_out": ("accepted", "closed_out"),
    "problem.rebound": ("closed_out", "rectifying"),
    "problem.not_true": ("verified", "not_true"),
}


@st.composite
def problems(draw: st.DrawFn) -> Subject:
    """A story of commands, each taken and captured at some time; no machine has looked at it."""
    steps: list[Step] = []
    values: dict[str, Any] = {"state": "assigned", "due_on": DAY, "suspended_until": None, "look_back_on": None}
    for h in sorted(draw(st.lists(HOURS, max_size=6))):
        at = BEGAN + timedelta(hours=h)
        command = draw(st.sampled_from(sorted(WAY)))
        source, to = WAY[command]
        sets: dict[str, Any] = {}
        if command in ("problem.extend", "problem.assign", "problem.rebound", "problem.return"):
            values["due_on"] = DAY + timedelta(days=draw(st.integers(-8, 40)))
            sets["due_on"] = values["due_on"].isoformat()
        if command == "problem.assign":
            sets["leads"] = draw(st.sampled_from([[DEPARTMENT], [TOWNSHIP], [DEPARTMENT, TOWNSHIP]]))
        if command == "problem.suspend":
            values["suspended_until"] = DAY + timedelta(days=draw(st.integers(-8, 40)))
            sets["suspended_until"] = values["suspended_until"].isoformat()
        if command == "problem.close_out":
            values["look_back_on"] = draw(st.none() | st.integers(0, 40).map(lambda n: DAY + timedelta(days=n)))
        values["state"] = to
        told = step(command, at, to, captured=at - timedelta(hours=draw(st.integers(0, 50))), **sets)
        steps.append(msgspec.structs.replace(told, source=source))
    first = step("problem.assign", BEGAN, "assigned", due_on=DAY.isoformat(), leads=[DEPARTMENT])
    body = Problem(unit=VILLAGE_A, subject="open_burning", title="焚烧", steps=[first, *steps], **values)
    return Subject(id=an_id(5), unit=VILLAGE_A, problem=body)


@st.composite
def families(draw: st.DrawFn) -> Family:
    if draw(st.booleans()):
        subject = draw(problems())
        return Family(root=subject.id, about=subject, ended=ended("problem", subject.problem.state, subject.problem.steps))
    commands = ["summons.sign", "summons.report_in", "summons.refuse", "summons.result"]
    done = draw(st.lists(st.tuples(HOURS, st.sampled_from(commands)), max_size=3))
    summons = a_summons(*(step(command, BEGAN + timedelta(hours=h)) for h, command in sorted(done)))
    return Family(root=an_id(9), about=Summoned(id=an_id(9), summons=summons))


def judged(family: Family, book: RuleBook, now: datetime) -> Judged:
    return judge(family, book, Colours(book, PLACES, COUNTY), COUNTY, now)


def made(family: Family, due: list[Due]) -> Family:
    """With the letters written, and those lifted that are to be."""
    bodies = {one.record: msgspec.convert(one.body, Supervision) for one in due if one.kind == "supervision" and one.op == "create"}
    lifts = {one.record: one.fields["lifted_because"][1] for one in due if one.op == "supervision.lift"}
    written = [*family.letters, *(Letter(id=i, supervision=body) for i, body in bodies.items())]
    letters = [
        Letter(id=one.id, supervision=msgspec.structs.replace(one.supervision, state="lifted", lifted_because=lifts[one.id]))
        if one.id in lifts
        else one
        for one in written
    ]
    return msgspec.structs.replace(family, letters=letters)


class Worker:
    """Judges a family at the moments it is given, as storage/timers.py does; what it did once it does not do again."""

    def __init__(self, family: Family, book: RuleBook) -> None:
        self.family, self.book = family, book
        self.done: dict[RecordId, Due] = {}
        self.next_at: datetime | None = FIRST

    def run(self, now: datetime) -> list[Due]:
        """Until there is nothing new; returns what was done, letters that were lifted left out."""
        before = set(self.done)
        while True:
            found = judged(self.family, self.book, now)
            new = [one for one in found.due if one.mutation_id() not in self.done]
            self.done |= {one.mutation_id(): one for one in new}
            self.family, self.next_at = made(self.family, new), found.next_at
            if not new:
                return [one for i, one in self.done.items() if i not in before and one.op != "supervision.lift"]

    def letters(self) -> set[tuple[RecordId, str | None]]:
        return {(one.id, one.supervision.lifted_because) for one in self.family.letters}


def others(worker: Worker) -> set[tuple[str, str, datetime]]:
    return {(one.op, str(one.record), one.moment) for one in worker.done.values() if one.kind != "supervision"}


@given(families(), books(), st.lists(HOURS, max_size=12))
def test_who_sleeps_until_the_next_moment_misses_nothing(family: Family, book: RuleBook, asked: list[int]) -> None:
    """One worker is woken by next moments only, and then everything is of that very moment; another whenever chance will have it."""
    sleeper, watcher = Worker(family, book), Worker(family, book)
    end = NOW + timedelta(days=40)
    while sleeper.next_at is not None and sleeper.next_at <= end:
        woken = sleeper.next_at
        assert {one.moment for one in sleeper.run(woken)} <= {woken}
        assert sleeper.next_at is None or sleeper.next_at > woken
    for h in sorted(asked):
        watcher.run(BEGAN + timedelta(hours=h))
    assert sleeper.run(end) == []
    watcher.run(end)
    assert sleeper.letters() == watcher.letters()
    assert others(sleeper) >= {
        one for one in others(watcher) if one[0] != "problem.remind"
    }  # of several slept through, the nearest is sent


@given(families(), books(), HOURS, st.integers(1, 300))
def test_between_two_moments_nothing_falls_due(family: Family, book: RuleBook, h: int, later: int) -> None:
    worker = Worker(family, book)
    worker.run(BEGAN + timedelta(hours=h))
    moment = BEGAN + timedelta(hours=h) + timedelta(hours=later)
    if worker.next_at is None or moment < worker.next_at:
        assert [one for one in judged(worker.family, book, moment).due if one.mutation_id() not in worker.done] == []


# ------------------------------------------------------------------------------------------------ what has ended


def lifted(family: Family, now: datetime = NOW) -> list[Any]:
    return [
        one.fields["lifted_because"][1] for one in judged(family, RuleBook([rule(WHITE, YELLOW)]), now).due if one.op == "supervision.lift"
    ]


def by_hand(issued: float, **more: Any) -> Letter:
    given: dict[str, Any] = {"unit": DEPARTMENT, "colour": Colour.RED, "title": "督办", "issued_by_unit": str(COUNTY)}
    return Letter(id=an_id(77), supervision=Supervision(**given, issued_at=after(issued), **more))


@pytest.mark.parametrize(
    ("letter", "end", "why"),
    [
        (by_hand(1), None, []),
        (by_hand(1), Ended(at=after(9), is_done=False), ["closed"]),
        (by_hand(1), Ended(at=after(9), is_done=True), []),  # whoever asked by hand judges the answer
        (by_hand(10), Ended(at=after(9), is_done=False), []),  # it was known then
        (by_hand(10), GONE, ["closed"]),
        (by_hand(1, state="lifted"), GONE, []),
    ],
)
def test_a_letter_by_hand_ends_with_what_is_no_more(letter: Letter, end: Ended | None, why: list[str]) -> None:
    assert lifted(Family(root=an_id(5), ended=end, letters=[letter])) == why


def test_a_letter_of_a_rule_ends_with_what_was_done_and_is_followed_by_none() -> None:
    fixed = [step("problem.submit_fix", after(30), "submitted"), step("problem.close_out", after(31), "closed_out")]
    subject = assigned(*fixed)
    book = RuleBook([rule(WHITE, YELLOW)])
    worker = Worker(Family(root=subject.id, about=subject, ended=Ended(at=after(31), is_done=True)), book)
    worker.run(after(100))
    assert [one.supervision.lifted_because for one in worker.family.letters] == ["closed"]
    assert worker.next_at is None


def test_what_is_gone_calls_for_nothing_more() -> None:
    book = RuleBook([rule(WHITE, YELLOW)])
    worker = Worker(Family(root=an_id(5), about=assigned()), book)
    worker.run(after(25))
    gone = Worker(msgspec.structs.replace(worker.family, about=None, ended=GONE), book)
    gone.run(after(900))
    assert [one.supervision.lifted_because for one in gone.family.letters] == ["closed"]


def test_a_count_of_returns_is_not_written_about_after_close_out() -> None:
    trigger = ColourTrigger(key="again", colour=Colour.YELLOW, fact="returned", count=1, after=Duration(hours=30))
    returned = step("problem.return", after(10), "rectifying")
    found = Colours(RuleBook([rule(trigger)]), PLACES, COUNTY)
    assert [one.moment for one in found.of_problem(assigned(returned), NOW)] == [after(40)]
    for command, letters in (("problem.close_out", []), ("problem.not_true", []), ("problem.feed_back", [after(40)])):
        story = assigned(returned, step(command, after(39), "closed_out"))
        assert [one.moment for one in found.of_problem(story, NOW)] == letters


def test_what_an_ending_state_says_of_when() -> None:
    steps = [step("problem.close_out", after(1), "closed_out"), step("problem.look_back", after(9), "look_back_passed")]
    told = [msgspec.structs.replace(one, source=source) for one, source in zip(steps, ("accepted", "closed_out"), strict=True)]
    assert ended("problem", "look_back_passed", told) == Ended(at=after(1), is_done=True)
    assert ended("problem", "rectifying", told) is None
    assert ended("summons", "cancelled", []) == Ended(at=None, is_done=False)


def test_another_rule_or_unit_is_another_basis() -> None:
    book, day_off = RuleBook([rule(WHITE)]), {date(2027, 1, 1): False}
    assert basis_of(book, PLACES) == basis_of(RuleBook([rule(WHITE)]), PLACES)
    less = Places(unit for code, unit in PLACES.units.items() if code != DEPARTMENT)
    changed = [basis_of(RuleBook([rule(WHITE, YELLOW)]), PLACES), basis_of(RuleBook([rule(WHITE)], day_off), PLACES), basis_of(book, less)]
    assert len({basis_of(book, PLACES), *changed}) == 4
