"""What a backup has, read inside the backup itself, and what may be said of it to phones (design.md 3.3).

A phone deletes its mutations up to n_safe. So n_safe rises only to what was read from a restored copy that passed the audit,
and only while the county still is in the incarnation of that copy: numbers of another incarnation may name other work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, LiteralString

import msgspec

from contracts.ids import County, DeviceId
from storage.pool import Executor, Pool, transaction

BATCH: Final = 500


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of this device in this county up to `n_high` is in the backup, but for holes that were told."""

    device: DeviceId
    n_high: int


class CountyMarks(msgspec.Struct, frozen=True, kw_only=True):
    county: County
    incarnation: int
    marks: list[Mark]


SQL_FETCH_MARKS: Final[LiteralString] = """
    SELECT c.county, c.incarnation, d.device, d.n_high
    FROM county c JOIN device_county d ON d.county = c.county WHERE d.n_high > 0 ORDER BY c.county, d.device
"""


async def fetch_marks(executor: Executor) -> list[CountyMarks]:
    """Of the copy: how far every device's work is in it."""
    found: dict[County, CountyMarks] = {}
    for row in await executor.fetch(SQL_FETCH_MARKS):
        county = found.setdefault(row["county"], CountyMarks(county=row["county"], incarnation=row["incarnation"], marks=[]))
        county.marks.append(Mark(device=row["device"], n_high=row["n_high"]))
    return list(found.values())


SQL_LOCK_INCARNATION: Final[LiteralString] = "SELECT incarnation FROM county WHERE county = $1 FOR SHARE"
SQL_RAISE_SAFE: Final[LiteralString] = """
    UPDATE device_county d SET n_safe = greatest(coalesce(d.n_safe, 0), u.n_high)
    FROM unnest($2::uuid[], $3::bigint[]) AS u (device, n_high)
    WHERE d.county = $1 AND d.device = u.device AND d.n_high >= u.n_high
"""


async def raise_safe(pool: Pool, verified: CountyMarks) -> int:
    """Of the live database: how many devices may let go. 0 when the county began another incarnation since the backup."""
    raised = 0
    for start in range(0, len(verified.marks), BATCH):
        batch = verified.marks[start : start + BATCH]
        async with transaction(pool) as conn:
            if await conn.fetchval(SQL_LOCK_INCARNATION, verified.county) != verified.incarnation:
                return 0
            devices, highs = [mark.device for mark in batch], [mark.n_high for mark in batch]
            status = await conn.execute(SQL_RAISE_SAFE, verified.county, devices, highs)
            raised += int(status.rpartition(" ")[2])
    return raised


SQL_FETCH_KEPT: Final[LiteralString] = """
    SELECT county, sha256, bytes FROM blob WHERE received_at IS NOT NULL ORDER BY county, sha256
"""


class KeptBlob(msgspec.Struct, frozen=True, kw_only=True):
    county: County
    sha256: str
    bytes: int


async def fetch_kept(executor: Executor) -> Sequence[KeptBlob]:
    """Photos for which a receipt was given: their bytes must be in the backup, too."""
    return [KeptBlob(**dict(row)) for row in await executor.fetch(SQL_FETCH_KEPT)]


SQL_FETCH_TABLE: Final[LiteralString] = """
    SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') LIMIT 1
"""


async def is_empty(executor: Executor) -> bool:
    """Whether there is no table at all: only then may a backup be restored into a database."""
    return await executor.fetchval(SQL_FETCH_TABLE) is None
