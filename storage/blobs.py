"""The rows of photo bytes: what is announced, wanted, received, refused. Receipt and cleaning both lock the blob's row.

wanted -> received                      verified: from now on there is a receipt
wanted or received -> refused           no picture can be made of it; what was received stays, with its receipt
(no row) -> condemned                   the cleaner found an object nobody announced and deletes it under the lock
condemned -> received or wanted         announced after all: verified again, under the lock
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Final, LiteralString

import asyncpg
import msgspec

from contracts.ids import County, DeviceId, RecordId, StreamName, UnitCode
from contracts.photos import WantedPhoto
from contracts.problems import ProblemCode
from storage.pool import Connection, Executor


class BlobState(str, Enum):
    WANTED = "wanted"
    RECEIVED = "received"
    REFUSED = "refused"
    CONDEMNED = "condemned"


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `completed_at`: a device said that all chunks are there, and the worker has yet to look.

    announced_at    of a condemned one: since when it is condemned
    """

    county: County
    sha256: str
    bytes: int
    media_type: str
    state: BlobState
    reason: str | None
    announced_at: datetime
    received_at: datetime | None
    completed_at: datetime | None
    completed_by: DeviceId | None


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """What this device said of the photo. The blob's row may be another's, with another's mistakes in it."""

    n: int
    photo: RecordId
    bytes: int
    media_type: str
    blob: Blob


class _AnnouncedBody(msgspec.Struct, frozen=True):
    bytes: int
    media_type: str


class _AnnouncedMutation(msgspec.Struct, frozen=True):
    body: _AnnouncedBody


SQL_FETCH_ANNOUNCED: Final[LiteralString] = """
    SELECT b.county, b.sha256, b.bytes, b.media_type, b.state, b.reason, b.announced_at, b.received_at, b.completed_at, b.completed_by,
           a.n, a.photo, j.raw
    FROM blob_announcement a
    JOIN blob b ON b.county = a.county AND b.sha256 = a.sha256
    JOIN journal j ON j.county = a.county AND j.device = a.device AND j.n = a.n AND j.entry = 0
    WHERE a.county = $1 AND a.device = $2 AND a.sha256 = $3
    ORDER BY a.n DESC LIMIT 1
"""


async def fetch_announced(conn: Executor, county: County, device: DeviceId, sha256: str) -> Announced | None:
    """None when this device has not announced these bytes in this county."""
    row = await conn.fetchrow(SQL_FETCH_ANNOUNCED, county, device, sha256)
    if row is None:
        return None
    said = msgspec.json.decode(row["raw"], type=_AnnouncedMutation).body
    return Announced(n=row["n"], photo=row["photo"], bytes=said.bytes, media_type=said.media_type, blob=_blob(row))


SQL_FETCH_ANNOUNCED_BY: Final[LiteralString] = """
    SELECT device FROM blob_announcement WHERE county = $1 AND device = ANY ($2::uuid[]) AND sha256 = $3 ORDER BY announced_at DESC LIMIT 1
"""


async def fetch_announced_by(conn: Executor, county: County, devices: Sequence[DeviceId], sha256: str) -> DeviceId:
    """Which of the names under which a device writes has announced these bytes last; the first name if none has."""
    device: DeviceId | None = await conn.fetchval(SQL_FETCH_ANNOUNCED_BY, county, list(devices), sha256)
    return device or devices[0]


SQL_FETCH_ANNOUNCER: Final[LiteralString] = """
    SELECT device FROM blob_announcement WHERE county = $1 AND sha256 = $2 ORDER BY announced_at LIMIT 1
"""


async def fetch_announcer(conn: Executor, county: County, sha256: str) -> DeviceId | None:
    """The device that announced these bytes first."""
    device: DeviceId | None = await conn.fetchval(SQL_FETCH_ANNOUNCER, county, sha256)
    return device


SQL_FETCH_BLOB: Final[LiteralString] = """
    SELECT county, sha256, bytes, media_type, state, reason, announced_at, received_at, completed_at, completed_by
    FROM blob WHERE county = $1 AND sha256 = $2
"""


async def fetch_blob(conn: Executor, county: County, sha256: str) -> Blob | None:
    """Unlocked: good for deciding what to do next, not for giving a receipt."""
    row = await conn.fetchrow(SQL_FETCH_BLOB, county, sha256)
    return _blob(row) if row else None


SQL_LOCK_BLOB: Final[LiteralString] = """
    SELECT county, sha256, bytes, media_type, state, reason, announced_at, received_at, completed_at, completed_by
    FROM blob WHERE county = $1 AND sha256 = $2 FOR UPDATE
"""


async def lock_blob(conn: Connection, county: County, sha256: str) -> Blob | None:
    row = await conn.fetchrow(SQL_LOCK_BLOB, county, sha256)
    return _blob(row) if row else None


SQL_UPDATE_BYTES: Final[LiteralString] = """
    UPDATE blob SET bytes = $3, media_type = $4 WHERE county = $1 AND sha256 = $2 AND state IN ('wanted', 'condemned')
"""


async def update_bytes(conn: Connection, blob: Blob, size: int, media_type: str) -> None:
    """The size this device announced: who was right is decided by the SHA-256 in the end."""
    await conn.execute(SQL_UPDATE_BYTES, blob.county, blob.sha256, size, media_type)


SQL_UPDATE_COMPLETED: Final[LiteralString] = """
    UPDATE blob SET state = 'wanted', completed_at = now(), completed_by = $3, reason = NULL
    WHERE county = $1 AND sha256 = $2 AND state IN ('wanted', 'condemned')
"""


async def update_completed(conn: Connection, blob: Blob, device: DeviceId) -> None:
    """All parts are there, says the device: the worker shall look."""
    await conn.execute(SQL_UPDATE_COMPLETED, blob.county, blob.sha256, device)


SQL_UPDATE_WANTED: Final[LiteralString] = """
    UPDATE blob SET state = 'wanted', completed_at = NULL, completed_by = NULL, reason = $3
    WHERE county = $1 AND sha256 = $2 AND state IN ('wanted', 'condemned')
"""


async def update_wanted(conn: Connection, blob: Blob, reason: ProblemCode | None) -> None:
    """The phone shall send it again, and may know why."""
    await conn.execute(SQL_UPDATE_WANTED, blob.county, blob.sha256, reason and reason.value)


SQL_UPDATE_RECEIVED: Final[LiteralString] = """
    UPDATE blob SET state = 'received', bytes = $3, received_at = coalesce(received_at, $4), completed_at = NULL,
                    completed_by = NULL, reason = NULL
    WHERE county = $1 AND sha256 = $2
    RETURNING received_at
"""


async def update_received(conn: Connection, blob: Blob, size: int, now: datetime) -> datetime:
    """Verified. Returns when it was first received. The caller holds the row's lock."""
    moment: datetime = await conn.fetchval(SQL_UPDATE_RECEIVED, blob.county, blob.sha256, size, now)
    return moment


SQL_UPDATE_REFUSED: Final[LiteralString] = """
    UPDATE blob SET state = 'refused', reason = $3, completed_at = NULL, completed_by = NULL
    WHERE county = $1 AND sha256 = $2
"""


async def update_refused(conn: Connection, blob: Blob, reason: ProblemCode) -> None:
    """No picture can be made of it. `received_at` stays: what was received is kept."""
    await conn.execute(SQL_UPDATE_REFUSED, blob.county, blob.sha256, reason.value)


SQL_INSERT_CONDEMNED: Final[LiteralString] = """
    INSERT INTO blob (county, sha256, bytes, media_type, state) SELECT $1, u, 0, '', 'condemned' FROM unnest($2::text[]) u
    ON CONFLICT DO NOTHING
"""


async def insert_condemned(conn: Connection, county: County, sha256s: Sequence[str]) -> None:
    """Rows for objects that have none: from now on there is something to lock. They stay, as cheap tombstones."""
    await conn.execute(SQL_INSERT_CONDEMNED, county, list(sha256s))


SQL_FETCH_STATES: Final[LiteralString] = """
    SELECT sha256, state, received_at IS NOT NULL AS kept FROM blob WHERE county = $1 AND sha256 = ANY ($2::text[])
"""


async def fetch_states(conn: Executor, county: County, sha256s: Sequence[str]) -> dict[str, tuple[BlobState, bool]]:
    """sha256 -> (state, whether its bytes are kept); absent: no row."""
    rows = await conn.fetch(SQL_FETCH_STATES, county, list(sha256s))
    return {row["sha256"]: (BlobState(row["state"]), row["kept"]) for row in rows}


OFFICE_NAME: Final = "办公端"  # what is written over the office routes has a name of its own (storage/devices.py)
SQL_FETCH_WANTED: Final[LiteralString] = """
    SELECT b.county, b.sha256, b.bytes, a.photo, r.parent AS record, p.body->>'unit' AS unit, a.device,
           coalesce(d.name, $6) AS device_name, o.id AS person, o.name AS person_name, a.announced_at AS since
    FROM blob b
    JOIN blob_announcement a ON a.county = b.county AND a.sha256 = b.sha256
    LEFT JOIN device d ON d.id = a.device
    LEFT JOIN journal j ON j.county = a.county AND j.device = a.device AND j.n = a.n AND j.entry = 0
    LEFT JOIN person o ON o.id = coalesce(d.person, j.person)
    LEFT JOIN record r ON r.county = a.county AND r.id = a.photo
    LEFT JOIN record p ON p.county = r.county AND p.id = r.parent
    LEFT JOIN held h ON h.county = a.county AND h.device = a.device AND h.n = a.n
    WHERE b.county = $1 AND b.state IN ('wanted', 'condemned') AND b.state <> 'received'
      AND (r.stream = ANY ($2::text[]) OR (r.id IS NULL AND h.unit = ANY ($7::text[])))
      AND (b.announced_at, a.photo) > ($3, $4)
    ORDER BY b.announced_at, a.photo
    LIMIT $5
"""


async def fetch_wanted(
    conn: Executor, county: County, streams: Sequence[StreamName], desks: Sequence[UnitCode], after: tuple[datetime, RecordId], limit: int
) -> list[WantedPhoto]:
    """Photos in these streams, and without a record yet those that are held on these desks, that are waited for, oldest first."""
    rows = await conn.fetch(SQL_FETCH_WANTED, county, list(streams), *after, limit, OFFICE_NAME, list(desks))
    return [WantedPhoto(**dict(row)) for row in rows]


def _blob(row: asyncpg.Record) -> Blob:
    return Blob(**{name: row[name] for name in Blob.__struct_fields__ if name != "state"}, state=BlobState(row["state"]))
