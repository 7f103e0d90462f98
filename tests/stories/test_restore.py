"""The database is put back from a backup: phones notice by their receipts and hand in again what it lost (promise 9)."""

import itertools

import asyncpg
import pytest

from contracts.outcomes import Outcome
from contracts.people import Role
from phone.exchange import Ended
from phone.wire import RefusedError
from tests.stories.day import Day, agreed, body, result, shared_site, sync
from tests.world import COUNTY, PASSWORD, VILLAGE_A

TABLES = ("county", "stream_head", "record", "marker", "journal", "device_county", "held", "blob", "blob_announcement")


class Backup:
    """All operational tables as they were, kept in the same database: what a restored backup brings back."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def take(self) -> None:
        for table in TABLES:
            await self.pool.execute(f"CREATE TABLE backup_{table} AS TABLE {table}")

    async def restore(self) -> None:
        for table in TABLES:
            await self.pool.execute(f"DELETE FROM {table}")
            await self.pool.execute(f"INSERT INTO {table} SELECT * FROM backup_{table}")


async def _incarnation(day: Day) -> int:
    return int(await day.world.pool.fetchval("SELECT incarnation FROM county WHERE county = $1", COUNTY))


async def test_a_restored_server_is_given_back_what_it_lost(day: Day) -> None:
    """Promise 9. Nobody is told, nobody presses a button: the author's next exchange is enough."""
    a, b = await day.two()
    old = shared_site(a, name="备份之前")
    await sync(a, b)
    backup = Backup(day.world.pool)
    await backup.take()
    new = shared_site(a, name="备份之后")
    a.edit(old, {"note": "备份之后的修改"})
    await sync(a, b)
    await backup.restore()
    await sync(a, b)
    for phone in (a, b):
        assert body(phone, old)["note"] == "备份之后的修改"
        assert body(phone, new)["name"] == "备份之后"
    assert await _incarnation(day) == 2
    agreed(a, b)


async def test_whoever_comes_first_after_a_restore_everybody_agrees_in_the_end(day: Day) -> None:
    """Promises 4 and 9. B, who only read, drops what the server no longer has, and gets it back when A has come."""
    backup = Backup(day.world.pool)
    a, b = await day.two()
    c = await day.member("丙")
    site = shared_site(a)
    await sync(a, b, c)
    await backup.take()
    b.edit(site, {"note": "乙备份之后"})
    lost = shared_site(a, name="备份之后")
    await sync(a, b, c)
    lives = [await _incarnation(day)]
    for order in itertools.permutations((a, b, c)):
        await backup.restore()
        for phone in (*order, *order):
            assert (await phone.sync()).ended is Ended.COMPLETE
        agreed(a, b, c)
        for phone in order:
            assert body(phone, lost)["name"] == "备份之后"
            assert body(phone, site)["note"] == "乙备份之后"
        lives.append(await _incarnation(day))
    assert lives == sorted(set(lives)), "an incarnation number was used twice"


async def test_a_restore_is_noticed_once_for_all_phones(day: Day) -> None:
    """Promise 9. The second phone with a receipt of before does not begin yet another incarnation."""
    a, b = await day.two()
    backup = Backup(day.world.pool)
    await sync(a, b)
    await backup.take()
    shared_site(a, name="甲")
    shared_site(b, name="乙")
    await sync(a, b)
    await backup.restore()
    await sync(a, b, a)
    assert await _incarnation(day) == 2
    assert {view.body["name"] for view in a.records("site")} == {"甲", "乙"}
    agreed(a, b)


async def test_an_edit_on_a_lost_version_meets_other_work_as_a_conflict(day: Day) -> None:
    """Promises 8 and 9. A base of another incarnation proves nothing: what matters is the value the author had before them."""
    a, b = await day.two()
    lead = await day.lead()
    site = shared_site(a, note="一", contact="张三")
    await sync(a, b)
    backup = Backup(day.world.pool)
    await backup.take()
    by_a = a.edit(site, {"note": "二"})
    await sync(a, b)
    by_b = b.edit(site, {"note": "三", "contact": "李四"})
    await backup.restore()
    await sync(b, a, b, lead)
    assert result(b, by_b)[0] is Outcome.APPLIED  # nobody knew yet that 二 was lost
    assert result(a, by_a)[0] is Outcome.CONFLICT  # handed in again, it meets 三
    assert {body(a, site)["note"], *(c.body["lost"] for c in lead.conflicts())} == {"二", "三"}
    assert body(a, site)["contact"] == body(b, site)["contact"] == "李四"
    agreed(a, b)


async def test_a_range_that_nobody_holds_is_a_visible_hole(day: Day) -> None:
    """Promise 9. The phone had let go of what a backup was said to have; the server goes on and says what is missing."""
    a, b = await day.two()
    first = shared_site(a, name="一")
    await sync(a, b)
    backup = Backup(day.world.pool)
    await backup.take()
    shared_site(a, name="二")
    shared_site(a, name="三")
    await sync(a, b)
    a.store.db.execute("DELETE FROM mutation WHERE n <= 2")
    await backup.restore()
    fourth = shared_site(a, name="四")
    await sync(a, b)
    holes = await day.world.pool.fetchval("SELECT holes::text FROM device_county WHERE device = $1", a.account.device)
    assert holes == "[[2,2]]"
    assert {view.body["name"] for view in b.records("site")} == {"一", "三", "四"}
    assert body(b, first)["name"] == "一"
    assert not a.view(fourth).unsent  # type: ignore[union-attr]
    agreed(a, b)


async def test_who_is_newer_than_the_backup_gets_an_account_again_and_hands_in_everything(day: Day) -> None:
    """Promise 9. Neither the person nor the device is known to the restored server; what they acknowledged is on the phone."""
    a = await day.member("甲")
    await sync(a)
    backup = Backup(day.world.pool)
    await backup.take()
    new = await day.world.person("丁", (Role.GRID_MEMBER, VILLAGE_A))
    d = await day.world.phone(new)
    site = shared_site(d, name="备份之后的人建的")
    await sync(d, a)
    await backup.restore()
    await day.world.pool.execute("DELETE FROM token WHERE device = $1", d.account.device)
    for table in ("device", "duty"):
        await day.world.pool.execute(f"DELETE FROM {table} WHERE person = $1", new.id)
    await day.world.pool.execute("DELETE FROM person WHERE id = $1", new.id)
    refused = await d.sync()
    assert (refused.ended, refused.code) == (Ended.REFUSED, "not_authenticated")
    with pytest.raises(RefusedError, match="401 wrong_credentials"):
        await d.enrol(new.number, PASSWORD, "丁")
    again = await day.world.person("丁", (Role.GRID_MEMBER, VILLAGE_A))
    await d.enrol(again.number, PASSWORD, "丁")
    edit = d.edit(site, {"note": "之后"})
    await sync(d, a)
    assert result(d, edit)[0] is Outcome.APPLIED
    assert body(a, site)["name"] == "备份之后的人建的"
    assert body(a, site)["note"] == "之后"
    agreed(a, d)
