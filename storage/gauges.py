"""What is waiting, counted when somebody asks."""

from __future__ import annotations

from collections import Counter
from typing import Final, LiteralString

import msgspec

from storage.cleaning import fetch_counties
from storage.pool import Executor


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """`held`: open mutations by outcome; `photos_wanted`: announced, bytes not here."""

    held: dict[str, int]
    photos_wanted: int


SQL_COUNT_HELD: Final[LiteralString] = """
    SELECT outcome, count(*) AS n FROM held WHERE county = $1 AND settled_at IS NULL GROUP BY outcome
"""
SQL_COUNT_WANTED: Final[LiteralString] = "SELECT count(*) FROM blob WHERE county = $1 AND state = 'wanted'"


async def fetch_gauges(executor: Executor) -> Gauges:
    held, photos_wanted = Counter[str](), 0
    for county in await fetch_counties(executor):
        held.update({row["outcome"]: row["n"] for row in await executor.fetch(SQL_COUNT_HELD, county)})
        photos_wanted += await executor.fetchval(SQL_COUNT_WANTED, county)
    return Gauges(held=held, photos_wanted=photos_wanted)


SQL_FETCH_MIGRATION: Final[LiteralString] = "SELECT max(version) FROM schema_migrations"


async def fetch_migration(executor: Executor) -> str | None:
    """The newest migration that was applied."""
    return await executor.fetchval(SQL_FETCH_MIGRATION)
