"""Making the tasks that plans and responses call for: read what is due, ask sync.plans, write what is not there yet.

A plan is looked at again when it changed, when seasons were published, and every day. Progress is kept only to spare work:
ids derive from the cause, so two workers, a restart or a clock set back make nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final, LiteralString

import msgspec

from contracts.ids import County, RecordId, UnitCode, derived_mutation_id
from contracts.kinds.plan import Plan
from contracts.kinds.response import Response
from contracts.kinds.site import Site
from contracts.mutation import Mutation
from contracts.rules import RuleName
from storage.ledger_rows import tag
from storage.office_push import draft, system_push_each
from storage.pool import Executor, Pool
from storage.reference import Reference
from sync.places import unit_of
from sync.plans import (
    ENDED,
    LIFTED,
    Made,
    Wanted,
    body_of,
    day_of,
    ended_with,
    lapsed,
    not_taken_on,
    plan_tasks,
    response_tasks,
    seasons_at,
)

LOOK_AGAIN: Final = timedelta(days=3)  # before the last run: a clock that was set back
BATCH: Final = 100

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
    versions = reference.rules.versions(county, RuleName.SEASONS)
    seasons = len([v for v in versions if v.starts <= now])
    done = 0
    for row in await pool.fetch(SQL_FETCH_PLANS, county, seasons, today):
        since = row["day"] - LOOK_AGAIN if row["day"] is not None else date.min
        run = _Run(pool, reference, county, now, row["id"], since)
        if row["kind"] == "plan":
            done += await run.plan(msgspec.json.decode(row["body"], type=Plan))
        else:
            done += await run.response(msgspec.json.decode(row["body"], type=Response))
        await pool.execute(SQL_SET_PLAN_RUN, county, row["id"], row["incarnation"], row["version"], seasons, today)
    return done


SQL_FETCH_TASKS: Final[LiteralString] = """
    SELECT id, stream, deleted, body ->> 'state' AS state, (body ->> 'origin_revision')::integer AS revision,
           (body ->> 'occurs_on')::date AS occurs_on
    FROM record
    WHERE county = $1 AND kind = 'task' AND (body ->> 'origin') IS NOT NULL AND (body ->> 'origin') = $2
      AND (body ->> 'occurs_on') >= $3
"""
SQL_FETCH_SITES: Final[LiteralString] = """
    SELECT id, stream, body FROM record WHERE county = $1 AND id = ANY ($2::uuid[]) AND kind = 'site' AND NOT deleted
"""
SQL_FETCH_TAGGED: Final[LiteralString] = """
    SELECT r.id, r.stream, r.body FROM ledger_entry e JOIN record r ON r.county = e.county AND r.id = e.record
    WHERE e.county = $1 AND e.kind = 'site' AND e.tags @> ARRAY[$2::text] AND e.is_open AND NOT r.deleted
"""


class _Run:
    """One look at one plan or response of one county, whose tasks may lie in several."""

    def __init__(self, pool: Pool, reference: Reference, county: County, now: datetime, record: RecordId, since: date) -> None:
        self.pool, self.reference, self.county, self.now = pool, reference, county, now
        self.record, self.since = record, since
        self.places = reference.places

    async def plan(self, plan: Plan) -> int:
        named = [unit for revision in plan.revisions for unit in (plan.unit, *revision.terms.units)]
        counties = self._counties(named)
        seasons = seasons_at(self.reference.rules, self.county, self.now)
        wanted_sites = [site for revision in plan.revisions for site in revision.terms.sites]
        site_units = {row["id"]: unit_of(row["stream"]) for row in await self._sites(counties, wanted_sites)}
        gone = lapsed(plan, await self._made(counties))
        await self._end(gone, "task.lapse", ENDED)
        made = await self._made(counties)  # again: somebody may have accepted one meanwhile, and keeps it
        wanted = plan_tasks(self.record, plan, seasons, self.places, site_units, self.since, day_of(self.now))
        return len(gone) + await self._make(not_taken_on(wanted, made))

    async def response(self, response: Response) -> int:
        below = set(self.places.below(response.unit))
        counties = self._counties(below)
        rows = await self._sites(counties, response.sites)
        if response.cut_list_tag:
            for county in counties:
                rows += await self.pool.fetch(SQL_FETCH_TAGGED, county, tag("tag", response.cut_list_tag))
        found = {row["id"]: (unit_of(row["stream"]), msgspec.json.decode(row["body"], type=Site)) for row in rows}
        sites = {k: (unit, body) for k, (unit, body) in found.items() if unit in below and body.status == "active"}
        made = await self._made(counties)
        gone = ended_with(response, made)
        await self._end(gone, "task.cancel", LIFTED)
        there = {task.id for task in made}
        # what was lifted meanwhile is not begun any more: only who was told could have gone
        new = [] if gone or _is_over(response) else [w for w in response_tasks(self.record, response, sites, self.now) if w.id not in there]
        return len(gone) + await self._make(new)

    def _counties(self, units: Iterable[UnitCode]) -> list[County]:
        return sorted({county for unit in units if (county := self.places.county_of(unit)) is not None})

    async def _sites(self, counties: Sequence[County], sites: Sequence[RecordId]) -> list[Any]:
        return [row for county in counties for row in await self.pool.fetch(SQL_FETCH_SITES, county, sites)] if sites else []

    async def _made(self, counties: Sequence[County]) -> list[Made]:
        return [task for county in counties for task in await fetch_made(self.pool, county, self.record, self.since)]

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
        )
        for row in rows
    ]
