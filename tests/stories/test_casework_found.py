"""Found by the simulator (tests/simulator/casework_deeds.py): stories of casework that once went wrong."""

from contracts.ids import problem_id, projection_id
from contracts.outcomes import Outcome, Reason
from contracts.people import Level, Role, Unit
from phone.phone import Phone
from storage.units import upsert_units
from tests.stories.day import Day, body, hidden, result, seen, shared_inspection, sync
from tests.world import COUNTY, DEPARTMENT, VILLAGE_A

WATER = "610902-water_bureau"
APPLIED = (Outcome.APPLIED, "ok")


async def water_bureau(day: Day) -> None:
    async with day.world.pool.acquire() as conn:
        await upsert_units(conn, [Unit(code=WATER, county=COUNTY, parent="610902", level=Level.DEPARTMENT, name="区水利局")])


async def bureau(day: Day, name: str, unit: str) -> Phone:
    return await day.world.phone(await day.world.person(name, (Role.DEPARTMENT_LEAD, unit)))


async def test_a_photo_for_an_assignment_given_to_another_is_with_the_problem_and_brings_nothing_back(day: Day) -> None:
    """The assignment came back as it had been, for ever, and with a conflict that nobody could make sense of."""
    await water_bureau(day)
    member, lead, housing = await day.member(), await day.lead(), await bureau(day, "住建", DEPARTMENT)
    inspection = shared_inspection(member, answers={"sprinkling": {"value": "no"}})
    member.command(inspection, "inspection.submit")
    await sync(member, lead)
    problem = problem_id(inspection, "sprinkling")
    assignment = projection_id(problem, DEPARTMENT)
    lead.command(problem, "problem.assign", {"due_on": "2026-12-01", "leads": [DEPARTMENT]})
    await sync(lead, housing)
    housing.add_photo(assignment, b"fixed", purpose="after")
    lead.command(problem, "problem.assign", {"due_on": "2026-12-01", "leads": [WATER]})
    await sync(lead, housing, lead, housing)
    assert hidden(housing, assignment)
    assert [photo.body["parent"] for photo in lead.records("photo") if photo.body["parent"] == str(problem)] == [str(problem)]
    assert lead.conflicts() == []
    assert seen(lead, problem).body["leads"] == [WATER]


async def test_the_step_that_lets_the_last_department_go_says_that_the_whistle_is_answered(day: Day) -> None:
    """The state moved on and its story did not tell of it."""
    await water_bureau(day)
    lead, housing = await day.lead(), await bureau(day, "住建", DEPARTMENT)
    whistle = lead.create("whistle", COUNTY, {"unit": VILLAGE_A, "title": "渣土"})
    lead.command(whistle, "whistle.blow", {"called": [DEPARTMENT, WATER]})
    await sync(lead, housing)
    summons = projection_id(whistle, DEPARTMENT)
    housing.command(summons, "summons.report_in", args={"position": {"lat": 32.69, "lng": 109.02}})
    housing.command(summons, "summons.result", {"result": "已清运"})
    await sync(housing, lead)
    made = lead.command(whistle, "whistle.release", args={"unit": WATER, "reason": "不需要"})
    await sync(lead)
    assert result(lead, made) == APPLIED
    assert body(lead, whistle)["state"] == "answered"
    steps = [(step["command"], step["source"], step["to"]) for step in body(lead, whistle)["steps"]]
    assert steps[-1] == ("whistle.release", "blown", "answered")
    sent_back = lead.command(whistle, "whistle.send_back", args={"unit": DEPARTMENT, "reason": "未清完"})
    await sync(lead)
    assert result(lead, sent_back) == APPLIED
    assert [(step["source"], step["to"]) for step in body(lead, whistle)["steps"]][-1] == ("answered", "blown")


async def test_a_refused_word_to_one_department_says_what_would_be_allowed_and_who_may(day: Day) -> None:
    lead, housing = await day.lead(), await bureau(day, "住建", DEPARTMENT)
    whistle = lead.create("whistle", COUNTY, {"unit": VILLAGE_A, "title": "渣土"})
    lead.command(whistle, "whistle.blow", {"called": [DEPARTMENT]})
    await sync(lead, housing)
    housing.command(projection_id(whistle, DEPARTMENT), "summons.report_in", args={"position": {"lat": 32.69, "lng": 109.02}})
    lead.command(whistle, "whistle.release", args={"unit": DEPARTMENT, "reason": "不需要"})
    await sync(housing, lead)
    refused = lead.refused()[0]
    assert refused.reason == Reason.NOT_ALLOWED_NOW.value
    assert refused.detail is not None
    assert refused.detail["allowed"]["summons.result"] == ["department_lead", "department_staff"]
    assert "whistle.release" not in refused.detail["allowed"]
