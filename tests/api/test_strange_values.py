"""Values that no database holds and no decoder reads get a coded answer, never a 500, and block nothing behind them."""

import json
import uuid
from typing import Any

import pytest

from contracts.exchange import EXCHANGE_PATH
from contracts.people import Role
from tests.api.office import HANBIN, TOWNSHIP, VILLAGE, Someone, World

BIG = 2**40  # beyond PostgreSQL's integer
SHA = "0" * 64


@pytest.mark.parametrize(
    ("role", "method", "path"),
    [
        (Role.TOWNSHIP_STAFF, "GET", "/people/v1/persons?text=%00"),
        (Role.TOWNSHIP_STAFF, "GET", f"/office/v1/records/{BIG}/{uuid.UUID(int=7)}"),
        (Role.TOWNSHIP_STAFF, "POST", f"/office/v1/held/{HANBIN}/{uuid.UUID(int=7)}/{2**70}/retry"),
        (Role.TOWNSHIP_STAFF, "GET", f"/photos/v1/{BIG}/{SHA}/original"),
        (Role.TOWNSHIP_STAFF, "GET", f"/photos/v1/{HANBIN}/%00/original"),
    ],
)
async def test_a_value_that_no_database_holds_is_a_coded_refusal(world: World, role: Role, method: str, path: str) -> None:
    someone = await world.person((role, TOWNSHIP))
    answer = await world.client.request(method, path, headers=someone.headers, json={} if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_value"), path


async def test_nul_in_a_letter_is_refused(world: World) -> None:
    """It is a legal escape in JSON, and breaks an index that looks into the body."""
    someone = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP))
    letter = {"letter": str(uuid.uuid4()), "from_unit": TOWNSHIP, "units": [VILLAGE], "title": "a\0b"}
    answer = await world.client.post("/office/v1/letters", json=letter, headers=someone.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_value"), answer.text


async def test_nul_in_the_name_of_a_device_is_refused(world: World) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    device = {"id": str(uuid.UUID(int=9)), "name": "a\0", "kind": "phone"}
    body = {"phone": someone.phone, "password": someone.password, "device": device}
    assert (await world.client.post("/auth/v1/enrol", json=body)).json()["code"] == "invalid_value"


async def test_a_parameter_that_is_missing_is_named(world: World) -> None:
    someone = await world.person((Role.TOWNSHIP_STAFF, TOWNSHIP))
    answer = await world.client.get("/office/v1/held", headers=someone.headers)
    assert answer.json()["details"]["faults"] == [{"key": "county", "code": "missing", "message": "缺少此项"}]
    assert answer.json()["detail"] == "county：缺少此项"


async def test_a_county_that_no_number_of_ours_names_is_passed_over(world: World) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    answer = await exchange(world, someone, request(someone, [], county=str(BIG)))
    assert [json.loads(line)["frame"] for line in answer.text.splitlines()] == ["hello", "scope", "end"]


async def test_nesting_without_end_is_malformed(world: World) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    answer = await exchange(world, someone, request(someone, [])[:-1] + ',"z":' + "[" * 100_000 + "]" * 100_000 + "}")
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


@pytest.mark.parametrize("depth", [100, 980, 1_100, 5_000])
async def test_nesting_without_end_is_malformed_wherever_it_is_sent(world: World, depth: int) -> None:
    """Decoders follow nesting down the stack: how far depends on where they were called."""
    someone = await world.person((Role.TOWNSHIP_STAFF, TOWNSHIP))
    body = '{"x":' + "[" * depth + "]" * depth + "}"
    for path in ("/auth/v1/enrol", "/office/v1/mutations", "/office/v1/letters"):
        answer = await world.client.post(path, content=body.encode(), headers=someone.headers)
        assert answer.json()["code"] in ("malformed_request", "invalid_value"), (path, answer.text)


@pytest.mark.parametrize("depth", [100, 900, 980, 1_100, 100_000])
async def test_one_mutation_that_nests_too_deep_is_kept_and_blocks_nothing(world: World, depth: int) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    texts = [site(n, "NOTE") for n in (1, 2, 3)]
    texts[1] = texts[1].replace('"NOTE"', "[" * depth + '"]}"' + "]" * depth)
    answer = await exchange(world, someone, request(someone, texts))
    assert answer.status_code == 200, answer.text
    outcomes = next(frame for line in answer.text.splitlines() if (frame := json.loads(line))["frame"] == "outcomes")
    told = [(o["n"], o["outcome"], o.get("reason")) for o in outcomes["outcomes"]]
    assert told == [(1, "applied", None), (2, "quarantined", "malformed"), (3, "applied", None)]
    raw = await world.pool.fetchval("SELECT raw FROM journal WHERE device = $1 AND n = 2", someone.device)
    assert bytes(raw) == texts[1].encode()


@pytest.mark.parametrize(
    ("note", "second"),
    [
        (r'"half of an emoji \ud83d"', ("quarantined", "malformed")),
        ("NaN", ("quarantined", "malformed")),
        ('"a bare\nline break"', ("applied", None)),  # no JSON, but there is no doubt what it means
    ],
    ids=["surrogate", "nan", "control"],
)
async def test_one_mutation_in_bad_json_is_kept_and_blocks_nothing(world: World, note: str, second: tuple[str, str | None]) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    texts = [site(n, "NOTE") for n in (1, 2, 3)]
    texts[1] = texts[1].replace('"NOTE"', note)
    answer = await exchange(world, someone, request(someone, texts))
    assert answer.status_code == 200, answer.text
    frames = [json.loads(line) for line in answer.text.splitlines()]
    outcomes = next(frame for frame in frames if frame["frame"] == "outcomes")
    told = [(o["n"], o["outcome"], o.get("reason")) for o in outcomes["outcomes"]]
    assert told == [(1, "applied", None), (2, *second), (3, "applied", None)]
    raw = await world.pool.fetchval("SELECT raw FROM journal WHERE device = $1 AND n = 2", someone.device)
    assert b"record" in bytes(raw)  # what came is here for whoever looks at it


def site(n: int, note: str) -> str:
    body = {"name": "工地", "unit": VILLAGE, "subjects": ["construction_dust"], "note": note}
    at = {"wall_ms": 0, "mono_ms": 0, "session": "s"}
    ids = {"id": str(uuid.uuid4()), "record": str(uuid.uuid4())}
    return json.dumps({**ids, "n": n, "kind": "site", "op": "create", "at": at, "contract": 1, "base": None, "body": body})


def request(someone: Someone, mutations: list[str], county: str = HANBIN) -> str:
    first = 1 if mutations else 0
    clock = '{"wall_ms":0,"mono_ms":0,"session":"s"}'
    part = f'{{"n_made":{len(mutations)},"n_oldest_held":{first},"first_n":{first},"mutations":[{",".join(mutations)}]}}'
    return f'{{"device":"{someone.device}","contract":1,"clock":{clock},"counties":{{"{county}":{part}}},"cursor":{{}}}}'


async def exchange(world: World, someone: Someone, body: str) -> Any:
    return await world.client.post(EXCHANGE_PATH, content=body.encode(), headers=someone.headers)
