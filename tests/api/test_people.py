"""Administration of people: always inside the admin's units, nothing deleted, everything noted."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from uuid_utils.compat import uuid7

from contracts.people import Role
from tests.api.office import HANBIN, OTHER_COUNTY, TOWNSHIP, VILLAGE, Someone, World
from tests.api.test_auth import problem_of, whoami

pytestmark = pytest.mark.anyio

DEPARTMENT = "610902-env_bureau"


async def get(world: World, someone: Someone, path: str, **query: Any) -> httpx.Response:
    return await world.client.get(path, params=query, headers=someone.headers)


async def post(world: World, someone: Someone, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    return await world.client.post(path, json=body, headers=someone.headers)


def new_person(role: str = "grid_member", unit: str = VILLAGE, phone: str = "13611112222") -> dict[str, Any]:
    return {"name": "王小河", "phone": phone, "duties": [{"role": role, "unit": unit}]}


async def actions(world: World, subject: object) -> list[str]:
    rows = await world.pool.fetch("SELECT action FROM audit_log WHERE subject = $1 AND action <> 'person_read' ORDER BY id", str(subject))
    return [row["action"] for row in rows]


# ------------------------------------------------------------------------------------------------ myself


async def test_i_see_myself_with_duties_and_counties(world: World) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    me = (await get(world, someone, "/people/v1/me")).json()
    assert uuid.UUID(me["person"]["id"]) == someone.id
    assert me["counties"] == [610902]
    assert me["device"]["current"] is True
    [duty] = me["person"]["duties"]
    assert (duty["role"], duty["unit"]) == ("grid_member", VILLAGE)
    assert duty["unit_name"]
    assert me["person"].get("password") is None


async def test_units_are_mine_below_and_the_line_above(world: World) -> None:
    someone = await world.person((Role.TOWNSHIP_STAFF, TOWNSHIP))
    units = {u["code"]: u for u in (await get(world, someone, "/people/v1/units")).json()["units"]}
    assert {"610900", HANBIN, TOWNSHIP, VILLAGE} <= units.keys()
    assert OTHER_COUNTY not in units
    assert DEPARTMENT not in units
    assert units[VILLAGE]["county"] == 610902


# ------------------------------------------------------------------------------------------------ creating


async def test_an_admin_creates_a_person_who_can_log_in(world: World) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    made = await post(world, admin, "/people/v1/persons", new_person())
    assert made.status_code == 201, made.text
    body = made.json()
    refused = await world.enrol("13611112222", body["password"], uuid7())
    assert problem_of(refused, 403)["code"] == "password_change_required"
    chosen = {"new_password": "河边第三棵大柳树"}
    assert (await world.enrol("13611112222", body["password"], uuid7(), more=chosen)).status_code == 200
    shown = (await get(world, admin, f"/people/v1/persons/{body['id']}")).json()
    assert shown["name"] == "王小河"
    assert shown.get("password") is None
    assert "person_created" in await actions(world, body["id"])
    assert "duty_granted" in await actions(world, body["duties"][0]["id"])


@pytest.mark.parametrize(("role", "unit", "status", "reason"), [
    ("grid_member", OTHER_COUNTY, 403, "outside_your_units"),
    ("grid_member", HANBIN, 403, "outside_your_units"),  # above the admin's own township
    ("county_supervisor", HANBIN, 403, "outside_your_units"),
    ("admin", HANBIN, 403, "outside_your_units"),
    ("township_lead", VILLAGE, 422, "role_does_not_fit_unit"),
    ("county_supervisor", TOWNSHIP, 422, "role_does_not_fit_unit"),
    ("system", TOWNSHIP, 422, "role_does_not_fit_unit"),
    ("grid_member", "999999999999", 422, "unknown_unit"),
])  # fmt: skip
async def test_nobody_gives_more_than_they_have(world: World, role: str, unit: str, status: int, reason: str) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    refused = problem_of(await post(world, admin, "/people/v1/persons", new_person(role, unit)), status)
    assert refused["details"]["reason"] == reason
    assert await world.pool.fetchval("SELECT count(*) FROM person WHERE phone = '13611112222'") == 0


@pytest.mark.parametrize("role", [r for r in Role if r not in (Role.ADMIN, Role.SYSTEM)])
async def test_only_an_admin_administers(world: World, role: Role) -> None:
    someone, victim = await world.person((role, TOWNSHIP)), await world.person((Role.GRID_MEMBER, VILLAGE))
    duty = await world.pool.fetchval("SELECT id FROM duty WHERE person = $1", victim.id)
    acts = [
        ("/people/v1/persons", new_person()),
        ("/people/v1/duties", {"person": str(victim.id), "duty": {"role": "grid_member", "unit": VILLAGE}}),
        (f"/people/v1/duties/{duty}/end", {}),
        (f"/people/v1/persons/{victim.id}/disable", None),
        (f"/people/v1/persons/{victim.id}/enable", None),
        (f"/people/v1/persons/{victim.id}/password", None),
        ("/people/v1/units", {"code": "610902-x", "parent": TOWNSHIP, "level": "team", "name": "队"}),
    ]
    before = await world.pool.fetch("SELECT * FROM duty UNION ALL SELECT * FROM duty ORDER BY 1")
    for path, body in acts:
        assert (await post(world, someone, path, body)).status_code in (403, 404), path
    assert await world.pool.fetch("SELECT * FROM duty UNION ALL SELECT * FROM duty ORDER BY 1") == before
    assert (await whoami(world, victim.access)).status_code == 200


async def test_an_ended_admin_duty_administers_nothing(world: World) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    await world.pool.execute("UPDATE duty SET ends = $2 WHERE person = $1", admin.id, world.clock())
    assert (await post(world, admin, "/people/v1/persons", new_person())).status_code == 403
    assert (await get(world, admin, "/people/v1/persons")).status_code == 403
    assert (await get(world, admin, "/audit/v1/entries")).status_code == 403


async def test_a_number_with_an_account_in_ones_units_is_a_conflict_that_says_whose(world: World) -> None:
    admin, known = await world.person((Role.ADMIN, TOWNSHIP)), await world.person((Role.GRID_MEMBER, VILLAGE))
    refused = problem_of(await post(world, admin, "/people/v1/persons", new_person(phone=known.phone)), 409)
    assert refused["details"] == {"field": "phone", "reason": "account_exists", "person": str(known.id)}


async def test_of_an_account_elsewhere_no_id_and_no_name_is_told_but_what_to_do(world: World) -> None:
    admin = await world.person((Role.ADMIN, VILLAGE))
    known = await world.person((Role.COUNTY_SUPERVISOR, HANBIN))
    answer = await post(world, admin, "/people/v1/persons", new_person(phone=known.phone))
    refused = problem_of(answer, 409)
    assert refused["details"] == {"field": "phone", "reason": "account_elsewhere"}
    assert "上级管理员" in refused["detail"]
    name = await world.pool.fetchval("SELECT name FROM person WHERE id = $1", known.id)
    assert str(known.id) not in answer.text
    assert name not in answer.text


async def test_a_village_admin_does_not_become_a_county_supervisor(world: World) -> None:
    """To know the id of a former supervisor is not enough to give them a duty, nor to reset their password."""
    admin, former = await world.person((Role.ADMIN, VILLAGE)), await world.person((Role.COUNTY_SUPERVISOR, HANBIN))
    await world.pool.execute("UPDATE duty SET ends = $2 WHERE person = $1", former.id, world.clock() - timedelta(days=3))
    duty = {"role": "grid_member", "unit": VILLAGE}
    assert (await post(world, admin, "/people/v1/duties", {"person": str(former.id), "duty": duty})).status_code == 404
    county = await world.person((Role.ADMIN, HANBIN))
    assert (await post(world, county, "/people/v1/duties", {"person": str(former.id), "duty": duty})).status_code == 201
    for act in ("password", "disable"):
        refused = problem_of(await post(world, admin, f"/people/v1/persons/{former.id}/{act}"), 403)
        assert refused["details"]["reason"] == "person_outside_your_units"
    assert (await post(world, admin, f"/people/v1/persons/{former.id}/correct", {"phone": "13600000000"})).status_code == 403
    assert (
        await post(world, admin, "/people/v1/duties", {"person": str(former.id), "duty": duty | {"role": "village_lead"}})
    ).status_code == 403
    world.clock.forward(days=181)
    await world.log_in(admin)
    assert (await post(world, admin, f"/people/v1/persons/{former.id}/password")).status_code == 200


# ------------------------------------------------------------------------------------------------ separation of duties


async def grant(world: World, admin: Someone, person: Someone, role: str, unit: str, **more: Any) -> httpx.Response:
    return await post(world, admin, "/people/v1/duties", {"person": str(person.id), "duty": {"role": role, "unit": unit, **more}})


async def test_nobody_gives_to_themselves(world: World) -> None:
    admin = await world.person((Role.ADMIN, HANBIN))
    for role, unit in (("county_supervisor", HANBIN), ("auditor", HANBIN), ("grid_member", VILLAGE)):
        assert problem_of(await grant(world, admin, admin, role, unit), 403)["details"]["reason"] == "not_to_yourself"
    reset = await post(world, admin, f"/people/v1/persons/{admin.id}/password")
    assert problem_of(reset, 403)["details"]["reason"] == "not_to_yourself"
    assert await world.pool.fetchval("SELECT count(*) FROM duty WHERE person = $1", admin.id) == 1


async def test_an_auditor_is_no_admin_and_no_supervisor_also_when_both_are_given_at_once(world: World) -> None:
    admin, member = await world.person((Role.ADMIN, HANBIN)), await world.person((Role.GRID_MEMBER, VILLAGE))
    answers = await asyncio.gather(
        grant(world, admin, member, "auditor", HANBIN),
        grant(world, admin, member, "county_supervisor", HANBIN),
        grant(world, admin, member, "admin", TOWNSHIP),
    )
    assert sorted(a.status_code for a in answers) in ([201, 409, 409], [201, 201, 409])
    roles = {row["role"] for row in await world.pool.fetch("SELECT role FROM duty WHERE person = $1", member.id)}
    assert roles in ({"grid_member", "auditor"}, {"grid_member", "admin", "county_supervisor"})
    both = new_person("auditor", HANBIN) | {"duties": [{"role": role, "unit": HANBIN} for role in ("auditor", "admin")]}
    assert problem_of(await post(world, admin, "/people/v1/persons", both), 409)["details"]["reason"] == "auditor_is_apart"


async def test_a_duty_is_backdated_by_days_not_by_years(world: World) -> None:
    admin, member = await world.person((Role.ADMIN, HANBIN)), await world.person((Role.GRID_MEMBER, VILLAGE))
    early = await grant(world, admin, member, "county_supervisor", HANBIN, starts="2020-01-01T00:00:00Z")
    assert problem_of(early, 422)["details"]["reason"] == "starts_too_early"
    late = (world.clock() - timedelta(days=20)).isoformat()
    assert (await grant(world, admin, member, "county_supervisor", HANBIN, starts=late)).status_code == 201
    world.clock.forward(days=40)
    await world.log_in(admin)
    assert (await grant(world, admin, member, "county_supervisor", HANBIN, starts=late)).status_code == 201, "so already: nothing is done"
    assert await world.pool.fetchval("SELECT count(*) FROM duty WHERE person = $1", member.id) == 2


# ------------------------------------------------------------------------------------------------ numbers


async def test_the_number_of_a_disabled_account_passes_on(world: World) -> None:
    """An operator gave it to somebody else: the successor has an account of their own, and the predecessor keeps name and history."""
    admin, former = await world.person((Role.ADMIN, TOWNSHIP)), await world.person((Role.GRID_MEMBER, VILLAGE))
    name = await world.pool.fetchval("SELECT name FROM person WHERE id = $1", former.id)
    assert (await post(world, admin, f"/people/v1/persons/{former.id}/disable")).status_code == 204
    same = new_person(phone=former.phone) | {"name": name}
    refused = problem_of(await post(world, admin, "/people/v1/persons", same), 409)
    assert (refused["details"]["reason"], refused["details"]["person"]) == ("account_disabled", str(former.id))
    made = (await post(world, admin, "/people/v1/persons", new_person(phone=former.phone))).json()
    assert made["id"] != str(former.id)
    chosen = {"new_password": "河边第三棵大柳树"}
    assert (await world.enrol(former.phone, made["password"], uuid7(), more=chosen)).status_code == 200
    assert problem_of(await world.enrol(former.phone, former.password, uuid.uuid4()), 401)["code"] == "wrong_credentials"
    shown = (await get(world, admin, f"/people/v1/persons/{former.id}")).json()
    assert (shown["name"], shown["phone"], len(shown["duties"])) == (name, former.phone, 1)
    assert "number_passed_on" in await actions(world, former.id)
    back = problem_of(await post(world, admin, f"/people/v1/persons/{former.id}/enable"), 409)
    assert back["details"]["reason"] == "number_passed_on"
    assert (await post(world, admin, f"/people/v1/persons/{former.id}/correct", {"phone": "13655556666"})).status_code == 200
    assert (await post(world, admin, f"/people/v1/persons/{former.id}/enable")).status_code == 204


@pytest.mark.parametrize(
    "typed",
    [
        "136 1111 2222",
        "+86 136-1111-2222",
        "008613611112222",
        "１３６１１１１２２２２",
        "86-13611112222",
        "\u202d13611112222\u202c",
        "13611112222\t",
    ],
)
async def test_a_number_is_one_number_however_it_is_typed(world: World, typed: str) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    made = (await post(world, admin, "/people/v1/persons", new_person(phone=typed))).json()
    assert made["phone"] == "13611112222"
    chosen = {"new_password": "河边第三棵大柳树"}
    assert (await world.enrol(typed, made["password"], uuid7(), more=chosen)).status_code == 200
    assert (await world.enrol("13611112222", chosen["new_password"], uuid7())).status_code == 200
    assert problem_of(await post(world, admin, "/people/v1/persons", new_person()), 409)["details"]["person"] == made["id"]
    found = (await get(world, admin, "/people/v1/persons", text=typed)).json()["people"]
    assert [person["id"] for person in found] == [made["id"]]
    corrected = await post(world, admin, f"/people/v1/persons/{made['id']}/correct", {"phone": typed})
    assert corrected.json()["phone"] == "13611112222"


async def test_two_admins_who_enter_the_same_number_at_once_make_one_account(world: World) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    answers = await asyncio.gather(*(post(world, admin, "/people/v1/persons", new_person()) for _ in range(6)))
    assert sorted(a.status_code for a in answers) == [201] + [409] * 5
    duties = await world.pool.fetchval("SELECT count(*) FROM duty d JOIN person p ON p.id = d.person WHERE p.phone = '13611112222'")
    assert duties == 1, "the losers left nothing behind"


async def test_a_chosen_password_must_be_a_good_one(world: World) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    refused = problem_of(await post(world, admin, "/people/v1/persons", new_person() | {"password": "13611112222"}), 422)
    assert refused["details"]["reason"] == "password_too_weak"


# ------------------------------------------------------------------------------------------------ duties


async def test_a_duty_is_granted_and_ended_but_never_deleted(world: World) -> None:
    admin, someone = await world.person((Role.ADMIN, HANBIN)), await world.person((Role.GRID_MEMBER, VILLAGE))
    granted = await post(
        world, admin, "/people/v1/duties", {"person": str(someone.id), "duty": {"role": "department_staff", "unit": DEPARTMENT}}
    )
    assert granted.status_code == 201
    duty = next(d for d in granted.json()["duties"] if d["unit"] == DEPARTMENT)
    ended = await post(world, admin, f"/people/v1/duties/{duty['id']}/end", {"ends": (world.clock() + timedelta(days=1)).isoformat()})
    assert ended.status_code == 200
    assert len(ended.json()["duties"]) == 2
    assert await actions(world, duty["id"]) == ["duty_granted", "duty_ended"]
    world.clock.forward(days=2)
    await world.log_in(admin)
    again = problem_of(await post(world, admin, f"/people/v1/duties/{duty['id']}/end", {}), 409)
    assert again["details"]["reason"] == "ended_already"


async def test_a_duty_does_not_end_in_the_past(world: World) -> None:
    """What was permitted when it was captured, offline, stays permitted."""
    admin, someone = await world.person((Role.ADMIN, HANBIN)), await world.person((Role.GRID_MEMBER, VILLAGE))
    duty = await world.pool.fetchval("SELECT id FROM duty WHERE person = $1", someone.id)
    yesterday = (world.clock() - timedelta(days=1)).isoformat()
    refused = problem_of(await post(world, admin, f"/people/v1/duties/{duty}/end", {"ends": yesterday}), 422)
    assert refused["details"]["reason"] == "ends_in_the_past"


async def test_a_duty_that_ends_before_it_starts_is_refused(world: World) -> None:
    admin, someone = await world.person((Role.ADMIN, HANBIN)), await world.person((Role.GRID_MEMBER, VILLAGE))
    duty = {"role": "grid_member", "unit": VILLAGE, "starts": "2026-07-02T00:00:00Z", "ends": "2026-07-01T00:00:00Z"}
    refused = problem_of(await post(world, admin, "/people/v1/duties", {"person": str(someone.id), "duty": duty}), 422)
    assert refused["details"]["reason"] == "ends_before_it_starts"


async def test_unknown_people_and_duties_are_not_found(world: World) -> None:
    admin = await world.person((Role.ADMIN, HANBIN))
    nobody = str(uuid.uuid4())
    duty = {"role": "grid_member", "unit": VILLAGE}
    for path, body in (
        ("/people/v1/duties", {"person": nobody, "duty": duty}),
        (f"/people/v1/duties/{nobody}/end", {}),
        (f"/people/v1/persons/{nobody}/disable", None),
    ):
        assert problem_of(await post(world, admin, path, body), 404)["code"] == "not_found"


# ------------------------------------------------------------------------------------------------ accounts


async def test_a_person_with_a_duty_elsewhere_is_not_disabled_by_half_an_admin(world: World) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    someone = await world.person((Role.GRID_MEMBER, VILLAGE), (Role.COUNTY_SUPERVISOR, HANBIN))
    for act in ("disable", "password", "enable"):
        refused = problem_of(await post(world, admin, f"/people/v1/persons/{someone.id}/{act}"), 403)
        assert refused["details"]["reason"] == "person_outside_your_units"
    assert (await get(world, admin, f"/people/v1/persons/{someone.id}/devices")).status_code == 403


async def test_a_disabled_person_is_out_and_can_be_brought_back(world: World) -> None:
    admin, someone = await world.person((Role.ADMIN, TOWNSHIP)), await world.person((Role.GRID_MEMBER, VILLAGE), kind="console")
    assert (await post(world, admin, f"/people/v1/persons/{someone.id}/disable")).status_code == 204
    assert (await whoami(world, someone.access)).status_code == 401
    assert problem_of(await world.enrol(someone.phone, someone.password, uuid.uuid4()), 403)["code"] == "account_disabled"
    assert (await post(world, admin, f"/people/v1/persons/{someone.id}/disable")).status_code == 409
    grant = {"person": str(someone.id), "duty": {"role": "grid_member", "unit": VILLAGE}}
    assert (await post(world, admin, "/people/v1/duties", grant)).status_code == 409

    assert (await post(world, admin, f"/people/v1/persons/{someone.id}/enable")).status_code == 204
    assert (await post(world, admin, f"/people/v1/persons/{someone.id}/enable")).status_code == 409
    assert (await world.enrol(someone.phone, someone.password, uuid7())).status_code == 200
    assert (await post(world, admin, "/people/v1/duties", grant)).status_code == 201
    assert await actions(world, someone.id) == ["person_disabled", "person_enabled"]


async def test_a_reset_password_is_told_once_and_logs_out_everywhere(world: World) -> None:
    admin, someone = await world.person((Role.ADMIN, TOWNSHIP)), await world.person((Role.GRID_MEMBER, VILLAGE))
    told = (await post(world, admin, f"/people/v1/persons/{someone.id}/password")).json()["password"]
    assert (await whoami(world, someone.access)).status_code == 401
    assert (await world.enrol(someone.phone, someone.password, someone.device)).status_code == 401
    assert problem_of(await world.enrol(someone.phone, told, someone.device), 403)["code"] == "password_change_required"
    assert (await world.enrol(someone.phone, told, someone.device, more={"new_password": "河边第三棵大柳树"})).status_code == 200
    assert "password_reset" in await actions(world, someone.id)


# ------------------------------------------------------------------------------------------------ lists


async def test_people_are_listed_inside_my_units_with_the_duties_there(world: World) -> None:
    lead = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP))
    near = await world.person((Role.GRID_MEMBER, VILLAGE), (Role.COUNTY_SUPERVISOR, HANBIN))
    await world.person((Role.GRID_MEMBER, OTHER_COUNTY))
    people = (await get(world, lead, "/people/v1/persons")).json()["people"]
    assert {uuid.UUID(p["id"]) for p in people} == {lead.id, near.id}
    shown = next(p for p in people if p["id"] == str(near.id))
    assert [d["unit"] for d in shown["duties"]] == [VILLAGE], "a duty elsewhere is none of the township's business"


async def test_pages_of_people_are_complete_and_without_repetition(world: World) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    made = {admin.id} | {(await world.person((Role.GRID_MEMBER, VILLAGE), logged_in=False)).id for _ in range(23)}
    seen: list[uuid.UUID] = []
    query: dict[str, Any] = {"limit": 5}
    while True:
        page = (await get(world, admin, "/people/v1/persons", **query)).json()
        seen += [uuid.UUID(p["id"]) for p in page["people"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert len(seen) == len(set(seen)) == 24
    assert set(seen) == made


async def test_people_are_found_by_name_and_number_and_wildcards_are_letters(world: World) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    someone = await world.person((Role.GRID_MEMBER, VILLAGE), logged_in=False)
    await world.pool.execute("UPDATE person SET name = '张百分%' WHERE id = $1", someone.id)
    for text, found in (("百分", 1), ("%", 1), ("_", 0), (someone.phone[:9], 2), (someone.phone, 1), ("\\", 0), ("'; --", 0)):
        people = (await get(world, admin, "/people/v1/persons", text=text)).json()["people"]
        assert len(people) == found, text


async def test_field_staff_see_no_lists_of_people(world: World) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    assert problem_of(await get(world, someone, "/people/v1/persons"), 403)["code"] == "not_allowed"
    assert problem_of(await get(world, someone, f"/people/v1/persons/{someone.id}"), 404)["code"] == "not_found"


async def test_an_admin_sees_the_devices_of_their_people(world: World) -> None:
    admin, someone = await world.person((Role.ADMIN, TOWNSHIP)), await world.person((Role.GRID_MEMBER, VILLAGE))
    devices = (await get(world, admin, f"/people/v1/persons/{someone.id}/devices")).json()
    assert [uuid.UUID(d["id"]) for d in devices] == [someone.device]


# ------------------------------------------------------------------------------------------------ units


async def test_a_grid_is_added_and_a_duty_is_granted_there_at_once(world: World) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    grid = {"code": f"{VILLAGE}-g1", "parent": VILLAGE, "level": "grid", "name": "第一网格"}
    made = await post(world, admin, "/people/v1/units", grid)
    assert made.status_code == 201
    assert made.json()["county"] == 610902
    assert (await post(world, admin, "/people/v1/units", grid)).status_code == 201, "after a lost answer: it is so already"
    assert (await post(world, admin, "/people/v1/units", grid | {"name": "第二网格"})).status_code == 409
    assert (await post(world, admin, "/people/v1/persons", new_person(unit=grid["code"]))).status_code == 201


@pytest.mark.parametrize(("parent", "level", "status", "reason"), [
    (HANBIN, "grid", 403, "outside_your_units"),
    (VILLAGE, "village", 422, "level_is_not_added"),
    (VILLAGE, "county", 422, "level_is_not_added"),
    ("nowhere", "grid", 422, "unknown_unit"),
])  # fmt: skip
async def test_a_unit_that_may_not_be_added(world: World, parent: str, level: str, status: int, reason: str) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    unit = {"code": "610902-new", "parent": parent, "level": level, "name": "新"}
    assert problem_of(await post(world, admin, "/people/v1/units", unit), status)["details"]["reason"] == reason


# ------------------------------------------------------------------------------------------------ audit log


async def entries(world: World, someone: Someone, **query: Any) -> list[dict[str, Any]]:
    answer = await get(world, someone, "/audit/v1/entries", **query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


async def test_the_audit_log_is_shown_by_duty(world: World) -> None:
    near = await world.person((Role.AUDITOR, HANBIN))
    far = await world.person((Role.AUDITOR, OTHER_COUNTY))
    city = await world.person((Role.AUDITOR, "610900"))
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    await world.enrol("13700000000", "not this", uuid.uuid4())

    def about(listed: list[dict[str, Any]]) -> bool:
        return any(e["subject"] == str(someone.device) and e["action"] == "enrolled" for e in listed)

    assert about(await entries(world, near))
    assert about(await entries(world, city))
    assert not about(await entries(world, far))
    unknown = [e for e in await entries(world, city, action="login_failed") if e["person"] is None]
    assert len(unknown) == 1, "wrong numbers are shown to the city"
    assert not await entries(world, near, action="login_failed")


async def test_the_audit_log_pages_and_filters(world: World) -> None:
    auditor = await world.person((Role.AUDITOR, HANBIN))
    for _ in range(7):
        await world.person((Role.GRID_MEMBER, VILLAGE))
    first = (await get(world, auditor, "/audit/v1/entries", limit=5)).json()
    rest = (await get(world, auditor, "/audit/v1/entries", limit=5, before=first["next"])).json()
    ids = [e["id"] for e in first["entries"] + rest["entries"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 8
    assert len(await entries(world, auditor, person=str(auditor.id))) == 1
    assert (await get(world, auditor, "/audit/v1/entries", action="nonsense")).status_code == 422
    admin, victim = await world.person((Role.ADMIN, TOWNSHIP)), await world.person((Role.GRID_MEMBER, VILLAGE))
    world.clock.forward(days=2)
    await world.log_in(admin)
    await post(world, admin, f"/people/v1/persons/{victim.id}/correct", {"name": "改名"})
    await world.log_in(auditor)
    day, before = f"{world.clock():%Y-%m-%d}", f"{world.clock() - timedelta(days=1):%Y-%m-%d}"
    (corrected,) = await entries(world, auditor, subject=str(victim.id), action="person_corrected")
    assert (corrected["person"], corrected["detail"]["new"][0]) == (str(admin.id), "改名")
    assert corrected in await entries(world, auditor, since=day, until=day)
    assert corrected not in await entries(world, auditor, until=before)
    assert await entries(world, auditor, since="2030-01-01") == []
    assert {e["unit"] for e in await entries(world, auditor, unit=VILLAGE)} == {VILLAGE}
    assert await entries(world, auditor, unit=OTHER_COUNTY) == []


async def test_every_entry_says_who_did_it_where_from_and_by_which_request(world: World) -> None:
    admin, someone = await world.person((Role.ADMIN, TOWNSHIP)), await world.person((Role.GRID_MEMBER, VILLAGE))
    answer = await post(world, admin, f"/people/v1/persons/{someone.id}/disable")
    [entry] = await entries(world, admin, action="person_disabled")
    assert entry["person"] == str(admin.id)
    assert entry["person_name"]
    assert entry["device"] == str(admin.device)
    assert entry["subject"] == str(someone.id)
    assert entry["county"] == 610902
    assert entry["unit"] == VILLAGE
    assert entry["source"] == "127.0.0.1"
    assert entry["request"] == answer.headers["x-request-id"]
    assert entry["at"] == "2026-06-01T08:00:00Z"
    assert entry["detail"]["phones"] == [str(someone.device)]


# ------------------------------------------------------------------------------------------------ the last admin, corrections


async def end_own(world: World, admin: Someone) -> httpx.Response:
    duty = await world.pool.fetchval("SELECT id FROM duty WHERE person = $1", admin.id)
    return await post(world, admin, f"/people/v1/duties/{duty}/end", {})


async def test_the_last_admin_of_a_unit_cannot_be_ended_or_disabled(world: World) -> None:
    admin = await world.person((Role.ADMIN, HANBIN))
    below = await world.person((Role.ADMIN, TOWNSHIP))
    assert problem_of(await end_own(world, admin), 409)["details"]["reason"] == "last_admin"
    refused = await post(world, admin, f"/people/v1/persons/{admin.id}/disable")
    assert problem_of(refused, 409)["details"]["reason"] == "last_admin"
    assert (await whoami(world, admin.access)).status_code == 200
    assert (await end_own(world, below)).status_code == 200  # the county's admin still has the township
    other = await world.person((Role.ADMIN, HANBIN))
    assert (await post(world, other, f"/people/v1/persons/{admin.id}/disable")).status_code == 204
    assert problem_of(await end_own(world, other), 409)["details"]["reason"] == "last_admin"


async def test_two_admins_who_end_each_others_duty_at_once_leave_one(world: World) -> None:
    a, b = await world.person((Role.ADMIN, HANBIN)), await world.person((Role.ADMIN, HANBIN))
    duties = {row["person"]: row["id"] for row in await world.pool.fetch("SELECT person, id FROM duty")}
    answers = await asyncio.gather(
        post(world, a, f"/people/v1/duties/{duties[b.id]}/end", {}), post(world, b, f"/people/v1/duties/{duties[a.id]}/end", {})
    )
    assert sorted(answer.status_code for answer in answers) in ([200, 403], [200, 409])
    assert await world.pool.fetchval("SELECT count(*) FROM duty WHERE ends IS NULL") == 1


async def test_a_name_and_a_number_are_corrected_and_noted(world: World) -> None:
    admin, victim = await world.person((Role.ADMIN, TOWNSHIP)), await world.person((Role.GRID_MEMBER, VILLAGE))
    taken = await world.person((Role.GRID_MEMBER, VILLAGE))
    path = f"/people/v1/persons/{victim.id}/correct"
    assert problem_of(await post(world, admin, path, {"phone": taken.phone}), 409)["details"]["field"] == "phone"
    assert (await post(world, admin, path, {"phone": "139"})).status_code in (400, 422)
    done = (await post(world, admin, path, {"phone": "13677778888"})).json()
    assert (done["phone"], (await post(world, admin, path, {"name": "改名"})).json()["name"]) == ("13677778888", "改名")
    assert (await world.enrol("13677778888", victim.password, victim.device)).status_code == 200
    assert (await world.enrol(victim.phone, victim.password, victim.device)).status_code == 401
    assert (await actions(world, victim.id)).count("person_corrected") == 2
    above = await world.person((Role.COUNTY_SUPERVISOR, HANBIN), (Role.GRID_MEMBER, VILLAGE))
    for someone, target in ((taken, victim), (admin, above)):  # not an admin; an admin of a part of their duties
        assert (await post(world, someone, f"/people/v1/persons/{target.id}/correct", {"name": "x"})).status_code in (403, 404)


async def test_a_unit_that_was_made_is_renamed_and_no_area_is(world: World) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    made = {"code": "610902-g1", "parent": VILLAGE, "level": "grid", "name": "一网格"}
    assert (await post(world, admin, "/people/v1/units", made)).status_code == 201
    renamed = await post(world, admin, "/people/v1/units/610902-g1/name", {"name": "河东网格"})
    assert (renamed.status_code, renamed.json()["name"], renamed.json()["parent"]) == (200, "河东网格", VILLAGE)
    assert await actions(world, "610902-g1") == ["unit_created", "unit_renamed"]
    county = {"code": "610999", "parent": VILLAGE, "level": "grid", "name": "像县的网格"}
    assert (await post(world, admin, "/people/v1/units", county)).status_code in (400, 422)
    for unit, status in ((VILLAGE, 422), (HANBIN, 403), ("nowhere", 403)):
        assert (await post(world, admin, f"/people/v1/units/{unit}/name", {"name": "x"})).status_code == status


async def test_people_are_listed_by_unit_and_role(world: World) -> None:
    admin = await world.person((Role.ADMIN, HANBIN))
    member = await world.person((Role.GRID_MEMBER, VILLAGE))
    lead = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP))

    async def listed(**query: Any) -> set[str]:
        return {p["id"] for p in (await get(world, admin, "/people/v1/persons", **query)).json()["people"]}

    assert await listed(unit=TOWNSHIP) == {str(member.id), str(lead.id)}
    assert await listed(unit=TOWNSHIP, role="township_lead") == {str(lead.id)}
    assert await listed(role="admin") == {str(admin.id)}
    assert await listed(unit=OTHER_COUNTY) == await listed(unit="nowhere") == set()


async def test_two_who_add_one_code_at_once_do_not_move_it(world: World) -> None:
    here, there = await world.person((Role.ADMIN, HANBIN)), await world.person((Role.ADMIN, OTHER_COUNTY))
    answers = await asyncio.gather(
        *(
            post(world, someone, "/people/v1/units", {"code": "wg-1", "parent": unit, "level": "team", "name": "队"})
            for someone, unit in ((here, HANBIN), (there, OTHER_COUNTY))
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    unit = await world.pool.fetchrow("SELECT county, parent FROM unit WHERE code = 'wg-1'")
    assert str(unit["county"]) == unit["parent"]


async def test_a_duty_that_somebody_has_is_not_given_twice(world: World) -> None:
    """Ending one of two would leave the access."""
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    member = await world.person((Role.AUDITOR, TOWNSHIP))
    duty = {"role": "grid_member", "unit": VILLAGE}
    answers = await asyncio.gather(*(post(world, admin, "/people/v1/duties", {"person": str(member.id), "duty": duty}) for _ in range(3)))
    assert [a.status_code for a in answers] == [201] * 3
    count = "SELECT count(*) FROM duty WHERE person = $1 AND role = 'grid_member'"
    assert await world.pool.fetchval(count, member.id) == 1
    other = await post(world, admin, "/people/v1/duties", {"person": str(member.id), "duty": duty | {"ends": "2027-01-01T00:00:00Z"}})
    assert (other.status_code, other.json()["details"]["reason"]) == (409, "duty_exists")
    twice = new_person() | {"duties": [duty, duty]}
    assert (await post(world, admin, "/people/v1/persons", twice)).json()["details"]["reason"] == "duplicate"


@pytest.mark.parametrize("name", [" ", "张\n三", "<b>张三</b>", "\u200b", "\u3000"])
async def test_a_name_is_something_to_read_in_one_line(world: World, name: str) -> None:
    admin = await world.person((Role.ADMIN, TOWNSHIP))
    member = await world.person((Role.GRID_MEMBER, VILLAGE))
    for path, body in (
        (f"/people/v1/persons/{member.id}/correct", {"name": name}),
        ("/people/v1/persons", new_person() | {"name": name}),
        ("/people/v1/units", {"code": "wg-blank", "parent": VILLAGE, "level": "grid", "name": name}),
    ):
        answer = await post(world, admin, path, body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_value"), (path, answer.text)


@pytest.mark.parametrize("by_demo", [False, True])
async def test_an_account_that_a_real_admin_enables_is_no_demo_account_any_more(world: World, by_demo: bool) -> None:
    admin, someone = await world.person((Role.ADMIN, HANBIN)), await world.person((Role.GRID_MEMBER, VILLAGE))
    await world.pool.execute("UPDATE person SET demo = true WHERE id = $1 OR ($2 AND id = $3)", someone.id, by_demo, admin.id)
    assert (await post(world, admin, f"/people/v1/persons/{someone.id}/disable")).status_code == 204
    assert (await post(world, admin, f"/people/v1/persons/{someone.id}/enable")).status_code == 204
    assert await world.pool.fetchval("SELECT demo FROM person WHERE id = $1", someone.id) is by_demo


async def test_a_later_end_of_a_duty_is_judged_as_a_grant(world: World) -> None:
    """Not for oneself, and not for an auditor who administers by then."""
    admin, other = await world.person((Role.ADMIN, HANBIN)), await world.person((Role.ADMIN, HANBIN))
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))

    async def granted(whom: Any, role: str, unit: str, starts: int, ends: int) -> str:
        times = {"starts": (world.clock() + timedelta(days=starts)).isoformat(), "ends": (world.clock() + timedelta(days=ends)).isoformat()}
        made = await post(world, other, "/people/v1/duties", {"person": str(whom.id), "duty": {"role": role, "unit": unit, **times}})
        assert made.status_code == 201, made.text
        return next(str(d["id"]) for d in made.json()["duties"] if d["role"] == role and d["unit"] == unit)

    async def moved(duty: str, days: int) -> Any:
        return await post(world, admin, f"/people/v1/duties/{duty}/end", {"ends": (world.clock() + timedelta(days=days)).isoformat()})

    mine = await granted(admin, "grid_member", VILLAGE, 0, 3)
    audits = await granted(someone, "auditor", HANBIN, 0, 3)
    await granted(someone, "county_supervisor", HANBIN, 5, 9)
    assert (await moved(mine, 9)).json()["details"]["reason"] == "not_to_yourself"
    assert (await moved(audits, 7)).json()["details"]["reason"] == "auditor_is_apart"
    assert (await moved(audits, 4)).status_code == 200
