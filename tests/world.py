"""A small world for stories: the real app on a real database, two villages of one township, and people with phones.

`World.at(minutes)` owns the server's time. People are put in by SQL; everything after that goes over HTTP.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
from argon2 import PasswordHasher
from litestar import Litestar

from contracts.ids import PersonId, UnitCode
from contracts.people import Role
from phone.clock import SimulatedClock
from phone.phone import Phone
from server.app import create_app
from server.settings import Settings
from storage.units import upsert_counties, upsert_units
from tests.county import COUNTY, DEPARTMENT, MORNING, TOWNSHIP, UNITS, VILLAGE_A, VILLAGE_B  # noqa: F401 - told on to stories

PASSWORD = "correct horse"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


class Person(NamedTuple):
    id: PersonId
    name: str
    number: str


class World:
    """The server and everybody who talks to it."""

    def __init__(self, app: Litestar, client: httpx.AsyncClient, pool: asyncpg.Pool, folder: Path) -> None:
        self.app = app
        self.client = client
        self.pool = pool
        self.folder = folder
        self.time = MORNING

    def at(self, minutes: float) -> None:
        """Set the server's clock to so many minutes after the morning."""
        self.time = MORNING + timedelta(minutes=minutes)

    async def person(self, name: str, *duties: tuple[Role, UnitCode], starts: datetime = MORNING - timedelta(days=30)) -> Person:
        person = Person(uuid.uuid4(), name, f"13{uuid.uuid4().int % 10**9:09d}")
        await self.pool.execute(
            "INSERT INTO person (id, name, phone, password_hash) VALUES ($1, $2, $3, $4)",
            person.id,
            name,
            person.number,
            PASSWORD_HASH,
        )
        for role, unit in duties:
            await self.duty(person, role, unit, starts)
        return person

    async def duty(self, person: Person, role: Role, unit: UnitCode, starts: datetime, ends: datetime | None = None) -> None:
        await self.pool.execute(
            "INSERT INTO duty (id, person, role, unit, starts, ends) VALUES ($1, $2, $3, $4, $5, $6)",
            uuid.uuid4(),
            person.id,
            role.value,
            unit,
            starts,
            ends,
        )

    async def phone(self, person: Person, **options: Any) -> Phone:
        """A reference phone with a store and a clock of its own, enrolled over HTTP."""
        options.setdefault("clock", SimulatedClock(lambda: int(self.time.timestamp() * 1000)))
        client = options.pop("client", self.client)
        phone = Phone(self.folder / f"{uuid.uuid4().hex}.sqlite", client, durable=False, **options)
        await phone.account.enrol(person.number, PASSWORD, person.name)
        return phone


@asynccontextmanager
async def open_world(settings: Settings, folder: Path) -> AsyncIterator[World]:
    world: World
    app = create_app(settings, now=lambda: world.time)
    async with asyncpg.create_pool(settings.pg.full_owner_dsn(), min_size=0, max_size=4) as pool, pool.acquire() as conn:
        await upsert_counties(conn, {610900: "安康市", COUNTY: "汉滨区", 610921: "汉阴县"})
        await upsert_units(conn, UNITS)
        transport = httpx.ASGITransport(app)
        async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            world = World(app, client, pool, folder)
            yield world
