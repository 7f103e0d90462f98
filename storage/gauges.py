"""What is waiting, counted when somebody asks."""

from __future__ import annotations

from typing import Final, LiteralString

import msgspec

from storage.pool import Executor


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """`held`: open mutations by outcome; `photos_wanted`: announced, bytes not here."""

    held: dict[str, int]
    photos_wanted: int


SQL_COUNT_HELD: Final[LiteralString] = "SELECT outcome, count(*) AS n FROM held WHERE settled_at IS NULL GROUP BY outcome"
SQL_COUNT_WANTED: Final[LiteralString] = "SELECT count(*) FROM blob WHERE state = 'wanted'"


async def fetch_gauges(executor: Executor) -> Gauges:
    held = {row["outcome"]: row["n"] for row in await executor.fetch(SQL_COUNT_HELD)}
    return Gauges(held=held, photos_wanted=await executor.fetchval(SQL_COUNT_WANTED))


SQL_FETCH_MIGRATION: Final[LiteralString] = "SELECT max(version) FROM schema_migrations"


async def fetch_migration(executor: Executor) -> str | None:
    """The newest migration that was applied."""
    return await executor.fetchval(SQL_FETCH_MIGRATION)
