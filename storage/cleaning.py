"""Cleaning S3 of what nothing leads to. What a phone has announced is never an orphan: it stays wanted, and visible.

    photos/      an object without a row: condemned (a row appears), and deleted much later under that row's lock
    chunks/      of a photo that is received, or of an upload nobody went on with for long
    renderings/  of a hash without a row

An original without a row is not rubbish yet: after a restore from a backup the phones announce again what the database
has lost, but may have deleted the picture, for which they had a receipt. So it stays condemned for half a year, and an
announcement reprieves it (storage/photos.py) without another upload. One that is wanted though it is here is received, even
if no phone asks. Receipt and deletion lock the same row.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Final, LiteralString

import msgspec
import structlog

from contracts.ids import County, DeviceId
from storage import blobs
from storage.blobs import BlobState
from storage.objects import Objects, StoredObject, photo_key, senders_prefix, uuid_of
from storage.photos import restore_senders
from storage.pool import Executor, Pool, transaction

SHA256_CHARACTERS: Final = 64

log = structlog.get_logger("xunling.cleaning")


class CleaningRules(msgspec.Struct, frozen=True, kw_only=True):
    """`grace`: what is younger may be on its way. `condemned_for`: how long an original may be announced after all.

    chunks_abandoned    an upload that did not go on for so long; the photo stays wanted
    """

    grace: timedelta = timedelta(days=1)
    condemned_for: timedelta = timedelta(days=180)  # as long as a phone's log-in lasts without use
    chunks_abandoned: timedelta = timedelta(days=90)


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """How many objects were deleted."""

    photos: int = 0
    chunks: int = 0
    renderings: int = 0


SQL_FETCH_COUNTIES: Final[LiteralString] = "SELECT county FROM county ORDER BY county"


async def fetch_counties(conn: Executor) -> list[County]:
    """All partitions."""
    return [row["county"] for row in await conn.fetch(SQL_FETCH_COUNTIES)]


async def clean_county(pool: Pool, objects: Objects, county: County, rules: CleaningRules, now: datetime) -> Cleaned:
    """Look at every object of a county once. Safe to stop and repeat anywhere."""
    photos = chunks = renderings = 0
    async for page in pages(objects, f"{county}/photos/", now - rules.grace):
        await receive_kept(pool, objects, county, page, now)
        photos += await clean_photos(pool, objects, county, page, now - rules.condemned_for)
    async for page in pages(objects, f"{county}/chunks/", now - rules.grace):
        chunks += await clean_chunks(pool, objects, county, page, now - rules.chunks_abandoned)
    async for page in pages(objects, f"{county}/renderings/", now - rules.grace):
        renderings += await clean_renderings(pool, objects, county, page)
    cleaned = Cleaned(photos=photos, chunks=chunks, renderings=renderings)
    if cleaned != Cleaned():
        log.info("cleaned", county=county, photos=photos, chunks=chunks, renderings=renderings)
    return cleaned


async def pages(objects: Objects, prefix: str, older_than: datetime) -> AsyncIterator[dict[str, list[StoredObject]]]:
    """All old objects below a prefix, by the SHA-256 in their key; keys of another shape are not ours to judge."""
    after = ""
    while page := await objects.list_page(prefix, after):
        after = page[-1].key
        found: dict[str, list[StoredObject]] = {}
        for each in page:
            sha256 = each.key.removeprefix(prefix).partition("/")[0]
            if each.modified < older_than and len(sha256) == SHA256_CHARACTERS:
                found.setdefault(sha256, []).append(each)
        yield found


async def receive_kept(pool: Pool, objects: Objects, county: County, page: dict[str, list[StoredObject]], now: datetime) -> None:
    """Originals that are waited for and yet are here, whole: who has sent them before need not send them again."""
    states = await blobs.fetch_states(pool, county, list(page))
    for sha256, (state, _) in states.items():
        if state is BlobState.WANTED:
            await restore_senders(pool, objects, county, sha256, now)


async def clean_photos(
    pool: Pool, objects: Objects, county: County, page: dict[str, list[StoredObject]], condemned_before: datetime
) -> int:
    """Condemn originals without a row; delete those condemned long ago."""
    states = await blobs.fetch_states(pool, county, list(page))
    missing = [sha256 for sha256 in page if sha256 not in states]
    async with transaction(pool) as conn:
        await blobs.insert_condemned(conn, county, missing)
    condemned = [sha256 for sha256, (state, _) in states.items() if state is BlobState.CONDEMNED]
    return sum([await delete_condemned(pool, objects, county, sha256, condemned_before) for sha256 in condemned])


SQL_IS_ANNOUNCED: Final[LiteralString] = "SELECT EXISTS (SELECT 1 FROM blob_announcement WHERE county = $1 AND sha256 = $2)"


async def delete_condemned(pool: Pool, objects: Objects, county: County, sha256: str, condemned_before: datetime) -> bool:
    """Delete one original, if it is condemned still, with the row locked: no receipt can be given meanwhile."""
    async with transaction(pool) as conn:
        blob = await blobs.lock_blob(conn, county, sha256)
        if blob.state is not BlobState.CONDEMNED or blob.announced_at >= condemned_before:
            return False
        if await conn.fetchval(SQL_IS_ANNOUNCED, county, sha256):
            return False
        marks = await objects.list_under(senders_prefix(county, sha256))
        await objects.delete([photo_key(county, sha256), *(each.key for each in marks)])
        return True


async def clean_chunks(
    pool: Pool, objects: Objects, county: County, page: dict[str, list[StoredObject]], abandoned_before: datetime
) -> int:
    """Chunks of devices whose bytes were verified, and those abandoned. Under the lock: nobody may be composing them."""
    count = 0
    for sha256, chunks in page.items():
        by_device: dict[str, list[StoredObject]] = {}
        for each in chunks:
            by_device.setdefault(each.key.split("/")[-2], []).append(each)
        for name, parts in by_device.items():
            if (device := uuid_of(name)) is not None:
                count += await clean_device_chunks(pool, objects, (county, sha256, device), parts, abandoned_before)
    return count


SQL_LOCK_SENDING: Final[LiteralString] = """
    SELECT completed_at IS NOT NULL AS completed, sent_at IS NOT NULL AS sent FROM blob_sending
    WHERE county = $1 AND sha256 = $2 AND device = $3 FOR UPDATE
"""


async def clean_device_chunks(
    pool: Pool, objects: Objects, photo: tuple[County, str, DeviceId], chunks: Sequence[StoredObject], abandoned_before: datetime
) -> int:
    async with transaction(pool) as conn:
        sending = await conn.fetchrow(SQL_LOCK_SENDING, *photo)
        if sending and sending["completed"]:
            return 0
        if not (sending and sending["sent"]) and max(each.modified for each in chunks) >= abandoned_before:
            return 0
        await objects.delete([each.key for each in chunks])
        return len(chunks)


async def clean_renderings(pool: Pool, objects: Objects, county: County, page: dict[str, list[StoredObject]]) -> int:
    """Renderings of a hash that no row knows; they can be made anew at any time."""
    states = await blobs.fetch_states(pool, county, list(page))
    stale = [each.key for sha256, found in page.items() if not states.get(sha256, (None, False))[1] for each in found]
    await objects.delete(stale)
    return len(stale)
