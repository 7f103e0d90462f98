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
from storage.credentials import fetch_login, lock_login
from storage.people import insert_duty, insert_person, lock_duties_of, lock_number
from storage.pool import open_pool, transaction
from storage.second_factor import delete_factor
from storage.tokens import end_person_tokens
from storage.units import load_units
from sync.administration import apart_refusal

COMMAND_LINE = Origin(source="command line")


def create_admin(settings: Settings, phone: str, name: str, unit: str) -> str:
    """Create a person with the duty of admin at a unit, or give the duty to who has the number; returns the new password.

    Empty for a person who had an account. StartError when the number or the unit is wrong.
    """
    try:
        asked = msgspec.convert({"phone": phone, "name": name, "duties": [{"role": "admin", "unit": unit}]}, PersonIn)
    except msgspec.ValidationError as error:  # which of the three; the pattern it does not match helps nobody
        wrong = str(error).rpartition("$.")[2].strip("`")
        raise StartError(
            f"手机号、姓名或单位有误（{wrong}）。例：create-admin 13900000000 张三 610902",
            f"The phone number, name or unit is wrong ({wrong}). For example: create-admin 13900000000 张三 610902",
        ) from None
    return asyncio.run(_create(settings, asked.phone, name, unit))


async def _create(settings: Settings, phone: str, name: str, unit: str) -> str:
    now = datetime.now(UTC)
    password = generate_password()
    hasher = PasswordHasher(memory_cost=settings.auth.argon2_memory_kib, time_cost=settings.auth.argon2_rounds, parallelism=1)
    async with await open_pool(settings.pg.full_dsn(), size_min=0, size_max=1) as pool, transaction(pool) as conn:
        if unit not in await load_units(conn):
            raise StartError(f"没有单位 {unit}", f"There is no unit {unit}; a county is its six-digit code.")
        person, duty_id = uuid7(), uuid7()
        holder = await lock_number(conn, phone)
        is_new = holder is None or holder.is_disabled
        if holder is None or holder.is_disabled:
            await insert_person(conn, person, name, phone, hasher.hash(password), now, must_change=True)
        else:
            person, password = holder.person, ""
        duty = Duty(person=person, role=Role.ADMIN, unit=unit, starts=now)
        if apart_refusal(duty, () if is_new else await lock_duties_of(conn, person)):
            raise StartError(
                "该人员是只读审计，不能同时是系统管理员。", "This person is an auditor, who administers nothing: name somebody else."
            )
        await insert_duty(conn, duty_id, duty)
        await insert_notes(conn, _notes(person, duty_id, unit, is_new=is_new), COMMAND_LINE, now)
    return password


def reset_second_factor(settings: Settings, phone: str) -> None:
    """Remove a person's second factor and log them out. StartError when there is no such account, or no second factor."""
    asyncio.run(_reset(settings, phone))


async def _reset(settings: Settings, phone: str) -> None:
    now = datetime.now(UTC)
    async with await open_pool(settings.pg.full_dsn(), size_min=0, size_max=1) as pool, transaction(pool) as conn:
        login = await fetch_login(conn, phone)
        if login is not None:
            await lock_login(conn, login.id)
        if login is None or not await delete_factor(conn, login.id):
            raise StartError("没有该手机号的账号，或尚未设置第二因素", "There is no account with this number, or it has no second factor.")
        await end_person_tokens(conn, login.id)
        note = Note(action=Action.SECOND_FACTOR_RESET, about=login.id, subject=str(login.id), detail={"by": "command line"})
        await insert_notes(conn, [note], COMMAND_LINE, now)


def _notes(person: UUID, duty: UUID, unit: str, *, is_new: bool) -> list[Note]:
    detail = {"by": "command line", "program": sys.argv[0].rpartition("/")[2]}
    created = [Note(action=Action.PERSON_CREATED, about=person, subject=str(person), unit=unit, detail=detail)] if is_new else []
    return [*created, Note(action=Action.DUTY_GRANTED, about=person, subject=str(duty), unit=unit, detail=detail | {"role": "admin"})]
