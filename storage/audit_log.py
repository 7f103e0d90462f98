"""The audit log: who did what, on what, when, from where. Nothing here updates or deletes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from contracts.access import Action, AuditEntry
from contracts.ids import County, DeviceId, PersonId, UnitCode
from storage.pool import SQL_PLAN_EACH, Connection, Pool, snapshot


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request came from: address and id."""

    source: str = ""
    request: str = ""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One entry to be. Where `unit` is None it is that of the newest duty of `about`, else of `person`.

    person   who did it            about   whom it was done to, if a person
    subject  id of what it was done to
    """

    action: Action
    person: PersonId | None = None
    device: DeviceId | None = None
    about: PersonId | None = None
    subject: str | None = None
    unit: UnitCode | None = None
    detail: dict[str, Any] = {}


DETAIL_BYTES_MAX: Final = 16 * 1024  # a page of 200 entries is bounded by it
BEGINNING_CHARACTERS: Final = 2000


def detail_of(note: Note) -> str:
    """As JSON. What is longer than an entry may be is cut, and says how long it was."""
    detail = msgspec.json.encode(note.detail)
    if len(detail) > DETAIL_BYTES_MAX:
        beginning = detail.decode(errors="ignore")[:BEGINNING_CHARACTERS]
        detail = msgspec.json.encode({"cut_from_bytes": len(detail), "beginning": beginning})
    return detail.decode()


# A person's unit: that of a duty in force, else of the last one. Without any: county 0.
SQL_INSERT_NOTE: Final[LiteralString] = """
    INSERT INTO audit_log (county, id, at, unit, action, person, device, subject, detail, source, request)
    SELECT coalesce(u.county, 0), $1::uuid, $2::timestamptz, w.unit, $4::text, $5::uuid, $6::uuid, $8::text, $9::json,
           $10::text, $11::text
    FROM (SELECT coalesce($3::text, (
            SELECT y.unit FROM duty y WHERE y.person = coalesce($7::uuid, $5::uuid)
            ORDER BY (y.ends IS NULL OR y.ends > $2) DESC, y.starts DESC LIMIT 1)) AS unit) w
    LEFT JOIN unit u ON u.code = w.unit
"""


async def insert_note(conn: Connection, note: Note, origin: Origin, now: datetime) -> None:
    """Write one entry, in the transaction of what it tells."""
    detail = detail_of(note)
    await conn.execute(
        SQL_INSERT_NOTE, uuid7(), now, note.unit, note.action.value, note.person, note.device, note.about, note.subject,
        detail, origin.source[:100], origin.request[:100],
    )  # fmt: skip


async def insert_notes(conn: Connection, notes: Iterable[Note], origin: Origin, now: datetime) -> None:
    for note in notes:
        await insert_note(conn, note, origin, now)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A note of what was read, with the id that its hour, reader and target make."""

    id: UUID
    at: datetime
    note: Note
    origin: Origin


# As SQL_INSERT_NOTE, for many; what another process has noted in this hour is there already.
SQL_INSERT_READINGS: Final[LiteralString] = """
    INSERT INTO audit_log (county, id, at, unit, action, person, device, subject, detail, source, request)
    SELECT coalesce(u.county, 0), n.id, n.at, w.unit, n.action, n.person, n.device, n.subject, n.detail::json, n.source, n.request
    FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::uuid[], $8::text[], $9::text[], $10::text[],
                $11::text[]) n (id, at, unit, action, person, device, about, subject, detail, source, request)
    CROSS JOIN LATERAL (SELECT coalesce(n.unit, (
        SELECT y.unit FROM duty y WHERE y.person = coalesce(n.about, n.person)
        ORDER BY (y.ends IS NULL OR y.ends > n.at) DESC, y.starts DESC LIMIT 1)) AS unit) w
    LEFT JOIN unit u ON u.code = w.unit
    ON CONFLICT DO NOTHING
"""


async def insert_readings(pool: Pool, readings: Sequence[Reading]) -> None:
    rows = [
        (
            r.id, r.at, r.note.unit, r.note.action.value, r.note.person, r.note.device, r.note.about, r.note.subject,
            detail_of(r.note), r.origin.source[:100], r.origin.request[:100],
        )
        for r in readings
    ]  # fmt: skip
    await pool.execute(SQL_INSERT_READINGS, *(list(column) for column in zip(*rows, strict=True)))


# Each county by itself: a walk down its key, or the index of the filter that leaves least.
SQL_FETCH_AUDIT: Final[LiteralString] = """
    SELECT a.id, a.at, a.county, a.unit, a.action, a.person, p.name AS person_name, a.device, a.subject, a.detail, a.source,
           a.request
    FROM unnest($1::integer[]) c (county)
    CROSS JOIN LATERAL (
        SELECT * FROM audit_log l
        WHERE l.county = c.county AND l.id < $3 AND (l.unit = ANY ($2::text[]) OR (l.county = 0 AND l.unit IS NULL))
          AND ($4::text IS NULL OR l.action = $4) AND ($5::uuid IS NULL OR l.person = $5)
          AND ($6::text IS NULL OR l.subject = $6)
          AND ($7::timestamptz IS NULL OR l.at >= $7) AND ($8::timestamptz IS NULL OR l.at < $8)
        ORDER BY l.id DESC
        LIMIT $9) a
    LEFT JOIN person p ON p.id = a.person
    ORDER BY a.id DESC
    LIMIT $9
"""
NEWEST: Final = UUID(int=2**128 - 1)


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of the log. None: no matter.

    units      of what it was done to; county 0 stands for what concerns nobody known
    before     entries older than this one
    since      inclusive; until exclusive
    """

    counties: Collection[County]
    units: Collection[UnitCode]
    before: UUID = NEWEST
    action: str | None = None
    person: PersonId | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def arguments(self, limit: int) -> tuple[Any, ...]:
        """$1 to $9."""
        return (
            list(self.counties), list(self.units), self.before, self.action, self.person, self.subject, self.since, self.until, limit,
        )  # fmt: skip


async def fetch_entries(pool: Pool, wanted: AuditFilter, limit: int) -> list[AuditEntry]:
    """Newest first."""
    async with snapshot(pool) as conn:
        await conn.fetchval(SQL_PLAN_EACH)
        rows = await conn.fetch(SQL_FETCH_AUDIT, *wanted.arguments(limit))
    return [_entry_from(row) for row in rows]


def _entry_from(row: Any) -> AuditEntry:
    values = dict(row)
    values["detail"] = msgspec.Raw(values["detail"].encode())
    return AuditEntry(**values)
