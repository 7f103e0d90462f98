"""Opaque tokens: made here, kept as SHA-256 only. Access tokens are short; refresh tokens last and rotate.

Rotation without loss: the answer that carries a new pair may never arrive, so the old refresh token stays good until the
token issued for it is used for the next refresh. From then on it is spent. A spent token that comes back means that two
parties hold copies: the whole family (one log-in) ends.

One token has one successor at a time (docs/decisions/0028). Two who refresh with it at once (an app and its background job)
get the same pair: the successor is derived from the token presented and a key that the row keeps for as long as it is not
spent. Later than `AT_ONCE` the answer must have been lost: the successor that nobody used is spent, and another takes its place.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, LiteralString

from contracts.caller import DeviceKind
from contracts.ids import DeviceId, PersonId
from contracts.problems import ProblemCode
from storage.pool import Connection, Executor

TOKEN_BYTES: Final = 32
CONSOLE: Final = DeviceKind.CONSOLE.value
KEEP_SPENT: Final = timedelta(days=30)  # for so long a copy of a spent token is still recognised as one
SPENT_MAX: Final = 50  # of one log-in; older ones are forgotten, and a copy of them is no token at all
AT_ONCE: Final = timedelta(minutes=5)  # two refreshes with one token within this are one, on a line however slow


@dataclass(frozen=True)
class Pair:
    """A fresh pair. The only place where the tokens themselves exist.

    enrolled_at   when the device was enrolled first; with a log-in only
    """

    access: str
    access_ends: datetime
    refresh: str
    refresh_ends: datetime
    device: DeviceId
    person: PersonId
    enrolled_at: datetime | None = None


@dataclass(frozen=True)
class Lifetimes:
    access: timedelta
    phone: timedelta  # a phone's refresh token, from its last use: weeks offline
    console: timedelta  # a console's log-in, however much it is used
    console_idle: timedelta = timedelta(hours=4)  # a console's refresh token, from its last use


@dataclass(frozen=True)
class Session:
    """One log-in of one device. `ends`: its last moment, used or not; None: as long as it is used. `strong`: with a second factor."""

    device: DeviceId
    person: PersonId
    kind: str
    family: uuid.UUID
    ends: datetime | None
    strong: bool = False


def begin_session(device: DeviceId, person: PersonId, kind: str, now: datetime, lifetimes: Lifetimes, *, strong: bool = False) -> Session:
    ends = now + lifetimes.console if kind == CONSOLE else None
    return Session(device, person, kind, uuid.uuid4(), ends, strong)


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
    INSERT INTO token (hash, device, family, purpose, issued_at, expires_at, parent, session_ends, strong)
    VALUES ($1, $3, $4, 'access', $5, $6, $8, $9, $10), ($2, $3, $4, 'refresh', $5, $7, $8, $9, $10)
"""


async def insert_pair(
    conn: Connection,
    session: Session,
    tokens: tuple[str, str],
    now: datetime,
    lifetimes: Lifetimes,
    *,
    parent: bytes | None = None,
) -> Pair:
    """Issue (access, refresh) for a log-in. `parent`: hash of the refresh token that they answer."""
    access, refresh = tokens
    access_ends = now + lifetimes.access
    refresh_ends = now + (lifetimes.console_idle if session.kind == CONSOLE else lifetimes.phone)
    if session.ends is not None:
        access_ends, refresh_ends = min(access_ends, session.ends), min(refresh_ends, session.ends)
    await conn.execute(
        SQL_INSERT_PAIR, hash_token(access), hash_token(refresh), session.device, session.family, now, access_ends, refresh_ends, parent,
        session.ends, session.strong,
    )  # fmt: skip
    return Pair(access, access_ends, refresh, refresh_ends, session.device, session.person)


def random_tokens() -> tuple[str, str]:
    """(access, refresh) of a new log-in."""
    return secrets.token_urlsafe(TOKEN_BYTES), secrets.token_urlsafe(TOKEN_BYTES)


def successors(key: bytes, presented: str) -> tuple[str, str]:
    """(access, refresh) that answer a refresh token: from it and the key of its row, and from neither alone."""
    return _derived(key, "access", presented), _derived(key, "refresh", presented)


def _derived(key: bytes, purpose: str, presented: str) -> str:
    made = hmac.digest(key, f"{purpose}/{presented}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


SQL_LOCK_HOLDER: Final[LiteralString] = """
    SELECT 1 FROM person WHERE id = (SELECT d.person FROM device d JOIN token t ON t.device = d.id WHERE t.hash = $1)
    FOR NO KEY UPDATE
"""  # refreshes of one person queue here, and behind what ends log-ins (storage/credentials.py)
SQL_LOCK_DEVICE_OF: Final[LiteralString] = """
    SELECT 1 FROM device WHERE id = (SELECT device FROM token WHERE hash = $1) FOR NO KEY UPDATE
"""  # and behind a request that retires the device
SQL_FETCH_REFRESH: Final[LiteralString] = """
    SELECT t.device, t.family, t.parent, t.expires_at, t.spent_at, t.successor_key, t.session_ends, t.strong,
           d.person, d.kind, d.wiped_at, d.revoked_at, d.revoked_why, p.disabled_at
    FROM token t JOIN device d ON d.id = t.device JOIN person p ON p.id = d.person
    WHERE t.hash = $1 AND t.purpose = 'refresh'
"""
SQL_FETCH_ISSUED: Final[LiteralString] = """
    SELECT expires_at FROM token
    WHERE hash IN ($1, $2) AND spent_at IS NULL AND expires_at > $3 AND issued_at > $4
    ORDER BY purpose
"""
# The one that the presented token answered ($2), what else answered that, and a successor that nobody used.
SQL_SPEND: Final[LiteralString] = """
    UPDATE token SET spent_at = $3, successor_key = NULL
    WHERE (hash = $2 OR (parent = $2 AND hash <> $1) OR parent = $1) AND purpose = 'refresh' AND spent_at IS NULL
"""
# What was issued before the pair that is presented now, and with a successor that nobody used.
SQL_END_ACCESS: Final[LiteralString] = """
    DELETE FROM token WHERE family = $1 AND purpose = 'access' AND parent IS DISTINCT FROM $2
"""
SQL_FORGET_SPENT: Final[LiteralString] = """
    DELETE FROM token WHERE hash IN (
        SELECT hash FROM token WHERE family = $1 AND spent_at IS NOT NULL ORDER BY spent_at DESC, issued_at DESC OFFSET $2)
"""
SQL_KEEP_KEY: Final[LiteralString] = "UPDATE token SET successor_key = $2 WHERE hash = $1"


async def rotate(conn: Connection, refresh: str, now: datetime, lifetimes: Lifetimes, wiped_for: timedelta) -> Pair | Reused | Refused:
    """A new pair for a refresh token. Inside a transaction, which the caller must commit with `Reused` and `Refused`; a pair it may roll back: then nothing was rotated."""
    presented = hash_token(refresh)
    await conn.execute(SQL_LOCK_HOLDER, presented)
    await conn.execute(SQL_LOCK_DEVICE_OF, presented)
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
    session = Session(row["device"], row["person"], row["kind"], row["family"], row["session_ends"], row["strong"])
    if row["successor_key"] is not None and (issued := await _issued(conn, session, successors(row["successor_key"], refresh), now)):
        return issued
    return await _succeed(conn, session, refresh, row["parent"], now, lifetimes)


async def _issued(conn: Connection, session: Session, tokens: tuple[str, str], now: datetime) -> Pair | None:
    """The pair that was given for the same token just now, if it is good still."""
    ends = await conn.fetch(SQL_FETCH_ISSUED, *map(hash_token, tokens), now, now - AT_ONCE)
    if len(ends) < len(tokens):
        return None
    (access, refresh), (access_ends, refresh_ends) = tokens, (row["expires_at"] for row in ends)
    return Pair(access, access_ends, refresh, refresh_ends, session.device, session.person)


async def _succeed(conn: Connection, session: Session, refresh: str, parent: bytes | None, now: datetime, lifetimes: Lifetimes) -> Pair:
    """The successor of a refresh token; what it makes superfluous ends."""
    presented, key = hash_token(refresh), secrets.token_bytes(TOKEN_BYTES)
    await conn.execute(SQL_SPEND, presented, parent, now)
    await conn.execute(SQL_END_ACCESS, session.family, parent)
    await conn.execute(SQL_FORGET_SPENT, session.family, SPENT_MAX)
    await conn.execute(SQL_KEEP_KEY, presented, key)
    return await insert_pair(conn, session, successors(key, refresh), now, lifetimes, parent=presented)


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


SQL_END_DEVICE: Final[LiteralString] = "DELETE FROM token WHERE device = $1"  # with the person or the device locked


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
