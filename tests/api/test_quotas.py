"""What one person may take of the server: bytes a day, places on desks, requests at the same time, live lines. Work that finds no place
waits on the phone with a clear word; the honest notice nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar
from uuid_utils.compat import uuid7

from api import listeners, live
from api.listeners import LINES_OF_DEVICE_MAX, LINES_OF_PERSON_MAX
from api.live import live_events
from api.turns import WAITING_MAX, Turns
from contracts.caller import Caller
from contracts.people import Role
from contracts.problems import Problem
from server.settings import LimitSettings, Settings
from storage.access import fetch_caller
from storage.tokens import hash_token
from tests.api.office import OTHER_COUNTY, TOWNSHIP, VILLAGE, Clock, Someone, World
from tests.api.test_exchange import a_part, a_request, a_site, exchanged, frames_of, named, post

pytestmark = pytest.mark.anyio

HANBIN = 610902
KIB = 1024


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A day of 200 kB and five places on a desk."""
    return settings.model_copy(update={"limits": LimitSettings(person_bytes_per_day=200 * KIB, held_of_person_max=5)})


@pytest.fixture
async def member(world: World) -> Someone:
    return await world.person((Role.GRID_MEMBER, VILLAGE))


async def second_device(world: World, someone: Someone) -> Someone:
    other = Someone(someone.id, someone.phone, someone.password, uuid7())
    await world.log_in(other)
    return other


def not_taken(frames: list[Any]) -> list[tuple[int, str]]:
    return [(told.county, told.reason) for told in frames[0].not_taken]


async def hand_in(world: World, someone: Someone, first: int, count: int, **fields: Any) -> list[Any]:
    return await exchanged(world, someone, a_part(*(a_site(n, **fields) for n in range(first, first + count))))


# ------------------------------------------------------------------------------------------------ bytes of a day


async def test_over_the_days_bytes_work_waits_on_the_phone_and_records_still_come(world: World, member: Someone) -> None:
    """H6: garbage of one phone filled the disk with 45 MiB in 1.5 s."""
    other = await world.person((Role.GRID_MEMBER, VILLAGE))
    n, refused = 1, list[Any]()
    while not refused:
        frames = await hand_in(world, member, n, 2, note="x" * 3900, newer="x" * 15_000)
        refused = frames[0].not_taken
        n += 0 if refused else 2
        assert n < 30
    assert not_taken(frames) == [(HANBIN, "over_quota")]
    assert (frames[0].problem, frames[0].message) == ("over_quota", refused[0].message)
    assert "保留在手机上" in refused[0].message
    assert 0 < refused[0].retry_after_s <= 86_400
    assert named(frames, "Outcomes") == []  # no receipt: the phone keeps it
    assert len(named(frames, "Page")) == 1  # what is new comes down all the same
    kept = await world.pool.fetchval("SELECT sum(octet_length(raw)) FROM journal WHERE device = $1", member.device)
    assert 150 * KIB < kept < 300 * KIB
    assert not_taken(await exchanged(world, other, a_part(a_site(501)))) == []  # nobody else notices
    world.clock.forward(seconds=refused[0].retry_after_s)
    await world.log_in(member)
    assert not_taken(await hand_in(world, member, n, 2, note="x" * 3900, newer="x" * 15_000)) == []


async def test_more_devices_have_no_more_bytes_and_no_more_requests(world: World, member: Someone) -> None:
    """By person: 25 devices of one account had a rate each."""
    devices = [member, *[await second_device(world, member) for _ in range(3)]]
    taken = 0
    for k, device in enumerate(devices):
        for n in range(1, 8):
            part = a_part(a_site(n, newer="x" * 20_000, name=f"{k}"))
            taken += not not_taken(await exchanged(world, device, part))
    assert 8 <= taken <= 14  # 200 kB and the process's own share, not four times as much


# ------------------------------------------------------------------------------------------------ desks


async def test_a_full_desk_takes_no_more_of_one_person(world: World, member: Someone) -> None:
    """H6: 200 items of one sender on a desk. What is not held goes in as before."""
    other = await world.person((Role.GRID_MEMBER, VILLAGE))
    frames = await hand_in(world, member, 1, 5, unit=TOWNSHIP)
    assert {o.reason.value for o in named(frames, "Outcomes")[0].outcomes} == {"no_duty"}
    frames = await hand_in(world, member, 6, 1, unit=TOWNSHIP)
    assert (not_taken(frames), named(frames, "Outcomes")) == ([(HANBIN, "desk_full")], [])
    again = await second_device(world, member)
    assert not_taken(await hand_in(world, again, 1, 1, unit=TOWNSHIP)) == [(HANBIN, "desk_full")]
    assert not_taken(await hand_in(world, again, 1, 1)) == []
    assert not_taken(await hand_in(world, other, 1, 1, unit=TOWNSHIP)) == []
    await world.pool.execute("UPDATE held SET settled_at = now() WHERE person = $1 AND n = 1", member.id)
    assert not_taken(await hand_in(world, member, 6, 1, unit=TOWNSHIP)) == []


async def test_a_console_puts_no_more_of_one_person_on_a_desk_than_phones_do(world: World, member: Someone) -> None:
    """The office's route held without a limit what phones were refused: one account laid 5,800 items on a desk in six seconds."""

    async def write(count: int) -> httpx.Response:
        body = {"unit": TOWNSHIP, "name": "工地", "subjects": ["construction_dust"]}
        sites = [{"id": str(uuid7()), "kind": "site", "record": str(uuid7()), "op": "create", "body": body} for _ in range(count)]
        headers = {"Authorization": f"Bearer {member.access}"}
        return await world.client.post("/office/v1/mutations", json={"county": HANBIN, "mutations": sites}, headers=headers)

    held = "SELECT count(*) FROM held WHERE person = $1 AND settled_at IS NULL"
    first = await write(4)
    assert {one["outcome"] for one in first.json()["outcomes"]} == {"quarantined"}
    refused = await write(2)
    assert (refused.status_code, refused.json()["code"], refused.json()["details"]["reason"]) == (429, "too_many_requests", "desk_full")
    assert await world.pool.fetchval(held, member.id) == 4
    assert (await write(1)).status_code == 200
    assert not_taken(await hand_in(world, member, 1, 1, unit=TOWNSHIP)) == [(HANBIN, "desk_full")]
    await world.pool.execute("UPDATE held SET settled_at = now() WHERE person = $1", member.id)
    assert (await write(2)).status_code == 200


async def written(world: World, someone: Someone) -> list[int]:
    """The numbers of this device in the journal, each as often as it was written."""
    rows = await world.pool.fetch("SELECT n FROM journal WHERE device = $1 AND what = 'mutation' ORDER BY n", someone.device)
    return [row["n"] for row in rows]


async def test_what_comes_before_a_full_desk_is_taken_and_the_rest_waits_for_room(world: World, member: Someone) -> None:
    """H6: one mutation without a place kept a whole batch on the phone."""
    other = await second_device(world, member)
    await hand_in(world, other, 501, 5, unit=TOWNSHIP)  # by another device, which no desk tells apart: the desk is full
    batch = [*(a_site(n) for n in range(1, 6)), a_site(6, unit=TOWNSHIP), a_site(7)]
    frames = await exchanged(world, member, a_part(*batch))
    assert (not_taken(frames), frames[0].problem) == ([(HANBIN, "desk_full")], "desk_full")
    (told,) = named(frames, "Outcomes")
    assert [(o.n, o.outcome.value) for o in told.outcomes] == [(n, "applied") for n in range(1, 6)]
    assert (told.n_high, told.receipt.n, told.holes) == (5, 5, [])  # acknowledged so far, and nothing was given up
    frames = await exchanged(world, member, a_part(*batch[5:]))
    assert (not_taken(frames), named(frames, "Outcomes")) == ([(HANBIN, "desk_full")], [])
    assert await written(world, member) == [1, 2, 3, 4, 5]
    await world.pool.execute("UPDATE held SET settled_at = now() WHERE person = $1 AND n = 501", member.id)
    frames = await exchanged(world, member, a_part(*batch))  # its answer may have been lost: it offers all of them again
    (told,) = named(frames, "Outcomes")
    assert not_taken(frames) == []
    assert [o.outcome.value for o in told.outcomes] == ["applied"] * 5 + ["quarantined", "applied"]
    assert (told.n_high, told.holes) == (7, [])
    assert await written(world, member) == [1, 2, 3, 4, 5, 6, 7]  # exactly once


async def test_the_last_places_of_a_desk_are_used(world: World, member: Someone) -> None:
    await hand_in(world, member, 1, 3, unit=TOWNSHIP)
    frames = await exchanged(world, member, a_part(*(a_site(n, unit=VILLAGE if n == 5 else TOWNSHIP) for n in range(4, 9))))
    (told,) = named(frames, "Outcomes")
    assert not_taken(frames) == [(HANBIN, "desk_full")]
    assert [(o.n, o.outcome.value) for o in told.outcomes] == [(4, "quarantined"), (5, "applied"), (6, "quarantined")]
    assert await world.pool.fetchval("SELECT count(*) FROM held WHERE person = $1 AND settled_at IS NULL", member.id) == 5


async def test_a_county_in_which_one_never_had_a_duty_takes_nothing(world: World, member: Someone) -> None:
    there = int(OTHER_COUNTY)
    frames = frames_of(await post(world, member, a_request(member, counties={there: a_part(a_site(1)), HANBIN: a_part(a_site(1))})))
    assert not_taken(frames) == [(there, "no_duty_here")]
    assert [frame.county for frame in named(frames, "Outcomes")] == [HANBIN]
    assert await world.pool.fetchval("SELECT count(*) FROM held") == 0


async def test_a_county_in_which_a_duty_has_ended_still_takes(world: World, member: Someone) -> None:
    """Work of the last days comes late; it is judged, not turned away."""
    await world.pool.execute("UPDATE duty SET ends = $2 WHERE person = $1", member.id, world.clock() - timedelta(days=1))
    frames = await hand_in(world, member, 1, 1)
    assert (not_taken(frames), len(named(frames, "Outcomes"))) == ([], 1)


# ------------------------------------------------------------------------------------------------ turns


async def test_one_person_has_a_quarter_of_the_places_at_most() -> None:
    turns, person, other = Turns(8), uuid7(), uuid7()
    at_work, most, release = 0, 0, asyncio.Event()

    async def request(who: Any) -> str:
        nonlocal at_work, most
        try:
            with turns.present(who):
                async with turns.at_work(who):
                    at_work += who == person
                    most = max(most, at_work)
                    await release.wait()
                    at_work -= who == person
                    return "done"
        except Problem as problem:
            return problem.code.value

    calls = [asyncio.create_task(request(person)) for _ in range(2 + WAITING_MAX + 3)]
    await asyncio.sleep(0.01)
    assert [call.result() for call in calls if call.done()] == ["too_many_requests"] * 3
    release.set()
    assert await request(other) == "done"
    assert (await asyncio.gather(*calls)).count("done") == 2 + WAITING_MAX
    assert most == 2
    assert turns._queues == {}  # nothing is kept of whoever is gone


async def test_a_flood_of_one_person_does_not_keep_another_waiting(world: World, app: Litestar, member: Someone) -> None:
    """All connections of the database but a quarter stay with the others."""
    lead = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP))
    pool = app.state.resources.pool
    held = await pool.acquire()
    try:
        flood = [asyncio.create_task(exchanged(world, member, a_part(a_site(1)))) for _ in range(20)]
        await asyncio.sleep(0)
        async with asyncio.timeout(60):
            assert not_taken(await exchanged(world, lead)) == []
        assert sum(task.done() for task in flood) <= 20
        await asyncio.gather(*flood)
    finally:
        await pool.release(held)


# ------------------------------------------------------------------------------------------------ live lines


class Heard:
    """One open line and what came over it."""

    def __init__(self, app: Litestar, someone: Someone, caller: Caller) -> None:
        self.events: list[str] = []
        self.ready = asyncio.Event()
        self.task = asyncio.create_task(self._listen(live_events(app.state.resources, caller, someone.access)))

    async def _listen(self, events: AsyncIterator[Any]) -> None:
        async for event in events:
            self.events.append(f"{event.event}: {event.data}")
            self.ready.set()

    async def end(self) -> str:
        async with asyncio.timeout(60):
            await self.task
        return self.events[-1]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "POLL_S", 0.05)
    monkeypatch.setattr(live, "LOOK_AGAIN_S", 0.05)


async def listening(app: Litestar, pool: asyncpg.Pool, clock: Clock, someone: Someone) -> Heard:
    caller = await fetch_caller(pool, hash_token(someone.access), clock())
    assert isinstance(caller, Caller)
    heard = Heard(app, someone, caller)
    async with asyncio.timeout(60):
        await heard.ready.wait()
    return heard


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("UPDATE person SET disabled_at = now() WHERE id = $1", "account_disabled"),
        ("DELETE FROM token t USING device d WHERE d.id = t.device AND d.person = $1", "not_authenticated"),
        ("UPDATE device SET wiped_at = now() WHERE person = $1", "device_revoked"),
    ],
    ids=["account", "token", "lost phone"],
)
async def test_a_live_line_ends_with_what_it_rests_on(
    world: World, app: Litestar, pool: asyncpg.Pool, clock: Clock, member: Someone, ending: str, code: str
) -> None:
    """H7: hints came for as long as the connection stood, also to a disabled account."""
    heard = await listening(app, pool, clock, member)
    await pool.execute(ending, member.id)
    assert await heard.end() == f'end: {{"code":"{code}"}}'
    assert app.state.resources.live._lines == {}


@pytest.mark.usefixtures("quick")
async def test_a_live_line_ends_when_the_token_expires(
    world: World, app: Litestar, pool: asyncpg.Pool, clock: Clock, member: Someone
) -> None:
    heard = await listening(app, pool, clock, member)
    clock.forward(hours=2)
    assert await heard.end() == 'end: {"code":"token_expired"}'


@pytest.mark.usefixtures("quick")
async def test_a_duty_that_ends_ends_the_hints_about_it(
    world: World, app: Litestar, pool: asyncpg.Pool, clock: Clock, member: Someone
) -> None:
    lead = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP))
    heard = await listening(app, pool, clock, lead)
    line = next(iter(app.state.resources.live._lines))
    await exchanged(world, member, a_part(a_site(1)))
    async with asyncio.timeout(60):
        while not any(VILLAGE in event for event in heard.events):  # noqa: ASYNC110 - a line has no event for it
            await asyncio.sleep(0.05)
    await pool.execute("UPDATE duty SET ends = $2 WHERE person = $1", lead.id, clock() - timedelta(minutes=1))
    async with asyncio.timeout(60):
        while any(VILLAGE in stream for stream in line.scope):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    said = len(heard.events)
    await exchanged(world, member, a_part(a_site(2)))
    await asyncio.sleep(0.5)
    assert not any(VILLAGE in event for event in heard.events[said:])
    heard.task.cancel()


@pytest.mark.usefixtures("quick")
async def test_a_device_has_few_lines_and_the_newest_win(
    world: World, app: Litestar, pool: asyncpg.Pool, clock: Clock, member: Someone
) -> None:
    """400 of 400 connections of one phone were kept. One that comes again has lost the earlier one."""
    lines = [await listening(app, pool, clock, member) for _ in range(LINES_OF_DEVICE_MAX + 3)]
    assert [await line.end() for line in lines[:3]] == ['end: {"code":"replaced"}'] * 3
    assert [line.task.done() for line in lines[3:]] == [False] * LINES_OF_DEVICE_MAX
    others = [await listening(app, pool, clock, await second_device(world, member)) for _ in range(LINES_OF_PERSON_MAX)]
    assert [await line.end() for line in lines[3:]] == ['end: {"code":"replaced"}'] * LINES_OF_DEVICE_MAX
    assert not any(line.task.done() for line in others)
    for line in others:
        line.task.cancel()


async def test_hints_count_as_requests(world: World, client: httpx.AsyncClient, app: Litestar) -> None:
    (handler,) = [h for route in app.routes if route.path == "/sync/v1/live" for h in route.route_handlers if "GET" in h.http_methods]
    assert handler.opt["limited"]
    assert (await client.get("/sync/v1/live")).status_code == 401
