"""The rows of photo bytes: what is announced, by whom it was sent, what is received, refused. Receipt and cleaning both lock the
blob's row.

wanted -> received                      verified: who sent it gets a receipt
received -> refused                     no picture can be made of it; the bytes stay, with their receipts
(no row) -> condemned                   the cleaner found an object nobody announced and deletes it under the lock
condemned -> received                   announced after all, and sent before or again

The bytes belong to the county, an announcement to a device, a right to the people who have sent the bytes themselves
(decision 0033): one sender's announcement or parts can neither help nor harm another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Final, LiteralString

import asyncpg
import msgspec

from contracts.ids import County, DeviceId, PersonId, RecordId, StreamName, UnitCode
from contracts.photos import WantedPhoto
from contracts.problems import ProblemCode
from storage.pool import Connection, Executor


class BlobState(str, Enum):
    WANTED = "wanted"
    RECEIVED = "received"
    REFUSED = "refused"
    CONDEMNED = "condemned"


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `bytes`: the true size, once they are here; `announced_at` of a condemned one: since when it is condemned."""

    county: County
    sha256: str
    bytes: int
    state: BlobState
    reason: str | None
    deaths: int
    announced_at: datetime
    received_at: datetime | None


class Uploader(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends which bytes, from which device."""

    county: County
    sha256: str
    device: DeviceId
    person: PersonId


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """What this person said last of the photo, and how far the sending is.

    bytes         as announced; who was right is decided by the SHA-256 in the end
    refused       why this announcement can never be met
    sent_at       the person has sent the bytes, and they were verified
    completed_at  a device of the person said that all parts are there, and the worker has yet to look
    reason        why this device must begin anew
    """

    bytes: int
    refused: str | None
    sent_at: datetime | None
    completed_at: datetime | None
    reason: str | None
    blob: Blob


SQL_FETCH_ANNOUNCED: Final[LiteralString] = """
    SELECT b.county, b.sha256, b.bytes, b.state, b.reason, b.deaths, b.announced_at, b.received_at,
           a.bytes AS announced, a.refused, s.sent_at, s.completed_at, s.reason AS anew
    FROM (SELECT bytes, refused FROM blob_announcement WHERE county = $1 AND person = $3 AND sha256 = $2
          ORDER BY (device = $4) DESC, n DESC LIMIT 1) a
    JOIN blob b ON b.county = $1 AND b.sha256 = $2
    LEFT JOIN (SELECT min(sent_at) AS sent_at, max(completed_at) AS completed_at, min(reason) FILTER (WHERE device = $4) AS reason
               FROM blob_sending WHERE county = $1 AND sha256 = $2 AND person = $3) s ON true
"""


async def fetch_announced(conn: Executor, who: Uploader) -> Announced | None:
    """None when this person has not announced these bytes in this county. Of several announcements: this device's last."""
    row = await conn.fetchrow(SQL_FETCH_ANNOUNCED, who.county, who.sha256, who.person, who.device)
    if row is None:
        return None
    return Announced(
        bytes=row["announced"],
        refused=row["refused"],
        sent_at=row["sent_at"],
        completed_at=row["completed_at"],
        reason=row["anew"],
        blob=_blob(row),
    )


SQL_UPDATE_ANNOUNCED_REFUSED: Final[LiteralString] = """
    UPDATE blob_announcement SET refused = $4 WHERE county = $1 AND sha256 = $2 AND person = $3 AND bytes = $5
"""


async def update_announced_refused(conn: Executor, who: Uploader, size: int, reason: ProblemCode) -> None:
    """What this person announced with this size is never taken. The bytes themselves may be, announced otherwise."""
    await conn.execute(SQL_UPDATE_ANNOUNCED_REFUSED, who.county, who.sha256, who.person, reason.value, size)


SQL_FETCH_BLOB: Final[LiteralString] = """
    SELECT county, sha256, bytes, state, reason, deaths, announced_at, received_at FROM blob WHERE county = $1 AND sha256 = $2
"""


async def fetch_blob(conn: Executor, county: County, sha256: str) -> Blob | None:
    """Unlocked: good for deciding what to do next, not for giving a receipt."""
    row = await conn.fetchrow(SQL_FETCH_BLOB, county, sha256)
    return _blob(row) if row else None


SQL_LOCK_BLOB: Final[LiteralString] = """
    SELECT county, sha256, bytes, state, reason, deaths, announced_at, received_at FROM blob WHERE county = $1 AND sha256 = $2 FOR UPDATE
"""


async def lock_blob(conn: Connection, county: County, sha256: str) -> Blob:
    """LookupError when there is no such row: rows are never deleted, so somebody asks for what was never announced."""
    row = await conn.fetchrow(SQL_LOCK_BLOB, county, sha256)
    if row is None:
        raise LookupError(f"no blob {county}/{sha256}")
    return _blob(row)


SQL_UPDATE_RECEIVED: Final[LiteralString] = """
    UPDATE blob SET state = 'received', bytes = $3, received_at = coalesce(received_at, $4), reason = NULL
    WHERE county = $1 AND sha256 = $2 AND state IN ('wanted', 'condemned')
"""


async def update_received(conn: Connection, blob: Blob, size: int, now: datetime) -> None:
    """Verified, and stored. The caller holds the row's lock."""
    await conn.execute(SQL_UPDATE_RECEIVED, blob.county, blob.sha256, size, now)


SQL_UPDATE_REFUSED: Final[LiteralString] = """
    UPDATE blob SET state = 'refused', reason = $3 WHERE county = $1 AND sha256 = $2 AND received_at IS NOT NULL
"""


async def update_refused(conn: Connection, blob: Blob, reason: ProblemCode) -> None:
    """No picture can be made of it. `received_at` stays: what was received is kept."""
    await conn.execute(SQL_UPDATE_REFUSED, blob.county, blob.sha256, reason.value)


SQL_COUNT_DEATH: Final[LiteralString] = "UPDATE blob SET deaths = deaths + 1 WHERE county = $1 AND sha256 = $2 RETURNING deaths"


async def count_death(conn: Executor, blob: Blob) -> int:
    """The picture has killed a decoder in which it was alone. Returns how often by now."""
    return int(await conn.fetchval(SQL_COUNT_DEATH, blob.county, blob.sha256))


SQL_INSERT_CONDEMNED: Final[LiteralString] = """
    INSERT INTO blob (county, sha256, state) SELECT $1, u, 'condemned' FROM unnest($2::text[]) u
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
    SELECT b.county, b.sha256, a.bytes, a.photo, r.parent AS record, p.body->>'unit' AS unit, a.device,
           coalesce(d.name, $6) AS device_name, o.id AS person, o.name AS person_name, a.announced_at AS since,
           coalesce((r.body ->> 'lost')::boolean, false) AS lost
    FROM blob b
    JOIN blob_announcement a ON a.county = b.county AND a.sha256 = b.sha256 AND a.refused IS NULL
    LEFT JOIN device d ON d.id = a.device
    LEFT JOIN person o ON o.id = a.person
    LEFT JOIN record r ON r.county = a.county AND r.id = a.photo
    LEFT JOIN record p ON p.county = r.county AND p.id = r.parent
    LEFT JOIN held h ON h.county = a.county AND h.device = a.device AND h.n = a.n
    WHERE b.county = $1 AND a.noted_at IS NULL
      AND NOT EXISTS (SELECT FROM blob_sending s WHERE s.county = a.county AND s.sha256 = a.sha256 AND s.person = a.person AND s.sent_at IS NOT NULL)
      AND (r.stream = ANY ($2::text[]) OR (r.id IS NULL AND h.unit = ANY ($7::text[])))
      AND (a.announced_at, a.photo) > ($3, $4)
    ORDER BY a.announced_at, a.photo
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
