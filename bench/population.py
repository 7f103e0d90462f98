"""Who takes part: counties of eight townships, and phones with a person, a duty and a token of their own.

They are put in by SQL in the shape that the server gives them; a thousand log-ins with argon2 would take a minute. From then
on everything goes over HTTP with real tokens.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from uuid_utils.compat import uuid7

from contracts.people import Audience, Level, Role, Unit
from storage.tokens import hash_token
from storage.units import upsert_counties, upsert_units
from sync.places import stream_name

COUNTY_FIRST: Final = 700_001  # no such county exists
DUTY_SINCE: Final = datetime(2020, 1, 1, tzinfo=UTC)


class Phone(NamedTuple):
    """An enrolled phone: what it needs to talk to the server."""

    device: uuid.UUID
    token: str
    county: int
    unit: str

    @property
    def stream(self) -> str:
        return stream_name(self.unit, Audience.FIELD)


def township(county: int, number: int) -> str:
    return f"{county}{number:03d}"


def county_units(county: int, townships: int) -> list[Unit]:
    top = Unit(code=str(county), county=county, parent=None, level=Level.COUNTY, name=f"县{county}")
    return [
        top,
        *(Unit(code=township(county, t), county=county, parent=top.code, level=Level.TOWNSHIP, name=f"镇{t}") for t in range(townships)),
    ]


async def insert_counties(conn: Any, counties: int, townships: int, first: int = COUNTY_FIRST) -> list[int]:
    """So many counties with townships, all empty; returns their codes."""
    codes = [first + k for k in range(counties)]
    await upsert_counties(conn, {code: f"县{code}" for code in codes})
    units = [unit for code in codes for unit in county_units(code, townships)]
    await upsert_units(conn, units)
    return codes


INSERT_PEOPLE: Final = """
    INSERT INTO person (id, name, phone, password_hash)
    SELECT id, '基准', phone, '!' FROM unnest($1::uuid[], $2::text[]) u (id, phone)
"""
INSERT_DUTIES: Final = """
    INSERT INTO duty (id, person, role, unit, starts)
    SELECT id, person, $4, unit, $5 FROM unnest($1::uuid[], $2::uuid[], $3::text[]) u (id, person, unit)
"""
INSERT_DEVICES: Final = """
    INSERT INTO device (id, person, kind) SELECT id, person, 'phone' FROM unnest($1::uuid[], $2::uuid[]) u (id, person)
"""
INSERT_TOKENS: Final = """
    INSERT INTO token (hash, device, family, purpose, issued_at, expires_at)
    SELECT hash, device, gen_random_uuid(), 'access', now(), $3 FROM unnest($1::bytea[], $2::uuid[]) u (hash, device)
"""


async def insert_phones(conn: Any, county: int, count: int, townships: int) -> list[Phone]:
    """Phones of grid members, spread over the townships; phone k belongs to township k modulo `townships`."""
    phones = [Phone(uuid7(), secrets.token_urlsafe(32), county, township(county, k % townships)) for k in range(count)]
    people = [uuid.uuid4() for _ in phones]
    numbers = [str(person.int)[:15] for person in people]
    async with conn.transaction():
        await conn.execute(INSERT_PEOPLE, people, numbers)
        duties = [uuid.uuid4() for _ in phones]
        await conn.execute(INSERT_DUTIES, duties, people, [p.unit for p in phones], Role.GRID_MEMBER.value, DUTY_SINCE)
        await conn.execute(INSERT_DEVICES, [p.device for p in phones], people)
        ends = datetime.now(UTC) + timedelta(days=1)
        await conn.execute(INSERT_TOKENS, [hash_token(p.token) for p in phones], [p.device for p in phones], ends)
    return phones
