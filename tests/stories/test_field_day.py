"""The conflicts of a field day, told with two phones and an office: parent, A, B, expected."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.outcomes import Outcome
from contracts.people import Role
from server.settings import Settings
from tests.world import COUNTY, TOWNSHIP, VILLAGE_A, World, open_world


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(settings, tmp_path) as world:
        yield world


async def test_a_site_made_offline_reaches_a_colleague(world: World) -> None:
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
    b = await world.phone(await world.person("乙", (Role.GRID_MEMBER, VILLAGE_A)))
    site = a.create("site", COUNTY, {"name": "工地一", "unit": VILLAGE_A, "subjects": ["construction_dust"]})
    print(await a.sync())
    print(await b.sync())
    assert b.view(site).body["name"] == "工地一"
