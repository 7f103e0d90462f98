"""What was the case, and from when to when: facts read from the stories of problems, summonses and letters. Pure.

Steps stand in the order in which the server took them. What relieves a unit (a fix, a suspension, a later deadline, an answer) counts from
its capture, so that a phone without signal loses nothing. What burdens it (an assignment, a return, an earlier deadline) counts from when
the server took it, because nobody could know of it before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any, Final

import msgspec

from contracts.ids import UnitCode
from contracts.kind import Step
from contracts.kinds.problem import Problem
from contracts.kinds.summons import Clock, ClockName, Summons
from contracts.kinds.supervision import Supervision
from sync.rules import EVER, end_of, read_day

FIXING: Final = frozenset({"problem.submit_fix", "problem.fix_on_spot"})
HANDED_IN: Final = "handed_in"  # what a step says: the leads whose part it is
ACCEPTING: Final = "problem.accept"  # whoever was spared its part has nothing more to do
CLOSING: Final = frozenset({"problem.close_out", "problem.not_true"})
UNDOING: Final = frozenset({"problem.return", "problem.rebound", "problem.assign"})
# What makes good each clock of a summons.
ANSWERS: Final[dict[str, frozenset[str]]] = {
    "sign": frozenset({"summons.sign", "summons.report_in", "summons.result", "summons.refuse"}),
    "report_in": frozenset({"summons.report_in", "summons.result", "summons.refuse"}),
    "result": frozenset({"summons.result", "summons.refuse"}),
}


class Period(msgspec.Struct, frozen=True):
    """From `start` on, until just before `end`; None: it lasts."""

    start: datetime
    end: datetime | None = None

    def holds(self, moment: datetime) -> bool:
        return self.start <= moment and (self.end is None or moment < self.end)


def done_at(step: Step) -> datetime:
    """When it was done, at the latest."""
    return step.captured_at or step.at


def _any(periods: Iterable[Period], moment: datetime) -> bool:
    return any(period.holds(moment) for period in periods)


def _edges(periods: Iterable[Period]) -> set[datetime]:
    return {edge for period in periods for edge in (period.start, period.end) if edge is not None}


def _lasting(edges: Iterable[datetime], is_so: Callable[[datetime], bool]) -> list[Period]:
    """The longest periods in which something is so, which can change only at these edges."""
    found: list[Period] = []
    since: datetime | None = None
    for edge in sorted(edges):
        if is_so(edge):
            since = since or edge
        elif since is not None:
            found.append(Period(since, edge))
            since = None
    return found if since is None else [*found, Period(since)]


def _until(steps: Sequence[Step], k: int, ends: Callable[[Step], bool]) -> datetime | None:
    """When the server took the first later step that ends what step `k` began."""
    return next((step.at for step in steps[k + 1 :] if ends(step)), None)


# ------------------------------------------------------------------------------------------------ problems


class Owed:
    """Who had to fix a problem, until when, and what relieved them: as it was at any moment."""

    def __init__(self, problem: Problem, unit: UnitCode) -> None:
        self._unit = unit
        self._steps = problem.steps
        self.deadlines = _deadlines(problem)
        self.leads = _leads(problem)
        self.relief = [*_fixed(problem.steps), *_paused(problem), *_not_true(problem.steps)]
        # where nobody leads, nobody's part is waited for
        self.parts = [(one, parts or ([] if self._named(one.start) else [unit])) for one, parts in _handed_in(problem.steps)]

    def deadline(self, moment: datetime) -> date | None:
        return next((day for since, day in reversed(self.deadlines) if since <= moment), None)

    def units(self, moment: datetime) -> list[UnitCode]:
        """Who leads; before anybody does, the problem's own unit."""
        return self._named(moment) or [self._unit]

    def _named(self, moment: datetime) -> list[UnitCode]:
        return next((leads for since, leads in reversed(self.leads) if since <= moment), [])

    def is_relieved(self, moment: datetime, unit: UnitCode | None = None) -> bool:
        """Whether `unit` had nothing to do; None: nobody who leads had."""
        return _any(self.relief, moment) or all(self._has_handed_in(one, moment) for one in ([unit] if unit else self.units(moment)))

    def _has_handed_in(self, unit: UnitCode, moment: datetime) -> bool:
        return any(unit in units and period.holds(moment) for period, units in self.parts)

    def is_overdue(self, moment: datetime, unit: UnitCode | None = None) -> bool:
        day = self.deadline(moment)
        return day is not None and end_of(day) <= moment and not self.is_relieved(moment, unit)

    def said(self, moment: datetime, unit: UnitCode | None = None) -> dict[str, Any]:
        """What was the case at a moment, for `unit` or for whoever led, for people to read."""
        day = self.deadline(moment)
        relief = [*self.relief, *(period for period, units in self.parts if unit is None or unit in units)]
        relieved = [period.start for period in relief if period.holds(moment)] if self.is_relieved(moment, unit) else []
        facts = {"due_on": day.isoformat() if day else None, "units": self.units(moment)}
        return facts | ({"relieved_since": min(relieved).isoformat()} if relieved else {})

    def edges(self) -> set[datetime]:
        named = {since for since, _ in (*self.deadlines, *self.leads)} | {end_of(day) for _, day in self.deadlines}
        return named | _edges([*self.relief, *(period for period, _ in self.parts)])

    def overdue(self, unit: UnitCode | None) -> list[Period]:
        """When it was overdue while `unit` had to fix it; None: whoever had to."""
        return _lasting(self.edges(), lambda moment: self.is_overdue(moment, unit) and (unit is None or unit in self.units(moment)))

    def everybody(self) -> list[UnitCode]:
        """All units that ever had to fix it."""
        return list(dict.fromkeys(unit for moment in sorted(self.edges() | {EVER}) for unit in self.units(moment)))

    def times(self, command: str, count: int) -> list[Period]:
        """Since it happened for the `count`-th time, until the problem was closed."""
        happened = sorted(step.at for step in self._steps if step.command == command)
        if len(happened) < count:
            return []
        start = happened[count - 1]
        closed = (done_at(step) for step in self._steps if step.command in CLOSING and step.at >= start)
        return [Period(start, min(closed, default=None))]


def _told(steps: Iterable[Step], name: str) -> Iterator[tuple[Step, Any]]:
    return ((step, step.sets[name]) for step in steps if name in step.sets)


def _deadlines(problem: Problem) -> list[tuple[datetime, date]]:
    """(since when, the day), in the order they were set: every command and every settlement says so in its step. Without any: the one it has."""
    found: list[tuple[datetime, date]] = []
    for step, value in _told(problem.steps, "due_on"):
        day = read_day(value)
        if day is not None:
            is_later = bool(found) and day > found[-1][1]
            found.append((done_at(step) if is_later and step.command == "problem.extend" else step.at, day))
    return found or ([(EVER, problem.due_on)] if problem.due_on is not None else [])


def _leads(problem: Problem) -> list[tuple[datetime, list[UnitCode]]]:
    found = [(step.at, [str(unit) for unit in units]) for step, units in _told(problem.steps, "leads") if isinstance(units, list)]
    return found or ([(EVER, problem.leads)] if problem.leads else [])


def _fixed(steps: Sequence[Step]) -> Iterator[Period]:
    """A fix of the whole: on the spot, accepted so, or from before steps said whose part it is."""
    for k, step in enumerate(steps):
        if step.command == ACCEPTING or (step.command in FIXING and step.sets.get(HANDED_IN) is None):
            yield _standing(steps, k)


def _handed_in(steps: Sequence[Step]) -> Iterator[tuple[Period, list[UnitCode]]]:
    """The parts of leads; what somebody did who only helps is the part of none of them, as it is for acceptance."""
    for k, step in enumerate(steps):
        if step.command in FIXING and (parts := step.sets.get(HANDED_IN)) is not None:
            yield _standing(steps, k), [str(unit) for unit in parts]


def _standing(steps: Sequence[Step], k: int) -> Period:
    """A fix stands from its capture until the office sends it back, which it can only when it has it."""
    return Period(done_at(steps[k]), _until(steps, k, lambda later: later.command in UNDOING))


def _paused(problem: Problem) -> Iterator[Period]:
    """A suspension lasts until it is lifted, and no longer than it said, or than was decided where two had said it."""
    for k, step in enumerate(problem.steps):
        if step.command == "problem.suspend":
            lifted = _until(problem.steps, k, lambda later: later.to != "suspended")
            decided = _decided(problem.steps[k + 1 :], "suspended_until")
            last = read_day(decided or step.sets.get("suspended_until")) or problem.suspended_until
            limit = end_of(last) if last else None
            ends = [edge for edge in (lifted, limit) if edge is not None]
            yield Period(done_at(step), min(ends, default=None))


def _decided(later: Sequence[Step], name: str) -> Any:
    """What a settlement chose (sync/settlement.py) before a command set it anew; None: nothing."""
    told = next(((step, value) for step, value in _told(later, name)), None)
    return told[1] if told is not None and told[0].command == "conflict.settle" else None


def _not_true(steps: Sequence[Step]) -> Iterator[Period]:
    for k, step in enumerate(steps):
        if step.command == "problem.not_true":
            yield Period(done_at(step), _until(steps, k, lambda later: later.to != "not_true"))


# ------------------------------------------------------------------------------------------------ summonses


def clocks_of(summons: Summons) -> list[Clock]:
    """Every term that ever ran, also those that ended when the township insisted, sent back or called again."""
    named: list[tuple[ClockName, datetime | None]] = [
        ("sign", summons.sign_due_at),
        ("report_in", summons.report_in_due_at),
        ("result", summons.result_due_at),
    ]
    # of a summons from before its terms were kept: those that it shows
    return summons.clocks or [Clock(clock=name, since=summons.called_at or at, due_at=at) for name, at in named if at is not None]


def missed(summons: Summons, clock: Clock) -> list[Period]:
    """When a clock had run out and what it waits for was not there. Judged by the steps after the one that started it: who was
    insisted on has to come, whatever was refused before.
    """
    relief = list(_answered_clock(summons.steps[clock.steps :], clock.clock))
    return _lasting({clock.due_at} | _edges(relief), lambda moment: clock.due_at <= moment and not _any(relief, moment))


def _answered_clock(steps: Sequence[Step], clock: ClockName) -> Iterator[Period]:
    for step in steps:
        if step.command in ANSWERS[clock]:
            yield Period(done_at(step))
        elif step.to == "cancelled" and step.source != "cancelled":
            yield Period(step.at)


# ------------------------------------------------------------------------------------------------ letters


def unanswered(letter: Supervision, is_settled: Callable[[datetime], bool], edges: Iterable[datetime]) -> list[Period]:
    """When a letter's term had run out without an answer, and what it is about was still to be done."""
    if letter.due_at is None:
        return []
    start = max(letter.due_at, letter.issued_at or letter.due_at)
    answers = list(_answers(letter.steps))

    def is_so(moment: datetime) -> bool:
        return start <= moment and not _any(answers, moment) and not is_settled(moment)

    return _lasting({start, *edges} | _edges(answers), is_so)


def _answers(steps: Sequence[Step]) -> Iterator[Period]:
    for k, step in enumerate(steps):
        if step.command == "supervision.answer":
            yield Period(done_at(step), _until(steps, k, lambda later: later.command == "supervision.reject_answer"))
        elif step.to == "lifted":
            yield Period(step.at)
