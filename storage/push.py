"""One push of one device in one county: lock, read, plan, write, commit (design.md 3.1).

Three round trips between BEGIN and COMMIT's end: `push_read` locks the device and the stream heads and then reads,
`sync.plan` decides, `push_write` writes everything in a constant number of statements (storage/migrations/*_push_functions.sql;
decision 0003 says why these two are functions).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, LiteralString, TypeAlias

import asyncpg
import msgspec
from msgspec.structs import replace

from contracts.exchange import CountyPart
from contracts.ids import County, PersonId, StreamName
from contracts.mutation import MUTATION_BYTES_MAX, Capture
from contracts.outcomes import MutationOutcome
from contracts.problems import Problem
from storage.clones import keep_clones
from storage.incarnation import bump_incarnation
from storage.pool import Connection, Pool, infrastructure_problem, transaction
from storage.push_state import TRIES_WITH_MORE, Reach, fetch_view, lock_state, reach_of, write_plan
from storage.reference import Reference
from sync.clock import begun, remember
from sync.decision import Incoming, Lack, Sender, View
from sync.gaps import Gap, gap_before
from sync.intake import dated, take_in
from sync.plan import plan_push
from sync.planned import HeldRow, Plan
from sync.rewind import is_rewound

DESK_FULL_RETRY_S: Final = 3600  # a person decides; more of the same before that is of no use
TRIES_MAX: Final = TRIES_WITH_MORE + 3
# Raised by push_write when a record is not what was planned on: it has another version, or meanwhile it exists.
PLANNED_ON_ANOTHER: Final = frozenset({"XL001", "23505"})
ROLLED_BACK: Final = "40"  # deadlock, serialization: PostgreSQL chose us as the victim


class PushRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One county's part of an exchange, with what the server knows of its sender.

    received_at  when the last byte of the request had been read; `began_at` when its first one came, if that is known
    enrolled_at  when the device was enrolled first: it captured nothing before
    proven       (incarnation, n) of a receipt of ours that the phone showed; None: it showed none
    """

    county: County
    sender: Sender
    part: CountyPart
    clock: Capture
    received_at: datetime
    began_at: datetime | None = None
    enrolled_at: datetime | None = None
    proven: tuple[int, int] | None = None
    mutation_bytes_max: int = MUTATION_BYTES_MAX
    held_max: int | None = None  # of one person on the desks of a county; None: no limit


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What was committed. `cloned`: the device must enrol again. `streams` moved.

    desk_full  what follows the last outcome was not taken: it begins with work that would wait for a decision, and so much of this
               person waits already that no more is taken to wait (decision 0041). Without outcomes nothing was written.
    """

    county: County
    incarnation: int
    outcomes: list[MutationOutcome]
    n_high: int
    n_safe: int | None
    holes: list[tuple[int, int]]
    streams: frozenset[StreamName] = frozenset()
    cloned: bool = False
    desk_full: bool = False


# Written beside the records, in the same transaction, once it is known how the mutations ended.
Also: TypeAlias = Callable[[Connection, Sequence[MutationOutcome]], Awaitable[None]]


class Rewound(Exception):
    """The phone holds a valid receipt for what this database has never seen: it was restored from a backup."""

    def __init__(self, incarnation: int) -> None:
        super().__init__(f"incarnation {incarnation} was lost")
        self.incarnation = incarnation


async def push(pool: Pool, reference: Reference, request: PushRequest) -> Pushed:
    """Commit one part and return its outcomes. Infrastructure faults raise; any other fault is isolated as deferred."""
    try:
        return await _push_at_once(pool, reference, request)
    except Rewound as rewound:
        await bump_incarnation(pool, request.county, rewound.incarnation)
        return await _push_at_once(pool, reference, replace(request, proven=None))
    except Exception as error:
        if is_no_fault_of_the_work(error) or not request.part.mutations:
            raise
        return await _push_one_by_one(pool, reference, request)


def is_no_fault_of_the_work(error: Exception) -> bool:
    """PostgreSQL, the way to it or the queue before it failed: the phone comes again, nothing is deferred."""
    return isinstance(error, Problem) or infrastructure_problem(error) is not None


async def _push_one_by_one(pool: Pool, reference: Reference, request: PushRequest) -> Pushed:
    """The batch failed unexpectedly: find the culprit, defer it alone, and let the others through."""
    outcomes: list[MutationOutcome] = []
    streams: frozenset[StreamName] = frozenset()
    pushed: Pushed | None = None
    for k, raw in enumerate(request.part.mutations):
        part = replace(request.part, first_n=request.part.first_n + k, mutations=[raw])
        one = replace(request, part=part)
        try:
            pushed = await _push_at_once(pool, reference, one)
        except Exception as error:
            if is_no_fault_of_the_work(error):
                raise
            pushed = await _push_at_once(pool, reference, one, fault=f"{type(error).__name__}: {error}"[:2000])
        outcomes += pushed.outcomes
        streams |= pushed.streams
        if pushed.desk_full:
            break
    assert pushed is not None  # the part has mutations
    return replace(pushed, outcomes=outcomes, streams=streams)


async def _push_at_once(pool: Pool, reference: Reference, request: PushRequest, fault: str | None = None) -> Pushed:
    batch = take_in(request.part, to_ms(request.received_at), request.mutation_bytes_max)

    async def attempt(conn: Connection, reach: Reach) -> Pushed | Lack:
        return await _attempt(conn, reference, request, batch, reach, fault)

    return await until_planned(pool, reach_of(batch, reference, request.county), attempt)


async def until_planned(pool: Pool, reach: Reach, attempt: Callable[[Connection, Reach], Awaitable[Pushed | Lack]]) -> Pushed:
    """Run one attempt after the other, each in a transaction of its own, until planning lacked nothing."""
    tries = 0
    while True:
        tries += 1
        try:
            async with transaction(pool) as conn:
                done = await attempt(conn, reach)
                if isinstance(done, Lack):
                    raise _Again(done)  # noqa: TRY301 - raised to roll back
                return done
        except _Again as again:
            if tries > TRIES_MAX:
                raise RuntimeError(f"planning still lacks {again.lack} after {tries} tries") from again
            reach = reach.with_lack(again.lack, tries)
        except asyncpg.PostgresError as error:
            sqlstate = error.sqlstate or ""
            if tries > TRIES_MAX or not (sqlstate in PLANNED_ON_ANOTHER or sqlstate.startswith(ROLLED_BACK)):
                raise


class _Again(Exception):
    def __init__(self, lack: Lack) -> None:
        super().__init__("planning needs more")
        self.lack = lack


HEAVY_BYTES: Final = 1024 * 1024  # to be decoded and encoded: some 50 ms, in which nobody else would be answered


def _is_heavy(batch: Sequence[Incoming], view: View) -> bool:
    """Whether planning would stop this process for long: large mutations, or many of one large record."""
    weight = 0
    for incoming in batch:
        state = view.records.get(incoming.mutation.record) if incoming.mutation is not None else None
        weight += len(incoming.raw) + (len(state.body) if state is not None else 0)
    return weight > HEAVY_BYTES


async def planned(batch: Sequence[Incoming], sender: Sender, view: View, said: dict[str, Any] | None = None) -> Plan | Lack:
    """`plan_push`, in a thread where it would stop the event loop for long."""
    if _is_heavy(batch, view):
        return await asyncio.to_thread(plan_push, batch, sender, view, said=said)
    return plan_push(batch, sender, view, said=said)


async def _attempt(
    conn: Connection,
    reference: Reference,
    request: PushRequest,
    arrived: Sequence[Incoming],
    reach: Reach,
    fault: str | None,
) -> Pushed | Lack:
    part, county, sender = request.part, request.county, request.sender
    locked = await lock_state(conn, county, sender.device, arrived, reach)
    device = locked.device
    if request.proven is not None and is_rewound(request.proven, locked.incarnation, device.n_high):
        raise Rewound(request.proven[0])
    gap = gap_before(part, device.n_high)
    answer = Pushed(
        county=county,
        incarnation=locked.incarnation,
        outcomes=[],
        n_high=device.n_high,
        n_safe=device.n_safe,
        holes=device.holes,
    )
    if gap is Gap.WAIT:
        return answer
    server_ms = to_ms(request.received_at)
    clock = remember(device.clock, request.clock, part.n_made, to_ms(request.began_at or request.received_at), server_ms)
    batch = dated(arrived, begun(clock, to_ms(request.enrolled_at)) if request.enrolled_at else clock, server_ms, fault)
    view = await fetch_view(conn, reference, county, request.received_at, locked, reach, batch)
    plan = await planned(batch, sender, view)
    first_left = None if isinstance(plan, Lack) else await first_without_place(conn, county, sender.person, plan.held, request.held_max)
    if first_left is not None:
        answer, batch = replace(answer, desk_full=True), [incoming for incoming in batch if incoming.n < first_left]
        if not batch:
            return answer
        plan = await planned(batch, sender, view)
    if isinstance(plan, Lack):
        return plan
    holes = [*device.holes, gap] if isinstance(gap, tuple) else device.holes
    n_high = max([device.n_high, *(i.n for i in batch), *(b for _, b in holes)])
    after = replace(device, n_high=n_high, n_made=part.n_made, clock=clock, holes=holes)
    await write_plan(conn, county, sender, plan, after)
    if plan.clones:
        await keep_clones(conn, county, sender, plan.clones)
    return replace(
        answer,
        outcomes=plan.outcomes,
        n_high=n_high,
        holes=holes,
        streams=frozenset(head.stream for head in plan.heads),
        cloned=bool(plan.clones),
    )


SQL_COUNT_HELD: Final[LiteralString] = """
    SELECT count(*) FROM (SELECT FROM held WHERE county = $1 AND person = $2 AND settled_at IS NULL LIMIT $3) h
"""


async def first_without_place(
    conn: Connection, county: County, person: PersonId, held: Sequence[HeldRow], held_max: int | None
) -> int | None:
    """The number of the first mutation to be held that finds no place on the desks; None: all find one. `held_max`: of one person; None: no limit."""
    if not held or held_max is None:
        return None
    places = held_max - await conn.fetchval(SQL_COUNT_HELD, county, person, held_max)
    return sorted(row.n for row in held)[places] if len(held) > places else None


def to_ms(moment: datetime) -> int:
    """Unix milliseconds."""
    return int(moment.astimezone(UTC).timestamp() * 1000)
