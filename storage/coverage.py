"""How sites stand against their period: one look into an index per site (index record_seen)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final, LiteralString

import asyncpg
import msgspec

from contracts.ids import County, StreamName
from contracts.kinds.plan import Plan
from storage.pool import Executor
from sync.coverage import Standing, Watched, standing, terms_in_force
from sync.places import Places, unit_of

# The condition on the stream is that of the index: an unannounced visit is not to be told from a figure.
SQL_FETCH_WATCHED: Final[LiteralString] = """
    SELECT s.id, s.stream, s.body ->> 'name' AS name, s.body -> 'subjects' AS subjects,
           (s.body ->> 'period_days')::integer AS period_days, seen.submitted_at::timestamptz AS seen_at
    FROM record s
    LEFT JOIN LATERAL (
        SELECT i.body ->> 'submitted_at' AS submitted_at FROM record i
        WHERE i.county = $1 AND i.kind = 'inspection' AND NOT i.deleted AND (i.body ->> 'submitted_at') IS NOT NULL
          AND i.stream NOT LIKE '%.visit' AND (i.body ->> 'site') = s.id::text
        ORDER BY i.body ->> 'submitted_at' DESC LIMIT 1
    ) seen ON true
    WHERE s.county = $1 AND s.stream = ANY ($2::text[]) AND s.kind = 'site' AND NOT s.deleted
      AND coalesce(s.body ->> 'status', 'active') = 'active'
    ORDER BY s.id
"""
SQL_FETCH_ACTIVE_PLANS: Final[LiteralString] = """
    SELECT body FROM record
    WHERE county = $1 AND kind = 'plan' AND NOT deleted AND (body ->> 'state') = 'active'
"""


async def fetch_standing(executor: Executor, county: County, streams: Sequence[StreamName], places: Places, today: date) -> list[Standing]:
    """Every active site in these streams. Plans count that were made in the same county."""
    plans = [msgspec.json.decode(row["body"], type=Plan) for row in await executor.fetch(SQL_FETCH_ACTIVE_PLANS, county)]
    asked = terms_in_force(plans, today)
    rows = await executor.fetch(SQL_FETCH_WATCHED, county, list(streams))
    return [standing(_watched(row), asked, places, today) for row in rows]


def _watched(row: asyncpg.Record) -> Watched:
    return Watched(
        id=row["id"],
        unit=unit_of(row["stream"]),
        name=row["name"],
        subjects=msgspec.json.decode(row["subjects"]) if row["subjects"] else [],
        period_days=row["period_days"],
        seen_at=row["seen_at"],
    )
