"""The app over real HTTP semantics, on a real database, with a clock that the test owns.

clock     what the server takes for now: `clock.forward(hours=1)`
app       the application, started
client    its HTTP client, from loopback
world     places are loaded; people are made with `await world.person(...)`
"""

from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from litestar import Litestar

from server.app import create_app
from server.settings import Settings
from tests.api.office import Clock, World, client_of


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
