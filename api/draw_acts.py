"""Who may know of a draw, who acts on it, and the one way in which an act is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from uuid_utils.compat import uuid7

from api.desk import sender_of
from api.resources import Resources
from contracts.caller import Caller
from contracts.draw import (
    DrawOut,
    DrawResult,
)
from contracts.ids import County, PersonId, RecordId, UnitCode
from contracts.kind import Step
from contracts.mutation import Mutation
from contracts.outcomes import TEXT_ZH as OUTCOME_ZH
from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from contracts.problems import Problem, ProblemCode
from storage import draws
from storage.draws import DrawRecord, Opened
from storage.office_push import draft, office_push
from sync.permission import COMMANDERS
from sync.places import Places
from sync.scope import held_duties

DONE_ZH: Final = "这一步已经由他人或按其他内容办过，本次所填未采用；请先查看现状"
READERS: Final = COMMANDERS | {Role.AUDITOR}


# ------------------------------------------------------------------------------------------------ who sees, who acts


def roles_at(caller: Caller, unit: UnitCode, places: Places, now: datetime) -> set[Role]:
    """The caller's roles over a unit, by duties in force."""
    return {duty.role for duty in held_duties(caller.duties, now) if places.covers(duty.unit, unit)}


def is_issuer(caller: Caller, unit: UnitCode, now: datetime) -> bool:
    """Of the issuing unit itself: whoever is above it sees that there is a draw, not what is drawn."""
    return any(duty.role in COMMANDERS and duty.unit == unit for duty in held_duties(caller.duties, now))


async def readable(resources: Resources, caller: Caller, places: Places, now: datetime, county: County, draw: RecordId) -> DrawRecord:
    """The draw, for those who may know of it; for everybody else there is none."""
    found = await draws.fetch_draw(resources.pool, county, draw)
    if found is None or not roles_at(caller, found.body.unit, places, now) & READERS:
        raise Problem(ProblemCode.NOT_FOUND)
    return found


async def issued(resources: Resources, caller: Caller, places: Places, now: datetime, county: County, draw: RecordId) -> DrawRecord:
    found = await readable(resources, caller, places, now, county, draw)
    if not is_issuer(caller, found.body.unit, now):
        raise Problem(ProblemCode.NOT_ALLOWED)
    return found


async def opened_of(resources: Resources, found: DrawRecord) -> Opened:
    opened = await draws.open_draw(resources.pool, resources.draw_seal, found.county, found.id)
    if opened is None:  # a record that was not made here has no pool: nothing can be done with it but to cancel it
        raise Problem(ProblemCode.CONFLICTING_STATE, "没有封存的抽查名单", reason="no_sealed_pool")
    return opened


def shown(found: DrawRecord, untold: Sequence[PersonId] = ()) -> DrawOut:
    body = found.body
    return DrawOut(
        draw=found.id,
        county=found.county,
        unit=body.unit,
        title=body.title,
        state=body.state,
        commitment=body.commitment,
        nonce=body.nonce or None,
        prepared_by=body.prepared_by,
        committed_by=body.committed_by,
        seeded_by=body.seeded_by,
        steps=[msgspec.to_builtins(step) for step in body.steps],
        untold=list(untold),
    )


# ------------------------------------------------------------------------------------------------ acting


async def push_one(resources: Resources, caller: Caller, county: County, mutation: Mutation, now: datetime) -> None:
    """The one write path. Problem when it was not taken, with what the machine says, or when its id has another content."""
    sender = msgspec.structs.replace(sender_of(caller), at_seal=True)
    pushed = await office_push(resources.pool, await resources.units.reference(), county, sender, [mutation], now, same_content=True)
    resources.live.moved((county, stream) for stream in pushed.streams)
    outcome = pushed.outcomes[0]
    if outcome.outcome not in (Outcome.APPLIED, Outcome.MERGED):
        code = ProblemCode.NOT_ALLOWED if outcome.reason is Reason.NOT_YOUR_ROLE else ProblemCode.CONFLICTING_STATE
        raise Problem(code, OUTCOME_ZH[outcome.reason], reason=outcome.reason.value, refused=outcome.detail)


async def act(
    resources: Resources,
    caller: Caller,
    found: DrawRecord,
    op: str,
    now: datetime,
    fields: Mapping[str, tuple[Any, Any]] | None = None,
    args: Mapping[str, Any] | None = None,
    *,
    was_done: Callable[[DrawRecord], bool] | None = None,
) -> DrawRecord:
    """A command on the draw; the record after it. Problem(conflicting_state) with `done`: somebody did it, or with other words.

    was_done   this very request was here before: nothing is done again. It may also have come in between, of two clicks at once.
               None: when the step is there, of the same caller with the same arguments
    """
    is_repeated = was_done or (lambda draw: _told(draw.step(op)) == (caller.person, dict(args or {})))
    if is_repeated(found):
        return found
    mutation = draft(kind="draw", record=found.id, op=op, now=now, mutation=uuid7(), base=found.version, fields=fields, args=args)
    try:
        await push_one(resources, caller, found.county, mutation, now)
    except Problem as problem:
        after = await _again(resources, found)
        if is_repeated(after):
            return after
        step = after.step(op)
        if step is None or problem.code is not ProblemCode.CONFLICTING_STATE:
            raise
        done = {"by": str(step.by), "at": step.at.isoformat(), "args": step.args}
        raise Problem(ProblemCode.CONFLICTING_STATE, DONE_ZH, **problem.details, done=done) from problem
    return await _again(resources, found)


def _told(step: Step | None) -> tuple[PersonId | None, dict[str, Any]] | None:
    return (step.by, step.args) if step is not None else None


async def _again(resources: Resources, found: DrawRecord) -> DrawRecord:
    after = await draws.fetch_draw(resources.pool, found.county, found.id)
    assert after is not None
    return after


async def result_of(found: DrawRecord, opened: Opened) -> DrawResult:
    """Recomputed, beside the event loop: a large pool may take two seconds."""
    if opened.secret is None or opened.statement is None or opened.statement.commitment != found.body.commitment:
        raise Problem(ProblemCode.CONFLICTING_STATE, "尚未作出承诺", reason="no_commitment")
    return await asyncio.to_thread(draws.drawn_of, opened, found.body.nonce)
