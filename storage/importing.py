"""What an import must know before it writes, and writing units, people and duties all or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

import msgspec

from contracts.access import Action
from contracts.ids import County, PersonId, RecordId, StreamName
from contracts.people import Duty, Unit
from contracts.problems import Problem, ProblemCode
from storage.access import duties_from
from storage.audit_log import Note, Origin, insert_notes
from storage.credentials import update_password
from storage.people import insert_duty, insert_person
from storage.pool import Connection, Executor
from storage.units import insert_unit


class KnownAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Who has a phone number already."""

    person: PersonId
    phone: str
    name: str
    is_disabled: bool
    duties: tuple[Duty, ...]


class NewAccount(msgspec.Struct, frozen=True, kw_only=True):
    person: PersonId
    name: str
    phone: str
    password_hash: str


SQL_FETCH_ACCOUNTS: Final[LiteralString] = """
    SELECT p.id, p.phone, p.name, p.disabled_at IS NOT NULL AS is_disabled,
           (SELECT json_agg(json_build_array(y.role, y.unit, y.starts, y.ends) ORDER BY y.starts) FROM duty y WHERE y.person = p.id) AS duties
    FROM person p WHERE p.phone = ANY ($1::text[])
"""


async def fetch_accounts(executor: Executor, phones: Collection[str]) -> dict[str, KnownAccount]:
    """Phone -> account, of those that exist."""
    rows = await executor.fetch(SQL_FETCH_ACCOUNTS, list(phones))
    return {
        row["phone"]: KnownAccount(
            person=row["id"],
            phone=row["phone"],
            name=row["name"],
            is_disabled=row["is_disabled"],
            duties=duties_from(row["id"], row["duties"]),
        )
        for row in rows
    }


SQL_FETCH_SITES_NAMED: Final[LiteralString] = """
    SELECT title, stream FROM ledger_entry
    WHERE county = $1 AND kind = 'site' AND stream = ANY ($2::text[]) AND title = ANY ($3::text[]) AND NOT record = ANY ($4::uuid[])
"""


async def fetch_sites_named(
    executor: Executor, county: County, streams: Sequence[StreamName], names: Sequence[str], but: Sequence[RecordId]
) -> set[tuple[StreamName, str]]:
    """(stream, name) of sites that are there already. `but`: those this very file made, so that it may come twice."""
    rows = await executor.fetch(SQL_FETCH_SITES_NAMED, county, streams, names, but)
    return {(row["stream"], row["title"]) for row in rows}


async def insert_staff(
    conn: Connection,
    units: Sequence[Unit],
    accounts: Sequence[NewAccount],
    duties: Mapping[UUID, Duty],
    notes: Sequence[Note],
    origin: Origin,
    now: datetime,
) -> None:
    """In one transaction of the caller's, parents before their units. Problem, and with it nothing, if somebody was quicker."""
    for unit in units:
        if not await insert_unit(conn, unit):
            raise Problem(ProblemCode.CONFLICTING_STATE, field="code", value=unit.code)
    for account in accounts:
        if not await insert_person(conn, account.person, account.name, account.phone, account.password_hash, now):
            raise Problem(ProblemCode.CONFLICTING_STATE, field="phone", value=account.phone)
    for duty_id, duty in duties.items():
        await insert_duty(conn, duty_id, duty)
    await insert_notes(conn, notes, origin, now)


SQL_FETCH_MADE: Final[LiteralString] = """
    SELECT p.id FROM person p
    WHERE p.id = ANY ($2::uuid[]) AND p.disabled_at IS NULL AND EXISTS (
        SELECT FROM audit_log a
        WHERE a.county = $1 AND a.subject = p.id::text AND a.action = $4 AND a.detail ->> 'sha256' = $3
    )
"""
SQL_HAVE_LOGGED_IN: Final[LiteralString] = "SELECT EXISTS (SELECT FROM device WHERE person = ANY ($1::uuid[]))"


async def fetch_unused_accounts(
    executor: Executor, people: Sequence[PersonId], sha256: str, counties: Collection[County]
) -> list[PersonId]:
    """Those of the people whose accounts this file made; none as soon as one of them has logged in: then the passwords have arrived."""
    made = {row["id"] for c in counties for row in await executor.fetch(SQL_FETCH_MADE, c, people, sha256, Action.PERSON_CREATED.value)}
    return [] if await executor.fetchval(SQL_HAVE_LOGGED_IN, list(made)) else sorted(made)


SQL_LOCK_PEOPLE: Final[LiteralString] = "SELECT id FROM person WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"


async def replace_unused_passwords(conn: Connection, hashes: Mapping[PersonId, str]) -> bool:
    """In a transaction of the caller's. False, and nothing is changed, when one of them has logged in meanwhile."""
    people = list(hashes)
    await conn.fetch(SQL_LOCK_PEOPLE, people)
    if await conn.fetchval(SQL_HAVE_LOGGED_IN, people):
        return False
    for person, password_hash in hashes.items():
        await update_password(conn, person, password_hash)
    return True
