# ruff: noqa: F401, F811 - fixtures of another file
"""A department that is sent somewhere is told where, though the site is in no stream of its own."""

import uuid
from typing import Any

import pytest

from contracts.ids import problem_id, projection_id
from tests.api.casework import command, create
from tests.api.office import OTHER_COUNTY, TOWNSHIP, VILLAGE, Someone, World
from tests.api.photo_story import COUNTY, PhotoPhone
from tests.api.test_photo_mirrors import DEPARTMENT, Crossing, crossing, office, told
from tests.api.test_photo_process import HERE, body_of, objects, phone, work, work_off

PLACE = {"name": "金州路工地", "address": "金州路十八号", "position": HERE}
DUST = {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}
OTHER_VILLAGE = "610902101002"


async def ledger(world: World, someone: Someone, name: str) -> dict[str, Any]:
    answer = await world.client.get(f"/office/v1/ledgers/{name}", headers=someone.headers)
    (row,) = answer.json()["rows"]
    return dict(row)


def placed(body: dict[str, Any]) -> dict[str, Any]:
    position = body.get("position") and {name: value for name, value in body["position"].items() if value is not None}
    return {"site_name": body.get("site_name"), "site_address": body.get("site_address"), "position": position}


WHERE = {"site_name": PLACE["name"], "site_address": PLACE["address"]}


async def test_an_assignment_says_where_though_only_the_site_knows_it(crossing, world) -> None:
    site = await crossing.member.site(**PLACE)
    inspection = uuid.uuid4()
    visit = {"unit": VILLAGE, "subject": "construction_dust", "site": str(site), "checklist": DUST, "answers": {"sprinkling": "no"}}
    frames = await crossing.member.push(crossing.member.mutation("inspection", inspection, visit))
    assert frames["outcomes"]["outcomes"][0]["outcome"] == "applied", frames
    await office(world, crossing.lead, command("inspection", inspection, "inspection.submit"))
    problem = problem_id(inspection, "sprinkling")
    assert (await told(world, crossing.lead, problem))["record"]["body"]["position"].items() >= HERE.items()
    await office(world, crossing.lead, command("problem", problem, "problem.verify"))
    assignment = await crossing.assigned(problem)
    handler = crossing.handler.someone
    story = await told(world, handler, assignment)
    assert placed(story["record"]["body"]) == WHERE | {"position": HERE}
    assert story["record"]["body"]["problem_unit_name"].endswith(story["units"][VILLAGE])
    row = await ledger(world, handler, "assignments")
    assert (row["site_name"], placed(row["body"])["position"]) == (PLACE["name"], HERE)


async def test_a_summons_says_where_and_follows_a_correction(crossing, world) -> None:
    site, other = await crossing.member.site(**PLACE), await crossing.member.site(name="二号院")
    whistle = uuid.uuid4()
    await office(world, crossing.lead, create("whistle", whistle, {"unit": TOWNSHIP, "title": "吹哨", "site": str(site)}))
    await crossing.blown(whistle)
    summons, handler = projection_id(whistle, DEPARTMENT), crossing.handler.someone
    story = await told(world, handler, summons)
    assert placed(story["record"]["body"]) == WHERE | {"position": HERE}
    assert story["record"]["body"]["whistle_unit_name"] == story["units"][TOWNSHIP]
    assert (await ledger(world, handler, "summons"))["site_name"] == PLACE["name"]
    edit = {"id": str(uuid.uuid4()), "kind": "whistle", "record": str(whistle), "op": "edit", "fields": {"site": [str(site), str(other)]}}
    await office(world, crossing.lead, edit)
    assert placed((await told(world, handler, summons))["record"]["body"]) == {"site_name": "二号院", "site_address": "", "position": None}


async def test_a_position_of_its_own_is_told_before_the_site_s(crossing, world) -> None:
    site, own = await crossing.member.site(**PLACE), HERE | {"lat": 32.61}
    whistle = uuid.uuid4()
    said = {"unit": TOWNSHIP, "title": "吹哨", "site": str(site), "position": own}
    await office(world, crossing.lead, create("whistle", whistle, said))
    await crossing.blown(whistle)
    story = await told(world, crossing.handler.someone, projection_id(whistle, DEPARTMENT))
    assert placed(story["record"]["body"]) == WHERE | {"position": own}


async def test_naming_what_is_no_site_of_the_unit_tells_nothing_of_it(crossing, world) -> None:
    """Or the name and place of anything could be read by calling somebody to it."""
    site = await crossing.member.site(**PLACE)
    elsewhere = uuid.uuid4()
    body = {"unit": OTHER_VILLAGE, "subject": "construction_dust", "title": "裸土", "site": str(site)}
    await office(world, crossing.lead, create("problem", elsewhere, body), command("problem", elsewhere, "problem.report"))
    await office(world, crossing.lead, command("problem", elsewhere, "problem.verify"))
    assignment = await crossing.assigned(elsewhere)
    whistle = uuid.uuid4()
    await office(world, crossing.lead, create("whistle", whistle, {"unit": TOWNSHIP, "title": "吹哨", "site": str(elsewhere)}))
    await crossing.blown(whistle)
    for record in (assignment, projection_id(whistle, DEPARTMENT)):
        story = await told(world, crossing.handler.someone, record)
        assert placed(story["record"]["body"]) == {"site_name": "", "site_address": "", "position": None}
