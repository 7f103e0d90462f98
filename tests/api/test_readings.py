"""What the office reads of people and photos is noted: once an hour for each reader and target, and no reading waits for it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar

from api.readings import WAITING_MAX, Readings, reading_id
from contracts.access import Action
from contracts.caller import Caller, DeviceKind
from contracts.people import Role
from contracts.problems import Problem
from storage.audit_log import Origin
from storage.pool import Pool
from tests.api.office import HANBIN, TOWNSHIP, VILLAGE, Someone, World
from tests.api.photo_story import COUNTY, PhotoPhone
from tests.photo_builder import jpeg, picture, sha256_of

pytestmark = pytest.mark.anyio
READ = ("person_read", "people_listed", "photo_read")


async def read_entries(app: Litestar, world: World) -> list[tuple[str, str, UUID]]:
    """(action, subject, reader), after what waited has been written."""
    await app.state.resources.readings.flush()
    rows = await world.pool.fetch("SELECT action, subject, person FROM audit_log WHERE action = ANY ($1::text[]) ORDER BY at, action", READ)
    return [(row["action"], row["subject"], row["person"]) for row in rows]


async def get(world: World, someone: Someone, path: str, **query: Any) -> httpx.Response:
    return await world.client.get(path, params=query, headers=someone.headers)


async def test_reading_people_is_noted_once_an_hour_for_each_reader(app: Litestar, world: World) -> None:
    admin, other = await world.person((Role.ADMIN, TOWNSHIP)), await world.person((Role.ADMIN, HANBIN))
    member = await world.person((Role.GRID_MEMBER, VILLAGE))
    for _ in range(3):
        assert (await get(world, admin, f"/people/v1/persons/{member.id}")).status_code == 200
        assert (await get(world, admin, f"/people/v1/persons/{member.id}/devices")).status_code == 200
        assert (await get(world, admin, "/people/v1/persons", text="人")).status_code == 200
        assert (await get(world, admin, "/people/v1/persons", unit="nowhere")).json()["people"] == []
    assert sorted(await read_entries(app, world)) == [
        ("people_listed", "*", admin.id),
        ("person_read", str(member.id), admin.id),
    ]
    await get(world, other, f"/people/v1/persons/{member.id}")
    world.clock.forward(minutes=50)
    await get(world, admin, f"/people/v1/persons/{member.id}")
    assert len(await read_entries(app, world)) == 3
    world.clock.forward(minutes=15)
    await world.log_in(admin)
    await get(world, admin, f"/people/v1/persons/{member.id}")
    assert len(await read_entries(app, world)) == 4
    [shown, *_] = (await get(world, admin, "/audit/v1/entries", action="person_read", subject=str(member.id))).json()["entries"]
    assert (shown["unit"], shown["person"]) == (VILLAGE, str(admin.id))


async def test_what_is_not_shown_is_not_noted(app: Litestar, world: World) -> None:
    member, other = await world.person((Role.GRID_MEMBER, VILLAGE)), await world.person((Role.GRID_MEMBER, VILLAGE))
    assert (await get(world, member, f"/people/v1/persons/{other.id}")).status_code == 404
    assert (await get(world, member, "/people/v1/persons")).status_code == 403
    assert await read_entries(app, world) == []


async def test_a_photo_that_a_console_looks_at_is_noted_and_a_phone_is_not(app: Litestar, world: World) -> None:
    data = jpeg(picture(3))
    async with httpx.AsyncClient() as s3:
        phone = PhotoPhone(world, await world.person((Role.GRID_MEMBER, VILLAGE)), s3)
        await phone.announce(data, await phone.site())
        await phone.hand_in(data)
    console = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP), kind="console")
    path = f"/photos/v1/{COUNTY}/{sha256_of(data)}/original"
    for someone in (phone.someone, console, console):
        assert (await get(world, someone, path)).status_code in (200, 302)
    assert await read_entries(app, world) == [("photo_read", f"{COUNTY}/{sha256_of(data)}", console.id)]


def a_caller(number: int = 1) -> Caller:
    return Caller(person=UUID(int=number), name="", device=UUID(int=9), device_kind=DeviceKind.CONSOLE, duties=())


async def test_two_processes_and_a_second_write_make_one_entry(world: World, pool: Pool) -> None:
    for readings in (Readings(pool), Readings(pool)):
        readings.note(a_caller(), Action.PERSON_READ, "x", origin=Origin(), now=world.clock())
        await readings.flush()
    assert await pool.fetchval("SELECT count(*) FROM audit_log WHERE subject = 'x'") == 1


async def test_what_cannot_be_written_waits_and_when_too_much_waits_nothing_more_is_read(world: World, pool: Pool) -> None:
    readings = Readings(pool)
    for number in range(WAITING_MAX):
        readings.note(a_caller(number), Action.PERSON_READ, "y", origin=Origin(), now=world.clock())
    with pytest.raises(Problem, match="busy"):
        readings.note(a_caller(WAITING_MAX), Action.PERSON_READ, "y", origin=Origin(), now=world.clock())
    await readings.flush()
    assert await pool.fetchval("SELECT count(*) FROM audit_log WHERE subject = 'y'") == WAITING_MAX
    readings.note(a_caller(WAITING_MAX), Action.PERSON_READ, "y", origin=Origin(), now=world.clock())


async def test_what_waits_is_written_at_the_end(world: World, pool: Pool) -> None:
    readings = Readings(pool)
    async with readings.running():
        readings.note(a_caller(), Action.PHOTO_READ, "z", origin=Origin(source="s"), now=world.clock() + timedelta(hours=1))
    assert await pool.fetchval("SELECT source FROM audit_log WHERE subject = 'z'") == "s"


def test_the_id_of_a_reading_is_a_uuid_of_version_7_in_its_hour() -> None:
    one = reading_id(495_000, UUID(int=1), Action.PHOTO_READ, "x")
    assert (one.version, one.int >> 80) == (7, 495_000 * 3_600_000)
    assert len({reading_id(495_000, UUID(int=n), Action.PHOTO_READ, s) for n in range(5) for s in "xy"}) == 10
