"""撤并: from a day on a unit has nothing new. What it has stays in sight of whoever is above it, and can be given to another."""

import uuid
from typing import Any

import httpx
import pytest

from contracts.ids import projection_id
from contracts.importing import SITES
from contracts.outcomes import Outcome
from contracts.people import Role
from phone.phone import Phone
from storage.plans import run_plans
from tests.api.casework import DEPARTMENT, Office, call, command, create
from tests.api.test_imports import send, workbook
from tests.stories.day import result
from tests.world import COUNTY, TOWNSHIP, VILLAGE_A, VILLAGE_B

TODAY, TOMORROW = "2026-11-20", "2026-11-21"
DAY = 24 * 60


@pytest.fixture
async def admin(office: Office) -> Phone:
    return await office.world.phone(await office.world.person("管理员", (Role.ADMIN, str(COUNTY))))


async def close(office: Office, phone: Phone, unit: str, day: str | None) -> httpx.Response:
    return await call(office.world, phone, "POST", f"/people/v1/units/{unit}/close", json={"closed_on": day})


async def later(office: Office, minutes: int, *phones: Phone) -> None:
    """Time has passed, and these have new tokens."""
    office.world.at(minutes)
    for phone in phones:
        await phone.sync()


async def write(office: Office, phone: Phone, *mutations: dict[str, Any]) -> httpx.Response:
    return await call(office.world, phone, "POST", "/office/v1/mutations", json={"county": COUNTY, "mutations": list(mutations)})


def why(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    assert any("\u4e00" <= c <= "\u9fff" for c in answer.json()["detail"])
    details = answer.json()["details"]
    return details["reason"] if "reason" in details else details["faults"][0]["reason"]


def site(unit: str = VILLAGE_A) -> dict[str, Any]:
    return create("site", uuid.uuid4(), {"name": "工地", "unit": unit, "subjects": ["construction_dust"]})


async def test_nothing_new_from_that_day_on_and_not_before(office: Office, admin: Phone) -> None:
    closed = await close(office, admin, VILLAGE_A, TOMORROW)
    assert (closed.status_code, closed.json()["closed_on"]) == (200, TOMORROW)
    await office.done(office.lead, site())
    await later(office, DAY, office.lead, admin)
    assert why(await write(office, office.lead, site()), 422) == "unit_closed"
    moved = uuid.uuid4()
    await office.done(office.lead, create("site", moved, {"name": "工地", "unit": VILLAGE_B, "subjects": ["noise"]}))
    assert why(await write(office, office.lead, command("site", moved, "edit", {"unit": [VILLAGE_B, VILLAGE_A]})), 422) == "unit_closed"
    letter = {"letter": str(uuid.uuid4()), "from_unit": TOWNSHIP, "units": [VILLAGE_B, VILLAGE_A], "title": "函"}
    assert why(await call(office.world, office.lead, "POST", "/office/v1/letters", json=letter), 422) == "unit_closed"
    person = await office.world.person("新人", (Role.GRID_MEMBER, VILLAGE_B))
    duty = {"person": str(person.id), "duty": {"role": "grid_member", "unit": VILLAGE_A}}
    assert why(await call(office.world, admin, "POST", "/people/v1/duties", json=duty), 422) == "unit_closed"
    grid = {"code": "wg-1", "parent": VILLAGE_A, "level": "grid", "name": "一网格"}
    assert why(await call(office.world, admin, "POST", "/people/v1/units", json=grid), 422) == "unit_closed"


async def test_a_spreadsheet_puts_no_site_there(office: Office, admin: Phone) -> None:
    await close(office, admin, VILLAGE_A, TODAY)
    data = workbook({SITES.title: [[column.heading for column in SITES.columns[:3]], ["工地", VILLAGE_A, "construction_dust"]]})
    answer = await send(office, office.lead, data, "sites")
    assert [(f["row"], f["code"]) for f in answer.json()["faults"]] == [(2, "unit_closed")], answer.text


async def test_a_duty_of_the_days_before_is_entered_late(office: Office, admin: Phone) -> None:
    await close(office, admin, VILLAGE_A, TOMORROW)
    await later(office, 3 * DAY, admin)
    person = await office.world.person("补录", (Role.GRID_MEMBER, VILLAGE_B))
    duty = {"role": "grid_member", "unit": VILLAGE_A, "starts": "2026-11-10T00:00:00Z", "ends": "2026-11-20T00:00:00Z"}
    assert (await call(office.world, admin, "POST", "/people/v1/duties", json={"person": str(person.id), "duty": duty})).status_code == 201


async def test_all_below_is_closed_with_it(office: Office, admin: Phone) -> None:
    await close(office, admin, TOWNSHIP, TODAY)
    assert why(await write(office, office.supervisor, site()), 422) == "unit_closed"


async def test_nobody_is_called_or_assigned_who_is_closed(office: Office, admin: Phone) -> None:
    problem, whistle = await office.problem("裸土"), uuid.uuid4()
    await office.done(office.lead, create("whistle", whistle, {"unit": TOWNSHIP, "title": "裸土"}))
    await close(office, admin, DEPARTMENT, TODAY)
    fields = {"due_on": [None, "2026-12-01"], "leads": [[], [DEPARTMENT]]}
    assert why(await write(office, office.lead, command("problem", problem, "problem.assign", fields)), 422) == "unit_closed"
    called = command("whistle", whistle, "whistle.blow", {"called": [[], [DEPARTMENT]]})
    assert why(await write(office, office.lead, called), 422) == "unit_closed"
    many = {
        "id": str(uuid.uuid4()),
        "county": COUNTY,
        "problems": [{"problem": str(problem)}],
        "leads": [DEPARTMENT],
        "due_on": "2026-12-01",
    }
    (row,) = (await call(office.world, office.lead, "POST", "/office/v1/problems/assign", json=many)).json()["rows"]
    assert (row["outcome"]["outcome"], row["outcome"]["reason"]) == ("rejected", "unit_closed")


async def test_what_it_has_goes_on_and_can_be_given_to_another(office: Office, admin: Phone) -> None:
    problem = await office.problem("裸土")
    await close(office, admin, VILLAGE_A, TODAY)
    assert await office.titles(office.supervisor, unit=VILLAGE_A) == ["裸土"]
    await office.assign(problem)
    await office.done(office.lead, command("problem", problem, "edit", {"unit": [VILLAGE_A, VILLAGE_B]}))
    assert await office.titles(office.lead, unit=VILLAGE_B) == ["裸土"]
    assert await office.titles(office.lead, unit=VILLAGE_A) == []


async def test_offline_work_is_taken(office: Office, admin: Phone) -> None:
    """Captured before or by somebody who still has the duty: the server asks nobody to have known."""
    phone = office.member
    await phone.sync()
    made = phone.create("problem", COUNTY, {"title": "裸土", "unit": VILLAGE_A, "subject": "construction_dust"})
    reported = phone.command(made, "problem.report")
    await close(office, admin, VILLAGE_A, TODAY)
    await later(office, 3 * DAY, phone, office.lead)
    assert result(phone, reported) == (Outcome.APPLIED, "ok")
    assert await office.titles(office.lead, unit=VILLAGE_A) == ["裸土"]


async def test_an_assignment_given_before_the_closing_is_taken_late(office: Office, admin: Phone) -> None:
    problem = await office.problem("裸土")
    await office.lead.sync()
    made = office.lead.command(problem, "problem.assign", {"due_on": "2026-12-01", "leads": [DEPARTMENT]})
    await close(office, admin, DEPARTMENT, TOMORROW)
    await later(office, 2 * DAY, office.lead)
    assert result(office.lead, made) == (Outcome.APPLIED, "ok")


async def test_who_closes_and_what(office: Office, admin: Phone) -> None:
    own = await office.world.phone(await office.world.person("镇管理员", (Role.ADMIN, TOWNSHIP)))
    assert why(await close(office, own, TOWNSHIP, TODAY), 403) == "outside_your_units", "its work falls to whoever is above"
    assert why(await close(office, office.lead, VILLAGE_A, TODAY), 403) == "outside_your_units"
    assert why(await close(office, admin, "610921100", TODAY), 403) == "outside_your_units"
    assert why(await close(office, admin, "nowhere", TODAY), 403) == "outside_your_units"
    city = await office.world.phone(await office.world.person("市管理员", (Role.ADMIN, "6109")))
    assert why(await close(office, city, str(COUNTY), TODAY), 422) == "level_is_not_closed"
    assert why(await close(office, admin, VILLAGE_A, "2026-11-19"), 422) == "closes_in_the_past"
    assert (await close(office, own, VILLAGE_A, TODAY)).status_code == 200


async def test_it_may_be_sent_again_and_taken_back(office: Office, admin: Phone) -> None:
    for _ in range(2):
        assert (await close(office, admin, VILLAGE_A, TODAY)).json()["closed_on"] == TODAY
    await later(office, 2 * DAY, admin, office.lead)
    assert (await close(office, admin, VILLAGE_A, TODAY)).status_code == 200, "also when the day has passed"
    assert (await close(office, admin, VILLAGE_A, None)).json()["closed_on"] is None
    await office.done(office.lead, site())
    notes = await office.world.pool.fetch("SELECT detail FROM audit_log WHERE action = 'unit_closed' ORDER BY id")
    assert len(notes) == 2


async def test_a_closed_unit_says_so_in_the_list(office: Office, admin: Phone) -> None:
    await close(office, admin, VILLAGE_A, TODAY)
    units = (await call(office.world, admin, "GET", "/people/v1/units")).json()["units"]
    assert {unit["code"]: unit["closed_on"] for unit in units}[VILLAGE_A] == TODAY


async def test_a_plan_is_not_started_there_from_a_console(office: Office, admin: Phone) -> None:
    """One that a phone starts is taken, and its tasks go to whoever is above."""
    terms = {"rule": "FREQ=DAILY", "from_on": TODAY, "units": [VILLAGE_A, VILLAGE_B]}
    plans = [uuid.uuid4(), uuid.uuid4()]
    for plan in plans:
        await office.done(office.lead, create("plan", plan, {"unit": TOWNSHIP, "title": "巡查"}))
    await office.done(office.lead, command("plan", plans[0], "plan.start", {"terms": [None, terms]}))
    await office.lead.sync()
    await close(office, admin, VILLAGE_A, TODAY)
    other = terms | {"rule": "FREQ=WEEKLY"}
    refused = [
        command("plan", plans[1], "plan.start", {"terms": [None, terms]}),
        command("plan", plans[0], "plan.revise", {"terms": [terms, other]}, reason="改期"),
    ]
    for mutation in refused:
        answer = await write(office, office.lead, mutation)
        assert answer.json()["outcomes"][0]["detail"]["needs"] == ["units_open"], answer.text
    await office.done(office.lead, command("plan", plans[1], "plan.start", {"terms": [None, terms | {"units": [VILLAGE_B]}]}))
    revised = office.lead.command(plans[0], "plan.revise", {"terms": other}, args={"reason": "改期"})
    await later(office, 1, office.lead)
    assert result(office.lead, revised)[0] in (Outcome.APPLIED, Outcome.MERGED)


async def test_checks_of_a_response_go_to_the_nearest_unit_above(office: Office, admin: Phone) -> None:
    made = [await office.site("甲厂", VILLAGE_A), await office.site("乙厂", VILLAGE_B)]
    response = uuid.uuid4()
    body = {"unit": str(COUNTY), "title": "应急响应", "sites": [str(site) for site in made]}
    await office.done(office.supervisor, create("response", response, body))
    for op in ("response.start", "response.respond"):
        await office.done(office.supervisor, command("response", response, op))
    await close(office, admin, VILLAGE_A, TODAY)
    reference = await office.world.app.state.resources.units.reference()
    assert reference.places.units[VILLAGE_A].closed_on is not None
    assert await run_plans(office.world.pool, reference, COUNTY, office.world.time) == 2
    assert await office.world.pool.fetchval("SELECT string_agg(stream, ' ' ORDER BY stream) FROM record WHERE kind = 'task'") == (
        f"{TOWNSHIP}.field {VILLAGE_B}.field"
    )


def photo(parent: uuid.UUID) -> dict[str, Any]:
    return create("photo", uuid.uuid4(), {"parent": str(parent), "sha256": "ab" * 32, "bytes": 3000, "media_type": "image/jpeg"})


async def test_photos_are_added_to_what_it_has(office: Office, admin: Phone) -> None:
    """A department to its own assignment, and the township to a problem of the village: the work that is there goes on."""
    problem = await office.problem("裸土")
    await office.assign(problem)
    for unit in (VILLAGE_A, DEPARTMENT):
        assert (await close(office, admin, unit, TODAY)).status_code == 200
    await office.done(office.lead, photo(problem))
    await office.done(office.handler, photo(projection_id(problem, DEPARTMENT)))
    assert why(await write(office, office.lead, site()), 422) == "unit_closed"
