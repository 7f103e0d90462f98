"""暗访、暗查、四不两直: nobody on the inspected side learns of an unannounced visit before it is disclosed; then all of it, with history.

Everything the inspected side can receive is dumped and searched: phones, every office list, live hints, answers to prying.
"""

import asyncio
import contextlib
import uuid
from typing import Any

import msgspec
import pytest

from api.live import live_events
from contracts.ids import RecordId, problem_id
from contracts.ledger import LedgerName
from contracts.outcomes import Outcome, Reason
from contracts.people import Level, Role, Unit
from phone.phone import Phone
from storage.access import fetch_caller
from storage.carrying import carry_family
from storage.tokens import hash_token
from storage.transfers import TransferRef
from storage.units import upsert_units
from tests.api.casework import call, read, token_of
from tests.stories.day import DUST, PLACE, Day, body, hidden, result, shared_site, sync
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A

CITY = 610900
CITY_OFFICE = "6109-qinling_office"
COUNTY_TEAM = "610902-supervision_team"
APPLIED = (Outcome.APPLIED, "ok")
WORDS = ("暗访代号", "裸土未盖", "secret_visit", ".visit", CITY_OFFICE, COUNTY_TEAM)
LISTS = (
    *(f"/office/v1/ledgers/{ledger.value}" for ledger in LedgerName),
    f"/office/v1/held?county={COUNTY}", f"/office/v1/conflicts?county={COUNTY}",
    f"/office/v1/refused/{COUNTY}", f"/office/v1/coverage/{COUNTY}",
)  # fmt: skip


class Visit:
    """The sending side (a supervisor and a visitor) and the inspected side (everybody of the county who could be told)."""

    def __init__(self, day: Day, sender: Phone, visitor: Phone, inspected: list[Phone], site: RecordId, county: int, unit: str) -> None:
        self.day, self.sender, self.visitor, self.inspected, self.site = day, sender, visitor, inspected, site
        self.county, self.unit = county, unit
        self.task: RecordId
        self.inspection: RecordId

    async def sent(self) -> None:
        """The task is there, and the visitor has it before leaving."""
        target = {"unit": VILLAGE_A, "site": str(self.site), "name": "工地一", "position": PLACE}
        values = {"title": "暗访代号一", "unit": self.unit, "secret": True, "visit_mode": "secret_visit", "targets": [target]}
        self.task = self.sender.create("task", self.county, values)
        await sync(self.sender, self.visitor)

    async def visited(self) -> None:
        """Without signal: the check, two photos, a `no`; then the road again."""
        self.visitor.command(self.task, "task.start")
        values = {"unit": self.unit, "subject": "construction_dust", "checklist": DUST, "site": str(self.site), "task": str(self.task)}
        self.inspection = self.visitor.create("inspection", self.county, values | {"visit_mode": "secret_visit", "position": PLACE})
        self.visitor.edit(self.inspection, {"answers.sprinkling": {"value": "no", "note": "裸土未盖"}})
        self.visitor.add_photo(self.inspection, b"\xff\xd8 secret picture", item="sprinkling")
        self.visitor.command(self.inspection, "inspection.submit")
        self.visitor.command(self.task, "task.finish", {"result": "裸土未盖，已取证"})
        await sync(self.visitor, self.sender, *self.inspected)

    @property
    def problem(self) -> RecordId:
        return problem_id(self.inspection, "sprinkling")

    async def dump(self) -> str:
        """Everything the inspected side has and can ask for, as one text."""
        parts: list[str] = []
        for phone in self.inspected:
            db = phone.store.db
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            parts += [repr(tuple(row)) for table in tables if table != "unit" for row in db.execute(f"SELECT * FROM {table}")]
            for path in LISTS:
                answer = await call(self.day.world, phone, "GET", path)
                assert answer.status_code in (200, 403), (path, answer.text)
                parts.append(answer.text)
        return "\n".join(part for part in parts if '"units"' not in part)

    async def assert_unknown(self) -> None:
        await sync(*self.inspected)
        found = await self.dump()
        ids = [str(self.task), *([str(self.inspection), str(self.problem)] if hasattr(self, "inspection") else [])]
        for trace in (*WORDS, *ids, *(i.replace("-", "") for i in ids), *(repr(RecordId(i).bytes) for i in ids)):
            assert trace not in found, trace


async def _city(day: Day) -> Visit:
    """The city sends; the whole county is inspected, its own supervisor and auditor included."""
    async with day.world.pool.acquire() as conn:
        await upsert_units(conn, [Unit(code=CITY_OFFICE, county=CITY, parent="6109", level=Level.DEPARTMENT, name="市秦岭办")])
    _known_anew(day)
    sender = await _phone(day, "市督办", Role.CITY_SUPERVISOR, "6109")
    visitor = await _phone(day, "市秦岭办", Role.DEPARTMENT_STAFF, CITY_OFFICE)
    county = [await _phone(day, "县督办", Role.COUNTY_SUPERVISOR, str(COUNTY)), await _phone(day, "县审计", Role.AUDITOR, str(COUNTY))]
    inspected = [*await _township(day), *county]
    return await _with_site(day, Visit(day, sender, visitor, inspected, RecordId(int=0), CITY, CITY_OFFICE))


async def _county(day: Day) -> Visit:
    """The county sends; the township, its villages and the county's departments are inspected."""
    async with day.world.pool.acquire() as conn:
        await upsert_units(conn, [Unit(code=COUNTY_TEAM, county=COUNTY, parent=str(COUNTY), level=Level.DEPARTMENT, name="县督查组")])
    _known_anew(day)
    sender = await _phone(day, "县督办", Role.COUNTY_SUPERVISOR, str(COUNTY))
    visitor = await _phone(day, "县督查员", Role.DEPARTMENT_STAFF, COUNTY_TEAM)
    return await _with_site(day, Visit(day, sender, visitor, await _township(day), RecordId(int=0), COUNTY, COUNTY_TEAM))


async def _township(day: Day) -> list[Phone]:
    return [
        await day.member(),
        await day.lead(),
        await _phone(day, "镇干部", Role.TOWNSHIP_STAFF, TOWNSHIP),
        await _phone(day, "镇管理员", Role.ADMIN, TOWNSHIP),
        await _phone(day, "镇审计", Role.AUDITOR, TOWNSHIP),
        await _phone(day, "住建局长", Role.DEPARTMENT_LEAD, DEPARTMENT),
    ]


async def _phone(day: Day, name: str, role: Role, unit: str) -> Phone:
    return await day.world.phone(await day.world.person(name, (role, unit)))


async def _with_site(day: Day, visit: Visit) -> Visit:
    visit.site = shared_site(visit.inspected[0], period_days=30)
    await sync(*visit.inspected, visit.sender)
    return visit


def _known_anew(day: Day) -> None:
    day.world.app.state.resources.units._checked = float("-inf")


WAYS = pytest.mark.parametrize("sent_by", [_city, _county], ids=["city", "county"])


async def carried(day: Day) -> None:
    """The worker's job: what left one county arrives in the other."""
    reference = await day.world.app.state.resources.units.reference()
    for row in await day.world.pool.fetch("SELECT DISTINCT county, family FROM transfer WHERE done_at IS NULL"):
        ref = TransferRef(county=row["county"], family=row["family"])
        await carry_family(day.world.pool, reference, ref, lambda: day.world.time)


@WAYS
async def test_no_trace_before_disclosure(day: Day, sent_by: Any) -> None:
    visit = await sent_by(day)
    heads = await _what_the_inspected_count(visit)
    await visit.sent()
    await visit.assert_unknown()
    await visit.visited()
    await visit.assert_unknown()
    assert await _what_the_inspected_count(visit) == heads, "not even a count moved"
    assert body(visit.sender, visit.problem)["source"] == "secret_visit"
    assert body(visit.sender, visit.task)["inspections"] == [str(visit.inspection)]


async def _what_the_inspected_count(visit: Visit) -> Any:
    """Counts and digests of every stream they hold, and every total they can ask for."""
    totals = [
        (await call(visit.day.world, phone, "GET", path)).json().get("total")
        for phone in visit.inspected
        for path in LISTS[: len(LedgerName)]
    ]
    coverage = [(await call(visit.day.world, phone, "GET", LISTS[-1])).json() for phone in visit.inspected]
    streams = [{s.name: phone.digest(s.name) for s in phone.streams() if not s.name.endswith(".device")} for phone in visit.inspected]
    return totals, coverage, streams


@WAYS
async def test_a_live_line_says_nothing(day: Day, sent_by: Any) -> None:
    visit = await sent_by(day)
    heard: list[str] = []
    told = [{word: asyncio.Event() for word in ("ready", ".field")} for _ in visit.inspected]

    async def listen(phone: Phone, mine: dict[str, asyncio.Event]) -> None:
        resources = day.world.app.state.resources
        caller = await _caller(day, phone)
        async for event in live_events(resources, caller, token_of(phone)):
            heard.append(str(event))
            for word, said in mine.items():
                if word in heard[-1]:
                    said.set()

    async def everybody(word: str) -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*(mine[word].wait() for mine in told))

    listeners = [asyncio.create_task(listen(phone, mine)) for phone, mine in zip(visit.inspected, told, strict=True)]
    await everybody("ready")
    await visit.sent()
    await visit.visited()
    shared_site(visit.inspected[0])
    visit.inspected[5].create("site", COUNTY, {"unit": DEPARTMENT, "name": "公开", "category": "construction_site", "subjects": ["noise"]})
    await sync(*visit.inspected)
    await everybody(".field")  # what was not secret, after all that was: whatever else they are told of has been told by now
    for listener in listeners:
        listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listener
    assert not any(".visit" in line or CITY_OFFICE in line or COUNTY_TEAM in line for line in heard)


async def _caller(day: Day, phone: Phone) -> Any:
    return await fetch_caller(day.world.pool, hash_token(token_of(phone)), day.world.time)


@WAYS
async def test_whoever_pries_gets_the_answer_for_what_is_not_there(day: Day, sent_by: Any) -> None:
    """Even with the ids in hand, and through every door a phone has."""
    visit = await sent_by(day)
    await visit.sent()
    await visit.visited()
    for phone in visit.inspected[1:3]:
        for kind, record in (("task", visit.task), ("inspection", visit.inspection), ("problem", visit.problem)):
            nothing = await _pried(visit, phone, kind, uuid.uuid4())
            assert await _pried(visit, phone, kind, record) == nothing
            assert (await call(day.world, phone, "GET", f"/office/v1/records/{COUNTY}/{record}")).status_code == 404
    assert await day.world.pool.fetchval("SELECT count(*) FROM held") == 0, "prying leaves nothing on a desk, whatever there is"


@WAYS
async def test_disclosure_makes_problems_of_the_inspected_unit(day: Day, sent_by: Any) -> None:
    visit = await sent_by(day)
    await visit.sent()
    await visit.visited()
    disclosed = visit.sender.command(visit.task, "task.disclose", args={"note": "已反馈"})
    await sync(visit.sender)
    assert result(visit.sender, disclosed) == APPLIED
    await carried(day)
    await sync(*visit.inspected, visit.visitor, visit.sender)
    for phone in visit.inspected[:3]:
        problem = body(phone, visit.problem)
        assert (problem["source"], problem["unit"], problem["state"], problem["secret"]) == ("secret_visit", VILLAGE_A, "reported", False)
        assert [step["command"] for step in problem["steps"]] == ["task.disclose"]
        assert body(phone, visit.inspection)["answers"]["sprinkling"]["note"] == "裸土未盖"
        assert [photo.body["item"] for photo in phone.children(visit.inspection)] == ["sprinkling"]
        assert hidden(phone, visit.task), "the sender's business stays the sender's"
    lead = visit.inspected[1]
    lead.command(visit.problem, "problem.verify")
    made = lead.command(visit.problem, "problem.assign", {"due_on": "2026-12-01", "leads": [DEPARTMENT]})
    await sync(lead, visit.inspected[5])
    assert result(lead, made) == APPLIED, "from here on it is a problem like any other"
    coverage = await read(day.world, lead, f"/office/v1/coverage/{COUNTY}")
    assert (coverage["with_period"], coverage["covered"]) == (1, 1)
    assert body(visit.sender, visit.task)["disclosed_at"] is not None


@WAYS
async def test_before_disclosure_nobody_is_told_to_fix_it(day: Day, sent_by: Any) -> None:
    visit = await sent_by(day)
    await visit.sent()
    await visit.visited()
    visit.sender.command(visit.problem, "problem.verify")
    early = visit.sender.command(visit.problem, "problem.assign", {"due_on": "2026-12-01", "leads": [DEPARTMENT]})
    moved = visit.sender.edit(visit.problem, {"unit": VILLAGE_A})
    await sync(visit.sender)
    assert result(visit.sender, early) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    assert result(visit.sender, moved) == (Outcome.REJECTED, Reason.READ_ONLY_FIELD.value)
    await visit.assert_unknown()


@WAYS
async def test_a_secret_task_that_is_refused_is_shown_to_the_sending_side_alone(day: Day, sent_by: Any) -> None:
    visit = await sent_by(day)
    late = {"title": "暗访代号四", "unit": visit.unit, "secret": True, "visit_mode": "secret_visit", "due_on": "2020-01-01"}
    visit.task = visit.sender.create("task", visit.county, late)
    at_the_inspected = visit.visitor.create("task", COUNTY, late)
    await sync(visit.sender, visit.visitor)
    assert [one.reason for one in visit.sender.refused()] == [Reason.INCOMPLETE]
    shown = (await read(day.world, visit.sender, f"/office/v1/refused/{visit.county}"))["items"]
    assert str(visit.task) in {item["record"] for item in shown}
    await visit.assert_unknown()
    assert str(at_the_inspected) not in await visit.dump()


async def test_a_secret_is_not_accepted_where_the_inspected_side_would_see_it(day: Day) -> None:
    """A city visitor's phone that enters the village as the unit, or pushes to the county, is held on the city's desk."""
    visit = await _city(day)
    await visit.sent()
    wrong = [
        visit.sender.create("task", COUNTY, {"title": "暗访代号二", "unit": VILLAGE_A, "secret": True}),
        visit.visitor.create("inspection", COUNTY, {"unit": VILLAGE_A, "subject": "construction_dust", "checklist": DUST, "secret": True}),
        visit.visitor.create(
            "problem", COUNTY, {"unit": str(COUNTY), "subject": "construction_dust", "title": "暗访代号三", "secret": True}
        ),
    ]
    await sync(visit.sender, visit.visitor)
    assert all(hidden(phone, record) for phone in visit.inspected for record in wrong)
    assert {reason for _, reason in await day.held()} == {"no_duty"}
    await visit.assert_unknown()
    desk = await read(day.world, visit.sender, "/office/v1/held", county=COUNTY)
    assert len(desk["items"]) == 3, "nothing a person entered disappears"


async def test_a_township_cannot_send_secret_visits(day: Day) -> None:
    lead = await day.lead()
    lead.create("task", COUNTY, {"title": "x", "unit": TOWNSHIP, "secret": True})
    await sync(lead)
    assert await day.held() == [("quarantined", "no_duty")]


async def test_the_same_finding_from_two_sides_is_not_linked_before(day: Day) -> None:
    """A link between problems would carry the secret's id into the township's record."""
    visit = await _county(day)
    await visit.sent()
    await visit.visited()
    member = visit.inspected[0]
    values = {"unit": VILLAGE_A, "subject": "construction_dust", "checklist": DUST, "site": str(visit.site), "position": PLACE}
    own = member.create("inspection", COUNTY, values)
    member.edit(own, {"answers.sprinkling": {"value": "no"}})
    member.command(own, "inspection.submit")
    await sync(member)
    assert body(member, problem_id(own, "sprinkling"))["suspected_duplicates"] == []
    stored = await day.world.pool.fetchval("SELECT body FROM record WHERE id = $1", visit.problem)
    assert msgspec.json.decode(stored)["suspected_duplicates"] == []
    found = await visit.dump()
    assert str(visit.problem) not in found


async def test_what_arrives_after_disclosure_can_be_disclosed_too(day: Day) -> None:
    visit = await _county(day)
    await visit.sent()
    late = await _phone(day, "第二督查员", Role.DEPARTMENT_STAFF, COUNTY_TEAM)
    await sync(late)
    values = {"unit": COUNTY_TEAM, "subject": "construction_dust", "checklist": DUST, "site": str(visit.site), "task": str(visit.task)}
    second = late.create("inspection", COUNTY, values)  # its app does not say that it is secret: the task does
    late.edit(second, {"answers.covering": {"value": "no"}})
    late.command(second, "inspection.submit")
    await visit.visited()
    visit.sender.command(visit.task, "task.disclose")
    await sync(visit.sender, late, *visit.inspected)
    assert hidden(visit.inspected[1], second)
    visit.sender.command(visit.task, "task.disclose")
    await sync(visit.sender, *visit.inspected)
    assert body(visit.inspected[1], second)["unit"] == VILLAGE_A


async def _pried(visit: Visit, phone: Phone, kind: str, record: RecordId) -> Any:
    """The outcome of a comment, a command, a creation and a photo on a record, as the office client would send them."""

    def one(**more: Any) -> dict[str, Any]:
        return {"id": str(uuid.uuid4()), "kind": kind, "record": str(record)} | more

    photo = {"parent": str(record), "sha256": "ab" * 32, "bytes": 1, "media_type": "image/jpeg"}
    mutations = [
        one(op="edit", fields={"note": [None, "x"]}),
        one(op=f"{kind}.comment"),
        {"id": str(uuid.uuid4()), "kind": "photo", "record": str(uuid.uuid4()), "op": "create", "body": photo},
    ]
    answer = await call(visit.day.world, phone, "POST", "/office/v1/mutations", json={"county": COUNTY, "mutations": mutations})
    assert answer.status_code == 422, answer.text
    return [(f["index"], f["reason"], f["text"], sorted(f.get("detail") or {})) for f in answer.json()["details"]["faults"]]


@WAYS
async def test_what_names_a_visit_is_not_written_where_the_inspected_side_reads(day: Day, sent_by: Any) -> None:
    """By hand and absent-minded: a problem, a letter and an inspection for the village, and edits and commands on its records."""
    visit = await sent_by(day)
    await visit.sent()
    await visit.visited()
    member, sender, visitor = visit.inspected[0], visit.sender, visit.visitor
    ordinary = member.create("problem", COUNTY, {"unit": VILLAGE_A, "subject": "noise", "title": "普通问题", "state": "draft"})
    await sync(member, sender)
    values = {"subject": "construction_dust", "title": "暗访代号八", "inspection": str(visit.inspection)}
    told = [
        sender.create("problem", visit.county, {"unit": VILLAGE_A if visit.county == COUNTY else "6109"} | values),
        sender.create("notice", visit.county, {"unit": visit.unit, "title": "暗访代号六", "subject_record": str(visit.problem)}),
    ]
    if visit.county == COUNTY:  # another county's records cannot be told from here
        sender.edit(ordinary, {"related": [str(visit.problem)], "title": "暗访代号七"})
        sender.command(ordinary, "problem.supervise_on_site", args={"note": "暗访代号五", "inspection": str(visit.inspection)})
    own = visitor.create("problem", visit.county, {"unit": visit.unit, "note": ""} | values)
    await sync(sender, visitor, *visit.inspected)
    await visit.assert_unknown()
    rows = await day.world.pool.fetch("SELECT id, stream FROM record WHERE id = ANY ($1::uuid[])", [*told, own])
    assert {row["id"]: row["stream"] for row in rows}[own] == f"{visit.unit}.visit", "a finding of the visit is secret as the visit is"
    assert all(row["stream"].endswith(".visit") for row in rows)
    desks = {row["unit"] for row in await day.world.pool.fetch("SELECT unit FROM held WHERE reason = 'not_disclosed'")}
    assert desks and TOWNSHIP not in desks
    story = await read(day.world, member, f"/office/v1/records/{COUNTY}/{ordinary}")
    assert "暗访代号" not in str(story)


async def test_what_waited_for_the_disclosure_is_taken_afterwards(day: Day) -> None:
    visit = await _county(day)
    await visit.sent()
    await visit.visited()
    letter = visit.sender.create("notice", COUNTY, {"unit": TOWNSHIP, "title": "请整改", "subject_record": str(visit.problem)})
    await sync(visit.sender)
    visit.sender.command(visit.task, "task.disclose")
    await sync(visit.sender)
    (held,) = (await read(day.world, visit.sender, "/office/v1/held", county=COUNTY))["items"]
    path = f"/office/v1/held/{COUNTY}/{held['device']}/{held['n']}/retry"
    answer = await call(day.world, visit.sender, "POST", path, json={})
    assert answer.status_code == 200, answer.text
    await sync(visit.inspected[1])
    assert body(visit.inspected[1], letter)["title"] == "请整改"


@WAYS
async def test_a_clue_of_a_visit_is_transferred_before_anybody_is_told(day: Day, sent_by: Any) -> None:
    """Within whoever sent it (domain.md 4.12); a transfer that others would read waits for the disclosure."""
    visit = await sent_by(day)
    await visit.sent()
    await visit.visited()
    above = "6109" if visit.county == CITY else str(COUNTY)
    values = {"flow": "accountability_clue", "receiver": "discipline", "title": "暗访代号三", "problem": str(visit.problem)}
    made = visit.sender.create("transfer", visit.county, values | {"unit": above})
    if visit.county == COUNTY:
        visit.sender.create("transfer", COUNTY, values | {"unit": TOWNSHIP})
    await sync(visit.sender)
    assert body(visit.sender, made)["problem"] == str(visit.problem)
    assert [reason for _, reason in await day.held()] == (["not_disclosed"] if visit.county == COUNTY else [])
    await visit.assert_unknown()


async def test_the_photo_of_what_is_held_waits_on_the_same_desk(day: Day) -> None:
    """A city visitor's phone that pushes a whole inspection to the inspected county: no part of it lies on the county's desk."""
    visit = await _city(day)
    await visit.sent()
    values = {"unit": VILLAGE_A, "subject": "construction_dust", "checklist": DUST, "secret": True}
    wrong = visit.visitor.create("inspection", COUNTY, values)
    visit.visitor.edit(wrong, {"note": "暗访代号四"})
    visit.visitor.add_photo(wrong, b"\xff\xd8 held picture", item="sprinkling")
    visit.visitor.command(wrong, "inspection.submit")
    await sync(visit.visitor)
    desks = {row["unit"] for row in await day.world.pool.fetch("SELECT unit FROM held")}
    assert len(await day.held()) == 4
    assert desks == {CITY_OFFICE}
    await visit.assert_unknown()


async def test_an_inspection_that_names_a_secret_task_is_like_one_that_names_nothing(day: Day) -> None:
    """Whoever may not know of the task cannot find out that it is one."""
    visit = await _county(day)
    await visit.sent()
    member = visit.inspected[0]
    values = {"unit": VILLAGE_A, "subject": "construction_dust", "checklist": DUST}
    made = [member.create("inspection", COUNTY, values | {"task": str(task)}) for task in (visit.task, uuid.uuid4())]
    await sync(member)
    assert await day.held() == []
    assert [hidden(member, one) for one in made] == [False, False]
