"""What falls due by itself, and how far around now it is looked for (storage/timers.py reads and writes it). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from contracts.ids import County, RecordId, UnitCode, derived_mutation_id
from contracts.kinds.problem import Problem
from contracts.rules import CalendarRule, ColoursRule, Duration, LookBackRule, RemindersRule, RuleName
from sync.rules import RuleBook


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do. `record`: of the letter or task that is made, or that the command is for; `rule`: version that says so."""

    record: RecordId
    kind: str
    op: str
    body: dict[str, Any] | None = None
    args: dict[str, Any] = {}
    fields: dict[str, tuple[Any, Any]] = {}
    moment: datetime
    rule: str
    is_captured: bool = False  # it happened at that moment, not when the timer came to it

    def mutation_id(self) -> RecordId:
        """From rule version, record and due moment."""
        return derived_mutation_id("timer", self.rule, self.record, self.op, self.moment.isoformat())


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A problem with its id and unit, as it stands now."""

    id: RecordId
    unit: UnitCode
    problem: Problem


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How far back and ahead a deadline may lie and still matter now, by any version of the rules."""

    published: bool  # whether any rule is: without one nothing needs to be read
    after: timedelta  # from a deadline, a return or a close-out to what follows it
    before: timedelta  # from a reminder to its deadline


def terms_of(book: RuleBook, counties: Iterable[County]) -> Terms:
    """Over all versions of all counties whose rules hold, so that what fell due under an earlier one is found after downtime, too."""
    after: list[Duration | None] = []
    before: list[Duration] = []
    days_off, published = 0, False
    for county in counties:
        colours, reminders = book.versions(county, RuleName.COLOURS), book.versions(county, RuleName.REMINDERS)
        published = published or bool(colours or reminders)
        after += [trigger.after for v in colours for trigger in book.decoded(v, ColoursRule).triggers]
        after += [book.decoded(v, LookBackRule).after for v in book.versions(county, RuleName.LOOK_BACK)]
        before += [d for v in reminders for d in book.decoded(v, RemindersRule).before]
        days_off = max([days_off, *(len(book.decoded(v, CalendarRule).days_off) for v in book.versions(county, RuleName.CALENDAR))])
    return Terms(published=published, after=_longest(after, days_off), before=_longest(before, days_off))


def _longest(durations: Iterable[Duration | None], days_off: int) -> timedelta:
    """An upper bound: working days with weekends, the longest holidays of a year and the county's own days off beside them."""
    bounds = [
        timedelta(hours=d.hours) if d.hours is not None else timedelta(days=2 * (d.working_days or 0) + 21 + days_off)
        for d in durations
        if d is not None
    ]
    return max(bounds, default=timedelta(0))
