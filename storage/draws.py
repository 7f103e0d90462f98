"""Draws: what is sealed until disclosure, and what everybody may see (docs/draws.md).

The state of a draw is its record, written by the mutation path; here is only what must not travel. What was drawn is nowhere:
it follows from plan, secret, commitment and nonce, and is computed when it is asked for (`drawn_of`).
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

import asyncpg
import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.draw import (
    SECRET_BYTES,
    DrawPlan,
    DrawResult,
    InspectorWanted,
    Published,
    SiteWanted,
    Statement,
    canonical,
    commitment_of,
    digests_of,
    ordered,
    seed_of,
)
from contracts.ids import County, PersonId, RecordId, StreamName, UnitCode, Version
from contracts.kind import Step
from contracts.kinds.draw import Draw
from contracts.problems import Problem, ProblemCode
from storage.pool import Executor
from sync.draw import draw

LINK_TRIES: Final = 20
_NONCE_BYTES: Final = 12
_PLAN: Final = "plan"
_SECRET: Final = "secret"  # noqa: S105 - the name of a part
_DRAW: Final = msgspec.json.Decoder(Draw)


class Seal:
    """AES-256-GCM; what is sealed can be opened only as the same part of the same draw."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def close(self, county: County, draw: RecordId, part: str, content: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, content, _place(county, draw, part))

    def open(self, county: County, draw: RecordId, part: str, sealed: bytes) -> bytes:
        """InvalidTag when it was changed, moved, or sealed with another key."""
        return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _place(county, draw, part))


def _place(county: County, draw: RecordId, part: str) -> bytes:
    return f"xunling-draw/{county}/{draw}/{part}".encode()


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A draw's sealed part, opened. No `secret` before it is committed. Never logged: it has no reason to be."""

    plan: DrawPlan
    secret: bytes | None
    statement: Statement | None


class DrawRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record as it is now."""

    county: County
    id: RecordId
    version: Version
    body: Draw

    def step(self, command: str) -> Step | None:
        """The last time this was done."""
        return next((step for step in reversed(self.body.steps) if step.command == command), None)


def drawn_of(opened: Opened, nonce: str) -> DrawResult:
    """What the draw gives: the same whenever it is asked. The draw is committed and seeded."""
    assert opened.secret is not None
    assert opened.statement is not None
    return draw(opened.plan, seed_of(opened.secret, nonce, opened.statement.commitment))


# ------------------------------------------------------------------------------------------------ sealed


SQL_INSERT_SEALED: Final[LiteralString] = """
    INSERT INTO draw_sealed (county, draw, unit, plan) VALUES ($1, $2, $3, $4) ON CONFLICT (county, draw) DO NOTHING
"""


async def seal_plan(executor: Executor, seal: Seal, plan: DrawPlan) -> bool:
    """Keep the plan of a draw, whose record is there; False when it has one, which stays."""
    sealed = await asyncio.to_thread(_sealed_plan, seal, plan)
    return (await executor.execute(SQL_INSERT_SEALED, plan.county, plan.draw, plan.unit, sealed)).endswith(" 1")


def _sealed_plan(seal: Seal, plan: DrawPlan) -> bytes:
    return seal.close(plan.county, plan.draw, _PLAN, canonical(ordered(plan)))


SQL_FETCH_SEALED: Final[LiteralString] = "SELECT plan, secret, statement FROM draw_sealed WHERE county = $1 AND draw = $2"


async def open_draw(executor: Executor, seal: Seal, county: County, draw: RecordId) -> Opened | None:
    row = await executor.fetchrow(SQL_FETCH_SEALED, county, draw)
    return await asyncio.to_thread(_opened, row, seal, county, draw) if row else None  # a pool may have 100,000 sites


SQL_FETCH_STATEMENT: Final[LiteralString] = "SELECT statement FROM draw_sealed WHERE county = $1 AND draw = $2"


async def fetch_statement(executor: Executor, county: County, draw: RecordId) -> Statement | None:
    """What was stated at its commitment; None before."""
    said = await executor.fetchval(SQL_FETCH_STATEMENT, county, draw)
    return msgspec.json.decode(said, type=Statement) if said else None


SQL_FETCH_KEPT_FILE: Final[LiteralString] = "SELECT file FROM draw_sealed WHERE county = $1 AND draw = $2"


async def fetch_kept_file(executor: Executor, county: County, draw: RecordId) -> bytes | None:
    """The disclosed file, once it was made."""
    file: bytes | None = await executor.fetchval(SQL_FETCH_KEPT_FILE, county, draw)
    return file


def _opened(row: Any, seal: Seal, county: County, draw: RecordId) -> Opened:
    return Opened(
        plan=msgspec.json.decode(seal.open(county, draw, _PLAN, row["plan"]), type=DrawPlan),
        secret=seal.open(county, draw, _SECRET, row["secret"]) if row["secret"] else None,
        statement=msgspec.json.decode(row["statement"], type=Statement) if row["statement"] else None,
    )


SQL_FETCH_CHAIN_END: Final[LiteralString] = """
    SELECT s.commitment FROM draw_sealed s WHERE s.county = $1 AND s.unit = $2 AND s.commitment IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM draw_sealed n
        WHERE n.county = s.county AND n.unit = s.unit AND n.previous = s.commitment AND n.commitment IS NOT NULL
    )
    LIMIT 1
"""
# The first commitment stays: a second one would be a second try at a luckier secret.
SQL_COMMIT_SEALED: Final[LiteralString] = """
    UPDATE draw_sealed SET plan = $3, secret = $4, commitment = $5, statement = $6::json, committed_at = $7, previous = $8
    WHERE county = $1 AND draw = $2 AND commitment IS NULL
"""


async def commit_sealed(executor: Executor, seal: Seal, plan: DrawPlan, stated: Callable[[str], Statement]) -> None:
    """Make the secret and keep it with the statement that commits to it, unless there is one already.

    The plan is linked to the commitment that its unit made before. Two at once want the same link: one tries again.
    """
    for _ in range(LINK_TRIES):
        previous = await executor.fetchval(SQL_FETCH_CHAIN_END, plan.county, plan.unit)
        with suppress(asyncpg.UniqueViolationError):
            return await _commit_linked(executor, seal, msgspec.structs.replace(plan, previous=previous), stated)
    raise Problem(ProblemCode.CONFLICTING_STATE, "该单位另有抽查正在办理，请稍后再试", reason="busy")


async def _commit_linked(executor: Executor, seal: Seal, plan: DrawPlan, stated: Callable[[str], Statement]) -> None:
    secret = secrets.token_bytes(SECRET_BYTES)
    statement = stated(commitment_of(await asyncio.to_thread(digests_of, plan, secret)))
    await executor.execute(
        SQL_COMMIT_SEALED,
        plan.county,
        plan.draw,
        await asyncio.to_thread(_sealed_plan, seal, plan),
        seal.close(plan.county, plan.draw, _SECRET, secret),
        statement.commitment,
        msgspec.json.encode(statement).decode(),
        statement.at,
        plan.previous,
    )


SQL_KEEP_FILE: Final[LiteralString] = """
    UPDATE draw_sealed SET file = $3, disclosed_at = $4 WHERE county = $1 AND draw = $2 AND file IS NULL
"""


async def keep_file(executor: Executor, county: County, draw: RecordId, file: bytes, at: datetime) -> None:
    await executor.execute(SQL_KEEP_FILE, county, draw, file, at)


SQL_FETCH_RECENT: Final[LiteralString] = """
    SELECT s.draw, s.plan, s.secret, s.statement, r.body
    FROM draw_sealed s JOIN record r ON r.county = s.county AND r.id = s.draw
    WHERE s.county = $1 AND s.unit = $2 AND s.committed_at >= $3 AND r.body ->> 'state' IN ('departed', 'disclosed')
    ORDER BY s.committed_at, s.draw
"""


async def fetch_recently_drawn(
    executor: Executor, seal: Seal, county: County, unit: UnitCode, since: datetime
) -> tuple[dict[str, RecordId], dict[str, RecordId]]:
    """Sites and inspectors of the unit's draws that were committed since then and followed -> the draw."""
    rows = await executor.fetch(SQL_FETCH_RECENT, county, unit, since)
    return await asyncio.to_thread(_drawn_in, rows, seal, county)


def _drawn_in(rows: Sequence[Any], seal: Seal, county: County) -> tuple[dict[str, RecordId], dict[str, RecordId]]:
    sites: dict[str, RecordId] = {}
    inspectors: dict[str, RecordId] = {}
    for row in rows:
        body = _DRAW.decode(row["body"])
        if not any(step.command == "draw.depart" for step in body.steps):
            continue
        for visit in drawn_of(_opened(row, seal, county, row["draw"]), body.nonce).visits:
            sites[visit.site] = row["draw"]
            for inspector in visit.inspectors:
                inspectors[inspector] = row["draw"]
    return sites, inspectors


def since_days(now: datetime, days: int) -> datetime:
    return now - timedelta(days=days)


# ------------------------------------------------------------------------------------------------ records


SQL_FETCH_DRAW: Final[LiteralString] = """
    SELECT id, incarnation, version, body FROM record WHERE county = $1 AND id = $2 AND kind = 'draw' AND NOT deleted
"""


async def fetch_draw(executor: Executor, county: County, draw: RecordId) -> DrawRecord | None:
    row = await executor.fetchrow(SQL_FETCH_DRAW, county, draw)
    return _record(row, county) if row else None


SQL_FETCH_DRAWS: Final[LiteralString] = """
    SELECT id, incarnation, version, body, changed_at FROM record
    WHERE county = $1 AND stream = ANY ($2::text[]) AND kind = 'draw' AND NOT deleted AND (changed_at, id) < ($3, $4)
    ORDER BY changed_at DESC, id DESC LIMIT $5
"""
LATEST: Final = (datetime.fromisoformat("9999-12-31T00:00:00+00:00"), UUID(int=2**128 - 1))


async def fetch_draws(
    executor: Executor, county: County, streams: Collection[StreamName], before: tuple[datetime, RecordId], limit: int
) -> tuple[list[DrawRecord], tuple[datetime, RecordId] | None]:
    """The draws of these streams, the last changed first, and where the next page begins."""
    rows = await executor.fetch(SQL_FETCH_DRAWS, county, list(streams), *before, limit)
    end = (rows[-1]["changed_at"], rows[-1]["id"]) if len(rows) == limit else None
    return [_record(row, county) for row in rows], end


def _record(row: Any, county: County) -> DrawRecord:
    return DrawRecord(county=county, id=row["id"], version=(row["incarnation"], row["version"]), body=_DRAW.decode(row["body"]))


SQL_FETCH_POOL_SITES: Final[LiteralString] = """
    SELECT id, body ->> 'name' AS name, body ->> 'unit' AS unit FROM record
    WHERE county = $1 AND id = ANY ($2::uuid[]) AND kind = 'site' AND NOT deleted
"""


async def fetch_pool_sites(executor: Executor, wanted: Sequence[SiteWanted]) -> dict[RecordId, tuple[str, UnitCode]]:
    """(name, unit) of those that exist, each in its county."""
    by_county: dict[County, list[RecordId]] = {}
    for one in wanted:
        by_county.setdefault(one.county, []).append(one.id)
    rows = [row for county, ids in by_county.items() for row in await executor.fetch(SQL_FETCH_POOL_SITES, county, ids)]
    return {row["id"]: (row["name"], row["unit"]) for row in rows}


SQL_FETCH_POOL_PEOPLE: Final[LiteralString] = """
    SELECT DISTINCT p.id, p.name, y.unit
    FROM unnest($1::uuid[], $2::text[]) w (id, unit) JOIN person p ON p.id = w.id
    JOIN duty y ON y.person = p.id AND y.unit = w.unit AND y.starts <= $3 AND (y.ends IS NULL OR y.ends > $3)
    WHERE p.disabled_at IS NULL
"""


async def fetch_pool_people(executor: Executor, wanted: Sequence[InspectorWanted], now: datetime) -> dict[tuple[PersonId, UnitCode], str]:
    """Names of those who have a duty at that unit now."""
    rows = await executor.fetch(SQL_FETCH_POOL_PEOPLE, [w.id for w in wanted], [w.unit for w in wanted], now)
    return {(row["id"], row["unit"]): row["name"] for row in rows}


# ------------------------------------------------------------------------------------------------ public


END: Final = (datetime.fromisoformat("9999-12-31T00:00:00+00:00"), "")

SQL_FETCH_PUBLISHED: Final[LiteralString] = """
    SELECT s.statement, s.disclosed_at, r.body
    FROM draw_sealed s LEFT JOIN record r ON r.county = s.county AND r.id = s.draw
    WHERE s.county = $1 AND s.commitment IS NOT NULL AND (s.committed_at, s.commitment) < ($2, $3)
    ORDER BY s.committed_at DESC, s.commitment DESC LIMIT $4
"""


async def fetch_published(executor: Executor, counties: Collection[County], before: tuple[datetime, str], limit: int) -> list[Published]:
    """Commitments of all counties together, the newest first: no place, no names, no counts."""
    rows = [row for county in sorted(counties) for row in await executor.fetch(SQL_FETCH_PUBLISHED, county, *before, limit)]
    found = [_published(row) for row in rows]
    return sorted(found, key=lambda one: (one.statement.at, one.statement.commitment), reverse=True)[:limit]


def _published(row: Any) -> Published:
    body = _DRAW.decode(row["body"]) if row["body"] else None
    at = {step.command: step.at for step in body.steps} if body else {}
    return Published(
        statement=msgspec.json.decode(row["statement"], type=Statement),
        seeded_at=at.get("draw.seed"),
        nonce_sha256=hashlib.sha256(body.nonce.encode()).hexdigest() if body and body.nonce else None,
        disclosed_at=row["disclosed_at"],
        cancelled_at=at.get("draw.cancel"),
    )


SQL_FETCH_FILE: Final[LiteralString] = "SELECT file FROM draw_sealed WHERE county = $1 AND commitment = $2 AND file IS NOT NULL"


async def fetch_file(executor: Executor, counties: Collection[County], commitment: str) -> bytes | None:
    """The disclosed file, as it was signed. None before disclosure."""
    for county in sorted(counties):
        content = await executor.fetchval(SQL_FETCH_FILE, county, commitment)
        if content is not None:
            return bytes(content)
    return None
