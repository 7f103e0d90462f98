"""Transfers die at every step and are run again: nothing is there twice, nothing is lost, no count is wrong."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.ids import RecordId
from contracts.people import Role
from phone.phone import Phone
from server.settings import Settings
from storage.audit import audit
from storage.blobs import fetch_blob
from storage.objects import Objects, photo_key, rendering_key
from storage.transfers import enqueue_open
from tests.carrying import OTHER_COUNTY, OTHER_TOWNSHIP, OTHER_VILLAGE, carry_all, carry_blobs
from tests.photo_builder import jpeg, picture, sha256_of
from tests.world import COUNTY, MORNING, TOWNSHIP, VILLAGE_A, VILLAGE_B, World, open_world

SITE = {"name": "界河工地", "unit": VILLAGE_A, "subjects": ["construction_dust"]}
POINTS = ("fetched", "pushed", "marked")
BLOB_POINTS = ("copied", "noted", "received")


class Killed(Exception):
    """The worker dies here."""


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(settings, tmp_path) as world:
        yield world


def dying(at: str, on: int = 1) -> Callable[[str], None]:
    """Raises when the point is reached for the n-th time."""
    reached = 0

    def point(name: str) -> None:
        nonlocal reached
        reached += name == at
        if name == at and reached == on:
            raise Killed(name)

    return point


async def people(world: World) -> tuple[Phone, Phone]:
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
    return a, await world.phone(await world.person("镇长", (Role.TOWNSHIP_LEAD, TOWNSHIP)))


async def moved_site(world: World) -> tuple[Phone, RecordId, RecordId]:
    """A site with a photo, given away; behind it an edit and a comment that were made offline."""
    a, lead = await people(world)
    site = a.create("site", COUNTY, SITE)
    photo = a.add_photo(site, b"to be looked at elsewhere")
    await a.sync()
    await lead.sync()
    lead.edit(site, {"unit": OTHER_VILLAGE})
    a.edit(site, {"note": "一"})
    a.edit(site, {"comments": [{"id": "c1", "text": "河对岸"}]})
    await lead.sync()
    await a.sync()
    return a, site, photo


async def arrived(world: World, record: RecordId) -> list[tuple[str, str, str]]:
    rows = await world.pool.fetch(
        "SELECT op, outcome, reason FROM journal WHERE county = $1 AND record = $2 AND what = 'mutation' ORDER BY received_at, n",
        OTHER_COUNTY,
        record,
    )
    return [tuple(row) for row in rows]


async def body_there(world: World, record: RecordId) -> Any:
    text = await world.pool.fetchval("SELECT body FROM record WHERE county = $1 AND id = $2 AND NOT deleted", OTHER_COUNTY, record)
    return text and msgspec.json.decode(text)


async def assert_sound(world: World) -> None:
    async for report in audit(world.pool):
        assert report.differences == []


async def test_the_rows_are_written_by_the_push_that_plans_the_move(world: World) -> None:
    _, site, photo = await moved_site(world)
    rows = await world.pool.fetch("SELECT record, is_copy, by_system, target, done_at FROM transfer ORDER BY step")
    assert [(r["record"], r["is_copy"], r["by_system"]) for r in rows] == [
        (site, True, True),
        (photo, True, True),
        (site, False, False),
        (site, False, False),
    ]
    assert {r["target"] for r in rows} == {OTHER_COUNTY}
    queued = await world.pool.fetchval("SELECT count(*) FROM pgqueuer WHERE entrypoint = 'transfer.carry'")
    assert queued == 1


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("on", [1, 2, 3, 4])
async def test_a_job_that_dies_anywhere_ends_with_everything_there_once(world: World, point: str, on: int) -> None:
    """Promise 2."""
    a, site, photo = await moved_site(world)
    with pytest.raises(Killed):
        await carry_all(world, dying(point, on))
    await carry_all(world)
    assert [(op, outcome) for op, outcome, _ in await arrived(world, site)] == [
        ("create", "applied"),
        ("edit", "merged"),
        ("edit", "merged"),
    ]
    assert len(await arrived(world, photo)) == 1
    assert await body_there(world, site) == {
        **SITE,
        "unit": OTHER_VILLAGE,
        "note": "一",
        "comments": [{"id": "c1", "text": "河对岸", "by": str(a.account.person), "at": MORNING.isoformat()}],
    }
    persons = await world.pool.fetch("SELECT DISTINCT person FROM journal WHERE county = $1 AND what = 'mutation'", OTHER_COUNTY)
    assert [row["person"] for row in persons] == [a.account.person]
    await assert_sound(world)


async def test_every_step_dies_at_every_point_in_turn(world: World) -> None:
    _, site, _ = await moved_site(world)
    deaths = 0
    while True:
        try:
            await carry_all(world, dying(POINTS[deaths % 3]))
        except Killed:
            deaths += 1
            if deaths > 20:
                await carry_all(world)
                break
        else:
            break
    assert deaths > 3
    assert len(await arrived(world, site)) == 3
    await assert_sound(world)


async def test_a_child_that_is_still_on_its_way_home_finds_its_parent_where_that_is(world: World) -> None:
    """The way back dies between the site and its photo; meanwhile the site moves on to another village."""
    a, lead = await people(world)
    there = await world.phone(await world.person("丙镇", (Role.TOWNSHIP_LEAD, OTHER_TOWNSHIP)))
    site = a.create("site", COUNTY, SITE)
    photo = a.add_photo(site, b"goes there and back")
    await a.sync()
    await lead.sync()
    lead.edit(site, {"unit": OTHER_VILLAGE})
    await lead.sync()
    await carry_all(world)
    await there.sync()
    there.edit(photo, {"caption": "对岸所写"})
    there.edit(site, {"unit": VILLAGE_A})
    await there.sync()
    with pytest.raises(Killed):
        await carry_all(world, dying("marked"))
    await lead.sync()
    lead.edit(site, {"unit": VILLAGE_B})
    await lead.sync()
    where = "SELECT stream, deleted, moved_to, body ->> 'caption' FROM record WHERE county = $1 AND id = $2"
    assert (await world.pool.fetchrow(where, COUNTY, photo))["moved_to"] == OTHER_COUNTY
    await carry_all(world)
    assert tuple(await world.pool.fetchrow(where, COUNTY, photo)) == (f"{VILLAGE_B}.field", False, None, "对岸所写")
    await assert_sound(world)


async def test_what_is_held_there_lies_on_the_desk_once(world: World) -> None:
    a, lead = await people(world)
    site = a.create("site", COUNTY, SITE)
    await a.sync()
    await lead.sync()
    lead.edit(site, {"unit": OTHER_VILLAGE})
    a.edit(site, {"note": "长" * 5000})  # nobody looks at the values of what is forwarded; there they do not fit
    await lead.sync()
    await a.sync()
    with pytest.raises(Killed):
        await carry_all(world, dying("pushed", 2))
    await carry_all(world)
    held = await world.pool.fetch("SELECT county, outcome, reason, person, unit FROM held WHERE settled_at IS NULL")
    assert [tuple(row) for row in held] == [(OTHER_COUNTY, "quarantined", "malformed", a.account.person, OTHER_TOWNSHIP)]
    await assert_sound(world)


async def test_a_skipped_job_is_asked_for_again(world: World) -> None:
    await moved_site(world)
    await world.pool.execute("DELETE FROM pgqueuer")
    assert await enqueue_open(world.pool, COUNTY) == 1
    await carry_all(world)
    await world.pool.execute("DELETE FROM pgqueuer")
    assert await enqueue_open(world.pool, COUNTY) == 0


async def test_a_job_that_was_given_up_waits_for_a_person(world: World) -> None:
    """Asked for again every minute it would fail every minute, and leave a failed row each time."""
    await moved_site(world)
    await world.pool.execute("UPDATE pgqueuer SET status = 'failed' WHERE entrypoint = 'transfer.carry'")
    assert await enqueue_open(world.pool, COUNTY) == 0
    assert await world.pool.fetchval("SELECT count(*) FROM pgqueuer WHERE status = 'queued' AND entrypoint = 'transfer.carry'") == 0


async def test_a_settled_conflict_follows_its_record(world: World) -> None:
    """The losing value is chosen after the record has gone: it is written where the record lives now."""
    a, lead = await people(world)
    b = await world.phone(await world.person("乙", (Role.GRID_MEMBER, VILLAGE_A)))
    site = a.create("site", COUNTY, SITE)
    await a.sync()
    await b.sync()
    a.edit(site, {"note": "甲"})
    b.edit(site, {"note": "乙"})
    await a.sync()
    await b.sync()
    await lead.sync()
    lead.edit(site, {"unit": OTHER_VILLAGE})
    await lead.sync()
    lead.command(lead.conflicts()[0].id, "conflict.settle", args={"choice": "lost"})
    await lead.sync()
    assert lead.refused() == []
    await carry_all(world)
    assert (await body_there(world, site))["note"] == "甲"
    await assert_sound(world)


# -------------------------------------------------------------------------------------------------- bytes


@pytest.mark.parametrize("point", BLOB_POINTS)
async def test_the_bytes_follow_with_their_first_receipt_time(world: World, point: str) -> None:
    a, lead = await people(world)
    content = jpeg(picture(3))
    sha256 = sha256_of(content)
    site = a.create("site", COUNTY, SITE)
    a.add_photo(site, content)
    await a.sync()
    await a.upload_photos()
    objects: Objects = world.app.state.resources.objects
    await objects.put(rendering_key(COUNTY, sha256, "thumb_320.jpg"), b"small")
    await world.pool.execute(
        "INSERT INTO picture (county, sha256, format, width, height, exif, pdq, pdq_quality) "
        "VALUES ($1, $2, 'JPEG', 640, 480, '{}', 0::bit(256), 0)",
        COUNTY,
        sha256,
    )
    await lead.sync()
    lead.edit(site, {"unit": OTHER_VILLAGE})
    world.at(60)
    await lead.sync()
    assert await carry_blobs(world, objects) == 0  # the record is not there yet: nobody would know whose bytes they are
    await carry_all(world)
    with pytest.raises(Killed):
        await carry_blobs(world, objects, dying(point))
    assert await carry_blobs(world, objects) == 1
    here, there = [await fetch_blob(world.pool, county, sha256) for county in (COUNTY, OTHER_COUNTY)]
    assert here is not None
    assert there is not None
    assert there.state.value == "received"
    assert there.received_at == here.received_at
    assert await objects.read(photo_key(OTHER_COUNTY, sha256), 10**7) == content
    assert await objects.read(rendering_key(OTHER_COUNTY, sha256, "thumb_320.jpg"), 100) == b"small"
    assert await carry_blobs(world, objects) == 0


async def test_bytes_that_come_after_the_record_has_left_are_copied_then(world: World) -> None:
    a, lead = await people(world)
    content = jpeg(picture(4))
    site = a.create("site", COUNTY, SITE)
    a.add_photo(site, content)
    await a.sync()
    await lead.sync()
    lead.edit(site, {"unit": OTHER_VILLAGE})
    await lead.sync()
    await carry_all(world)
    objects: Objects = world.app.state.resources.objects
    assert await carry_blobs(world, objects) == 0
    await a.sync()
    uploaded = await a.upload_photos()
    assert uploaded.received == 1
    assert await carry_blobs(world, objects) == 1
    assert await objects.read(photo_key(OTHER_COUNTY, sha256_of(content)), 10**7) == content
    queued = await world.pool.fetchval("SELECT count(*) FROM pgqueuer WHERE dedupe_key LIKE $1", f"photo.process/{OTHER_COUNTY}/%")
    assert queued == 1
