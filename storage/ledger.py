"""The read models of ledgers and coverage, rebuilt from the records: after an upgrade that lists more, or when in doubt.

While the server runs they are written beside push_write (storage/push_state.py), so they never lag.
"""

from __future__ import annotations

from typing import Any, Final, LiteralString

import msgspec

from contracts.ids import County
from storage.coverage import recount
from storage.ledger_rows import LISTED, ledger_row
from storage.pool import Connection, Pool, transaction

BATCH: Final = 1000

# The head's lock keeps pushes of the stream out while its rows are written: they order the writers of a row.
SQL_LOCK_STREAM: Final[LiteralString] = "SELECT seq FROM stream_head WHERE county = $1 AND stream = $2 FOR UPDATE"
SQL_FETCH_LISTED: Final[LiteralString] = """
    SELECT id, kind, stream, seq, changed_at, body FROM record
    WHERE county = $1 AND stream = $2 AND seq > $3 AND kind = ANY ($4::text[]) AND NOT deleted ORDER BY seq LIMIT $5
"""
SQL_WRITE_LEDGER: Final[LiteralString] = "SELECT ledger_write($1, $2, $3)"
SQL_FETCH_STREAMS: Final[LiteralString] = "SELECT stream FROM stream_head WHERE county = $1 ORDER BY stream"
SQL_DELETE_STALE: Final[LiteralString] = """
    DELETE FROM ledger_entry e WHERE e.county = $1
    AND NOT EXISTS (SELECT FROM record r WHERE r.county = e.county AND r.id = e.record AND NOT r.deleted)
"""
SQL_FETCH_COUNTIES: Final[LiteralString] = "SELECT county FROM county ORDER BY county"


SQL_IS_MISSING: Final[LiteralString] = """
    SELECT NOT EXISTS (SELECT FROM ledger_entry) AND EXISTS (SELECT FROM record WHERE kind = ANY ($1::text[]) AND NOT deleted)
"""


async def rebuild_missing(pool: Pool) -> int:
    """As `rebuild_ledgers`, where there are records and no ledger at all: an installation from before there were ledgers."""
    return await rebuild_ledgers(pool) if await pool.fetchval(SQL_IS_MISSING, list(LISTED)) else 0


async def rebuild_ledgers(pool: Pool) -> int:
    """All counties; returns how many rows were written. Pushes go on meanwhile, each stream waiting for its own turn."""
    return sum([await rebuild_ledger(pool, row["county"]) for row in await pool.fetch(SQL_FETCH_COUNTIES)])


async def rebuild_ledger(pool: Pool, county: County) -> int:
    """One county, a bounded part of one stream a transaction."""
    rows = 0
    for stream in await pool.fetch(SQL_FETCH_STREAMS, county):
        seq = 0
        while seq >= 0:
            async with transaction(pool) as conn:
                await conn.execute(SQL_LOCK_STREAM, county, stream["stream"])
                seq, written = await _rebuild_part(conn, county, stream["stream"], seq)
                rows += written
        seq = 0
        while seq >= 0:
            async with transaction(pool) as conn:
                await conn.execute(SQL_LOCK_STREAM, county, stream["stream"])
                seq = await recount(conn, county, stream["stream"], seq, BATCH)
    await pool.execute(SQL_DELETE_STALE, county)
    return rows


async def _rebuild_part(conn: Connection, county: County, stream: str, after: int) -> tuple[int, int]:
    """(the seq it came to, or -1 at the end; rows written)."""
    found = await conn.fetch(SQL_FETCH_LISTED, county, stream, after, list(LISTED), BATCH)
    rows: list[Any] = [ledger_row(r["id"], r["kind"], r["stream"], msgspec.json.decode(r["body"]), r["changed_at"]) for r in found]
    await conn.execute(SQL_WRITE_LEDGER, county, rows, [])
    return (found[-1]["seq"] if len(found) == BATCH else -1), len(found)
