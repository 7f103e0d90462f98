"""What a person logs in with. Every new password has a new number (`credential`), by which one that is under way is recognised.

Each decision about a log-in, a refresh or a password locks the person's row first and reads again: so a password change, a
log-out, a reset or a disabling ends everything that was begun before it, in any order in which the database is reached.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, LiteralString

import msgspec

from contracts.ids import PersonId
from storage.pool import Connection, Executor

SQL_FETCH_LOGIN: Final[LiteralString] = """
    SELECT id, phone, password_hash, credential, must_change, disabled_at FROM person WHERE phone = $1
    ORDER BY disabled_at DESC NULLS FIRST LIMIT 1 -- a number that has passed on is that of the live account
"""
SQL_FETCH_LOGIN_OF: Final[LiteralString] = """
    SELECT id, phone, password_hash, credential, must_change, disabled_at FROM person WHERE id = $1
"""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """What a log-in is checked against. `must_change`: somebody else knows the password."""

    id: PersonId
    phone: str
    password_hash: str
    credential: int
    must_change: bool
    disabled_at: datetime | None


async def fetch_login(executor: Executor, phone: str) -> Login | None:
    row = await executor.fetchrow(SQL_FETCH_LOGIN, phone)
    return Login(**row) if row else None


async def fetch_login_of(executor: Executor, person: PersonId) -> Login:
    row = await executor.fetchrow(SQL_FETCH_LOGIN_OF, person)
    assert row is not None  # people are never deleted
    return Login(**row)


SQL_LOCK_LOGIN: Final[LiteralString] = """
    SELECT id, phone, password_hash, credential, must_change, disabled_at FROM person WHERE id = $1 FOR NO KEY UPDATE
"""


async def lock_login(conn: Connection, person: PersonId) -> Login:
    """As it is now, and stays until the transaction ends: nobody logs in, refreshes, logs out or gets a password meanwhile."""
    row = await conn.fetchrow(SQL_LOCK_LOGIN, person)
    assert row is not None  # people are never deleted
    return Login(**row)


SQL_SET_HASH: Final[LiteralString] = """
    UPDATE person SET password_hash = $2, credential = credential + 1, must_change = $3::uuid IS NOT NULL,
                      demo = demo OR coalesce((SELECT p.demo FROM person p WHERE p.id = $3), false)
    WHERE id = $1
"""


async def update_password(conn: Connection, person: PersonId, password_hash: str, *, by: PersonId | None = None) -> None:
    """Another password. The caller ends the person's tokens in the same transaction (storage/tokens.py).

    by   an admin who knows it: the person has to change it, and what a demo account knows is shut with the demo accounts
    """
    await conn.execute(SQL_SET_HASH, person, password_hash, by)


SQL_REHASH: Final[LiteralString] = "UPDATE person SET password_hash = $3 WHERE id = $1 AND password_hash = $2"


async def rehash(conn: Executor, person: PersonId, old_hash: str, new_hash: str) -> None:
    """The same password with other parameters; nothing when it has become another one."""
    await conn.execute(SQL_REHASH, person, old_hash, new_hash)
