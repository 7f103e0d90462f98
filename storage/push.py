"""One push of one device in one county: lock, read, plan, write, commit (design.md 3.1).

Three round trips between BEGIN and COMMIT's end: `push_read` locks the device and the stream heads and then reads,
`sync.plan` decides, `push_write` writes everything in a constant number of statements (storage/migrations/*_push_functions.sql;
decision 0003 says why these two are functions).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import asyncpg
import msgspec

from contracts.exchange import CountyPart
from contracts.ids import County, DeviceId, MutationId, RecordId, StreamName
from contracts.mutation import Capture
from contracts.outcomes import MutationOutcome, Outcome
from storage.pool import Connection, Pool, infrastructure_problem, transaction
from storage.push_rows import write_arguments
from storage.reference import Reference
from storage.rows import clock_from_row, head_from_row, held_from_json, known_from_json, record_from_row
from sync.clock import DeviceClock, remember
from sync.decision import Incoming, Lack, Seen, Sender, View
from sync.gaps import Gap, gap_before
from sync.intake import Wanted, take_in, wanted_of
from sync.ledger import Plan
from sync.plan import plan_push
from sync.rewind import is_rewound

TRIES_WITH_MORE: Final = 3  # after that all heads of the county are locked (design.md 3.1)
REPLAN: Final = "XL001"  # raised by push_write when a record is not what was planned on


class PushRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One county's part of an exchange, with what the server knows of its sender.

    proven   (incarnation, n) of a receipt of ours that the phone showed; None: it showed none
    """

    county: County
    sender: Sender
    part: CountyPart
    clock: Capture
    received_at: datetime
    proven: tuple[int, int] | None = None
    mutation_bytes_max: int = 256 * 1024


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What was committed. `first_missing` set: the part began too late, nothing of it was taken."""

    county: County
    incarnation: int
    outcomes: list[MutationOutcome]
    n_high: int
    n_safe: int | None
    holes: list[tuple[int, int]]
    streams: frozenset[StreamName] = frozenset()
    cloned: bool = False


class Rewound(Exception):
    """The phone holds a valid receipt for what this database has never seen: it was restored from a backup."""


class _Reach(msgspec.Struct, frozen=True, kw_only=True):
    """How much is read and locked; grows when planning lacks something."""

    records: frozenset[RecordId]
    streams: frozenset[StreamName]
    families: frozenset[RecordId] = frozenset()
    everything: bool = False

    def with_lack(self, lack: Lack, tries: int) -> _Reach:
        return _Reach(
            records=self.records | lack.records,
            streams=self.streams | lack.streams,
            families=self.families | lack.families,
            everything=tries >= TRIES_WITH_MORE,
        )


async def push(pool: Pool, reference: Reference, request: PushRequest) -> Pushed:
    """Commit one part and return its outcomes. Infrastructure faults raise; any other fault is isolated as deferred."""
    try:
        return await _push_at_once(pool, reference, request)
    except Rewound:
        await bump_incarnation(pool, request.county)
        return await _push_at_once(pool, reference, msgspec.structs.replace(request, proven=None))
    except Exception as error:
        if infrastructure_problem(error) is not None or not request.part.mutations:
            raise
        return await _push_one_by_one(pool, reference, request)


async def _push_one_by_one(pool: Pool, reference: Reference, request: PushRequest) -> Pushed:
    """The batch failed unexpectedly: find the culprit, defer it alone, and let the others through."""
    outcomes: list[MutationOutcome] = []
    streams: frozenset[StreamName] = frozenset()
    pushed: Pushed | None = None
    for k, raw in enumerate(request.part.mutations):
        part = msgspec.structs.replace(request.part, first_n=request.part.first_n + k, mutations=[raw])
        one = msgspec.structs.replace(request, part=part)
        try:
            pushed = await _push_at_once(pool, reference, one)
        except Exception as error:
            if infrastructure_problem(error) is not None:
                raise
            pushed = await _push_at_once(pool, reference, one, fault=f"{type(error).__name__}: {error}"[:2000])
        outcomes += pushed.outcomes
        streams |= pushed.streams
    assert pushed is not None  # the part has mutations
    return msgspec.structs.replace(pushed, outcomes=outcomes, streams=streams)


async def _push_at_once(pool: Pool, reference: Reference, request: PushRequest, fault: str | None = None) -> Pushed:
    part, server_ms = request.part, to_ms(request.received_at)
    guess = take_in(part, DeviceClock(), server_ms, request.mutation_bytes_max)
    wanted: Wanted = wanted_of(guess)
    reach = _Reach(records=wanted.records, streams=wanted.streams)
    tries = 0
    while True:
        tries += 1
        try:
            async with transaction(pool) as conn:
                done = await _attempt(conn, reference, request, guess, reach, fault)
                if isinstance(done, Lack):
                    raise _Again(done)
                return done
        except _Again as again:
            reach = reach.with_lack(again.lack, tries)
        except asyncpg.PostgresError as error:
            passing = error.sqlstate == REPLAN or (error.sqlstate or "").startswith("40")
            if not passing or tries > TRIES_WITH_MORE + 2:
                raise


class _Again(Exception):
    def __init__(self, lack: Lack) -> None:
        super().__init__("planning needs more")
        self.lack = lack


async def _attempt(
    conn: Connection, reference: Reference, request: PushRequest, guess: Sequence[Incoming], reach: _Reach, fault: str | None
) -> Pushed | Lack:
    part, sender, server_ms = request.part, request.sender, to_ms(request.received_at)
    row = await _read(conn, request.county, sender, guess, reach)
    device = row["device"]
    heads = {head["stream"]: head_from_row(head) for head in row["heads"] or ()}
    incarnation = await _incarnation(conn, request.county, heads.values())
    if request.proven is not None and is_rewound(request.proven, incarnation, device["n_high"]):
        raise Rewound
    holes = [(int(a), int(b)) for a, b in msgspec.json.decode(device["holes"])]
    gap = gap_before(part, device["n_high"])
    if gap is Gap.WAIT:
        return _answer(request, incarnation, [], device["n_high"], device["n_safe"], holes)
    clock = remember(clock_from_row(device), request.clock, part.n_made, server_ms)
    batch = take_in(part, clock, server_ms, request.mutation_bytes_max)
    if fault is not None:
        batch = [msgspec.structs.replace(incoming, fault=fault) for incoming in batch]
    view = await _view(conn, reference, request, row, heads, incarnation, reach)
    plan = plan_push(batch, sender, view)
    if isinstance(plan, Lack):
        return plan
    if isinstance(gap, tuple):
        holes = [*holes, gap]
    n_high = max([device["n_high"], *(i.n for i in batch), *([gap[1]] if isinstance(gap, tuple) else [])])
    await _write(conn, request.county, sender, plan, n_high, part.n_made, clock, holes)
    if plan.clones:
        await keep_clones(conn, request.county, sender, plan.clones)
    pushed = _answer(request, incarnation, plan.outcomes, n_high, device["n_safe"], holes)
    return msgspec.structs.replace(pushed, streams=frozenset(h.stream for h in plan.heads), cloned=bool(plan.clones))


def _answer(
    request: PushRequest,
    incarnation: int,
    outcomes: list[MutationOutcome],
    n_high: int,
    n_safe: int | None,
    holes: list[tuple[int, int]],
) -> Pushed:
    return Pushed(county=request.county, incarnation=incarnation, outcomes=outcomes, n_high=n_high, n_safe=n_safe, holes=holes)


SQL_PUSH_READ: Final[LiteralString] = """
    SELECT device, heads, records, known, bases, held
    FROM push_read($1, $2, $3::bigint[], $4::uuid[], $5::uuid[], $6::text[], $7)
"""


async def _read(conn: Connection, county: County, sender: Sender, batch: Sequence[Incoming], reach: _Reach) -> asyncpg.Record:
    ns = [i.n for i in batch]
    ids: set[MutationId] = set()
    for incoming in batch:
        mutation = incoming.mutation
        if mutation is not None:
            ids.add(mutation.id)
            if mutation.base is not None and not isinstance(mutation.base, tuple):
                ids.add(mutation.base)
    row = await conn.fetchrow(
        SQL_PUSH_READ,
        county,
        sender.device,
        ns,
        list(reach.records),
        list(ids),
        list(reach.streams),
        reach.everything,
    )
    assert row is not None  # a function with OUT parameters returns one row
    return row


SQL_FETCH_INCARNATION: Final[LiteralString] = "SELECT incarnation FROM county WHERE county = $1"


async def _incarnation(conn: Connection, county: County, heads: Any) -> int:
    """Of the locked heads, which a bump must lock too; of the county where no head is needed."""
    for head in heads:
        return int(head.incarnation)
    return int(await conn.fetchval(SQL_FETCH_INCARNATION, county) or 1)


SQL_FETCH_CHILDREN: Final[LiteralString] = """
    SELECT * FROM record WHERE county = $1 AND parent = ANY ($2::uuid[])
"""
SQL_FETCH_SUSPECTS: Final[LiteralString] = """
    SELECT * FROM record WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'site') = ANY ($2::text[])
    UNION
    SELECT r.* FROM unnest($3::text[], $4::text[]) u (stream, subject)
    CROSS JOIN LATERAL (
        SELECT * FROM record WHERE county = $1 AND kind = 'problem' AND NOT deleted
        AND stream = u.stream AND (body ->> 'subject') = u.subject ORDER BY changed_at DESC LIMIT 50) r
"""


async def _view(
    conn: Connection,
    reference: Reference,
    request: PushRequest,
    row: asyncpg.Record,
    heads: dict[StreamName, Any],
    incarnation: int,
    reach: _Reach,
) -> View:
    records = {r["id"]: record_from_row(r) for r in row["records"] or ()}
    if reach.families:
        for child in await conn.fetch(SQL_FETCH_CHILDREN, request.county, list(reach.families)):
            records.setdefault(child["id"], record_from_row(child))
    return View(
        county=request.county,
        incarnation=incarnation,
        now=request.received_at,
        places=reference.places,
        checklists=reference.checklists,
        responsibility=reference.responsibility,
        heads=heads,
        records=records,
        known=known_from_json(row["known"]),
        seen=_seen_from_json(row["bases"]),
        held=held_from_json(row["held"]),
        families=reach.families,
        asked=reach.records,
    )


class _SeenRow(msgspec.Struct, frozen=True, array_like=True):
    mutation: MutationId
    root_incarnation: int
    root_version: int
    outcome: Outcome
    device: DeviceId
    n: int


_seen_rows: Final = msgspec.json.Decoder(list[_SeenRow])


def _seen_from_json(text: str | None) -> dict[MutationId, Seen]:
    return {
        r.mutation: Seen(device=r.device, n=r.n, root=(r.root_incarnation, r.root_version), outcome=r.outcome)
        for r in (_seen_rows.decode(text) if text else ())
    }


SQL_PUSH_WRITE: Final[LiteralString] = """
    SELECT push_write(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
        $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45, $46, $47,
        $48, $49, $50, $51, $52, $53, $54, $55, $56, $57, $58, $59, $60, $61, $62, $63, $64, $65)
"""


async def _write(
    conn: Connection,
    county: County,
    sender: Sender,
    plan: Plan,
    n_high: int,
    n_made: int,
    clock: DeviceClock,
    holes: list[tuple[int, int]],
) -> None:
    await conn.fetchval(
        SQL_PUSH_WRITE,
        county,
        sender.device,
        sender.person,
        *write_arguments(plan),
        n_high,
        n_made,
        msgspec.json.encode(clock.clocks).decode(),
        msgspec.json.encode(clock.marks).decode(),
        msgspec.json.encode(holes).decode(),
    )


SQL_LOCK_COUNTY: Final[LiteralString] = "SELECT incarnation FROM county WHERE county = $1 FOR UPDATE"
SQL_LOCK_ALL_HEADS: Final[LiteralString] = (
    "SELECT count(*) FROM (SELECT 1 FROM stream_head WHERE county = $1 ORDER BY stream FOR UPDATE) locked"
)
SQL_BUMP_COUNTY: Final[LiteralString] = "UPDATE county SET incarnation = incarnation + 1 WHERE county = $1"
SQL_BUMP_HEADS: Final[LiteralString] = "UPDATE stream_head SET incarnation = $2 WHERE county = $1"


async def bump_incarnation(pool: Pool, county: County) -> int:
    """The county begins a new incarnation: phones start their streams anew and hand back what was lost (design.md 3.3)."""
    async with transaction(pool) as conn:
        incarnation = int(await conn.fetchval(SQL_LOCK_COUNTY, county)) + 1
        await conn.fetchval(SQL_LOCK_ALL_HEADS, county)
        await conn.execute(SQL_BUMP_COUNTY, county)
        await conn.execute(SQL_BUMP_HEADS, county, incarnation)
        return incarnation


SQL_KEEP_CLONE: Final[LiteralString] = """
    INSERT INTO journal (county, device, n, entry, what, mutation, person, outcome, reason, detail, raw)
    VALUES ($1, $2, 1, 0, 'mutation', $3, $4, 'quarantined', 'device_cloned', $5::json, $6)
    ON CONFLICT DO NOTHING
"""
SQL_HOLD_CLONE: Final[LiteralString] = """
    INSERT INTO held (county, device, n, mutation, person, outcome, reason, detail, unit)
    VALUES ($1, $2, 1, $3, $4, 'quarantined', 'device_cloned', $5::json, $6)
    ON CONFLICT DO NOTHING
"""
SQL_REVOKE_DEVICE: Final[LiteralString] = """
    UPDATE device SET revoked_at = now(), revoked_why = 'cloned' WHERE id = $1 AND revoked_at IS NULL
"""


async def keep_clones(conn: Connection, county: County, sender: Sender, clones: Sequence[Incoming]) -> None:
    """The number was taken: the bytes go to the desk under an identity of their own, and the device must enrol again."""
    for clone in clones:
        mutation = clone.mutation.id if clone.mutation else clone.envelope.id
        identity = clone_device(sender.device, mutation)
        detail = msgspec.json.encode({"device": str(sender.device), "n": clone.n}).decode()
        await conn.execute(SQL_KEEP_CLONE, county, identity, mutation, sender.person, detail, clone.raw)
        unit = sender.duties[0].unit if sender.duties else str(county)
        await conn.execute(SQL_HOLD_CLONE, county, identity, mutation, sender.person, detail, unit)
    await conn.execute(SQL_REVOKE_DEVICE, sender.device)


def clone_device(device: DeviceId, mutation: MutationId | None) -> DeviceId:
    """The identity under which a cloned phone's mutation is kept."""
    return uuid.uuid5(device, f"clone/{mutation}")


def to_ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1000)
