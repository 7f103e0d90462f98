"""The demo staff: one township of Hanbin (张滩镇), its county and its city, with real unit codes and invented people.

Their ids are derived, so they are recognised wherever they are met: without demo mode their accounts are shut at every start.
Passwords are made once, at random, and kept in the data folder; nobody else's installation has the same.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, LiteralString, NamedTuple

import asyncpg
import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from api.passwords import generate_password
from contracts.ids import PersonId, UnitCode
from contracts.people import Duty, Role
from contracts.problems import Problem
from server.settings import Settings
from server.trouble import StartError
from storage.credentials import fetch_login, update_password
from storage.people import insert_duty, insert_person
from storage.pool import Pool, infrastructure_problem, open_pool, retrying, transaction

FAMILY: Final = uuid.UUID("8f0a3c52-0d3e-5b0b-9a52-6f7c1f6f0a11")  # fixed for ever: demo people are known by it
SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC)
SECRETS_FILE: Final = "demo_staff.json"

ROSTER: Final[tuple[tuple[str, str, Role, UnitCode], ...]] = (
    ("李秀英", "张滩社区网格员", Role.GRID_MEMBER, "610902101001"),
    ("陈大山", "余湾社区网格员", Role.GRID_MEMBER, "610902101002"),
    ("王小河", "田湾社区网格员", Role.GRID_MEMBER, "610902101003"),
    ("赵国庆", "后堰村网格员", Role.GRID_MEMBER, "610902101202"),
    ("刘桂花", "王湾村秦岭网格员", Role.QINLING_GRID_MEMBER, "610902101203"),
    ("周建军", "双井村负责人", Role.VILLAGE_LEAD, "610902101204"),
    ("孙丽", "张滩镇工作人员", Role.TOWNSHIP_STAFF, "610902101"),
    ("吴永强", "张滩镇负责人", Role.TOWNSHIP_LEAD, "610902101"),
    ("郑敏", "汉滨区生态环境局经办人", Role.DEPARTMENT_STAFF, "610902-env_bureau"),
    ("冯涛", "汉滨区住建局负责人", Role.DEPARTMENT_LEAD, "610902-housing_bureau"),
    ("杨帆", "汉滨区督办", Role.COUNTY_SUPERVISOR, "610902"),
    ("朱文", "安康市督办", Role.CITY_SUPERVISOR, "610900"),
    ("何静", "汉滨区系统管理员", Role.ADMIN, "610902"),
    ("高远", "汉滨区审计", Role.AUDITOR, "610902"),
)


class DemoPerson(NamedTuple):
    """`is_new`: the password was made just now; whatever the account has is of a data folder that is gone."""

    id: PersonId
    phone: str
    password: str
    name: str
    title: str
    role: Role
    unit: UnitCode
    is_new: bool = False


def demo_staff(folder: Path) -> list[DemoPerson]:
    """The staff with this installation's passwords, which are made at the first call."""
    passwords, new = _kept_passwords(folder / SECRETS_FILE)
    staff: list[DemoPerson] = []
    for number, (name, title, role, unit) in enumerate(ROSTER, start=1):
        phone = f"138000000{number:02d}"
        staff.append(DemoPerson(demo_id(phone), phone, passwords[phone], name, title, role, unit, phone in new))
    return staff


def demo_id(phone: str) -> PersonId:
    return uuid.uuid5(FAMILY, phone)


def _kept_passwords(path: Path) -> tuple[dict[str, str], set[str]]:
    """({phone: password}, those that were made now), readable by the server alone."""
    phones = [f"138000000{number:02d}" for number in range(1, len(ROSTER) + 1)]
    kept = msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}
    missing = {phone: generate_password() for phone in phones if phone not in kept}
    if missing:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_suffix(".new")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(kept | missing))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    return kept | missing, set(missing)


SQL_OPEN_DEMO: Final[LiteralString] = """
    UPDATE person p SET disabled_at = NULL, demo = true
    WHERE id = ANY ($1::uuid[])
      AND NOT EXISTS (SELECT FROM person o WHERE o.phone = p.phone AND o.disabled_at IS NULL AND o.id <> p.id)
"""


async def seed_demo(pool: Pool, staff: list[DemoPerson], now: datetime) -> set[str]:
    """Create who is missing and open the accounts; the numbers of those who have chosen another password, which stays."""
    changed: set[str] = set()
    hasher = PasswordHasher(memory_cost=1024, time_cost=1, parallelism=1)  # the first log-in hashes anew with the real parameters
    async with transaction(pool) as conn:
        for one in staff:
            login = await fetch_login(conn, one.phone)
            if login is None:
                await insert_person(conn, one.id, one.name, one.phone, hasher.hash(one.password), now)
                duty = Duty(person=one.id, role=one.role, unit=one.unit, starts=SINCE)
                await insert_duty(conn, uuid.uuid5(one.id, one.unit), duty)
            elif login.id == one.id and one.is_new:
                await update_password(conn, one.id, hasher.hash(one.password))
            elif not _fits(hasher, login.password_hash, one.password):
                changed.add(one.phone)
        await conn.execute(SQL_OPEN_DEMO, [one.id for one in staff])
    return changed


def _fits(hasher: PasswordHasher, password_hash: str, password: str) -> bool:
    try:
        return hasher.verify(password_hash, password)
    except VerificationError:
        return False


SQL_MARK_DEMO: Final[LiteralString] = "UPDATE person SET demo = true WHERE id = ANY ($1::uuid[]) AND NOT demo"
SQL_SHUT_DEMO: Final[LiteralString] = "UPDATE person SET disabled_at = $1 WHERE demo AND disabled_at IS NULL RETURNING id"
SQL_END_DEMO_DUTIES: Final[LiteralString] = """
    UPDATE duty SET ends = greatest($1, starts + interval '1 microsecond') WHERE demo AND (ends IS NULL OR ends > $1) RETURNING id
"""
SQL_REVOKE_DEMO_DEVICES: Final[LiteralString] = """
    UPDATE device SET revoked_at = $1, revoked_why = 'demo'
    WHERE person IN (SELECT id FROM person WHERE demo) AND kind IN ('phone', 'console') AND revoked_at IS NULL RETURNING id
"""
SQL_END_DEMO_TOKENS: Final[LiteralString] = """
    DELETE FROM token WHERE device IN (SELECT d.id FROM device d JOIN person p ON p.id = d.person WHERE p.demo)
"""


async def disable_demo(pool: Pool, now: datetime) -> tuple[int, int, int]:
    """Shut what is left of an installation that was tried out: (accounts, duties, devices) that ended just now.

    The demo staff, the accounts that they made or gave a password, the duties that they granted to anybody, and all tokens and devices of these accounts.
    """
    async with transaction(pool) as conn:
        await conn.execute(SQL_MARK_DEMO, [demo_id(f"138000000{number:02d}") for number in range(1, len(ROSTER) + 1)])
        accounts = await conn.fetch(SQL_SHUT_DEMO, now)
        duties = await conn.fetch(SQL_END_DEMO_DUTIES, now)
        devices = await conn.fetch(SQL_REVOKE_DEMO_DEVICES, now)
        await conn.execute(SQL_END_DEMO_TOKENS)
    return len(accounts), len(duties), len(devices)


def end_demo(settings: Settings) -> None:
    """Shut what a trial left, unless this is one; says so in one line. StartError when the database cannot be reached for some seconds."""
    if settings.demo:
        return
    try:
        ended = asyncio.run(retrying(lambda: _ended(settings.pg.full_dsn())))
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        return  # not migrated yet: migrating does it, too
    except Exception as error:
        if infrastructure_problem(error) is None and not isinstance(error, OSError | Problem):
            raise
        why = error.__cause__ or error
        raise StartError(
            f"无法连接数据库（XUNLING_PG__DSN）：{why}", f"The database (XUNLING_PG__DSN) cannot be reached: {type(why).__name__}: {why}"
        ) from error
    say_ended(ended)


async def _ended(dsn: str) -> tuple[int, int, int]:
    async with await open_pool(dsn, size_min=0, size_max=1) as pool:
        return await disable_demo(pool, datetime.now(UTC))


def say_ended(ended: tuple[int, int, int]) -> None:
    if any(ended):
        print("演示已关闭：停用账号 {} 个、结束职责 {} 项、停用设备 {} 台 demo leftovers ended".format(*ended), flush=True)
