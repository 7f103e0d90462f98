"""The county's administrator at a desk: accounts and duties over HTTP, as a console does it. Only the first account is put in directly."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
from argon2 import PasswordHasher

from contracts.people import Duty, Role
from demo.people import ADMIN_NAME, ADMIN_NUMBER, COUNTY, Member
from storage.people import insert_duty, insert_person
from storage.pool import open_pool, transaction

SERVED_DAYS: Final = 200  # everybody has been in office since spring


async def insert_admin(dsn: str, now: datetime) -> str:
    """What `create-admin` does, but at the story's time; returns the password."""
    password, person = secrets.token_urlsafe(12), uuid.uuid4()
    duty = Duty(person=person, role=Role.ADMIN, unit=str(COUNTY), starts=now - timedelta(days=SERVED_DAYS))
    async with await open_pool(dsn, size_min=0, size_max=1) as pool, transaction(pool) as conn:
        await insert_person(conn, person, ADMIN_NAME, ADMIN_NUMBER, PasswordHasher().hash(password), now)
        await insert_duty(conn, uuid.uuid4(), duty)
    return password


class Office:
    """Requests that a console would make. A refusal is a broken demo: it raises."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=30)
        self._password = ""
        self._device = str(uuid.uuid4())

    async def log_in(self, password: str) -> None:
        self._password = password
        device = {"id": self._device, "name": "办公电脑", "kind": "console"}
        tokens = await self._post("/auth/v1/enrol", {"phone": ADMIN_NUMBER, "password": password, "device": device})
        self._client.headers["Authorization"] = f"Bearer {tokens['access']}"

    async def create(self, member: Member, now: datetime) -> dict[str, Any]:
        """The person as made, with the password that is told once."""
        duty = {"role": member.role.value, "unit": member.unit, "starts": (now - timedelta(days=SERVED_DAYS)).isoformat()}
        return await self._post("/people/v1/persons", {"name": member.name, "phone": member.number, "duties": [duty]})

    async def reassign(self, person: str, duty: str, role: Role, unit: str) -> None:
        """From now on."""
        await self.log_in(self._password)  # the morning's token has ended
        await self._post(f"/people/v1/duties/{duty}/end", {})
        await self._post("/people/v1/duties", {"person": person, "duty": {"role": role.value, "unit": unit}})

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._client.post(path, json=body)
        if not answer.is_success:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
        return answer.json()

    async def close(self) -> None:
        await self._client.aclose()
