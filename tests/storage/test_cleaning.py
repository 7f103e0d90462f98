"""Cleaning takes what nothing leads to, and nothing else; a phone that announces in that very moment loses nothing."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from storage import blobs
from storage.blobs import BlobState, Uploader
from storage.cleaning import Cleaned, CleaningRules, clean_county, delete_condemned
from storage.objects import Objects, S3Access, chunk_key, photo_key, rendering_key, sender_key
from storage.photos import PhotoRules, plan_upload
from tests.photo_builder import sha256_of

COUNTY, DEVICE, PERSON = 610902, uuid.UUID(int=5), uuid.UUID(int=6)
BODY = b"the bytes of a photo"
SHA256 = sha256_of(BODY)
RULES = PhotoRules(photo_bytes_max=10**6, pixels_max=10**6)
WHO = Uploader(county=COUNTY, sha256=SHA256, device=DEVICE, person=PERSON)
SOON, LONG = timedelta(0), timedelta(days=1000)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
async def objects(s3) -> Objects:
    objects = Objects(S3Access(endpoint=s3.endpoint, bucket=s3.bucket, access_key=s3.access_key, secret_key=s3.secret_key))
    await objects.delete([each.key for each in await objects.list_under(f"{COUNTY}/")])
    return objects


async def clean(pool, objects, *, condemned_for: timedelta = SOON, abandoned: timedelta = SOON, grace: timedelta = SOON) -> Cleaned:
    rules = CleaningRules(grace=grace, condemned_for=condemned_for, chunks_abandoned=abandoned)
    return await clean_county(pool, objects, COUNTY, rules, TOMORROW)


async def row(pool: asyncpg.Pool, state: str, *, received: bool = False, completed: bool = False) -> None:
    await pool.execute(
        "INSERT INTO blob (county, sha256, bytes, state, received_at) VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN now() END)",
        COUNTY,
        SHA256,
        len(BODY),
        state,
        received,
    )
    await pool.execute(
        "INSERT INTO blob_sending (county, sha256, device, person, bytes, opened_at, sent_at, completed_at) "
        "VALUES ($1, $2, $3, $4, $5, now(), CASE WHEN $6 THEN now() END, CASE WHEN $7 THEN now() END)",
        COUNTY,
        SHA256,
        DEVICE,
        PERSON,
        len(BODY),
        received,
        completed,
    )


async def announce(pool: asyncpg.Pool) -> None:
    """As push_write does it."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("INSERT INTO blob (county, sha256) VALUES ($1, $2) ON CONFLICT DO NOTHING", COUNTY, SHA256)
        await conn.execute(
            "INSERT INTO blob_announcement (county, device, person, sha256, bytes, n, photo) VALUES ($1, $2, $3, $4, $5, 1, $6)",
            COUNTY,
            DEVICE,
            PERSON,
            SHA256,
            len(BODY),
            uuid.uuid4(),
        )


async def sent_before(objects: Objects) -> None:
    """What S3 remembers of an earlier receipt."""
    await objects.put(photo_key(COUNTY, SHA256), BODY, sha256=SHA256)
    await objects.put(sender_key(COUNTY, SHA256, PERSON), b"")


@pytest.mark.parametrize(("state", "received"), [("wanted", False), ("received", True), ("refused", True)])
async def test_an_original_with_a_row_stays(pool, objects, state, received) -> None:
    await row(pool, state, received=received)
    await objects.put(photo_key(COUNTY, SHA256), BODY)
    assert await clean(pool, objects) == Cleaned()
    assert await clean(pool, objects) == Cleaned()
    assert await objects.head(photo_key(COUNTY, SHA256))


async def test_an_original_without_a_row_is_condemned_and_much_later_deleted(pool, objects) -> None:
    await objects.put(photo_key(COUNTY, SHA256), BODY)
    assert await clean(pool, objects, grace=LONG) == Cleaned()
    assert await blobs.fetch_blob(pool, COUNTY, SHA256) is None
    for _ in range(2):
        assert await clean(pool, objects, condemned_for=LONG) == Cleaned()
        assert (await blobs.fetch_blob(pool, COUNTY, SHA256)).state is BlobState.CONDEMNED
    assert await clean(pool, objects) == Cleaned(photos=1)
    assert await objects.head(photo_key(COUNTY, SHA256)) is None


async def test_after_a_restore_an_announcement_alone_brings_the_photo_back(pool, objects) -> None:
    """The database forgot the photo, the phone forgot its bytes: S3 has them, and nobody deletes them."""
    await sent_before(objects)
    await clean(pool, objects, condemned_for=LONG)
    await announce(pool)
    assert await clean(pool, objects) == Cleaned()
    plan = await plan_upload(pool, objects, RULES, WHO, TOMORROW)
    assert (plan.state.value, plan.received_at) == ("received", TOMORROW)


async def test_after_a_restore_the_announcement_of_a_stranger_keeps_the_photo_and_opens_nothing(pool, objects) -> None:
    """He never sent these bytes: nobody deletes them meanwhile, and he has to send them."""
    await sent_before(objects)
    await clean(pool, objects, condemned_for=LONG)
    await announce(pool)
    await objects.delete([sender_key(COUNTY, SHA256, PERSON)])
    assert await clean(pool, objects) == Cleaned()
    assert (await plan_upload(pool, objects, RULES, WHO, TOMORROW)).state.value == "upload"
    assert await objects.head(photo_key(COUNTY, SHA256))


async def test_what_is_wanted_but_here_is_received_without_anybody_asking(pool, objects) -> None:
    """After a restore: the phone announced again, but has deleted the picture long ago."""
    await announce(pool)
    await sent_before(objects)
    await objects.put(photo_key(COUNTY, SHA256), BODY[:-1])
    await clean(pool, objects)
    assert (await blobs.fetch_blob(pool, COUNTY, SHA256)).state is BlobState.WANTED  # these are not the bytes
    await sent_before(objects)
    await clean(pool, objects)
    assert (await blobs.fetch_blob(pool, COUNTY, SHA256)).received_at == TOMORROW


async def test_receipt_and_cleaning_meet_at_the_row(pool, objects) -> None:
    """Both at once, many times: a receipt is given for bytes that are there afterwards, or none is given."""
    for _ in range(15):
        await pool.execute("TRUNCATE blob, blob_announcement, blob_sending, pgqueuer")
        await sent_before(objects)
        await clean(pool, objects, condemned_for=LONG)

        async def hand_in() -> object:
            await announce(pool)
            return (await plan_upload(pool, objects, RULES, WHO, TOMORROW)).state.value

        said, _ = await asyncio.gather(hand_in(), delete_condemned(pool, objects, COUNTY, SHA256, TOMORROW))
        is_there = await objects.head(photo_key(COUNTY, SHA256)) is not None
        assert said in ("received", "upload")
        assert is_there or said == "upload", said


async def test_the_cleaner_waits_for_whoever_holds_the_row(pool, objects) -> None:
    await objects.put(photo_key(COUNTY, SHA256), BODY)
    await clean(pool, objects, condemned_for=LONG)
    async with pool.acquire() as conn, conn.transaction():
        await blobs.lock_blob(conn, COUNTY, SHA256)
        cleaner = asyncio.create_task(delete_condemned(pool, objects, COUNTY, SHA256, TOMORROW))
        await asyncio.sleep(0.3)
        assert not cleaner.done()
        assert await objects.head(photo_key(COUNTY, SHA256))
        blob = await blobs.fetch_blob(conn, COUNTY, SHA256)
        await blobs.update_received(conn, blob, len(BODY), TOMORROW)
    assert await cleaner is False
    assert await objects.head(photo_key(COUNTY, SHA256))


async def test_chunks_of_one_device_do_not_keep_anothers(pool, objects) -> None:
    await row(pool, "received", received=True)
    other = uuid.UUID(int=9)
    await objects.put(chunk_key(COUNTY, SHA256, DEVICE, 0), b"x")
    await objects.put(chunk_key(COUNTY, SHA256, other, 0), b"y")
    assert await clean(pool, objects, abandoned=LONG) == Cleaned(chunks=1)
    assert [each.key for each in await objects.list_under(f"{COUNTY}/chunks/")] == [chunk_key(COUNTY, SHA256, other, 0)]


@pytest.mark.parametrize(
    ("state", "options", "abandoned", "stays"),
    [
        pytest.param("received", {"received": True}, LONG, False, id="the photo is there"),
        pytest.param("wanted", {}, LONG, True, id="on their way"),
        pytest.param("wanted", {}, SOON, False, id="abandoned"),
        pytest.param("wanted", {"completed": True}, SOON, True, id="being composed"),
        pytest.param(None, {}, LONG, True, id="nobody's, but young"),
        pytest.param(None, {}, SOON, False, id="nobody's"),
    ],
)
async def test_chunks(pool, objects, state, options, abandoned, stays) -> None:
    if state:
        await row(pool, state, **options)
    await objects.put(chunk_key(COUNTY, SHA256, DEVICE, 0), b"x")
    await objects.put(chunk_key(COUNTY, SHA256, DEVICE, 1), b"y")
    assert await clean(pool, objects, abandoned=abandoned) == Cleaned(chunks=0 if stays else 2)
    assert len(await objects.list_under(f"{COUNTY}/chunks/")) == (2 if stays else 0)


async def test_renderings_go_with_their_photo(pool, objects) -> None:
    await objects.put(rendering_key(COUNTY, SHA256, "thumb_320.jpg"), b"x")
    await objects.put(rendering_key(COUNTY, sha256_of(b"other"), "thumb_320.jpg"), b"x")
    await row(pool, "received", received=True)
    assert await clean(pool, objects) == Cleaned(renderings=1)
    assert [each.key for each in await objects.list_under(f"{COUNTY}/renderings/")] == [rendering_key(COUNTY, SHA256, "thumb_320.jpg")]


async def test_what_is_not_ours_is_left_alone(pool, objects) -> None:
    await objects.put(f"{COUNTY}/photos/readme.txt", b"x")
    await objects.put(f"{COUNTY + 1}/photos/{SHA256}", b"x")
    assert await clean(pool, objects) == Cleaned()
    assert await objects.head(f"{COUNTY}/photos/readme.txt")
    await objects.delete([f"{COUNTY + 1}/photos/{SHA256}"])


async def test_an_object_that_somebody_else_put_there_stops_nothing(pool, objects) -> None:
    strays = [f"{COUNTY}/chunks/{SHA256}", f"{COUNTY}/chunks/{SHA256}/notes/1", f"{COUNTY}/senders/{SHA256}/readme.txt"]
    for key in strays:
        await objects.put(key, b"")
    await announce(pool)
    await sent_before(objects)
    await clean(pool, objects)
    assert (await blobs.fetch_blob(pool, COUNTY, SHA256)).received_at == TOMORROW
    assert [bool(await objects.head(key)) for key in strays] == [True] * 3
