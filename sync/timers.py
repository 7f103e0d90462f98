"""Reminders and look-backs (domain.md 4.4, 4.7): what falls due by a problem's own dates. Pure. Colours are in sync/colours.py.

A timer is exact after downtime because it never asks "what is true now?" but "what became true, and when?": everything belongs to a
due moment, under the rule version in force at that moment. Its id derives from rule version, record and moment, so it is done once
however often it is asked, by however many workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import msgspec

from contracts.ids import County, derived_mutation_id
from contracts.kind import Step
from contracts.kinds.problem import Problem
from contracts.kinds.task import Task
from contracts.rules import LookBackRule, RemindersRule, RuleName
from sync.due import Due, Subject
from sync.facts import Owed, done_at
from sync.rules import EVER, RuleBook, end_of


def reminders(book: RuleBook, county: County, subject: Subject, now: datetime) -> Iterator[Due]:
    """预警提醒 before a deadline, or before a suspension ends: the nearest of those whose moment has come. None after the deadline, or for a moment before it was set."""
    ending = _ending(subject)
    if ending is None or now >= end_of(ending.day):
        return
    moments = [one for one in _reminded(book, county, ending) if one[0] <= now]
    if moments:
        moment, version = max(moments)
        args = {"note": f"{ending.word} {ending.day.isoformat()}", ending.field: ending.day.isoformat(), "rule_version": version}
        rule = f"{county}/reminders/{version}"
        yield Due(record=subject.id, kind="problem", op="problem.remind", args=args, moment=moment, rule=rule)


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """What a problem in its state is to be reminded of: the day, the field that says it, in words, and when it was set."""

    day: date
    field: str
    word: str
    set_at: datetime


def _ending(subject: Subject) -> Ending | None:
    problem = subject.problem
    if problem.state == "suspended" and problem.suspended_until is not None:
        given = [done_at(step) for step in problem.steps if step.command == "problem.suspend"]
        return Ending(day=problem.suspended_until, field="suspended_until", word="中止期限", set_at=given[-1] if given else EVER)
    if _is_to_be_fixed(problem) and problem.due_on is not None:
        set_at = Owed(problem, subject.unit).deadlines[-1][0]
        return Ending(day=problem.due_on, field="due_on", word="整改期限", set_at=set_at)
    return None


def _is_to_be_fixed(problem: Problem) -> bool:
    """By somebody who has not handed in: also while the part of one of two leads is missing."""
    missing = set(problem.leads) - set(problem.handed_in)
    return problem.state in ("assigned", "rectifying") or (problem.state == "submitted" and bool(missing))


def _reminded(book: RuleBook, county: County, ending: Ending) -> Iterator[tuple[datetime, int]]:
    """(when, by which version), whether or not it has come."""
    calendar = book.calendar(county, end_of(ending.day) if ending.set_at == EVER else ending.set_at)
    for version in book.versions(county, RuleName.REMINDERS):
        for before in book.decoded(version, RemindersRule).before:
            moment = calendar.subtract(end_of(ending.day), before)
            if ending.set_at <= moment and book.at(county, RuleName.REMINDERS, moment) is version:
                yield moment, version.version


def reminded_at(book: RuleBook, county: County, subject: Subject) -> list[datetime]:
    """The moments of all reminders that its rules give to a problem as it stands, past and to come."""
    ending = _ending(subject)
    return [moment for moment, _ in _reminded(book, county, ending)] if ending is not None else []


def resumptions(subject: Subject, now: datetime) -> Iterator[Due]:
    """A suspension ends by itself when its limit has passed: as of that moment, however late the timer runs."""
    limit = subject.problem.suspended_until
    if subject.problem.state == "suspended" and limit is not None and end_of(limit) <= now:
        args = {"limit": limit.isoformat()}
        rule = "/".join(["limit", *(str(step.id) for step in subject.problem.steps if step.command == "problem.suspend")][-2:])
        yield Due(record=subject.id, kind="problem", op="problem.resume", args=args, moment=end_of(limit), rule=rule, is_captured=True)


def look_backs(book: RuleBook, county: County, subject: Subject, now: datetime) -> Iterator[Due]:
    """回头看: one task at the place of a closed-out problem, when its time has come; once for each close-out and day."""
    closed = [step for step in subject.problem.steps if step.command == "problem.close_out"]
    if subject.problem.state in ("closed_out", "look_back_passed") and closed:
        when = _look_back_day(book, county, subject.problem, done_at(closed[-1]))
        if when is not None and when <= now:
            yield _look_back_task(subject, closed[-1], when)


def _look_back_day(book: RuleBook, county: County, problem: Problem, closed_at: datetime) -> datetime | None:
    """The day that was named, or the one that the rule gives to a problem that nobody has looked back at."""
    if problem.look_back_on is not None:
        return end_of(problem.look_back_on) - timedelta(days=1)
    rule = book.body(county, LookBackRule, closed_at)
    if rule is None or rule.after is None or problem.look_back_result is not None or problem.state != "closed_out":
        return None
    return book.calendar(county, closed_at).add(closed_at, rule.after)


def _look_back_task(subject: Subject, closed: Step, when: datetime) -> Due:
    problem = subject.problem
    body = Task(
        title=f"回头看：{problem.title}"[:200],
        unit=subject.unit,
        subject=problem.subject,
        sites=[problem.site] if problem.site else [],
        origin=subject.id,
    )
    record = derived_mutation_id("look_back", subject.id, closed.id, when.isoformat())
    return Due(record=record, kind="task", op="create", body=msgspec.to_builtins(body), moment=when, rule="look_back")
