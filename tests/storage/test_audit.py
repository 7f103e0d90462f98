"""The audit is quiet on a true database and names each kind of damage."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.people import Role
from server.settings import Settings
from storage.audit import CountyAudit, audit_county
from storage.pool import snapshot
from tests.world import COUNTY, TOWNSHIP, VILLAGE_A, VILLAGE_B, World, open_world


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    """A day with everything in it: chains, a merge, a conflict, a move with a photo, a deletion, held work."""
    async with open_world(settings, tmp_path) as world:
        lead = await world.phone(await world.person("镇长", (Role.TOWNSHIP_LEAD, TOWNSHIP)))
        a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
        b = await world.phone(await world.person("乙", (Role.GRID_MEMBER, VILLAGE_A)))
        site = a.create("site", COUNTY, {"name": "工地", "unit": VILLAGE_A, "subjects": ["construction_dust"]})
        a.edit(site, {"note": "一"})
        a.add_photo(site, b"not looked at here")
        a.create("site", COUNTY, {"name": "越界", "unit": VILLAGE_B, "subjects": []})
        await a.sync()
        await b.sync()
        a.edit(site, {"note": "二"})
        b.edit(site, {"note": "三", "subjects": ["construction_dust", "noise"]})
        await a.sync()
        await b.sync()
        await lead.sync()
        lead.edit(site, {"unit": VILLAGE_B})
        task = lead.create("task", COUNTY, {"title": "巡查", "unit": VILLAGE_A})
        await lead.sync()
        lead.delete(task)
        await lead.sync()
        yield world


async def audited(world: World) -> CountyAudit:
    async with snapshot(world.pool) as conn:
        return await audit_county(conn, COUNTY)


async def test_a_true_database_has_no_differences(world: World) -> None:
    report = await audited(world)
    assert report.differences == []
    assert (report.records, report.held) == (5, 1)
    assert report.entries > report.records


@pytest.mark.parametrize(
    ("damage", "what", "says"),
    [
        ("UPDATE stream_head SET count = count + 1 WHERE stream = '610902001002.field'", "head", "live records"),
        ("UPDATE stream_head SET digest = digest + 1 WHERE stream = '610902001002.field'", "head", "digest"),
        ("UPDATE stream_head SET seq = 0 WHERE stream = '610902001002.field'", "head", "a change with"),
        ("UPDATE record SET body = '{\"name\": \"x\"}' WHERE kind = 'site'", "record", "body"),
        ("UPDATE record SET crc = 1 WHERE kind = 'task'", "record", "crc"),
        ("DELETE FROM record WHERE kind = 'task'", "record", "no such record"),
        ("DELETE FROM journal WHERE kind = 'site' AND version = 2", "record", "breaks"),
        ("DELETE FROM journal WHERE entry = 0 AND n = 2 AND version IS NULL", "number", "journaled"),
        ("UPDATE held SET settled_at = now()", "desk", "settled, but"),
        ("DELETE FROM held", "desk", "on no desk"),
    ],
)
async def test_damage_is_named(world: World, damage: str, what: str, says: str) -> None:
    if "n = 2 AND version IS NULL" in damage:  # a number without a record write: the one on the desk
        damage = "DELETE FROM journal WHERE entry = 0 AND reason = 'no_duty'"
    status = await world.pool.execute(damage)
    assert not status.endswith(" 0"), "the damage must hit something"
    found = {d.what: d.says for d in (await audited(world)).differences}
    assert says in found.get(what, ""), found
