"""Places and people of the simulation: two townships of three villages, a second county, and who serves where."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

import asyncpg
from argon2 import PasswordHasher

from contracts.people import Level, Role, Unit
from storage.units import upsert_counties, upsert_units

MORNING_MS = int(datetime(2027, 3, 1, 1, 0, tzinfo=UTC).timestamp() * 1000)  # 09:00 in Ankang, ahead of any real clock
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
LONG_AGO_MS = MORNING_MS - 60 * DAY_MS

CITY, COUNTY, OTHER_COUNTY = "6109", "610902", "610921"
TOWNSHIPS = ["610902001", "610902002"]
VILLAGES = [f"{township}00{i}" for township in TOWNSHIPS for i in (1, 2, 3)]
OTHER_TOWNSHIP = "610921100"
OTHER_VILLAGES = [f"{OTHER_TOWNSHIP}00{i}" for i in (1, 2)]
# Where only the stranger serves (stranger.py): honest people leave alone what they see of it.
STRANGERS_TOWNSHIP = "610902003"
STRANGERS_VILLAGE = f"{STRANGERS_TOWNSHIP}001"
HOUSING, WATER = "610902-housing", "610902-water"
OTHER_HOUSING, OTHER_WATER = "610921-housing", "610921-water"  # nobody with a phone serves there

PASSWORD = "correct horse"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
FIELD_ONLY = {Role.GRID_MEMBER, Role.VILLAGE_LEAD}
# Beside field, office and team: cases and secrets are for whom docs/access.md names.
MORE_AUDIENCES = {
    Role.COUNTY_SUPERVISOR: ["case", "secret", "visit"],
    Role.DEPARTMENT_LEAD: ["secret", "visit"],
    Role.DEPARTMENT_STAFF: ["visit"],
}


def county_of(unit: str) -> int:
    return 610900 if unit == CITY else int(unit[:6])


def units() -> list[Unit]:
    def unit(code: str, parent: str | None, level: Level) -> Unit:
        return Unit(code=code, county=county_of(code), parent=parent, level=level, name=code)

    return [
        unit(CITY, None, Level.CITY),
        unit(COUNTY, CITY, Level.COUNTY),
        unit(OTHER_COUNTY, CITY, Level.COUNTY),
        *(unit(township, COUNTY, Level.TOWNSHIP) for township in TOWNSHIPS),
        *(unit(village, village[:9], Level.VILLAGE) for village in VILLAGES),
        unit(STRANGERS_TOWNSHIP, COUNTY, Level.TOWNSHIP),
        unit(STRANGERS_VILLAGE, STRANGERS_TOWNSHIP, Level.VILLAGE),
        unit(HOUSING, COUNTY, Level.DEPARTMENT),
        unit(WATER, COUNTY, Level.DEPARTMENT),
        unit(OTHER_HOUSING, OTHER_COUNTY, Level.DEPARTMENT),
        unit(OTHER_WATER, OTHER_COUNTY, Level.DEPARTMENT),
        unit(OTHER_TOWNSHIP, OTHER_COUNTY, Level.TOWNSHIP),
        *(unit(village, OTHER_TOWNSHIP, Level.VILLAGE) for village in OTHER_VILLAGES),
    ]


def departments(unit: str) -> tuple[str, str]:
    """Housing and water of the unit's county: nobody else's can be sent for."""
    return (HOUSING, WATER) if unit.startswith(COUNTY) else (OTHER_HOUSING, OTHER_WATER)


@dataclass
class Served:
    """A duty as it was given. Times are Unix ms; `ends_ms` None: open. `id` is the server's, once it is known."""

    role: Role
    unit: str
    starts_ms: int
    ends_ms: int | None = None
    id: str | None = None

    def holds_at(self, ms: int) -> bool:
        return self.starts_ms <= ms and (self.ends_ms is None or ms < self.ends_ms)


@dataclass
class Person:
    name: str
    number: str
    duties: list[Served]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def held(self, ms: int) -> list[Served]:
        return [duty for duty in self.duties if duty.holds_at(ms)]

    def role_at(self, ms: int) -> Role:
        return (self.held(ms) or self.duties)[-1].role

    def is_entitled(self, unit: str, ms: int) -> bool:
        """Whether a duty covers the unit; codes nest by their beginnings."""
        return any(unit.startswith(duty.unit) for duty in self.held(ms))

    def scope(self, ms: int) -> set[str]:
        """The streams this person may have: own units and below, and the office's for who is not in the field."""
        streams = set[str]()
        for duty in self.held(ms):
            audiences = ["field"] if duty.role in FIELD_ONLY else ["field", "office", "team", *MORE_AUDIENCES.get(duty.role, [])]
            below = [unit.code for unit in units() if unit.code.startswith(duty.unit)]
            streams |= {f"{code}.{audience}" for code in below for audience in audiences}
            streams.add(f"{county_of(duty.unit)}.county")
        return streams


def bureau(random: Random) -> list[Person]:
    """Two people of departments: the housing bureau's lead, who answers for the water bureau too, and a colleague at housing."""

    def person(name: str, role: Role, *served: str) -> Person:
        return Person(name, f"13{random.randrange(10**9):09d}", [Served(role, unit, LONG_AGO_MS) for unit in served])

    return [person("bureau-lead", Role.DEPARTMENT_LEAD, HOUSING, WATER), person("bureau-staff", Role.DEPARTMENT_STAFF, HOUSING)]


def people(count: int, random: Random) -> list[Person]:
    """`count` people with phones: a lead per township, a supervisor, the rest in villages, the first village crowded."""

    def person(name: str, role: Role, unit: str) -> Person:
        return Person(name, f"13{random.randrange(10**9):09d}", [Served(role, unit, LONG_AGO_MS)])

    office = [
        person("lead-1", Role.TOWNSHIP_LEAD, TOWNSHIPS[0]),
        person("lead-2", Role.TOWNSHIP_LEAD, TOWNSHIPS[1]),
        person("supervisor", Role.COUNTY_SUPERVISOR, COUNTY),
        person("lead-other", Role.TOWNSHIP_LEAD, OTHER_TOWNSHIP),
    ]
    # Company is what makes conflicts: most people share a village with somebody.
    villages = [
        VILLAGES[0],
        VILLAGES[0],
        VILLAGES[1],
        VILLAGES[0],
        VILLAGES[3],
        VILLAGES[1],
        OTHER_VILLAGES[0],
        *VILLAGES,
        OTHER_VILLAGES[0],
    ]
    field_staff = [person(f"grid-{i + 1}", Role.GRID_MEMBER, villages[i % len(villages)]) for i in range(max(3, count - len(office)))]
    return [*office[: max(1, count - 3)], *field_staff][: max(4, count)]


def drawers(random: Random) -> list[Person]:
    """At computers: who issues a draw, a colleague, the second party; then inspectors whose phones are of no account here."""

    def person(name: str, role: Role, unit: str) -> Person:
        return Person(name, f"13{random.randrange(10**9):09d}", [Served(role, unit, LONG_AGO_MS)])

    return [
        person("issuer", Role.COUNTY_SUPERVISOR, COUNTY),
        person("colleague", Role.COUNTY_SUPERVISOR, COUNTY),
        person("auditor", Role.AUDITOR, COUNTY),
        person("inspector-1", Role.DEPARTMENT_STAFF, HOUSING),
        person("inspector-2", Role.DEPARTMENT_STAFF, WATER),
        person("inspector-3", Role.DEPARTMENT_STAFF, WATER),
    ]


def administrator(random: Random) -> Person:
    """Gives and ends duties over HTTP; owns no record."""
    duties = [Served(Role.ADMIN, COUNTY, LONG_AGO_MS), Served(Role.ADMIN, OTHER_COUNTY, LONG_AGO_MS)]
    return Person("admin", f"13{random.randrange(10**9):09d}", duties)


def stranger(random: Random) -> Person:
    """An ordinary account in hostile hands."""
    return Person("stranger", f"13{random.randrange(10**9):09d}", [Served(Role.GRID_MEMBER, STRANGERS_VILLAGE, LONG_AGO_MS)])


async def settle_in(conn: asyncpg.Connection, cast: list[Person]) -> None:
    """Places and people as an installation has them on its first day."""
    await upsert_counties(conn, {610900: "安康市", int(COUNTY): "汉滨区", int(OTHER_COUNTY): "汉阴县"})
    await upsert_units(conn, units())
    for person in cast:
        await conn.execute(
            "INSERT INTO person (id, name, phone, password_hash) VALUES ($1::uuid, $2, $3, $4)",
            uuid.UUID(person.id),
            person.name,
            person.number,
            PASSWORD_HASH,
        )
        for duty in person.duties:
            duty.id = str(uuid.uuid4())
            await conn.execute(
                "INSERT INTO duty (id, person, role, unit, starts) VALUES ($1::uuid, $2::uuid, $3, $4, $5)",
                uuid.UUID(duty.id),
                uuid.UUID(person.id),
                duty.role.value,
                duty.unit,
                datetime.fromtimestamp(duty.starts_ms / 1000, UTC),
            )
