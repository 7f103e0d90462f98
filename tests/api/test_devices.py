"""Devices: whose they are, retiring them, and the lost phone."""

import asyncio
import json
import uuid
from datetime import timedelta

import httpx
import pytest
from litestar import Litestar
from uuid_utils.compat import uuid7

from contracts.exchange import EXCHANGE_PATH
from contracts.people import Role
from server.settings import AuthSettings
from tests.api.office import HANBIN, OTHER_COUNTY, TOWNSHIP, VILLAGE, Someone, World, every_route
from tests.api.test_auth import problem_of, refresh, whoami

pytestmark = pytest.mark.anyio

FIELD = (Role.GRID_MEMBER, VILLAGE)


async def post(world: World, someone: Someone, path: str) -> httpx.Response:
    return await world.client.post(path, headers=someone.headers)


def exchange_body(someone: Someone) -> bytes:
    clock = {"session": str(uuid7()), "mono_ms": 1, "wall_ms": 1}
    return json.dumps({"device": str(someone.device), "contract": 1, "clock": clock}).encode()


async def exchange(world: World, someone: Someone) -> httpx.Response:
    return await world.client.post(EXCHANGE_PATH, content=exchange_body(someone), headers=someone.headers)


async def test_my_devices_are_listed_with_the_one_that_asks(world: World) -> None:
    someone = await world.person(FIELD)
    other = Someone(someone.id, someone.phone, someone.password, uuid7())
    await world.person(FIELD)
    world.clock.forward(minutes=1)
    await world.log_in(other, kind="console")
    listed = (await world.client.get("/devices/v1/", headers=someone.headers)).json()
    assert [(uuid.UUID(d["id"]), d["kind"], d["current"]) for d in listed] == [
        (other.device, "console", False),
        (someone.device, "phone", True),
    ]


async def test_a_device_of_another_person_is_not_taken_over(world: World) -> None:
    someone, thief = await world.person(FIELD), await world.person(FIELD, logged_in=False)
    refused = problem_of(await world.enrol(thief.phone, thief.password, someone.device), 409)
    assert refused["code"] == "device_mismatch"
    assert refused["details"] == {"new_device_id_needed": True}
    assert (await whoami(world, someone.access)).status_code == 200


async def test_a_retired_device_is_out_at_once_and_may_log_in_again(world: World) -> None:
    someone = await world.person(FIELD)
    console = Someone(someone.id, someone.phone, someone.password, uuid7())
    await world.log_in(console, kind="console")
    assert (await post(world, console, f"/devices/v1/{someone.device}/revoke")).status_code == 204
    assert (await whoami(world, someone.access)).status_code == 401
    assert (await refresh(world, someone.refresh)).status_code == 401
    assert problem_of(await post(world, console, f"/devices/v1/{someone.device}/revoke"), 409)["code"] == "conflicting_state"
    await world.log_in(someone)
    assert (await whoami(world, someone.access)).status_code == 200


async def test_a_revoked_device_with_tokens_left_is_told_so(world: World) -> None:
    """A clone is revoked by the sync path, which leaves the tokens: both copies hear why, and may hand in for a while."""
    someone = await world.person(FIELD)
    await world.pool.execute("UPDATE device SET revoked_at = $2, revoked_why = 'cloned' WHERE id = $1", someone.device, world.clock())
    assert problem_of(await whoami(world, someone.access), 403)["code"] == "device_revoked"
    assert (await refresh(world, someone.refresh)).status_code == 200
    assert problem_of(await world.enrol(someone.phone, someone.password, someone.device), 403)["code"] == "device_revoked"
    assert (await world.enrol(someone.phone, someone.password, uuid7())).status_code == 200


async def test_a_lost_phone_may_only_hand_in(world: World, app: Litestar) -> None:
    someone = await world.person(FIELD)
    console = Someone(someone.id, someone.phone, someone.password, uuid7())
    await world.log_in(console, kind="console")
    assert (await post(world, console, f"/devices/v1/{someone.device}/lost")).status_code == 204

    told = problem_of(await whoami(world, someone.access), 403)
    assert told["code"] == "device_revoked"
    assert told["details"] == {"wipe": True}
    closed = [(m, path) for m, path, opt in every_route(app) if not opt.get("public") and not opt.get("push_only")]
    assert len(closed) > 15
    for method, path in closed:
        answer = await world.client.request(method, path, headers=someone.headers)
        assert answer.status_code == 403, (method, path, answer.text)

    handed_in = await exchange(world, someone)
    assert handed_in.status_code == 200
    hello = json.loads(handed_in.text.splitlines()[0])
    assert hello["wipe"] is True
    assert '"frame":"page"' not in handed_in.text


async def test_a_lost_phone_still_refreshes_for_thirty_days_and_then_is_told_to_wipe(world: World) -> None:
    someone = await world.person(FIELD)
    console = Someone(someone.id, someone.phone, someone.password, uuid7())
    await world.log_in(console, kind="console")
    await post(world, console, f"/devices/v1/{someone.device}/lost")
    world.clock.forward(days=29)
    fresh = await refresh(world, someone.refresh)
    assert fresh.status_code == 200
    someone.access = fresh.json()["access"]
    assert (await exchange(world, someone)).status_code == 200
    world.clock.forward(days=1)
    refused = problem_of(await refresh(world, fresh.json()["refresh"]), 403)
    assert refused["code"] == "device_revoked"
    assert refused["details"] == {"wipe": True}


async def test_a_lost_phone_hands_in_only_so_many_bytes(world: World, app: Litestar) -> None:
    someone = await world.person(FIELD)
    await world.pool.execute("UPDATE device SET wiped_at = $2 WHERE id = $1", someone.device, world.clock())
    allowed = app.state.resources.access.wiped_bytes_max
    await world.pool.execute("INSERT INTO wipe_allowance VALUES ($1, $2)", someone.device, allowed - len(exchange_body(someone)))
    assert (await exchange(world, someone)).status_code == 200
    refused = problem_of(await exchange(world, someone), 403)
    assert refused["details"] == {"wipe": True}


async def test_a_wiped_store_never_comes_back_but_a_new_one_does(world: World) -> None:
    someone = await world.person(FIELD)
    await world.pool.execute("UPDATE device SET wiped_at = $2 WHERE id = $1", someone.device, world.clock())
    assert problem_of(await world.enrol(someone.phone, someone.password, someone.device), 403)["code"] == "device_revoked"
    assert (await world.enrol(someone.phone, someone.password, uuid7())).status_code == 200


async def test_a_console_cannot_be_wiped(world: World) -> None:
    someone = await world.person(FIELD, kind="console")
    assert problem_of(await post(world, someone, f"/devices/v1/{someone.device}/lost"), 409)["code"] == "conflicting_state"


async def test_an_admin_reports_a_phone_lost_inside_the_own_units_only(world: World) -> None:
    someone = await world.person(FIELD)
    near, far = await world.person((Role.ADMIN, HANBIN)), await world.person((Role.ADMIN, OTHER_COUNTY))
    supervisor = await world.person((Role.COUNTY_SUPERVISOR, HANBIN))
    path = f"/devices/v1/{someone.device}/lost"
    for stranger in (far, supervisor):
        assert problem_of(await post(world, stranger, path), 404)["code"] == "not_found"
    assert (await post(world, near, path)).status_code == 204
    wiped = await world.pool.fetchval("SELECT wiped_at FROM device WHERE id = $1", someone.device)
    assert wiped == world.clock()


async def test_an_unknown_device_is_not_found(world: World) -> None:
    someone = await world.person((Role.ADMIN, HANBIN))
    assert problem_of(await post(world, someone, f"/devices/v1/{uuid7()}/revoke"), 404)["code"] == "not_found"


async def test_disabling_a_person_wipes_the_phone_after_it_has_handed_in(world: World) -> None:
    someone, admin = await world.person(FIELD), await world.person((Role.ADMIN, TOWNSHIP))
    console = Someone(someone.id, someone.phone, someone.password, uuid7())
    await world.log_in(console, kind="console")
    assert (await post(world, admin, f"/people/v1/persons/{someone.id}/disable")).status_code == 204
    assert problem_of(await whoami(world, console.access), 401)["code"] == "not_authenticated"
    assert problem_of(await whoami(world, someone.access), 403)["details"] == {"wipe": True}
    assert (await exchange(world, someone)).status_code == 200
    duties = await world.pool.fetch("SELECT ends FROM duty WHERE person = $1", someone.id)
    assert [row["ends"] for row in duties] == [world.clock()]
    assert world.clock() - timedelta(days=1) < duties[0]["ends"]


# ------------------------------------------------------------------------------------------------ how many

MAX = AuthSettings().devices_per_person_max


async def filled(world: World, kind: str = "console") -> tuple[Someone, list[Someone]]:
    """A person who has logged in on as many devices as they may, one after the other; the devices in this order."""
    someone = await world.person(FIELD, kind=kind)
    devices = [someone]
    for _ in range(MAX - 1):
        world.clock.forward(minutes=1)
        devices.append(Someone(someone.id, someone.phone, someone.password, uuid7()))
        await world.log_in(devices[-1], kind=kind)
    world.clock.forward(minutes=1)
    return someone, devices


async def live(world: World, someone: Someone) -> set[uuid.UUID]:
    rows = await world.pool.fetch("SELECT id FROM device WHERE person = $1 AND kind <> 'office' AND revoked_at IS NULL", someone.id)
    return {row["id"] for row in rows}


async def one_more(world: World, someone: Someone, kind: str = "phone") -> Someone:
    new = Someone(someone.id, someone.phone, someone.password, uuid7())
    await world.log_in(new, kind=kind)
    return new


async def have_unsent(world: World, device: Someone, n_high: int = 3) -> None:
    sql = "INSERT INTO device_county (county, device, n_high, n_made) VALUES (610921, $1, $2, 4)"
    await world.pool.execute(sql, device.device, n_high)


async def announce(world: World, device: Someone, sha256: str) -> None:
    """A photo whose bytes have not come."""
    await world.pool.execute("INSERT INTO blob (county, sha256) VALUES (610902, $1)", sha256)
    sql = "INSERT INTO blob_announcement (county, device, person, sha256, bytes, n, photo) VALUES (610902, $1, $2, $3, 1, 1, $1)"
    await world.pool.execute(sql, device.device, device.id, sha256)


async def test_one_device_too_many_retires_the_one_unused_for_longest(world: World) -> None:
    someone, devices = await filled(world)
    devices[0].access = (await refresh(world, devices[0].refresh)).json()["access"]
    new = await one_more(world, someone)
    assert await live(world, someone) == {one.device for one in [devices[0], *devices[2:], new]}
    assert (await whoami(world, devices[1].access)).status_code == 401
    assert (await whoami(world, devices[0].access)).status_code == 200
    noted = await world.pool.fetchrow(
        "SELECT person, device, detail FROM audit_log WHERE action = 'device_revoked' AND subject = $1", str(devices[1].device)
    )
    assert (noted["person"], noted["device"], json.loads(noted["detail"])) == (someone.id, new.device, {"why": "room_for_another"})
    await world.log_in(devices[1], kind="console")  # it may come back, and another makes room
    assert len(await live(world, someone)) == MAX


async def test_a_browser_with_a_new_id_each_day_locks_nobody_out_and_leaves_the_phone_in_the_hills(world: World) -> None:
    someone = await world.person(FIELD)
    for _ in range(2 * MAX):
        world.clock.forward(days=1)
        await one_more(world, someone, "console")
    assert len(await live(world, someone)) == MAX
    assert (await refresh(world, someone.refresh)).status_code == 200, "those that are logged out already go first"


async def test_a_device_that_is_known_logs_in_again_without_retiring_any(world: World) -> None:
    someone, devices = await filled(world)
    await world.log_in(devices[3], kind="console")
    assert await live(world, someone) == {one.device for one in devices}


async def test_what_holds_something_unsent_is_not_retired_and_the_way_out_is_named(world: World) -> None:
    someone, devices = await filled(world, "phone")
    await have_unsent(world, devices[0])
    await announce(world, devices[1], "a" * 64)
    await have_unsent(world, devices[2], n_high=4)  # all of it came
    new = await one_more(world, someone)
    assert await live(world, someone) == {one.device for one in [*devices[:2], *devices[3:], new]}
    for device in [*devices[3:], new]:
        await have_unsent(world, device)
    refused = problem_of(await world.enrol(someone.phone, someone.password, uuid7()), 409)
    assert (refused["code"], refused["details"]) == ("too_many_devices", {"devices_max": MAX})
    assert "停用" in refused["detail"]
    assert len(await live(world, someone)) == MAX, "nothing was retired for nothing"
    assert (await post(world, new, f"/devices/v1/{devices[4].device}/revoke")).status_code == 204
    await one_more(world, someone)


async def test_a_photo_that_was_sent_or_never_can_be_holds_no_place(world: World) -> None:
    someone, devices = await filled(world, "phone")
    for number, device in enumerate(devices):
        await announce(world, device, str(number) * 64)
    assert (await world.enrol(someone.phone, someone.password, uuid7())).status_code == 409
    await world.pool.execute("UPDATE blob_announcement SET refused = 'photo_too_large' WHERE device = $1", devices[2].device)
    await world.pool.execute(
        "INSERT INTO blob_sending (county, sha256, device, person, bytes, opened_at, sent_at) VALUES (610902, $1, $2, $3, 1, now(), now())",
        "5" * 64, devices[5].device, someone.id,
    )  # fmt: skip
    await one_more(world, someone)
    await one_more(world, someone)
    assert {one.device for one in devices} - await live(world, someone) == {devices[2].device, devices[5].device}


async def test_of_log_ins_at_once_none_passes_the_bound(world: World) -> None:
    someone, _ = await filled(world)
    answers = await asyncio.gather(*(world.enrol(someone.phone, someone.password, uuid7(), "console") for _ in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(await live(world, someone)) == MAX
