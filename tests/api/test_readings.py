"""What the office reads of people and photos is noted: once an hour for each reader and target, and no reading waits for it."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar

from api.readings import BATCH, SEARCHES_PER_HOUR, WAITING_MAX, WAITING_OF_READER, Readings, reading_id
from contracts.access import Action
from contracts.caller import Caller, DeviceKind
from contracts.people import Role
from contracts.problems import Problem
from storage.audit_log import Origin, Reading, insert_readings
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
        ("people_listed", "nowhere", admin.id),
        ("person_read", str(member.id), admin.id),
    ]
    await get(world, other, f"/people/v1/persons/{member.id}")
    world.clock.forward(minutes=50)
    await get(world, admin, f"/people/v1/persons/{member.id}")
    assert len(await read_entries(app, world)) == 4
    world.clock.forward(minutes=15)
    await world.log_in(admin)
    await get(world, admin, f"/people/v1/persons/{member.id}")
    assert len(await read_entries(app, world)) == 5
    [shown, *_] = (await get(world, admin, "/audit/v1/entries", action="person_read", subject=str(member.id))).json()["entries"]
    assert (shown["unit"], shown["person"]) == (VILLAGE, str(admin.id))


async def test_each_different_search_is_noted_with_what_was_asked_for(app: Litestar, world: World) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    searches: list[dict[str, str]] = [
        {"text": "王"},
        {"text": "李"},
        {"text": "李", "role": "grid_member"},
        {"text": "李", "unit": VILLAGE},
        {"unit": "no\0where"},
        {},
    ]
    for query in (*searches, *searches):
        assert (await get(world, admin, "/people/v1/persons", **query)).status_code == 200
    await app.state.resources.readings.flush()
    rows = await world.pool.fetch("SELECT detail FROM audit_log WHERE action = 'people_listed'")
    noted = [json.loads(row["detail"]) for row in rows]
    blank = {"text": "", "role": None, "unit": None}
    assert sorted(noted, key=str) == sorted([blank | query for query in (*searches[:4], {"unit": "no\ufffdwhere"}, {})], key=str)


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


def note(readings: Readings, world: World, reader: int, subject: str) -> None:
    readings.note(a_caller(reader), Action.PERSON_READ, subject, origin=Origin(), now=world.clock())


async def test_an_entry_that_cannot_be_written_keeps_no_other_waiting(world: World, pool: Pool) -> None:
    readings = Readings(pool)
    note(readings, world, 1, "no\0text")
    for number in range(BATCH + 5):
        note(readings, world, 2 + number, "w")
    await readings.flush()
    assert await pool.fetchval("SELECT count(*) FROM audit_log WHERE subject = 'w'") == BATCH + 5
    assert await pool.fetchval("SELECT count(*) FROM audit_log WHERE action = 'person_read'") == BATCH + 5
    note(readings, world, 1, "after it")
    await readings.flush()
    assert await pool.fetchval("SELECT count(*) FROM audit_log WHERE subject = 'after it'") == 1


@pytest.mark.parametrize("calls_before", [0, 3])  # at the batch; while its entries are tried one by one
async def test_a_connection_that_breaks_loses_nothing(world: World, pool: Pool, monkeypatch: pytest.MonkeyPatch, calls_before: int) -> None:
    readings, calls = Readings(pool), [0]
    for subject in ("a", "no\0text", "b", "c"):
        note(readings, world, 1, subject)

    async def breaking(pool: Pool, batch: Sequence[Reading]) -> None:
        calls[0] += 1
        if calls[0] > calls_before:
            raise ConnectionResetError
        await insert_readings(pool, batch)

    monkeypatch.setattr("api.readings.insert_readings", breaking)
    with pytest.raises(ConnectionResetError):
        await readings.flush()
    monkeypatch.undo()
    await readings.flush()
    rows = await pool.fetch("SELECT subject FROM audit_log WHERE action = 'person_read' ORDER BY subject")
    assert [row["subject"] for row in rows] == ["a", "b", "c"]


async def test_one_reader_does_not_take_the_places_of_others(world: World, pool: Pool) -> None:
    readings = Readings(pool)
    for number in range(WAITING_OF_READER):
        note(readings, world, 1, f"of the first {number}")
    with pytest.raises(Problem, match="busy"):
        note(readings, world, 1, "one more")
    note(readings, world, 2, "of another")
    await readings.flush()
    assert await pool.fetchval("SELECT count(*) FROM audit_log WHERE subject = 'of another'") == 1
    note(readings, world, 1, "one more")


async def test_the_searches_of_a_reader_are_bounded_by_the_hour_and_none_goes_unnoted(world: World, pool: Pool) -> None:
    readings = Readings(pool)

    def search(reader: int, number: int) -> None:
        asked = {"text": str(number)}
        readings.note_search(a_caller(reader), Action.PEOPLE_LISTED, "*", asked, origin=Origin(), now=world.clock())

    for number in range(SEARCHES_PER_HOUR):
        search(1, number)
    await readings.flush()
    assert await pool.fetchval("SELECT count(*) FROM audit_log WHERE action = 'people_listed'") == SEARCHES_PER_HOUR
    search(1, 0)  # a known one
    search(2, SEARCHES_PER_HOUR)
    with pytest.raises(Problem, match="too_many_requests"):
        search(1, SEARCHES_PER_HOUR)
    world.clock.forward(minutes=60)
    search(1, SEARCHES_PER_HOUR)


async def test_what_waits_is_written_at_the_end(world: World, pool: Pool) -> None:
    readings = Readings(pool)
    async with readings.running():
        readings.note(a_caller(), Action.PHOTO_READ, "z", origin=Origin(source="s"), now=world.clock() + timedelta(hours=1))
    assert await pool.fetchval("SELECT source FROM audit_log WHERE subject = 'z'") == "s"


def test_the_id_of_a_reading_is_a_uuid_of_version_7_in_its_hour() -> None:
    one = reading_id(495_000, UUID(int=1), Action.PHOTO_READ, "x")
    assert (one.version, one.int >> 80) == (7, 495_000 * 3_600_000)
    assert len({reading_id(495_000, UUID(int=n), Action.PHOTO_READ, s) for n in range(5) for s in "xy"}) == 10
