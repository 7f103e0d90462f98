"""A county with casework in it, for the tests of the office: who is there, what they hold, and short words for calls."""

import uuid
from collections.abc import Mapping
from typing import Any

import httpx

from contracts.ids import RecordId, problem_id, projection_id
from contracts.people import Role
from phone.phone import Phone
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A, VILLAGE_B, World

DUST = {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}
HERE = {"lat": 32.6953, "lng": 109.0292, "accuracy_m": 8.0}


def token_of(phone: Phone) -> str:
    return str(phone.store.db.execute("SELECT value FROM meta WHERE name = 'access'").fetchone()[0])


async def call(world: World, phone: Phone, method: str, path: str, **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token_of(phone)}", **options.pop("headers", {})}
    return await world.client.request(method, path, headers=headers, **options)


async def read(world: World, phone: Phone, path: str, **params: Any) -> Any:
    answer = await call(world, phone, "GET", path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


class Office:
    """One township with two villages, a department, and everybody's device."""

    def __init__(self, world: World, member: Phone, lead: Phone, handler: Phone, supervisor: Phone) -> None:
        self.world = world
        self.member = member
        self.lead = lead
        self.handler = handler
        self.supervisor = supervisor

    @classmethod
    async def opened(cls, world: World) -> "Office":
        async def phone(name: str, role: Role, unit: str) -> Phone:
            return await world.phone(await world.person(name, (role, unit)))

        return cls(
            world,
            await phone("甲村网格员", Role.GRID_MEMBER, VILLAGE_A),
            await phone("镇长", Role.TOWNSHIP_LEAD, TOWNSHIP),
            await phone("住建经办", Role.DEPARTMENT_STAFF, DEPARTMENT),
            await phone("县督办", Role.COUNTY_SUPERVISOR, str(COUNTY)),
        )

    async def do(self, phone: Phone, *mutations: Mapping[str, Any], county: int = COUNTY) -> list[str]:
        """Write by the console; the outcomes."""
        answer = await call(self.world, phone, "POST", "/office/v1/mutations", json={"county": county, "mutations": list(mutations)})
        assert answer.status_code == 200, answer.text
        return [o["outcome"] for o in answer.json()["outcomes"]]

    async def done(self, phone: Phone, *mutations: Mapping[str, Any]) -> None:
        """As `do`; every one is in, alone or beside other people's work."""
        assert set(await self.do(phone, *mutations)) <= {"applied", "merged"}

    async def site(self, name: str, unit: str = VILLAGE_A, **more: Any) -> RecordId:
        record = uuid.uuid4()
        body = {"name": name, "unit": unit, "subjects": ["construction_dust"], **more}
        assert await self.do(self.lead, create("site", record, body)) == ["applied"]
        return record

    async def problem(self, title: str, unit: str = VILLAGE_A, **more: Any) -> RecordId:
        """Reported and verified."""
        record = uuid.uuid4()
        body = {"title": title, "unit": unit, "subject": "construction_dust", **more}
        made = create("problem", record, body), command("problem", record, "problem.report"), command("problem", record, "problem.verify")
        assert await self.do(self.lead, *made) == ["applied"] * 3
        return record

    async def assign(self, problem: RecordId, due_on: str = "2026-12-01", *leads: str) -> None:
        fields = {"due_on": [None, due_on], "leads": [[], list(leads or (DEPARTMENT,))]}
        await self.done(self.lead, command("problem", problem, "problem.assign", fields))

    async def supervise(self, about: RecordId, colour: str, unit: str = TOWNSHIP, title: str = "督办") -> RecordId:
        record = uuid.uuid4()
        body = {
            "unit": unit,
            "colour": colour,
            "title": title,
            "issued_by_unit": str(COUNTY),
            "subject_record": str(about),
            "subject_kind": "problem",
            "grounds": {"reason": "长期未整改"},
        }
        assert await self.do(self.supervisor, create("supervision", record, body)) == ["applied"]
        return record

    async def titles(self, phone: Phone, ledger: str = "problems", **params: Any) -> list[str]:
        page = await read(self.world, phone, f"/office/v1/ledgers/{ledger}", **params)
        return [row["title"] for row in page["rows"]]


def create(kind: str, record: RecordId, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "kind": kind, "record": str(record), "op": "create", "body": dict(body)}


def command(kind: str, record: RecordId, op: str, fields: Mapping[str, Any] | None = None, **args: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "kind": kind, "record": str(record), "op": op, "fields": dict(fields or {}), "args": args}


__all__ = ["COUNTY", "DEPARTMENT", "HERE", "TOWNSHIP", "VILLAGE_A", "VILLAGE_B", "Office", "problem_id", "projection_id"]
