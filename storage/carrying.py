"""Carrying records to the county they moved to (design.md 3.1): the copy first, then what came late, in order.

The transaction that plans a move writes the rows (storage/transfers.py); a job does them, each by a push in the other county
and then a mark here. Between the two it may die: the mutation's derived id makes the second push a repetition, so nothing is
there twice and nothing is lost. No transaction touches two counties.

Whose work it was stays visible: the journal there has the person, and a device that stands for theirs, so that what one
phone did one after the other is still known to be one after the other.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, LiteralString

import msgspec
from msgspec.structs import replace

from contracts.ids import County, DeviceId, PersonId, RecordId
from contracts.mutation import CREATE, Mutation
from contracts.outcomes import MutationOutcome
from contracts.people import Duty, Role
from storage.office_push import BEFORE_ALL, office_push
from storage.pool import Executor, Pool
from storage.push import to_ms
from storage.reference import Reference
from storage.transfers import TransferRef
from sync.clock import Interval
from sync.decision import Sender

_STAND_IN: Final = uuid.UUID("00000000-0000-8000-8000-000000000003")
_COPIER: Final = uuid.UUID(int=0)  # copies are nobody's own earlier work: whoever comes late has to have seen them
FaultPoint = Callable[[str], None]  # named places between two steps, where a test raises


def no_fault(_point: str) -> None:
    """Nothing happens."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One row that is not done."""

    step: int
    target: County
    is_copy: bool
    by_system: bool
    device: DeviceId
    n: int
    person: PersonId
    mutation: Mutation


SQL_FETCH_STEP: Final[LiteralString] = """
    SELECT step, target, is_copy, by_system, device, n, person, mutation FROM transfer
    WHERE county = $1 AND family = $2 AND done_at IS NULL ORDER BY step LIMIT 1
"""


async def fetch_step(executor: Executor, county: County, family: RecordId) -> Step | None:
    """The next thing to carry of a family."""
    row = await executor.fetchrow(SQL_FETCH_STEP, county, family)
    if row is None:
        return None
    return Step(**{**dict(row), "mutation": msgspec.json.decode(row["mutation"], type=Mutation)})


SQL_UPDATE_DONE: Final[LiteralString] = """
    UPDATE transfer SET done_at = $4, outcome = $5, reason = $6 WHERE county = $1 AND family = $2 AND step = $3 AND done_at IS NULL
"""


async def carry_family(pool: Pool, reference: Reference, ref: TransferRef, now: Callable[[], datetime], at: FaultPoint = no_fault) -> int:
    """Everything a family has waiting, one after the other; returns how many steps. May die anywhere and be repeated."""
    done = 0
    while (step := await fetch_step(pool, ref.county, ref.family)) is not None:
        at("fetched")
        outcome = await _fetch_arrived(pool, step) or await _push(pool, reference, ref.county, step, now())
        at("pushed")
        ended = (outcome.outcome.value, outcome.reason.value)
        await pool.execute(SQL_UPDATE_DONE, ref.county, ref.family, step.step, now(), *ended)
        at("marked")
        done += 1
    return done


# A mutation that is held there is no repetition to the planner: it would lie on the desk twice.
SQL_FETCH_ARRIVED: Final[LiteralString] = """
    SELECT n, outcome, reason FROM journal
    WHERE county = $1 AND record = $2 AND mutation = $3 AND what = 'mutation' LIMIT 1
"""


async def _fetch_arrived(executor: Executor, step: Step) -> MutationOutcome | None:
    """How it ended when it was pushed before, and the mark got lost."""
    row = await executor.fetchrow(SQL_FETCH_ARRIVED, step.target, step.mutation.record, step.mutation.id)
    return None if row is None else msgspec.convert(dict(row), MutationOutcome)


class _Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who made a record, and when: a copy keeps it, because a photo's stamp and flags are told by it."""

    person: PersonId
    mutation: Mutation
    captured: Interval


SQL_FETCH_ORIGIN: Final[LiteralString] = """
    SELECT person, raw, captured_from, captured_to FROM journal
    WHERE county = $1 AND record = $2 AND op = 'create' AND what = 'mutation' AND raw IS NOT NULL AND captured_from IS NOT NULL
    ORDER BY received_at LIMIT 1
"""


async def _fetch_origin(executor: Executor, county: County, record: RecordId) -> _Origin | None:
    """None: the server made it."""
    row = await executor.fetchrow(SQL_FETCH_ORIGIN, county, record)
    if row is None:
        return None
    return _Origin(
        person=row["person"],
        mutation=msgspec.json.decode(row["raw"], type=Mutation),
        captured=Interval(to_ms(row["captured_from"]), to_ms(row["captured_to"])),
    )


async def _push(pool: Pool, reference: Reference, county: County, step: Step, now: datetime) -> MutationOutcome:
    """One step, in the county it goes to. A person's late edit is judged as theirs, but for duty, which was judged at home."""
    mutation, person, captured = step.mutation, step.person, None
    if step.is_copy and mutation.op == CREATE and (origin := await _fetch_origin(pool, county, mutation.record)) is not None:
        mutation, person, captured = replace(mutation, at=origin.mutation.at), origin.person, origin.captured
    duties = (Duty(person=person, role=Role.SYSTEM, unit=str(step.target), starts=BEFORE_ALL),) if step.by_system else ()
    sender = Sender(device=stand_in(county, _COPIER if step.is_copy else step.device), person=person, duties=duties)
    said: dict[str, Any] = {"from": [county, str(step.device), step.n]}
    pushed = await office_push(
        pool, reference, step.target, sender, [mutation], now, released=not step.by_system, captured=captured, said=said
    )
    return pushed.outcomes[0]


def stand_in(county: County, device: DeviceId) -> DeviceId:
    """Under which identity a device of another county is known: its own numbers here are not those there."""
    return uuid.uuid5(_STAND_IN, f"{county}/{device}")
