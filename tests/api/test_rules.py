"""A county's rules: published by its own admin or supervisor, checked with the path of a fault, never edited, noted."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest

from contracts.people import Role
from contracts.rules import RuleName
from phone.phone import Phone
from tests.api.casework import Office, call, read
from tests.world import COUNTY, DEPARTMENT, MORNING, TOWNSHIP

PATH = "/office/v1/rules"
WHISTLE = {"sign": {"hours": 2}, "result": {"working_days": 5}}
TRIGGER = {"key": "late", "colour": "white", "fact": "overdue", "after": {"working_days": 1}}
SILENT = {"key": "silent", "colour": "yellow", "fact": "unanswered"}
BODIES: dict[str, dict[str, Any]] = {
    "calendar": {"days_off": ["2026-12-01"], "days_worked": []},
    "whistle": WHISTLE,
    "colours": {"triggers": [TRIGGER]},
    "reminders": {"before": [{"hours": 24}]},
    "seasons": {"seasons": [{"key": "harvest", "from_on": "2027-05-20", "to_on": "2027-06-20"}]},
    "duplicates": {"within_days": 30},
    "look_back": {"after": {"working_days": 60}},
}


async def publish(office: Office, phone: Phone, **more: Any) -> httpx.Response:
    starts = (MORNING + timedelta(minutes=5)).isoformat()
    body = {"county": COUNTY, "name": "whistle", "starts": starts, "body": WHISTLE, "note": "试行", **more}
    return await call(office.world, phone, "POST", PATH, json=body)


def test_every_rule_has_an_example() -> None:
    assert {name.value for name in RuleName} <= set(BODIES)


@pytest.mark.parametrize("name", [name.value for name in RuleName])
async def test_every_rule_is_published_and_listed(office: Office, name: str) -> None:
    made = await publish(office, office.supervisor, name=name, body=BODIES[name])
    assert made.status_code == 201, made.text
    assert (made.json()["version"], made.json()["body"]) == (1, BODIES[name])
    listed = await read(office.world, office.lead, PATH, county=COUNTY, name=name)
    assert ([v["version"] for v in listed["versions"]], listed["in_force"]) == ([1], {})
    office.world.at(6)
    assert (await read(office.world, office.lead, PATH, county=COUNTY))["in_force"] == {name: 1}


async def test_a_version_is_added_never_edited_and_noted_in_the_audit_log(office: Office) -> None:
    auditor = await office.world.phone(await office.world.person("审计", (Role.AUDITOR, str(COUNTY))))
    answers = await asyncio.gather(*(publish(office, office.supervisor, body={"sign": {"hours": 1 + k}}) for k in range(4)))
    assert sorted(answer.json()["version"] for answer in answers) == [1, 2, 3, 4]
    listed = await read(office.world, office.lead, PATH, county=COUNTY)
    assert len(listed["versions"]) == 4
    log = await read(office.world, auditor, "/audit/v1/entries", action="rule_published")
    assert {entry["subject"] for entry in log["entries"]} == {f"{COUNTY}/whistle/{k}" for k in (1, 2, 3, 4)}
    assert log["entries"][0]["detail"]["note"] == "试行"


@pytest.mark.parametrize(
    ("name", "body", "path", "fault"),
    [
        ("whistle", {"sign": {"hours": "two"}}, "$.body.sign.hours", "wrong_type_or_range"),
        ("whistle", {"sign": {"hours": 1, "working_days": 1}}, "$.body.sign", "exactly_one"),
        ("whistle", {"sign": {"working_days": 10**9}}, "$.body.sign.working_days", "wrong_type_or_range"),
        ("whistle", {"singe": {"hours": 1}}, "$.body.singe", "unknown_field"),
        ("colours", {"triggers": [TRIGGER, {**TRIGGER, "key": "b", "colour": "blue"}]}, "$.body.triggers[1].colour", "unknown_word"),
        ("colours", {"triggers": [{**TRIGGER, "fact": "ugly"}]}, "$.body.triggers[0].fact", "unknown_word"),
        ("colours", {"triggers": [{**TRIGGER, "afterr": 1}]}, "$.body.triggers[0].afterr", "unknown_field"),
        (
            "colours",
            {"triggers": [{**TRIGGER, "answer_within": {"hours": 1e9}}]},
            "$.body.triggers[0].answer_within.hours",
            "wrong_type_or_range",
        ),
        ("colours", {"triggers": [TRIGGER, TRIGGER]}, "$.body.triggers", "same_key"),
        ("colours", {"triggers": [{**SILENT, "colour": "white"}]}, "$.body.triggers[0].colour", "white_follows_nothing"),
        ("colours", {"triggers": [SILENT, {**SILENT, "key": "b"}]}, "$.body.triggers[1].colour", "same_colour_twice"),
        ("colours", {"triggers": [{**SILENT, "subjects": ["dust"]}]}, "$.body.triggers[0].subjects", "no_filter_here"),
        ("colours", {"triggers": [{**TRIGGER, "count": 2}]}, "$.body.triggers[0].count", "no_count_here"),
        ("colours", {"triggers": [{**TRIGGER, "addressee": "county"}]}, "$.body.triggers[0].addressee", "own_county"),
        ("colours", {}, "$.body", "missing"),
        ("calendar", {"days_off": ["2026-02-30"]}, "$.body.days_off[0]", "no_date"),
        ("calendar", {"days_off": ["2027-02-01"], "days_worked": ["2027-02-01"]}, "$.body.days_worked[0]", "off_and_worked"),
        ("calendar", {"days_off": ["2027-02-01", "2027-02-01"]}, "$.body.days_off[1]", "day_twice"),
        ("reminders", {"before": [{"working_days": 0}]}, "$.body.before[0]", "never_due"),
        ("look_back", {}, "$.body", "missing"),
    ],
)
async def test_a_fault_is_named_by_code_path_and_in_chinese(office: Office, name: str, body: dict[str, Any], path: str, fault: str) -> None:
    refused = await publish(office, office.supervisor, name=name, body=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_value"), refused.text
    assert (refused.json()["details"]["path"], refused.json()["details"]["reason"]) == (path, fault)
    assert re.search("[\u4e00-\u9fff]", refused.json()["detail"])
    assert (await read(office.world, office.supervisor, PATH, county=COUNTY))["versions"] == []


async def test_a_rule_cannot_start_in_the_past(office: Office) -> None:
    refused = await publish(office, office.supervisor, starts=(MORNING - timedelta(seconds=1)).isoformat())
    assert (refused.status_code, refused.json()["details"]["path"]) == (422, "$.starts")


@pytest.mark.parametrize("more", [{"starts": "2026-12-01T00:00:00"}, {"starts": "tomorrow"}, {"note": "\x00"}, {"county": "x"}])
async def test_what_is_no_rule_at_all_is_refused_and_nothing_breaks(office: Office, more: dict[str, Any]) -> None:
    refused = await publish(office, office.supervisor, **more)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_value"), refused.text


async def test_look_backs_and_colours_are_switched_off_by_a_version_that_says_so(office: Office) -> None:
    for name, body in (("look_back", {"after": None}), ("colours", {"triggers": []}), ("reminders", {"before": []})):
        assert (await publish(office, office.supervisor, name=name, body=body)).status_code == 201


async def test_a_city_writes_to_its_counties(office: Office) -> None:
    city = await office.world.phone(await office.world.person("市督办", (Role.CITY_SUPERVISOR, "6109")))
    body = {"triggers": [{**TRIGGER, "addressee": "county"}]}
    assert (await publish(office, city, county=610900, name="colours", body=body)).status_code == 201


async def test_only_the_county_itself_publishes_and_only_its_office_reads(office: Office) -> None:
    async def phone(role: Role, unit: str) -> Phone:
        return await office.world.phone(await office.world.person(role.value, (role, unit)))

    for role, unit in (
        (Role.COUNTY_SUPERVISOR, "610921"),
        (Role.ADMIN, TOWNSHIP),
        (Role.AUDITOR, str(COUNTY)),
        (Role.DEPARTMENT_LEAD, DEPARTMENT),
    ):
        refused = await publish(office, await phone(role, unit))
        assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed"), role
    for allowed in (await phone(Role.ADMIN, str(COUNTY)), await phone(Role.CITY_SUPERVISOR, "6109")):
        assert (await publish(office, allowed)).status_code == 201
    assert (await call(office.world, office.member, "GET", PATH, params={"county": COUNTY})).status_code == 403
    assert (await call(office.world, office.lead, "GET", PATH, params={"county": 610921})).status_code == 403
    assert len((await read(office.world, await phone(Role.DEPARTMENT_LEAD, DEPARTMENT), PATH, county=COUNTY))["versions"]) == 2
