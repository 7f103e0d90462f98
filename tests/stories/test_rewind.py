"""The restore drill: a backup, a day's more work, the machine is lost, the backup is restored, and phones hand in the rest.

Promise 9. The phones keep their stores and their address of the server; behind it stands another database.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from contracts.people import Role
from phone.exchange import Ended
from phone.phone import Phone
from server import backup, dumps
from server.bucket import ensure_bucket
from server.settings import BackupSettings, PgSettings, Settings
from storage.audit import audit
from tests.photo_builder import jpeg, picture
from tests.stories.day import SITE, Day, agreed, body, shared_site, sync
from tests.world import COUNTY, MORNING, PASSWORD, PASSWORD_HASH, VILLAGE_A, open_world


class Address(httpx.AsyncBaseTransport):
    """The server's address: which app answers there may change."""

    def __init__(self, day: Day) -> None:
        self.day = day

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await httpx.ASGITransport(self.day.world.app).handle_async_request(request)


class Drill(Day):
    """A day whose database may be lost."""

    settings: Settings
    folder: Path
    client: httpx.AsyncClient

    async def backed_up(self) -> Path:
        path = await asyncio.to_thread(backup.create, self.settings, self.folder, with_objects=True)
        await asyncio.to_thread(backup.verify, self.settings, path)
        return path


@pytest.fixture
async def drill(settings: Settings, tmp_path: Path) -> AsyncIterator[Drill]:
    # a bucket of its own: a backup is verified against every object in it, also those that other tests left
    own = settings.s3.model_copy(update={"bucket": f"drill-{uuid4().hex}"})
    settings = settings.model_copy(update={"backup": BackupSettings(configured=True), "s3": own})
    ensure_bucket(own)
    async with open_world(settings, tmp_path) as world:
        drill = Drill(world)
        drill.settings, drill.folder = settings, tmp_path / "backups"
        async with httpx.AsyncClient(transport=Address(drill), base_url="http://127.0.0.1") as drill.client:
            yield drill


def on(dsn: str, settings: Settings) -> Settings:
    return settings.model_copy(update={"pg": PgSettings(dsn=SecretStr(dsn), pool_size_min=0)})


def held(phone: Phone) -> list[int]:
    return [row[0] for row in phone.store.db.execute("SELECT n FROM mutation ORDER BY n")]


async def test_phones_let_go_of_nothing_before_a_backup_is_verified(drill: Drill) -> None:
    a = await drill.member("甲", client=drill.client)
    for k in range(3):
        shared_site(a, name=f"工地 {k}")
    await sync(a, a)
    assert held(a) == [1, 2, 3]
    path = await asyncio.to_thread(backup.create, drill.settings, drill.folder, with_objects=True)
    shared_site(a, name="备份之后")
    await sync(a, a)
    assert held(a) == [1, 2, 3, 4]
    await asyncio.to_thread(backup.verify, drill.settings, path)
    await sync(a, a)
    assert held(a) == [4]


@pytest.mark.parametrize("step", ["explicit", "noticed by a phone"])
async def test_the_drill(drill: Drill, empty_database: str, step: str) -> None:
    a, b = [await drill.member(name, client=drill.client) for name in ("甲", "乙")]
    c = await drill.member("丙", client=drill.client)
    early = shared_site(a, note="备份之前")
    photo = a.add_photo(early, jpeg(picture(5)))
    await sync(a, b, c)
    assert (await a.upload_photos()).received == 1
    path = await drill.backed_up()
    await sync(a, b, c)

    # more work, all of it acknowledged
    a.edit(early, {"note": "备份之后"})
    late_a = shared_site(a, name="甲后建")
    late_b = shared_site(b, name="乙后建")
    b.edit(late_b, {"note": "又改"})
    lost = shared_site(c, name="丙后建")
    await sync(a, b, c, a, b)
    assert a.unsent() == b.unsent() == c.unsent() == 0
    assert body(a, lost)["name"] == "丙后建"
    c.store.db.execute("DELETE FROM mutation")  # its owner has cleared the app, but for the receipts

    # the machine is lost
    restored = on(empty_database, drill.settings)
    if step == "explicit":
        done = await asyncio.to_thread(backup.restore, restored, path)
        assert done.incarnations[COUNTY] > 2
    else:
        await asyncio.to_thread(dumps.restore, empty_database, path / "database.dump")

    async with open_world(restored, drill.folder) as drill.world:
        drill.at(60)
        for phone in (a, b, c, a, b, c):
            await sync(phone)
        now = await drill.world.pool.fetchval("SELECT incarnation FROM county WHERE county = $1", COUNTY)
        assert now == 2 if step != "explicit" else now > 2
        for phone in (a, b, c):
            assert body(phone, early) == {**SITE, "note": "备份之后"}
            assert body(phone, late_a)["name"] == "甲后建"
            assert (body(phone, late_b)["name"], body(phone, late_b)["note"]) == ("乙后建", "又改")
            assert phone.view(photo) is not None
            assert phone.unsent() == 0
        agreed(a, b, c)
        # nobody holds what c had made: a visible hole, never waited for
        assert a.view(lost) is None
        holes = await drill.world.pool.fetchval("SELECT holes FROM device_county WHERE device = $1", c.account.device)
        assert holes == "[[1,1]]"
        again = shared_site(c, name="丙重建")
        await sync(c, a)
        assert body(a, again)["name"] == "丙重建"
        async for report in audit(drill.world.pool):
            assert report.differences == []


async def test_after_a_restore_an_older_backup_frees_no_phone(drill: Drill, empty_database: str) -> None:
    """Its numbers are of another incarnation, and may name other work."""
    a = await drill.member("甲", client=drill.client)
    shared_site(a)
    await sync(a)
    first = await asyncio.to_thread(backup.create, drill.settings, drill.folder, with_objects=False)
    restored = on(empty_database, drill.settings)
    await asyncio.to_thread(backup.restore, restored, first)
    async with open_world(restored, drill.folder) as drill.world:
        await sync(a)
        assert (await asyncio.to_thread(backup.verify, restored, first)).devices == 0
        await sync(a, a)
        assert held(a) == [1]


async def test_a_phone_that_enrolled_after_the_backup_enrols_again_and_hands_in_all_it_has(drill: Drill, empty_database: str) -> None:
    a = await drill.member("甲", client=drill.client)
    await sync(a)
    path = await drill.backed_up()
    person = await drill.world.person("乙", (Role.GRID_MEMBER, VILLAGE_A))
    await a.sync()
    b = await drill.world.phone(person, client=drill.client)
    acknowledged = shared_site(b, name="回执已到")
    await sync(b)
    unsent = shared_site(b, name="还没上传")
    restored = on(empty_database, drill.settings)
    await asyncio.to_thread(backup.restore, restored, path)
    async with open_world(restored, drill.folder) as drill.world:
        assert (await b.sync()).ended is Ended.REFUSED
        await drill.world.pool.execute(
            "INSERT INTO person (id, name, phone, password_hash) VALUES ($1, $2, $3, $4)", *person, PASSWORD_HASH
        )
        await drill.world.duty(person, Role.GRID_MEMBER, VILLAGE_A, MORNING - timedelta(days=1))
        await b.account.enrol(person.number, PASSWORD, person.name)
        await sync(b, b, a)
        assert b.unsent() == 0
        assert {body(a, site)["name"] for site in (acknowledged, unsent)} == {"回执已到", "还没上传"}
