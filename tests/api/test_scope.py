"""No endpoint ever shows a record outside the caller's duties: every route that is registered, as every role.

The world has every kind of record in every unit of two counties, each with words of its own, tied to each other across all borders;
some were moved, deleted, archived, or taken away from a department again. Some callers had other duties before, or will have.
Who may read which words is worked out here from the units alone, by a table of its own: nothing of sync/scope.py is asked.
"""

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from litestar import Litestar

from contracts.ids import RecordId, projection_id
from contracts.ledger import LedgerName
from contracts.people import Level, Role, Unit
from phone.phone import Phone
from server.settings import Settings
from storage.office_push import draft, system_push
from storage.photo_views import Rendering
from storage.retention import archive_county
from storage.units import upsert_units
from tests.api.casework import call, token_of
from tests.api.reachable import EXCHANGED, PUBLIC, QUIET, REACHABLE, STREAMED, WRITTEN, fresh
from tests.carrying import reference
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP, UNITS, VILLAGE_A, VILLAGE_B, World, open_world

OTHER_COUNTY = 610921
OTHER_TOWNSHIP, OTHER_VILLAGE = "610902002", "610902002001"
FAR_TOWNSHIP, FAR_VILLAGE = "610921100", "610921100001"
OTHER_DEPARTMENT = "610902-water_bureau"
MORE_UNITS = [
    Unit(code=OTHER_TOWNSHIP, county=COUNTY, parent="610902", level=Level.TOWNSHIP, name="别镇"),
    Unit(code=OTHER_VILLAGE, county=COUNTY, parent=OTHER_TOWNSHIP, level=Level.VILLAGE, name="别村"),
    Unit(code=OTHER_DEPARTMENT, county=COUNTY, parent="610902", level=Level.DEPARTMENT, name="水利局"),
]
CHANGED = 32  # the last records of the world: what was moved, deleted, archived, shared or taken away
PLACES = {unit.code: unit for unit in [*UNITS, *MORE_UNITS]}
DUST = {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}

FIELD, OFFICE, CASE, VISIT, ARCHIVE = "field", "office", "case", "visit", "archive"
READS: dict[Role, set[str]] = {
    Role.GRID_MEMBER: {FIELD},
    Role.QINLING_GRID_MEMBER: {FIELD},
    Role.VILLAGE_LEAD: {FIELD},
    Role.TOWNSHIP_STAFF: {FIELD, OFFICE, ARCHIVE},
    Role.TOWNSHIP_LEAD: {FIELD, OFFICE, ARCHIVE},
    Role.DEPARTMENT_STAFF: {FIELD, OFFICE, ARCHIVE, VISIT},
    Role.DEPARTMENT_LEAD: {FIELD, OFFICE, ARCHIVE, VISIT},
    Role.COUNTY_SUPERVISOR: {FIELD, OFFICE, ARCHIVE, CASE, VISIT},
    Role.CITY_SUPERVISOR: {FIELD, OFFICE, ARCHIVE, CASE, VISIT},
    Role.ADMIN: {FIELD, OFFICE, ARCHIVE},
    Role.AUDITOR: {FIELD, OFFICE, ARCHIVE},
}
READS_PEOPLE = set(Role) - {Role.GRID_MEMBER, Role.QINLING_GRID_MEMBER, Role.VILLAGE_LEAD, Role.DEPARTMENT_STAFF, Role.SYSTEM}
Held = tuple[Role, str, int, int | None]  # a duty: from and to, in days from now
CALLERS: dict[str, list[Held]] = {
    f"{role.value} at {unit}": [(role, unit, -30, None)]
    for role, unit in (
        (Role.GRID_MEMBER, VILLAGE_A),
        (Role.QINLING_GRID_MEMBER, OTHER_VILLAGE),
        (Role.VILLAGE_LEAD, FAR_VILLAGE),
        (Role.TOWNSHIP_STAFF, TOWNSHIP),
        (Role.TOWNSHIP_LEAD, OTHER_TOWNSHIP),
        (Role.DEPARTMENT_STAFF, DEPARTMENT),
        (Role.DEPARTMENT_LEAD, OTHER_DEPARTMENT),
        (Role.COUNTY_SUPERVISOR, str(COUNTY)),
        (Role.COUNTY_SUPERVISOR, str(OTHER_COUNTY)),
        (Role.CITY_SUPERVISOR, "6109"),
        (Role.ADMIN, TOWNSHIP),
        (Role.AUDITOR, str(OTHER_COUNTY)),
        (Role.AUDITOR, str(COUNTY)),
    )
} | {
    "had more before": [(Role.TOWNSHIP_LEAD, TOWNSHIP, -30, -1), (Role.GRID_MEMBER, OTHER_VILLAGE, -1, None)],
    "will have more": [(Role.VILLAGE_LEAD, FAR_VILLAGE, -30, None), (Role.COUNTY_SUPERVISOR, str(COUNTY), 1, None)],
    "has two": [(Role.TOWNSHIP_STAFF, FAR_TOWNSHIP, -30, None), (Role.DEPARTMENT_STAFF, DEPARTMENT, -30, None)],
}


class Words:
    """Words that stand in one record (or one person's name), and where they may be read."""

    def __init__(self) -> None:
        self.places: dict[str, set[tuple[str, str]]] = {}

    def new(self, *places: tuple[str, str]) -> str:
        word = f"秘{len(self.places):04d}密"
        self.places[word] = set(places)
        return word

    def foreign(self, *duties: Held) -> set[str]:
        """What the holder of these duties must never read today."""
        mine = {
            (unit, audience)
            for role, duty, starts, ends in duties
            if starts <= 0 and (ends is None or ends > 0)
            for unit in PLACES
            if is_at_or_below(unit, duty)
            for audience in READS[role] | ({"people"} if role in READS_PEOPLE else set())
        }
        return {word for word, places in self.places.items() if not places & mine}


def is_at_or_below(unit: str | None, upper: str) -> bool:
    while unit is not None and unit != upper:
        unit = PLACES[unit].parent
    return unit == upper


class Secrets:
    """The world's records. `values`: what each word in braces may stand for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.words = Words()
        self.last = ""
        self.records: list[tuple[int, RecordId]] = []
        self.kinds: dict[RecordId, str] = {}
        self.sha256: list[str] = []
        self.people: list[uuid.UUID] = []

    async def push(self, county: int, kind: str, record: RecordId, op: str = "create", **parts: Any) -> str:
        resources = self.world.app.state.resources
        now = self.world.time
        made = draft(kind=kind, record=record, op=op, now=now, mutation=uuid.uuid4(), **parts)
        pushed = await system_push(resources.pool, await resources.units.reference(), county, [made], now)
        return pushed.outcomes[0].outcome.value

    async def record(self, kind: str, unit: str, audience: str, body: dict[str, Any], *also: tuple[str, str]) -> RecordId:
        """`body` has the word "@" wherever the secret shall stand."""
        word = self.last = self.words.new((unit, audience), *also)
        record = uuid.uuid4()
        filled = {name: value.replace("@", word) if isinstance(value, str) else value for name, value in body.items()}
        county = PLACES[unit].county
        outcome = await self.push(county, kind, record, body={"unit": unit, **filled})
        assert outcome in ("applied", "merged"), (kind, unit, outcome)
        self.records.append((county, record))
        self.kinds[record] = kind
        return record


async def fill(world: World) -> Secrets:
    """Each kind in each unit; everything names records of the units before and of its own."""
    secrets = Secrets(world)
    previous: dict[str, str] = {}
    for unit, place in PLACES.items():
        office = unit in (TOWNSHIP, OTHER_TOWNSHIP, FAR_TOWNSHIP, str(COUNTY), str(OTHER_COUNTY))
        subject = {"subject": "construction_dust"}
        site = await secrets.record("site", unit, FIELD, {"name": "@", "subjects": ["construction_dust"], "address": "路@"})
        near = previous.get("site", str(site))
        problem = await secrets.record(
            "problem", unit, FIELD,
            {"title": "@", "description": "x@", **subject, "site": near},
        )  # fmt: skip
        await secrets.record("task", unit, FIELD, {"title": "@", "note": "@", "sites": [str(site), near]})
        await secrets.record("inspection", unit, FIELD, {**subject, "note": "@", "site": near, "checklist": DUST})
        await secrets.record("notice", unit, FIELD, {"title": "@", "text": "@"})
        await secrets.record("whistle", unit, FIELD, {"title": "@", "problem": previous.get("problem", str(problem)), "site": near})
        about = {"subject_record": previous.get("problem", str(problem)), "subject_kind": "problem", "issued_by_unit": "6109"}
        await secrets.record("supervision", unit, FIELD, {"title": "@", "colour": "red", "grounds": {"reason": "x"}, **about})
        if office:
            case = {"flow": "criminal_case", "receiver": "police", "title": "@", "text": "@", "problem": str(problem)}
            await secrets.record("transfer", unit, CASE, case)
        if unit in (str(COUNTY), DEPARTMENT, "6109"):  # an unannounced visit, at the place of somebody below
            target = {"unit": VILLAGE_A, "site": str(site), "name": "工地"}
            visit = await secrets.record("task", unit, VISIT, {"title": "@", "note": "@", "secret": True, "targets": [target]})
            assert await world.pool.fetchval("SELECT stream FROM record WHERE id = $1", visit) == f"{unit}.visit"
        if place.level is not Level.VILLAGE:
            await secrets.record("plan", unit, OFFICE, {"title": "@", "note": "@"})
            await secrets.record("campaign", unit, OFFICE, {"title": "@", "starts_on": "2026-11-01", "ends_on": "2026-11-02"})
        await secrets.record("activity", unit, FIELD, {"title": "@", "held_on": "2026-11-01"})
        previous = {"site": str(site), "problem": str(problem)}
        person = await world.person(secrets.words.new((unit, "people")), (Role.VILLAGE_LEAD, unit))
        secrets.people.append(person.id)
    await fill_shared(secrets)
    await fill_narrow(secrets)
    for unit in (DEPARTMENT, OTHER_DEPARTMENT):
        await fill_information(secrets, unit)
    await fill_changed(secrets)
    return secrets


async def fill_information(secrets: Secrets, unit: str) -> None:
    """Between departments: what was sent is the other office's, too; not what was not yet, nor what went to an organ outside."""
    receiver = next(other for other in (DEPARTMENT, OTHER_DEPARTMENT) if other != unit)
    info = {"flow": "enforcement_info", "title": "@", "text": "@"}
    for named, steps, also in ((receiver, 2, [(receiver, OFFICE)]), (receiver, 1, []), ("procuratorate", 2, [])):
        transfer = await secrets.record("transfer", unit, OFFICE, info | {"receiver": named}, *also)
        for op in ("transfer.approve", "transfer.send")[:steps]:
            assert await secrets.push(COUNTY, "transfer", transfer, op) == "applied"
        secrets.records.append((COUNTY, projection_id(transfer, receiver)))
        secrets.kinds[projection_id(transfer, receiver)] = "handover"


async def fill_narrow(secrets: Secrets) -> None:
    """Photos that are waited for, of a visit, of a transfer, and one that is held: whose device it is says the word."""
    world, whole = secrets.world, str(COUNTY)
    visit = {"title": "@", "note": "@", "secret": True, "targets": [{"unit": VILLAGE_A, "name": "工地"}]}
    case = {"flow": "criminal_case", "receiver": "police", "title": "@", "text": "@"}
    for kind, audience, body in (("task", VISIT, visit), ("transfer", CASE, case)):
        record = await secrets.record(kind, whole, audience, body)
        phone = await world.phone(await world.person("督办", (Role.COUNTY_SUPERVISOR, whole)))
        await phone.sync()
        phone.add_photo(record, secrets.last.encode())
        await push_without_bytes(secrets, phone, (whole, audience))
    phone = await world.phone(await world.person("生人", (Role.GRID_MEMBER, VILLAGE_B)))
    phone.add_photo(phone.create("site", COUNTY, {"name": "x", "unit": VILLAGE_A, "subjects": ["construction_dust"]}), b"held")
    await push_without_bytes(secrets, phone, (TOWNSHIP, OFFICE))


async def push_without_bytes(secrets: Secrets, phone: Phone, place: tuple[str, str]) -> None:
    await phone.sync()
    word = secrets.words.new(place)
    await secrets.world.pool.execute("UPDATE device SET name = $2 WHERE id = $1", phone.account.device, word)


async def fill_changed(secrets: Secrets) -> None:
    """What is not where it was, or not what it was."""
    push = secrets.push
    site = {"name": "@", "subjects": ["construction_dust"], "note": "@"}
    moved = await secrets.record("site", VILLAGE_A, FIELD, site)
    secrets.words.places[secrets.last] = {(OTHER_VILLAGE, FIELD)}
    assert await push(COUNTY, "site", moved, "edit", fields={"unit": (VILLAGE_A, OTHER_VILLAGE)}) == "applied"
    deleted = await secrets.record("site", OTHER_VILLAGE, FIELD, site)
    assert await push(COUNTY, "site", deleted, "delete", base=(1, 1)) == "applied"
    taken = await secrets.record("problem", VILLAGE_A, FIELD, {"title": "@", "description": "@", "subject": "construction_dust"})
    await push(COUNTY, "problem", taken, "problem.report")
    for leads in ([], [DEPARTMENT]), ([DEPARTMENT], [TOWNSHIP]):
        fields = {"due_on": (None, "2026-12-01"), "leads": leads}
        assert await push(COUNTY, "problem", taken, "problem.assign", fields=fields) in ("applied", "merged")
    secrets.words.places[secrets.last].add((TOWNSHIP, FIELD))
    for unit in (DEPARTMENT, TOWNSHIP):
        secrets.records.append((COUNTY, projection_id(taken, unit)))
        secrets.kinds[projection_id(taken, unit)] = "assignment"
    old = await secrets.record("task", VILLAGE_A, ARCHIVE, {"title": "@", "note": "@"})
    for op in ("task.accept", "task.start", "task.finish"):
        await push(COUNTY, "task", old, op, args={"result": "x"})
    later = await secrets.world.pool.fetchval("SELECT now()") + timedelta(days=9999)
    assert await archive_county(secrets.world.pool, await reference(secrets.world), COUNTY, {"task": 1}, later, 100) == 1


async def fill_shared(secrets: Secrets) -> None:
    """A problem that a department sees, a conflict, held work, and an announced photo: by people, over the phone."""
    world, words = secrets.world, secrets.words
    for unit, department, township in ((VILLAGE_A, DEPARTMENT, TOWNSHIP), (OTHER_VILLAGE, OTHER_DEPARTMENT, OTHER_TOWNSHIP)):
        shown = await secrets.record("problem", unit, FIELD, {"title": "@", "subject": "construction_dust"}, (department, FIELD))
        await secrets.push(COUNTY, "problem", shown, "problem.report")
        fields = {"due_on": (None, "2026-12-01"), "leads": ([], [department])}
        assert await secrets.push(COUNTY, "problem", shown, "problem.assign", fields=fields) in ("applied", "merged")
        secrets.records.append((COUNTY, projection_id(shown, department)))
        secrets.kinds[projection_id(shown, department)] = "assignment"
        a, b = [await world.phone(await world.person(name, (Role.GRID_MEMBER, unit))) for name in ("甲", "乙")]
        site = a.create("site", COUNTY, {"name": words.new((unit, FIELD)), "unit": unit, "subjects": ["construction_dust"]})
        secrets.records.append((COUNTY, site))
        await a.sync()
        await b.sync()
        a.edit(site, {"note": words.new((unit, FIELD))})
        b.edit(site, {"note": words.new((unit, FIELD))})
        photo = a.add_photo(site, words.new((unit, FIELD)).encode(), caption=words.new((unit, FIELD)))
        await a.sync()
        await b.sync()
        secrets.sha256.append(str(a.view(photo).body["sha256"]))
        stranger = await world.phone(await world.person("生人", (Role.GRID_MEMBER, VILLAGE_B if unit != VILLAGE_B else VILLAGE_A)))
        stray = {"name": words.new((township, OFFICE)), "unit": unit, "subjects": ["construction_dust"]}
        secrets.records.append((COUNTY, stranger.create("site", COUNTY, stray)))
        await stranger.sync()
        a.create("task", COUNTY, {"title": words.new((township, OFFICE)), "unit": unit})  # refused: a grid member gives none
        await a.sync()
        assert len(a.refused()) == 1


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    unlimited = settings.model_copy(update={"limits": settings.limits.model_copy(update={"person_requests_per_minute": 0})})
    async with open_world(unlimited, tmp_path) as world:
        async with world.pool.acquire() as conn:
            await upsert_units(conn, MORE_UNITS)
        await world.app.state.resources.units.find(OTHER_VILLAGE)
        yield world


def registered(app: Litestar, *methods: str) -> Iterator[str]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            if set(methods) & set(getattr(handler, "http_methods", ())):
                yield route.path


async def values_of(secrets: Secrets) -> dict[str, list[Any]]:
    """What each word in braces may stand for."""
    conflicts = await secrets.world.pool.fetch("SELECT county, id FROM record WHERE kind = 'conflict'")
    held = await secrets.world.pool.fetch("SELECT device, n FROM held WHERE settled_at IS NULL")
    assert conflicts
    assert held
    return {
        "county": [COUNTY, OTHER_COUNTY, 610900],
        "unit": list(PLACES),
        "few": [TOWNSHIP, OTHER_VILLAGE, DEPARTMENT],
        "ledger": [ledger.value for ledger in LedgerName],
        "sha256": secrets.sha256,
        "rendering": [Rendering.ORIGINAL.value],
        "person": secrets.people,
        "person_id": secrets.people,
        "record": [record for _, record in secrets.records],
        "draw": [record for _, record in secrets.records][:3],
        "letter": [record for record, kind in secrets.kinds.items() if kind == "notice"][:5],
        "subject": ["staff", "sites"],
        "conflict": [row["id"] for row in conflicts],
        "device": [row["device"] for row in held],
        "n": [1],
        "action": ["retry", "release"],
    }


def filled(template: str, values: dict[str, list[Any]], secrets: Secrets) -> Iterator[str]:
    """A template with everything the world has in place of the words in braces; a record with its own county and kind."""
    homes = {record: county for county, record in secrets.records}
    names = sorted(set(re.findall(r"\{(\w+)\}", template)) - {"kind"})
    for combination in product(*(values[name] for name in names)):
        found = dict(zip(names, combination, strict=True))
        record = found.get("record")
        if record is not None and found.get("county", homes[record]) != homes[record]:
            continue
        text = template
        for name, value in {**found, "kind": secrets.kinds.get(record, "site") if record else ""}.items():
            text = text.replace("{" + name + "}", str(value))
        yield text


def asked(secrets: Secrets, values: dict[str, list[Any]], routes: set[str]) -> Iterator[str]:
    """Every path and query of what is read."""
    for path, queries in REACHABLE.items():
        for query in queries if path in routes else ():
            yield from filled(plain(path) + query, values, secrets)


def written(secrets: Secrets, values: dict[str, list[Any]], routes: set[str]) -> Iterator[tuple[str, Any]]:
    """Every path and body of what is written. Of units one is enough where a record stands beside it."""
    for path, bodies in WRITTEN.items():
        for body in bodies if path in routes else ():
            text = json.dumps(body)
            few = values | ({"unit": [TOWNSHIP], "record": some(values["record"])} if "{record}" in text else {})
            for told in filled(f"{plain(path)}\n{text}".replace('"{county}"', "{county}"), few, secrets):
                where, _, sent = told.partition("\n")
                yield where, fresh(json.loads(sent))


def some(records: list[Any]) -> list[Any]:
    """Of what is in every unit a few of each kind; all that was changed."""
    return [*records[:-CHANGED:7], *records[-CHANGED:]]


def plain(path: str) -> str:
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path)


async def read_as(world: World, phone: Phone, path: str) -> str:
    """The answer's text; of a page, of all that follow it."""
    texts: list[str] = []
    following: str | None = ""
    while following is not None and len(texts) < 30:
        word = "before" if path.startswith("/audit") else "after"
        answer = await call(
            world, phone, "GET", path, params={**dict(parse_qsl(path.partition("?")[2])), word: following} if following else None
        )
        assert answer.status_code < 500 or "/photos/v1/6" in path, (path, answer.text)
        assert answer.status_code != 429, "a test that is told to wait reads nothing"
        is_json = answer.headers.get("content-type", "").startswith("application/")
        texts.append(answer.text if is_json else "")
        found = answer.json() if answer.headers.get("content-type") == "application/json" else {}
        following = found.get("next") if isinstance(found, dict) else None
    return "".join(texts)


async def exchanged(world: World, phone: Phone) -> str:
    """All that a phone is given which claims to be at the beginning of every stream there is."""
    streams = [
        f"{unit}.{audience}" for unit in PLACES for audience in ("field", "office", "team", "case", "secret", "visit", "archive", "county")
    ]
    body = {
        "device": str(phone.account.device),
        "contract": 1,
        "clock": {"wall_ms": 0, "mono_ms": 0, "session": "s"},
        "counties": {
            str(county): {"n_made": 0, "n_oldest_held": 0, "first_n": 0, "mutations": []} for county in (COUNTY, OTHER_COUNTY, 610900)
        },
        "cursor": {stream: [1, 0] for stream in streams},
    }
    answer = await call(world, phone, "POST", "/sync/v1/exchange", json=body)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_every_route_says_how_it_is_asked(world_app: Litestar) -> None:
    read, wrote = set(registered(world_app, "GET")), set(registered(world_app, "POST", "PUT", "PATCH", "DELETE"))
    assert read - set(REACHABLE) - PUBLIC - STREAMED == set(), "say in tests/api/reachable.py how these are asked"
    assert wrote - set(WRITTEN) - QUIET - EXCHANGED == set(), "say in tests/api/reachable.py how these are asked"
    assert (set(REACHABLE) | PUBLIC | STREAMED) - read == (set(WRITTEN) | QUIET | EXCHANGED) - wrote == set(), "these are gone"


@pytest.fixture
def world_app() -> Litestar:
    from server.app import create_app

    return create_app(Settings())


async def caller_of(world: World, duties: Iterable[Held]) -> Phone:
    person = await world.person("某人")
    for role, unit, starts, ends in duties:
        until = None if ends is None else world.time + timedelta(days=ends)
        await world.duty(person, role, unit, world.time + timedelta(days=starts), until)
    return await world.phone(person)


async def test_no_endpoint_shows_a_record_outside_the_callers_duties(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = await fill(world)
    values = await values_of(secrets)
    paths = list(asked(secrets, values, set(registered(world.app, "GET"))))
    seen_by_anyone: set[str] = set()
    for name, duties in CALLERS.items():
        phone = await caller_of(world, duties)
        seen = await words_seen(world, phone, paths)
        for word in words_in(await exchanged(world, phone)):
            seen.setdefault(word, "exchange")
        check(secrets, name, duties, seen)
        assert seen, f"{name} reads nothing at all: the test would not notice a leak"
        seen_by_anyone |= set(seen)
    hidden = {word: places for word, places in secrets.words.places.items() if word not in seen_by_anyone}
    assert len(hidden) <= len(secrets.words.places) // 10, hidden

    # what is written is answered: the last, because what a caller may do is done
    posts = set(registered(world.app, "POST"))
    for name, duties in [*CALLERS.items()][::2]:
        phone = await caller_of(world, duties)
        told: dict[str, str] = {}
        for path, body in written(secrets, values, posts):
            answer = await call(world, phone, "POST", path, json=body)
            assert answer.status_code < 500, json.dumps([path, body])
            assert answer.status_code != 429
            for word in words_in(answer.text):
                told.setdefault(word, f"{path} {body}")
        check(secrets, name, duties, told)

    # the same with a planted leak, which is seen
    everything = {f"{unit}.{audience}": place.county for unit, place in PLACES.items() for audience in (FIELD, CASE)}
    monkeypatch.setattr("api.ledgers.visible_streams", lambda *_: everything)
    duties = CALLERS[f"grid_member at {VILLAGE_A}"]
    seen = await words_seen(world, await caller_of(world, duties), [path for path in paths if "/ledgers/" in path])
    assert seen.keys() & secrets.words.foreign(*duties)


def check(secrets: Secrets, name: str, duties: list[Held], seen: dict[str, str]) -> None:
    leaked = {word: (secrets.words.places[word], seen[word]) for word in seen.keys() & secrets.words.foreign(*duties)}
    assert leaked == {}, name


def words_in(text: str) -> set[str]:
    return set(re.findall(r"秘\d{4}密", text))


async def words_seen(world: World, phone: Phone, paths: list[str]) -> dict[str, str]:
    """Word -> the first path that showed it."""
    assert token_of(phone)
    seen: dict[str, str] = {}
    for path in paths:
        for word in words_in(await read_as(world, phone, path)):
            seen.setdefault(word, path)
    return seen


def test_a_leak_would_be_noticed() -> None:
    words = Words()
    mine, theirs = words.new((VILLAGE_A, FIELD)), words.new((OTHER_VILLAGE, FIELD))
    case = words.new((str(COUNTY), CASE))
    assert words.foreign((Role.TOWNSHIP_LEAD, TOWNSHIP, -1, None)) == {theirs, case}
    assert words.foreign((Role.COUNTY_SUPERVISOR, str(COUNTY), -1, None)) == set()
    assert words.foreign((Role.GRID_MEMBER, OTHER_VILLAGE, -1, None)) == {mine, case}
    assert words.foreign((Role.ADMIN, str(COUNTY), -1, None)) == {case}
    visit = words.new((str(COUNTY), VISIT))
    assert visit in words.foreign((Role.TOWNSHIP_LEAD, TOWNSHIP, -1, None))
