"""What falls due by itself: colours, reminders and look-backs (domain.md 4.3, 4.4, 4.7). Pure.

A timer is exact after downtime because it never asks "what is true now?" but "what became true, and when?": every letter
belongs to a due moment, under the rule version in force at that moment, judged by what had been captured until then. Its ids
derive from rule version, trigger, record and moment, so it is issued once however often it is asked, by however many workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Any, Final

import msgspec

from contracts.ids import County, RecordId, UnitCode, derived_mutation_id
from contracts.kind import Step
from contracts.kinds.problem import Problem
from contracts.kinds.summons import Clock, ClockName, Summons
from contracts.kinds.supervision import Supervision
from contracts.kinds.task import Task
from contracts.rules import ColoursRule, ColourTrigger, Duration, LookBackRule, RemindersRule, RuleName, RuleVersion
from sync.rules import Calendar, RuleBook, end_of

FIXING: Final = frozenset({"problem.submit_fix", "problem.fix_on_spot"})
UNDOING: Final = frozenset({"problem.return", "problem.rebound", "problem.assign"})


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How far back and ahead a deadline may lie and still matter now, by any version of the rules."""

    published: bool  # whether any rule is: without one nothing needs to be read
    after: timedelta  # from a deadline, a return or a close-out to what follows it
    before: timedelta  # from a reminder to its deadline


def terms_of(book: RuleBook, county: County) -> Terms:
    """Over all versions, so that what fell due under an earlier one is found after downtime, too."""
    after = [trigger.after for _, trigger in _triggers(book, county) if trigger.after is not None]
    after += [msgspec.convert(v.body, LookBackRule).after for v in book.versions(county, RuleName.LOOK_BACK)]
    before = [d for v in book.versions(county, RuleName.REMINDERS) for d in msgspec.convert(v.body, RemindersRule).before]
    published = any(book.versions(county, name) for name in (RuleName.COLOURS, RuleName.REMINDERS))
    return Terms(published=published, after=_longest(after), before=_longest(before))


def _longest(durations: Iterable[Duration]) -> timedelta:
    """An upper bound: working days with weekends, and the longest holidays of a year beside them."""
    bounds = [timedelta(hours=d.hours) if d.hours is not None else timedelta(days=2 * (d.working_days or 0) + 21) for d in durations]
    return max(bounds, default=timedelta(0))


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do. `record`: of the letter or task that is made, or that the command is for."""

    record: RecordId
    kind: str
    op: str
    body: dict[str, Any] | None = None
    args: dict[str, Any] = {}
    fields: dict[str, tuple[Any, Any]] = {}
    moment: datetime

    def mutation_id(self) -> RecordId:
        return derived_mutation_id("timer", self.record, self.op, self.moment.isoformat())


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A problem with its id and unit, as it stands now."""

    id: RecordId
    unit: UnitCode
    problem: Problem


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A supervision letter that exists."""

    id: RecordId
    supervision: Supervision


# ------------------------------------------------------------------------------------------------ facts from the story


def fixed_at(steps: Iterable[Step], until: datetime) -> datetime | None:
    """When the fix that stood at `until` was captured; None: it was not fixed then. By capture, not by arrival."""
    fixed: datetime | None = None
    for step in sorted(steps, key=_moment):
        if _moment(step) > until:
            break
        if step.command in FIXING:
            fixed = _moment(step)
        elif step.command in UNDOING:
            fixed = None
    return fixed


def is_paused_at(steps: Iterable[Step], moment: datetime) -> bool:
    paused = False
    for step in sorted(steps, key=_moment):
        if _moment(step) > moment:
            break
        paused = step.to == "suspended"
    return paused


def _moment(step: Step) -> datetime:
    return step.captured_at or step.at


# ------------------------------------------------------------------------------------------------ colours


def colour_letters(book: RuleBook, county: County, subjects: Iterable[Subject], now: datetime) -> Iterator[Due]:
    """Letters that problems have called for up to `now`, whether or not they exist already."""
    for subject in subjects:
        for version, trigger in _triggers(book, county):
            if _concerns(trigger, subject.problem):
                yield from _letters_of(book, county, version, trigger, subject, now)


def _triggers(book: RuleBook, county: County) -> Iterator[tuple[RuleVersion, ColourTrigger]]:
    for version in book.versions(county, RuleName.COLOURS):
        for trigger in msgspec.convert(version.body, ColoursRule).triggers:
            yield version, trigger


def _later(calendar: Calendar, moment: datetime, after: Duration | None) -> datetime:
    return moment if after is None else calendar.add(moment, after)


def _concerns(trigger: ColourTrigger, problem: Problem) -> bool:
    by_subject = not trigger.subjects or problem.subject in trigger.subjects
    return by_subject and (not trigger.sources or problem.source in trigger.sources)


def _letters_of(
    book: RuleBook, county: County, version: RuleVersion, trigger: ColourTrigger, subject: Subject, now: datetime
) -> Iterator[Due]:
    for began, facts in _began(trigger, subject.problem):
        calendar = book.calendar(county, began)
        moment = _later(calendar, began, trigger.after)
        if moment > now or book.at(county, RuleName.COLOURS, moment) is not version:
            continue
        if trigger.fact == "overdue" and not _is_overdue_at(subject.problem, moment):
            continue
        for unit in subject.problem.leads or [subject.unit]:
            yield _letter(version, trigger, subject, unit, moment, began, facts, calendar)


def _began(trigger: ColourTrigger, problem: Problem) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """The moments from which a fact has lasted, with what it is."""
    match trigger.fact:
        case "overdue":
            if problem.due_on is not None:
                yield end_of(problem.due_on), {"due_on": problem.due_on.isoformat()}
        case "returned":
            yield from _counted(problem, "problem.return", trigger.count, "returns")
        case "rebounded":
            yield from _counted(problem, "problem.rebound", trigger.count, "rebounds")
        case "summons_overdue" | "unanswered":
            return


def _counted(problem: Problem, command: str, count: int, name: str) -> Iterator[tuple[datetime, dict[str, Any]]]:
    happened = sorted(_moment(step) for step in problem.steps if step.command == command)
    if len(happened) >= count:
        yield happened[count - 1], {name: count}


def _is_overdue_at(problem: Problem, moment: datetime) -> bool:
    if is_paused_at(problem.steps, moment):
        return False
    return problem.state != "not_true" and fixed_at(problem.steps, moment) is None


def _letter(
    version: RuleVersion,
    trigger: ColourTrigger,
    subject: Subject,
    unit: UnitCode,
    moment: datetime,
    began: datetime,
    facts: dict[str, Any],
    calendar: Calendar,
) -> Due:
    record = derived_mutation_id("supervision", version.county, version.version, trigger.key, subject.id, unit, moment.isoformat())
    body = Supervision(
        unit=unit,
        colour=trigger.colour,
        title=subject.problem.title[:200],
        issued_by_unit=str(version.county),
        subject_record=subject.id,
        subject_kind="problem",
        issued_at=moment,
        due_at=calendar.add(moment, trigger.answer_within) if trigger.answer_within else None,
        grounds=_grounds(version, trigger, facts, began, moment),
    )
    return Due(record=record, kind="supervision", op="create", body=msgspec.to_builtins(body), moment=moment)


def _grounds(version: RuleVersion, trigger: ColourTrigger, facts: dict[str, Any], began: datetime, moment: datetime) -> dict[str, Any]:
    """The answer to "why is this red?": rule version, facts and moments."""
    return {
        "rule": version.name.value,
        "version": version.version,
        "trigger": trigger.key,
        "fact": trigger.fact,
        "facts": facts,
        "since": began.isoformat(),
        "due_moment": moment.isoformat(),
    }


def summons_letters(book: RuleBook, county: County, summonses: Iterable[tuple[RecordId, Summons]], now: datetime) -> Iterator[Due]:
    """Letters to departments whose clock ran out (not reported in after the configured time: domain.md 4.1)."""
    for record, summons in summonses:
        for version, trigger in _triggers(book, county):
            if trigger.fact != "summons_overdue":
                continue
            for clock in clocks_of(summons):
                moment = _later(book.calendar(county, clock.due_at), clock.due_at, trigger.after)
                if moment > now or book.at(county, RuleName.COLOURS, moment) is not version:
                    continue
                if not _was_missed_at(summons, clock, moment):
                    continue
                yield _summons_letter(book, county, version, trigger, record, summons, clock.clock, clock.due_at, moment)


LATER: Final = {
    "sign": ("summons.sign", "summons.report_in", "summons.result", "summons.refuse"),
    "report_in": ("summons.report_in", "summons.result", "summons.refuse"),
    "result": ("summons.result", "summons.refuse"),
}


def clocks_of(summons: Summons) -> list[Clock]:
    """Every term that ever ran, also those that ended when the township insisted, sent back or called again."""
    named: list[tuple[ClockName, datetime | None]] = [
        ("sign", summons.sign_due_at),
        ("report_in", summons.report_in_due_at),
        ("result", summons.result_due_at),
    ]
    # of a summons from before its terms were kept: those that it shows
    return summons.clocks or [Clock(clock=name, since=summons.called_at or at, due_at=at) for name, at in named if at is not None]


def _was_missed_at(summons: Summons, clock: Clock, moment: datetime) -> bool:
    """Judged by the steps after the one that started the clock: who was insisted on has to come, whatever was refused before."""
    since = [step for step in summons.steps[clock.steps :] if _moment(step) <= moment]
    ended = any(step.to == "cancelled" and step.source != "cancelled" for step in since)
    return not ended and not any(step.command in LATER[clock.clock] for step in since)


def _summons_letter(
    book: RuleBook,
    county: County,
    version: RuleVersion,
    trigger: ColourTrigger,
    record: RecordId,
    summons: Summons,
    clock: str,
    due_at: datetime,
    moment: datetime,
) -> Due:
    letter = derived_mutation_id("supervision", county, version.version, trigger.key, record, clock, moment.isoformat())
    calendar = book.calendar(county, moment)
    body = Supervision(
        unit=summons.unit,
        colour=trigger.colour,
        title=summons.title,
        issued_by_unit=str(county),
        subject_record=record,
        subject_kind="summons",
        issued_at=moment,
        due_at=calendar.add(moment, trigger.answer_within) if trigger.answer_within else None,
        grounds=_grounds(version, trigger, {"clock": clock, "due_at": due_at.isoformat()}, due_at, moment),
    )
    return Due(record=letter, kind="supervision", op="create", body=msgspec.to_builtins(body), moment=moment)


def next_colours(book: RuleBook, county: County, letters: Iterable[Letter], now: datetime) -> Iterator[Due]:
    """An unanswered letter is followed by the next colour."""
    for letter in letters:
        s = letter.supervision
        if s.due_at is None:
            continue
        for version, trigger in _triggers(book, county):
            moment = _later(book.calendar(county, s.due_at), s.due_at, trigger.after)
            if trigger.fact != "unanswered" or moment > now or not _rises(s, trigger):
                continue
            if book.at(county, RuleName.COLOURS, moment) is not version or _is_answered_at(s, moment):
                continue
            yield _next_letter(book, county, version, trigger, letter, moment)


_ORDER: Final = ("white", "yellow", "red")


def _rises(supervision: Supervision, trigger: ColourTrigger) -> bool:
    """White is followed by yellow, yellow by red, one step at a time."""
    return _ORDER.index(trigger.colour.value) == _ORDER.index(supervision.colour.value) + 1


def _is_answered_at(supervision: Supervision, moment: datetime) -> bool:
    answered = False
    for step in sorted(supervision.steps, key=_moment):
        if _moment(step) > moment:
            break
        answered = step.to in ("answered", "lifted")
    return answered


def _next_letter(book: RuleBook, county: County, version: RuleVersion, trigger: ColourTrigger, letter: Letter, moment: datetime) -> Due:
    s = letter.supervision
    record = derived_mutation_id("supervision", county, version.version, trigger.key, letter.id, moment.isoformat())
    calendar = book.calendar(county, moment)
    body = msgspec.structs.replace(
        s,
        colour=trigger.colour,
        issued_at=moment,
        previous=letter.id,
        due_at=calendar.add(moment, trigger.answer_within) if trigger.answer_within else None,
        grounds=_grounds(version, trigger, {"previous": str(letter.id), "colour": s.colour.value}, s.due_at or moment, moment),
        answer="",
        lifted_because=None,
        state="issued",
        steps=[],
        comments=[],
    )
    return Due(record=record, kind="supervision", op="create", body=msgspec.to_builtins(body), moment=moment)


def overturned(letters: Iterable[Letter], subjects: dict[RecordId, Problem], now: datetime) -> Iterator[Due]:
    """Letters whose ground late evidence took away: the fix had been captured before the due moment. Lifted, never erased."""
    letters = list(letters)
    gone = {one.id for one in letters if one.supervision.lifted_because == "overturned"}
    for letter in letters:
        s = letter.supervision
        if s.previous in gone and s.state != "lifted":  # a letter that only followed one without a ground has none either
            yield Due(
                record=letter.id,
                kind="supervision",
                op="supervision.lift",
                fields={"lifted_because": (None, "overturned")},
                args={"previous": str(s.previous), "found_at": now.isoformat()},
                moment=s.issued_at or now,
            )
            continue
        problem = subjects.get(s.subject_record) if s.subject_record else None
        due_moment = s.grounds.get("due_moment")
        if problem is None or s.grounds.get("fact") != "overdue" or due_moment is None or s.state == "lifted":
            continue
        fixed = fixed_at(problem.steps, datetime.fromisoformat(due_moment))
        if fixed is not None:
            yield Due(
                record=letter.id,
                kind="supervision",
                op="supervision.lift",
                fields={"lifted_because": (None, "overturned")},
                args={"fixed_at": fixed.isoformat(), "found_at": now.isoformat()},
                moment=datetime.fromisoformat(due_moment),
            )


# ------------------------------------------------------------------------------------------------ reminders and look-backs


def reminders(book: RuleBook, county: County, subjects: Iterable[Subject], now: datetime) -> Iterator[Due]:
    """预警提醒 before a deadline. A reminder whose deadline has passed during downtime is not sent any more."""
    for subject in subjects:
        problem = subject.problem
        if problem.due_on is None or problem.state not in ("assigned", "rectifying"):
            continue
        ends = end_of(problem.due_on)
        rule = book.body(county, RemindersRule, now)
        for before in rule.before if rule else ():
            moment = book.calendar(county, now).subtract(ends, before)
            if moment <= now < ends:
                note = f"整改期限 {problem.due_on.isoformat()}"
                yield Due(record=subject.id, kind="problem", op="problem.remind", args={"note": note}, moment=moment)


def look_backs(book: RuleBook, county: County, subjects: Iterable[Subject], now: datetime) -> Iterator[Due]:
    """回头看: one task at the place of each closed-out problem, when its time has come."""
    for subject in subjects:
        closed = [step for step in subject.problem.steps if step.command == "problem.close_out"]
        if subject.problem.state != "closed_out" or not closed:
            continue
        when = _look_back_day(book, county, subject.problem, _moment(closed[-1]))
        if when is not None and when <= now:
            yield _look_back_task(subject, when)


def _look_back_day(book: RuleBook, county: County, problem: Problem, closed_at: datetime) -> datetime | None:
    if problem.look_back_on is not None:
        return end_of(date.fromordinal(problem.look_back_on.toordinal() - 1))
    rule = book.body(county, LookBackRule, closed_at)
    return book.calendar(county, closed_at).add(closed_at, rule.after) if rule else None


def _look_back_task(subject: Subject, when: datetime) -> Due:
    problem = subject.problem
    body = Task(
        title=f"回头看：{problem.title}"[:200],
        unit=subject.unit,
        subject=problem.subject,
        sites=[problem.site] if problem.site else [],
        note=f"problem {subject.id}",
    )
    record = derived_mutation_id("look_back", subject.id, when.isoformat())
    return Due(record=record, kind="task", op="create", body=msgspec.to_builtins(body), moment=when)
