"""What patrol plans and responses call for, day by day (domain.md 4.15 and section 6). Pure; exact after downtime.

An occurrence is a day in China. It belongs to the revision of the plan that was in force when that day began, so changing or
ending a plan touches later days only. Ids derive from plan, revision, day and unit: one task, however often it is asked for,
by however many workers. Who has a duty on a day, and which seasons were known when it began, is looked up for that day. Where a
site lies is what is known when the task is made: nobody can look at a site that is gone. storage/plans.py reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import msgspec

from contracts.ids import County, PersonId, RecordId, UnitCode, derived_mutation_id
from contracts.kinds.plan import Plan, Revision, Terms
from contracts.kinds.response import Response
from contracts.kinds.site import Site
from contracts.kinds.task import Task
from contracts.people import Duty
from contracts.rules import RuleName, SeasonsRule
from sync.places import Places
from sync.recurrence import Seasons, days_of, occurrences
from sync.rules import CHINA, RuleBook, day_of, end_of

LIVE: Final = frozenset({"accepted", "started", "finished"})  # somebody has taken it on
ENDED: Final = "计划已调整"
LIFTED: Final = "应急响应已解除"
OFF_DUTY: Final = "（原定承办人当日无此职责）"
NOTE_CHARS_MAX: Final = 4000


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A task that a plan or response has made."""

    id: RecordId
    county: County
    unit: UnitCode
    revision: int
    occurs_on: date
    state: str
    sites: Sequence[str] = ()


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan's tasks depend on beside the plan. `site_units`: of the sites that are there and active."""

    places: Places
    seasons: Seasons = Seasons()
    site_units: Mapping[RecordId, UnitCode] = {}
    duties: Mapping[PersonId, Sequence[Duty]] = {}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A task that should be there."""

    id: RecordId
    unit: UnitCode
    body: Task

    def mutation_id(self) -> RecordId:
        return derived_mutation_id("generate", self.id)


def first_day_after(moment: datetime) -> date:
    """The first day that begins at or after a moment."""
    local = moment.astimezone(CHINA)
    return local.date() if local.time() == time.min else local.date() + timedelta(days=1)


def seasons_of(book: RuleBook, county: County) -> Seasons:
    versions = book.versions(county, RuleName.SEASONS)
    return Seasons(tuple((first_day_after(v.starts), tuple(msgspec.convert(v.body, SeasonsRule).seasons)) for v in versions))


# ------------------------------------------------------------------------------------------------ plans


def span_of(revision: Revision) -> tuple[date, date]:
    """First and last day that belong to a revision. The day of a change is still the earlier one's."""
    since = day_of(revision.since)
    first = max(revision.terms.from_on, since if revision.n == 1 else since + timedelta(days=1))
    return first, day_of(revision.until) if revision.until else date.max


def plan_tasks(record: RecordId, plan: Plan, around: Around, since: date, today: date) -> Iterator[Wanted]:
    """Tasks for every day from `since` on whose time to be made has come."""
    for revision in plan.revisions:
        first, last = span_of(revision)
        horizon = min(last, today + timedelta(days=revision.terms.ahead_days))
        for day in days_of(revision.terms, max(first, since), horizon, around.seasons):
            for unit, sites in shared_out(plan, revision.terms, day, around).items():
                yield _plan_task(record, plan, revision, day, unit, sites, around)


def shared_out(plan: Plan, terms: Terms, day: date, around: Around) -> dict[UnitCode, list[RecordId]]:
    """Unit -> its part of the sites: each goes to the nearest unit above it, and to the plan's own where no other is.

    A site that is closed, deleted or no longer below the plan's unit is nobody's; a unit that is closed by that day has no part. Where only a person is named, the unit is where
    that person has a duty on the day.
    """
    units = terms.units or [_home(plan, terms, day, around)]
    parts: dict[UnitCode, list[RecordId]] = {unit: [] for unit in units if not around.places.is_closed(unit, day)}
    if not terms.sites:
        return parts
    for site in terms.sites:
        line = [unit for unit in around.places.line(around.site_units.get(site, "")) if not around.places.is_closed(unit, day)]
        nearest = next((unit for unit in line if unit in parts or unit == plan.unit), None)
        if nearest is not None:
            parts.setdefault(nearest, []).append(site)
    return {unit: sites for unit, sites in parts.items() if sites}


def _home(plan: Plan, terms: Terms, day: date, around: Around) -> UnitCode:
    duties = _duties_on(terms.assignee, day, around)
    return next((duty.unit for duty in duties if around.places.covers(plan.unit, duty.unit)), plan.unit)


def _duties_on(person: PersonId | None, day: date, around: Around) -> list[Duty]:
    """The duties a person has on some part of a day, the oldest first."""
    if person is None:
        return []
    begins, ends = datetime.combine(day, time.min, CHINA).astimezone(UTC), end_of(day)
    held = [d for d in around.duties.get(person, ()) if d.starts < ends and (d.ends is None or d.ends > begins)]
    return sorted(held, key=lambda d: (d.starts, d.unit))


def _plan_task(
    record: RecordId, plan: Plan, revision: Revision, day: date, unit: UnitCode, sites: list[RecordId], around: Around
) -> Wanted:
    """Whoever has no duty there on the day cannot do it: then it is anybody's of the unit, and says so."""
    terms = revision.terms
    can = any(around.places.covers(duty.unit, unit) for duty in _duties_on(terms.assignee, day, around))
    note = terms.note if can or terms.assignee is None else (terms.note + OFF_DUTY)[-NOTE_CHARS_MAX:]
    return Wanted(
        id=derived_mutation_id("plan", record, revision.n, day.isoformat(), unit),
        unit=unit,
        body=Task(
            title=plan.title,
            unit=unit,
            subject=terms.subject,
            sites=sites,
            assignee=terms.assignee if can else None,
            visit_mode=terms.visit_mode,
            due_on=day + timedelta(days=terms.due_days) if terms.due_days is not None else None,
            origin=record,
            origin_revision=revision.n,
            occurs_on=day,
            note=note,
        ),
    )


def lapsed(plan: Plan, made: Iterable[Made], wanted: Iterable[Wanted], today: date) -> list[Made]:
    """Tasks made ahead that nobody has accepted: of days that no longer belong to their revision, or still to come and not wanted
    any more (another season was published, a site was closed or moved).
    """
    revisions = {revision.n: revision for revision in plan.revisions}
    still = {w.id for w in wanted}

    def is_gone(task: Made, revision: Revision) -> bool:
        horizon = today + timedelta(days=revision.terms.ahead_days)  # later than that only a clock that was set back sees it
        return task.occurs_on > span_of(revision)[1] or (today < task.occurs_on <= horizon and task.id not in still)

    return [task for task in made if task.state == "open" and task.revision in revisions and is_gone(task, revisions[task.revision])]


def not_taken_on(wanted: Iterable[Wanted], made: Sequence[Made]) -> list[Wanted]:
    """Without what is there already, without days for which somebody keeps a task of an earlier revision, and without sites that
    another task of the day has: a site that moves is not given twice.
    """
    there = {task.id for task in made}
    given = {(task.occurs_on, site) for task in made if task.state != "cancelled" for site in task.sites}
    live = [task for task in made if task.state in LIVE]
    new = [_without(w, given) for w in wanted if w.id not in there]
    return [w for w in new if w is not None and not any(_keeps(task, w) for task in live)]


def _without(w: Wanted, given: set[tuple[date, str]]) -> Wanted | None:
    left = [site for site in w.body.sites if w.body.occurs_on is None or (w.body.occurs_on, str(site)) not in given]
    if left == w.body.sites:
        return w
    return msgspec.structs.replace(w, body=msgspec.structs.replace(w.body, sites=left)) if left else None


def _keeps(task: Made, w: Wanted) -> bool:
    """Whether somebody has taken on the unit's day already, under earlier terms. Sites are told one by one."""
    is_earlier = (task.unit, task.occurs_on) == (w.unit, w.body.occurs_on) and task.revision != w.body.origin_revision
    return is_earlier and not (task.sites and w.body.sites)


# ------------------------------------------------------------------------------------------------ responses


def under_way(response: Response) -> tuple[datetime, datetime | None] | None:
    """From when, and until when, the response called for checks; None: it never did."""
    begun = [s.at for s in response.steps if s.to in ("responding", "tracking") and s.source != s.to]
    if not begun:
        return None
    ended = [s.at for s in response.steps if s.to in ("lifted", "evaluated") and s.source != s.to]
    return begun[0], ended[0] if ended else None


def response_tasks(
    record: RecordId, response: Response, sites: Mapping[RecordId, tuple[UnitCode, Site]], since: date, now: datetime
) -> Iterator[Wanted]:
    """One check per object on the cut list and day, from the response to its lifting; without a rule one check per object.

    since   the day of the last look: what comes on the list later, or a rule that is changed, is for later days only
    """
    span = under_way(response)
    if span is None:
        return
    first, last = day_of(span[0]), day_of(min(now, span[1] or now))
    if response.repeats:
        days = [(day, day) for day in occurrences(response.repeats, first, max(first, since), last)]
    else:
        days = [(first, max(first, min(since, last)))]
    for key, day in days:
        for site, (unit, body) in sites.items():
            yield Wanted(
                id=derived_mutation_id("response", record, key.isoformat(), site),
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
