"""The office sees and settles each conflict and each held mutation from the first day (promise 3)."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from contracts.outcomes import TEXT_ZH, Outcome, Reason
from contracts.people import Role
from phone.phone import Phone
from server.settings import Settings
from tests.world import COUNTY, MORNING, TOWNSHIP, VILLAGE_A, VILLAGE_B, World, open_world

SITE = {"name": "工地一", "unit": VILLAGE_A, "subjects": ["construction_dust"], "note": "原"}


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(settings, tmp_path) as world:
        yield world


async def lead_of(world: World) -> Phone:
    return await world.phone(await world.person("镇长", (Role.TOWNSHIP_LEAD, TOWNSHIP)))


async def call(world: World, phone: Phone, method: str, path: str, **options: object) -> httpx.Response:
    token = phone.store.db.execute("SELECT value FROM meta WHERE name = 'access'").fetchone()[0]
    return await world.client.request(method, path, headers={"Authorization": f"Bearer {token}"}, **options)


async def test_work_without_a_duty_waits_and_is_released(world: World) -> None:
    lead = await lead_of(world)
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_B)))
    site = a.create("site", COUNTY, SITE)
    a.edit(site, {"note": "改"})
    await a.sync()
    held = (await call(world, lead, "GET", f"/office/v1/held?county={COUNTY}")).json()["items"]
    assert [(h["outcome"], h["reason"]) for h in held] == [("quarantined", "no_duty"), ("deferred", "waits_for")]
    assert held[0]["raw"].startswith("{")
    path = f"/office/v1/held/{COUNTY}/{a.account.device}/1/release"
    decided = await call(world, lead, "POST", path, json={"note": "属实"})
    assert decided.status_code == 200, decided.text
    # the second waits no longer, but its own author had no duty either
    assert [o["outcome"] for o in decided.json()["outcomes"]] == ["applied", "quarantined"]
    second = await call(world, lead, "POST", path.replace("/1/", "/2/"), json={})
    assert second.json()["outcomes"][0]["reason"] == Reason.RELEASED.value
    await lead.sync()
    assert lead.view(site).body["note"] == "改"
    assert (await call(world, lead, "GET", f"/office/v1/held?county={COUNTY}")).json()["items"] == []
    await a.sync()
    assert a.waiting() == []


async def test_each_outcome_says_in_words_how_it_went(world: World) -> None:
    lead = await lead_of(world)
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_B)))
    site = a.create("site", COUNTY, SITE)
    own = a.create("site", COUNTY, SITE | {"unit": VILLAGE_B})
    await a.sync()
    assert [one.message for one in a.waiting()] == [TEXT_ZH[Reason.NO_DUTY]]
    a.command(own, "site.unheard", shows={})
    await a.sync()
    assert [one.message for one in a.waiting()] == [TEXT_ZH[Reason.NO_DUTY], TEXT_ZH[Reason.UNKNOWN_COMMAND]]
    (held, _) = (await call(world, lead, "GET", f"/office/v1/held?county={COUNTY}")).json()["items"]
    assert held["message"] == TEXT_ZH[Reason.NO_DUTY]
    decided = await call(world, lead, "POST", f"/office/v1/held/{COUNTY}/{a.account.device}/1/discard", json={"note": "误报"})
    assert decided.json()["outcomes"][0]["message"] == TEXT_ZH[Reason.DISCARDED]
    await a.sync()
    assert [one.message for one in a.refused()] == [TEXT_ZH[Reason.DISCARDED]]
    wrote = {"county": COUNTY, "mutations": [{"id": str(uuid4()), "kind": "site", "record": str(site), "op": "create", "body": SITE}]}
    first, second = [(await call(world, lead, "POST", "/office/v1/mutations", json=wrote)).json()["outcomes"][0] for _ in range(2)]
    assert "message" not in first, "it went as asked"
    assert second["message"] == TEXT_ZH[Reason.ALREADY_SO]


async def test_what_is_discarded_stays_in_the_journal_and_is_told(world: World) -> None:
    lead = await lead_of(world)
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_B)))
    a.create("site", COUNTY, SITE)
    await a.sync()
    path = f"/office/v1/held/{COUNTY}/{a.account.device}/1"
    decided = await call(world, lead, "POST", f"{path}/discard", json={"note": "误报"})
    assert (decided.json()["outcomes"][0]["outcome"], decided.json()["outcomes"][0]["reason"]) == ("rejected", "discarded")
    again = await call(world, lead, "POST", f"{path}/release", json={})
    assert (again.status_code, again.json()["code"]) == (409, "conflicting_state")
    rows = await world.pool.fetch("SELECT what, outcome, raw FROM journal WHERE device = $1 ORDER BY entry", a.account.device)
    assert rows[0]["raw"] is not None
    assert ("decision", "rejected") in [(r["what"], r["outcome"]) for r in rows]
    await a.sync()
    assert a.waiting() == []


async def test_a_conflict_is_settled_with_one_tap_and_syncs_back(world: World) -> None:
    lead = await lead_of(world)
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
    b = await world.phone(await world.person("乙", (Role.GRID_MEMBER, VILLAGE_A)))
    site = a.create("site", COUNTY, SITE)
    await a.sync()
    await b.sync()
    a.edit(site, {"note": "甲写"})
    b.edit(site, {"note": "乙写"})
    await a.sync()
    await b.sync()
    inbox = (await call(world, lead, "GET", f"/office/v1/conflicts?county={COUNTY}")).json()["items"]
    assert [(i["conflict"]["kept"], i["conflict"]["lost"], i["conflict"]["field"]) for i in inbox] == [("乙写", "甲写", "note")]
    assert inbox[0]["person_name"] == "甲"  # whose value is not in the record; 乙's arrival made the two meet
    path = f"/office/v1/conflicts/{COUNTY}/{inbox[0]['id']}/settle"
    settled = await call(world, lead, "POST", path, json={"choice": "lost"})
    assert settled.json()["outcomes"][0]["outcome"] == Outcome.APPLIED.value, settled.text
    await a.sync()
    await b.sync()
    assert a.view(site).body["note"] == b.view(site).body["note"] == "甲写"
    assert (await call(world, lead, "GET", f"/office/v1/conflicts?county={COUNTY}")).json()["items"] == []


async def test_the_desk_is_closed_to_the_field_and_to_other_townships(world: World) -> None:
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
    for path in (f"/office/v1/held?county={COUNTY}", f"/office/v1/conflicts?county={COUNTY}"):
        refused = await call(world, a, "GET", path)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    other = await world.phone(await world.person("别镇", (Role.TOWNSHIP_LEAD, "610921100")))
    b = await world.phone(await world.person("乙", (Role.GRID_MEMBER, VILLAGE_B)))
    b.create("site", COUNTY, SITE)
    await b.sync()
    path = f"/office/v1/held/{COUNTY}/{b.account.device}/1/release"
    assert (await call(world, other, "POST", path, json={})).status_code == 403


async def test_the_console_writes_the_same_way_and_a_repeated_id_changes_nothing(world: World) -> None:
    lead = await lead_of(world)
    mutation = {"id": str(uuid4()), "kind": "site", "record": str(uuid4()), "op": "create", "body": SITE}
    for _ in range(2):
        answer = await call(world, lead, "POST", "/office/v1/mutations", json={"county": COUNTY, "mutations": [mutation]})
        assert answer.json()["outcomes"][0]["outcome"] == "applied", answer.text
    await lead.sync()
    assert [v.body["name"] for v in lead.records("site")] == ["工地一"]
    assert await world.pool.fetchval("SELECT version FROM record WHERE id = $1::uuid", mutation["record"]) == 1


async def test_an_id_that_another_device_used_has_a_conflict_of_its_own(world: World) -> None:
    """The conflict that follows from a mutation derives its id from it and from its record: both are kept."""
    one, two = await lead_of(world), await lead_of(world)
    sites = [str(uuid4()) for _ in range(2)]
    made = [{"id": str(uuid4()), "kind": "site", "record": site, "op": "create", "body": SITE} for site in sites]
    await call(world, one, "POST", "/office/v1/mutations", json={"county": COUNTY, "mutations": made})
    for phone, site in zip((two, one), sites, strict=True):
        edit = {"id": str(uuid4()), "kind": "site", "record": site, "op": "edit", "base": [1, 1], "fields": {"name": ["工地一", "新"]}}
        await call(world, phone, "POST", "/office/v1/mutations", json={"county": COUNTY, "mutations": [edit]})
    used = str(uuid4())
    answers = []
    for phone, site in zip((one, two), sites, strict=True):
        edit = {"id": used, "kind": "site", "record": site, "op": "edit", "base": [1, 1], "fields": {"name": ["工地一", "改"]}}
        answers.append(await call(world, phone, "POST", "/office/v1/mutations", json={"county": COUNTY, "mutations": [edit]}))
    assert [answer.json()["outcomes"][0]["outcome"] for answer in answers] == ["conflict", "conflict"]
    items = (await call(world, one, "GET", f"/office/v1/conflicts?county={COUNTY}")).json()["items"]
    assert {item["conflict"]["record"] for item in items} == set(sites)


async def test_a_duty_that_ended_before_the_capture_holds_only_what_came_after(world: World) -> None:
    person = await world.person("甲")
    await world.duty(person, Role.GRID_MEMBER, VILLAGE_A, MORNING - timedelta(days=9), MORNING + timedelta(hours=3))
    a = await world.phone(person)
    await a.sync()
    world.at(60)
    early = a.create("site", COUNTY, SITE)
    world.at(240)
    late = a.create("site", COUNTY, SITE | {"name": "迟"})
    world.at(300)
    await a.sync()
    rows = dict(await world.pool.fetch("SELECT record, reason FROM journal WHERE device = $1 AND entry = 0", a.account.device))
    assert rows == {early: "ok", late: "no_duty"}


async def test_a_phone_that_also_uses_the_office_routes_keeps_its_own_numbers(world: World) -> None:
    """Promise 2. What the server numbers for a person is not in the sequence of the phone in their hand."""
    lead = await lead_of(world)
    await lead.sync()
    mutation = {"id": str(uuid4()), "kind": "site", "record": str(uuid4()), "op": "create", "body": SITE}
    await call(world, lead, "POST", "/office/v1/mutations", json={"county": COUNTY, "mutations": [mutation]})
    own = lead.create("site", COUNTY, SITE | {"name": "手机上建的"})
    await lead.sync()
    assert lead.waiting() == []
    assert await world.pool.fetchval("SELECT version FROM record WHERE id = $1", own) == 1
    assert await world.pool.fetchval("SELECT revoked_at FROM device WHERE id = $1", lead.account.device) is None


async def test_a_release_makes_up_for_a_duty_and_never_for_a_role(world: World) -> None:
    """What only the server writes, or only a supervisor may do, is not done by sending it from where one has no duty."""
    lead = await lead_of(world)
    a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_B)))
    definition = {"unit": VILLAGE_A, "slug": "x", "jurisdiction": "ankang", "version": 1, "definition": {}}
    a.create("checklist", COUNTY, definition)
    a.create("transfer", COUNTY, {"unit": VILLAGE_A, "title": "x", "flow": "criminal_case", "receiver": "police"})
    await a.sync()
    path = f"/office/v1/held/{COUNTY}/{a.account.device}/1/release"
    outcome = (await call(world, lead, "POST", path, json={})).json()["outcomes"][0]
    assert (outcome["outcome"], outcome["reason"], outcome["detail"]["by"]) == ("quarantined", "not_your_role", [])
    assert outcome["detail"]["decided_by"] == str(lead.account.person)
    path = f"/office/v1/held/{COUNTY}/{a.account.device}/2/release"
    assert (await call(world, lead, "POST", path, json={})).status_code == 404, "what is held of a case is on the county's desk alone"
    held = (await call(world, lead, "GET", f"/office/v1/held?county={COUNTY}")).json()["items"]
    assert [h["reason"] for h in held] == ["not_your_role"]  # for whoever may


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"op": "problem.abolish"}, "unknown_command"),
        ({"kind": "wish", "op": "edit"}, "unknown_kind"),
        ({"op": "edit", "fields": {"subjects": ["construction_dust", "x"]}}, "malformed"),
        ({"op": "edit", "fields": {"unit": [VILLAGE_A, "nowhere"]}}, "unknown_unit"),
        ({"op": "edit", "record": str(uuid4()), "fields": {"note": ["", "x"]}}, "record_missing"),
        ({"op": "create", "record": str(uuid4()), "body": {"unit": VILLAGE_A}}, "malformed"),
    ],
)
async def test_a_slip_at_the_console_is_told_at_once_and_locks_nothing(world: World, wrong: dict[str, Any], reason: str) -> None:
    lead = await lead_of(world)
    site = {"id": str(uuid4()), "kind": "site", "record": str(uuid4()), "op": "create", "body": SITE}
    path = "/office/v1/mutations"
    assert (await call(world, lead, "POST", path, json={"county": COUNTY, "mutations": [site]})).status_code == 200
    slip = {"id": str(uuid4()), "kind": "site", "record": site["record"]} | wrong
    other = {"id": str(uuid4()), "kind": "site", "record": str(uuid4()), "op": "create", "body": SITE}
    refused = await call(world, lead, "POST", path, json={"county": COUNTY, "mutations": [other, slip]})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_value"), refused.text
    fault = refused.json()["details"]["faults"][0]
    assert (fault["index"], fault["id"], fault["reason"]) == (1, slip["id"], reason)
    assert refused.json()["detail"].startswith("第2项：")
    assert await world.pool.fetchval("SELECT count(*) FROM held") == 0
    assert await world.pool.fetchval("SELECT count(*) FROM record WHERE id = $1::uuid", other["record"]) == 0
    right = {"id": slip["id"], "kind": "site", "record": site["record"], "op": "edit", "base": [1, 1], "fields": {"note": ["", "好"]}}
    answer = await call(world, lead, "POST", path, json={"county": COUNTY, "mutations": [right]})
    assert answer.json()["outcomes"][0]["outcome"] == "applied", answer.text


async def test_a_decision_and_the_note_of_it_are_one_thing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server fails between the two: neither is there, and the next try has both."""
    lead = await lead_of(world)
    wrong = await world.phone(await world.person("越界", (Role.GRID_MEMBER, VILLAGE_B)))
    wrong.create("site", COUNTY, SITE)
    a, b = [await world.phone(await world.person(name, (Role.GRID_MEMBER, VILLAGE_A))) for name in ("甲", "乙")]
    site = a.create("site", COUNTY, SITE)
    for phone in (wrong, a, b):
        await phone.sync()
    for phone, note in ((a, "甲写"), (b, "乙写")):
        phone.edit(site, {"note": note})
    for phone in (a, b):
        await phone.sync()
    (item,) = (await call(world, lead, "GET", f"/office/v1/conflicts?county={COUNTY}")).json()["items"]
    tries = {
        "held_settled": (f"/office/v1/held/{COUNTY}/{wrong.account.device}/1/discard", {}),
        "conflict_settled": (f"/office/v1/conflicts/{COUNTY}/{item['id']}/settle", {"choice": "lost"}),
    }

    async def failing(*_: object) -> None:
        raise ZeroDivisionError

    for action, (path, body) in tries.items():
        before = await world.pool.fetchval("SELECT count(*) FROM journal")
        with monkeypatch.context() as patch:
            patch.setattr("api.desk.insert_note", failing)
            assert (await call(world, lead, "POST", path, json=body)).status_code == 500
        assert await world.pool.fetchval("SELECT count(*) FROM journal") == before
        assert (await call(world, lead, "POST", path, json=body)).status_code == 200
        assert await world.pool.fetchval("SELECT count(*) FROM audit_log WHERE action = $1", action) == 1
