"""The second factor of a person: a sealed TOTP secret, the last step that was used, and recovery codes as hashes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, LiteralString

import msgspec

from contracts.ids import PersonId
from storage.pool import Connection, Executor


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` is sealed. `confirmed_at`: None while it is being set up, and then it opens nothing."""

    person: PersonId
    secret: bytes
    confirmed_at: datetime | None


SQL_FETCH_FACTOR: Final[LiteralString] = (
    "SELECT person, secret, confirmed_at FROM second_factor WHERE person = $1 AND confirmed_at IS NOT NULL"
)
SQL_FETCH_DRAFT: Final[LiteralString] = "SELECT person, secret, confirmed_at FROM second_factor WHERE person = $1 AND confirmed_at IS NULL"


async def fetch_factor(executor: Executor, person: PersonId) -> Factor | None:
    """The factor that a log-in needs; None: there is none, or it was never confirmed."""
    row = await executor.fetchrow(SQL_FETCH_FACTOR, person)
    return Factor(**row) if row else None


async def fetch_draft(executor: Executor, person: PersonId) -> Factor | None:
    """The one that is being set up."""
    row = await executor.fetchrow(SQL_FETCH_DRAFT, person)
    return Factor(**row) if row else None


SQL_SET_FACTOR: Final[LiteralString] = """
    INSERT INTO second_factor (person, secret) VALUES ($1, $2)
    ON CONFLICT (person) DO UPDATE SET secret = EXCLUDED.secret, last_step = 0 WHERE second_factor.confirmed_at IS NULL
"""


async def set_draft(conn: Connection, person: PersonId, sealed: bytes) -> bool:
    """Begin, or begin again. False: there is a confirmed one."""
    return not (await conn.execute(SQL_SET_FACTOR, person, sealed)).endswith(" 0")


SQL_CONFIRM: Final[LiteralString] = "UPDATE second_factor SET confirmed_at = $2 WHERE person = $1"


async def confirm_factor(conn: Connection, person: PersonId, now: datetime) -> None:
    await conn.execute(SQL_CONFIRM, person, now)


SQL_TAKE_STEP: Final[LiteralString] = "UPDATE second_factor SET last_step = $2 WHERE person = $1 AND last_step < $2"


async def take_step(conn: Connection, person: PersonId, step: int) -> bool:
    """Use the code of a time step. False: it, or a later one, was used: a code that somebody has seen opens nothing twice."""
    return not (await conn.execute(SQL_TAKE_STEP, person, step)).endswith(" 0")


SQL_USE_RECOVERY: Final[LiteralString] = """
    UPDATE recovery_code SET used_at = $3 WHERE person = $1 AND hash = $2 AND used_at IS NULL
"""


async def use_recovery_code(conn: Connection, person: PersonId, code_hash: bytes, now: datetime) -> bool:
    """False: no such code, or it was used."""
    return not (await conn.execute(SQL_USE_RECOVERY, person, code_hash, now)).endswith(" 0")


SQL_DELETE_RECOVERY: Final[LiteralString] = "DELETE FROM recovery_code WHERE person = $1"
SQL_INSERT_RECOVERY: Final[LiteralString] = "INSERT INTO recovery_code (person, hash) SELECT $1, unnest($2::bytea[])"


async def replace_recovery_codes(conn: Connection, person: PersonId, hashes: Iterable[bytes]) -> None:
    await conn.execute(SQL_DELETE_RECOVERY, person)
    await conn.execute(SQL_INSERT_RECOVERY, person, list(hashes))


SQL_COUNT_RECOVERY: Final[LiteralString] = "SELECT count(*) FROM recovery_code WHERE person = $1 AND used_at IS NULL"


async def count_recovery_codes(executor: Executor, person: PersonId) -> int:
    """Those that are good still."""
    count: int = await executor.fetchval(SQL_COUNT_RECOVERY, person)
    return count


SQL_DELETE_FACTOR: Final[LiteralString] = "DELETE FROM second_factor WHERE person = $1"


async def delete_factor(conn: Connection, person: PersonId) -> bool:
    """With its recovery codes. False: there was none."""
    await conn.execute(SQL_DELETE_RECOVERY, person)
    return not (await conn.execute(SQL_DELETE_FACTOR, person)).endswith(" 0")


SQL_STRENGTHEN: Final[LiteralString] = """
    UPDATE token SET strong = true WHERE family IN (SELECT family FROM token WHERE device = $1)
"""


async def strengthen(conn: Connection, device: object) -> None:
    """The log-in of this device has shown a second factor."""
    await conn.execute(SQL_STRENGTHEN, device)
