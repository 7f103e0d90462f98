"""How far each device is with sending a photo, who has sent which bytes, and how much a person may send in a day.

The rows are in the database, and beside the originals stands a mark in S3 for each person who has sent them: a database that
was restored from a backup learns from it who need not send again (decision 0033).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, LiteralString

from contracts.ids import County, PersonId
from contracts.problems import Problem, ProblemCode
from storage.blobs import Announced, Uploader
from storage.objects import Objects, sender_key, senders_prefix, uuid_of
from storage.pool import Connection, Executor

DAY: Final = timedelta(days=1)
DAY_FULL_RETRY_SECONDS: Final = 3600
COUNTED_BYTES_MIN: Final = 64 * 1024  # each photo is work, however small it is

SQL_IS_OPEN: Final[LiteralString] = """
    SELECT EXISTS (SELECT FROM blob_sending WHERE county = $1 AND sha256 = $2 AND device = $3 AND bytes >= $4)
"""
SQL_FETCH_DAY_BYTES: Final[LiteralString] = """
    SELECT coalesce(sum(greatest(bytes, $3)), 0)::bigint FROM blob_sending WHERE person = $1 AND opened_at > $2
"""
SQL_OPEN_SENDING: Final[LiteralString] = """
    INSERT INTO blob_sending (county, sha256, device, person, bytes, opened_at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (county, sha256, device) DO UPDATE SET bytes = EXCLUDED.bytes, opened_at = EXCLUDED.opened_at
    WHERE blob_sending.bytes < EXCLUDED.bytes
"""


async def open_sending(conn: Executor, who: Uploader, said: Announced, day_bytes_max: int, now: datetime) -> None:
    """Count these bytes against the person's day, once, however often addresses are asked for. Problem: photo_day_full.

    What does not fit today stays on the phone, announced and wanted, and goes up later.
    """
    identity = (who.county, who.sha256, who.device)
    if await conn.fetchval(SQL_IS_OPEN, *identity, said.bytes):
        return
    spent = await conn.fetchval(SQL_FETCH_DAY_BYTES, who.person, now - DAY, COUNTED_BYTES_MIN)
    if spent + max(said.bytes, COUNTED_BYTES_MIN) > day_bytes_max:
        raise Problem(ProblemCode.PHOTO_DAY_FULL, retry_after_s=DAY_FULL_RETRY_SECONDS, bytes_max=day_bytes_max, spent=spent)
    await conn.execute(SQL_OPEN_SENDING, *identity, who.person, said.bytes, now)


SQL_UPDATE_COMPLETED: Final[LiteralString] = """
    UPDATE blob_sending SET completed_at = now(), reason = NULL WHERE county = $1 AND sha256 = $2 AND device = $3 AND sent_at IS NULL
"""


async def update_completed(conn: Connection, who: Uploader) -> None:
    """All parts are there, says the device: the worker shall look."""
    await conn.execute(SQL_UPDATE_COMPLETED, who.county, who.sha256, who.device)


SQL_UPDATE_ANEW: Final[LiteralString] = """
    UPDATE blob_sending SET completed_at = NULL, reason = $4 WHERE county = $1 AND sha256 = $2 AND device = $3 AND sent_at IS NULL
"""


async def update_anew(conn: Executor, who: Uploader, reason: ProblemCode) -> None:
    """The device shall send it again, and may know why."""
    await conn.execute(SQL_UPDATE_ANEW, who.county, who.sha256, who.device, reason.value)


SQL_UPDATE_SENT: Final[LiteralString] = """
    INSERT INTO blob_sending (county, sha256, device, person, bytes, opened_at, sent_at) VALUES ($1, $2, $3, $4, $5, $6, $6)
    ON CONFLICT (county, sha256, device) DO UPDATE
    SET completed_at = NULL, reason = NULL, sent_at = coalesce(blob_sending.sent_at, EXCLUDED.sent_at)
    RETURNING sent_at
"""


async def update_sent(conn: Connection, who: Uploader, size: int, now: datetime) -> datetime:
    """Verified. Returns when this device's bytes were verified first."""
    moment: datetime = await conn.fetchval(SQL_UPDATE_SENT, who.county, who.sha256, who.device, who.person, size, now)
    return moment


SQL_IS_COMPLETED: Final[LiteralString] = """
    SELECT EXISTS (SELECT FROM blob_sending WHERE county = $1 AND sha256 = $2 AND device = $3 AND completed_at IS NOT NULL)
"""


async def is_completed(conn: Executor, who: Uploader) -> bool:
    """Whether the device said that all parts are there, and nobody has looked yet."""
    return bool(await conn.fetchval(SQL_IS_COMPLETED, who.county, who.sha256, who.device))


SQL_FETCH_UNVERIFIED: Final[LiteralString] = """
    SELECT county, sha256, device, person FROM blob_sending WHERE county = $1 AND completed_at IS NOT NULL ORDER BY completed_at LIMIT 1000
"""


async def fetch_unverified(conn: Executor, county: County) -> list[Uploader]:
    """What a lost or skipped job left behind."""
    return [Uploader(**dict(row)) for row in await conn.fetch(SQL_FETCH_UNVERIFIED, county)]


# Whose turn it is: each photo of a person waits behind as many of theirs as were sent lately, weighed by what they cost.
SQL_FETCH_LATELY: Final[LiteralString] = """
    SELECT coalesce(sum(greatest(1, coalesce(p.width::float8 * p.height / $3, 1))), 0)::integer
    FROM blob_sending s LEFT JOIN picture p ON p.county = s.county AND p.sha256 = s.sha256
    WHERE s.county = $4 AND s.person = $1 AND s.opened_at > $2::timestamptz - interval '1 day' AND s.sent_at > $2
"""
LATELY: Final = timedelta(minutes=10)
ORDINARY_PIXELS: Final = 12_000_000.0
TURN_MAX: Final = 1_000_000


async def fetch_turn(conn: Executor, who: Uploader, now: datetime) -> int:
    """Priority of looking at a person's next picture: 0 or less; the more pixels of theirs there were lately, the later."""
    weight: int = await conn.fetchval(SQL_FETCH_LATELY, who.person, now - LATELY, ORDINARY_PIXELS, who.county)
    return -min(weight, TURN_MAX)


# Marks in S3


async def mark_sender(objects: Objects, who: Uploader) -> None:
    """Known to S3, too, before it is reported."""
    await objects.put(sender_key(who.county, who.sha256, who.person), b"")


async def fetch_marked(objects: Objects, county: County, sha256: str) -> set[PersonId]:
    """Who has sent these bytes, by S3's memory."""
    prefix = senders_prefix(county, sha256)
    people = (uuid_of(each.key.removeprefix(prefix)) for each in await objects.list_under(prefix))
    return {person for person in people if person is not None}


SQL_FETCH_ANNOUNCERS: Final[LiteralString] = """
    SELECT DISTINCT ON (a.person) a.county, a.sha256, a.device, a.person FROM blob_announcement a
    WHERE a.county = $1 AND a.sha256 = $2 AND NOT EXISTS (
        SELECT FROM blob_sending s WHERE s.county = a.county AND s.sha256 = a.sha256 AND s.person = a.person AND s.sent_at IS NOT NULL)
    ORDER BY a.person, a.announced_at
"""


async def fetch_unsent(conn: Executor, county: County, sha256: str) -> Sequence[Uploader]:
    """People who have announced these bytes and are not known to have sent them, each with a device."""
    return [Uploader(**dict(row)) for row in await conn.fetch(SQL_FETCH_ANNOUNCERS, county, sha256)]


SQL_COPY_SENDINGS: Final[LiteralString] = """
    INSERT INTO blob_sending (county, sha256, device, person, bytes, opened_at, sent_at)
    SELECT DISTINCT ON (t.device) t.county, t.sha256, t.device, t.person, 0, s.opened_at, s.sent_at
    FROM blob_sending s JOIN blob_announcement t ON t.county = $2 AND t.sha256 = s.sha256 AND t.person = s.person
    WHERE s.county = $1 AND s.sha256 = $3 AND s.sent_at IS NOT NULL
    ORDER BY t.device, s.sent_at
    ON CONFLICT (county, sha256, device) DO UPDATE SET sent_at = coalesce(blob_sending.sent_at, EXCLUDED.sent_at)
    RETURNING county, sha256, device, person
"""


async def copy_sendings(conn: Connection, county: County, target: County, sha256: str) -> list[Uploader]:
    """A photo's record moved to another county: what its people have sent counts there, too."""
    return [Uploader(**dict(row)) for row in await conn.fetch(SQL_COPY_SENDINGS, county, target, sha256)]
