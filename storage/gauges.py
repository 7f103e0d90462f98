"""What is waiting, counted when somebody asks."""

from __future__ import annotations

from collections import Counter
from typing import Final, LiteralString

import msgspec

from storage.cleaning import fetch_counties
from storage.pool import Executor


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """`held`: open mutations by outcome; `photos_wanted`: announced, bytes not here; `timers_behind_seconds`: since when some
    county's casework timers have not done everything (storage/timers.py), whichever worker ran them.
    """

    held: dict[str, int]
    photos_wanted: int
    timers_behind_seconds: float


SQL_COUNT_HELD: Final[LiteralString] = """
    SELECT outcome, count(*) AS n FROM held WHERE county = $1 AND settled_at IS NULL GROUP BY outcome
"""
SQL_COUNT_WANTED: Final[LiteralString] = "SELECT count(*) FROM blob WHERE county = $1 AND state = 'wanted'"
# A county whose timers never ran is not counted: an installation without a worker shows that by its jobs.
SQL_TIMERS_BEHIND: Final[LiteralString] = """
    SELECT extract(epoch FROM clock_timestamp() - read_at)::float8 FROM timer_run WHERE county = $1 AND read_at IS NOT NULL
"""


async def fetch_gauges(executor: Executor) -> Gauges:
    held, photos_wanted, behind = Counter[str](), 0, 0.0
    for county in await fetch_counties(executor):
        held.update({row["outcome"]: row["n"] for row in await executor.fetch(SQL_COUNT_HELD, county)})
        photos_wanted += await executor.fetchval(SQL_COUNT_WANTED, county)
        behind = max(behind, await executor.fetchval(SQL_TIMERS_BEHIND, county) or 0.0)
    return Gauges(held=held, photos_wanted=photos_wanted, timers_behind_seconds=behind)


SQL_FETCH_MIGRATION: Final[LiteralString] = "SELECT max(version) FROM schema_migrations"


async def fetch_migration(executor: Executor) -> str | None:
    """The newest migration that was applied."""
    return await executor.fetchval(SQL_FETCH_MIGRATION)
