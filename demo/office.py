"""People at a desk: what a console does over HTTP, accounts above all. Only the first account is put in directly."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
from argon2 import PasswordHasher
from uuid_utils.compat import uuid7

from contracts.people import Duty, Role
from demo.people import ADMIN_NAME, ADMIN_NUMBER, COUNTY, Member
from storage.devices import office_device
from storage.people import insert_duty, insert_person
from storage.pool import open_pool, transaction

SERVED_DAYS: Final = 200  # the admin, who was made at the command line
ENTERED_DAYS: Final = 30  # everybody else: a console enters no duty much later than it began


async def insert_admin(dsn: str, now: datetime) -> str:
    """What `create-admin` does, but at the story's time; returns the password."""
    password, person = secrets.token_urlsafe(12), uuid.uuid4()
    duty = Duty(person=person, role=Role.ADMIN, unit=str(COUNTY), starts=now - timedelta(days=SERVED_DAYS))
    async with await open_pool(dsn, size_min=0, size_max=1) as pool, transaction(pool) as conn:
        await insert_person(conn, person, ADMIN_NAME, ADMIN_NUMBER, PasswordHasher().hash(password), now)
        await insert_duty(conn, uuid.uuid4(), duty)
    return password


def own_password(member: Member) -> str:
    """What this person chooses in place of the one that the admin has seen."""
    return f"只有{member.name}自己知道"


class Office:
    """Requests that a console would make. A refusal is a broken demo: it raises."""

    def __init__(self, url: str, number: str = ADMIN_NUMBER, name: str = ADMIN_NAME) -> None:
        self.name = name
        self._client = httpx.AsyncClient(base_url=url, timeout=30)
        self._number = number
        self._password = ""
        self._device = uuid7()

    @property
    def writes_as(self) -> str:
        """The device under which the journal numbers what this console writes."""
        return str(office_device(self._device))

    async def log_in(self, password: str = "", new_password: str | None = None) -> None:
        """`password`: the first time; later the browser remembers it. `new_password`: in place of one that an admin has seen."""
        self._password = password or self._password
        device = {"id": str(self._device), "name": "办公电脑", "kind": "console"}
        body = {"phone": self._number, "password": self._password, "device": device, "new_password": new_password}
        tokens = await self.post("/auth/v1/enrol", body)
        self._password = new_password or self._password
        self._client.headers["Authorization"] = f"Bearer {tokens['access']}"

    async def create(self, member: Member, now: datetime) -> dict[str, Any]:
        """The person as made, with the password that is told once."""
        duty = {"role": member.role.value, "unit": member.unit, "starts": (now - timedelta(days=ENTERED_DAYS)).isoformat()}
        return await self.post("/people/v1/persons", {"name": member.name, "phone": member.number, "duties": [duty]})

    async def reassign(self, person: str, duty: str, role: Role, unit: str) -> None:
        """From now on."""
        await self.log_in()  # the morning's token has ended
        await self.post(f"/people/v1/duties/{duty}/end", {})
        await self.post("/people/v1/duties", {"person": person, "duty": {"role": role.value, "unit": unit}})

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return _sound(path, await self._client.post(path, json=body)).json()

    async def get(self, path: str) -> Any:
        return _sound(path, await self._client.get(path)).json()

    async def download(self, path: str) -> bytes:
        return _sound(path, await self._client.get(path)).content

    async def close(self) -> None:
        await self._client.aclose()


def _sound(path: str, answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
    return answer
