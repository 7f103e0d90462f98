"""镇办吹哨、部门报到: the township blows, departments answer from offline phones, the township confirms each and rates it."""

from datetime import timedelta
from typing import Any

import msgspec

from contracts.ids import RecordId, projection_id
from contracts.outcomes import Outcome, Reason
from contracts.people import Level, Role, Unit
from contracts.rules import Duration, PublishRule, RuleName, WhistleRule
from phone.phone import Phone
from storage.rules import insert_rule
from storage.units import upsert_units
from tests.stories.day import Day, body, result, sync
from tests.world import COUNTY, DEPARTMENT, MORNING, VILLAGE_A

WATER = "610902-water_bureau"
HERE = {"lat": 32.69, "lng": 109.02, "accuracy_m": 12}
APPLIED = (Outcome.APPLIED, "ok")


class Called:
    """A whistle that was blown for two departments."""

    def __init__(self, member: Phone, lead: Phone, housing: Phone, water: Phone, whistle: RecordId) -> None:
        self.member, self.lead, self.housing, self.water = member, lead, housing, water
        self.whistle = whistle
        self.of_housing = projection_id(whistle, DEPARTMENT)
        self.of_water = projection_id(whistle, WATER)

    async def all_sync(self) -> None:
        for _ in range(2):
            await sync(self.member, self.housing, self.water, self.lead)

    async def does(self, phone: Phone, record: RecordId, op: str, values: dict[str, Any] | None = None, **args: Any) -> Any:
        made = phone.command(record, op, values, args=args)
        await self.all_sync()
        return result(phone, made)

    @property
    def shown(self) -> dict[str, Any]:
        return body(self.lead, self.whistle)


async def proposed(day: Day) -> Called:
    async with day.world.pool.acquire() as conn:
        unit = Unit(code=WATER, county=COUNTY, parent="610902", level=Level.DEPARTMENT, name="区水利局")
        await upsert_units(conn, [unit])
    member, lead = await day.member(), await day.lead()
    housing = await day.world.phone(await day.world.person("住建", (Role.DEPARTMENT_LEAD, DEPARTMENT)))
    water = await day.world.phone(await day.world.person("水利", (Role.DEPARTMENT_LEAD, WATER)))
    whistle = member.create("whistle", COUNTY, {"unit": VILLAGE_A, "title": "河道倾倒渣土", "position": HERE})
    called = Called(member, lead, housing, water, whistle)
    await called.all_sync()
    return called


async def blown(day: Day) -> Called:
    called = await proposed(day)
    assert await called.does(called.lead, called.whistle, "whistle.blow", {"called": [DEPARTMENT, WATER]}) == APPLIED
    return called


async def answered_by(called: Called, phone: Phone, record: RecordId) -> None:
    """Sign, report in and give a result without signal, then meet it again."""
    phone.command(record, "summons.sign")
    phone.command(record, "summons.report_in", args={"position": HERE})
    made = phone.command(record, "summons.result", {"result": "已清运"})
    await called.all_sync()
    assert result(phone, made) == APPLIED


async def test_a_whistle_is_answered_only_when_all_required_departments_are_in(day: Day) -> None:
    called = await blown(day)
    assert called.shown["state"] == "blown"
    await answered_by(called, called.housing, called.of_housing)
    assert called.shown["state"] == "blown"
    assert called.shown["summons"][DEPARTMENT]["state"] == "resulted"
    await answered_by(called, called.water, called.of_water)
    assert called.shown["state"] == "answered"
    for unit in (DEPARTMENT, WATER):
        assert await called.does(called.lead, called.whistle, "whistle.confirm", unit=unit, rating=5) == APPLIED
    assert body(called.water, called.of_water)["rating"] == 5
    early = await called.does(called.lead, called.whistle, "whistle.close")
    assert early == (Outcome.REJECTED, Reason.INCOMPLETE.value), "who raised it has not been told"
    assert await called.does(called.lead, called.whistle, "whistle.feed_back", to="甲", note="已清运") == APPLIED
    assert await called.does(called.lead, called.whistle, "whistle.close") == APPLIED
    assert body(called.member, called.whistle)["state"] == "closed"


async def test_a_report_in_counts_from_its_capture_not_its_arrival(day: Day) -> None:
    called = await blown(day)
    day.at(30)
    called.housing.command(called.of_housing, "summons.report_in", args={"position": HERE})
    day.at(300)
    await called.all_sync()
    assert called.shown["summons"][DEPARTMENT]["reported_in_at"] == (MORNING + timedelta(minutes=30)).isoformat()


async def test_a_report_in_needs_a_place(day: Day) -> None:
    called = await blown(day)
    done = await called.does(called.housing, called.of_housing, "summons.report_in")
    assert done == (Outcome.REJECTED, Reason.INCOMPLETE.value)


async def test_a_village_proposes_and_does_not_blow(day: Day) -> None:
    called = await proposed(day)
    done = await called.does(called.member, called.whistle, "whistle.blow", {"called": [DEPARTMENT]})
    assert done == (Outcome.REJECTED, Reason.NOT_YOUR_ROLE.value)


async def test_a_refusal_needs_a_legal_basis_and_is_possible_once(day: Day) -> None:
    called = await blown(day)
    refuse = (called.water, called.of_water, "summons.refuse")
    assert await called.does(*refuse) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    assert await called.does(*refuse, {"legal_basis": "非本部门法定职责"}) == APPLIED
    assert called.shown["summons"][WATER]["state"] == "refused"
    assert await called.does(called.lead, called.whistle, "whistle.insist", unit=WATER, reason="河道属水利") == APPLIED
    again = await called.does(*refuse, {"legal_basis": "仍非本部门职责"})
    assert again == (Outcome.REJECTED, Reason.INCOMPLETE.value)


async def test_a_justified_refusal_is_rerouted_to_another_department(day: Day) -> None:
    called = await proposed(day)
    await called.does(called.lead, called.whistle, "whistle.blow", {"called": [WATER]})
    await called.does(called.water, called.of_water, "summons.refuse", {"legal_basis": "属建筑垃圾"})
    done = await called.does(called.lead, called.whistle, "whistle.reroute", unit=WATER, to=DEPARTMENT, reason="建筑垃圾归住建")
    assert done == APPLIED
    assert body(called.water, called.of_water)["state"] == "cancelled"
    await answered_by(called, called.housing, called.of_housing)
    assert called.shown["state"] == "answered"


async def test_clocks_run_only_by_a_published_rule(day: Day) -> None:
    called = await blown(day)
    assert "sign_due_at" not in body(called.housing, called.of_housing) or body(called.housing, called.of_housing)["sign_due_at"] is None
    rule = WhistleRule(sign=Duration(hours=2), report_in=Duration(working_days=1))
    async with day.world.pool.acquire() as conn:
        publish = PublishRule(county=COUNTY, name=RuleName.WHISTLE, starts=MORNING, body=msgspec.to_builtins(rule))
        await insert_rule(conn, publish, None, MORNING)
    day.world.app.state.resources.units._checked = float("-inf")
    second = called.member.create("whistle", COUNTY, {"unit": VILLAGE_A, "title": "第二次"})
    await called.all_sync()
    await called.does(called.lead, second, "whistle.blow", {"called": [DEPARTMENT]})
    summons = body(called.housing, projection_id(second, DEPARTMENT))
    assert summons["sign_due_at"] == (MORNING + timedelta(hours=2)).isoformat().replace("+00:00", "Z")
    # Friday 2026-11-20; the next working day ends on Monday at midnight
    assert summons["report_in_due_at"] == "2026-11-23T16:00:00Z"
    assert summons["rule_version"] == 1


async def test_a_withdrawn_whistle_cancels_what_is_open(day: Day) -> None:
    called = await blown(day)
    assert await called.does(called.lead, called.whistle, "whistle.withdraw", reason="误报") == APPLIED
    assert body(called.housing, called.of_housing)["state"] == "cancelled"
