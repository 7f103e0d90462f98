"""What the server found out about a photo, for each record that shows it: the note written onto it, and its stamp.

Read from the journal and the records; judged by sync.evidence; written by nobody here but handed to the one mutation path.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, LiteralString

import asyncpg
import msgspec

from contracts.ids import County, DeviceId, RecordId, UnitCode
from contracts.kind import Position
from contracts.kinds import KINDS
from contracts.kinds.photo import Photo
from contracts.meta import field_rules
from contracts.mutation import Capture
from contracts.stored import read_stored
from storage.blobs import Blob, BlobState
from storage.looks import Look, StampLine
from storage.pictures import fetch_earlier, fetch_near
from storage.pool import Executor
from sync.evidence import EvidenceRules, Exif, Flag, Shown, evidence_flags
from sync.places import Places

WALL_UNPROVEN: Final = "手机时钟"
SHORT_HEX_DIGITS: Final = 12


class PhotoContext(msgspec.Struct, frozen=True, kw_only=True):
    """One photo record with what surrounds it. Times in Unix milliseconds; `*_wall_ms` by the phone's clock.

    recorded, visit_recorded  the phone's clock when the photo, and what it belongs to, were entered
    """

    county: County
    sha256: str
    photo: RecordId
    device: DeviceId
    n: int
    is_deleted: bool
    is_moved: bool
    version: tuple[int, int]
    body: Photo
    unit: UnitCode | None
    site: RecordId | None
    visit_wall_ms: int | None
    visit_recorded: Capture | None
    recorded: Capture | None
    captured: tuple[datetime, datetime] | None
    person: str | None
    site_name: str | None = None
    place: Position | None = None
    sent_at: datetime | None = None
    refused: str | None = None


class _Around(msgspec.Struct, frozen=True):
    """What is read of a parent or a site, whatever its kind."""

    unit: UnitCode | None = None
    site: RecordId | None = None
    started_at: datetime | None = None
    found_at: datetime | None = None
    name: str | None = None
    position: Position | None = None


class _Recorded(msgspec.Struct, frozen=True):
    at: Capture


SQL_FETCH_UNNOTED: Final[LiteralString] = """
    SELECT a.county, a.sha256, a.photo, a.device, a.n, r.deleted, r.moved_to IS NOT NULL AS moved, r.incarnation, r.version,
           r.body, p.id AS parent, p.kind AS parent_kind, p.body AS parent_body, j.raw, j.captured_from, j.captured_to,
           o.name AS person, v.raw AS parent_raw, s.sent_at, a.refused
    FROM blob_announcement a
    JOIN record r ON r.county = a.county AND r.id = a.photo AND r.kind = 'photo'
    LEFT JOIN record p ON p.county = r.county AND p.id = r.parent
    LEFT JOIN journal j ON j.county = a.county AND j.device = a.device AND j.n = a.n AND j.entry = 0
    LEFT JOIN person o ON o.id = a.person
    LEFT JOIN LATERAL (
        SELECT min(sent_at) AS sent_at FROM blob_sending
        WHERE county = a.county AND sha256 = a.sha256 AND person = a.person) s ON true
    LEFT JOIN LATERAL (
        SELECT raw FROM journal
        WHERE county = r.county AND record = r.parent AND op = 'create' AND what = 'mutation' AND raw IS NOT NULL
        ORDER BY incarnation, version LIMIT 1) v ON true
    WHERE a.county = $1 AND a.sha256 = $2 AND a.noted_at IS NULL AND (s.sent_at IS NOT NULL OR a.refused IS NOT NULL)
    ORDER BY a.announced_at, a.photo
"""
SQL_FETCH_SITES: Final[LiteralString] = """
    SELECT id, body FROM record WHERE county = $1 AND id = ANY ($2::uuid[]) AND kind = 'site'
"""


async def fetch_unnoted(conn: Executor, county: County, sha256: str) -> list[PhotoContext]:
    """The records that show these bytes, sent by who announced them, or were refused, and do not know yet what the server found
    out. Held ones have no record: later.
    """
    contexts = [context_from_row(row) for row in await conn.fetch(SQL_FETCH_UNNOTED, county, sha256)]
    ids = [context.site for context in contexts if context.site]
    sites = {row["id"]: _around("site", row["body"]) for row in await conn.fetch(SQL_FETCH_SITES, county, ids)} if ids else {}
    return [with_site(context, sites.get(context.site)) for context in contexts]


def context_from_row(row: asyncpg.Record) -> PhotoContext:
    around = _around(row["parent_kind"], row["parent_body"])
    visit = around.started_at or around.found_at
    recorded = _recorded(row["raw"])
    return PhotoContext(
        county=row["county"],
        sha256=row["sha256"],
        photo=row["photo"],
        device=row["device"],
        n=row["n"],
        is_deleted=row["deleted"],
        is_moved=row["moved"],
        version=(row["incarnation"], row["version"]),
        body=read_stored(row["body"], Photo),
        unit=around.unit,
        site=row["parent"] if row["parent_kind"] == "site" else around.site,
        visit_wall_ms=_ms(visit) if visit else recorded and recorded.wall_ms,
        visit_recorded=_recorded(row["parent_raw"]),
        recorded=recorded,
        captured=(row["captured_from"], row["captured_to"]) if row["captured_from"] and row["captured_to"] else None,
        person=row["person"],
        sent_at=row["sent_at"],
        refused=row["refused"],
    )


def with_site(context: PhotoContext, site: _Around | None) -> PhotoContext:
    return msgspec.structs.replace(context, site_name=site.name, place=site.position) if site else context


def _around(kind: str | None, body: str | None) -> _Around:
    """Only what the kind declares, and of that only what is of its shape: nothing may depend on an unknown field (decision 0001)."""
    if kind not in KINDS or not body:
        return _Around()
    stored: dict[str, Any] = msgspec.json.decode(body)
    declared = field_rules(KINDS[kind].body)
    members: dict[str, Any] = {}
    for info in msgspec.structs.fields(_Around):
        with contextlib.suppress(msgspec.ValidationError):
            if info.name in declared:
                members[info.name] = msgspec.convert(stored.get(info.name), info.type)
    return _Around(**members)


def _recorded(raw: bytes | None) -> Capture | None:
    try:
        return msgspec.json.decode(raw, type=_Recorded).at if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError):  # a desk has released what did not decode
        return None


def _ms(moment: datetime) -> int:
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


# The note


async def flags_of(conn: Executor, context: PhotoContext, look: Look, rules: EvidenceRules) -> list[Flag]:
    """Compared with everything announced before it in the county."""
    near = [each.sha256 for each in await fetch_near(conn, context.county, context.sha256, look)]
    earlier = await fetch_earlier(conn, context.county, context.photo, [context.sha256, *near])
    shown = Shown(
        position=context.body.position,
        place=context.place,
        taken=context.body.taken,
        visit_ms=context.visit_wall_ms,
        visit_recorded=context.visit_recorded,
        exif=look.exif,
        is_repeated=context.sha256 in earlier,
        is_near_repeated=bool(earlier - {context.sha256}),
    )
    return evidence_flags(shown, rules)


def note_of(context: PhotoContext, blob: Blob, look: Look | None, flags: Sequence[Flag]) -> dict[str, Any]:
    """Wire values of the photo record's server fields. When its own sender's bytes came, not when the county first had them."""
    exif = look.exif if look else Exif()
    refused = blob.reason if context.sent_at and blob.state is BlobState.REFUSED else None
    return {
        "received_at": context.sent_at.isoformat() if context.sent_at else None,
        "format": look and look.format,
        "width": look and look.width,
        "height": look and look.height,
        "exif_taken_at": exif.taken_at,
        "flags": [flag.value for flag in flags],
        "rendered": look is not None,
        "lost": context.body.lost and context.sent_at is None,
        "refused": refused if context.sent_at else context.refused,
    }


def changed_fields(context: PhotoContext, note: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """{field: [old, new]} of what differs from the record."""
    body: dict[str, Any] = msgspec.to_builtins(context.body)
    return {name: (body.get(name), new) for name, new in note.items() if body.get(name) != new}


# The stamp


def stamp_lines(context: PhotoContext, places: Places, zone: timezone) -> list[StampLine]:
    """When and where; what and who; which bytes."""
    moment, is_proven = taken_moment(context)
    local = moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") if moment else "-"
    names = " ".join(places.units[code].name for code in reversed(places.line(context.unit or "")))
    spot = spot_text(context.body.position)
    return [
        StampLine(
            f"{local}{'' if is_proven else f'（{WALL_UNPROVEN}）'}  {names}",
            f"{local}{'' if is_proven else ' (PHONE CLOCK)'}  {context.unit or '-'}",
        ),
        StampLine(
            f"{context.site_name or '-'}  {context.person or '-'}  {spot}",
            f"SITE {short(context.site)}  BY {short(context.body.taken_by)}  {spot}",
        ),
        StampLine(f"SHA-256 {context.sha256[:32]}…", f"SHA-256 {context.sha256[:32]}..."),
    ]


def taken_moment(context: PhotoContext) -> tuple[datetime | None, bool]:
    """When it was taken, and whether the server's clock proves it: same clock session as a capture known exactly."""
    taken, recorded, captured = context.body.taken, context.recorded, context.captured
    if taken is None:
        return None, False
    if captured and captured[0] == captured[1] and recorded and taken.session == recorded.session:
        return captured[1] - timedelta(milliseconds=recorded.mono_ms - taken.mono_ms), True
    try:
        return datetime.fromtimestamp(taken.wall_ms / 1000, UTC), False
    except (ValueError, OverflowError, OSError):
        return None, False


def spot_text(position: Position | None) -> str:
    if position is None:
        return "-"
    accuracy = f" +-{position.error_m:.0f} m" if position.error_m is not None else ""
    return f"{position.lat:.5f}, {position.lng:.5f}{accuracy}"


def short(identity: RecordId | None) -> str:
    return identity.hex[:SHORT_HEX_DIGITS] if identity else "-"


SQL_UPDATE_NOTED: Final[LiteralString] = """
    UPDATE blob_announcement SET noted_at = now() WHERE county = $1 AND device = $2 AND sha256 = $3 AND photo = $4
"""


async def update_noted(conn: Executor, context: PhotoContext) -> None:
    await conn.execute(SQL_UPDATE_NOTED, context.county, context.device, context.sha256, context.photo)


SQL_FETCH_UNFINISHED: Final[LiteralString] = """
    SELECT DISTINCT a.county, a.sha256 FROM blob_announcement a
    JOIN record r ON r.county = a.county AND r.id = a.photo AND r.kind = 'photo'
    WHERE a.county = $1 AND a.noted_at IS NULL AND (a.refused IS NOT NULL OR EXISTS (
        SELECT FROM blob_sending s WHERE s.county = $1 AND s.sha256 = a.sha256 AND s.person = a.person AND s.sent_at IS NOT NULL))
    UNION
    SELECT b.county, b.sha256 FROM blob b JOIN blob_announcement a ON a.county = b.county AND a.sha256 = b.sha256
    WHERE b.county = $1 AND b.state = 'condemned'
    LIMIT 1000
"""


async def fetch_unfinished(conn: Executor, county: County) -> list[str]:
    """SHA-256 of blobs on which the worker has something to do; what a lost or skipped job left behind is among them."""
    return [row["sha256"] for row in await conn.fetch(SQL_FETCH_UNFINISHED, county)]
