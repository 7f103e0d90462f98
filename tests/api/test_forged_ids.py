"""Identities that anybody can work out: another's console, the server itself, and what the server words for somebody. None is taken."""

import json
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from contracts.exchange import EXCHANGE_PATH
from contracts.ids import asked_id
from contracts.people import Role
from storage.devices import office_device
from storage.office_push import system_sender
from tests.api.office import HANBIN, TOWNSHIP, VILLAGE, Someone, World
from tests.api.test_auth import problem_of

pytestmark = pytest.mark.anyio

FIELD, LEAD = (Role.GRID_MEMBER, VILLAGE), (Role.TOWNSHIP_LEAD, TOWNSHIP)


@pytest.mark.parametrize(
    "form", [uuid.uuid4(), uuid.uuid5(uuid.NAMESPACE_OID, "x"), asked_id("x"), uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)]
)
async def test_only_an_id_that_a_store_makes_enrols(world: World, form: uuid.UUID) -> None:
    someone = await world.person(FIELD, logged_in=False)
    refused = problem_of(await world.enrol(someone.phone, someone.password, form), 422)
    assert (refused["code"], refused["details"]["field"], refused["details"]["new_device_id_needed"]) == (
        "invalid_value",
        "device.id",
        True,
    )
    assert "UUIDv7" in refused["detail"]


async def test_neither_anothers_console_nor_the_server_is_enrolled(world: World) -> None:
    victim, thief = await world.person(LEAD), await world.person(FIELD, logged_in=False)
    for forged in (office_device(victim.device), system_sender(HANBIN).device):
        for kind in ("phone", "console"):
            assert (await world.enrol(thief.phone, thief.password, forged, kind)).status_code == 422
    rows = await world.pool.fetch("SELECT id, kind, acts_for FROM device WHERE person = $1 ORDER BY kind", victim.id)
    assert [tuple(row) for row in rows] == [(office_device(victim.device), "office", victim.device), (victim.device, "phone", None)]
    listed = (await world.client.get("/devices/v1/", headers=victim.headers)).json()
    assert [one["id"] for one in listed] == [str(victim.device)], "an identity of the server is no device of a person's"
    lost = await world.client.post(f"/devices/v1/{office_device(victim.device)}/lost", headers=victim.headers)
    assert lost.status_code == 404


async def test_no_store_says_that_it_is_the_servers(world: World) -> None:
    someone = await world.person(FIELD, logged_in=False)
    for kind in ("system", "office"):
        assert (await world.enrol(someone.phone, someone.password, uuid7(), kind)).status_code == 422


async def test_the_database_holds_the_two_apart_by_itself(world: World) -> None:
    someone = await world.person(FIELD)
    for row in (
        (uuid.uuid4(), "phone", None),
        (uuid7(), "system", None),
        (uuid.uuid4(), "office", None),
        (uuid7(), "phone", someone.device),
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await world.pool.execute("INSERT INTO device (id, person, kind, acts_for) VALUES ($1, $4, $2, $3)", *row, someone.id)


def a_site(n: int, **given: Any) -> dict[str, Any]:
    at = {"wall_ms": 1, "mono_ms": n, "session": "s"}
    body = {"name": "工地", "unit": VILLAGE, "subjects": ["construction_dust"]}
    return {
        "id": str(uuid7()),
        "n": n,
        "kind": "site",
        "record": str(uuid7()),
        "op": "create",
        "at": at,
        "contract": 1,
        "body": body,
    } | given


async def push(world: World, someone: Someone, *mutations: dict[str, Any], content: Any = None) -> Any:
    part = {"n_made": len(mutations), "n_oldest_held": 1, "first_n": 1, "mutations": list(mutations)}
    clock = {"session": "s", "mono_ms": 60_000, "wall_ms": 60_000}
    body = {"device": str(someone.device), "contract": 1, "clock": clock, "counties": {str(HANBIN): part}}
    answer = await world.client.post(EXCHANGE_PATH, headers=someone.headers, **(content(body) if content else {"json": body}))
    assert answer.status_code == 200, answer.text
    return await world.pool.fetch("SELECT * FROM journal WHERE device = $1 AND what = 'mutation' ORDER BY n", someone.device)


@pytest.mark.parametrize("member", ["id", "record"])
async def test_a_phone_takes_no_id_that_the_server_will_word_for_somebody(world: World, member: str) -> None:
    """The copy of a letter for a unit has an id that anybody can work out: under other work it would never be made."""
    someone = await world.person(FIELD)
    (row,) = await push(world, someone, a_site(1, **{member: str(asked_id("copy", uuid7(), VILLAGE))}))
    assert (row["outcome"], row["reason"], row["detail"]) == (
        "quarantined",
        "malformed",
        f'{{"error":"{member}: version 8 is the server\'s"}}',
    )


@pytest.mark.parametrize("member", ["id", "record"])
async def test_nor_does_a_console(world: World, member: str) -> None:
    lead = await world.person(LEAD, kind="console")
    site = {
        name: value for name, value in a_site(1, **{member: str(asked_id("x"))}).items() if name in ("id", "kind", "record", "op", "body")
    }
    answer = await world.client.post("/office/v1/mutations", headers=lead.headers, json={"county": HANBIN, "mutations": [site]})
    refused = problem_of(answer, 422)
    assert refused["details"]["faults"][0]["detail"] == {"error": f"{member}: version 8 is the server's"}
    assert await world.pool.fetchval("SELECT count(*) FROM record") == 0


async def test_a_slow_line_moves_no_capture(world: World) -> None:
    """Twenty minutes between the first byte and the last: the interval holds the truth, and begins with it."""
    someone = await world.person(FIELD)
    began = world.clock()

    def slowly(body: dict[str, Any]) -> dict[str, Any]:
        raw = json.dumps(body).encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield raw[:50]
            world.clock.forward(minutes=20)
            yield raw[50:]

        return {"content": chunks()}

    (row,) = await push(world, someone, a_site(1), content=slowly)
    true = began - timedelta(milliseconds=60_000 - 1)
    assert (row["captured_from"], row["captured_to"]) == (true, true + timedelta(minutes=20))
