"""回头看 as a campaign: all closed problems that the ledger's filters hold for have their day, page by page, each once."""

import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api import bulk
from contracts.ids import RecordId
from contracts.people import Role
from phone.phone import Phone
from storage.timers import run_timers
from storage.units import UnitsCache
from tests.api.casework import HERE, Office, call, command
from tests.stories.day import Day
from tests.world import COUNTY, DEPARTMENT, VILLAGE_A, VILLAGE_B

PATH = "/office/v1/problems/look-back"
DAY = "2026-12-20"
APPLIED = ("applied", "ok")


async def closed(office: Office, title: str, due_on: str = "2026-12-01", unit: str = VILLAGE_A, **more: Any) -> RecordId:
    """From its report to its close-out."""
    problem = await office.problem(title, unit, **more)
    await office.assign(problem, due_on)
    member = office.member if unit == VILLAGE_A else await office.world.phone(await office.world.person("乙", (Role.GRID_MEMBER, unit)))
    await member.sync()
    photo = member.add_photo(problem, f"{problem}".encode(), purpose="after")
    member.command(problem, "problem.submit_fix", args={"photos": [str(photo)]})
    await member.sync()
    await Day(office.world).photos_arrive()
    by_the_village = {"without": [DEPARTMENT], "reason": "由村上整改"}
    await office.done(office.lead, command("problem", problem, "problem.accept", position=HERE, **by_the_village))
    await office.done(office.lead, command("problem", problem, "problem.close_out"))
    return problem


async def plan(office: Office, phone: Phone, **more: Any) -> httpx.Response:
    wanted = {"id": str(uuid.uuid4()), "county": COUNTY, "look_back_on": DAY, **more}
    return await call(office.world, phone, "POST", PATH, json=wanted)


def ends(answer: httpx.Response) -> dict[RecordId, Any]:
    assert answer.status_code == 200, answer.text
    rows = answer.json()["rows"]
    assert len({row["problem"] for row in rows}) == len(rows)
    return {uuid.UUID(row["problem"]): row["fault"] or (row["outcome"]["outcome"], row["outcome"].get("reason", "ok")) for row in rows}


async def days(office: Office) -> dict[RecordId, str | None]:
    rows = await office.world.pool.fetch("SELECT id, body->>'look_back_on' AS day FROM record WHERE kind = 'problem'")
    return {row["id"]: row["day"] for row in rows}


async def test_all_that_match_have_their_day_and_on_it_a_task_each(office: Office) -> None:
    dust = [await closed(office, f"扬尘{k}", source="central_inspection") for k in range(2)]
    letter = await closed(office, "信访", source="petition", unit=VILLAGE_B)
    still_open = await office.problem("未结", source="central_inspection")
    assert ends(await plan(office, office.lead, source="central_inspection")) == dict.fromkeys(dust, APPLIED)
    assert await days(office) == dict.fromkeys(dust, DAY) | {letter: None, still_open: None}
    assert ends(await plan(office, office.lead, unit=VILLAGE_B)) == {letter: APPLIED}
    later = office.world.time + timedelta(days=40)
    for _ in range(2):
        await run_timers(office.world.pool, await UnitsCache(office.world.pool).reference(), COUNTY, later)
    tasks = await office.world.pool.fetch("SELECT body->>'origin' AS origin FROM record WHERE kind = 'task'")
    assert Counter(uuid.UUID(row["origin"]) for row in tasks) == Counter([*dust, letter]), "one check for each entry"


async def test_the_filters_are_the_ledgers(office: Office) -> None:
    problem = await closed(office, "裸土未覆盖", subject="construction_dust", ledgers=["prominent_2022"])
    passing = {
        "subject": "construction_dust",
        "name": "prominent_2022",
        "text": "裸土",
        "closed_year": 2026,
        "department": "610902-housing_bureau",
    }
    other = {
        "subject": "noise",
        "name": "outfall",
        "text": "噪声",
        "closed_year": 2025,
        "department": "610902-env_bureau",
        "source": "video",
    }
    for name, value in other.items():
        assert ends(await plan(office, office.lead, **(passing | {name: value}))) == {}, name
    assert ends(await plan(office, office.lead, state=["look_back_passed"])) == {}
    assert await office.titles(office.lead, closed_year=2026) == ["裸土未覆盖"]
    assert await office.titles(office.lead, closed_year=2025) == []
    assert ends(await plan(office, office.lead, **passing)) == {problem: APPLIED}


async def test_what_came_back_is_not_of_the_year_any_more(office: Office) -> None:
    problem = await closed(office, "裸土")
    args = {"reason": "rebound"}
    await office.done(office.lead, command("problem", problem, "problem.rebound", {"due_on": ["2026-12-01", "2026-12-15"]}, **args))
    assert await office.titles(office.lead, closed_year=2026) == []
    assert ends(await plan(office, office.lead, closed_year=2026)) == {}


async def test_page_by_page_none_is_missed_and_none_comes_twice(office: Office) -> None:
    problems = [await closed(office, f"p{k}", due_on=f"2026-12-0{1 + k // 2}") for k in range(5)]
    campaign, after, seen = str(uuid.uuid4()), None, []
    for turn in range(3):
        answer = await plan(office, office.lead, id=campaign, limit=2, after=after)
        assert set(ends(answer).values()) == {APPLIED}
        seen += ends(answer)
        if turn == 0:  # meanwhile somebody goes on with a later one, and one of this page is planned otherwise
            await office.done(office.lead, command("problem", problems[4], "problem.look_back", position=HERE))
            await office.done(office.lead, command("problem", problems[0], "problem.comment"))
        after = answer.json()["next"]
    assert after is None
    assert sorted(seen) == sorted(problems)
    assert set((await days(office)).values()) == {DAY}


async def test_the_same_page_again_changes_nothing(office: Office) -> None:
    problems = [await closed(office, f"p{k}") for k in range(2)]
    campaign = str(uuid.uuid4())
    first = await plan(office, office.lead, id=campaign)
    versions = await office.world.pool.fetch("SELECT id, version FROM record ORDER BY id")
    again = await plan(office, office.lead, id=campaign)
    assert first.json()["applied"] == again.json()["applied"] == 2
    assert ends(again) == dict.fromkeys(problems, ("applied", "already_so"))
    assert await office.world.pool.fetch("SELECT id, version FROM record ORDER BY id") == versions
    other = await plan(office, office.lead, id=campaign, look_back_on="2026-12-24")
    assert (other.status_code, other.json()["code"]) == (409, "conflicting_state"), "another day is another campaign"


async def test_if_the_server_fails_at_one_the_others_are_planned_and_the_next_time_it_is_too(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [await closed(office, f"p{k}") for k in range(3)]
    whole, campaign = bulk.office_push, str(uuid.uuid4())

    async def failing(*args: Any, **options: Any) -> Any:
        if any(one.record == problems[1] for one in args[4]):
            raise ZeroDivisionError
        return await whole(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(bulk, "office_push", failing)
        assert ends(await plan(office, office.lead, id=campaign)) == {problems[0]: APPLIED, problems[1]: "internal", problems[2]: APPLIED}
    assert ends(await plan(office, office.lead, id=campaign))[problems[1]] == APPLIED
    assert set((await days(office)).values()) == {DAY}


async def test_a_day_that_has_passed_is_refused_for_each(office: Office) -> None:
    problem = await closed(office, "p")
    assert ends(await plan(office, office.lead, look_back_on="2026-11-01")) == {problem: ("rejected", "incomplete")}
    assert await days(office) == {problem: None}


async def test_it_is_for_the_office_of_these_problems(office: Office) -> None:
    problem = await closed(office, "p")
    assert ends(await plan(office, office.member)) == {problem: ("rejected", "not_your_role")}
    assert ends(await plan(office, office.handler)) == {}, "a department has no problem of another unit"
    other = await office.world.phone(await office.world.person("汉阴", (Role.COUNTY_SUPERVISOR, "610921")))
    assert ends(await plan(office, other)) == {}
    ended = await office.world.person("离任")
    await office.world.duty(ended, Role.COUNTY_SUPERVISOR, str(COUNTY), office.world.time - timedelta(days=9), office.world.time)
    assert (await plan(office, await office.world.phone(ended))).status_code == 403


async def test_what_went_to_the_archive_comes_home_for_its_look_back(office: Office) -> None:
    problem = await closed(office, "p")
    pool = office.world.pool
    await pool.execute("UPDATE record SET stream = $2 WHERE id = $1", problem, f"{VILLAGE_A}.archive")
    await pool.execute("UPDATE ledger_entry SET stream = $2 WHERE record = $1", problem, f"{VILLAGE_A}.archive")
    assert ends(await plan(office, office.lead)) == {problem: APPLIED}
    assert await pool.fetchval("SELECT stream FROM record WHERE id = $1", problem) == f"{VILLAGE_A}.field"


@pytest.mark.parametrize(
    "wrong", [{"limit": 201}, {"limit": 0}, {"look_back_on": "bald"}, {"state": ["assigned"]}, {"closed_year": 20}, {"after": "x"}]
)
async def test_what_makes_no_sense_is_refused_in_chinese(office: Office, wrong: dict[str, Any]) -> None:
    answer = await plan(office, office.lead, **wrong)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_value"), answer.text
    assert any("\u4e00" <= c <= "\u9fff" for c in answer.json()["detail"])


async def test_more_than_two_hundred_at_once_are_refused_in_chinese(office: Office) -> None:
    many = {
        "id": str(uuid.uuid4()),
        "county": COUNTY,
        "due_on": DAY,
        "leads": ["610902-housing_bureau"],
        "problems": [{"problem": str(uuid.uuid4())} for _ in range(201)],
    }
    answer = await call(office.world, office.lead, "POST", "/office/v1/problems/assign", json=many)
    fault = answer.json()["details"]["faults"][0]
    assert (answer.status_code, fault["code"]) == (422, "too_many"), answer.text
    assert "200" in fault["message"], "and how many may be"


@pytest.mark.parametrize("more", [{"text": " "}, {"text": ""}, {"text": "\u0000"}, {"subjcet": "construction_dust"}])
async def test_a_filter_that_is_none_plans_for_nobody(office: Office, more: dict[str, Any]) -> None:
    problem = await closed(office, "裸土")
    refused = await plan(office, office.supervisor, **more)
    assert refused.status_code == 422, refused.text
    assert any("\u4e00" <= c <= "\u9fff" for c in refused.json()["detail"])
    body = await office.world.pool.fetchval("SELECT body ->> 'look_back_on' FROM record WHERE id = $1", problem)
    assert body is None
