"""Everything that belongs to one record, in five statements however long its history is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec

from contracts.ids import County, PersonId, RecordId, StreamName, UnitCode, problem_id
from contracts.kinds import KINDS
from contracts.office import StoryColour, StoryEntry, StoryRecord
from contracts.outcomes import Outcome, Reason
from contracts.rules import Colour
from storage.pool import Connection, Executor
from sync.machines import PROJECTED
from sync.places import stream_name, unit_of

ENTRIES_MAX: Final = 500
NEAR_MAX: Final = 500
PHOTOS_MAX: Final = 500

# What the server put beside a problem or transfer for another unit: deleted, it was taken away again, and is no longer theirs to read.
SHOWN_TO_OTHERS: Final = [*PROJECTED, "photo"]

SQL_FETCH_RECORD: Final[LiteralString] = """
    SELECT id, kind, stream, incarnation, version, changed_at, deleted, body FROM record
    WHERE county = $1 AND id = $2 AND stream = ANY ($3::text[]) AND NOT (deleted AND kind = ANY ($4::text[]))
"""


async def fetch_record(executor: Executor, county: County, record: RecordId, streams: Sequence[StreamName]) -> StoryRecord | None:
    """One record, also a deleted one, if it is in one of these streams."""
    row = await executor.fetchrow(SQL_FETCH_RECORD, county, record, streams, SHOWN_TO_OTHERS)
    return _record_from(row) if row else None


SQL_FETCH_RECORDS: Final[LiteralString] = """
    SELECT id, kind, stream, incarnation, version, changed_at, deleted, body FROM record
    WHERE county = $1 AND id = ANY ($2::uuid[]) AND stream = ANY ($3::text[])
"""


async def fetch_records(
    executor: Executor, county: County, records: Sequence[RecordId], streams: Sequence[StreamName]
) -> list[StoryRecord]:
    """Those of the records that are in these streams, in no order."""
    return [_record_from(row) for row in await executor.fetch(SQL_FETCH_RECORDS, county, records, streams)]


# What is about the record, what is about that (a whistle's summonses, their supervisions), what is at the site.
SQL_FETCH_NEAR: Final[LiteralString] = """
    WITH near AS MATERIALIZED (
        SELECT e.record FROM ledger_entry e WHERE e.county = $1 AND e.about = $2 AND e.stream = ANY ($4::text[]) LIMIT $5),
    far AS MATERIALIZED (
        SELECT e.record FROM near n JOIN ledger_entry e ON e.county = $1 AND e.about = n.record
        WHERE e.stream = ANY ($4::text[]) LIMIT $5),
    here AS MATERIALIZED (
        SELECT e.record FROM ledger_entry e WHERE e.county = $1 AND e.site = $2 AND e.stream = ANY ($4::text[])
        ORDER BY e.changed_at DESC LIMIT $5),
    planned AS MATERIALIZED (
        SELECT e.record FROM ledger_entry e WHERE e.county = $1 AND e.tags @> ARRAY['site:' || $2::uuid] AND e.kind = 'task'
          AND e.stream = ANY ($4::text[]) LIMIT $5)
    SELECT r.id, r.kind, r.stream, r.incarnation, r.version, r.changed_at, r.deleted, r.body
    FROM (SELECT record FROM near UNION SELECT record FROM far UNION SELECT record FROM here UNION SELECT record FROM planned
          UNION SELECT unnest($3::uuid[])) w
    JOIN record r ON r.county = $1 AND r.id = w.record
    WHERE NOT r.deleted AND r.id <> $2 AND r.stream = ANY ($4::text[])
    ORDER BY r.changed_at, r.id
"""
# Fields of a body that name other records.
NAMING: Final = (
    "inspection", "site", "sites", "task", "problem", "whistle", "transfer", "subject_record", "previous", "record", "related", "suspected_duplicates", "origin",
)  # fmt: skip


async def fetch_near(executor: Executor, county: County, record: StoryRecord, streams: Sequence[StreamName]) -> list[StoryRecord]:
    """Records that name this one or that it names, as far as they are in these streams; oldest change first."""
    body: dict[str, Any] = msgspec.json.decode(record.body)
    named = {found for field in NAMING for value in _listed(body.get(field)) if (found := _id(value)) is not None}
    if record.kind == "inspection":  # what it opened names it, and has an id that the answer gives
        named |= {problem_id(record.id, item) for item in _map(body.get("answers"))}
    rows = await executor.fetch(SQL_FETCH_NEAR, county, record.id, list(named)[:NEAR_MAX], streams, NEAR_MAX)
    return [_record_from(row) for row in rows]


# A problem that an inspection opened is proved by the pictures of its item there.
SQL_FETCH_PHOTOS: Final[LiteralString] = """
    SELECT id, kind, stream, incarnation, version, changed_at, deleted, body FROM record
    WHERE county = $1 AND parent = ANY ($2::uuid[]) AND (parent = $3 OR (body ->> 'item') = $4)
      AND kind = 'photo' AND NOT deleted AND stream = ANY ($5::text[])
    ORDER BY changed_at DESC, id LIMIT $6
"""


async def fetch_photos(executor: Executor, county: County, record: StoryRecord, streams: Sequence[StreamName]) -> list[StoryRecord]:
    """The newest pictures of a record, and of the check item that opened it; oldest first."""
    body: dict[str, Any] = msgspec.json.decode(record.body)
    inspection, item = _id(body.get("inspection")), body.get("item")
    parents = [record.id, *([inspection] if inspection and isinstance(item, str) else [])]
    wanted = item if isinstance(item, str) else None
    rows = await executor.fetch(SQL_FETCH_PHOTOS, county, parents, record.id, wanted, streams, PHOTOS_MAX)
    return [_record_from(row) for row in reversed(rows)]


SQL_FETCH_COLOURS: Final[LiteralString] = """
    SELECT e.colour, e.stream, e.found_at FROM ledger_entry e
    WHERE e.county = $1 AND e.about = ANY ($2::uuid[]) AND e.kind = 'supervision' AND e.is_open AND e.stream = ANY ($3::text[])
    ORDER BY e.found_at, e.record LIMIT $4
"""


async def fetch_colours(
    executor: Executor, county: County, records: Collection[RecordId], units: Collection[UnitCode]
) -> list[StoryColour]:
    """Open letters about these records to these units: that there is one, and of which colour, but not the letter."""
    streams = [stream_name(unit, KINDS["supervision"].audience) for unit in units]
    rows = await executor.fetch(SQL_FETCH_COLOURS, county, list(records), streams, NEAR_MAX)
    return [StoryColour(colour=Colour(row["colour"]), unit=unit_of(row["stream"]), issued_at=row["found_at"]) for row in rows]


# Of a mutation that waits on a desk, or was discarded there, only that desk sees anything. What a projection only
# repeats is left out; what was done on the projection is not.
SQL_FETCH_ENTRIES: Final[LiteralString] = """
    SELECT j.device, j.n, j.entry, j.what, j.mutation, j.record, j.op, j.person, j.received_at, j.captured_from, j.captured_to, j.outcome,
           j.reason, j.detail, j.incarnation, j.version, j.patch, j.raw
    FROM journal j
    WHERE j.county = $1 AND (j.record = $2 OR (j.record = ANY ($3::uuid[]) AND j.what <> 'consequence'))
      AND NOT EXISTS (SELECT FROM held h WHERE h.county = j.county AND h.device = j.device AND h.n = j.n
                      AND (h.settled_at IS NULL OR h.settled_how = 'discard')
                      AND (h.unit IS NULL OR NOT h.unit = ANY ($4::text[])))
    ORDER BY j.received_at DESC, j.device, j.n DESC, j.entry DESC LIMIT $5
"""


async def fetch_entries(
    conn: Connection, county: County, record: RecordId, projections: Collection[RecordId], desks: Collection[UnitCode]
) -> tuple[list[StoryEntry], bool]:
    """(the newest entries, oldest first; whether there are older ones). `desks`: units whose held mutations may be shown."""
    rows = await conn.fetch(SQL_FETCH_ENTRIES, county, record, list(projections), list(desks), ENTRIES_MAX + 1)
    return [_entry_from(row) for row in reversed(rows[:ENTRIES_MAX])], len(rows) > ENTRIES_MAX


SQL_FETCH_NAMES: Final[LiteralString] = "SELECT id, name FROM person WHERE id = ANY ($1::uuid[])"


async def fetch_names(executor: Executor, people: Collection[PersonId]) -> dict[str, str]:
    return {str(row["id"]): row["name"] for row in await executor.fetch(SQL_FETCH_NAMES, list(people))}


def people_in(entries: Iterable[StoryEntry], records: Iterable[StoryRecord]) -> set[PersonId]:
    """Everybody a story names: who wrote, who took a step, who commented."""
    found: set[PersonId | None] = {entry.person for entry in entries}
    for record in records:
        body: dict[str, Any] = msgspec.json.decode(record.body)
        lines = [line for field in ("steps", "comments") for line in _listed(body.get(field)) if isinstance(line, Mapping)]
        found |= {_id(line.get("by")) for line in lines}
        found |= {
            _id(body.get(field))
            for field in ("reported_by", "recorded_by", "submitted_by", "proposed_by", "assignee", "taken_by", "settled_by")
        }
        found |= {_id(value) for value in _listed(body.get("inspectors"))}
    return {person for person in found if person is not None}


def _record_from(row: Any) -> StoryRecord:
    return StoryRecord(
        id=row["id"],
        kind=row["kind"],
        stream=row["stream"],
        v=(row["incarnation"], row["version"]),
        changed_at=row["changed_at"],
        deleted=row["deleted"],
        body=msgspec.Raw(row["body"].encode()),
    )


def _entry_from(row: Any) -> StoryEntry:
    raw, patch = _decoded(row["raw"]), _decoded(row["patch"])
    return StoryEntry(
        device=row["device"],
        n=row["n"],
        entry=row["entry"],
        what=row["what"],
        mutation=row["mutation"],
        record=row["record"],
        op=row["op"],
        person=row["person"],
        received_at=row["received_at"],
        captured_from=row["captured_from"],
        captured_to=row["captured_to"],
        outcome=Outcome(row["outcome"]),
        reason=Reason(row["reason"]),
        detail=_decoded(row["detail"]) or None,
        v=None if row["version"] is None else (row["incarnation"], row["version"]),
        fields=_map(raw.get("fields")),
        args=_map(raw.get("args")),
        set=_map(patch.get("set")),
    )


def _decoded(text: str | bytes | None) -> dict[str, Any]:
    """A JSON object; whatever else arrived as a mutation says nothing here (the desk shows its bytes)."""
    try:
        return _map(msgspec.json.decode(text)) if text else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _id(value: Any) -> UUID | None:
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None
