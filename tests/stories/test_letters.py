"""督办单 by hand: who may issue to whom, who answers, who lifts, and what a letter may not claim."""

from typing import Any

import pytest

from contracts.ids import RecordId
from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from phone.phone import Phone
from tests.stories.day import Day, body, found, result, sync
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP, Person

REFUSED = (Outcome.REJECTED, Reason.NOT_YOUR_ROLE.value)
LETTER = {"unit": DEPARTMENT, "colour": "red", "title": "限期整改", "issued_by_unit": str(COUNTY), "grounds": {"reason": "长期未整改"}}


async def supervisor(day: Day, unit: str = str(COUNTY), role: Role = Role.COUNTY_SUPERVISOR) -> Phone:
    return await day.world.phone(await day.world.person(f"督办{unit}", (role, unit)))


async def head(day: Day) -> Phone:
    return await day.world.phone(await day.world.person("住建局长", (Role.DEPARTMENT_LEAD, DEPARTMENT)))


async def issue(phone: Phone, **more: Any) -> RecordId:
    letter = phone.create("supervision", COUNTY, {**LETTER, **more})
    await sync(phone)
    return letter


async def does(phone: Phone, letter: RecordId, command: str, values: dict[str, Any] | None = None, **args: Any) -> Any:
    await sync(phone)
    made = phone.command(letter, f"supervision.{command}", values, args=args)
    await sync(phone)
    return result(phone, made)


async def test_a_letter_written_offline_is_issued_when_it_arrives(day: Day) -> None:
    county, boss = await supervisor(day), await head(day)
    await sync(county, boss)
    letter = county.create("supervision", COUNTY, {**LETTER, "due_at": "2026-11-25T10:00:00Z"})  # on the mountain
    day.at(300)
    await sync(county, boss)
    shown = body(boss, letter)
    assert (shown["issued_at"], shown["due_at"]) == ("2026-11-20T06:00:00+00:00", "2026-11-25T10:00:00Z")
    assert await does(boss, letter, "acknowledge") == (Outcome.APPLIED, "ok")
    assert await does(boss, letter, "answer", {"answer": "已整改"}) == (Outcome.APPLIED, "ok")
    assert await does(county, letter, "lift", {"lifted_because": "answered"}) == (Outcome.APPLIED, "ok")


async def test_a_county_answers_the_letter_of_the_city_and_does_not_lift_it(day: Day) -> None:
    city, county = await supervisor(day, "6109", Role.CITY_SUPERVISOR), await supervisor(day)
    letter = await issue(city, unit=str(COUNTY), issued_by_unit="6109")
    for command, values in (
        ("lift", {"lifted_because": "mistaken"}),
        ("answer", {"answer": "立行立改"}),
        ("lift", {"lifted_because": "answered"}),
        ("reject_answer", None),
    ):
        found = await does(county, letter, command, values, reason="x")
        assert found == ((Outcome.APPLIED, "ok") if command == "answer" else REFUSED), command
    refused = [one for one in county.refused() if one.detail]
    assert all(one.detail["unit"] == "6109" for one in refused if one.detail)
    edited = county.edit(letter, {"title": "无需整改"})
    await sync(county)
    assert result(county, edited) == REFUSED
    assert await does(city, letter, "reject_answer", reason="未见成效") == (Outcome.APPLIED, "ok")
    assert await does(county, letter, "answer", {"answer": "已完成"}) == (Outcome.APPLIED, "ok")
    assert await does(city, letter, "lift", {"lifted_because": "answered"}) == (Outcome.APPLIED, "ok")


async def test_whoever_issues_does_not_answer_for_the_addressee(day: Day) -> None:
    county = await supervisor(day)
    letter = await issue(county)
    assert await does(county, letter, "acknowledge") == REFUSED
    assert await does(county, letter, "answer", {"answer": "已整改"}) == REFUSED


async def test_who_holds_duties_on_both_sides_does_not_accept_their_own_answer(day: Day) -> None:
    both: Person = await day.world.person("兼任", (Role.COUNTY_SUPERVISOR, str(COUNTY)), (Role.DEPARTMENT_LEAD, DEPARTMENT))
    phone, other = await day.world.phone(both), await supervisor(day)
    letter = await issue(phone)
    assert await does(phone, letter, "answer", {"answer": "已整改"}) == (Outcome.APPLIED, "ok")
    lifted = phone.command(letter, "supervision.lift", {"lifted_because": "answered"})
    await sync(phone)
    assert result(phone, lifted) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    assert found(phone, lifted).detail["needs"] == ["not_the_answerer"], "the role is theirs: it is the person that may not"
    assert await does(other, letter, "lift", {"lifted_because": "answered"}) == (Outcome.APPLIED, "ok")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"issued_by_unit": "6109"}, Reason.NOT_YOUR_ROLE),  # in the name of the city
        ({"unit": str(COUNTY)}, Reason.NOT_YOUR_ROLE),  # to itself
        ({"unit": str(COUNTY), "issued_by_unit": DEPARTMENT}, Reason.NOT_YOUR_ROLE),  # to the unit above
        ({"grounds": {"rule": "colours", "fact": "overdue", "due_moment": "yesterday"}}, Reason.READ_ONLY_FIELD),
        ({"issued_at": "2025-01-01T00:00:00Z"}, Reason.READ_ONLY_FIELD),
        ({"state": "lifted"}, Reason.READ_ONLY_FIELD),
    ],
)
async def test_what_a_letter_may_not_claim(day: Day, more: dict[str, Any], reason: Reason) -> None:
    phone = await supervisor(day)
    await issue(phone, **more)
    (refused,) = phone.refused()
    assert (refused.outcome, refused.reason) == (Outcome.REJECTED, reason.value)


async def test_a_term_without_a_time_zone_waits_on_the_desk(day: Day) -> None:
    phone = await supervisor(day)
    await issue(phone, due_at="2026-11-25T10:00:00")
    assert await day.held() == [("quarantined", "malformed")]


async def test_only_supervisors_issue_and_a_letter_is_lifted_as_answered_only_when_it_is(day: Day) -> None:
    lead, county = await day.lead(), await supervisor(day)
    lead.create("supervision", COUNTY, {**LETTER, "unit": f"{TOWNSHIP}001", "issued_by_unit": TOWNSHIP})
    await sync(lead)
    assert (lead.refused()[0].reason) == Reason.NOT_YOUR_ROLE.value
    letter = await issue(county)
    assert await does(county, letter, "lift", {"lifted_because": "answered"}) == (Outcome.REJECTED, "incomplete")
    assert await does(county, letter, "lift", {"lifted_because": "because"}) == (Outcome.REJECTED, "incomplete")
    assert await does(county, letter, "lift", {"lifted_because": "mistaken"}) == (Outcome.APPLIED, "ok")
