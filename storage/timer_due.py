"""Which records timers have to judge, and when: table timer_due, a row for each record of which anything may fall due.

The write of a record marks it in the same transaction (SQL function ledger_write), so nothing that changed is missed, whatever any
clock says. Whoever has judged a record settles the mark that was there when it was read: until the moment at which something will
fall due next, or for good. A record is judged together with the letters about it (sync/judging.py), so a letter marks what it is about.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable
from datetime import datetime
from typing import Any, Final, LiteralString, TypeVar
from uuid import UUID

import msgspec
import structlog

from contracts.ids import County, RecordId
from contracts.kinds.problem import Problem
from contracts.kinds.summons import Summons
from contracts.kinds.supervision import Supervision
from contracts.kinds.whistle import Whistle
from contracts.stored import read_stored
from storage.pool import Executor, Pool, transaction
from sync.due import GONE, About, Ended, Family, Letter, Subject, Summoned, ended
from sync.places import unit_of

_T = TypeVar("_T")
_Body = TypeVar("_Body", bound=msgspec.Struct)

log = structlog.get_logger("xunling.timers")


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is to be judged. `mark`: another one after each change of it, or of a letter about it."""

    record: RecordId
    mark: UUID


# What a new rule, unit or holiday can concern: what is open, what may still be written about because of what it once was, what has a
# moment to come, and what was dated ahead by a clock that was wrong.
SQL_SET_BASIS: Final[LiteralString] = """
    UPDATE timer_run SET judged_by = $2 WHERE county = $1 AND judged_by IS DISTINCT FROM $2 RETURNING county
"""
SQL_MARK_ALL: Final[LiteralString] = """
    INSERT INTO timer_due (county, record, due_at)
    SELECT $1, w.record, '-infinity' FROM (
        SELECT e.record FROM ledger_entry e WHERE e.county = $1 AND e.kind IN ('problem', 'summons', 'whistle') AND e.is_open
        UNION
        SELECT coalesce(e.about, e.record) FROM ledger_entry e WHERE e.county = $1 AND e.kind = 'supervision' AND e.is_open
        UNION
        SELECT e.record FROM ledger_entry e WHERE e.county = $1 AND e.kind = 'problem' AND (e.returns > 0 OR e.rebounds > 0)
        UNION
        SELECT e.record FROM ledger_entry e WHERE e.county = $1 AND e.kind = 'problem' AND e.changed_at > $2
        UNION
        SELECT d.record FROM timer_due d WHERE d.county = $1) w
    ORDER BY w.record
    ON CONFLICT (county, record) DO UPDATE SET due_at = EXCLUDED.due_at, mark = EXCLUDED.mark
"""


async def judge_by(pool: Pool, county: County, basis: str, now: datetime) -> None:
    """From now on by these rules and units. Where they are others than before, whatever they can concern is judged again."""
    async with transaction(pool) as conn:
        if await conn.fetchval(SQL_SET_BASIS, county, basis) is not None:
            await conn.execute(SQL_MARK_ALL, county, now)


SQL_FETCH_DUE: Final[LiteralString] = "SELECT record, mark FROM timer_due WHERE county = $1 AND due_at <= $2"


async def fetch_due(executor: Executor, county: County, now: datetime) -> list[Mark]:
    return [Mark(record=row["record"], mark=row["mark"]) for row in await executor.fetch(SQL_FETCH_DUE, county, now)]


SQL_FETCH_ROOTS: Final[LiteralString] = """
    SELECT id, kind, stream, deleted, body FROM record
    WHERE county = $1 AND id = ANY ($2::uuid[]) AND kind IN ('problem', 'summons', 'whistle')
"""
SQL_FETCH_LETTERS: Final[LiteralString] = """
    SELECT e.about AS root, r.id, r.body FROM ledger_entry e JOIN record r ON r.county = e.county AND r.id = e.record
    WHERE e.county = $1 AND e.about = ANY ($2::uuid[]) AND e.kind = 'supervision' AND NOT r.deleted
    UNION ALL
    SELECT e.record AS root, r.id, r.body FROM ledger_entry e JOIN record r ON r.county = e.county AND r.id = e.record
    WHERE e.county = $1 AND e.record = ANY ($2::uuid[]) AND e.about IS NULL AND e.kind = 'supervision' AND NOT r.deleted
"""


async def fetch_families(executor: Executor, county: County, records: Collection[RecordId]) -> list[Family]:
    """The records with all letters about them."""
    abouts: dict[RecordId, tuple[About, Ended | None]] = {
        row["id"]: _about(row) async for row in unhurried(await executor.fetch(SQL_FETCH_ROOTS, county, list(records)))
    }
    letters: dict[RecordId, list[Letter]] = defaultdict(list)
    async for row in unhurried(await executor.fetch(SQL_FETCH_LETTERS, county, list(records))):
        body = _body(row, Supervision)
        if body is not None:
            letters[row["root"]].append(Letter(id=row["id"], supervision=body))
    found = []
    for root in records:
        about, end = abouts.get(root, (None, None))
        found.append(Family(root=root, about=about, ended=end, letters=letters.get(root, [])))
    return found


def _about(row: Any) -> tuple[About, Ended | None]:
    """(what it is, if it has terms of its own and can be read; whether it has ended)."""
    if row["deleted"]:
        return None, GONE
    match row["kind"]:
        case "problem" if (problem := _body(row, Problem)) is not None:
            return Subject(id=row["id"], unit=unit_of(row["stream"]), problem=problem), ended("problem", problem.state, problem.steps)
        case "summons" if (summons := _body(row, Summons)) is not None:
            return Summoned(id=row["id"], summons=summons), ended("summons", summons.state, summons.steps)
        case "whistle" if (whistle := _body(row, Whistle)) is not None:
            return None, ended("whistle", whistle.state, whistle.steps)
        case _:
            return None, None


def _body(row: Any, shape: type[_Body]) -> _Body | None:
    """None, and a line in the log, for a body that is not of its kind: one bad record keeps no other back."""
    try:
        return read_stored(row["body"], shape)
    except msgspec.DecodeError as error:
        log.error("body_not_readable", record=str(row["id"]), error=str(error))  # noqa: TRY400 - no traceback is needed
        return None


# Whoever changes the basis waits for those who settle, and they for him: what was judged by another basis settles nothing.
SQL_HOLD_BASIS: Final[LiteralString] = "SELECT county FROM timer_run WHERE county = $1 AND judged_by = $2 FOR SHARE"
# Locked in the order in which everybody locks them. A row that was marked meanwhile has another mark, and stays.
SQL_SETTLE: Final[LiteralString] = """
    WITH held AS MATERIALIZED (
        SELECT d.record, u.next_at FROM timer_due d
        JOIN unnest($2::uuid[], $3::uuid[], $4::timestamptz[]) u (record, mark, next_at) ON d.record = u.record AND d.mark = u.mark
        WHERE d.county = $1 AND d.record = ANY ($2::uuid[]) ORDER BY d.record FOR UPDATE OF d),
    gone AS (
        DELETE FROM timer_due d USING held WHERE d.county = $1 AND d.record = held.record AND held.next_at IS NULL)
    UPDATE timer_due d SET due_at = held.next_at FROM held WHERE d.county = $1 AND d.record = held.record AND held.next_at IS NOT NULL
"""


async def settle(pool: Pool, county: County, basis: str, judged: Collection[tuple[Mark, datetime | None]]) -> None:
    """These need not be judged before their moment; None: not before they change."""
    marks, moments = [mark for mark, _ in judged], [moment for _, moment in judged]
    async with transaction(pool) as conn:
        if await conn.fetchval(SQL_HOLD_BASIS, county, basis) is not None:
            await conn.execute(SQL_SETTLE, county, [one.record for one in marks], [one.mark for one in marks], moments)


async def unhurried(things: Iterable[_T]) -> AsyncIterator[_T]:
    """One after the other; between some of them whatever else the worker has to do gets its turn."""
    for k, thing in enumerate(things):
        if k % 100 == 99:
            await asyncio.sleep(0)
        yield thing
