"""Open conflicts, for whoever settles them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final, LiteralString

import msgspec

from contracts.desk import ConflictItem
from contracts.ids import County, RecordId, StreamName
from contracts.kinds.conflict import Conflict
from storage.pool import Executor

BEGINNING: Final = (datetime.fromisoformat("1970-01-01T00:00:00+00:00"), uuid.UUID(int=0))

SQL_FETCH_CONFLICTS: Final[LiteralString] = """
    SELECT r.county, r.id, r.stream, r.incarnation, r.version, r.body, r.changed_at, p.name
    FROM record r
        LEFT JOIN journal j ON j.county = r.county AND j.device = (r.body -> 'lost_by' ->> 0)::uuid
            AND j.n = (r.body -> 'lost_by' ->> 1)::bigint AND j.entry = 0
        LEFT JOIN person p ON p.id = j.person
    WHERE r.county = $1 AND r.kind = 'conflict' AND NOT r.deleted AND (r.body ->> 'state') = 'open'
      AND r.stream = ANY ($2::text[]) AND (r.changed_at, r.id) > ($3, $4)
    ORDER BY r.changed_at, r.id LIMIT $5
"""


async def fetch_conflicts(
    executor: Executor, county: County, streams: Sequence[StreamName], after: tuple[datetime, RecordId], limit: int
) -> list[tuple[datetime, ConflictItem]]:
    """Open conflicts of these office streams, oldest first, each with its key."""
    rows = await executor.fetch(SQL_FETCH_CONFLICTS, county, list(streams), *after, limit)
    return [
        (
            row["changed_at"],
            ConflictItem(
                county=row["county"],
                id=row["id"],
                stream=row["stream"],
                v=(row["incarnation"], row["version"]),
                conflict=msgspec.json.decode(row["body"], type=Conflict),
                person_name=row["name"],
            ),
        )
        for row in rows
    ]


SQL_FETCH_CONFLICT: Final[LiteralString] = """
    SELECT incarnation, version, stream, body FROM record
    WHERE county = $1 AND id = $2 AND kind = 'conflict' AND NOT deleted
"""


async def fetch_conflict(executor: Executor, county: County, conflict: RecordId) -> tuple[tuple[int, int], StreamName, Conflict] | None:
    """(version, stream, body) of one conflict, open or settled."""
    row = await executor.fetchrow(SQL_FETCH_CONFLICT, county, conflict)
    if row is None:
        return None
    return (row["incarnation"], row["version"]), row["stream"], msgspec.json.decode(row["body"], type=Conflict)
