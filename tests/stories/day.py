"""What the stories have in common: who is there, and short words for what they do and see.

A story reads: parent (what both phones hold), A and B (what each does without seeing the other), expected.
"""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx

from contracts.ids import MutationId, RecordId
from contracts.mutation import EDIT
from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from phone.exchange import Ended, Pacing
from phone.faults import Fault, FaultyTransport
from phone.outbox import Pending
from phone.phone import Phone, RecordView
from storage.office_push import draft, system_push
from tests.world import COUNTY, TOWNSHIP, VILLAGE_A, Person, World

SITE = {"name": "工地一", "unit": VILLAGE_A, "subjects": ["construction_dust"]}
DUST = {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}
INSPECTION = {"unit": VILLAGE_A, "subject": "construction_dust", "checklist": DUST}
TASK = {"title": "查工地扬尘", "unit": VILLAGE_A, "subject": "construction_dust"}
PLACE = {"lat": 32.6953, "lng": 109.0292, "accuracy_m": 8.0}


class Day:
    """A day in one township. `at(minutes)` is the server's clock; phones read true time unless told otherwise."""

    def __init__(self, world: World) -> None:
        self.world = world

    def at(self, minutes: float) -> None:
        self.world.at(minutes)

    # ------------------------------------------------------------------------------------------ who is there

    async def member(self, name: str = "网格员", unit: str = VILLAGE_A, **options: Any) -> Phone:
        """A grid member of a village, with a phone of their own."""
        return await self.world.phone(await self.world.person(name, (Role.GRID_MEMBER, unit)), **options)

    async def lead(self, name: str = "镇办负责人") -> Phone:
        return await self.world.phone(await self.world.person(name, (Role.TOWNSHIP_LEAD, TOWNSHIP)))

    async def two(self) -> tuple[Phone, Phone]:
        """Two grid members of one village."""
        return await self.member("甲"), await self.member("乙")

    async def phone_with(self, person: Person, plan: Callable[[httpx.Request], Fault], **options: Any) -> Phone:
        """A phone whose connection fails as planned."""
        transport = FaultyTransport(httpx.ASGITransport(self.world.app), plan)
        client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
        return await self.world.phone(person, client=client, pacing=Pacing(jitter=lambda: 0.0, patience_s=0), **options)

    async def photos_arrive(self) -> None:
        """As if every phone had uploaded, and the worker noted it: stories of casework send no bytes."""
        world, noted = self.world, {"received_at": (None, self.world.time.isoformat())}
        rows = await world.pool.fetch("SELECT id, incarnation, version FROM record WHERE kind = 'photo' AND body ->> 'received_at' IS NULL")
        for row in rows:
            note = draft(
                kind="photo",
                record=row["id"],
                op=EDIT,
                now=world.time,
                mutation=uuid4(),
                base=(row["incarnation"], row["version"]),
                fields=noted,
            )
            await system_push(world.pool, await world.app.state.resources.units.reference(), COUNTY, [note], world.time)

    # ------------------------------------------------------------------------------------------ what is stored

    async def journal_raw(self, text: str) -> int:
        """How many journal rows keep these words among the raw bytes that arrived."""
        found = await self.world.pool.fetchval("SELECT count(*) FROM journal WHERE position(convert_to($1, 'UTF8') IN raw) > 0", text)
        return int(found)

    async def held(self) -> list[tuple[str, str]]:
        rows = await self.world.pool.fetch("SELECT outcome, reason FROM held WHERE settled_at IS NULL ORDER BY n")
        return [(r["outcome"], r["reason"]) for r in rows]


async def sync(*phones: Phone) -> None:
    """One after the other; each must end with nothing left to do."""
    for phone in phones:
        synced = await phone.sync()
        assert synced.ended is Ended.COMPLETE, synced


def shared_site(phone: Phone, **fields: Any) -> RecordId:
    return phone.create("site", COUNTY, {**SITE, **fields})


def shared_inspection(phone: Phone, **fields: Any) -> RecordId:
    return phone.create("inspection", COUNTY, {**INSPECTION, **fields})


def seen(phone: Phone, record: RecordId) -> RecordView:
    view = phone.view(record)
    assert view is not None, f"{record} is not on this phone"
    return view


def body(phone: Phone, record: RecordId) -> dict[str, Any]:
    return seen(phone, record).body


def answer(phone: Phone, inspection: RecordId, item: str) -> Any:
    return body(phone, inspection)["answers"][item]


def made(mutation: MutationId | None) -> MutationId:
    assert mutation is not None, "nothing differed, so nothing was made"
    return mutation


def result(phone: Phone, mutation: MutationId | None) -> tuple[Outcome | None, str | None]:
    """(outcome, reason) of one own mutation, as this phone knows them."""
    pending = found(phone, mutation)
    return pending.outcome, pending.reason


def found(phone: Phone, mutation: MutationId | None) -> Pending:
    pending = phone.find(made(mutation))
    assert pending is not None
    return pending


def only_conflict(phone: Phone) -> RecordView:
    (conflict,) = phone.conflicts()
    return conflict


def hidden(phone: Phone, record: RecordId) -> bool:
    """Not on the phone, or shown as deleted."""
    view = phone.view(record)
    return view is None or view.deleted


def agreed(*phones: Phone) -> None:
    """Promise 4: phones that hold a stream hold the same records of it, and their digests say so."""
    held: dict[str, set[tuple[int, int]]] = {}
    for phone in phones:
        for stream in phone.streams():
            if not stream.name.endswith(".device"):
                held.setdefault(stream.name, set()).add(phone.digest(stream.name))
    assert held
    assert all(len(digests) == 1 for digests in held.values()), held


OK = Reason.OK.value
OVERLAP = Reason.OVERLAP.value
