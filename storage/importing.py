"""What an import must know before it writes, and writing units, people and duties all or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

import msgspec

from contracts.access import Action
from contracts.ids import County, PersonId, RecordId, StreamName
from contracts.people import Account, Duty, Unit
from contracts.problems import Problem, ProblemCode
from storage.audit_log import Note, Origin, insert_notes
from storage.credentials import update_password
from storage.people import fetch_accounts, insert_duty, insert_person, lock_duties_of, lock_numbers
from storage.pool import Connection, Executor
from storage.units import insert_unit


class NewAccount(msgspec.Struct, frozen=True, kw_only=True):
    person: PersonId
    name: str
    phone: str
    password_hash: str


# Imports that make units queue: two files with the same new units in another order would wait for each other.
SQL_LOCK_UNITS: Final[LiteralString] = "SELECT pg_advisory_xact_lock(hashtextextended('units imported', 0))"


async def lock_staff(conn: Connection, units: Sequence[Unit], accounts: Sequence[NewAccount], known: Mapping[str, Account]) -> None:
    """All that an import of staff will need, before it writes: numbers before people, the order of every act that gives a number.

    `known`: whom it gives a duty. Problem when one of these is not as it was when the rows were judged.
    """
    if units:
        await conn.execute(SQL_LOCK_UNITS)
    await lock_numbers(conn, [account.phone for account in accounts])
    await lock_accounts(conn, known)


async def lock_accounts(conn: Connection, known: Mapping[str, Account]) -> None:
    """Those whom an import gives a duty; Problem when any is not as it was when the rows were judged."""
    for account in sorted(known.values(), key=lambda account: account.person):
        await lock_duties_of(conn, account.person)
    if await fetch_accounts(conn, known) != dict(known):
        raise Problem(ProblemCode.CONFLICTING_STATE, "人员账号或职责刚被更改，请重新试运行", field="phone")


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
    by = notes[0].person
    for unit in units:
        if not await insert_unit(conn, unit):
            raise Problem(ProblemCode.CONFLICTING_STATE, field="code", value=unit.code)
    for account in accounts:
        if not await insert_person(conn, account.person, account.name, account.phone, account.password_hash, now, must_change=True, by=by):
            raise Problem(ProblemCode.CONFLICTING_STATE, "手机号刚被他人登记，请重新试运行", field="phone")
    for duty_id, duty in duties.items():
        await insert_duty(conn, duty_id, duty, by=by)
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


async def replace_unused_passwords(conn: Connection, hashes: Mapping[PersonId, str], by: PersonId) -> bool:
    """`by`: the admin who sees them. In a transaction of the caller's. False, and nothing is changed, when one of them has logged in meanwhile."""
    people = list(hashes)
    await conn.fetch(SQL_LOCK_PEOPLE, people)
    if await conn.fetchval(SQL_HAVE_LOGGED_IN, people):
        return False
    for person, password_hash in hashes.items():
        await update_password(conn, person, password_hash, by=by)
    return True
