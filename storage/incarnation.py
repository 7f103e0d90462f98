"""A county's incarnation: it grows when a restored backup is recognised (design.md 3.3)."""

from __future__ import annotations

from typing import Final, LiteralString

from contracts.ids import County
from storage.pool import Pool, transaction

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
