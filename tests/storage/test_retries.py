"""Planning fails once: the mutation is deferred alone, tried later and later, and what waited for it is decided after it."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.desk import DeskAction
from contracts.outcomes import Outcome
from contracts.people import Role
from phone.phone import Phone
from server.settings import Settings
from storage import push
from storage.desk import RETRY_PAUSE, decide, fetch_deferred, update_tries
from storage.office_push import SYSTEM_PERSON
from tests.carrying import reference
from tests.world import COUNTY, VILLAGE_A, World, open_world

SITE = {"name": "工地", "unit": VILLAGE_A, "subjects": ["construction_dust"]}


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(settings, tmp_path) as world:
        yield world


@pytest.fixture
async def a(world: World) -> Phone:
    return await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))


def failing_on(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning raises for whatever holds the word, unless it is told that it raised before."""
    plan = push.plan_push

    def planned(batch: Any, *rest: Any, **named: Any) -> Any:
        if any(word.encode() in incoming.raw and incoming.fault is None for incoming in batch):
            raise ZeroDivisionError("a bug nobody foresaw")
        return plan(batch, *rest, **named)

    monkeypatch.setattr(push, "plan_push", planned)


async def opened_at(world: World) -> datetime:
    return await world.pool.fetchval("SELECT min(opened_at) FROM held")


async def due(world: World, now: datetime) -> list[int]:
    return [n for _, _, n in await fetch_deferred(world.pool, 12, now, 100)]


async def test_it_is_judged_again_and_then_what_waited_for_it(world: World, a: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    before = a.create("site", COUNTY, SITE)
    failed = a.create("site", COUNTY, {**SITE, "note": "毒"})
    a.edit(failed, {"address": "江北"})
    after = a.create("site", COUNTY, {**SITE, "name": "工地二"})
    with monkeypatch.context() as patched:
        failing_on("毒", patched)
        await a.sync()
    assert [pending.outcome for pending in a.waiting()] == [Outcome.DEFERRED, Outcome.DEFERRED]
    assert {view.id for view in a.records("site") if not view.waiting} == {before, after}
    moment = await opened_at(world) + RETRY_PAUSE
    assert await due(world, moment) == [2]  # the third waits for the second, not for a try of its own
    outcomes = await decide(world.pool, await reference(world), COUNTY, a.account.device, 2, DeskAction.RETRY, SYSTEM_PERSON, moment)
    assert [outcome.outcome for outcome in outcomes] == [Outcome.APPLIED, Outcome.APPLIED]
    assert await due(world, moment + timedelta(days=9)) == []
    await a.sync()
    assert a.waiting() == []
    assert a.view(failed).body["address"] == "江北"  # type: ignore[union-attr]


async def test_every_try_waits_twice_as_long_as_the_one_before(world: World, a: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    a.create("site", COUNTY, {**SITE, "note": "毒"})
    failing_on("毒", monkeypatch)
    await a.sync()
    start = await opened_at(world)
    tries = []
    for minute in range(130):
        if await due(world, start + timedelta(minutes=minute)):
            tries.append(minute)
            await update_tries(world.pool, COUNTY, a.account.device, 1)
    assert tries == [1, 2, 4, 8, 16, 32, 64, 128]
