"""White, yellow, red (domain.md 4.3): which letters the published rules call for, and which have lost their ground. Pure.

A letter is called for when a fact has lasted for as long as a trigger says. It belongs to that due moment, under the rule version in force
then, whenever it is asked; so downtime, a second worker or a clock that jumps change nothing. One period of a fact calls for one letter per
trigger and unit, also where the rule is changed meanwhile. What evidence that came late takes away is not called for any more: such a
letter is lifted as overturned, with those that only followed it.

A partition is judged by its own county's rules and, where a trigger is addressed to the county, by those of the city above it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec

from contracts.ids import County, RecordId, UnitCode, derived_mutation_id
from contracts.kinds.problem import Problem
from contracts.kinds.supervision import Supervision
from contracts.rules import ColoursRule, ColourTrigger, Duration, RuleName, RuleVersion
from sync.due import About, Due, Ended, Letter, Subject, Summoned
from sync.facts import Owed, Period, clocks_of, missed, unanswered
from sync.places import Places
from sync.rules import Calendar, RuleBook, unpublished_note

ORDER: Final = ("white", "yellow", "red")
GROUNDLESS: Final = frozenset({"overturned", "mistaken"})

Key: TypeAlias = tuple[County, str, RecordId, UnitCode, str, datetime]  # one period of a fact, for one trigger and unit


class Grounds(msgspec.Struct, frozen=True, kw_only=True):
    """Why a rule issued a letter: the answer to "why is this red?"."""

    county: County  # whose rule; written with every letter that a rule issues, and people give no such grounds (sync/letters.py)
    rule: str
    version: int
    trigger: str
    fact: str
    facts: dict[str, Any]
    since: datetime
    due_moment: datetime


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """A letter that a rule calls for. `about`: the problem, summons or letter whose fact it is; `clock`: of a summons."""

    version: RuleVersion
    trigger: ColourTrigger
    about: RecordId
    unit: UnitCode
    clock: str = ""
    since: datetime
    moment: datetime
    facts: dict[str, Any]
    title: str
    subject: RecordId
    subject_kind: str | None
    previous: Letter | None = None

    @property
    def key(self) -> Key:
        return (self.version.county, self.trigger.key, self.about, self.unit, self.clock, self.since)

    @property
    def id(self) -> RecordId:
        """From rule version, record and due moment: the same cause never makes two."""
        which = () if self.previous else (self.clock or self.unit,)
        v = self.version
        return derived_mutation_id("supervision", v.county, v.version, self.trigger.key, self.about, *which, self.moment.isoformat())

    def grounds(self) -> dict[str, Any]:
        return {
            "county": self.version.county,
            "rule": self.version.name.value,
            "version": self.version.version,
            "trigger": self.trigger.key,
            "fact": self.trigger.fact,
            "facts": self.facts,
            "since": self.since.isoformat(),
            "due_moment": self.moment.isoformat(),
        }


class Colours:
    """The triggers that concern one partition, and what they call for."""

    def __init__(self, book: RuleBook, places: Places, county: County) -> None:
        self._book, self._places, self._county = book, places, county
        self._whole = places.whole(county)
        self._triggers = [
            (version, trigger)
            for authority in authorities(places, county)
            for version in book.versions(authority, RuleName.COLOURS)
            for trigger in book.decoded(version, ColoursRule).triggers
            if (authority == county) is (trigger.addressee == "leads") or trigger.fact == "unanswered"
        ]

    # -------------------------------------------------------------------------------------------- what is called for

    def of_problem(self, subject: Subject, now: datetime) -> list[Called]:
        """Letters that a problem has called for up to `now`, whether or not they exist."""
        problem, owed = subject.problem, Owed(subject.problem, subject.unit)
        found: dict[Key, Called] = {}
        for version, trigger in self._triggers:
            if not _concerns(trigger, problem):
                continue
            for unit, period, facts in self._of_problem(trigger, owed):
                moment = self._moment(version, trigger, period, now)
                if moment is None:
                    continue
                for one in [unit] if unit else owed.units(moment):
                    called = Called(
                        version=version,
                        trigger=trigger,
                        about=subject.id,
                        unit=one,
                        since=period.start,
                        moment=moment,
                        facts=facts,
                        title=problem.title,
                        subject=subject.id,
                        subject_kind="problem",
                    )
                    found.setdefault(called.key, called)
        return [called for called in found.values() if self._is_ours(called.unit)]

    def _of_problem(self, trigger: ColourTrigger, owed: Owed) -> Iterator[tuple[UnitCode | None, Period, dict[str, Any]]]:
        """(the unit, if the period is its own; the period; what is the case) of the fact that a trigger names."""
        county = self._whole if trigger.addressee == "county" else None
        match trigger.fact:
            case "overdue":
                for unit in [None] if county else owed.everybody():
                    for period in owed.overdue(unit):
                        day = owed.deadline(period.start)
                        yield county or unit, period, {"due_on": day.isoformat() if day else None}
            case "returned":
                for period in owed.times("problem.return", trigger.count):
                    yield county, period, {"returns": trigger.count}
            case "rebounded":
                for period in owed.times("problem.rebound", trigger.count):
                    yield county, period, {"rebounds": trigger.count}
            case "summons_overdue" | "unanswered":
                return

    def of_summons(self, summoned: Summoned, now: datetime) -> list[Called]:
        """Letters to a department whose clock ran out (not reported in after the configured time: domain.md 4.1)."""
        record, summons = summoned.id, summoned.summons
        found: dict[Key, Called] = {}
        for version, trigger in self._triggers:
            if trigger.fact != "summons_overdue":
                continue
            unit = self._whole if trigger.addressee == "county" else summons.unit
            for clock in clocks_of(summons):
                for period in missed(summons, clock):
                    moment = self._moment(version, trigger, period, now)
                    if moment is not None:
                        called = Called(
                            version=version,
                            trigger=trigger,
                            about=record,
                            unit=unit,
                            clock=clock.clock,
                            since=period.start,
                            moment=moment,
                            facts={"clock": clock.clock, "due_at": clock.due_at.isoformat()},
                            title=summons.title,
                            subject=record,
                            subject_kind="summons",
                        )
                        found.setdefault(called.key, called)
        return list(found.values())

    def after_letter(self, letter: Letter, about: About, now: datetime) -> list[Called]:
        """An unanswered letter is followed by the next colour, of the same issuer, while what it is about is still to be done."""
        s, found = letter.supervision, dict[Key, Called]()
        issuer = self._places.county_of(s.issued_by_unit) or self._county
        is_settled, edges = _settled(letter, about)
        periods = unanswered(s, is_settled, edges)
        for version, trigger in self._triggers:
            if trigger.fact != "unanswered" or version.county != issuer or not _rises(s, trigger):
                continue
            for period in periods:
                moment = self._moment(version, trigger, period, now)
                if moment is not None:
                    called = Called(
                        version=version,
                        trigger=trigger,
                        about=letter.id,
                        unit=s.unit,
                        since=period.start,
                        moment=moment,
                        facts={"previous": str(letter.id), "colour": s.colour.value, "due_at": s.due_at.isoformat() if s.due_at else None},
                        title=s.title,
                        # about no record: those that follow are about the first, so that the whole chain is judged together
                        subject=s.subject_record or letter.id,
                        subject_kind=s.subject_kind if s.subject_record else "supervision",
                        previous=letter,
                    )
                    found.setdefault(called.key, called)
        return list(found.values())

    def _is_ours(self, unit: UnitCode) -> bool:
        """A problem that came from another county may still name units there."""
        return self._places.county_of(unit) == self._county

    # -------------------------------------------------------------------------------------------- moments

    def _moment(self, version: RuleVersion, trigger: ColourTrigger, period: Period, now: datetime) -> datetime | None:
        """When a period has lasted as long as the trigger says, if it lasted so long and the version was in force then."""
        moment = self._lasted(version, trigger, period.start)
        if moment < version.starts and self._was_pending(version, trigger, period.start):
            moment = version.starts  # under the version before it was still to come; this one finds that it is time
        is_due = moment <= now and period.holds(moment)
        return moment if is_due and self._book.at(version.county, RuleName.COLOURS, moment) is version else None

    def _was_pending(self, version: RuleVersion, trigger: ColourTrigger, start: datetime) -> bool:
        before = self._book.before(version)
        if before is None:
            return False
        same = (t for t in self._book.decoded(before, ColoursRule).triggers if (t.key, t.fact) == (trigger.key, trigger.fact))
        return any(self._lasted(before, t, start) >= version.starts for t in same)

    def _lasted(self, version: RuleVersion, trigger: ColourTrigger, start: datetime) -> datetime:
        return start if trigger.after is None else self._calendar(version, start).add(start, trigger.after)

    def _calendar(self, version: RuleVersion, moment: datetime) -> Calendar:
        return self._book.calendar(version.county, moment)

    # -------------------------------------------------------------------------------------------- letters

    def issue(self, called: Called) -> Due:
        """The letter itself."""
        within: Duration | None = called.trigger.answer_within
        calendar = self._calendar(called.version, called.moment)
        body = Supervision(
            unit=called.unit,
            colour=called.trigger.colour,
            title=called.title[:200],
            text=called.previous.supervision.text if called.previous else "",
            issued_by_unit=called.previous.supervision.issued_by_unit if called.previous else self._places.whole(called.version.county),
            subject_record=called.subject,
            subject_kind=called.subject_kind,
            previous=called.previous.id if called.previous else None,
            issued_at=called.moment,
            due_at=calendar.add(called.moment, within) if within else None,
            term_note=unpublished_note(calendar.unpublished(called.moment, within)) if within else "",
            grounds=called.grounds(),
        )
        return Due(
            record=called.id,
            kind="supervision",
            op="create",
            body=msgspec.to_builtins(body),
            moment=called.moment,
            rule=f"{called.version.county}/colours/{called.version.version}",
        )


def authorities(places: Places, county: County) -> list[County]:
    """Whose colours hold in a partition: its own county's, and those of whoever is above it."""
    above = [places.county_of(unit) for unit in places.line(places.whole(county))]
    return list(dict.fromkeys([county, *(one for one in above if one is not None)]))


def _concerns(trigger: ColourTrigger, problem: Problem) -> bool:
    by_subject = not trigger.subjects or problem.subject in trigger.subjects
    return by_subject and (not trigger.sources or problem.source in trigger.sources)


def _rises(supervision: Supervision, trigger: ColourTrigger) -> bool:
    """White is followed by yellow, yellow by red, one step at a time."""
    return ORDER.index(trigger.colour.value) == ORDER.index(supervision.colour.value) + 1


def _settled(letter: Letter, about: About) -> tuple[Any, Iterable[datetime]]:
    """(whether, at a moment, the unit had nothing left to do about it; the moments at which that may change)."""
    s = letter.supervision
    if isinstance(about, Subject):
        owed = Owed(about.problem, about.unit)
        led = s.issued_at is not None and s.unit in owed.units(s.issued_at)
        return (
            lambda moment: owed.is_relieved(moment, s.unit if led else None) or (led and s.unit not in owed.units(moment))
        ), owed.edges()
    if about is not None:
        name = str(s.grounds.get("facts", {}).get("clock", "result"))
        clocks = [clock for clock in clocks_of(about.summons) if clock.clock == name]
        if clocks:
            first = min(clock.due_at for clock in clocks)
            periods = [period for clock in clocks for period in missed(about.summons, clock)]
            edges = [edge for p in periods for edge in (p.start, p.end) if edge is not None]
            return (lambda moment: moment >= first and not any(p.holds(moment) for p in periods)), edges
    return (lambda _moment: False), ()


# ------------------------------------------------------------------------------------------------ overturned


def grounds_of(letter: Supervision) -> Grounds | None:
    """None: by hand, or by a rule of another kind."""
    if letter.grounds.get("rule") != RuleName.COLOURS.value:
        return None
    try:
        return msgspec.convert(letter.grounds, Grounds)
    except msgspec.ValidationError:
        return None


def key_of(letter: Letter) -> Key | None:
    """Which period of which fact a letter was issued for."""
    s, grounds = letter.supervision, grounds_of(letter.supervision)
    about = s.previous if grounds is not None and grounds.fact == "unanswered" else s.subject_record
    if grounds is None or about is None:
        return None
    return (grounds.county, grounds.trigger, about, s.unit, str(grounds.facts.get("clock", "")), grounds.since)


def overturned(letters: Collection[Letter], called: Collection[Key], about: About, now: datetime) -> tuple[list[Due], set[RecordId]]:
    """(letters to lift, never to erase: late evidence took their ground away, or they only followed one without a ground;
    all without a ground, also those lifted before).

    letters   all about one record, as far as they are known
    called    what that record and these letters call for
    about     the record; None: it is not known what it calls for, and letters by its own facts are left alone
    """
    due: list[Due] = []
    gone: set[RecordId] = set()
    known = {letter.id for letter in letters} | ({about.id} if about is not None else set[RecordId]())
    for letter in by_age(letters, now):
        s, key = letter.supervision, key_of(letter)
        lost = key is not None and key[2] in known and key not in called and _has_come(letter, now)
        if s.lifted_because in GROUNDLESS or lost or (key is not None and s.previous in gone):
            gone.add(letter.id)
            if s.state != "lifted":
                due.append(_overturn(letter, about, now))
    return due, gone


def by_age(letters: Iterable[Letter], now: datetime) -> list[Letter]:
    """What was followed before what followed it."""
    return sorted(letters, key=lambda one: (one.supervision.issued_at is None, one.supervision.issued_at or now))


def _has_come(letter: Letter, now: datetime) -> bool:
    """A clock that was set back says nothing about what is still to come."""
    grounds = grounds_of(letter.supervision)
    return grounds is not None and grounds.due_moment <= now


def over(letter: Letter, end: Ended, now: datetime) -> Due | None:
    """The end of a letter that asks for what has ended since. Done, a letter by hand stays: whoever asked by hand judges the answer."""
    s = letter.supervision
    is_later = end.at is not None and s.issued_at is not None and s.issued_at > end.at
    if s.state == "lifted" or is_later or (end.is_done and grounds_of(s) is None):
        return None
    moment = end.at or s.issued_at or now
    args = {"ended_at": moment.isoformat(), "is_done": end.is_done}
    return _lift(letter, "closed", args, moment)


def _overturn(letter: Letter, about: About, now: datetime) -> Due:
    s, grounds = letter.supervision, grounds_of(letter.supervision)
    moment = grounds.due_moment if grounds else s.issued_at or now
    args: dict[str, Any] = {"found_at": now.isoformat()}
    if isinstance(about, Subject):
        owed = Owed(about.problem, about.unit)
        args["at_due_moment"] = owed.said(moment, s.unit if s.unit in owed.everybody() else None)
    if s.previous is not None:
        args["previous"] = str(s.previous)
    return _lift(letter, "overturned", args, moment)


def _lift(letter: Letter, because: str, args: dict[str, Any], moment: datetime) -> Due:
    return Due(
        record=letter.id,
        kind="supervision",
        op="supervision.lift",
        fields={"lifted_because": (None, because)},
        args=args,
        moment=moment,
        rule=because,
    )
