"""Can patrol data be written? Asked of PostgreSQL itself, by writing."""

from __future__ import annotations

from datetime import datetime
from typing import Final, LiteralString

import asyncpg

from storage.pool import Pool, transaction
from storage.rate_limit import Rate, take

READ_ONLY: Final = "25006"
NO_ROOM: Final = ("53", "58")  # out of resources, a failing disk
ALWAYS: Final = Rate(capacity=1e6, per_second=1e6)

SQL_IN_RECOVERY: Final[LiteralString] = "SELECT pg_is_in_recovery()"
# Sorting more than fits into memory writes a file on the disk of the data, and removes it: what is written otherwise may fit into
# space that PostgreSQL has reserved long ago.
SQL_LITTLE_MEMORY: Final[LiteralString] = "SELECT set_config('work_mem', '64kB', true)"
SQL_SPILL: Final[LiteralString] = "SELECT count(*) FROM (SELECT FROM generate_series(1, 4000) n ORDER BY md5(n::text) OFFSET 1) sorted"


async def probe_writing(pool: Pool, now: datetime) -> str:
    """The word "ok", "read_only" or "disk_full". A database that cannot be asked raises."""
    try:
        async with transaction(pool) as conn:
            if await conn.fetchval(SQL_IN_RECOVERY):
                return "read_only"
            await take(conn, "health", ALWAYS, now)
            await conn.execute(SQL_LITTLE_MEMORY)
            await conn.fetchval(SQL_SPILL)
    except asyncpg.PostgresError as error:
        if error.sqlstate == READ_ONLY:
            return "read_only"
        if (error.sqlstate or "").startswith(NO_ROOM):
            return "disk_full"
        raise
    return "ok"
