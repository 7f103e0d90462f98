"""A county that draws: a supervisor who issues, an auditor as the second party, two departments, sites, a township that must not know."""

import uuid
from pathlib import Path
from typing import Any

import httpx

from contracts.people import Level, Role, Unit
from phone.phone import Phone
from storage.units import upsert_units
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A, VILLAGE_B, Person, World

WATER = "610902-water_bureau"
ISSUER = "610902"
NONCE = "4f1d8c22e0b94c6fa7d35a10"
TITLE = "扬尘专项双随机"


class Drawing:
    """Everybody, with their phones; `call` is a console request with a phone's token."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.draw = uuid.uuid4()
        self.sites: list[str] = []
        self.inspectors: list[tuple[Person, str]] = []

    async def set_up(self) -> "Drawing":
        async with self.world.pool.acquire() as conn:
            await upsert_units(conn, [Unit(code=WATER, county=COUNTY, parent=ISSUER, level=Level.DEPARTMENT, name="区水利局")])
        world = self.world
        self.supervisor = await world.phone(await world.person("督办", (Role.COUNTY_SUPERVISOR, ISSUER)))
        self.second_supervisor = await world.phone(await world.person("督办二", (Role.COUNTY_SUPERVISOR, ISSUER)))
        self.auditor = await world.phone(await world.person("审计", (Role.AUDITOR, ISSUER)))
        self.lead = await world.phone(await world.person("镇办", (Role.TOWNSHIP_LEAD, TOWNSHIP)))
        self.member = await world.phone(await world.person("网格员", (Role.GRID_MEMBER, VILLAGE_A)))
        for k in range(4):
            unit = (DEPARTMENT, WATER)[k % 2]
            self.inspectors.append((await world.person(f"检查员{k}", (Role.DEPARTMENT_STAFF, unit)), unit))
        self.sites = [
            str(
                self.lead.create(
                    "site", COUNTY, {"name": f"工地{k}", "unit": (VILLAGE_A, VILLAGE_B)[k % 2], "subjects": ["construction_dust"]}
                )
            )
            for k in range(6)
        ]
        await self.lead.sync()
        return self

    async def call(self, phone: Phone, method: str, path: str, **options: Any) -> httpx.Response:
        token = phone.store.db.execute("SELECT value FROM meta WHERE name = 'access'").fetchone()[0]
        return await self.world.client.request(method, path, headers={"Authorization": f"Bearer {token}"}, **options)

    def wanted(self, **changed: Any) -> dict[str, Any]:
        """A joint draw of two sites, each with one inspector of either department."""
        return {
            "draw": str(self.draw),
            "unit": ISSUER,
            "title": TITLE,
            "sites": [{"id": site, "county": COUNTY, "weight": k + 1, "why": "风险等级"} for k, site in enumerate(self.sites)],
            "inspectors": [{"id": str(person.id), "unit": unit} for person, unit in self.inspectors],
            "exclusions": [{"reason": "conflict_of_interest", "site": self.sites[0], "inspector": str(self.inspectors[0][0].id)}],
            "rules": {"sites": 2, "team_size": 2, "visits_max": 1, "departments": [DEPARTMENT, WATER]},
        } | changed

    def path(self, act: str = "") -> str:
        return f"/office/v1/draws/{COUNTY}/{self.draw}{'/' + act if act else ''}"

    async def act(self, phone: Phone, act: str, **body: Any) -> httpx.Response:
        return await self.call(phone, "POST", self.path(act), json=body)

    async def prepared(self, **changed: Any) -> "Drawing":
        answer = await self.call(self.supervisor, "POST", "/office/v1/draws", json=self.wanted(**changed))
        assert answer.status_code == 201, answer.text
        return self

    async def committed(self, **changed: Any) -> str:
        await self.prepared(**changed)
        return await self.commits()

    async def commits(self) -> str:
        answer = await self.act(self.supervisor, "commit")
        assert (answer.status_code, answer.json()["state"]) == (200, "committed"), answer.text
        return str(answer.json()["commitment"])

    async def seeded(self, **changed: Any) -> str:
        commitment = await self.committed(**changed)
        answer = await self.act(self.auditor, "nonce", commitment=commitment, nonce=NONCE)
        assert (answer.status_code, answer.json()["state"]) == (200, "seeded"), answer.text
        return commitment

    async def drawn(self, **changed: Any) -> str:
        commitment = await self.seeded(**changed)
        answer = await self.act(self.supervisor, "draw")
        assert (answer.status_code, answer.json()["state"]) == (200, "drawn"), answer.text
        return commitment

    async def departed(self, **changed: Any) -> str:
        commitment = await self.drawn(**changed)
        answer = await self.act(self.supervisor, "depart", due_on="2026-11-27", note="四不两直")
        assert (answer.status_code, answer.json()["state"]) == (200, "departed"), answer.text
        return commitment

    async def disclosed(self, folder: Path, **changed: Any) -> tuple[str, Path]:
        """The commitment, and the file as anybody downloads it."""
        commitment = await self.departed(**changed)
        assert (await self.act(self.supervisor, "disclose")).status_code == 200
        return commitment, await self.downloaded(commitment, folder)

    async def downloaded(self, commitment: str, folder: Path) -> Path:
        answer = await self.world.client.get(f"/public/v1/draws/{commitment}/file")
        assert answer.status_code == 200, answer.text
        path = folder / "draw.json"
        path.write_bytes(answer.content)
        return path

    async def visits(self) -> list[dict[str, Any]]:
        answer = await self.call(self.supervisor, "GET", self.path("list"))
        visits: list[dict[str, Any]] = answer.json()["result"]["visits"]
        return visits
