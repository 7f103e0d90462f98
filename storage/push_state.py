"""What a push reads under its locks, as the `View` that sync plans on, and how a finished plan is written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, LiteralString

import asyncpg
import msgspec

from contracts.ids import County, DeviceId, MutationId, RecordId, StreamName
from contracts.outcomes import Outcome
from storage.coverage import write_coverage
from storage.ledger_rows import ledger_arguments
from storage.pool import Connection
from storage.push_rows import write_arguments
from storage.reference import Reference
from storage.refused import insert_refused
from storage.rows import clock_from_row, head_from_row, held_from_json, known_from_json, record_from_row
from storage.transfers import write_transfers
from sync.clock import DeviceClock
from sync.decision import Foregoing, Home, Incoming, Lack, Seen, Sender, View
from sync.duplicates import NEAR_DEGREES, Alike, alike_wanted
from sync.intake import photos_changed, wanted_of
from sync.places import unit_of
from sync.planned import Plan
from sync.state import Head, RecordState

TRIES_WITH_MORE: Final = 3  # after that all heads of the county are locked (design.md 3.1)


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """How much is read and locked; grows when planning lacks something."""

    records: frozenset[RecordId]
    streams: frozenset[StreamName]
    families: frozenset[RecordId] = frozenset()
    homes: frozenset[RecordId] = frozenset()
    floors: frozenset[Foregoing] = frozenset()
    everything: bool = False

    def with_lack(self, lack: Lack, tries: int) -> Reach:
        return Reach(
            records=self.records | lack.records,
            streams=self.streams | lack.streams,
            families=self.families | lack.families,
            homes=self.homes | lack.homes,
            floors=self.floors | lack.floors,
            everything=tries >= TRIES_WITH_MORE,
        )


def reach_of(batch: Sequence[Incoming], reference: Reference, county: County) -> Reach:
    """The first guess. Only streams of this county's units: a mistyped unit makes no head."""
    wanted = wanted_of(batch)
    streams = frozenset(s for s in wanted.streams if reference.places.county_of(unit_of(s)) == county)
    return Reach(records=wanted.records, streams=streams)


class DeviceState(msgspec.Struct, frozen=True, kw_only=True):
    """The locked row of one device in one county."""

    n_high: int
    n_made: int
    n_safe: int | None
    clock: DeviceClock
    holes: list[tuple[int, int]]


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """What `push_read` gave."""

    device: DeviceState
    incarnation: int
    heads: dict[StreamName, Head]
    row: asyncpg.Record


SQL_PUSH_READ: Final[LiteralString] = """
    SELECT device, heads, records, known, bases, held
    FROM push_read($1, $2, $3::bigint[], $4::uuid[], $5::uuid[], $6::text[], $7)
"""


async def lock_state(conn: Connection, county: County, device: DeviceId, batch: Sequence[Incoming], reach: Reach) -> Locked:
    """Lock the device and the heads in reach, then read."""
    row = await conn.fetchrow(
        SQL_PUSH_READ,
        county,
        device,
        [i.n for i in batch],
        list(reach.records),
        list(_mutations_named(batch)),
        list(reach.streams),
        reach.everything,
    )
    assert row is not None  # a function with OUT parameters returns one row
    heads = {head["stream"]: head_from_row(head) for head in row["heads"] or ()}
    state = DeviceState(
        n_high=row["device"]["n_high"],
        n_made=row["device"]["n_made"],
        n_safe=row["device"]["n_safe"],
        clock=clock_from_row(row["device"]),
        holes=msgspec.json.decode(row["device"]["holes"], type=list[tuple[int, int]]),
    )
    return Locked(device=state, incarnation=await _incarnation(conn, county, heads.values()), heads=heads, row=row)


def _mutations_named(batch: Sequence[Incoming]) -> set[MutationId]:
    """The mutations themselves (they may be known under another number) and those they build on."""
    ids: set[MutationId] = set()
    for incoming in batch:
        mutation = incoming.mutation
        if mutation is not None:
            ids.add(mutation.id)
            if mutation.base is not None and not isinstance(mutation.base, tuple):
                ids.add(mutation.base)
    return ids


SQL_FETCH_INCARNATION: Final[LiteralString] = "SELECT incarnation FROM county WHERE county = $1"


async def _incarnation(conn: Connection, county: County, heads: Collection[Head]) -> int:
    """Of the locked heads, which a bump must lock too; of the county where no head is needed."""
    for head in heads:
        return head.incarnation
    return int(await conn.fetchval(SQL_FETCH_INCARNATION, county) or 1)


SQL_FETCH_CHILDREN: Final[LiteralString] = """
    SELECT * FROM record WHERE county = $1 AND parent = ANY ($2::uuid[])
"""


async def fetch_view(
    conn: Connection,
    reference: Reference,
    county: County,
    now: datetime,
    locked: Locked,
    reach: Reach,
    batch: Sequence[Incoming],
) -> View:
    """Everything planning may know. Records read here are in streams of the reach, or planning asks for their heads."""
    row = locked.row
    records = {r["id"]: record_from_row(r) for r in row["records"] or ()}
    if reach.families:
        for child in await conn.fetch(SQL_FETCH_CHILDREN, county, list(reach.families)):
            records.setdefault(child["id"], record_from_row(child))
    alike = alike_wanted(batch, records)
    if alike:
        records = await _fetch_alike(conn, county, alike) | records
    photos = photos_changed(batch)
    if photos:
        records = await _fetch_mirrors(conn, county, photos) | records
    return View(
        county=county,
        incarnation=locked.incarnation,
        now=now,
        places=reference.places,
        checklists=reference.checklists,
        responsibility=reference.responsibility,
        rules=reference.rules,
        heads=locked.heads,
        records=records,
        known=known_from_json(row["known"]),
        seen=_seen_from_json(row["bases"]),
        held=held_from_json(row["held"]),
        families=reach.families,
        asked=reach.records,
        homes=await _fetch_homes(conn, county, reach.homes) if reach.homes else {},
        floors=await _fetch_floors(conn, county, reach.floors) if reach.floors else {},
    )


SQL_FETCH_HOMES: Final[LiteralString] = """
    SELECT DISTINCT ON (record, stream) record, stream, incarnation, version FROM journal
    WHERE county = $1 AND record = ANY ($2::uuid[]) AND version IS NOT NULL
    ORDER BY record, stream, incarnation DESC, version DESC
"""


async def _fetch_homes(conn: Connection, county: County, records: Collection[RecordId]) -> dict[RecordId, tuple[Home, ...]]:
    """The streams each record has lived in, by the journal."""
    homes: dict[RecordId, tuple[Home, ...]] = dict.fromkeys(records, ())
    for row in await conn.fetch(SQL_FETCH_HOMES, county, list(records)):
        homes[row["record"]] += (Home(row["stream"], (row["incarnation"], row["version"])),)
    return homes


# Nobody saw a version before it was captured at the latest; their own work they saw when it was captured.
SQL_FETCH_FLOORS: Final[LiteralString] = """
    SELECT u.mutation, greatest(
        (SELECT j.captured_to FROM journal j WHERE j.county = $1 AND j.record = u.record AND j.incarnation = u.incarnation
         AND j.version = u.version LIMIT 1),
        (SELECT j.captured_to FROM journal j WHERE j.county = $1 AND j.record = u.record AND j.version IS NOT NULL
         AND u.base IS NULL ORDER BY j.incarnation, j.version LIMIT 1),
        (SELECT j.captured_from FROM journal j WHERE j.county = $1 AND j.record = u.record AND j.mutation = u.base
         AND j.entry = 0 LIMIT 1)) AS since
    FROM unnest($2::uuid[], $3::uuid[], $4::int[], $5::bigint[], $6::uuid[]) u (mutation, record, incarnation, version, base)
"""


async def _fetch_floors(conn: Connection, county: County, wanted: Collection[Foregoing]) -> dict[MutationId, int]:
    """Unix ms before which each of these mutations was not captured; 0 where the journal says nothing."""
    rows = [(one.mutation, one.record, *one.root, one.base) for one in wanted]
    found = await conn.fetch(SQL_FETCH_FLOORS, county, *map(list, zip(*rows, strict=True)))
    return {row["mutation"]: int(row["since"].timestamp() * 1000) if row["since"] else 0 for row in found}


ALIKE_MAX: Final = 50  # problems of one subject around one place
SQL_FETCH_ALIKE: Final[LiteralString] = """
    SELECT * FROM record WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'site') = ANY ($2::text[])
    UNION ALL
    SELECT r.* FROM unnest($3::text[], $4::float8[]) u (subject, lat)
    CROSS JOIN LATERAL (
        SELECT * FROM record WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'subject') = u.subject
        AND ((body -> 'position' ->> 'lat')::float8) BETWEEN u.lat - $5 AND u.lat + $5 ORDER BY changed_at DESC LIMIT $6) r
"""


async def _fetch_alike(conn: Connection, county: County, alike: set[Alike]) -> dict[RecordId, RecordState]:
    """Problems that a new one may repeat: of the same site, or of the same subject on the same latitude."""
    sites = [a.site for a in alike if a.site is not None]
    placed = [(a.subject, a.lat) for a in alike if a.lat is not None]
    subjects, lats = [subject for subject, _ in placed], [lat for _, lat in placed]
    rows = await conn.fetch(SQL_FETCH_ALIKE, county, sites, subjects, lats, NEAR_DEGREES, ALIKE_MAX)
    return {row["id"]: record_from_row(row) for row in rows}


SQL_FETCH_MIRRORS: Final[LiteralString] = """
    SELECT * FROM record WHERE county = $1 AND kind = 'photo' AND (body ->> 'mirror_of') = ANY ($2::text[])
"""


async def _fetch_mirrors(conn: Connection, county: County, photos: Collection[RecordId]) -> dict[RecordId, RecordState]:
    """Photos that show one of these in another stream."""
    rows = await conn.fetch(SQL_FETCH_MIRRORS, county, [str(photo) for photo in photos])
    return {row["id"]: record_from_row(row) for row in rows}


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
    SELECT push_write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14), ledger_write($1, $15, $16)
"""


async def write_plan(conn: Connection, county: County, sender: Sender, plan: Plan, device: DeviceState) -> None:
    """Write everything the plan says; `device` is the device's state afterwards. Raises sqlstate XL001 to plan again."""
    await conn.fetchrow(
        SQL_PUSH_WRITE,
        county,
        sender.device,
        sender.person,
        *write_arguments(plan),
        device.n_high,
        device.n_made,
        msgspec.json.encode(device.clock.clocks).decode(),
        msgspec.json.encode(device.clock.marks).decode(),
        msgspec.json.encode(device.holes).decode(),
        *ledger_arguments(plan.records),
    )
    await write_coverage(conn, county, plan.records)
    if plan.refused:
        await insert_refused(conn, county, sender.device, plan.refused)
    if plan.transfers:
        await write_transfers(conn, county, plan.transfers)
