"""`xunling audit`: recompute everything that can be recomputed, county by county, and say what differs.

heads     count and digest of every stream against its live records; each record's crc; no seq beyond the head
journal   every record replayed from its recorded changes against the record as it stands
numbers   every number of every device up to its high mark is journaled, or a known hole
desk      an item is open exactly when the last decision of its mutation is held

Reads only. Everything of one county is read in one snapshot, so a running server does no harm and is not disturbed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, LiteralString

import msgspec

from contracts.digest import MODULUS, record_crc
from contracts.ids import County, RecordId
from storage.pool import Connection, Pool, snapshot
from sync.machines import PROJECTED
from sync.replay import Recorded, Replayed, ReplayFault, replay


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be."""

    county: County
    what: str  # head | record | journal | number | desk
    where: str
    says: str


class CountyAudit(msgspec.Struct, frozen=True, kw_only=True):
    county: County
    streams: int
    records: int
    entries: int
    devices: int
    held: int
    differences: list[Difference]


SQL_FETCH_COUNTIES: Final[LiteralString] = "SELECT county FROM county ORDER BY county"


async def audit(pool: Pool) -> AsyncIterator[CountyAudit]:
    """One report per county, in order."""
    for row in await pool.fetch(SQL_FETCH_COUNTIES):
        async with snapshot(pool) as conn:
            yield await audit_county(conn, row["county"])


async def audit_county(conn: Connection, county: County) -> CountyAudit:
    """Audit one county on a connection that is inside one snapshot."""
    heads, streams = await _head_differences(conn, county)
    journal, records, entries = await _journal_differences(conn, county)
    numbers, devices = await _number_differences(conn, county)
    desk, held = await _desk_differences(conn, county)
    return CountyAudit(
        county=county,
        streams=streams,
        records=records,
        entries=entries,
        devices=devices,
        held=held,
        differences=[*heads, *journal, *numbers, *desk],
    )


# -------------------------------------------------------------------------------------------------- heads

SQL_COMPARE_HEADS: Final[LiteralString] = """
    SELECT coalesce(h.stream, r.stream) AS stream, h.stream IS NULL AS is_headless,
           h.seq, h.count, h.digest, coalesce(r.count, 0) AS real_count, coalesce(r.crc, 0) AS crc,
           greatest(coalesce(r.seq, 0), coalesce(m.seq, 0)) AS real_seq, coalesce(m.both, 0) AS both
    FROM (SELECT * FROM stream_head WHERE county = $1) h
    FULL JOIN (SELECT stream, count(*) AS count, sum(crc)::bigint AS crc, max(seq) AS seq
               FROM record WHERE county = $1 AND NOT deleted GROUP BY stream) r ON r.stream = h.stream
    LEFT JOIN (SELECT m.stream, max(m.seq) AS seq, count(live.id) AS both
               FROM marker m LEFT JOIN record live ON live.county = m.county AND live.id = m.record
                    AND live.stream = m.stream AND NOT live.deleted
               WHERE m.county = $1 GROUP BY m.stream) m ON m.stream = coalesce(h.stream, r.stream)
    ORDER BY 1
"""


async def _head_differences(conn: Connection, county: County) -> tuple[list[Difference], int]:
    differences: list[Difference] = []
    rows = await conn.fetch(SQL_COMPARE_HEADS, county)
    for row in rows:
        says = []
        if row["is_headless"]:
            says.append("records without a head")
        else:
            if row["count"] != row["real_count"]:
                says.append(f"count {row['count']}, but {row['real_count']} live records")
            if row["digest"] != row["crc"] % MODULUS:
                says.append(f"digest {row['digest']}, but {row['crc'] % MODULUS} over its records")
            if row["real_seq"] > row["seq"]:
                says.append(f"seq {row['seq']}, but a change with {row['real_seq']}")
            if row["both"]:
                says.append(f"{row['both']} records are in the stream and marked as having left it")
        if says:
            differences.append(Difference(county=county, what="head", where=row["stream"], says="; ".join(says)))
    return differences, len(rows)


# -------------------------------------------------------------------------------------------------- journal

SQL_FETCH_RECORDED: Final[LiteralString] = """
    SELECT j.record, j.kind, j.incarnation, j.version, j.stream, j.deleted, j.patch,
           CASE WHEN j.patch IS NULL OR (j.op = 'create' AND j.what <> 'consequence' AND j.patch -> 'body' IS NULL) THEN (
               SELECT f.raw FROM journal f
               WHERE f.county = j.county AND f.device = j.device AND f.n = j.n AND f.entry = 0) END AS raw
    FROM journal j WHERE j.county = $1 AND j.version IS NOT NULL
    ORDER BY j.record, j.incarnation, j.version
"""
SQL_FETCH_RECORDS: Final[LiteralString] = """
    SELECT id, incarnation, version, stream, deleted, crc, body FROM record WHERE county = $1 ORDER BY id
"""


async def _journal_differences(conn: Connection, county: County) -> tuple[list[Difference], int, int]:
    """Both sides are read in the order of the record's id, side by side, so memory holds one record at a time."""
    differences: list[Difference] = []
    entries = records = 0
    stories = _stories(conn, county)
    story = await anext(stories, None)
    async for row in conn.cursor(SQL_FETCH_RECORDS, county, prefetch=500):
        records += 1
        while story is not None and story[0].record < row["id"]:
            differences.append(_difference(county, story[0].record, "journaled, but there is no such record"))
            entries += len(story)
            story = await anext(stories, None)
        if story is None or story[0].record != row["id"]:
            differences.append(_difference(county, row["id"], "a record that the journal does not know"))
            continue
        entries += len(story)
        differences += _record_differences(county, row, story)
        story = await anext(stories, None)
    while story is not None:
        differences.append(_difference(county, story[0].record, "journaled, but there is no such record"))
        entries += len(story)
        story = await anext(stories, None)
    return differences, records, entries


async def _stories(conn: Connection, county: County) -> AsyncIterator[list[Recorded]]:
    """The entries of one record after the other."""
    story: list[Recorded] = []
    async for row in conn.cursor(SQL_FETCH_RECORDED, county, prefetch=500):
        entry = Recorded(
            record=row["record"],
            version=(row["incarnation"], row["version"]),
            stream=row["stream"],
            deleted=row["deleted"],
            patch=msgspec.json.decode(row["patch"]) if row["patch"] is not None else None,
            raw=row["raw"],
            projected=row["kind"] in PROJECTED,
        )
        if story and story[0].record != entry.record:
            yield story
            story = []
        story.append(entry)
    if story:
        yield story


def _record_differences(county: County, row: Any, story: list[Recorded]) -> list[Difference]:
    version = (row["incarnation"], row["version"])
    says = [] if row["crc"] == record_crc(row["id"], version) else ["its crc is not that of its id and version"]
    try:
        says += _unlike(row, version, replay(story))
    except ReplayFault as fault:
        says.append(f"the journal breaks: {fault}")
    return [_difference(county, row["id"], "; ".join(says))] if says else []


def _unlike(row: Any, version: tuple[int, int], replayed: Replayed) -> list[str]:
    says = []
    if replayed.version != version:
        says.append(f"version {version}, journal {replayed.version}")
    if replayed.stream != row["stream"] or replayed.deleted != row["deleted"]:
        says.append(f"in {row['stream']} (deleted: {row['deleted']}), journal {replayed.stream} ({replayed.deleted})")
    if replayed.body != msgspec.json.decode(row["body"]):
        says.append("its body is not what the journal makes of it")
    return says


def _difference(county: County, record: RecordId, says: str) -> Difference:
    return Difference(county=county, what="record", where=str(record), says=says)


# -------------------------------------------------------------------------------------------------- numbers

SQL_COMPARE_NUMBERS: Final[LiteralString] = """
    SELECT d.device, d.n_high, d.holes, j.numbers, j.highest
    FROM device_county d
    LEFT JOIN (SELECT device, count(*) AS numbers, max(n) AS highest FROM journal
               WHERE county = $1 AND entry = 0 GROUP BY device) j ON j.device = d.device
    WHERE d.county = $1 ORDER BY d.device
"""


async def _number_differences(conn: Connection, county: County) -> tuple[list[Difference], int]:
    differences: list[Difference] = []
    rows = await conn.fetch(SQL_COMPARE_NUMBERS, county)
    for row in rows:
        holes = msgspec.json.decode(row["holes"], type=list[tuple[int, int]])
        missing = sum(b - a + 1 for a, b in holes)
        numbers, highest = row["numbers"] or 0, row["highest"] or 0
        # a hole may have been filled later, by a phone that held it after all: then more is here than was hoped for
        if numbers + missing < row["n_high"] or highest > row["n_high"]:
            says = f"known up to {row['n_high']}, but {numbers} are journaled (highest {highest}) and {missing} are holes"
            differences.append(Difference(county=county, what="number", where=str(row["device"]), says=says))
    return differences, len(rows)


# -------------------------------------------------------------------------------------------------- desk

SQL_COMPARE_DESK: Final[LiteralString] = """
    SELECT coalesce(h.device, j.device) AS device, coalesce(h.n, j.n) AS n, h.device IS NULL AS is_off_desk,
           h.settled_at IS NULL AS is_open, j.outcome
    FROM (SELECT * FROM held WHERE county = $1) h
    FULL JOIN (SELECT DISTINCT ON (device, n) device, n, outcome FROM journal
               WHERE county = $1 AND what <> 'consequence' ORDER BY device, n, entry DESC) j
         ON j.device = h.device AND j.n = h.n
    WHERE h.device IS NOT NULL OR j.outcome IN ('quarantined', 'deferred')
    ORDER BY 1, 2
"""


async def _desk_differences(conn: Connection, county: County) -> tuple[list[Difference], int]:
    differences: list[Difference] = []
    rows = await conn.fetch(SQL_COMPARE_DESK, county)
    for row in rows:
        is_held = row["outcome"] in ("quarantined", "deferred")
        where = f"{row['device']}/{row['n']}"
        if row["is_off_desk"]:
            differences.append(Difference(county=county, what="desk", where=where, says="held, but on no desk"))
        elif row["is_open"] != is_held:
            state = "open" if row["is_open"] else "settled"
            says = f"{state}, but its last decision is {row['outcome']}"
            differences.append(Difference(county=county, what="desk", where=where, says=says))
    return differences, len(rows)
