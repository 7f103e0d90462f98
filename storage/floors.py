"""Purging old markers: the head's floor rises, and phones whose cursor lies below it read the stream anew (design.md 3.2).

Only markers go, never a record row. Everything up to the floor is purged, in one transaction with raising it and under the
lock of the head: a page that is read at the same time has either the markers or the new floor.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, LiteralString

from contracts.ids import County, StreamName
from storage.pool import Pool, transaction

MARKERS_MAX: Final = 5000  # of one transaction: the head is locked meanwhile, and phones wait

# The first marker of a stream is its oldest: one look into the index that pages are read with.
SQL_FETCH_PURGEABLE: Final[LiteralString] = """
    SELECT h.stream FROM stream_head h
    CROSS JOIN LATERAL (SELECT m.left_at FROM marker m WHERE m.county = $1 AND m.stream = h.stream ORDER BY m.seq LIMIT 1) oldest
    WHERE h.county = $1 AND oldest.left_at < $2 ORDER BY h.stream
"""
SQL_LOCK_HEAD: Final[LiteralString] = "SELECT seq FROM stream_head WHERE county = $1 AND stream = $2 FOR UPDATE"
SQL_FETCH_FLOOR: Final[LiteralString] = """
    SELECT max(seq) FILTER (WHERE left_at < $3) FROM (
        SELECT seq, left_at FROM marker WHERE county = $1 AND stream = $2 ORDER BY seq LIMIT $4) oldest
"""
SQL_DELETE_MARKERS: Final[LiteralString] = "DELETE FROM marker WHERE county = $1 AND stream = $2 AND seq <= $3"
SQL_RAISE_FLOOR: Final[LiteralString] = """
    UPDATE stream_head SET floor = greatest(floor, $3) WHERE county = $1 AND stream = $2
"""


async def purge_county(pool: Pool, county: County, left_before: datetime) -> int:
    """Purge every marker that was left before a moment; returns how many. Repeated, it goes on where it ended."""
    count = 0
    for row in await pool.fetch(SQL_FETCH_PURGEABLE, county, left_before):
        while purged := await purge_stream(pool, county, row["stream"], left_before):
            count += purged
    return count


async def purge_stream(pool: Pool, county: County, stream: StreamName, left_before: datetime, markers_max: int = MARKERS_MAX) -> int:
    """One bounded step; 0 when nothing is old any more."""
    async with transaction(pool) as conn:
        await conn.fetchval(SQL_LOCK_HEAD, county, stream)
        floor = await conn.fetchval(SQL_FETCH_FLOOR, county, stream, left_before, markers_max)
        if floor is None:
            return 0
        status = await conn.execute(SQL_DELETE_MARKERS, county, stream, floor)
        await conn.execute(SQL_RAISE_FLOOR, county, stream, floor)
        return int(status.rpartition(" ")[2])
