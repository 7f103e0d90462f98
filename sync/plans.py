"""What patrol plans and responses call for, day by day (domain.md 4.15 and section 6). Pure; exact after downtime.

An occurrence is a day in China. It belongs to the revision of the plan that was in force when that day began, so changing or
ending a plan touches later days only. Ids derive from plan, revision, day and unit: one task, however often it is asked for,
by however many workers. storage/plans.py reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

import msgspec

from contracts.ids import County, RecordId, UnitCode, derived_mutation_id
from contracts.kinds.plan import Plan, Revision
from contracts.kinds.response import Response
from contracts.kinds.site import Site
from contracts.kinds.task import Task
from contracts.rules import Season, SeasonsRule
from sync.places import Places
from sync.recurrence import days_of, occurrences
from sync.rules import CHINA, RuleBook

LIVE: Final = frozenset({"accepted", "started", "finished"})  # somebody has taken it on
ENDED: Final = "计划已调整"
LIFTED: Final = "应急响应已解除"


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A task that a plan or response has made."""

    id: RecordId
    county: County
    unit: UnitCode
    revision: int
    occurs_on: date
    state: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A task that should be there."""

    id: RecordId
    unit: UnitCode
    body: Task

    def mutation_id(self) -> RecordId:
        return derived_mutation_id("generate", self.id)


def day_of(moment: datetime) -> date:
    return moment.astimezone(CHINA).date()


def seasons_at(book: RuleBook, county: County, now: datetime) -> list[Season]:
    rule = book.body(county, SeasonsRule, now)
    return rule.seasons if rule else []


# ------------------------------------------------------------------------------------------------ plans


def span_of(revision: Revision) -> tuple[date, date]:
    """First and last day that belong to a revision. The day of a change is still the earlier one's."""
    since = day_of(revision.since)
    first = max(revision.terms.from_on, since if revision.n == 1 else since + timedelta(days=1))
    return first, day_of(revision.until) if revision.until else date.max


def plan_tasks(
    record: RecordId,
    plan: Plan,
    seasons: Iterable[Season],
    places: Places,
    site_units: Mapping[RecordId, UnitCode],
    since: date,
    today: date,
) -> Iterator[Wanted]:
    """Tasks for every day from `since` on whose time to be made has come. `site_units`: of the sites that are known."""
    known = list(seasons)
    for revision in plan.revisions:
        first, last = span_of(revision)
        horizon = min(last, today + timedelta(days=revision.terms.ahead_days))
        for day in days_of(revision.terms, max(first, since), horizon, known):
            for unit, sites in shared_out(plan, revision, places, site_units).items():
                yield _plan_task(record, plan, revision, day, unit, sites)


def shared_out(plan: Plan, revision: Revision, places: Places, site_units: Mapping[RecordId, UnitCode]) -> dict[UnitCode, list[RecordId]]:
    """Unit -> its part of the sites: each goes to the nearest unit above it, and to the plan's own where none is."""
    units = revision.terms.units or [plan.unit]
    parts: dict[UnitCode, list[RecordId]] = {unit: [] for unit in units}
    for site in revision.terms.sites:
        line = places.line(site_units.get(site, plan.unit))
        nearest = next((unit for unit in line if unit in parts), units[0])
        parts[nearest].append(site)
    if revision.terms.sites:
        parts = {unit: sites for unit, sites in parts.items() if sites}
    return parts


def _plan_task(record: RecordId, plan: Plan, revision: Revision, day: date, unit: UnitCode, sites: list[RecordId]) -> Wanted:
    terms = revision.terms
    return Wanted(
        id=derived_mutation_id("plan", record, revision.n, day.isoformat(), unit),
        unit=unit,
        body=Task(
            title=plan.title,
            unit=unit,
            subject=terms.subject,
            sites=sites,
            assignee=terms.assignee,
            visit_mode=terms.visit_mode,
            due_on=day + timedelta(days=terms.due_days) if terms.due_days is not None else None,
            origin=record,
            origin_revision=revision.n,
            occurs_on=day,
            note=terms.note,
        ),
    )


def lapsed(plan: Plan, made: Iterable[Made]) -> list[Made]:
    """Tasks made ahead for days that no longer belong to their revision, and that nobody has accepted."""
    spans = {revision.n: span_of(revision) for revision in plan.revisions}
    return [task for task in made if task.state == "open" and task.revision in spans and task.occurs_on > spans[task.revision][1]]


def not_taken_on(wanted: Iterable[Wanted], made: Sequence[Made]) -> list[Wanted]:
    """Without what is there already, and without days for which somebody keeps a task of an earlier revision."""
    there = {task.id for task in made}
    kept = {(task.unit, task.occurs_on): task.revision for task in made if task.state in LIVE}
    return [w for w in wanted if w.id not in there and _revision_kept(w, kept) == w.body.origin_revision]


def _revision_kept(w: Wanted, kept: Mapping[tuple[UnitCode, date], int]) -> int | None:
    return kept.get((w.unit, w.body.occurs_on), w.body.origin_revision) if w.body.occurs_on else None


# ------------------------------------------------------------------------------------------------ responses


def under_way(response: Response) -> tuple[datetime, datetime | None] | None:
    """From when, and until when, the response called for checks; None: it never did."""
    begun = [s.at for s in response.steps if s.to in ("responding", "tracking") and s.source != s.to]
    if not begun:
        return None
    ended = [s.at for s in response.steps if s.to in ("lifted", "evaluated") and s.source != s.to]
    return begun[0], ended[0] if ended else None


def response_tasks(
    record: RecordId, response: Response, sites: Mapping[RecordId, tuple[UnitCode, Site]], now: datetime
) -> Iterator[Wanted]:
    """One check per object on the cut list and day, from the response to its lifting."""
    span = under_way(response)
    if span is None:
        return
    first, last = day_of(span[0]), day_of(min(now, span[1] or now))
    days = occurrences(response.repeats, first, first, last) if response.repeats else [first]
    for day in days:
        for site, (unit, body) in sites.items():
            yield Wanted(
                id=derived_mutation_id("response", record, day.isoformat(), site),
                unit=unit,
                body=Task(
                    title=f"重污染天气应急检查：{body.name}"[:200],
                    unit=unit,
                    subject="pollution_emergency",
                    sites=[site],
                    due_on=day,
                    origin=record,
                    origin_revision=1,
                    occurs_on=day,
                    note=f"EMER-1 {response.title} {response.order_number}".strip(),
                ),
            )


def ended_with(response: Response, made: Iterable[Made]) -> list[Made]:
    """What is not begun when the response is lifted. Who is on the way already may finish: that is taken late, too."""
    span = under_way(response)
    if span is None or span[1] is None:
        return []
    return [task for task in made if task.state in ("open", "accepted")]


def body_of(task: Task) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(task)
    return body
