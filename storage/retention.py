"""Closed, old records go to the archive streams, through the same path as every other write (design.md 3.2).

Within a stream seq follows the order of changes, so a walk by seq that stops at the first record that is too young sees exactly
the old ones, by the index that pages are read with. sync/retention.py says what is closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Final, LiteralString

import msgspec

from contracts.ids import County, RecordId, StreamName, Version, derived_mutation_id
from contracts.mutation import ARCHIVE
from storage.office_push import draft, system_push_each
from storage.pool import Executor, Pool
from storage.reference import Reference
from sync.retention import CLOSED, may_archive

BATCH: Final = 50  # records of one push; with their photos they may be many times as many
PAGE: Final = 500


class Old(msgspec.Struct, frozen=True, kw_only=True):
    """A record that may be archived; `value` is that of the field by which its kind is closed, as text."""

    id: RecordId
    kind: str
    seq: int
    version: Version
    changed_at: datetime
    value: str | None


SQL_FETCH_STREAMS: Final[LiteralString] = """
    SELECT stream FROM stream_head WHERE county = $1 AND count > 0 AND stream NOT LIKE '%.archive'
    ORDER BY stream
"""
# Not while somebody still has to decide something about it.
SQL_FETCH_OLD: Final[LiteralString] = """
    SELECT r.id, r.kind, r.seq, r.incarnation, r.version, r.changed_at, r.body ->> k.field AS value,
           k.kind IS NULL OR r.parent IS NOT NULL
           OR EXISTS (SELECT 1 FROM record c WHERE c.county = $1 AND c.kind = 'conflict' AND NOT c.deleted
                      AND (c.body ->> 'state') = 'open' AND (c.body ->> 'record') = r.id::text)
           OR EXISTS (SELECT 1 FROM held h WHERE h.county = $1 AND h.settled_at IS NULL AND h.record = r.id) AS is_kept
    FROM record r LEFT JOIN unnest($5::text[], $6::text[]) k (kind, field) ON k.kind = r.kind
    WHERE r.county = $1 AND r.stream = $2 AND r.seq > $3 AND NOT r.deleted
    ORDER BY r.seq LIMIT $4
"""


async def fetch_due(executor: Executor, county: County, stream: StreamName, days: Mapping[str, int], now: datetime) -> AsyncIterator[Old]:
    """Closed records of a stream that are older than their kind's days, oldest first. A kind without days stays."""
    limits = {kind: now - timedelta(days=count) for kind, count in days.items() if count > 0 and kind in CLOSED}
    if not limits:
        return
    kinds, fields = list(limits), [CLOSED[kind].field for kind in limits]
    seq = 0
    while rows := await executor.fetch(SQL_FETCH_OLD, county, stream, seq, PAGE, kinds, fields):
        for row in rows:
            if row["changed_at"] >= max(limits.values()):
                return
            if not row["is_kept"] and row["changed_at"] < limits[row["kind"]] and CLOSED[row["kind"]].holds(row["value"]):
                yield Old(
                    id=row["id"],
                    kind=row["kind"],
                    seq=row["seq"],
                    version=(row["incarnation"], row["version"]),
                    changed_at=row["changed_at"],
                    value=row["value"],
                )
        seq = rows[-1]["seq"]


async def archive_county(pool: Pool, reference: Reference, county: County, days: Mapping[str, int], now: datetime, records_max: int) -> int:
    """Archive what is due, at most so many records in one run; returns how many. Repeated, it goes on where it ended."""
    done = 0
    for row in await pool.fetch(SQL_FETCH_STREAMS, county):
        if not may_archive(row["stream"]):
            continue
        batch: list[Old] = []
        async for old in fetch_due(pool, county, row["stream"], days, now):
            batch.append(old)
            if len(batch) == BATCH or done + len(batch) == records_max:
                done += await _archive(pool, reference, county, batch, now)
                batch = []
            if done >= records_max:
                return done
        done += await _archive(pool, reference, county, batch, now)
    return done


async def _archive(pool: Pool, reference: Reference, county: County, batch: list[Old], now: datetime) -> int:
    if not batch:
        return 0
    drafts = [
        draft(
            kind=old.kind,
            record=old.id,
            op=ARCHIVE,
            now=now,
            mutation=derived_mutation_id("archive", old.id, *old.version),
            base=old.version,
        )
        for old in batch
    ]
    await system_push_each(pool, reference, county, drafts, now)
    return len(batch)
