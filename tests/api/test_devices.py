"""Devices: whose they are, retiring them, and the lost phone."""

import json
import uuid
from datetime import timedelta

import httpx
import pytest
from litestar import Litestar
from uuid_utils.compat import uuid7

from contracts.exchange import EXCHANGE_PATH
from contracts.people import Role
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
