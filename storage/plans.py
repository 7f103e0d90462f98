"""Making the tasks that plans and responses call for: read what is due, ask sync.plans, write what is not there yet.

A plan is looked at again when it changed, when seasons were published, and every day. Progress is kept only to spare work:
ids derive from the cause, so two workers, a restart or a clock set back make nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final, LiteralString

import msgspec
import structlog

from contracts.ids import County, RecordId, UnitCode, derived_mutation_id
from contracts.kinds.plan import Plan, Terms
from contracts.kinds.response import Response
from contracts.kinds.site import Site
from contracts.mutation import Mutation
from contracts.rules import RuleName
from contracts.stored import read_stored
from storage.ledger_rows import tag
from storage.office_push import draft, system_push_each
from storage.people import fetch_duties
from storage.pool import Executor, Pool
from storage.reference import Reference
from sync.places import unit_of
from sync.plans import (
    ENDED,
    LIFTED,
    Around,
    Made,
    Wanted,
    body_of,
    ended_with,
    lapsed,
    not_taken_on,
    plan_tasks,
    response_tasks,
    seasons_of,
)
from sync.recurrence import is_readable
from sync.rules import day_of

LOOK_AGAIN: Final = timedelta(days=3)  # before a plan's last run: a change that was committed meanwhile, a clock that was set back
BATCH: Final = 100

log = structlog.get_logger("xunling.plans")

SQL_FETCH_PLANS: Final[LiteralString] = """
    SELECT r.id, r.kind, r.incarnation, r.version, r.body, p.day
    FROM record r LEFT JOIN plan_run p ON p.county = r.county AND p.plan = r.id
    WHERE r.county = $1 AND r.kind IN ('plan', 'response') AND NOT r.deleted
      AND ((p.incarnation, p.version, p.seasons, p.day) IS DISTINCT FROM (r.incarnation, r.version, $2::integer, $3::date)
           OR (r.body ->> 'state') IN ('responding', 'tracking')) -- its cut list may grow
    ORDER BY r.id
"""
SQL_SET_PLAN_RUN: Final[LiteralString] = """
    INSERT INTO plan_run (county, plan, incarnation, version, seasons, day) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (county, plan) DO UPDATE SET incarnation = EXCLUDED.incarnation, version = EXCLUDED.version,
        seasons = EXCLUDED.seasons, day = EXCLUDED.day
"""


async def run_plans(pool: Pool, reference: Reference, county: County, now: datetime) -> int:
    """Make and end the tasks of the county's plans and responses; returns how many. Safe to run twice, by two workers, and late."""
    today = day_of(now)
    seasons = len(reference.rules.versions(county, RuleName.SEASONS))
    done = 0
    for row in await pool.fetch(SQL_FETCH_PLANS, county, seasons, today):
        run = _Run(pool, reference, county, now, row["id"], row["day"])
        body = _readable(row)
        if isinstance(body, Plan):
            done += await run.plan(body)
        elif isinstance(body, Response):
            done += await run.response(body)
        await pool.execute(SQL_SET_PLAN_RUN, county, row["id"], row["incarnation"], row["version"], seasons, today)
    return done


def _readable(row: Any) -> Plan | Response | None:
    """None, and a line in the log, for what this program cannot expand: one bad plan keeps no other back."""
    try:
        body = read_stored(row["body"], Plan if row["kind"] == "plan" else Response)
        rules = [body.repeats] if isinstance(body, Response) else [rule for r in body.revisions for rule in r.terms.rules()]
        if all(rule is None or is_readable(rule) for rule in rules):
            return body
        error = "recurrence"
    except msgspec.DecodeError as fault:
        error = str(fault)
    log.error("plan_not_readable", record=str(row["id"]), error=error)
    return None


SQL_FETCH_TASKS: Final[LiteralString] = """
    SELECT id, stream, deleted, body ->> 'state' AS state, (body ->> 'origin_revision')::integer AS revision,
           (body ->> 'occurs_on')::date AS occurs_on, body -> 'sites' AS sites
    FROM record
    WHERE county = $1 AND kind = 'task' AND (body ->> 'origin') IS NOT NULL AND (body ->> 'origin') = $2
      AND (body ->> 'occurs_on') >= $3
"""
SQL_FETCH_SITES: Final[LiteralString] = """
    SELECT id, stream, body FROM record WHERE county = $1 AND id = ANY ($2::uuid[]) AND kind = 'site' AND NOT deleted
      AND coalesce(body ->> 'status', 'active') = 'active'
"""
SQL_FETCH_TAGGED: Final[LiteralString] = """
    SELECT r.id, r.stream, r.body FROM ledger_entry e JOIN record r ON r.county = e.county AND r.id = e.record
    WHERE e.county = $1 AND e.kind = 'site' AND e.tags @> ARRAY[$2::text] AND e.is_open AND NOT r.deleted
"""


SQL_FETCH_THERE: Final[LiteralString] = "SELECT id FROM record WHERE county = $1 AND id = ANY ($2::uuid[])"


class _Run:
    """One look at one plan or response of one county, whose tasks may lie in several."""

    def __init__(self, pool: Pool, reference: Reference, county: County, now: datetime, record: RecordId, looked_on: date | None) -> None:
        """`looked_on`: the day of the last look; None: there was none."""
        self.pool, self.reference, self.county, self.now = pool, reference, county, now
        self.record, self.looked_on, self.today = record, looked_on or date.min, day_of(now)
        self.places = reference.places

    async def plan(self, plan: Plan) -> int:
        since = self.looked_on - LOOK_AGAIN if self.looked_on > date.min else date.min
        terms = [revision.terms for revision in plan.revisions]
        counties = self._counties(unit for one in terms for unit in (plan.unit, *one.units, *self._below(plan, one)))
        sites = await self._sites(counties, [site for one in terms for site in one.sites])
        people = {one.assignee for one in terms if one.assignee is not None}
        around = Around(
            places=self.places,
            seasons=seasons_of(self.reference.rules, self.county),
            site_units={row["id"]: unit_of(row["stream"]) for row in sites},
            duties={person: await fetch_duties(self.pool, person) for person in people},
        )
        wanted = list(plan_tasks(self.record, plan, around, since, self.today))
        gone = lapsed(plan, await self._made(counties, since), wanted, self.today)
        await self._end(gone, "task.lapse", ENDED)
        made = await self._made(counties, since)  # again: somebody may have accepted one meanwhile, and keeps it
        return len(gone) + await self._make(not_taken_on(wanted, made))

    def _below(self, plan: Plan, terms: Terms) -> Sequence[UnitCode]:
        """Where the plan's sites may lie, or its person: of a city's plan, in any of its counties."""
        return self.places.below(plan.unit) if terms.sites or terms.assignee else ()

    async def response(self, response: Response) -> int:
        below = set(self.places.below(response.unit))
        counties = self._counties(below)
        gone = ended_with(response, await self._made(counties, date.min)) if _is_over(response) else []
        await self._end(gone, "task.call_off", LIFTED)
        # what was lifted meanwhile is not begun any more: only who was told could have gone
        return len(gone) if _is_over(response) else await self._check(response, below, counties)

    async def _check(self, response: Response, below: set[UnitCode], counties: Sequence[County]) -> int:
        rows = await self._sites(counties, response.sites)
        if response.cut_list_tag:
            for county in counties:
                rows += await self.pool.fetch(SQL_FETCH_TAGGED, county, tag("tag", response.cut_list_tag))
        found = {row["id"]: (unit_of(row["stream"]), read_stored(row["body"], Site)) for row in rows}
        sites = {k: (self.places.open_unit(unit, self.today), body) for k, (unit, body) in found.items() if unit in below}
        wanted = list(response_tasks(self.record, response, sites, self.looked_on, self.now))
        ids = [w.id for w in wanted]
        there = {row["id"] for county in counties for row in await self.pool.fetch(SQL_FETCH_THERE, county, ids)}
        return await self._make([w for w in wanted if w.id not in there])

    def _counties(self, units: Iterable[UnitCode]) -> list[County]:
        return sorted({county for unit in units if (county := self.places.county_of(unit)) is not None})

    async def _sites(self, counties: Sequence[County], sites: Sequence[RecordId]) -> list[Any]:
        return [row for county in counties for row in await self.pool.fetch(SQL_FETCH_SITES, county, sites)] if sites else []

    async def _made(self, counties: Sequence[County], since: date) -> list[Made]:
        return [task for county in counties for task in await fetch_made(self.pool, county, self.record, since)]

    async def _make(self, wanted: Sequence[Wanted]) -> int:
        drafts = [
            (
                self.places.county_of(w.unit),
                draft(kind="task", record=w.id, op="create", now=self.now, mutation=w.mutation_id(), body=body_of(w.body)),
            )
            for w in wanted
        ]
        await self._push(drafts)
        return len(drafts)

    async def _end(self, tasks: Sequence[Made], op: str, why: str) -> None:
        drafts = [
            (
                task.county,
                draft(
                    kind="task",
                    record=task.id,
                    op=op,
                    now=self.now,
                    mutation=derived_mutation_id("end", task.id, op, self.record),
                    fields={"cancel_reason": ("", why)},
                ),
            )
            for task in tasks
        ]
        await self._push(drafts)

    async def _push(self, drafts: Sequence[tuple[County | None, Mutation]]) -> None:
        for county in {county for county, _ in drafts if county is not None}:
            mine = [mutation for c, mutation in drafts if c == county]
            for k in range(0, len(mine), BATCH):
                await system_push_each(self.pool, self.reference, county, mine[k : k + BATCH], self.now)


def _is_over(response: Response) -> bool:
    return response.state not in ("responding", "tracking")


async def fetch_made(executor: Executor, county: County, origin: RecordId, since: date) -> list[Made]:
    """The tasks of a plan or response for days from `since` on, deleted ones as such."""
    rows = await executor.fetch(SQL_FETCH_TASKS, county, str(origin), since.isoformat())
    return [
        Made(
            id=row["id"],
            county=county,
            unit=unit_of(row["stream"]),
            revision=row["revision"],
            occurs_on=row["occurs_on"],
            state="deleted" if row["deleted"] else row["state"] or "open",
            sites=msgspec.json.decode(row["sites"]) if row["sites"] else (),
        )
        for row in rows
    ]
