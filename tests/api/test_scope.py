"""No endpoint ever shows a record outside the caller's duties: every GET route that is registered, as every role.

The world has every kind of record in every unit of two counties, each with words of its own, tied to each other across all borders.
Who may read which words is worked out here from the units alone, by a table of its own: nothing of sync/scope.py is asked.
"""

import re
import uuid
from collections.abc import AsyncIterator, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar

from contracts.ids import RecordId, projection_id
from contracts.ledger import LedgerName
from contracts.people import Level, Role, Unit
from phone.phone import Phone
from server.settings import Settings
from storage.office_push import draft, system_push
from storage.photo_views import Rendering
from storage.units import upsert_units
from tests.api.casework import call, token_of
from tests.api.reachable import PUBLIC, REACHABLE, STREAMED
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
PLACES = {unit.code: unit for unit in [*UNITS, *MORE_UNITS]}
DUST = {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}

FIELD, OFFICE, CASE, VISIT = "field", "office", "case", "visit"
READS: dict[Role, set[str]] = {
    Role.GRID_MEMBER: {FIELD},
    Role.QINLING_GRID_MEMBER: {FIELD},
    Role.VILLAGE_LEAD: {FIELD},
    Role.TOWNSHIP_STAFF: {FIELD, OFFICE},
    Role.TOWNSHIP_LEAD: {FIELD, OFFICE},
    Role.DEPARTMENT_STAFF: {FIELD, OFFICE, VISIT},
    Role.DEPARTMENT_LEAD: {FIELD, OFFICE, VISIT},
    Role.COUNTY_SUPERVISOR: {FIELD, OFFICE, CASE, VISIT},
    Role.CITY_SUPERVISOR: {FIELD, OFFICE, CASE, VISIT},
    Role.ADMIN: {FIELD, OFFICE},
    Role.AUDITOR: {FIELD, OFFICE},
}
READS_PEOPLE = set(Role) - {Role.GRID_MEMBER, Role.QINLING_GRID_MEMBER, Role.VILLAGE_LEAD, Role.DEPARTMENT_STAFF, Role.SYSTEM}
CALLERS = [
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
]


class Words:
    """Words that stand in one record (or one person's name), and where they may be read."""

    def __init__(self) -> None:
        self.places: dict[str, set[tuple[str, str]]] = {}

    def new(self, *places: tuple[str, str]) -> str:
        word = f"秘{len(self.places):04d}密"
        self.places[word] = set(places)
        return word

    def foreign(self, role: Role, duty: str) -> set[str]:
        """What the holder of one duty must never read."""
        mine = {
            (unit, audience)
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
        self.records: list[tuple[int, RecordId]] = []
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
        word = self.words.new((unit, audience), *also)
        record = uuid.uuid4()
        filled = {name: value.replace("@", word) if isinstance(value, str) else value for name, value in body.items()}
        county = PLACES[unit].county
        outcome = await self.push(county, kind, record, body={"unit": unit, **filled})
        assert outcome in ("applied", "merged"), (kind, unit, outcome)
        self.records.append((county, record))
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
            {"title": "@", "description": "x@", **subject, "site": near, "related": [previous.get("problem", str(site))]},
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
    return secrets


async def fill_shared(secrets: Secrets) -> None:
    """A problem that a department sees, a conflict, held work, and an announced photo: by people, over the phone."""
    world, words = secrets.world, secrets.words
    for unit, department, township in ((VILLAGE_A, DEPARTMENT, TOWNSHIP), (OTHER_VILLAGE, OTHER_DEPARTMENT, OTHER_TOWNSHIP)):
        shown = await secrets.record("problem", unit, FIELD, {"title": "@", "subject": "construction_dust"}, (department, FIELD))
        await secrets.push(COUNTY, "problem", shown, "problem.report")
        fields = {"due_on": (None, "2026-12-01"), "leads": ([], [department])}
        assert await secrets.push(COUNTY, "problem", shown, "problem.assign", fields=fields) in ("applied", "merged")
        secrets.records.append((COUNTY, projection_id(shown, department)))
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


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(settings, tmp_path) as world:
        async with world.pool.acquire() as conn:
            await upsert_units(conn, MORE_UNITS)
        await world.app.state.resources.units.find(OTHER_VILLAGE)
        yield world


def registered(app: Litestar) -> Iterator[str]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            if "GET" in getattr(handler, "http_methods", set()):
                yield route.path


def asked(secrets: Secrets) -> Iterator[str]:
    """Every path and query, with everything the world has in place of the words in braces."""
    values: dict[str, list[Any]] = {
        "county": [COUNTY, OTHER_COUNTY, 610900],
        "unit": list(PLACES),
        "ledger": [ledger.value for ledger in LedgerName],
        "sha256": secrets.sha256,
        "rendering": [Rendering.ORIGINAL.value],
        "person": [None],
        "person_id": secrets.people,
        "record": [record for _, record in secrets.records],
        "draw": [record for _, record in secrets.records][:3],
        "letter": [record for _, record in secrets.records],
        "subject": ["staff", "sites"],
    }
    values["person"] = values["person_id"]
    homes = {record: county for county, record in secrets.records}
    for path, queries in REACHABLE.items():
        for query in queries:
            template = re.sub(r"\{(\w+):\w+\}", r"{\1}", path) + query
            names = sorted(set(re.findall(r"\{(\w+)\}", template)))
            for combination in product(*(values[name] for name in names)):
                filled = dict(zip(names, combination, strict=True))
                if "record" in filled and filled.get("county") != homes[filled["record"]]:
                    continue
                yield template.format(**filled)


async def read_as(world: World, phone: Phone, path: str) -> str:
    """The answer's text; of a page, of all that follow it."""
    answer = await call(world, phone, "GET", path)
    assert answer.status_code < 500 or "/photos/v1/6" in path, (path, answer.text)
    return answer.text if answer.headers.get("content-type", "").startswith("application/") else ""


def test_every_route_says_how_it_is_asked(world_app: Litestar) -> None:
    routes = set(registered(world_app))
    assert routes - set(REACHABLE) - PUBLIC - STREAMED == set(), "say in tests/api/reachable.py how these are asked"


@pytest.fixture
def world_app() -> Litestar:
    from server.app import create_app

    return create_app(Settings())


async def test_no_endpoint_shows_a_record_outside_the_callers_duties(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = await fill(world)
    routes = set(registered(world.app))
    paths = [path for path in asked(secrets) if is_registered(path, routes)]
    seen_by_anyone: set[str] = set()
    for role, unit in CALLERS:
        seen = await words_seen(world, role, unit, paths)
        leaked = {word: (secrets.words.places[word], seen[word]) for word in seen.keys() & secrets.words.foreign(role, unit)}
        assert leaked == {}, (role, unit)
        assert seen, f"{role} at {unit} reads nothing at all: the test would not notice a leak"
        seen_by_anyone |= set(seen)
    hidden = {word: places for word, places in secrets.words.places.items() if word not in seen_by_anyone}
    assert len(hidden) <= len(secrets.words.places) // 10, hidden

    # the same with a planted leak, which is seen
    everything = {f"{unit}.{audience}": place.county for unit, place in PLACES.items() for audience in (FIELD, CASE)}
    monkeypatch.setattr("api.ledgers.visible_streams", lambda *_: everything)
    some = [path for path in paths if "/ledgers/" in path]
    seen = await words_seen(world, Role.GRID_MEMBER, VILLAGE_A, some)
    assert seen.keys() & secrets.words.foreign(Role.GRID_MEMBER, VILLAGE_A)


async def words_seen(world: World, role: Role, unit: str, paths: list[str]) -> dict[str, str]:
    """Word -> the first path that showed it to a new holder of this duty."""
    phone = await world.phone(await world.person(role.value, (role, unit)))
    assert token_of(phone)
    seen: dict[str, str] = {}
    for path in paths:
        for word in re.findall(r"秘\d{4}密", await read_as(world, phone, path)):
            seen.setdefault(word, path)
    return seen


def is_registered(path: str, routes: set[str]) -> bool:
    plain = path.partition("?")[0]
    return any(re.fullmatch(re.sub(r"\{\w+:\w+\}", "[^/]+", route), plain) for route in routes)


def test_a_leak_would_be_noticed() -> None:
    words = Words()
    mine, theirs = words.new((VILLAGE_A, FIELD)), words.new((OTHER_VILLAGE, FIELD))
    case = words.new((str(COUNTY), CASE))
    assert words.foreign(Role.TOWNSHIP_LEAD, TOWNSHIP) == {theirs, case}
    assert words.foreign(Role.COUNTY_SUPERVISOR, str(COUNTY)) == set()
    assert words.foreign(Role.GRID_MEMBER, OTHER_VILLAGE) == {mine, case}
    assert words.foreign(Role.ADMIN, str(COUNTY)) == {case}
    visit = words.new((str(COUNTY), VISIT))
    assert visit in words.foreign(Role.TOWNSHIP_LEAD, TOWNSHIP)
