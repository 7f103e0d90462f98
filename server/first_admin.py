"""The first admin of an installation: without one nobody could create anybody."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from argon2 import PasswordHasher
from uuid_utils.compat import uuid7

from api.passwords import generate_password
from contracts.access import Action, PersonIn
from contracts.people import Duty, Role
from server.settings import Settings
from server.trouble import StartError
from storage.audit_log import Note, Origin, insert_notes
from storage.people import fetch_id_by_phone, insert_duty, insert_person
from storage.pool import open_pool, transaction
from storage.units import load_units

COMMAND_LINE = Origin(source="command line")


def create_admin(settings: Settings, phone: str, name: str, unit: str) -> str:
    """Create a person with the duty of admin at a unit, or give the duty to who has the number; returns the new password.

    Empty for a person who had an account. StartError when the number or the unit is wrong.
    """
    try:
        msgspec.convert({"phone": phone, "name": name, "duties": [{"role": "admin", "unit": unit}]}, PersonIn)
    except msgspec.ValidationError as error:
        raise StartError("手机号、姓名或单位有误", f"The phone number, name or unit is wrong: {error}") from None
    return asyncio.run(_create(settings, phone, name, unit))


async def _create(settings: Settings, phone: str, name: str, unit: str) -> str:
    now = datetime.now(UTC)
    password = generate_password()
    hasher = PasswordHasher(memory_cost=settings.auth.argon2_memory_kib, time_cost=settings.auth.argon2_rounds, parallelism=1)
    async with await open_pool(settings.pg.full_dsn(), size_min=0, size_max=1) as pool, transaction(pool) as conn:
        if unit not in await load_units(conn):
            raise StartError(f"没有单位 {unit}", f"There is no unit {unit}; a county is its six-digit code.")
        person, duty = uuid7(), uuid7()
        known = await fetch_id_by_phone(conn, phone)
        if known is None:
            await insert_person(conn, person, name, phone, hasher.hash(password), now)
        else:
            person, password = known, ""
        await insert_duty(conn, duty, Duty(person=person, role=Role.ADMIN, unit=unit, starts=now))
        await insert_notes(conn, _notes(person, duty, unit, is_new=known is None), COMMAND_LINE, now)
    return password


def _notes(person: UUID, duty: UUID, unit: str, *, is_new: bool) -> list[Note]:
    detail = {"by": "command line", "program": sys.argv[0].rpartition("/")[2]}
    created = [Note(action=Action.PERSON_CREATED, about=person, subject=str(person), unit=unit, detail=detail)] if is_new else []
    return [*created, Note(action=Action.DUTY_GRANTED, about=person, subject=str(duty), unit=unit, detail=detail | {"role": "admin"})]
