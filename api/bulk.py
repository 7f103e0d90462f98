"""Assigning many problems at once: one mutation each, so that none is lost by another's refusal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog
from litestar import Router, post
from litestar.params import JSONBody

from api.auth import LIMITED
from api.dependencies import GivenCaller, GivenNow, GivenPlaces, GivenResources
from api.desk import sender_of
from api.ledgers import streams_in_force
from api.resources import Resources
from contracts.caller import Caller
from contracts.ids import RecordId, asked_id
from contracts.mutation import Mutation
from contracts.office import AssignedMany, AssignedOne, AssignMany, StoryRecord
from contracts.outcomes import MutationOutcome, Outcome
from contracts.problems import Problem
from storage.office_push import draft, office_push
from storage.pool import infrastructure_problem
from storage.push import Pushed
from storage.story import fetch_records

BATCH: Final = 50  # of one transaction: its stream heads are locked meanwhile
log = structlog.get_logger("xunling.office")


@post("/problems/assign", opt=LIMITED, status_code=200, summary="批量交办 · Assign many problems at once")
async def assign_many(
    data: JSONBody[AssignMany], caller: GivenCaller, resources: GivenResources, places: GivenPlaces, now: GivenNow
) -> AssignedMany:
    """Each problem is assigned or refused by itself; the answer has one row for each, in the order asked."""
    streams = [stream for stream, county in streams_in_force(caller, places, now).items() if county == data.county]
    wanted = {one.problem: one for one in data.problems}
    found = {
        record.id: record
        for record in await fetch_records(resources.pool, data.county, list(wanted), streams)
        if record.kind == "problem" and not record.deleted
    }
    drafts = [assignment_of(data, found[problem], wanted[problem].base, now) for problem in wanted if problem in found]
    outcomes: dict[RecordId, MutationOutcome] = {}
    for start in range(0, len(drafts), BATCH):
        outcomes |= await push_each(resources, data, caller, drafts[start : start + BATCH], now)
    rows = [row_of(problem, problem in found, outcomes.get(problem)) for problem in wanted]
    applied = sum(row.outcome is not None and row.outcome.outcome in (Outcome.APPLIED, Outcome.MERGED) for row in rows)
    return AssignedMany(applied=applied, rows=rows)


def assignment_of(data: AssignMany, problem: StoryRecord, base: tuple[int, int] | None, now: datetime) -> Mutation:
    body: dict[str, Any] = msgspec.json.decode(problem.body)
    new = {"due_on": data.due_on.isoformat(), "leads": list(data.leads), "supporting": list(data.supporting)}
    return draft(
        kind="problem",
        record=problem.id,
        op="problem.assign",
        now=now,
        mutation=asked_id("assign_many", data.id, problem.id),
        base=base or problem.v,
        fields={name: (body.get(name), value) for name, value in new.items()},
    )


async def push_each(
    resources: Resources, data: AssignMany, caller: Caller, drafts: Sequence[Mutation], now: datetime
) -> dict[RecordId, MutationOutcome]:
    """One transaction; if the server fails at it, each by itself, and only the culprit has no outcome."""
    try:
        pushed = await push_batch(resources, data, caller, drafts, now)
    except Exception as error:
        if isinstance(error, Problem) or infrastructure_problem(error) is not None:
            raise
        log.exception("assigning_failed", problems=[str(one.record) for one in drafts])
        if len(drafts) == 1:
            return {}
        outcomes: dict[RecordId, MutationOutcome] = {}
        for one in drafts:
            outcomes |= await push_each(resources, data, caller, [one], now)
        return outcomes
    return {one.record: outcome for one, outcome in zip(drafts, pushed.outcomes, strict=True)}


async def push_batch(resources: Resources, data: AssignMany, caller: Caller, drafts: Sequence[Mutation], now: datetime) -> Pushed:
    reference = await resources.units.reference()
    pushed = await office_push(resources.pool, reference, data.county, sender_of(caller), drafts, now, same_content=True)
    resources.live.moved((data.county, stream) for stream in pushed.streams)
    return pushed


def row_of(problem: RecordId, is_found: bool, outcome: MutationOutcome | None) -> AssignedOne:
    fault = None if outcome is not None else "internal" if is_found else "not_found"
    return AssignedOne(problem=problem, outcome=outcome, fault=fault)


BULK: Final = Router("/office/v1", route_handlers=[assign_many], tags=["office"])
