"""People and their duties. Nothing is deleted: a person is disabled, a duty is ended."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec

from contracts.access import DutyOut, PersonOut
from contracts.ids import PersonId, UnitCode
from contracts.people import Account, Duty, Role
from contracts.phones import plain_beginning
from storage.access import duties_from
from storage.pool import Connection, Executor

# Two who give one number at once queue here. A violation of the unique index would write the number into PostgreSQL's log.
SQL_LOCK_NUMBERS: Final[LiteralString] = "SELECT pg_advisory_xact_lock(hashtextextended('phone ' || n, 0)) FROM unnest($1::text[]) n"


async def lock_numbers(conn: Connection, phones: Collection[str]) -> None:
    """Until the transaction ends nobody else gives these numbers to anybody. Locks are taken in this order: numbers, duties, people."""
    await conn.execute(SQL_LOCK_NUMBERS, sorted(phones))


SQL_INSERT_PERSON: Final[LiteralString] = """
    INSERT INTO person (id, name, phone, password_hash, created_at, must_change, demo)
    VALUES ($1, $2, $3, $4, $5, $6, coalesce((SELECT demo FROM person WHERE id = $7), false))
    ON CONFLICT (phone) WHERE disabled_at IS NULL DO NOTHING
"""


async def insert_person(
    conn: Connection,
    person: PersonId,
    name: str,
    phone: str,
    password_hash: str,
    now: datetime,
    *,
    must_change: bool = False,
    by: PersonId | None = None,
) -> bool:
    """False when the phone number has a live account already; the transaction goes on.

    must_change   somebody else knows the password        by   who makes the account: what a demo account makes is one, too
    """
    await lock_numbers(conn, [phone])
    return (await conn.execute(SQL_INSERT_PERSON, person, name, phone, password_hash, now, must_change, by)).endswith(" 1")


SQL_FETCH_ACCOUNTS: Final[LiteralString] = """
    SELECT DISTINCT ON (p.phone) p.id, p.phone, p.name, p.disabled_at IS NOT NULL AS is_disabled,
           (SELECT json_agg(json_build_array(y.role, y.unit, y.starts, y.ends) ORDER BY y.starts) FROM duty y WHERE y.person = p.id) AS duties
    FROM person p WHERE p.phone = ANY ($1::text[])
    ORDER BY p.phone, p.disabled_at DESC NULLS FIRST
"""


async def fetch_accounts(executor: Executor, phones: Collection[str]) -> dict[str, Account]:
    """Phone -> account, of those that exist: the live one, else the one that was disabled last."""
    rows = await executor.fetch(SQL_FETCH_ACCOUNTS, list(phones))
    return {
        row["phone"]: Account(
            person=row["id"],
            phone=row["phone"],
            name=row["name"],
            is_disabled=row["is_disabled"],
            duties=duties_from(row["id"], row["duties"]),
        )
        for row in rows
    }


async def lock_number(conn: Connection, phone: str) -> Account | None:
    """Who has the number; until the transaction ends nobody else gives it to anybody."""
    await lock_numbers(conn, [phone])
    return (await fetch_accounts(conn, [phone])).get(phone)


SQL_DISABLE: Final[LiteralString] = "UPDATE person SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL"
SQL_LOCK_OPEN_DUTIES: Final[LiteralString] = """
    SELECT id FROM duty WHERE person = $1 AND (ends IS NULL OR ends > $2) ORDER BY id FOR UPDATE
"""
SQL_END_OPEN_DUTIES: Final[LiteralString] = """
    UPDATE duty SET ends = greatest($2, starts + interval '1 microsecond')
    WHERE person = $1 AND (ends IS NULL OR ends > $2)
    RETURNING id
"""
SQL_WIPE_PHONES: Final[LiteralString] = """
    UPDATE device SET wiped_at = $2
    WHERE person = $1 AND kind = 'phone' AND wiped_at IS NULL AND revoked_at IS NULL
    RETURNING id
"""


async def disable_person(conn: Connection, person: PersonId, now: datetime) -> tuple[list[UUID], list[UUID]] | None:
    """Disable, end all duties, and order the phones wiped once they have handed in: (duties, phones). None: was disabled."""
    # Before the person, as granting and ending do; what is granted until the person is locked is ended below.
    await conn.execute(SQL_LOCK_OPEN_DUTIES, person, now)
    if (await conn.execute(SQL_DISABLE, person, now)).endswith(" 0"):
        return None
    duties = await conn.fetch(SQL_END_OPEN_DUTIES, person, now)
    phones = await conn.fetch(SQL_WIPE_PHONES, person, now)
    return [row["id"] for row in duties], [row["id"] for row in phones]


SQL_ENABLE: Final[LiteralString] = """
    UPDATE person SET disabled_at = NULL, demo = demo AND coalesce((SELECT p.demo FROM person p WHERE p.id = $2), false)
    WHERE id = $1 AND disabled_at IS NOT NULL
"""


async def enable_person(conn: Connection, person: PersonId, *, by: PersonId) -> bool:
    """The account is good again; duties are granted anew. False: it was not disabled. The number is locked, and of no other account.

    by   an admin; one who is no demo account makes it an account of the installation, which no end of a demonstration shuts
    """
    return not (await conn.execute(SQL_ENABLE, person, by)).endswith(" 0")


SQL_INSERT_DUTY: Final[LiteralString] = """
    INSERT INTO duty (id, person, role, unit, starts, ends, demo)
    VALUES ($1, $2, $3, $4, $5, $6, coalesce((SELECT demo FROM person WHERE id = $7), false))
"""


async def insert_duty(conn: Connection, duty_id: UUID, duty: Duty, *, by: PersonId | None = None) -> None:
    """`by`: who grants it."""
    await conn.execute(SQL_INSERT_DUTY, duty_id, duty.person, duty.role.value, duty.unit, duty.starts, duty.ends, by)


SQL_LOCK_DUTY: Final[LiteralString] = "SELECT person, role, unit, starts, ends FROM duty WHERE id = $1 FOR UPDATE"
SQL_END_DUTY: Final[LiteralString] = "UPDATE duty SET ends = $2 WHERE id = $1"


async def lock_duty(conn: Connection, duty_id: UUID) -> Duty | None:
    row = await conn.fetchrow(SQL_LOCK_DUTY, duty_id)
    return Duty(**{**row, "role": Role(row["role"])}) if row else None


SQL_LOCK_PERSON: Final[LiteralString] = "SELECT 1 FROM person WHERE id = $1 FOR NO KEY UPDATE"
SQL_FETCH_DUTIES_OF: Final[LiteralString] = "SELECT person, role, unit, starts, ends FROM duty WHERE person = $1 ORDER BY starts, id"


async def lock_duties_of(conn: Connection, person: PersonId) -> list[Duty]:
    """Every duty the person ever had; until the transaction ends nobody else who asks so grants another."""
    await conn.execute(SQL_LOCK_PERSON, person)
    return [Duty(**{**row, "role": Role(row["role"])}) for row in await conn.fetch(SQL_FETCH_DUTIES_OF, person)]


async def end_duty(conn: Connection, duty_id: UUID, ends: datetime) -> None:
    await conn.execute(SQL_END_DUTY, duty_id, ends)


# Whoever ends an admin's duty holds all of them meanwhile: two admins who end each other's leave one.
SQL_LOCK_ADMINS: Final[LiteralString] = """
    SELECT y.id, y.person, y.role, y.unit, y.starts, y.ends FROM duty y JOIN person p ON p.id = y.person
    WHERE y.role = 'admin' AND (y.ends IS NULL OR y.ends > $1) AND p.disabled_at IS NULL
    ORDER BY y.id FOR UPDATE OF y
"""


async def lock_admin_duties(conn: Connection, now: datetime) -> dict[UUID, Duty]:
    """Every admin duty that has not ended, of people who are not disabled: a few dozen."""
    rows = await conn.fetch(SQL_LOCK_ADMINS, now)
    return {r["id"]: Duty(person=r["person"], role=Role(r["role"]), unit=r["unit"], starts=r["starts"], ends=r["ends"]) for r in rows}


SQL_CORRECT_PERSON: Final[LiteralString] = "UPDATE person SET name = $2, phone = $3 WHERE id = $1"


async def correct_person(conn: Connection, person: PersonId, name: str, phone: str) -> bool:
    """False when the number is that of somebody else's live account; the transaction goes on."""
    holder = await lock_number(conn, phone)
    if holder is not None and holder.person != person and not holder.is_disabled:
        return False
    await conn.execute(SQL_CORRECT_PERSON, person, name, phone)
    return True


SQL_FETCH_DUTIES: Final[LiteralString] = """
    SELECT json_agg(json_build_array(role, unit, starts, ends) ORDER BY starts) FROM duty WHERE person = $1
"""


async def fetch_duties(executor: Executor, person: PersonId) -> tuple[Duty, ...]:
    """All duties a person ever had, the oldest first."""
    return duties_from(person, await executor.fetchval(SQL_FETCH_DUTIES, person))


SQL_FETCH_PERSON: Final[LiteralString] = """
    SELECT p.id, p.name, p.phone, p.created_at, p.disabled_at,
           (SELECT json_agg(json_build_object('id', y.id, 'role', y.role, 'unit', y.unit, 'unit_name', u.name,
                                              'starts', y.starts, 'ends', y.ends) ORDER BY y.starts)
            FROM duty y JOIN unit u ON u.code = y.unit
            WHERE y.person = p.id AND ($2::text[] IS NULL OR y.unit = ANY ($2))) AS duties
    FROM person p WHERE p.id = $1
"""


async def fetch_person(executor: Executor, person: PersonId, units: Collection[UnitCode] | None = None) -> PersonOut | None:
    """One person, with the duties in these units only; None when there is none or no duty is there."""
    row = await executor.fetchrow(SQL_FETCH_PERSON, person, None if units is None else list(units))
    return _person_from(row) if row and (units is None or row["duties"]) else None


# Every duty counts, also an ended one: who left last week still has to be found.
SQL_FETCH_PEOPLE: Final[LiteralString] = """
    SELECT p.id, p.name, p.phone, p.created_at, p.disabled_at,
           json_agg(json_build_object('id', y.id, 'role', y.role, 'unit', y.unit, 'unit_name', u.name,
                                      'starts', y.starts, 'ends', y.ends) ORDER BY y.starts) AS duties
    FROM person p JOIN duty y ON y.person = p.id JOIN unit u ON u.code = y.unit
    WHERE y.unit = ANY ($1::text[]) AND p.id > $2 AND ($3 = '' OR p.name LIKE '%' || $3 || '%' OR p.phone LIKE $6 || '%')
      AND ($5::text IS NULL OR y.role = $5)
    GROUP BY p.id
    ORDER BY p.id
    LIMIT $4
"""
FIRST: Final = UUID(int=0)


async def fetch_people(
    executor: Executor, units: Collection[UnitCode], *, after: UUID = FIRST, text: str = "", role: Role | None = None, limit: int
) -> list[PersonOut]:
    """People with a duty (of this role) in these units, with those duties; in the order of their ids. `text`: of the name or the number."""
    name, number = _literally(text), _literally(plain_beginning(text))
    wanted = role.value if role else None
    return [_person_from(row) for row in await executor.fetch(SQL_FETCH_PEOPLE, list(units), after, name, limit, wanted, number)]


def _literally(text: str) -> str:
    """For LIKE: its wildcards are letters."""
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")


_DUTIES: Final = msgspec.json.Decoder(list[DutyOut])


def _person_from(row: Any) -> PersonOut:
    values = dict(row)
    values["duties"] = _DUTIES.decode(values["duties"]) if values["duties"] else []
    return PersonOut(**values)
