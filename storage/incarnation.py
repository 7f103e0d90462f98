"""A county's incarnation: it grows when a restored backup is recognised (design.md 3.3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, LiteralString

from contracts.ids import County
from storage.pool import Pool, transaction

SQL_LOCK_COUNTY: Final[LiteralString] = "SELECT incarnation FROM county WHERE county = $1 FOR UPDATE"
SQL_LOCK_ALL_HEADS: Final[LiteralString] = (
    "SELECT count(*) FROM (SELECT 1 FROM stream_head WHERE county = $1 ORDER BY stream FOR UPDATE) locked"
)
SQL_BUMP_COUNTY: Final[LiteralString] = "UPDATE county SET incarnation = $2 WHERE county = $1"
SQL_BUMP_HEADS: Final[LiteralString] = "UPDATE stream_head SET incarnation = $2 WHERE county = $1"


async def bump_incarnation(pool: Pool, county: County, above: int) -> int:
    """The county's incarnation, now greater than `above`: phones start their streams anew and hand back what was lost.

    `above` is the incarnation that was proven lost. Whoever proves it second finds it done; and a number that was used
    before the restore is never used again, or versions of both lives would be taken for one another (design.md 3.3).
    """
    async with transaction(pool) as conn:
        now = int(await conn.fetchval(SQL_LOCK_COUNTY, county))
        if now > above:
            return now
        incarnation = above + 1
        await conn.fetchval(SQL_LOCK_ALL_HEADS, county)
        await conn.execute(SQL_BUMP_COUNTY, county, incarnation)
        await conn.execute(SQL_BUMP_HEADS, county, incarnation)
        return incarnation


SQL_FETCH_INCARNATIONS: Final[LiteralString] = "SELECT county, incarnation FROM county ORDER BY county"
_FIRST_MINUTE: Final = datetime(2026, 1, 1, tzinfo=UTC)


async def begin_incarnations(pool: Pool, now: datetime) -> dict[County, int]:
    """After a restore every county begins a new incarnation, each in a transaction of its own.

    Its number is the minute, so that it is new also when the backup is older than an earlier restore and does not know
    of the incarnation that began with that one.
    """
    minute = int((now - _FIRST_MINUTE) / timedelta(minutes=1))
    return {
        row["county"]: await bump_incarnation(pool, row["county"], max(row["incarnation"], minute - 1))
        for row in await pool.fetch(SQL_FETCH_INCARNATIONS)
    }
