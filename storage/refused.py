"""Creations that were refused for good: what somebody typed and no record shows, for the desk of its unit (decision 0042)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final, LiteralString

from contracts.desk import RefusedItem
from contracts.ids import County, DeviceId, UnitCode
from storage.pool import Connection, Executor
from storage.rows import shown
from sync.planned import RefusedRow

SQL_INSERT_REFUSED: Final[LiteralString] = """
    INSERT INTO refused (county, device, n, entry, unit)
    SELECT $1, $2, r.n, r.entry, r.unit FROM unnest($3::bigint[], $4::smallint[], $5::text[]) r (n, entry, unit)
"""


async def insert_refused(conn: Connection, county: County, device: DeviceId, rows: Sequence[RefusedRow]) -> None:
    """In the transaction of the push that planned them, beside their journal entries."""
    await conn.execute(SQL_INSERT_REFUSED, county, device, [r.n for r in rows], [r.entry for r in rows], [r.unit for r in rows])


# The newest of each desk by its index, then the newest of these: the other desks' are not read, however many there are.
SQL_FETCH_REFUSED: Final[LiteralString] = """
    WITH page AS MATERIALIZED (
        SELECT r.* FROM unnest($2::text[]) u (unit)
        CROSS JOIN LATERAL (
            SELECT * FROM refused f
            WHERE f.county = $1 AND f.unit = u.unit AND (f.refused_at, f.device, f.n) < ($3, $4, $5)
            ORDER BY f.refused_at DESC, f.device DESC, f.n DESC LIMIT $6) r
        ORDER BY r.refused_at DESC, r.device DESC, r.n DESC LIMIT $6),
    sized AS (
        SELECT r.*, j.person, j.mutation, j.record, j.kind, j.captured_from, j.captured_to, j.raw, e.reason, e.detail,
               sum(octet_length(j.raw)) OVER (ORDER BY r.refused_at DESC, r.device DESC, r.n DESC) AS bytes
        FROM page r
        CROSS JOIN LATERAL (
            SELECT j.* FROM journal j WHERE j.county = $1 AND j.device = r.device AND j.n = r.n AND j.entry = 0 OFFSET 0) j
        CROSS JOIN LATERAL (
            SELECT e.reason, e.detail FROM journal e
            WHERE e.county = $1 AND e.device = r.device AND e.n = r.n AND e.entry = r.entry OFFSET 0) e)
    SELECT s.county, s.device, s.n, s.unit, s.refused_at, s.person,
           (SELECT p.name FROM person p WHERE p.id = s.person) AS person_name, s.mutation, s.record, s.kind,
           s.captured_from, s.captured_to, s.reason, s.detail, s.raw
    FROM sized s
    WHERE s.bytes - coalesce(octet_length(s.raw), 0) < $7
    ORDER BY s.refused_at DESC, s.device DESC, s.n DESC
"""
PAGE_BYTES_MAX: Final = 2 * 1024 * 1024  # of raw mutations; the one that passes it is the last of its page
NEWEST: Final = (datetime.fromisoformat("9999-01-01T00:00:00+00:00"), uuid.UUID(int=0), 0)


async def fetch_refused(
    executor: Executor, county: County, units: Sequence[UnitCode], before: tuple[datetime, DeviceId, int], limit: int
) -> tuple[list[RefusedItem], bool]:
    """(refused creations on these units' desks, newest first, before a key; whether there may be more). A page ends by its rows or its bytes."""
    rows = await executor.fetch(SQL_FETCH_REFUSED, county, list(units), *before, limit, PAGE_BYTES_MAX)
    is_full = len(rows) == limit or sum(len(row["raw"] or b"") for row in rows) >= PAGE_BYTES_MAX
    return [RefusedItem(**shown(row)) for row in rows], is_full
