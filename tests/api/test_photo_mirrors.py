# ruff: noqa: F401, F811 - fixtures of another file
"""Photos cross between a township and the departments that work for it: bytes, renderings, notes; and no further."""

import uuid
from typing import Any

import httpx
import pytest

from contracts.ids import projection_id
from contracts.people import Role
from tests.api.casework import command, create
from tests.api.office import TOWNSHIP, VILLAGE, Someone, World
from tests.api.photo_story import COUNTY, PhotoPhone
from tests.api.test_photo_process import body_of, handed_in, objects, phone, work, work_off
from tests.photo_builder import jpeg, picture, sha256_of

DEPARTMENT = "610902-housing_bureau"
OTHER_DEPARTMENT = "610902-water_bureau"
BEFORE, AFTER = jpeg(picture(1)), jpeg(picture(2))
RENDERINGS = ("original", "stamped", "thumb_320", "thumb_1280")


async def office(world: World, someone: Someone, *mutations: dict[str, Any]) -> None:
    said = {"county": COUNTY, "mutations": list(mutations)}
    answer = await world.client.post("/office/v1/mutations", json=said, headers=someone.headers)
    assert answer.status_code == 200, answer.text
    assert {o["outcome"] for o in answer.json()["outcomes"]} <= {"applied", "merged"}, answer.text


async def seen(world: World, someone: Someone, data: bytes) -> list[int]:
    paths = [f"/photos/v1/{COUNTY}/{sha256_of(data)}/{name}" for name in RENDERINGS]
    return [(await world.client.get(path, headers=someone.headers)).status_code for path in paths]


async def told(world: World, someone: Someone, record: uuid.UUID) -> dict[str, Any]:
    answer = await world.client.get(f"/office/v1/records/{COUNTY}/{record}", headers=someone.headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def links_of(world: World, someone: Someone, record: uuid.UUID) -> list[str]:
    """What the story's pictures lead to, each asked for."""
    links = [link for photo in (await told(world, someone, record))["photos"] for link in photo["links"].values()]
    for link in links:
        assert (await world.client.get(link, headers=someone.headers)).status_code == 200, link
    return [link.rpartition("/")[2] for link in links]


class Crossing:
    """A township with somebody of it, a department that must fix it, and one that has nothing to do with it."""

    def __init__(self, member: PhotoPhone, lead: Someone, handler: PhotoPhone, stranger: Someone) -> None:
        self.member = member
        self.lead = lead
        self.handler = handler
        self.stranger = stranger

    @classmethod
    async def met(cls, phone: PhotoPhone) -> "Crossing":
        world = phone.world
        lead = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP), kind="console")
        handler = PhotoPhone(world, await world.person((Role.DEPARTMENT_STAFF, DEPARTMENT)), phone.s3)
        stranger = await world.person((Role.DEPARTMENT_STAFF, OTHER_DEPARTMENT))
        return cls(phone, lead, handler, stranger)

    async def problem(self) -> uuid.UUID:
        record = uuid.uuid4()
        body = {"unit": VILLAGE, "subject": "construction_dust", "title": "裸土未覆盖"}
        await office(self.member.world, self.lead, create("problem", record, body), command("problem", record, "problem.report"))
        await office(self.member.world, self.lead, command("problem", record, "problem.verify"))
        return record

    async def assigned(self, record: uuid.UUID) -> uuid.UUID:
        given = {"due_on": [None, "2026-06-20"], "leads": [[], [DEPARTMENT]]}
        await office(self.member.world, self.lead, command("problem", record, "problem.assign", given))
        return projection_id(record, DEPARTMENT)

    async def whistle(self) -> tuple[uuid.UUID, uuid.UUID]:
        record = uuid.uuid4()
        await office(self.member.world, self.lead, create("whistle", record, {"unit": TOWNSHIP, "title": "吹哨"}))
        return record, projection_id(record, DEPARTMENT)

    async def blown(self, record: uuid.UUID) -> None:
        await office(self.member.world, self.lead, command("whistle", record, "whistle.blow", {"called": [[], [DEPARTMENT]]}))


@pytest.fixture
async def crossing(phone: PhotoPhone) -> Crossing:
    return await Crossing.met(phone)


async def test_a_department_sees_the_township_s_picture_of_a_problem_and_the_township_its_fix(crossing, world, pool, work) -> None:
    problem = await crossing.problem()
    await handed_in(crossing.member, BEFORE, problem, purpose="before")
    assignment = await crossing.assigned(problem)
    handler = crossing.handler
    await handed_in(handler, AFTER, assignment, purpose="after")
    await work_off(pool, work)  # notes come when the mirrors are made already
    assert await seen(world, handler.someone, BEFORE) == [200] * 4
    assert await seen(world, crossing.lead, AFTER) == [200] * 4
    assert await seen(world, crossing.member.someone, AFTER) == [200] * 4
    assert await links_of(world, handler.someone, assignment) == list(RENDERINGS) * 2
    assert await links_of(world, crossing.lead, problem) == list(RENDERINGS) * 2
    for data in (BEFORE, AFTER):
        assert await seen(world, crossing.stranger, data) == [404] * 4


async def test_a_mirror_says_all_that_its_picture_says_and_no_more_is_seen_once_it_is_withdrawn(crossing, world, pool, work) -> None:
    problem = await crossing.problem()
    photo = await crossing.member.announce(BEFORE, problem, purpose="before")
    assignment = await crossing.assigned(problem)
    await crossing.member.hand_in(BEFORE)
    await work_off(pool, work)
    taken, shown = await body_of(pool, photo), await body_of(pool, projection_id(photo, str(assignment)))
    assert taken["received_at"] is not None
    assert shown == taken | {"parent": str(assignment), "mirror_of": str(photo)}
    again = {"leads": [[DEPARTMENT], [OTHER_DEPARTMENT]]}
    await office(world, crossing.lead, command("problem", problem, "problem.assign", again | {"due_on": [None, "2026-06-21"]}))
    assert await seen(world, crossing.handler.someone, BEFORE) == [404] * 4
    assert await seen(world, crossing.stranger, BEFORE) == [200] * 4, "now it is theirs to fix"


async def test_pictures_cross_between_a_whistle_and_its_summons(crossing, world, pool, work) -> None:
    whistle, summons = await crossing.whistle()
    lead, handler = PhotoPhone(world, crossing.lead, crossing.member.s3), crossing.handler
    await handed_in(lead, BEFORE, whistle)
    assert await seen(world, handler.someone, BEFORE) == [404] * 4, "nobody is called yet"
    await crossing.blown(whistle)
    await handed_in(handler, AFTER, summons, purpose="after")
    await work_off(pool, work)
    assert await seen(world, handler.someone, BEFORE) == [200] * 4
    assert await seen(world, crossing.lead, AFTER) == [200] * 4
    assert await links_of(world, handler.someone, summons) == list(RENDERINGS) * 2
    assert await links_of(world, crossing.lead, whistle) == list(RENDERINGS) * 2
    for data in (BEFORE, AFTER):
        assert await seen(world, crossing.stranger, data) == [404] * 4


async def test_a_console_hands_in_the_picture_that_it_announced(crossing, world, pool, work) -> None:
    problem = await crossing.problem()
    photo = uuid.uuid4()
    whole = {"parent": str(problem), "sha256": sha256_of(BEFORE), "bytes": len(BEFORE), "media_type": "image/jpeg"}
    await office(world, crossing.lead, create("photo", photo, whole))
    (wanted,) = (await world.client.get(f"/photos/v1/wanted?unit={TOWNSHIP}", headers=crossing.lead.headers)).json()["photos"]
    assert (wanted["photo"], wanted["device_name"], wanted["person"]) == (str(photo), "办公端", str(crossing.lead.id))
    console = PhotoPhone(world, crossing.lead, crossing.member.s3)
    received = await console.hand_in(BEFORE)
    assert received.json()["state"] == "received", received.text
    await work_off(pool, work)
    assert await seen(world, crossing.lead, BEFORE) == [200] * 4
    assert (await world.client.get(f"/photos/v1/wanted?unit={TOWNSHIP}", headers=crossing.lead.headers)).json()["photos"] == []
    stranger = PhotoPhone(world, crossing.stranger, crossing.member.s3)
    refused: httpx.Response = await stranger.ask(sha256_of(BEFORE))
    assert (refused.status_code, refused.json()["code"]) == (409, "photo_not_announced")
