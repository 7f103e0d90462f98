"""The app over real HTTP semantics, on a real database, with a clock that the test owns.

clock     what the server takes for now: `clock.forward(hours=1)`
app       the application, started
client    its HTTP client, from loopback
world     places are loaded; people are made with `await world.person(...)`
office    a world with a township's, a department's and a county's people at their consoles and phones (tests/api/casework.py)
"""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from litestar import Litestar

from server.app import create_app
from server.settings import Settings
from tests.api.casework import Office
from tests.api.office import Clock, World, client_of
from tests.world import open_world


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def app(settings: Settings, clock: Clock) -> AsyncIterator[Litestar]:
    app = create_app(settings, now=clock)
    async with app.lifespan():
        yield app


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture
async def world(pool: asyncpg.Pool, client: httpx.AsyncClient, clock: Clock) -> World:
    world = World(pool, client, clock)
    await world.load_places()
    return world


@pytest.fixture
async def office(settings: Settings, tmp_path: Path) -> AsyncIterator[Office]:
    async with open_world(settings, tmp_path) as world:
        yield await Office.opened(world)
