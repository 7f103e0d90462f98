"""Reminders and look-backs (domain.md 4.4, 4.7): what falls due by a problem's own dates. Pure. Colours are in sync/colours.py.

A timer is exact after downtime because it never asks "what is true now?" but "what became true, and when?": everything belongs to a
due moment, under the rule version in force at that moment. Its id derives from rule version, record and moment, so it is done once
however often it is asked, by however many workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from contracts.ids import County, derived_mutation_id
from contracts.kinds.problem import Problem
from contracts.kinds.task import Task
from contracts.rules import LookBackRule, RemindersRule, RuleName
from sync.due import Due, Subject
from sync.facts import Owed, done_at
from sync.rules import EVER, RuleBook, end_of


def reminders(book: RuleBook, county: County, subject: Subject, now: datetime) -> Iterator[Due]:
    """预警提醒 before a deadline: the nearest of those whose moment has come. None after the deadline, or for a moment before it was set."""
    problem = subject.problem
    if problem.due_on is None or problem.state not in ("assigned", "rectifying") or now >= end_of(problem.due_on):
        return
    moments = list(_reminded(book, county, problem, Owed(problem, subject.unit).deadlines[-1][0], now))
    if moments:
        moment, version = max(moments)
        args = {"note": f"整改期限 {problem.due_on.isoformat()}", "due_on": problem.due_on.isoformat(), "rule_version": version}
        rule = f"{county}/reminders/{version}"
        yield Due(record=subject.id, kind="problem", op="problem.remind", args=args, moment=moment, rule=rule)


def _reminded(book: RuleBook, county: County, problem: Problem, set_at: datetime, now: datetime) -> Iterator[tuple[datetime, int]]:
    assert problem.due_on is not None
    calendar = book.calendar(county, now if set_at == EVER else set_at)
    for version in book.versions(county, RuleName.REMINDERS):
        for before in book.decoded(version, RemindersRule).before:
            moment = calendar.subtract(end_of(problem.due_on), before)
            if set_at <= moment <= now and book.at(county, RuleName.REMINDERS, moment) is version:
                yield moment, version.version


def look_backs(book: RuleBook, county: County, subject: Subject, now: datetime) -> Iterator[Due]:
    """回头看: one task at the place of a closed-out problem, when its time has come."""
    closed = [step for step in subject.problem.steps if step.command == "problem.close_out"]
    if subject.problem.state == "closed_out" and closed:
        when = _look_back_day(book, county, subject.problem, done_at(closed[-1]))
        if when is not None and when <= now:
            yield _look_back_task(subject, when)


def _look_back_day(book: RuleBook, county: County, problem: Problem, closed_at: datetime) -> datetime | None:
    if problem.look_back_on is not None:
        return end_of(problem.look_back_on) - timedelta(days=1)
    rule = book.body(county, LookBackRule, closed_at)
    return book.calendar(county, closed_at).add(closed_at, rule.after) if rule and rule.after else None


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
    return Due(record=record, kind="task", op="create", body=msgspec.to_builtins(body), moment=when, rule="look_back")
