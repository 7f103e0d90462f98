"""What becomes of a photo once it is here: renderings, evidence flags on its record, refusal of what is no picture."""

import io
import uuid
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone

import httpx
import msgspec
import pytest
from litestar import Litestar
from PIL import Image

from contracts.people import Role
from server.jobs import Work, sweep_photos
from server.settings import Settings
from server.work import open_work
from storage.children import ChildDied
from storage.objects import Objects, photo_key
from storage.photo_process import process_photo
from storage.photos import PhotoRef
from tests.api.office import TOWNSHIP, VILLAGE, World
from tests.api.photo_story import COUNTY, PhotoPhone
from tests.api.photo_work import body_of, work_off
from tests.photo_builder import bomb, jpeg, picture, sha256_of

HERE = {"lat": 32.60, "lng": 108.90, "accuracy_m": 10}
FAR = {"lat": 32.70, "lng": 108.90, "accuracy_m": 10}
CHINA = timezone(timedelta(hours=8))


@pytest.fixture
async def objects(app: Litestar) -> Objects:
    objects: Objects = app.state.resources.objects
    await objects.delete([each.key for each in await objects.list_under(f"{COUNTY}/")])
    return objects


@pytest.fixture
async def phone(world: World, objects: Objects, client: httpx.AsyncClient) -> PhotoPhone:
    return PhotoPhone(world, await world.person((Role.GRID_MEMBER, VILLAGE)), client)


@pytest.fixture
async def work(settings: Settings, app: Litestar, clock) -> AsyncIterator[Work]:
    async with open_work(settings, clock) as work:
        yield work


async def handed_in(phone: PhotoPhone, data: bytes, parent: uuid.UUID, **body: object) -> uuid.UUID:
    photo = await phone.announce(data, parent, **body)
    assert phone.outcome == "applied"
    answer = await phone.hand_in(data)
    assert answer.json()["state"] == "received", answer.text
    return photo


def taken_now(phone: PhotoPhone, **options: object) -> dict:
    """EXIF of a camera that agrees with the phone."""
    return {"taken": phone.world.clock().astimezone(CHINA), "lat": HERE["lat"], "lng": HERE["lng"], **options}


async def test_a_sound_photo_is_rendered_stamped_and_raises_no_flag(phone, pool, work, world) -> None:
    site = await phone.site(position=HERE)
    data = jpeg(picture(1, 1600, 1200), **taken_now(phone))
    photo = await handed_in(phone, data, site, position=HERE, taken=phone.capture())
    await work_off(pool, work)
    body = await body_of(pool, photo)
    assert (body["width"], body["height"], body["rendered"], body["refused"]) == (1600, 1200, True, None)
    assert body["exif_taken_at"] == "2026-06-01T16:00:00+08:00"
    assert datetime.fromisoformat(body["received_at"]) == world.clock()
    assert [flag for flag in body["flags"] if flag != "stamp_without_chinese"] == []
    for rendering, side in (("thumb_320", 320), ("thumb_1280", 1280), ("stamped", 1600)):
        path = f"/photos/v1/{COUNTY}/{sha256_of(data)}/{rendering}"
        seen = await world.client.get(path, headers=phone.someone.headers)
        assert (seen.status_code, seen.headers["content-type"]) == (200, "image/jpeg")
        with Image.open(io.BytesIO(seen.content)) as image:
            assert image.width == side


async def test_the_phone_learns_what_the_server_found_by_its_ordinary_exchange(phone, pool, work) -> None:
    photo = await handed_in(phone, jpeg(picture(1)), await phone.site())
    await work_off(pool, work)
    request = {"device": str(phone.someone.device), "contract": 1, "clock": phone.capture(), "counties": {}}
    answer = await phone.world.client.post("/sync/v1/exchange", json=request, headers=phone.someone.headers)
    frames = [msgspec.json.decode(line) for line in answer.text.splitlines()]
    records = {r["id"]: r for frame in frames if frame["frame"] == "page" for r in frame["records"]}
    assert records[str(photo)]["body"]["flags"][0] == "position_missing"
    assert records[str(photo)]["v"][1] == 2  # one edit, with history


async def test_every_doubt_is_a_flag_on_the_record(phone, pool, work) -> None:
    site = await phone.site(position=HERE)
    old = taken_now(phone) | {"taken": phone.world.clock().astimezone(CHINA) - timedelta(days=90)}
    doubtful = await handed_in(phone, jpeg(picture(1), **old), site, position=FAR | {"mocked": True}, taken=phone.capture())
    await work_off(pool, work)
    flags = set((await body_of(pool, doubtful))["flags"]) - {"stamp_without_chinese"}
    assert flags == {"taken_far_from_place", "taken_long_before_visit", "position_mocked", "exif_differs"}


async def test_a_picture_shown_before_is_told_the_same_or_near_same(phone, pool, work) -> None:
    """Three sites, one picture: the original, the very same again, and one that was saved anew and smaller."""
    first = await handed_in(phone, jpeg(picture(7, 1200, 900)), await phone.site())
    await work_off(pool, work)
    phone.world.clock.forward(minutes=1)
    again = await phone.announce(jpeg(picture(7, 1200, 900)), await phone.site())
    await phone.hand_in(jpeg(picture(7, 1200, 900)))
    near = await handed_in(phone, jpeg(picture(7, 1200, 900).resize((800, 600)), quality=50), await phone.site())
    other = await handed_in(phone, jpeg(picture(8, 1200, 900)), await phone.site())
    await work_off(pool, work)
    await sweep_photos(work)
    await work_off(pool, work)
    repeated = {"same_picture_before", "near_same_picture_before"}
    seen = [set((await body_of(pool, photo))["flags"]) & repeated for photo in (first, again, near, other)]
    assert seen == [set(), {"same_picture_before"}, {"near_same_picture_before"}, set()]


async def test_two_pictures_of_one_visit_are_no_repetition_but_an_after_that_is_the_before_is(phone, pool, work) -> None:
    site = await phone.site()
    await handed_in(phone, jpeg(picture(7, 1200, 900)), site, purpose="before")
    same_visit = await handed_in(phone, jpeg(picture(7, 1200, 900), quality=60), site, purpose="before")
    false_fix = await handed_in(phone, jpeg(picture(7, 1200, 900), quality=55), site, purpose="after")
    await work_off(pool, work)
    assert "near_same_picture_before" not in (await body_of(pool, same_visit))["flags"]
    assert "near_same_picture_before" in (await body_of(pool, false_fix))["flags"]


async def test_no_flag_tells_of_an_unannounced_visit(phone, pool, work, world, client) -> None:
    """The village shows the picture of the visit, as it is and nearly so: nothing on its records says that there was one before."""
    visitor = PhotoPhone(world, await world.person((Role.COUNTY_SUPERVISOR, str(COUNTY))), client)
    visit = uuid.uuid4()
    checklist = {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}
    body = {"unit": str(COUNTY), "subject": "construction_dust", "checklist": checklist, "secret": True}
    await visitor.push(visitor.mutation("inspection", visit, body))
    secret = await handed_in(visitor, jpeg(picture(7, 1200, 900)), visit)
    assert await pool.fetchval("SELECT stream FROM record WHERE id = $1", secret) == f"{COUNTY}.visit"
    near = await handed_in(phone, jpeg(picture(7, 1200, 900).resize((800, 600)), quality=50), await phone.site())
    await work_off(pool, work)
    same = await phone.announce(jpeg(picture(7, 1200, 900)), await phone.site())
    await phone.hand_in(jpeg(picture(7, 1200, 900)))
    other = uuid.uuid4()
    await visitor.push(visitor.mutation("inspection", other, body))
    later = await handed_in(visitor, jpeg(picture(7, 1200, 900), quality=60), other)
    await work_off(pool, work)
    await sweep_photos(work)
    await work_off(pool, work)
    repeated = {"same_picture_before", "near_same_picture_before"}
    seen = [set((await body_of(pool, photo))["flags"]) & repeated for photo in (near, same, later)]
    assert seen == [set(), {"near_same_picture_before"}, {"near_same_picture_before"}], "the village's own are compared among themselves"


@pytest.mark.parametrize(("data", "reason"), [(b"no picture" * 100, "photo_not_an_image"), (bomb(), "photo_bomb")])
async def test_what_is_no_picture_is_kept_receipted_and_refused(phone, pool, work, objects, data, reason) -> None:
    """The bytes are what was announced, so the phone is freed of them; but nobody is shown a picture."""
    photo = await handed_in(phone, data, await phone.site())
    await work_off(pool, work)
    await work_off(pool, work)
    body = await body_of(pool, photo)
    assert (body["refused"], body["rendered"], body["flags"]) == (reason, False, [])
    for path in ("uploads", "complete"):
        answer = (await phone.ask(sha256_of(data), path)).json()
        assert (answer["state"], answer["reason"], answer["receipt"]["bytes"]) == ("refused", reason, len(data))
    assert (await phone.push())["end"]["photos_wanted"] == []
    assert await objects.read(photo_key(COUNTY, sha256_of(data)), len(data)) == data


async def test_too_large_a_photo_is_told_on_the_record(phone, pool, work) -> None:
    data = jpeg(picture(1))
    photo = await phone.announce(data, await phone.site(), bytes=30 * 1024 * 1024)
    await phone.ask(sha256_of(data))
    await work_off(pool, work)
    body = await body_of(pool, photo)
    assert (body["refused"], body["received_at"]) == ("photo_too_large", None)


async def test_a_picture_that_kills_its_decoder_twice_is_refused(phone, pool, work, monkeypatch) -> None:
    photo = await handed_in(phone, jpeg(picture(1)), await phone.site())
    ref = msgspec.json.decode(await pool.fetchval("DELETE FROM pgqueuer RETURNING payload"), type=PhotoRef)

    async def die(*_: object, **__: object) -> None:
        raise ChildDied("killed", alone=True)

    monkeypatch.setattr(work.photos.images, "look_at", die)
    with pytest.raises(ChildDied):
        await process_photo(work.photos, ref)
    await process_photo(work.photos, ref)
    await work_off(pool, work)
    assert (await body_of(pool, photo))["refused"] == "photo_bomb"


async def test_repeating_the_job_changes_nothing(phone, pool, work) -> None:
    photo = await handed_in(phone, jpeg(picture(1)), await phone.site())
    ref = msgspec.json.decode(await pool.fetchval("SELECT payload FROM pgqueuer"), type=PhotoRef)
    await work_off(pool, work)
    before = await pool.fetchrow("SELECT version, body FROM record WHERE id = $1", photo)
    await pool.execute("UPDATE blob_announcement SET noted_at = NULL")  # died between the push and the mark
    await process_photo(work.photos, ref)
    assert await pool.fetchrow("SELECT version, body FROM record WHERE id = $1", photo) == before


async def test_a_photo_released_from_the_desk_is_noted_by_the_sweep(phone, pool, work, world) -> None:
    """Its bytes came while its record was held."""
    next_village = "610902101002"
    office = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP), kind="console")
    site_owner = PhotoPhone(world, await world.person((Role.GRID_MEMBER, next_village)), phone.s3)
    site = await site_owner.site(unit=next_village)
    photo = await phone.announce(jpeg(picture(1)), site)
    assert phone.outcome == "quarantined"
    assert (await phone.hand_in(jpeg(picture(1)))).json()["state"] == "received"
    await work_off(pool, work)
    path = f"/office/v1/held/{COUNTY}/{phone.someone.device}/{phone.n}/release"
    answer = await world.client.post(path, json={}, headers=office.headers)
    assert answer.json()["outcomes"][0]["outcome"] == "applied", answer.text
    assert (await body_of(pool, photo))["rendered"] is False
    await sweep_photos(work)
    await work_off(pool, work)
    assert (await body_of(pool, photo))["rendered"] is True
    await sweep_photos(work)
    assert await pool.fetchval("SELECT count(*) FROM pgqueuer") == 0


async def test_a_received_photo_that_s3_lost_is_an_alarm_not_a_refusal(phone, pool, work, objects) -> None:
    data = jpeg(picture(1))
    await handed_in(phone, data, await phone.site())
    await objects.delete([photo_key(COUNTY, sha256_of(data))])
    with pytest.raises(FileNotFoundError):
        await work_off(pool, work)
    assert await pool.fetchval("SELECT state FROM blob") == "received"


async def test_the_sweep_leaves_alone_what_was_given_up(phone, pool, work) -> None:
    await handed_in(phone, jpeg(picture(1)), await phone.site())
    await pool.execute("UPDATE pgqueuer SET status = 'failed'")
    await sweep_photos(work)
    assert [row["status"] for row in await pool.fetch("SELECT status FROM pgqueuer")] == ["failed"]
    await pool.execute("DELETE FROM pgqueuer")
    await sweep_photos(work)
    assert [row["status"] for row in await pool.fetch("SELECT status FROM pgqueuer")] == ["queued"]


@pytest.mark.parametrize("kind", ["problem", "site"])
async def test_members_that_a_newer_app_writes_do_not_stop_the_photo(phone, pool, work, kind) -> None:
    """Accepted and carried, but of no shape that this version knows (decision 0001)."""
    if kind == "site":
        parent = await phone.site(position=HERE, started_at="上午", found_at=[7])
    else:
        parent = uuid.uuid4()
        body = {
            "title": "河道倾倒",
            "subject": "river_outfall",
            "unit": VILLAGE,
            "found_at": phone.world.clock().isoformat(),
            "name": 7,
            "position": HERE,
        }
        frames = await phone.push(phone.mutation("problem", parent, body))
        assert frames["outcomes"]["outcomes"][0]["outcome"] == "applied", frames
    photo = await handed_in(phone, jpeg(picture(41), **taken_now(phone)), parent, position=HERE, taken=phone.capture())
    await work_off(pool, work)
    body = await body_of(pool, photo)
    assert (body["rendered"], [flag for flag in body["flags"] if flag != "stamp_without_chinese"]) == (True, [])
    stored = msgspec.json.decode(await pool.fetchval("SELECT body FROM record WHERE id = $1", parent))
    assert (stored["started_at"] if kind == "site" else stored["name"]) in ("上午", 7), "carried as it came"
