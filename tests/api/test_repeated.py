"""An answer is lost on the way, and the console asks again: nothing is written twice, and it hears what it would have heard.

Every route that writes is named here: what makes a repetition of it harmless. A new one fails this file until it is.
"""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from litestar.routes import HTTPRoute

from contracts.people import Role
from phone.phone import Phone
from tests.api.casework import DEPARTMENT, Office, call, create
from tests.world import COUNTY, MORNING, VILLAGE_A, VILLAGE_B

SAFE = {  # why the same request again does no harm
    "id": "the client made the id of what is written",
    "state": "it is so already: the state it asks for is there, and the answer says so",
    "anew": "each answer is good by itself: tokens, upload addresses, a new password",
    "content": "the same content by the same person is the same thing",
}
WRITES = {
    "/auth/v1/enrol": "anew",
    "/auth/v1/refresh": "anew",
    "/auth/v1/logout": "state",
    "/auth/v1/password": "state",
    "/auth/v1/second-factor": "anew",
    "/auth/v1/second-factor/confirm": "state",
    "/auth/v1/second-factor/recovery-codes": "anew",
    "/people/v1/persons/{person_id:uuid}/second-factor/reset": "state",
    "/devices/v1/{device_id:uuid}/revoke": "state",
    "/devices/v1/{device_id:uuid}/lost": "state",
    "/people/v1/units": "state",
    "/people/v1/persons": "state",
    "/people/v1/persons/{person_id:uuid}/disable": "state",
    "/people/v1/persons/{person_id:uuid}/enable": "state",
    "/people/v1/persons/{person_id:uuid}/password": "anew",
    "/people/v1/units/{unit:str}/name": "state",
    "/people/v1/units/{unit:str}/close": "state",
    "/people/v1/persons/{person_id:uuid}/correct": "state",
    "/people/v1/duties": "id",
    "/people/v1/duties/{duty_id:uuid}/end": "state",
    "/office/v1/held/{county:int}/{device:uuid}/{n:int}/{action:str}": "content",
    "/office/v1/conflicts/{county:int}/{conflict:uuid}/settle": "id",
    "/office/v1/mutations": "id",
    "/office/v1/problems/assign": "id",
    "/office/v1/problems/look-back": "id",
    "/office/v1/letters": "id",
    "/office/v1/rules": "content",
    "/office/v1/imports/{subject:str}": "content",
    "/office/v1/draws": "id",
    "/office/v1/draws/{county:int}/{draw:uuid}/commit": "state",
    "/office/v1/draws/{county:int}/{draw:uuid}/nonce": "content",
    "/office/v1/draws/{county:int}/{draw:uuid}/draw": "state",
    "/office/v1/draws/{county:int}/{draw:uuid}/depart": "state",
    "/office/v1/draws/{county:int}/{draw:uuid}/disclose": "state",
    "/office/v1/draws/{county:int}/{draw:uuid}/cancel": "state",
    "/sync/v1/exchange": "id",
    "/photos/v1/uploads": "anew",
    "/photos/v1/complete": "state",
    "/photos/v1/relay/{token:str}": "state",
}


async def test_every_route_that_writes_says_why_it_may_be_repeated(office: Office) -> None:
    routes = {
        r.path: m for r in office.world.app.routes if isinstance(r, HTTPRoute) for m in r.methods if m not in ("GET", "HEAD", "OPTIONS")
    }
    assert routes.keys() == WRITES.keys()
    assert set(WRITES.values()) <= SAFE.keys()


async def twice(office: Office, phone: Phone, path: str, data: dict[str, Any]) -> tuple[Any, Any]:
    answers = [await call(office.world, phone, "POST", path, json=data) for _ in range(2)]
    assert answers[0].status_code == answers[1].status_code < 300, [a.text for a in answers]
    return answers[0].json(), answers[1].json()


async def notes(office: Office, action: str) -> int:
    return int(await office.world.pool.fetchval("SELECT count(*) FROM audit_log WHERE action = $1", action))


@pytest.mark.parametrize("given", [None, uuid.uuid4()])
async def test_a_conflict_is_settled_once(office: Office, given: uuid.UUID | None) -> None:
    a, b = office.member, await office.world.phone(await office.world.person("乙", (Role.GRID_MEMBER, VILLAGE_A)))
    site = a.create("site", COUNTY, {"name": "工地", "unit": VILLAGE_A, "subjects": ["construction_dust"]})
    for phone in (a, b):
        await phone.sync()
    for phone, note in ((a, "甲写"), (b, "乙写")):
        phone.edit(site, {"note": note})
    for phone in (a, b):
        await phone.sync()
    (item,) = (await call(office.world, office.lead, "GET", f"/office/v1/conflicts?county={COUNTY}")).json()["items"]
    path = f"/office/v1/conflicts/{COUNTY}/{item['id']}/settle"
    first, again = await twice(office, office.lead, path, {"choice": "lost"} | ({"id": str(given)} if given else {}))
    assert [o["outcome"] for o in (*first["outcomes"], *again["outcomes"])] == ["applied", "applied"]
    assert await notes(office, "conflict_settled") == 1
    other = await call(office.world, office.lead, "POST", path, json={"choice": "kept"})
    assert other.json()["outcomes"][0]["outcome"] == "rejected", "another choice is another tap"


@pytest.mark.parametrize("action", ["release", "discard"])
async def test_a_held_mutation_is_decided_once_and_the_same_answer_is_given(office: Office, action: str) -> None:
    wrong = await office.world.phone(await office.world.person("越界", (Role.GRID_MEMBER, VILLAGE_B)))
    wrong.create("site", COUNTY, {"name": "工地", "unit": VILLAGE_A, "subjects": ["construction_dust"]})
    await wrong.sync()
    path = f"/office/v1/held/{COUNTY}/{wrong.account.device}/1"
    first, again = await twice(office, office.lead, f"{path}/{action}", {"note": "属实"})
    assert (first["outcomes"][0]["outcome"], first["outcomes"][0]["reason"]) == (
        again["outcomes"][0]["outcome"],
        again["outcomes"][0]["reason"],
    )
    assert await notes(office, "held_settled") == 1
    other = "discard" if action == "release" else "release"
    assert (await call(office.world, office.lead, "POST", f"{path}/{other}", json={})).status_code == 409
    assert (await call(office.world, office.supervisor, "POST", f"{path}/{action}", json={})).status_code == 409


async def test_a_rule_is_published_once(office: Office) -> None:
    starts = MORNING + timedelta(minutes=5)
    rule = {"county": COUNTY, "name": "whistle", "starts": starts.isoformat(), "body": {"sign": {"hours": 2}}}
    first, again = await twice(office, office.supervisor, "/office/v1/rules", rule)
    assert (first, first["version"]) == (again, 1)
    office.world.at(10)
    late = await call(office.world, office.supervisor, "POST", "/office/v1/rules", json=rule)
    assert (late.status_code, late.json()["version"]) == (201, 1), "also when it holds by now"
    assert await notes(office, "rule_published") == 1
    changed = await call(
        office.world, office.supervisor, "POST", "/office/v1/rules", json=rule | {"starts": (MORNING + timedelta(hours=1)).isoformat()}
    )
    assert changed.json()["version"] == 2


async def test_a_duty_is_granted_once(office: Office) -> None:
    admin = await office.world.phone(await office.world.person("管理员", (Role.ADMIN, str(COUNTY))))
    person = await office.world.person("新人", (Role.GRID_MEMBER, VILLAGE_A))
    wanted = {"id": str(uuid.uuid4()), "person": str(person.id), "duty": {"role": "grid_member", "unit": VILLAGE_B}}
    first, again = await twice(office, admin, "/people/v1/duties", wanted)
    assert first == again
    assert await office.world.pool.fetchval("SELECT count(*) FROM duty WHERE person = $1", person.id) == 2
    assert await notes(office, "duty_granted") == 1
    other = wanted | {"duty": {"role": "village_lead", "unit": VILLAGE_B}}
    assert (await call(office.world, admin, "POST", "/people/v1/duties", json=other)).status_code == 409


async def test_a_console_write_is_written_once(office: Office) -> None:
    record = uuid.uuid4()
    made = create("site", record, {"name": "工地", "unit": VILLAGE_A, "subjects": ["construction_dust"]})
    first, again = await twice(office, office.lead, "/office/v1/mutations", {"county": COUNTY, "mutations": [made]})
    assert [o["outcome"] for o in (*first["outcomes"], *again["outcomes"])] == ["applied", "applied"]
    assert await office.world.pool.fetchval("SELECT version FROM record WHERE id = $1", record) == 1
    other = made | {"body": made["body"] | {"name": "另一工地"}}
    answer = await call(office.world, office.lead, "POST", "/office/v1/mutations", json={"county": COUNTY, "mutations": [other]})
    assert (answer.status_code, answer.json()["details"]["id"]) == (409, made["id"]), (
        "other content under a used id is not dropped in silence"
    )


async def test_many_are_assigned_once_and_an_id_is_not_used_for_another_deadline(office: Office) -> None:
    problem = await office.problem("裸土")
    wanted = {
        "id": str(uuid.uuid4()),
        "county": COUNTY,
        "due_on": "2026-12-01",
        "leads": [DEPARTMENT],
        "problems": [{"problem": str(problem)}],
    }
    first, again = await twice(office, office.lead, "/office/v1/problems/assign", wanted)
    assert first["applied"] == again["applied"] == 1
    other = await call(office.world, office.lead, "POST", "/office/v1/problems/assign", json=wanted | {"due_on": "2026-12-09"})
    assert (other.status_code, other.json()["code"]) == (409, "conflicting_state"), other.text
