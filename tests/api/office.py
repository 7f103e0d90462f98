"""What the tests of the HTTP boundary are made of: a clock, a client from any address, people and their devices."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import asyncpg
import httpx
from argon2 import PasswordHasher
from litestar import Litestar
from uuid_utils.compat import uuid7

from contracts.people import Duty, Role
from server.places import area_units, department_units, read_areas, read_zones
from storage.people import insert_duty, insert_person
from storage.units import upsert_counties, upsert_units

HANBIN = "610902"
TOWNSHIP = "610902101"  # 张滩镇, a township of Hanbin
VILLAGE = "610902101001"
OTHER_COUNTY = "610921"
HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Clock:
    """Starts at a fixed moment and moves only when told."""

    def __init__(self) -> None:
        self.at = datetime(2026, 6, 1, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **span: float) -> datetime:
        self.at += timedelta(**span)
        return self.at


def client_of(app: Litestar, address: str = "127.0.0.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=cast(Any, app), client=(address, 40000), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://xunling.test")


def every_route(app: Litestar) -> list[tuple[str, str, dict[str, Any]]]:
    """(method, path with something in place of each parameter, opt) of all routes."""
    return [
        (method, fill(route.path), handler.opt)
        for route in app.routes
        for handler in getattr(route, "route_handlers", [])
        for method in sorted(handler.http_methods - {"OPTIONS"})
    ]


def fill(path: str) -> str:
    values = {"uuid": str(uuid.UUID(int=7)), "int": "610902", "str": "x", "path": "x"}
    parts = [values[part[1:-1].partition(":")[2]] if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


@dataclass
class Someone:
    """A person with a logged-in device."""

    id: uuid.UUID
    phone: str
    password: str
    device: uuid.UUID
    access: str = ""
    refresh: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}


class World:
    def __init__(self, pool: asyncpg.Pool, client: httpx.AsyncClient, clock: Clock) -> None:
        self.pool = pool
        self.client = client
        self.clock = clock
        self.made = 0

    async def load_places(self) -> None:
        """Hanbin and Hanyin are enough, and ten times faster than all."""
        areas = area_units(read_areas(), read_zones())
        near = [u for u in areas if u.level.value in ("city", "county", "zone") or u.code.startswith(TOWNSHIP)]
        async with self.pool.acquire() as conn:
            await upsert_counties(conn, {u.county: u.name for u in near})
            await upsert_units(conn, [*near, *department_units(near)])

    async def person(
        self, *duties: tuple[Role, str], password: str = "correct horse", logged_in: bool = True, kind: str = "phone"
    ) -> Someone:
        """Someone with these duties since a year ago."""
        self.made += 1
        someone = Someone(uuid7(), f"139{self.made:08d}", password, uuid7())
        async with self.pool.acquire() as conn:
            await insert_person(conn, someone.id, f"人{self.made}", someone.phone, HASHER.hash(password), self.clock())
            for role, unit in duties:
                starts = self.clock() - timedelta(days=365)
                await insert_duty(conn, uuid7(), Duty(person=someone.id, role=role, unit=unit, starts=starts))
        if logged_in:
            await self.log_in(someone, kind=kind)
        return someone

    async def log_in(self, someone: Someone, kind: str = "phone") -> None:
        answer = await self.enrol(someone.phone, someone.password, someone.device, kind)
        assert answer.status_code == 200, answer.text
        someone.access, someone.refresh = answer.json()["access"], answer.json()["refresh"]

    async def enrol(
        self, phone: str, password: str, device: uuid.UUID, kind: str = "phone", proof: str = "", more: Any = None, **options: Any
    ) -> httpx.Response:
        """`more`: members of the request beside these (code, new_password); `options` are the client's."""
        body = {"phone": phone, "password": password, "device": {"id": str(device), "name": "测试机", "kind": kind, "proof": proof}}
        return await self.client.post("/auth/v1/enrol", json=body | (more or {}), **options)
