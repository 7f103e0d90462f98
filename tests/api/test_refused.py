"""What somebody made and the server refused for good is seen by the desk of its unit, and not by its phone alone (decision 0042)."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.outcomes import TEXT_ZH, Reason
from contracts.people import Role
from phone.phone import Phone
from server.settings import Settings
from tests.api.test_desk import call, lead_of
from tests.world import COUNTY, DEPARTMENT, MORNING, TOWNSHIP, VILLAGE_A, VILLAGE_B, World, open_world

PATH = f"/office/v1/refused/{COUNTY}"
TASK = {"title": "查看工地", "unit": VILLAGE_A}  # a grid member gives none


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(settings, tmp_path) as world:
        yield world


async def member_of(world: World, unit: str = VILLAGE_A) -> Phone:
    return await world.phone(await world.person("甲", (Role.GRID_MEMBER, unit)))


async def shown(world: World, phone: Phone, **query: str) -> dict[str, Any]:
    answer = await call(world, phone, "GET", PATH, params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_a_refused_creation_is_seen_by_the_desk_as_it_was_sent(world: World) -> None:
    lead, a = await lead_of(world), await member_of(world)
    a.create("site", COUNTY, {"name": "工地一", "unit": VILLAGE_A, "subjects": ["construction_dust"]})
    task = a.create("task", COUNTY, TASK)
    await a.sync()
    assert [one.reason for one in a.refused()] == [Reason.NOT_YOUR_ROLE]
    (item,) = (await shown(world, lead))["items"]
    assert (item["record"], item["kind"], item["n"], item["unit"]) == (str(task), "task", 2, TOWNSHIP)
    assert (item["person_name"], item["device"]) == ("甲", str(a.account.device))
    assert (item["reason"], item["message"]) == ("not_your_role", TEXT_ZH[Reason.NOT_YOUR_ROLE])
    assert item["detail"]["op"] == "create"
    assert json.loads(item["raw"])["body"] == TASK
    assert datetime.fromisoformat(item["captured_from"]) <= MORNING <= datetime.fromisoformat(item["captured_to"])
    assert (await call(world, lead, "GET", f"/office/v1/held?county={COUNTY}")).json()["items"] == []


async def test_it_is_seen_by_the_units_of_an_office_duty_alone(world: World) -> None:
    a = await member_of(world)
    a.create("task", COUNTY, TASK)
    await a.sync()
    above = await world.phone(await world.person("县", (Role.COUNTY_SUPERVISOR, str(COUNTY))))
    assert len((await shown(world, above))["items"]) == 1
    for role, unit in ((Role.GRID_MEMBER, VILLAGE_A), (Role.TOWNSHIP_LEAD, "610921100"), (Role.AUDITOR, TOWNSHIP)):
        other = await world.phone(await world.person("别人", (role, unit)))
        assert (await call(world, other, "GET", PATH)).status_code == 403
    aside = await world.phone(await world.person("局长", (Role.DEPARTMENT_LEAD, DEPARTMENT)))
    assert (await shown(world, aside))["items"] == []


async def test_the_newest_come_first_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.desk.PAGE_ROWS", 2)
    lead, a, b = await lead_of(world), await member_of(world), await member_of(world, VILLAGE_B)
    for phone, unit in ((a, VILLAGE_A), (b, VILLAGE_B), (a, VILLAGE_A), (a, VILLAGE_A)):
        phone.create("task", COUNTY, TASK | {"unit": unit})
        await phone.sync()
    pages, after = [], {}
    while True:
        page = await shown(world, lead, **after)
        pages.append([(item["device"], item["n"]) for item in page["items"]])
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    first, second = str(a.account.device), str(b.account.device)
    assert pages == [[(first, 3), (first, 2)], [(second, 1), (first, 1)], []]
    assert (await call(world, lead, "GET", PATH, params={"after": "x"})).json()["code"] == "invalid_value"


async def test_a_page_ends_by_its_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.refused.PAGE_BYTES_MAX", 10)
    lead, a = await lead_of(world), await member_of(world)
    for _ in range(2):
        a.create("task", COUNTY, TASK)
    await a.sync()
    page = await shown(world, lead)
    assert [item["n"] for item in page["items"]] == [2]
    assert [item["n"] for item in (await shown(world, lead, after=page["next"]))["items"]] == [1]


async def test_what_was_held_first_says_why_it_was_refused_and_what_a_desk_discards_is_not_here(world: World) -> None:
    lead = await lead_of(world)
    someone = await world.person("甲", (Role.GRID_MEMBER, VILLAGE_B))
    a = await world.phone(someone)
    for _ in range(2):
        a.create("task", COUNTY, TASK)
    await a.sync()
    held = (await call(world, lead, "GET", f"/office/v1/held?county={COUNTY}")).json()["items"]
    assert [(one["n"], one["reason"]) for one in held] == [(1, "no_duty"), (2, "no_duty")]
    assert (await shown(world, lead))["items"] == []
    await world.duty(someone, Role.GRID_MEMBER, VILLAGE_A, MORNING - timedelta(days=30))
    path = f"/office/v1/held/{COUNTY}/{a.account.device}"
    assert (await call(world, lead, "POST", f"{path}/1/retry", json={})).json()["outcomes"][0]["reason"] == "not_your_role"
    assert (await call(world, lead, "POST", f"{path}/2/discard", json={})).json()["outcomes"][0]["reason"] == "discarded"
    (item,) = (await shown(world, lead))["items"]
    assert (item["n"], item["reason"], json.loads(item["raw"])["body"]) == (1, "not_your_role", TASK)
