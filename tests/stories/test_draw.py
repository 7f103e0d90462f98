"""双随机、一公开: a draw that nobody can grind, that the inspected side does not see, and that everybody can recompute."""

import asyncio
import dataclasses
import hashlib
import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.signing import Signer
from contracts.people import Role
from phone.phone import Phone
from tests.draws import DEPARTMENT, ISSUER, NONCE, TITLE, Drawing
from tests.stories.day import Day, sync
from tests.world import COUNTY, TOWNSHIP


@pytest.fixture
async def drawing(day: Day) -> Drawing:
    return await Drawing(day.world).set_up()


def verified(path: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """As anybody runs it: a process of its own, without settings, far from the database."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "server", "draw", "verify", str(path), *options]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False)


async def test_the_whole_way_from_the_pool_to_a_file_that_verifies(drawing: Drawing, tmp_path: Path) -> None:
    commitment, path = await drawing.disclosed(tmp_path)
    story = (await drawing.call(drawing.supervisor, "GET", drawing.path())).json()
    assert [(step["command"], step["to"]) for step in story["steps"]] == [
        ("draw.commit", "committed"),
        ("draw.seed", "seeded"),
        ("draw.draw", "drawn"),
        ("draw.depart", "departed"),
        ("draw.disclose", "disclosed"),
    ]
    published = (await drawing.world.client.get("/public/v1/draws")).json()["draws"]
    assert [one["statement"]["commitment"] for one in published] == [commitment]
    keys = (await drawing.world.client.get("/sync/v1/keys")).json()
    public = (keys["keys"] if isinstance(keys, dict) else keys)[0]["public"]
    told = await asyncio.to_thread(verified, path, tmp_path, "--commitment", commitment, "--key", public)
    assert (told.returncode, told.stdout.splitlines()[0]) == (0, "一致 · VERIFIED"), told.stdout + told.stderr
    file = json.loads(path.read_bytes())
    assert file["nonce"] == NONCE
    assert len(file["result"]["visits"]) == 2
    for visit in file["result"]["visits"]:
        units = {inspector["id"]: inspector["unit"] for inspector in file["plan"]["inspectors"]}
        assert len({units[i] for i in visit["inspectors"]}) == 2
    assert await drawing.visits() == file["result"]["visits"]


def forged(path: Path, change: Any) -> Path:
    content = json.loads(path.read_bytes())
    change(content)
    other = path.with_name("forged.json")
    other.write_text(json.dumps(content, ensure_ascii=False))
    return other


def set_weight(file: dict[str, Any]) -> None:
    file["plan"]["sites"][0]["weight"] += 1


def drop_site(file: dict[str, Any]) -> None:
    drawn = {visit["site"] for visit in file["result"]["visits"]} | {one.get("site") for one in file["plan"]["exclusions"]}
    file["plan"]["sites"] = [site for site in file["plan"]["sites"] if site["id"] in drawn]


def swap_visits(file: dict[str, Any]) -> None:
    file["result"]["visits"].reverse()


TAMPERED = [
    (set_weight, "sites: differs from what was committed"),
    (drop_site, "sites: differs from what was committed"),
    (lambda f: f.update(seed="0" * 64), "nonce or seed:"),
    (lambda f: f.update(nonce=f["nonce"] + "0"), "nonce or seed:"),
    (lambda f: f.update(secret="0" * 64), "secret: differs from what was committed"),
    (swap_visits, "result: visit 1 must be"),
    (lambda f: f.update(departed_at=None), "sig: the signature does not fit"),
    (lambda f: f.pop("why"), "file: something is missing"),
    (lambda f: f["statement"].update(at="2026-11-19T01:00:00Z"), "statement: the signature does not fit"),
    (lambda f: f.pop("nonce"), "file: not a draw file"),
]


async def test_a_tampered_file_is_detected_and_the_message_names_what_differs(drawing: Drawing, tmp_path: Path) -> None:
    commitment, path = await drawing.disclosed(tmp_path)
    for change, message in TAMPERED:
        told = await asyncio.to_thread(verified, forged(path, change), tmp_path)
        assert told.returncode == 1, (message, told.stdout, told.stderr)
        assert told.stdout.startswith("不一致 · DOES NOT VERIFY")
        assert message in told.stdout, told.stdout
    other = await asyncio.to_thread(verified, path, tmp_path, "--commitment", "0" * 64)
    assert (other.returncode, "commitment: is not the one that was published" in other.stdout) == (1, True)
    other = await asyncio.to_thread(verified, path, tmp_path, "--key", "0" * 64)
    assert (other.returncode, "is not one that was published" in other.stdout) == (1, True)
    assert (await asyncio.to_thread(verified, tmp_path / "none.json", tmp_path)).returncode == 1
    # saved again by an editor, with other white space, it is still the same file
    assert (await asyncio.to_thread(verified, forged(path, lambda _: None), tmp_path, "--commitment", commitment)).returncode == 0


# ------------------------------------------------------------------------------------------------ nobody grinds


async def state_of(drawing: Drawing) -> str:
    return str((await drawing.call(drawing.supervisor, "GET", drawing.path())).json()["state"])


async def test_a_nonce_before_the_commitment_is_refused(drawing: Drawing) -> None:
    await drawing.prepared()
    early = await drawing.act(drawing.auditor, "nonce", commitment="0" * 64, nonce=NONCE)
    assert (early.status_code, early.json()["details"]["reason"]) == (409, "not_allowed_now")
    assert "draw.commit" in early.json()["details"]["refused"]["allowed"]
    assert await state_of(drawing) == "prepared"


async def test_a_nonce_for_another_commitment_is_refused(drawing: Drawing) -> None:
    await drawing.committed()
    other = await drawing.act(drawing.auditor, "nonce", commitment="0" * 64, nonce=NONCE)
    assert (other.status_code, other.json()["details"]["refused"]["needs"]) == (409, ["names_the_commitment"])


async def test_who_issues_cannot_give_the_nonce_even_as_an_auditor(drawing: Drawing) -> None:
    person = await drawing.world.person("一身二任", (Role.COUNTY_SUPERVISOR, ISSUER), (Role.AUDITOR, ISSUER))
    both = await drawing.world.phone(person)
    await drawing.prepared()
    commitment = (await drawing.act(both, "commit")).json()["commitment"]
    same = await drawing.act(both, "nonce", commitment=commitment, nonce=NONCE)
    assert (same.status_code, same.json()["details"]["refused"]["needs"]) == (409, ["second_party"])
    issuer = await drawing.act(drawing.supervisor, "nonce", commitment=commitment, nonce=NONCE)
    assert (issuer.status_code, issuer.json()["code"]) == (403, "not_allowed")


async def test_a_second_nonce_is_refused_and_the_first_stays(drawing: Drawing) -> None:
    commitment = await drawing.seeded()
    again = await drawing.act(drawing.auditor, "nonce", commitment=commitment, nonce="f" * 32)
    assert (again.status_code, again.json()["details"]["reason"]) == (409, "not_allowed_now")
    assert (await drawing.call(drawing.auditor, "GET", drawing.path())).json()["nonce"] == NONCE


async def test_of_two_nonces_at_once_one_is_taken(drawing: Drawing) -> None:
    commitment = await drawing.committed()
    other = await drawing.world.phone(await drawing.world.person("审计二", (Role.AUDITOR, ISSUER)))
    answers = await asyncio.gather(
        drawing.act(drawing.auditor, "nonce", commitment=commitment, nonce="a" * 32),
        drawing.act(other, "nonce", commitment=commitment, nonce="b" * 32),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_of_two_commitments_at_once_one_secret_stays(drawing: Drawing) -> None:
    await drawing.prepared()
    answers = await asyncio.gather(drawing.act(drawing.supervisor, "commit"), drawing.act(drawing.second_supervisor, "commit"))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    again = {(await drawing.act(phone, "commit")).status_code for phone in (drawing.supervisor, drawing.second_supervisor)}
    assert again == {200, 409}, "whoever made it is told again that it is made"
    published = (await drawing.world.client.get("/public/v1/draws")).json()["draws"]
    shown = (await drawing.call(drawing.auditor, "GET", drawing.path())).json()
    assert [one["statement"]["commitment"] for one in published] == [shown["commitment"]]


async def pushed(drawing: Drawing, phone: Phone, op: str, fields: dict[str, Any], **args: str) -> str:
    """The state after a lead who knows the protocol pushed this past the draw's own routes, by phone and by console."""
    await sync(phone)
    phone.command(drawing.draw, op, fields, args=args)
    await sync(phone)
    mutation = {
        "id": str(uuid.uuid4()),
        "kind": "draw",
        "record": str(drawing.draw),
        "op": op,
        "fields": {k: [None, v] for k, v in fields.items()},
    }
    answer = await drawing.call(phone, "POST", "/office/v1/mutations", json={"county": COUNTY, "mutations": [mutation | {"args": args}]})
    assert answer.json()["outcomes"][0]["detail"]["needs"] == ["with_sealed_part"], answer.text
    return await state_of(drawing)


async def test_nothing_that_rests_on_the_sealed_part_is_taken_past_it(drawing: Drawing) -> None:
    """Neither a hash of one's own, nor a failure that there is not, nor a departure without tasks, nor an unpublished cancelling."""
    rogue = await drawing.world.phone(await drawing.world.person("督办三", (Role.COUNTY_SUPERVISOR, ISSUER)))
    await drawing.prepared()
    assert await pushed(drawing, rogue, "draw.commit", {"commitment": "e" * 64}) == "prepared"
    commitment = await drawing.commits()
    assert await pushed(drawing, rogue, "draw.cancel", {}, reason="不合意") == "committed"
    await drawing.act(drawing.auditor, "nonce", commitment=commitment, nonce=NONCE)
    assert await pushed(drawing, rogue, "draw.fail", {}, failure="too_few_sites") == "seeded"
    assert await pushed(drawing, rogue, "draw.draw", {}) == "seeded"
    await drawing.act(drawing.supervisor, "draw")
    assert await pushed(drawing, rogue, "draw.depart", {}) == "drawn"
    assert await pushed(drawing, rogue, "draw.disclose", {}, reason="不合意") == "drawn"


async def test_a_draw_is_not_made_on_a_phone(drawing: Drawing) -> None:
    """It would have no pool, and could say that somebody else prepared it."""
    await sync(drawing.supervisor)
    body = {"unit": ISSUER, "title": TITLE, "prepared_by": str(drawing.inspectors[0][0].id)}
    made = drawing.supervisor.create("draw", COUNTY, body)
    await sync(drawing.supervisor)
    assert (await drawing.call(drawing.supervisor, "GET", f"/office/v1/draws/{COUNTY}/{made}")).status_code == 404


async def test_the_second_party_may_seed_on_an_offline_phone(drawing: Drawing) -> None:
    commitment = await drawing.committed()
    await sync(drawing.auditor)
    drawing.auditor.command(drawing.draw, "draw.seed", {"nonce": NONCE}, args={"commitment": commitment})
    drawing.world.at(30)
    await sync(drawing.auditor)
    assert await state_of(drawing) == "seeded"


async def test_whoever_might_issue_the_draw_is_no_second_party(drawing: Drawing) -> None:
    """Another supervisor of the unit, who neither prepared nor committed, but is an auditor, too."""
    person = await drawing.world.person("兼审计", (Role.COUNTY_SUPERVISOR, ISSUER), (Role.AUDITOR, ISSUER))
    both = await drawing.world.phone(person)
    commitment = await drawing.committed()
    refused = await drawing.act(both, "nonce", commitment=commitment, nonce=NONCE)
    assert (refused.status_code, refused.json()["details"]["refused"]["needs"]) == (409, ["second_party"])


async def test_a_draw_is_given_up_only_before_its_nonce_and_stays_published(drawing: Drawing) -> None:
    commitment = await drawing.committed()
    assert (await drawing.act(drawing.supervisor, "cancel")).json()["details"]["refused"]["needs"] == ["reason"]
    assert (await drawing.act(drawing.supervisor, "cancel", reason="暴雨")).json()["state"] == "cancelled"
    (published,) = (await drawing.world.client.get("/public/v1/draws")).json()["draws"]
    assert published["statement"]["commitment"] == commitment
    assert published["cancelled_at"] is not None
    assert (await drawing.act(drawing.auditor, "nonce", commitment=commitment, nonce=NONCE)).status_code == 409


async def test_a_list_that_is_kept_quiet_is_missed_by_everybody(drawing: Drawing, tmp_path: Path) -> None:
    """Two draws of one pool, both lists read, the pleasing one followed: the other stays open in public, and the file points at it."""
    quiet = await drawing.drawn()
    await drawing.visits()
    drawing.world.at(5)
    drawing.draw = uuid.uuid4()
    followed, path = await drawing.disclosed(tmp_path)
    file = json.loads(path.read_bytes())
    assert file["plan"]["previous"] == quiet
    told = await asyncio.to_thread(verified, path, tmp_path)
    assert (told.returncode, quiet in told.stdout) == (0, True)
    rows = (await drawing.world.client.get("/public/v1/draws")).json()["draws"]
    open_ones = {one["statement"]["commitment"] for one in rows if one["seeded_at"] and not one["disclosed_at"]}
    assert (open_ones, len(rows)) == ({quiet}, 2)
    (given,) = {one["nonce_sha256"] for one in rows if one["statement"]["commitment"] == followed}
    assert given == hashlib.sha256(file["nonce"].encode()).hexdigest()


async def test_commitments_made_at_once_still_follow_each_other(drawing: Drawing) -> None:
    draws = [uuid.uuid4() for _ in range(6)]
    for drawing.draw in draws:
        await drawing.prepared()
    paths = [f"/office/v1/draws/{COUNTY}/{draw}" for draw in draws]
    answers = await asyncio.gather(*(drawing.call(drawing.supervisor, "POST", f"{path}/commit") for path in paths))
    assert {answer.status_code for answer in answers} == {200}
    plans = [(await drawing.call(drawing.supervisor, "GET", f"{path}/list")).json()["plan"] for path in paths]
    commitments = {answer.json()["commitment"] for answer in answers}
    assert len({plan["previous"] for plan in plans}) == 6
    assert {plan["previous"] for plan in plans} - {None} < commitments


async def test_a_file_says_when_each_step_was_taken_and_no_name_too_many(drawing: Drawing, tmp_path: Path) -> None:
    person, unit = await drawing.world.person("未抽中", (Role.DEPARTMENT_STAFF, DEPARTMENT)), DEPARTMENT
    drawing.inspectors.append((person, unit))
    leave = {"reason": "on_leave", "inspector": str(person.id), "note": "病假"}
    commitment = await drawing.committed(exclusions=[leave])
    for minute, (phone, act, body) in enumerate(
        (
            (drawing.auditor, "nonce", {"commitment": commitment, "nonce": NONCE}),
            (drawing.supervisor, "draw", {}),
            (drawing.supervisor, "depart", {}),
            (drawing.supervisor, "disclose", {}),
        ),
        start=1,
    ):
        drawing.world.at(minute)
        assert (await drawing.act(phone, act, **body)).status_code == 200
    path = await drawing.downloaded(commitment, tmp_path)
    file = json.loads(path.read_bytes())
    times = [file["statement"]["at"], *(file[name] for name in ("nonce_at", "drawn_at", "departed_at", "disclosed_at"))]
    assert times == [f"2026-11-20T01:0{minute}:00Z" for minute in range(5)]
    assert file["prepared_by"] == file["committed_by"] != file["nonce_by"]
    text = path.read_text()
    assert [word for word in ("未抽中", "病假") if word in text] == []
    assert "检查员0" in text
    assert (await drawing.call(drawing.supervisor, "GET", drawing.path("list"))).json()["plan"]["exclusions"] == [leave | {"site": None}]


async def test_the_signing_key_may_be_changed_between_commitment_and_disclosure(drawing: Drawing, tmp_path: Path) -> None:
    commitment = await drawing.drawn()
    resources = drawing.world.app.state.resources
    before = resources.signer.public_keys[0].public
    drawing.world.app.state.resources = dataclasses.replace(resources, signer=Signer(Ed25519PrivateKey.generate()))
    await drawing.act(drawing.supervisor, "depart")
    assert (await drawing.act(drawing.supervisor, "disclose")).status_code == 200
    path = await drawing.downloaded(commitment, tmp_path)
    now = json.loads(path.read_bytes())["public"]
    assert now != before
    told = await asyncio.to_thread(verified, path, tmp_path, "--key", before, "--key", now)
    assert told.returncode == 0, told.stdout


async def test_a_list_somebody_has_seen_can_only_be_followed_or_disclosed_with_the_reason(drawing: Drawing, tmp_path: Path) -> None:
    commitment = await drawing.drawn()
    await drawing.visits()
    assert (await drawing.act(drawing.supervisor, "cancel", reason="不合意")).status_code == 409
    assert (await drawing.act(drawing.supervisor, "disclose")).json()["details"]["refused"]["needs"] == ["departed_or_reason"]
    assert (await drawing.act(drawing.supervisor, "disclose", reason="道路中断")).status_code == 200
    path = await drawing.downloaded(commitment, tmp_path)
    told = await asyncio.to_thread(verified, path, tmp_path)
    assert told.returncode == 0, told.stdout
    file = json.loads(path.read_bytes())
    assert (file["departed_at"], file["why"]) == (None, "道路中断")
    assert "nobody was sent: 道路中断" in told.stdout


async def test_what_cannot_be_drawn_fails_by_name_and_is_disclosed_as_a_failure(drawing: Drawing, tmp_path: Path) -> None:
    busy = [{"reason": "on_leave", "inspector": str(person.id)} for person, unit in drawing.inspectors[2:] if unit == DEPARTMENT]
    commitment = await drawing.seeded(exclusions=busy)
    assert (await drawing.act(drawing.supervisor, "draw")).json()["state"] == "failed"
    assert (await drawing.act(drawing.supervisor, "disclose")).status_code == 200
    path = await drawing.downloaded(commitment, tmp_path)
    told = await asyncio.to_thread(verified, path, tmp_path)
    assert (told.returncode, "too_few_inspectors" in told.stdout) == (0, True), told.stdout


# ------------------------------------------------------------------------------------------------ nobody sees


def everything_on(phone: Phone) -> str:
    """All that a phone's store holds, as text."""
    tables = [row[0] for row in phone.store.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    values = (value for table in tables for row in phone.store.db.execute(f"SELECT * FROM {table}") for value in tuple(row))
    return "\n".join(value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values)


async def office_answers(drawing: Drawing, phone: Phone) -> str:
    """What every list of the office API tells this person."""
    routes = [
        (route.path, handler)
        for route in drawing.world.app.routes
        for handler in getattr(route, "route_handlers", [])
        if "GET" in handler.http_methods and "{" not in route.path and not handler.opt.get("public")
    ]
    texts = []
    for path, _ in routes:
        for query in ({}, {"county": str(COUNTY)}, {"county": str(COUNTY), "unit": TOWNSHIP}):
            if "live" in path:
                continue
            answer = await drawing.call(phone, "GET", path, params=query)
            texts.append(f"{path} {answer.status_code} {answer.text}")
    assert any(" 200 " in text for text in texts)
    return "\n".join(texts)


async def test_the_inspected_side_sees_nothing_before_the_departure(drawing: Drawing) -> None:
    """Neither the township, nor the village, nor an inspector before it is time: no record, no stream, no list, no count."""
    inspector = await drawing.world.phone(drawing.inspectors[0][0])
    blind = (drawing.lead, drawing.member, inspector)
    await sync(*blind)
    before = [len(phone.streams()) for phone in blind]
    commitment = await drawing.drawn()
    listed = await drawing.visits()
    await sync(*blind)
    words = (str(drawing.draw), commitment, TITLE, NONCE, ".secret", *(",".join(v["inspectors"]) for v in listed))
    for phone, streams in zip(blind, before, strict=True):
        held = everything_on(phone) + await office_answers(drawing, phone)
        assert [word for word in words if word in held] == []
        assert len(phone.streams()) == streams
        assert [view.kind for view in phone.records("draw")] == []
        assert phone.records("task") == []
        for path in ("", "list"):
            assert (await drawing.call(phone, "GET", drawing.path(path))).status_code == 404
        for act in ("commit", "draw", "depart", "disclose", "cancel"):
            assert (await drawing.act(phone, act)).status_code == 404
        assert (await drawing.act(phone, "nonce", commitment=commitment, nonce=NONCE)).status_code == 404
    public = (await drawing.world.client.get("/public/v1/draws")).text
    assert [word for word in (str(drawing.draw), TITLE, NONCE, "610902", *drawing.sites) if word in public] == []
    assert (await drawing.world.client.get(f"/public/v1/draws/{commitment}/file")).status_code == 404


async def test_neither_pool_nor_list_nor_secret_is_in_what_syncs_or_in_the_journal(drawing: Drawing) -> None:
    await drawing.drawn()
    third = await drawing.world.phone(await drawing.world.person("审计三", (Role.AUDITOR, ISSUER)))
    await sync(third)
    journal = await drawing.world.pool.fetch("SELECT raw, patch FROM journal WHERE record = $1", drawing.draw)
    kept = "\n".join(f"{(row['raw'] or b'').decode()} {row['patch']}" for row in journal)
    assert TITLE in kept
    assert TITLE in everything_on(third)
    people = [str(person.id) for person, _ in drawing.inspectors]
    assert [word for word in (*drawing.sites, *people) if word in kept] == []
    assert [word for word in people if word in everything_on(third)] == []
    row = await drawing.world.pool.fetchrow("SELECT plan, secret FROM draw_sealed")
    assert [word for word in (b"sites", people[0].encode()) if word in row["plan"] + row["secret"]] == []
    await drawing.act(drawing.supervisor, "disclose", reason="公开")
    secret = (await drawing.world.client.get(f"/public/v1/draws/{await commitment_of(drawing)}/file")).json()["secret"]
    assert secret not in kept + everything_on(third)
    assert bytes.fromhex(secret) not in row["secret"]


async def commitment_of(drawing: Drawing) -> str:
    return str((await drawing.call(drawing.supervisor, "GET", drawing.path())).json()["commitment"])


async def test_inspectors_get_their_own_sites_when_they_depart_and_not_before(drawing: Drawing) -> None:
    phones = {str(person.id): await drawing.world.phone(person) for person, _ in drawing.inspectors}
    await drawing.departed()
    visits = await drawing.visits()
    await sync(*phones.values(), drawing.lead)
    sent = {inspector: visit["site"] for visit in visits for inspector in visit["inspectors"]}
    assert len(sent) == 4
    for person, phone in phones.items():
        mine = [view.body for view in phone.records("task") if view.body["assignee"] == person]
        assert [task["sites"] for task in mine] == [[sent[person]]]
        assert mine[0]["due_on"] == "2026-11-27"
        assert "同组" in mine[0]["note"]
    assert drawing.lead.records("task") == [], "the township is told nothing by the system"
    again = await drawing.act(drawing.supervisor, "depart", due_on="2026-11-27", note="四不两直")
    assert again.status_code == 200
    await sync(*phones.values())
    assert sum(len(phone.records("task")) for phone in phones.values()) == 8, "two of each department: nobody got a second one"


async def test_only_the_issuing_unit_opens_the_list_and_each_opening_is_on_record(drawing: Drawing) -> None:
    await drawing.drawn()
    city = await drawing.world.phone(await drawing.world.person("市督办", (Role.CITY_SUPERVISOR, "6109")))
    for phone in (drawing.auditor, city):
        assert (await drawing.call(phone, "GET", drawing.path())).status_code == 200
        assert (await drawing.call(phone, "GET", drawing.path("list"))).status_code == 403
    await drawing.visits()
    rows = await drawing.world.pool.fetch("SELECT unit FROM audit_log WHERE action = 'draw_list_opened'")
    assert [row["unit"] for row in rows] == [ISSUER]


async def test_a_draw_of_the_city_stays_in_the_citys_own_partition(drawing: Drawing) -> None:
    city = await drawing.world.phone(await drawing.world.person("市督办", (Role.CITY_SUPERVISOR, "6109")))
    answer = await drawing.call(city, "POST", "/office/v1/draws", json=drawing.wanted(unit="6109"))
    assert (answer.status_code, answer.json()["county"]) == (201, 610900), answer.text
    await sync(drawing.supervisor, city)
    assert drawing.supervisor.records("draw") == []
    assert [view.body["title"] for view in city.records("draw")] == [TITLE]
    assert (await drawing.call(drawing.supervisor, "GET", f"/office/v1/draws/610900/{drawing.draw}")).status_code == 404


# ------------------------------------------------------------------------------------------------ once more, later


async def test_what_was_drawn_recently_is_left_out_with_the_reason(drawing: Drawing, day: Day) -> None:
    await drawing.departed()
    first = {visit["site"] for visit in await drawing.visits()}
    earlier, drawing.draw = drawing.draw, uuid.uuid4()
    day.at(60 * 24 * 20)
    drawing.supervisor = await day.world.phone(await day.world.person("督办二月", (Role.COUNTY_SUPERVISOR, ISSUER)))
    await drawing.prepared(recently_drawn_days=30)
    plan = (await drawing.call(drawing.supervisor, "GET", drawing.path("list"))).json()["plan"]
    left_out = {one["site"]: one["note"] for one in plan["exclusions"] if one["reason"] == "recently_drawn" and one["site"]}
    assert left_out == dict.fromkeys(first, str(earlier))
