"""Many problems at once: assigned, or given a day for a look-back. One mutation each, so that none is lost by another's refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog
from litestar import Router, post
from litestar.params import JSONBody

from api.auth import LIMITED
from api.dependencies import GivenCaller, GivenNow, GivenPlaces, GivenResources
from api.desk import check_sizes, sender_of
from api.ledgers import key_of, parties_of, streams_in_force, tags_of, text_of
from api.resources import Resources
from contracts.caller import Caller
from contracts.ids import County, RecordId, StreamName, Version, asked_id
from contracts.ledger import LedgerSort
from contracts.mutation import Mutation
from contracts.office import AssignedMany, AssignMany, BulkRow, LookBacksPlanned, PlanLookBacks
from contracts.outcomes import MutationOutcome, Outcome
from contracts.problems import Problem
from storage.ledger_lists import LedgerFilter, fetch_ledger
from storage.ledger_rows import tag
from storage.ledger_search import text_wanted
from storage.office_push import draft, office_push
from storage.pool import infrastructure_problem
from storage.push import Pushed
from storage.story import fetch_records
from sync.machines import DONE
from sync.places import Places, unit_of

BATCH: Final = 50  # of one transaction: its stream heads are locked meanwhile
log = structlog.get_logger("xunling.office")


@post("/problems/assign", opt=LIMITED, status_code=200, summary="批量交办 · Assign many problems at once")
async def assign_many(
    data: JSONBody[AssignMany], caller: GivenCaller, resources: GivenResources, places: GivenPlaces, now: GivenNow
) -> AssignedMany:
    """Each problem is assigned or refused by itself; the answer has one row for each, in the order asked."""
    streams = streams_here(caller, places, now, data.county)
    wanted = {one.problem: one for one in data.problems}
    found = {
        record.id: record
        for record in await fetch_records(resources.pool, data.county, list(wanted), streams)
        if record.kind == "problem" and not record.deleted
    }
    fields = {"due_on": data.due_on.isoformat(), "leads": list(data.leads), "supporting": list(data.supporting)}
    drafts = [
        command(
            "problem.assign", asked_id("assign_many", data.id, one), one, wanted[one].base or found[one].v, found[one].body, fields, now
        )
        for one in wanted
        if one in found
    ]
    outcomes = await push_all(resources, data.county, caller, drafts, now)
    rows = [row_of(problem, outcomes.get(problem), "internal" if problem in found else "not_found") for problem in wanted]
    return AssignedMany(applied=applied_of(rows), rows=rows)


@post("/problems/look-back", opt=LIMITED, status_code=200, summary="批量安排回头看 · Plan look-backs for all that match")
async def plan_look_backs(
    data: JSONBody[PlanLookBacks], caller: GivenCaller, resources: GivenResources, places: GivenPlaces, now: GivenNow
) -> LookBacksPlanned:
    """A page of the ledger's closed problems, each planned or refused by itself; on the day the timers make a task of each.

    The order is by deadline, which no look-back changes, so that each problem is on one page. The ledger with the same filters shows them before.
    """
    scope = streams_here(caller, places, now, data.county)
    streams = [stream for stream in scope if data.unit is None or places.covers(data.unit, unit_of(stream))]
    after = key_of(data.after)
    found, _ = await fetch_ledger(resources.pool, data.county, closed_wanted(data, streams), LedgerSort.DUE, after, data.limit + 1, scope)
    page, fields = found[: data.limit], {"look_back_on": data.look_back_on.isoformat()}
    drafts = [
        command(
            "problem.plan_look_back",
            asked_id("look_back_many", data.id, one.record),
            one.record,
            (one.incarnation, one.version),
            one.body,
            fields,
            now,
        )
        for one in page
    ]
    outcomes = await push_all(resources, data.county, caller, drafts, now)
    rows = [row_of(one.record, outcomes.get(one.record), "internal") for one in page]
    return LookBacksPlanned(applied=applied_of(rows), rows=rows, next=text_of(page[-1]) if len(found) > data.limit else None)


def closed_wanted(data: PlanLookBacks, streams: Sequence[StreamName]) -> LedgerFilter:
    return LedgerFilter(
        kind="problem",
        streams=streams,
        tags=tags_of(
            subject=data.subject,
            source=data.source,
            finding=data.finding,
            site=data.site,
            ledger=data.name,
            closed_year=data.closed_year,
        ),
        states=[tag("state", word) for word in data.state or DONE.split()],
        parties=parties_of("problem", data.department, []),
        text=text_wanted("problem", data.text) if data.text else None,
    )


def streams_here(caller: Caller, places: Places, now: datetime, county: County) -> list[StreamName]:
    """What the caller's duties in force show of one county."""
    return [stream for stream, one in streams_in_force(caller, places, now).items() if one == county]


def command(
    op: str, mutation: RecordId, problem: RecordId, base: Version, body: msgspec.Raw | str, fields: Mapping[str, Any], now: datetime
) -> Mutation:
    """One command on one problem, as whoever looked at this body meant it."""
    before: dict[str, Any] = msgspec.json.decode(body)
    changed = {name: (before.get(name), value) for name, value in fields.items()}
    return draft(kind="problem", record=problem, op=op, now=now, mutation=mutation, base=base, fields=changed)


async def push_all(
    resources: Resources, county: County, caller: Caller, drafts: Sequence[Mutation], now: datetime
) -> dict[RecordId, MutationOutcome]:
    """In transactions of `BATCH`; what the server failed at has no outcome."""
    check_sizes(drafts, resources.sync.mutation_bytes_max)
    outcomes: dict[RecordId, MutationOutcome] = {}
    for start in range(0, len(drafts), BATCH):
        outcomes |= await push_each(resources, county, caller, drafts[start : start + BATCH], now)
    return outcomes


async def push_each(
    resources: Resources, county: County, caller: Caller, drafts: Sequence[Mutation], now: datetime
) -> dict[RecordId, MutationOutcome]:
    """One transaction; if the server fails at it, each by itself, and only the culprit has no outcome."""
    try:
        pushed = await push_batch(resources, county, caller, drafts, now)
    except Exception as error:
        if isinstance(error, Problem) or infrastructure_problem(error) is not None:
            raise
        log.exception("bulk_failed", op=drafts[0].op, problems=[str(one.record) for one in drafts])
        if len(drafts) == 1:
            return {}
        outcomes: dict[RecordId, MutationOutcome] = {}
        for one in drafts:
            outcomes |= await push_each(resources, county, caller, [one], now)
        return outcomes
    return {one.record: outcome for one, outcome in zip(drafts, pushed.outcomes, strict=True)}


async def push_batch(resources: Resources, county: County, caller: Caller, drafts: Sequence[Mutation], now: datetime) -> Pushed:
    reference = await resources.units.reference()
    held_max = resources.sync.held_of_person_max
    pushed = await office_push(resources.pool, reference, county, sender_of(caller), drafts, now, same_content=True, held_max=held_max)
    resources.live.moved((county, stream) for stream in pushed.streams)
    return pushed


def row_of(problem: RecordId, outcome: MutationOutcome | None, fault: str) -> BulkRow:
    return BulkRow(problem=problem, outcome=outcome, fault=None if outcome is not None else fault)


def applied_of(rows: Sequence[BulkRow]) -> int:
    return sum(row.outcome is not None and row.outcome.outcome in (Outcome.APPLIED, Outcome.MERGED) for row in rows)


BULK: Final = Router("/office/v1", route_handlers=[assign_many, plan_look_backs], tags=["office"])
