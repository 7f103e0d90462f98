"""Opaque tokens: made here, kept as SHA-256 only. Access tokens are short; refresh tokens last and rotate.

Rotation without loss: the answer that carries a new pair may never arrive, so the old refresh token stays good until a
token issued for it is used for the next refresh. From then on it and its unused siblings are spent. A spent token that
comes back means that two parties hold copies: the whole family (one log-in) ends.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, LiteralString

from contracts.ids import DeviceId, PersonId
from contracts.problems import ProblemCode
from storage.pool import Connection, Executor

TOKEN_BYTES: Final = 32
KEEP_SPENT: Final = timedelta(days=30)  # for so long a copy of a spent token is still recognised as one


@dataclass(frozen=True)
class Pair:
    """A fresh pair. The only place where the tokens themselves exist."""

    access: str
    access_ends: datetime
    refresh: str
    refresh_ends: datetime
    device: DeviceId
    person: PersonId


@dataclass(frozen=True)
class Lifetimes:
    access: timedelta
    phone: timedelta  # a phone's refresh token, from its last use: weeks offline
    console: timedelta


@dataclass(frozen=True)
class Reused:
    """A spent refresh token came back; its family has ended."""

    device: DeviceId
    person: PersonId


@dataclass(frozen=True)
class Refused:
    """Why a token is not good. `wipe`: the device was reported lost, and is to delete itself also now."""

    code: ProblemCode
    wipe: bool = False


def hash_token(token: str) -> bytes:
    """What is stored and looked up. A random token of 256 bits needs no slow hash."""
    return hashlib.sha256(token.encode()).digest()


SQL_INSERT_PAIR: Final[LiteralString] = """
    INSERT INTO token (hash, device, family, purpose, issued_at, expires_at, parent)
    VALUES ($1, $3, $4, 'access', $5, $6, NULL), ($2, $3, $4, 'refresh', $5, $7, $8)
"""


async def insert_pair(
    conn: Connection,
    *,
    device: DeviceId,
    person: PersonId,
    kind: str,
    family: uuid.UUID,
    parent: bytes | None,
    now: datetime,
    lifetimes: Lifetimes,
) -> Pair:
    """Issue a pair of the family. `parent`: hash of the refresh token that it answers."""
    access, refresh = secrets.token_urlsafe(TOKEN_BYTES), secrets.token_urlsafe(TOKEN_BYTES)
    access_ends = now + lifetimes.access
    refresh_ends = now + (lifetimes.console if kind == "console" else lifetimes.phone)
    hashes = hash_token(access), hash_token(refresh)
    await conn.execute(SQL_INSERT_PAIR, *hashes, device, family, now, access_ends, refresh_ends, parent)
    return Pair(access, access_ends, refresh, refresh_ends, device, person)


SQL_LOCK_FAMILY: Final[LiteralString] = """
    SELECT pg_advisory_xact_lock(hashtextextended(family::text, 0)) FROM token WHERE hash = $1
"""  # the family has no row of its own; two refreshes of one phone queue here
SQL_FETCH_REFRESH: Final[LiteralString] = """
    SELECT t.device, t.family, t.parent, t.expires_at, t.spent_at,
           d.person, d.kind, d.wiped_at, d.revoked_at, d.revoked_why, p.disabled_at
    FROM token t JOIN device d ON d.id = t.device JOIN person p ON p.id = d.person
    WHERE t.hash = $1 AND t.purpose = 'refresh'
"""
SQL_SPEND: Final[LiteralString] = """
    UPDATE token SET spent_at = $3
    WHERE (hash = $2 OR (parent = $2 AND hash <> $1)) AND purpose = 'refresh' AND spent_at IS NULL
"""


async def rotate(conn: Connection, refresh: str, now: datetime, lifetimes: Lifetimes, wiped_for: timedelta) -> Pair | Reused | Refused:
    """A new pair for a refresh token. Inside a transaction, which the caller must commit whatever the answer is."""
    presented = hash_token(refresh)
    await conn.execute(SQL_LOCK_FAMILY, presented)
    row = await conn.fetchrow(SQL_FETCH_REFRESH, presented)
    if row is None:
        return Refused(ProblemCode.NOT_AUTHENTICATED)
    if row["spent_at"] is not None:
        await end_family(conn, row["family"])
        return Reused(row["device"], row["person"])
    if row["expires_at"] <= now:
        return Refused(ProblemCode.TOKEN_EXPIRED)
    if refusal := standing_refusal(row["revoked_at"], row["revoked_why"], row["wiped_at"], row["disabled_at"], now, wiped_for):
        return refusal
    await conn.execute(SQL_SPEND, presented, row["parent"], now)
    return await insert_pair(
        conn,
        device=row["device"],
        person=row["person"],
        kind=row["kind"],
        family=row["family"],
        parent=presented,
        now=now,
        lifetimes=lifetimes,
    )


CLONED: Final = "cloned"  # why a device was revoked when two stores gave out its numbers


def standing_refusal(
    revoked_at: datetime | None,
    revoked_why: str | None,
    wiped_at: datetime | None,
    disabled_at: datetime | None,
    now: datetime,
    wiped_for: timedelta,
) -> Refused | None:
    """Why a known device may not even push. A wiped or cloned one may, for a while: what it still holds must not be lost."""
    if revoked_at is not None and not (revoked_why == CLONED and now < revoked_at + wiped_for):
        return Refused(ProblemCode.DEVICE_REVOKED)
    if wiped_at is not None:
        return Refused(ProblemCode.DEVICE_REVOKED, wipe=True) if wiped_at + wiped_for <= now else None
    return Refused(ProblemCode.ACCOUNT_DISABLED) if disabled_at is not None else None


SQL_END_FAMILY: Final[LiteralString] = "DELETE FROM token WHERE family = $1"


async def end_family(conn: Connection, family: uuid.UUID) -> None:
    """End one log-in: none of its tokens is good any more."""
    await conn.execute(SQL_END_FAMILY, family)


SQL_END_DEVICE: Final[LiteralString] = "DELETE FROM token WHERE device = $1"


async def end_device_tokens(conn: Connection, device: DeviceId) -> None:
    await conn.execute(SQL_END_DEVICE, device)


SQL_END_PERSON: Final[LiteralString] = """
    DELETE FROM token
    WHERE device IN (SELECT id FROM device WHERE person = $1 AND wiped_at IS NULL)
      AND device IS DISTINCT FROM $2
"""


async def end_person_tokens(conn: Connection, person: PersonId, *, but: DeviceId | None = None) -> None:
    """Log a person out everywhere, but for one device. Wiped phones keep theirs: they still have to hand in."""
    await conn.execute(SQL_END_PERSON, person, but)


SQL_PURGE_TOKENS: Final[LiteralString] = """
    DELETE FROM token
    WHERE hash IN (
        SELECT hash FROM token WHERE expires_at < $1::timestamptz - interval '1 day' OR spent_at < $2
        LIMIT 5000)
"""


async def purge_tokens(executor: Executor, now: datetime) -> int:
    """Remove what nobody can use any more; returns how many. To be called until it returns 0."""
    status = await executor.execute(SQL_PURGE_TOKENS, now, now - KEEP_SPENT)
    return int(status.rpartition(" ")[2])
