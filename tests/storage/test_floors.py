"""Old markers are purged and floors rise, whoever reads or writes meanwhile; a phone that stayed away loses nothing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api import exchange
from contracts.ids import RecordId
from contracts.people import Role
from phone.phone import Phone
from server.settings import Settings
from storage.audit import audit
from storage.floors import purge_county, purge_stream
from storage.pull import fetch_heads
from tests.world import COUNTY, TOWNSHIP, VILLAGE_A, World, open_world

STREAM = f"{VILLAGE_A}.field"
SITE = {"name": "工地", "unit": VILLAGE_A, "subjects": ["construction_dust"]}


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(settings, tmp_path) as world:
        yield world


async def people(world: World) -> tuple[Phone, Phone]:
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
    return a, await world.phone(await world.person("镇长", (Role.TOWNSHIP_LEAD, TOWNSHIP)))


async def deleted_sites(a: Phone, lead: Phone, count: int) -> list[RecordId]:
    sites = [lead.create("site", COUNTY, {**SITE, "name": f"工地 {k}"}) for k in range(count + 2)]
    await lead.sync()
    await a.sync()
    for site in sites[:count]:
        lead.delete(site)
    await lead.sync()
    return sites


async def now(world: World) -> datetime:
    return await world.pool.fetchval("SELECT clock_timestamp()")


async def floor_and_seq(world: World) -> tuple[int, int]:
    head = (await fetch_heads(world.pool, COUNTY, [STREAM]))[STREAM]
    return head.floor, head.seq


async def test_only_markers_go_and_the_floor_says_up_to_where(world: World) -> None:
    a, lead = await people(world)
    sites = await deleted_sites(a, lead, 3)
    between = await now(world)
    lead.delete(sites[3])
    await lead.sync()
    before = await world.pool.fetchval("SELECT count(*) FROM record")
    assert await purge_county(world.pool, COUNTY, between) == 3
    assert await world.pool.fetchval("SELECT count(*) FROM record") == before
    floor, seq = await floor_and_seq(world)
    assert await world.pool.fetchval("SELECT seq FROM marker WHERE stream = $1", STREAM) == seq
    assert floor == seq - 1
    assert await purge_county(world.pool, COUNTY, between) == 0
    async for report in audit(world.pool):
        assert report.differences == []


async def test_a_phone_that_stayed_away_reads_anew_and_loses_none_of_its_unsent_work(world: World) -> None:
    """Promises 3 and 4, from below the floor: edits of a live site, of a deleted one, and a new one."""
    a, lead = await people(world)
    sites = await deleted_sites(a, lead, 3)
    a.edit(sites[4], {"note": "一直离线"})
    a.edit(sites[0], {"note": "不知已删"})
    new = a.create("site", COUNTY, {**SITE, "name": "新工地"})
    photo = a.add_photo(new, b"unsent")
    assert len(a.records("site")) == 6
    assert await purge_county(world.pool, COUNTY, await now(world) + timedelta(days=1)) == 3
    await a.sync()
    names = {view.body["name"] for view in a.records("site")}
    assert names == {"工地 0", "工地 3", "工地 4", "新工地"}  # the edit outlives the deletion; the two others are gone
    assert a.view(sites[4]).body["note"] == "一直离线"  # type: ignore[union-attr]
    assert a.view(sites[0]).body["note"] == "不知已删"  # type: ignore[union-attr]
    assert a.view(photo) is not None
    assert a.unsent() == 0
    await lead.sync()
    assert a.digest(STREAM) == lead.digest(STREAM)


async def test_a_phone_at_the_floor_goes_on_and_one_below_it_starts_anew(world: World) -> None:
    a, lead = await people(world)
    sites = await deleted_sites(a, lead, 2)
    fresh = await world.phone(await world.person("乙", (Role.GRID_MEMBER, VILLAGE_A)))
    await fresh.sync()
    await purge_county(world.pool, COUNTY, await now(world) + timedelta(days=1))
    lead.edit(sites[3], {"note": "之后"})
    await lead.sync()
    pages = {phone: await replaced(phone) for phone in (a, fresh)}
    assert pages == {a: True, fresh: False}
    assert a.digest(STREAM) == fresh.digest(STREAM) == lead.digest(STREAM)


async def replaced(phone: Phone) -> bool:
    """Whether the stream was sent as a replacement in this sync."""
    generation = "SELECT generation FROM stream WHERE name = ?"
    before = phone.store.db.execute(generation, (STREAM,)).fetchone()
    await phone.sync()
    return phone.store.db.execute(generation, (STREAM,)).fetchone() != before


async def test_purging_is_bounded_and_raises_the_floor_with_every_step(world: World) -> None:
    a, lead = await people(world)
    await deleted_sites(a, lead, 5)
    later, floors = await now(world) + timedelta(days=1), []
    while await purge_stream(world.pool, COUNTY, STREAM, later, markers_max=2):
        floors.append((await floor_and_seq(world))[0])
        assert await world.pool.fetchval("SELECT min(seq) FROM marker WHERE stream = $1", STREAM) in (None, *range(floors[-1] + 1, 99))
    assert len(floors) == 3
    assert floors == sorted(set(floors))


async def test_a_death_before_the_commit_leaves_markers_and_floor_as_they_were(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a, lead = await people(world)
    await deleted_sites(a, lead, 2)
    before = await floor_and_seq(world)
    monkeypatch.setattr("storage.floors.SQL_RAISE_FLOOR", "SELECT $1::int, $2::text, 1 / ($3::bigint - $3::bigint)")
    with pytest.raises(Exception, match="division by zero"):
        await purge_county(world.pool, COUNTY, await now(world) + timedelta(days=1))
    assert await world.pool.fetchval("SELECT count(*) FROM marker WHERE stream = $1", STREAM) == 2
    assert await floor_and_seq(world) == before


async def test_phones_that_read_and_write_while_markers_are_purged_agree_afterwards(world: World) -> None:
    """Promise 5: somebody deletes, somebody reads, and the purge runs all the time with no age limit at all."""
    a, lead = await people(world)
    sites = [lead.create("site", COUNTY, {**SITE, "name": f"工地 {k}"}) for k in range(30)]
    await lead.sync()
    await a.sync()
    stop = asyncio.Event()

    async def purge() -> int:
        count = 0
        while not stop.is_set():
            count += await purge_county(world.pool, COUNTY, await now(world) + timedelta(days=1))
            await asyncio.sleep(0)
        return count

    async def read() -> None:
        while not stop.is_set():
            await a.sync()

    async def delete() -> None:
        for site in sites[:20]:
            lead.delete(site)
            await lead.sync()
        stop.set()

    purged, _, _ = await asyncio.gather(purge(), read(), delete())
    assert purged > 3
    await a.sync()
    await lead.sync()
    assert len(a.records("site")) == 10
    assert a.digest(STREAM) == lead.digest(STREAM)
    assert (await fetch_heads(world.pool, COUNTY, [STREAM]))[STREAM].count == 10


async def test_a_floor_that_rises_between_heads_and_pages_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange has decided to go on from the cursor; before it reads, the markers above it are purged."""
    a, lead = await people(world)
    sites = await deleted_sites(a, lead, 3)
    read, purged = exchange.fetch_pages, []

    async def after_a_purge(*arguments: Any) -> Any:
        if not purged:
            purged.append(await purge_county(world.pool, COUNTY, await now(world) + timedelta(days=1)))
        return await read(*arguments)

    monkeypatch.setattr(exchange, "fetch_pages", after_a_purge)
    synced = await a.sync()
    assert purged == [3]
    assert synced.exchanges == 1  # not only repaired afterwards, because the digests differ
    assert {view.id for view in a.records("site")} == set(sites[3:])
