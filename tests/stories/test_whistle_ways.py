"""镇办吹哨、部门报到, when it does not go smoothly: late phones, refusals, clocks that run again, photos, what a whistle may name."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest

from contracts.ids import RecordId, projection_id
from contracts.outcomes import Outcome, Reason
from contracts.people import Level, Role, Unit
from contracts.rules import Colour, ColoursRule, ColourTrigger, Duration, RuleName, WhistleRule
from phone.phone import Phone
from storage.units import upsert_units
from tests.api.casework import call, read
from tests.stories.day import Day, body, found, result, sync
from tests.stories.test_colours import letters, publish, tick
from tests.stories.test_whistle import APPLIED, HERE, WATER, Called, answered_by, blown, proposed
from tests.world import COUNTY, DEPARTMENT, MORNING, TOWNSHIP, VILLAGE_A, VILLAGE_B

LATE = (Outcome.APPLIED, Reason.LATE.value)
TAKEN = (Outcome.APPLIED, Outcome.MERGED)
THERE = {"lat": 32.7, "lng": 109.03, "accuracy_m": 5}


async def with_clocks(day: Day) -> None:
    await publish(day, RuleName.WHISTLE, WhistleRule(sign=Duration(hours=2), report_in=Duration(hours=4), result=Duration(hours=24)))
    trigger = ColourTrigger(key="absent", colour=Colour.WHITE, fact="summons_overdue")
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[trigger]))
    day.world.app.state.resources.units._checked = float("-inf")


async def missed(day: Day, hours: float) -> list[tuple[str, str]]:
    """(department, clock) of all letters issued up to so many hours after the morning."""
    await tick(day, MORNING + timedelta(hours=hours))
    return sorted((letter["unit"], letter["grounds"]["facts"]["clock"]) for letter in await letters(day))


def chain(phone: Phone, summons: RecordId) -> list[Any]:
    """The whole part of a department, without signal."""
    return [
        phone.command(summons, "summons.sign"),
        phone.command(summons, "summons.contact", {"contact": "陈 138"}),
        phone.command(summons, "summons.report_in", args={"position": HERE}),
        phone.command(summons, "summons.result", {"result": "已清运"}),
    ]


# ------------------------------------------------------------------------------------------------ clocks


async def test_who_refused_and_was_insisted_on_has_all_clocks_anew(day: Day) -> None:
    await with_clocks(day)
    called = await blown(day)
    day.at(60)
    assert await called.does(called.water, called.of_water, "summons.refuse", {"legal_basis": "非本部门法定职责"}) == APPLIED
    day.at(600)
    assert await called.does(called.lead, called.whistle, "whistle.insist", unit=WATER, reason="河道属水利") == APPLIED
    shown = body(called.water, called.of_water)
    assert datetime.fromisoformat(shown["sign_due_at"]) == MORNING + timedelta(hours=12)
    assert [m for m in await missed(day, 11) if m[0] == WATER] == [], "refused in time"
    assert [m for m in await missed(day, 15) if m[0] == WATER] == [(WATER, "report_in"), (WATER, "sign")]


async def test_a_clock_missed_before_it_began_again_is_still_issued_after_downtime(day: Day) -> None:
    await with_clocks(day)
    called = await blown(day)
    day.at(180)  # an hour too late
    assert await called.does(called.water, called.of_water, "summons.refuse", {"legal_basis": "非本部门法定职责"}) == APPLIED
    assert await called.does(called.lead, called.whistle, "whistle.insist", unit=WATER, reason="河道属水利") == APPLIED
    assert [m for m in await missed(day, 3.5) if m[0] == WATER] == [(WATER, "sign")]
    (letter,) = [one for one in await letters(day) if one["unit"] == WATER]
    assert datetime.fromisoformat(letter["issued_at"]) == MORNING + timedelta(hours=2)


async def test_a_result_that_was_sent_back_has_a_term_again(day: Day) -> None:
    await with_clocks(day)
    called = await blown(day)
    await answered_by(called, called.housing, called.of_housing)
    day.at(300)
    assert await called.does(called.lead, called.whistle, "whistle.send_back", unit=DEPARTMENT, reason="现场仍有渣土") == APPLIED
    assert datetime.fromisoformat(body(called.housing, called.of_housing)["result_due_at"]) == MORNING + timedelta(hours=29)
    assert (DEPARTMENT, "result") not in await missed(day, 28)
    assert (DEPARTMENT, "result") in await missed(day, 29)


async def test_whoever_only_assists_has_no_clock(day: Day) -> None:
    await with_clocks(day)
    called = await proposed(day)
    done = await called.does(called.lead, called.whistle, "whistle.blow", {"called": [DEPARTMENT], "optional": [WATER]})
    assert done == APPLIED
    assert body(called.water, called.of_water)["sign_due_at"] is None
    assert {unit for unit, _ in await missed(day, 48)} == {DEPARTMENT}


async def test_the_ledger_shows_whose_departments_are_late(day: Day) -> None:
    await with_clocks(day)
    called = await blown(day)
    read_overdue = {"overdue": "true", "county": str(COUNTY)}
    assert (await read(day.world, called.lead, "/office/v1/ledgers/whistles", **read_overdue))["rows"] == []
    day.at(121)
    await sync(called.lead)
    (row,) = (await read(day.world, called.lead, "/office/v1/ledgers/whistles", **read_overdue))["rows"]
    assert row["id"] == str(called.whistle)
    for phone, summons in ((called.housing, called.of_housing), (called.water, called.of_water)):
        chain(phone, summons)
    await called.all_sync()
    assert (await read(day.world, called.lead, "/office/v1/ledgers/whistles", **read_overdue))["rows"] == []


# ------------------------------------------------------------------------------------------------ late and out of order


@pytest.mark.parametrize("act", ["whistle.withdraw", "whistle.release"])
async def test_work_done_without_signal_outlives_what_the_township_did_meanwhile(day: Day, act: str) -> None:
    called = await blown(day)
    made = chain(called.water, called.of_water)
    named = {"unit": WATER} if act == "whistle.release" else {}
    done = called.lead.command(called.whistle, act, args={"reason": "误报", **named})
    await sync(called.lead)
    assert result(called.lead, done) == APPLIED
    await called.all_sync()
    assert [result(called.water, one)[0] in TAKEN for one in made] == [True] * 4
    summons = body(called.water, called.of_water)
    assert (summons["state"], summons["result"], summons["contact"]) == ("resulted", "已清运", "陈 138")
    assert called.shown["summons"][WATER]["result"] == "已清运"


async def test_a_result_outlives_the_refusal_of_the_same_department_and_its_rerouting(day: Day) -> None:
    called = await proposed(day)
    await called.does(called.lead, called.whistle, "whistle.blow", {"called": [WATER]})
    handler = await day.world.phone(await day.world.person("水利经办", (Role.DEPARTMENT_STAFF, WATER)))
    await sync(handler)
    made = chain(handler, called.of_water)
    await called.does(called.water, called.of_water, "summons.refuse", {"legal_basis": "属建筑垃圾"})
    await called.does(called.lead, called.whistle, "whistle.reroute", unit=WATER, to=DEPARTMENT, reason="归住建")
    await sync(handler)
    assert result(handler, made[-1])[0] in TAKEN
    await called.all_sync()
    assert called.shown["summons"][WATER]["state"] == "resulted"
    assert called.shown["state"] == "blown", "the department that was called instead is still waited for"


async def test_a_result_needs_a_report_in_also_when_it_is_late(day: Day) -> None:
    called = await blown(day)
    await called.does(called.water, called.of_water, "summons.sign")
    made = called.water.command(called.of_water, "summons.result", {"result": "电话已办"})
    called.lead.command(called.whistle, "whistle.release", args={"unit": WATER, "reason": "误报"})
    await sync(called.lead)
    await called.all_sync()
    assert result(called.water, made) == (Outcome.REJECTED, Reason.INCOMPLETE.value)


async def test_two_handlers_of_one_department_and_the_first_who_was_there_counts(day: Day) -> None:
    called = await blown(day)
    other = await day.world.phone(await day.world.person("住建经办", (Role.DEPARTMENT_STAFF, DEPARTMENT)))
    await sync(other)
    day.at(30)
    first = [
        other.command(called.of_housing, "summons.sign"),
        other.command(called.of_housing, "summons.report_in", args={"position": THERE}),
    ]
    day.at(90)
    await answered_by(called, called.housing, called.of_housing)
    day.at(120)
    await sync(other)
    assert [result(other, one)[0] in TAKEN for one in first] == [True, True]
    await called.all_sync()
    summons = body(called.housing, called.of_housing)
    assert datetime.fromisoformat(summons["reported_in_at"]) == MORNING + timedelta(minutes=30)
    assert summons["reported_in_position"] == THERE
    assert summons["state"] == "resulted"


async def test_a_later_report_in_does_not_move_the_first_one(day: Day) -> None:
    called = await blown(day)
    other = await day.world.phone(await day.world.person("住建经办", (Role.DEPARTMENT_STAFF, DEPARTMENT)))
    await sync(other)
    day.at(30)
    await called.does(called.housing, called.of_housing, "summons.report_in", position=HERE)
    day.at(200)
    late = other.command(called.of_housing, "summons.report_in", args={"position": THERE})
    await sync(other)
    assert result(other, late)[0] in TAKEN
    await called.all_sync()
    assert called.shown["summons"][DEPARTMENT]["reported_in_at"] == (MORNING + timedelta(minutes=30)).isoformat()


async def test_one_person_answers_for_two_departments(day: Day) -> None:
    called = await blown(day)
    both = await day.world.person("双岗", (Role.DEPARTMENT_STAFF, DEPARTMENT), (Role.DEPARTMENT_STAFF, WATER))
    phone = await day.world.phone(both)
    await sync(phone)
    made = [*chain(phone, called.of_housing), *chain(phone, called.of_water)]
    await sync(phone)
    assert {result(phone, one) for one in made} == {APPLIED}
    await called.all_sync()
    assert called.shown["state"] == "answered"


# ------------------------------------------------------------------------------------------------ refusals and whom to call


async def test_a_whistle_goes_back_to_who_refused_when_nobody_else_is_competent(day: Day) -> None:
    called = await proposed(day)
    await called.does(called.lead, called.whistle, "whistle.blow", {"called": [WATER]})
    await called.does(called.water, called.of_water, "summons.refuse", {"legal_basis": "属建筑垃圾"})
    await called.does(called.lead, called.whistle, "whistle.reroute", unit=WATER, to=DEPARTMENT, reason="归住建")
    await called.does(called.housing, called.of_housing, "summons.refuse", {"legal_basis": "在河道管理范围内"})
    back = await called.does(called.lead, called.whistle, "whistle.reroute", unit=DEPARTMENT, to=WATER, reason="河道属水利")
    assert back == APPLIED
    assert body(called.water, called.of_water)["state"] == "called"
    again = await called.does(called.water, called.of_water, "summons.refuse", {"legal_basis": "仍非本部门职责"})
    assert again == (Outcome.REJECTED, Reason.INCOMPLETE.value), "once is once"
    await answered_by(called, called.water, called.of_water)
    assert called.shown["state"] == "answered"


async def test_a_department_that_assists_can_become_the_one_that_must_come(day: Day) -> None:
    called = await proposed(day)
    await called.does(called.lead, called.whistle, "whistle.blow", {"called": [WATER], "optional": [DEPARTMENT]})
    await called.does(called.water, called.of_water, "summons.refuse", {"legal_basis": "属建筑垃圾"})
    done = await called.does(called.lead, called.whistle, "whistle.reroute", unit=WATER, to=DEPARTMENT, reason="归住建")
    assert done == APPLIED
    assert body(called.housing, called.of_housing)["required"] is True
    assert called.shown["state"] == "blown"
    await answered_by(called, called.housing, called.of_housing)
    assert called.shown["state"] == "answered"


async def test_one_more_department_is_called_when_the_place_needs_it(day: Day) -> None:
    called = await proposed(day)
    await called.does(called.lead, called.whistle, "whistle.blow", {"called": [DEPARTMENT]})
    await answered_by(called, called.housing, called.of_housing)
    await called.does(called.lead, called.whistle, "whistle.feed_back", to="甲", note="已清运")
    assert await called.does(called.lead, called.whistle, "whistle.call", unit=WATER, reason="渣土入河") == APPLIED
    assert (called.shown["state"], called.shown["feedback_owed"], called.shown["called"]) == ("blown", True, [DEPARTMENT, WATER])
    assert body(called.water, called.of_water)["state"] == "called"
    again = await called.does(called.lead, called.whistle, "whistle.call", unit=WATER, reason="再催")
    assert again == (Outcome.REJECTED, Reason.NOT_ALLOWED_NOW.value)
    await answered_by(called, called.water, called.of_water)
    assert called.shown["state"] == "answered"


async def test_a_refusal_names_what_would_be_allowed(day: Day) -> None:
    called = await blown(day)
    made = called.lead.command(called.whistle, "whistle.reroute", args={"unit": WATER, "to": DEPARTMENT, "reason": "x"})
    await called.all_sync()
    refused = found(called.lead, made)
    assert (refused.outcome, refused.reason) == (Outcome.REJECTED, Reason.NOT_ALLOWED_NOW.value)
    assert refused.detail is not None
    assert "whistle.release" in refused.detail["allowed"]


async def test_only_departments_of_this_county_are_called(day: Day) -> None:
    async with day.world.pool.acquire() as conn:
        await upsert_units(conn, [Unit(code="610900-env", county=610900, parent="610900", level=Level.DEPARTMENT, name="市环境局")])
    called = await proposed(day)
    for unit, reason in (
        (VILLAGE_B, Reason.NOT_A_DEPARTMENT),
        (TOWNSHIP, Reason.NOT_A_DEPARTMENT),
        (str(COUNTY), Reason.NOT_A_DEPARTMENT),
        ("610900-env", Reason.NOT_A_DEPARTMENT),
        ("no-such-unit", Reason.UNKNOWN_UNIT),
    ):
        made = called.lead.command(called.whistle, "whistle.blow", {"called": [DEPARTMENT, unit]})
        await called.all_sync()
        assert result(called.lead, made) == (Outcome.REJECTED, reason.value), unit
        assert found(called.lead, made).detail["units"] == [unit]
    assert "state" not in called.shown, "still proposed"
    page = await read(day.world, called.lead, "/office/v1/ledgers/whistles", state="proposed")
    assert [row["id"] for row in page["rows"]] == [str(called.whistle)]


async def test_spaces_are_no_legal_basis(day: Day) -> None:
    called = await blown(day)
    done = await called.does(called.water, called.of_water, "summons.refuse", {"legal_basis": "   "})
    assert done == (Outcome.REJECTED, Reason.INCOMPLETE.value)


# ------------------------------------------------------------------------------------------------ confirming and rating


@pytest.mark.parametrize("rating", [0, 6, 99, True, "好", 4.5])
async def test_a_rating_is_one_to_five(day: Day, rating: Any) -> None:
    called = await blown(day)
    await answered_by(called, called.housing, called.of_housing)
    done = await called.does(called.lead, called.whistle, "whistle.confirm", unit=DEPARTMENT, rating=rating)
    assert done == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    assert called.shown["summons"][DEPARTMENT]["state"] == "resulted"


async def test_neither_the_department_nor_another_township_confirms(day: Day) -> None:
    called = await blown(day)
    await answered_by(called, called.housing, called.of_housing)
    rated = {"unit": DEPARTMENT, "rating": 5}
    confirm = {"id": str(uuid.uuid4()), "kind": "whistle", "record": str(called.whistle), "op": "whistle.confirm", "args": rated}
    other = await day.world.phone(await day.world.person("外镇", (Role.TOWNSHIP_LEAD, "610921100")))
    for phone in (called.housing, other):
        path = "/office/v1/mutations"
        answer = await call(day.world, phone, "POST", path, json={"county": COUNTY, "mutations": [confirm | {"id": str(uuid.uuid4())}]})
        assert answer.json()["outcomes"][0]["outcome"] == "quarantined"
    await called.all_sync()
    assert called.shown["summons"][DEPARTMENT]["state"] == "resulted"


async def test_who_gave_the_result_does_not_confirm_it(day: Day) -> None:
    called = await blown(day)
    two_hats = await day.world.person("两顶帽子", (Role.TOWNSHIP_STAFF, TOWNSHIP), (Role.DEPARTMENT_STAFF, DEPARTMENT))
    phone = await day.world.phone(two_hats)
    await sync(phone)
    chain(phone, called.of_housing)
    await sync(phone)
    made = phone.command(called.whistle, "whistle.confirm", args={"unit": DEPARTMENT, "rating": 5})
    await sync(phone)
    assert result(phone, made) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    assert found(phone, made).detail["needs"] == ["not_the_answerer"]


# ------------------------------------------------------------------------------------------------ feedback, closing, opening again


async def closed(day: Day) -> Called:
    called = await blown(day)
    for phone, record in ((called.housing, called.of_housing), (called.water, called.of_water)):
        await answered_by(called, phone, record)
    for unit in (DEPARTMENT, WATER):
        await called.does(called.lead, called.whistle, "whistle.confirm", unit=unit, rating=5)
    await called.does(called.lead, called.whistle, "whistle.feed_back", to="甲", note="已清运")
    assert await called.does(called.lead, called.whistle, "whistle.close") == APPLIED
    return called


async def owed(day: Day, phone: Phone) -> list[str]:
    page = await read(day.world, phone, "/office/v1/ledgers/whistles", feedback_owed="true")
    return [row["id"] for row in page["rows"]]


async def test_who_owes_feedback_is_a_list(day: Day) -> None:
    supervisor = await day.world.phone(await day.world.person("县督办", (Role.COUNTY_SUPERVISOR, str(COUNTY))))
    called = await proposed(day)
    assert await owed(day, supervisor) == []
    assert await called.does(called.lead, called.whistle, "whistle.decline", reason="镇里可自办") == APPLIED
    assert await owed(day, supervisor) == [str(called.whistle)] == await owed(day, called.lead)
    opened = await read(day.world, called.lead, "/office/v1/ledgers/whistles", is_open="true", state="declined")
    assert len(opened["rows"]) == 1, "somebody still has to be told"
    assert await called.does(called.lead, called.whistle, "whistle.feed_back", to="网格员", note="镇里周五清运") == APPLIED
    assert await owed(day, supervisor) == []
    told = body(called.member, called.whistle)
    assert (told["steps"][-1]["command"], told["steps"][-1]["args"]["note"]) == ("whistle.feed_back", "镇里周五清运"), (
        "on the raiser's phone"
    )


async def test_a_false_result_opens_a_closed_whistle_again(day: Day) -> None:
    called = await closed(day)
    assert await called.does(called.lead, called.whistle, "whistle.send_back", unit=WATER, reason="次日又见渣土") == APPLIED
    assert (called.shown["state"], called.shown["feedback_owed"]) == ("blown", True)
    summons = body(called.water, called.of_water)
    assert (summons["state"], summons["rating"]) == ("reported_in", None)
    assert called.shown["steps"][-1]["source"], called.shown["steps"][-1]["to"] == ("closed", "blown")
    await called.does(called.water, called.of_water, "summons.result", {"result": "重新清运"})
    assert called.shown["state"] == "answered"
    early = await called.does(called.lead, called.whistle, "whistle.close")
    assert early == (Outcome.REJECTED, Reason.INCOMPLETE.value), "confirmed and told anew"


async def test_closing_ends_what_only_assisted(day: Day) -> None:
    called = await proposed(day)
    await called.does(called.lead, called.whistle, "whistle.blow", {"called": [DEPARTMENT], "optional": [WATER]})
    await answered_by(called, called.housing, called.of_housing)
    await called.does(called.lead, called.whistle, "whistle.confirm", unit=DEPARTMENT, rating=4)
    await called.does(called.lead, called.whistle, "whistle.feed_back", to="甲", note="已清运")
    assert await called.does(called.lead, called.whistle, "whistle.close") == APPLIED
    assert body(called.water, called.of_water)["state"] == "cancelled"
    assert called.shown["summons"][WATER]["state"] == "cancelled"


# ------------------------------------------------------------------------------------------------ what each side sees


async def test_a_correction_reaches_the_departments(day: Day) -> None:
    called = await blown(day)
    called.lead.edit(called.whistle, {"position": THERE, "text": "在桥下游 50 米"})
    await called.all_sync()
    for phone, record in ((called.housing, called.of_housing), (called.water, called.of_water)):
        assert (body(phone, record)["position"], body(phone, record)["text"]) == (THERE, "在桥下游 50 米")


async def test_photos_cross_between_township_and_department(day: Day) -> None:
    called = await proposed(day)
    called.member.add_photo(called.whistle, b"before")
    await called.all_sync()
    await called.does(called.lead, called.whistle, "whistle.blow", {"called": [DEPARTMENT, WATER]})
    called.member.add_photo(called.whistle, b"before, closer")
    await called.all_sync()
    await called.all_sync()
    called.housing.add_photo(called.of_housing, b"after", purpose="after")
    await called.all_sync()
    await called.all_sync()

    def of(phone: Phone, record: RecordId) -> int:
        return sum(photo.body["parent"] == str(record) for photo in phone.records("photo"))

    assert (of(called.housing, called.of_housing), of(called.water, called.of_water)) == (3, 2), "each sees the place, not the other's work"
    assert of(called.lead, called.whistle) == 3
    story = await read(day.world, called.lead, f"/office/v1/records/{COUNTY}/{called.whistle}")
    assert len(story["photos"]) == 3


# ------------------------------------------------------------------------------------------------ what a whistle may name


async def test_a_problem_of_elsewhere_is_not_whistled_about(day: Day) -> None:
    stranger = await day.member("乙村", VILLAGE_B)
    problem = stranger.create("problem", COUNTY, {"unit": VILLAGE_B, "subject": "construction_dust", "title": "乙村的事"})
    await sync(stranger)
    member, lead = await day.member(), await day.lead()
    for record in (problem, uuid.uuid4()):  # there is no telling whether it exists
        member.create("whistle", COUNTY, {"unit": VILLAGE_A, "title": "打听", "problem": str(record)})
        await sync(member, lead)
        assert await day.held() == [("quarantined", "record_missing")]
        await day.world.pool.execute("DELETE FROM held")
    assert lead.records("whistle") == []


async def test_a_whistle_stands_in_the_story_of_its_problem(day: Day) -> None:
    async with day.world.pool.acquire() as conn:
        await upsert_units(conn, [Unit(code=WATER, county=COUNTY, parent="610902", level=Level.DEPARTMENT, name="区水利局")])
    member, lead = await day.member(), await day.lead()
    problem = member.create("problem", COUNTY, {"unit": VILLAGE_A, "subject": "construction_dust", "title": "渣土", "source": "patrol"})
    whistle = member.create("whistle", COUNTY, {"unit": VILLAGE_A, "title": "叫部门来", "problem": str(problem)})
    held = member.create(
        "activity", COUNTY, {"unit": VILLAGE_A, "title": "入户宣传", "held_on": "2026-11-20", "subject_record": str(problem)}
    )
    await sync(member, lead)
    made = lead.command(whistle, "whistle.blow", {"called": [DEPARTMENT]})
    await sync(lead)
    assert result(lead, made) == APPLIED
    supervisor = await day.world.phone(await day.world.person("县督办", (Role.COUNTY_SUPERVISOR, str(COUNTY))))
    story = await read(day.world, supervisor, f"/office/v1/records/{COUNTY}/{problem}")
    assert [one["id"] for one in story["whistles"]] == [str(whistle)]
    assert [one["id"] for one in story["summons"]] == [str(projection_id(whistle, DEPARTMENT))]
    assert [one["id"] for one in story["activities"]] == [str(held)]
