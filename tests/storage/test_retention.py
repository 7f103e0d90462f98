"""Closed, old records leave the phones with their children, and come home when a person works on them."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from contracts.ids import RecordId
from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from contracts.retention import RETENTION_DAYS
from phone.phone import Phone
from server.settings import Settings
from storage import retention
from storage.audit import audit
from storage.retention import archive_county
from sync.retention import CLOSED
from tests.carrying import reference, system_edit
from tests.world import COUNTY, TOWNSHIP, VILLAGE_A, World, open_world

FIELD, ARCHIVE = f"{VILLAGE_A}.field", f"{VILLAGE_A}.archive"
TASK = {"title": "查工地", "unit": VILLAGE_A}


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(settings, tmp_path) as world:
        yield world


async def people(world: World) -> tuple[Phone, Phone]:
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
    return a, await world.phone(await world.person("镇长", (Role.TOWNSHIP_LEAD, TOWNSHIP)))


async def later(world: World, days: int) -> datetime:
    """The database's own clock dates changes, so the future is reckoned from it."""
    return await world.pool.fetchval("SELECT now()") + timedelta(days=days)


async def archive(world: World, days: int = 500, records_max: int = 1000) -> int:
    return await archive_county(world.pool, await reference(world), COUNTY, RETENTION_DAYS, await later(world, days), records_max)


async def stream_of(world: World, record: RecordId) -> str:
    return await world.pool.fetchval("SELECT stream FROM record WHERE county = $1 AND id = $2", COUNTY, record)


async def finished_task(world: World, a: Phone, lead: Phone) -> RecordId:
    task = lead.create("task", COUNTY, TASK)
    await lead.sync()
    await a.sync()
    a.command(task, "task.finish", {"result": "已查"}, shows={"state": "finished"})
    await a.sync()
    return task


async def assert_sound(world: World) -> None:
    async for report in audit(world.pool):
        assert report.differences == []


async def test_a_finished_task_leaves_the_phones_and_an_open_one_stays(world: World) -> None:
    a, lead = await people(world)
    done = await finished_task(world, a, lead)
    photo = a.add_photo(done, b"after")
    open_task = lead.create("task", COUNTY, TASK)
    await a.sync()
    await lead.sync()
    assert await archive(world, days=399) == 0
    assert await archive(world) == 1
    await a.sync()
    assert a.view(done) is None
    assert a.view(photo) is None
    assert a.view(open_task) is not None
    assert {await stream_of(world, done), await stream_of(world, photo)} == {ARCHIVE}
    assert ARCHIVE not in [stream.name for stream in a.streams()]
    newcomer = await world.phone(await world.person("新", (Role.GRID_MEMBER, VILLAGE_A)))
    await newcomer.sync()
    assert newcomer.digest(FIELD) == a.digest(FIELD)
    assert [view.id for view in newcomer.records("task")] == [open_task]
    assert await archive(world) == 0
    await assert_sound(world)


async def test_a_persons_late_edit_brings_it_home_with_its_children(world: World) -> None:
    a, lead = await people(world)
    task = await finished_task(world, a, lead)
    photo = a.add_photo(task, b"after")
    await a.sync()
    edited = a.edit(task, {"note": "离线补记"})  # not sent yet
    assert await archive(world) == 1
    await a.sync()
    assert edited is not None
    assert a.find(edited).outcome is Outcome.APPLIED  # type: ignore[union-attr]
    assert a.view(task).body["note"] == "离线补记"  # type: ignore[union-attr]
    assert a.view(photo) is not None
    assert {await stream_of(world, task), await stream_of(world, photo)} == {FIELD}
    await assert_sound(world)


@pytest.mark.parametrize("late", ["caption", "another photo"])
async def test_evidence_that_comes_late_brings_its_record_home(world: World, late: str) -> None:
    a, lead = await people(world)
    task = await finished_task(world, a, lead)
    photos = [a.add_photo(task, content) for content in (b"before", b"after")]
    await a.sync()
    if late == "caption":
        a.edit(photos[0], {"caption": "围挡"})
    else:
        photos.append(a.add_photo(task, b"found in the gallery"))
    assert await archive(world) == 1
    await a.sync()
    assert a.refused() == a.waiting() == []
    assert {await stream_of(world, record) for record in (task, *photos)} == {FIELD}
    assert len(a.children(task)) == len(photos)
    await assert_sound(world)


async def test_the_server_itself_may_write_into_the_archive(world: World) -> None:
    a, lead = await people(world)
    task = await finished_task(world, a, lead)
    assert await archive(world) == 1
    outcome = await system_edit(world, COUNTY, "task", task, {"note": ("", "系统补记")})
    assert outcome.outcome in (Outcome.APPLIED, Outcome.MERGED)
    assert await stream_of(world, task) == ARCHIVE


async def test_what_somebody_has_to_decide_about_stays(world: World) -> None:
    a, lead = await people(world)
    b = await world.phone(await world.person("乙", (Role.GRID_MEMBER, VILLAGE_A)))
    task = await finished_task(world, a, lead)
    await b.sync()
    a.edit(task, {"note": "甲"})
    b.edit(task, {"note": "乙"})
    await a.sync()
    await b.sync()
    assert await archive(world) == 0
    await lead.sync()
    lead.command(lead.conflicts()[0].id, "conflict.settle", args={"choice": "kept"})
    await lead.sync()
    assert await archive(world) == 2  # the task, and the conflict that is settled
    await assert_sound(world)


async def test_a_record_that_was_written_meanwhile_is_not_archived(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and pushing, a phone comes in."""
    a, lead = await people(world)
    task = await finished_task(world, a, lead)
    push = retention.system_push_each

    async def after_a_phone(*arguments: object) -> object:
        a.edit(task, {"note": "刚补记"})
        await a.sync()
        return await push(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(retention, "system_push_each", after_a_phone)
    await archive(world)
    monkeypatch.undo()
    assert await stream_of(world, task) == FIELD
    await a.sync()
    assert a.view(task) is not None


async def test_a_run_that_dies_goes_on_where_it_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a, lead = await people(world)
    tasks = [await finished_task(world, a, lead) for _ in range(5)]
    monkeypatch.setattr(retention, "BATCH", 2)
    push, calls = retention.system_push_each, 0

    async def dies(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        done = await push(*arguments)  # type: ignore[arg-type]
        if calls == 2:
            raise ConnectionResetError
        return done

    monkeypatch.setattr(retention, "system_push_each", dies)
    with pytest.raises(ConnectionResetError):
        await archive(world)
    assert [await stream_of(world, task) for task in tasks].count(ARCHIVE) == 4
    assert await archive(world) == 1
    assert {await stream_of(world, task) for task in tasks} == {ARCHIVE}
    await assert_sound(world)


async def test_a_run_is_bounded(world: World) -> None:
    a, lead = await people(world)
    for _ in range(3):
        await finished_task(world, a, lead)
    assert [await archive(world, records_max=2) for _ in range(3)] == [2, 1, 0]


async def test_a_period_of_nothing_keeps_records_for_ever(world: World) -> None:
    a, lead = await people(world)
    await finished_task(world, a, lead)
    never = dict.fromkeys(RETENTION_DAYS, 0)
    assert await archive_county(world.pool, await reference(world), COUNTY, never, await later(world, 9999), 10) == 0


async def test_only_the_server_archives(world: World) -> None:
    a, lead = await people(world)
    task = await finished_task(world, a, lead)
    await lead.sync()
    asked = lead.command(task, "record.archive")
    await lead.sync()
    pending = lead.find(asked)
    assert pending is not None
    assert (pending.outcome, pending.reason) == (Outcome.REJECTED, Reason.NOT_YOUR_ROLE.value)
    assert await stream_of(world, task) == FIELD


def test_every_kind_that_may_be_archived_has_a_period() -> None:
    assert set(CLOSED) == set(RETENTION_DAYS)
