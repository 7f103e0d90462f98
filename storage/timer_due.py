"""Which records timers have to judge, and when: table timer_due, a row for each record of which anything may fall due.

The write of a record marks it in the same transaction (SQL function ledger_write), so nothing that changed is missed, whatever any
clock says. Whoever has judged a record settles the mark that was there when it was read: until the moment at which something will
fall due next, or for good. A record is judged together with the letters about it (storage/families.py), so a letter marks what it is about.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

import msgspec

from contracts.ids import County, RecordId
from storage.pool import Executor, Pool, transaction


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
