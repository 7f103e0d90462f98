"""One township, two villages, people with phones, an office. Everything after setting up goes over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.settings import Settings
from tests.stories.day import Day
from tests.world import open_world


@pytest.fixture
async def day(settings: Settings, tmp_path: Path) -> AsyncIterator[Day]:
    async with open_world(settings, tmp_path) as world:
        yield Day(world)
