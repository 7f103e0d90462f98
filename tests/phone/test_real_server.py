"""The reference phone and the real server, over HTTP semantics on a real PostgreSQL and a real S3."""

import random
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.exchange import Limits
from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from phone.exchange import Ended, Pacing
from phone.faults import Fault, FaultyTransport, Killed, Loss
from phone.phone import Phone
from server.settings import Settings
from storage.photo_sendings import fetch_unverified
from storage.photos import verify_sending
from tests.photo_builder import jpeg, noise, picture
from tests.world import COUNTY, PASSWORD, TOWNSHIP, VILLAGE_A, VILLAGE_B, World, open_world

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(settings, tmp_path) as world:
        yield world


async def complete(phone: Phone) -> None:
    synced = await phone.sync()
    assert synced.ended is Ended.COMPLETE, synced


async def heads(world: World, phone: Phone) -> dict[str, tuple[int, int]]:
    rows = await world.pool.fetch("SELECT stream, count, digest FROM stream_head WHERE stream = ANY ($1::text[])", names(phone))
    return {row["stream"]: (row["count"], row["digest"]) for row in rows}


def names(phone: Phone) -> list[str]:
    return [stream.name for stream in phone.streams()]


async def assert_agrees(world: World, phone: Phone) -> None:
    """Promise 4, read from the tables of both sides."""
    assert {name: phone.digest(name) for name in names(phone)} == await heads(world, phone)
    rows = await world.pool.fetch("SELECT id, body::text AS body FROM record WHERE NOT deleted AND stream = ANY ($1::text[])", names(phone))
    held = phone.store.db.execute("SELECT record, body FROM confirmed WHERE stream IS NOT NULL").fetchall()
    assert {uuid.UUID(bytes=r): b.decode() for r, b in held} == {row["id"]: row["body"] for row in rows}


def site_body(name: str, unit: str = VILLAGE_A) -> dict[str, Any]:
    return {"name": name, "unit": unit, "subjects": ["construction_dust"]}


async def test_two_phones_hand_in_a_day_and_hold_the_same(world: World) -> None:
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)), limits=Limits(records=7), mutations_max=5)
    b = await world.phone(await world.person("乙", (Role.GRID_MEMBER, VILLAGE_A)))
    sites = [a.create("site", COUNTY, site_body(f"工地 {k}")) for k in range(23)]
    for site in sites[:5]:
        a.edit(site, {"note": "围挡破损"})
    await complete(a)
    await complete(b)
    office = await world.phone(await world.person("丙", (Role.TOWNSHIP_STAFF, TOWNSHIP)))
    await complete(office)
    office.delete(sites[20])
    await complete(office)
    assert office.refused() == []
    b.edit(sites[0], {"address": "江北"})
    a.edit(sites[0], {"contact": "张三"})
    await complete(a)
    await complete(b)
    await complete(a)
    for phone in (a, b, office):
        await complete(phone)
        await assert_agrees(world, phone)
        view = phone.view(sites[0])
        assert view is not None
        assert (view.body["address"], view.body["contact"], view.body["note"]) == ("江北", "张三", "围挡破损")
        assert phone.view(sites[20]) is None
    assert a.unsent() == b.unsent() == 0


async def test_work_without_a_duty_waits_visibly(world: World) -> None:
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
    site = a.create("site", COUNTY, site_body("别村工地", VILLAGE_B))
    a.edit(site, {"note": "等"})
    await complete(a)
    assert [(p.outcome, p.reason) for p in a.waiting()] == [
        (Outcome.QUARANTINED, Reason.NO_DUTY.value),
        (Outcome.DEFERRED, Reason.WAITS_FOR.value),
    ]
    view = a.view(site)
    assert view is not None
    assert view.waiting == (1, 2)
    await assert_agrees(world, a)


async def test_a_damaged_copy_is_repaired_by_buckets(world: World) -> None:
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
    for k in range(30):
        a.create("site", COUNTY, site_body(f"工地 {k}"))
    await complete(a)
    a.store.db.execute("DELETE FROM confirmed WHERE rowid % 7 = 0")
    a.create("site", COUNTY, site_body("新"))
    await complete(a)
    await assert_agrees(world, a)


async def test_a_stream_is_left_after_a_reassignment_and_read_again_when_it_comes_back(world: World) -> None:
    person = await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A))
    a = await world.phone(person, mutations_max=1)
    sites = [a.create("site", COUNTY, site_body(f"工地 {k}")) for k in range(3)]
    await complete(a)
    for site in sites:
        a.edit(site, {"note": "走之前"})
    await world.pool.execute("UPDATE duty SET ends = $1", world.time)
    await world.duty(person, Role.GRID_MEMBER, VILLAGE_B, world.time)
    world.at(5)
    await complete(a)
    assert a.records("site") == []
    assert f"{VILLAGE_A}.field" not in names(a)
    await assert_agrees(world, a)
    await world.duty(person, Role.GRID_MEMBER, VILLAGE_A, world.time)
    world.at(10)
    await complete(a)
    assert [view.body["note"] for view in a.records("site")] == ["走之前"] * 3
    await assert_agrees(world, a)


async def test_below_the_floor_the_stream_is_replaced_in_several_exchanges(world: World) -> None:
    person = await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A))
    a = await world.phone(person, limits=Limits(records=4))
    b = await world.phone(await world.person("丙", (Role.TOWNSHIP_STAFF, TOWNSHIP)))
    sites = [b.create("site", COUNTY, site_body(f"工地 {k}")) for k in range(15)]
    await complete(b)
    await complete(a)
    for site in sites[:6]:
        b.delete(site)
    await complete(b)
    await world.pool.execute("UPDATE stream_head SET floor = seq")
    await world.pool.execute("DELETE FROM marker")
    await complete(a)
    await assert_agrees(world, a)
    assert len(a.records("site")) == 9
    newcomer = await world.phone(person, limits=Limits(records=4))
    await complete(newcomer)
    await assert_agrees(world, newcomer)


async def test_a_photo_reaches_s3_and_may_go_after_its_receipt(world: World) -> None:
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
    site = a.create("site", COUNTY, site_body("工地"))
    content = jpeg(picture(7))
    a.add_photo(site, content, item="net")
    await complete(a)
    uploaded = await a.upload_photos()
    assert (uploaded.ended, uploaded.received) == (Ended.COMPLETE, 1), (uploaded, a.photos())
    assert [photo.held for photo in a.photos()] == [False]
    assert await world.pool.fetchval("SELECT state FROM blob") == "received"
    await complete(a)
    assert a.children(site)[0].body["bytes"] == len(content)


@pytest.mark.parametrize("relay", [True, False], ids=["relayed", "direct"])
async def test_a_large_photo_goes_on_after_every_broken_part(settings: Settings, tmp_path: Path, relay: bool) -> None:
    s3 = settings.s3.model_copy(update={"relay": relay})
    async with open_world(settings.model_copy(update={"s3": s3}), tmp_path) as world:
        resources = world.app.state.resources
        content = jpeg(noise(8 + relay, 900, 700), quality=95)

        async def worker(seconds: float) -> None:
            """While the phone waits, the worker works."""
            for who in await fetch_unverified(world.pool, COUNTY):
                await verify_sending(resources.pool, resources.objects, resources.photo_rules, who, world.time)

        puts: list[str] = []

        def every_third_put_fails(request: httpx.Request) -> Fault:
            if request.method != "PUT":
                return Fault()
            puts.append(request.url.path)
            return Fault(loss=[Loss.NONE, Loss.NONE, Loss.REQUEST, Loss.ANSWER][len(puts) % 4])

        inner = httpx.ASGITransport(world.app) if relay else httpx.AsyncHTTPTransport()
        rough = httpx.AsyncClient(transport=FaultyTransport(inner, every_third_put_fails), base_url="http://127.0.0.1" if relay else "")
        a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)), bytes_client=rough, pacing=Pacing(sleep=worker))
        site = a.create("site", COUNTY, site_body("工地"))
        a.add_photo(site, content)
        await complete(a)
        ends = []
        while not ends or ends[-1] is Ended.OFFLINE:
            ends.append((await a.upload_photos()).ended)
        assert ends[-1] is Ended.COMPLETE, (ends, a.photos())
        assert len(ends) > 2
        assert [photo.held for photo in a.photos()] == [False]
        await rough.aclose()


@pytest.mark.parametrize("seed", range(6))
async def test_kills_cuts_lost_answers_and_repeats_lose_nothing_and_do_nothing_twice(world: World, seed: int) -> None:
    """Two phones in one village on a terrible line, killed now and then; afterwards every value is where it should be."""
    dice = random.Random(seed)
    person = await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A))
    phones = [Rough(world, person.number, dice, world.folder / f"rough-{k}") for k in range(2)]
    typed: dict[uuid.UUID, str] = {}
    for step in range(40):
        rough = dice.choice(phones)
        await rough.enrolled()
        if dice.random() < 0.6:
            name = f"值 {seed}-{step}"
            typed[rough.enter(name)] = name
        else:
            await rough.sync()
    for rough in [*phones, *phones]:
        rough.calm = True
        await rough.enrolled()
        assert (await rough.sync()) is Ended.COMPLETE
    for rough in phones:
        await assert_agrees(world, rough.phone)
        assert {v.id: v.body["name"] for v in rough.phone.records("site")} == typed
        numbers = await world.pool.fetch(
            "SELECT n FROM journal WHERE device = $1 AND what = 'mutation' ORDER BY n", rough.phone.account.device
        )
        made = rough.phone.store.db.execute("SELECT coalesce(max(n_made), 0) FROM county").fetchone()[0]
        assert [row["n"] for row in numbers] == list(range(1, made + 1))
        assert made == rough.entered


class Rough:
    """A phone that is killed and cut off by the dice."""

    def __init__(self, world: World, number: str, dice: random.Random, path: Path) -> None:
        self.world, self.number, self.dice, self.path = world, number, dice, path
        self.calm = False
        self.entered = 0
        self.phone = self.open()

    def open(self) -> Phone:
        inner = httpx.ASGITransport(self.world.app)
        client = httpx.AsyncClient(transport=FaultyTransport(inner, self.fault), base_url="http://127.0.0.1")
        while True:
            try:
                return Phone(self.path, client, durable=False, crash_point=self.crash, limits=Limits(records=6), mutations_max=4)
            except Killed:
                continue

    def crash(self, name: str) -> None:
        if not self.calm and self.dice.random() < 0.01:
            raise Killed(name)

    def fault(self, request: httpx.Request) -> Fault:
        if self.calm or not request.url.path.startswith("/sync/v1/exchange"):
            return Fault()
        losses = [Loss.NONE, Loss.NONE, Loss.ANSWER, Loss.REQUEST, Loss.TWICE, Loss.CUT]
        return Fault(loss=self.dice.choice(losses), cut_after_bytes=self.dice.randrange(1500))

    async def surviving(self, action: Callable[[], Any]) -> Any:
        try:
            return await action()
        except Killed:
            self.phone.close()
            self.phone = self.open()
            return None

    async def enrolled(self) -> None:
        while self.phone.account.person is None:
            await self.surviving(lambda: self.phone.enrol(self.number, PASSWORD))

    async def sync(self) -> Ended | None:
        synced = await self.surviving(lambda: self.phone.sync())
        return None if synced is None else synced.ended

    def enter(self, name: str) -> uuid.UUID:
        self.entered += 1
        while True:
            try:
                self.phone.create("site", COUNTY, site_body(name))
            except Killed:
                self.phone.close()
                self.phone = self.open()
            row = self.phone.store.db.execute("SELECT record FROM mutation WHERE n = ?", (self.entered,)).fetchone()
            if row is not None:
                return uuid.UUID(bytes=row[0])
