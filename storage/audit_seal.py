"""Sealing the audit log in batches, and reading the chain again (sync/sealing.py has the rules).

Entries are plain inserts; nobody waits for a seal. One seal at a time becomes the next of the chain: of two workers the second makes none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import msgspec

from storage.pool import Connection, Executor, Pool, snapshot
from sync.sealing import ENTRIES_MAX, LOOK_BACK, NO_SEAL, AuditSeal, IsSigned, LogEntry, chain_digest, head_faults, seal_faults

Sign = Callable[[bytes], str]
LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)

SQL_FETCH_HEAD: Final[LiteralString] = """
    SELECT number, sealed_at, cardinality(ids) AS entries, encode(digest, 'hex') AS digest, key, sig
    FROM audit_seal ORDER BY number DESC LIMIT 1
"""


async def fetch_head(executor: Executor) -> AuditSeal | None:
    """The newest seal; None before the first."""
    row = await executor.fetchrow(SQL_FETCH_HEAD)
    return AuditSeal(**dict(row)) if row else None


# A county's day by its index, without what the seals of that day (and the one before: clocks differ) have already.
SQL_FETCH_UNSEALED: Final[LiteralString] = """
    WITH sealed AS MATERIALIZED (
        SELECT u.county, u.id FROM audit_seal s CROSS JOIN LATERAL unnest(s.counties, s.ids) u (county, id) WHERE s.sealed_at >= $2)
    SELECT l.county, l.id, l.at, l.unit, l.action, l.person, l.device, l.subject, l.detail::text AS detail, l.source, l.request
    FROM (SELECT county FROM county UNION ALL SELECT 0) c JOIN audit_log l ON l.county = c.county AND l.at >= $1
    WHERE NOT EXISTS (SELECT FROM sealed s WHERE s.county = l.county AND s.id = l.id)
    ORDER BY l.at, l.county, l.id
    LIMIT $3
"""
SQL_INSERT_SEAL: Final[LiteralString] = """
    INSERT INTO audit_seal (number, sealed_at, counties, ids, digest, key, sig)
    VALUES ($1, $2, $3::integer[], $4::uuid[], decode($5, 'hex'), $6, $7)
    ON CONFLICT (number) DO NOTHING
"""


async def seal_log(pool: Pool, key: str, sign: Sign, now: datetime) -> int:
    """Seal what has come since, at most `ENTRIES_MAX` entries; returns how many. To be called until it returns 0.

    key    id of the key that `sign` signs with
    """
    async with snapshot(pool) as conn:
        head = await fetch_head(conn)
        since = head.sealed_at - LOOK_BACK if head else LONG_AGO
        entries = await _unsealed(conn, since)
    if not entries:
        return 0
    number = head.number + 1 if head else 1
    # A full batch ends where its last entry is: what waits behind it is still looked for, and is not called forgotten.
    sealed_at = min(entries[-1].at, now) if len(entries) == ENTRIES_MAX else now
    digest = chain_digest(number, bytes.fromhex(head.digest) if head else NO_SEAL, [entry.digest() for entry in entries])
    seal = AuditSeal(number=number, sealed_at=sealed_at, entries=len(entries), digest=digest, key=key)
    done = await pool.execute(
        SQL_INSERT_SEAL, number, sealed_at, [e.county for e in entries], [e.id for e in entries], digest, key, sign(seal.signed_bytes())
    )
    return len(entries) if done.endswith(" 1") else 0


async def _unsealed(conn: Connection, since: datetime) -> list[LogEntry]:
    rows = await conn.fetch(SQL_FETCH_UNSEALED, since, max(LONG_AGO, since - LOOK_BACK) if since > LONG_AGO else LONG_AGO, ENTRIES_MAX)
    return [LogEntry(**dict(row)) for row in rows]


# ------------------------------------------------------------------------------------------------------- reading the chain


class LogAudit(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of the log; `unsealed`: entries of the last day that wait for their seal. `faults`: (where, what), the first first."""

    seals: int
    entries: int
    unsealed: int
    faults: list[tuple[str, str]]


SQL_FETCH_SEALS: Final[LiteralString] = """
    SELECT number, sealed_at, counties, ids, cardinality(ids) AS entries, encode(digest, 'hex') AS digest, key, sig
    FROM audit_seal ORDER BY number
"""
SQL_FETCH_SEALED: Final[LiteralString] = """
    SELECT l.county, l.id, l.at, l.unit, l.action, l.person, l.device, l.subject, l.detail::text AS detail, l.source, l.request
    FROM unnest($1::integer[], $2::uuid[]) WITH ORDINALITY u (county, id, place)
    LEFT JOIN audit_log l ON l.county = u.county AND l.id = u.id
    ORDER BY u.place
"""
SQL_COUNT_UNSEALED: Final[LiteralString] = """
    SELECT count(*) FILTER (WHERE l.at < $1) AS forgotten, count(*) FILTER (WHERE l.at >= $1) AS fresh, min(l.at) AS first
    FROM audit_log l
    WHERE NOT EXISTS (
        SELECT FROM audit_seal s CROSS JOIN LATERAL unnest(s.counties, s.ids) u (county, id) WHERE u.county = l.county AND u.id = l.id)
"""


async def audit_seals(pool: Pool, heads: dict[str, AuditSeal], is_signed: IsSigned | None) -> LogAudit:
    """The whole chain against the log, and against the heads that went with backups."""
    async with snapshot(pool) as conn:
        faults: list[tuple[str, str]] = []
        seals: dict[int, AuditSeal] = {}
        entries, before = 0, None
        async for seal, found in _chain(conn):
            said = seal_faults(seal, before, found, is_signed)
            faults += [(f"seal {seal.number} of {seal.sealed_at:%Y-%m-%d %H:%M}Z", fault) for fault in said]
            seals[seal.number] = before = seal
            entries += len(found)
        faults += [("backup", fault) for fault in head_faults(heads, seals, is_signed)]
        row = await conn.fetchrow(SQL_COUNT_UNSEALED, before.sealed_at - LOOK_BACK if before else LONG_AGO)
        assert row is not None
        if row["forgotten"]:
            faults.append(
                ("log", f"{row['forgotten']} entries, the first of {row['first']:%Y-%m-%d %H:%M}Z, are in no seal: they were put in later")
            )
    return LogAudit(seals=len(seals), entries=entries, unsealed=row["fresh"], faults=faults)


async def _chain(conn: Connection) -> AsyncIterator[tuple[AuditSeal, list[LogEntry | None]]]:
    """Every seal with its entries as the log has them now."""
    async for row in conn.cursor(SQL_FETCH_SEALS, prefetch=50):
        values: dict[str, Any] = dict(row)
        counties, ids = values.pop("counties"), values.pop("ids")
        found = await conn.fetch(SQL_FETCH_SEALED, counties, ids)
        yield AuditSeal(**values), [LogEntry(**dict(entry)) if entry["id"] is not None else None for entry in found]
