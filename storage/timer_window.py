"""What timers look at: records in which something may have become due since the last run, and the letters near them.

Every statement runs on an index and reads what may be due, not what is stored (tests/storage/test_timer_plans.py). What was due before
the window was seen by an earlier run; what made it due since has changed the record since.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString, TypeVar

import msgspec
import structlog

from contracts.ids import County, RecordId
from contracts.kinds.problem import Problem
from contracts.kinds.summons import Summons
from contracts.kinds.supervision import Supervision
from storage.pool import Executor
from sync.colours import ORDER, Letter
from sync.due import Subject, Terms
from sync.places import unit_of

_T = TypeVar("_T")

log = structlog.get_logger("xunling.timers")

DAY: Final = timedelta(days=1)


async def unhurried(things: Iterable[_T]) -> AsyncIterator[_T]:
    """One after the other; between some of them whatever else the worker has to do gets its turn."""
    for k, thing in enumerate(things):
        if k % 100 == 99:
            await asyncio.sleep(0)
        yield thing


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """From when on something may have become due that no run has seen, by the longest terms of all versions.

    changed   by PostgreSQL's clock, as the records have it: whose clock it is that runs the timers does not matter here
    """

    county: County
    since: datetime
    now: datetime
    changed: datetime
    terms: Terms

    @property
    def first(self) -> datetime:
        return self.since - self.terms.after


class Summoned(msgspec.Struct, frozen=True, kw_only=True):
    """A summons with its id."""

    id: RecordId
    summons: Summons


# Whose deadline or suspension ended in the window (or will, for reminders), or that changed in it.
SQL_FETCH_SUBJECTS: Final[LiteralString] = """
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'due_on') BETWEEN $2 AND $3
    UNION ALL
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'state') = 'suspended' AND (body ->> 'suspended_until') BETWEEN $2 AND $3
    UNION ALL
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND changed_at >= $4
"""


async def subjects(executor: Executor, window: Window) -> list[Subject]:
    """Problems that colours or reminders may concern."""
    if not window.terms.published:
        return []
    first, last = window.first - DAY, window.now + window.terms.before + DAY
    return await _subjects(
        await executor.fetch(SQL_FETCH_SUBJECTS, window.county, first.date().isoformat(), last.date().isoformat(), window.changed)
    )


# Suspended until a day that has passed: few are, and not for long.
SQL_FETCH_LAPSED: Final[LiteralString] = """
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'state') = 'suspended' AND (body ->> 'suspended_until') <= $2
"""


async def lapsed(executor: Executor, window: Window) -> list[Subject]:
    """Problems whose suspension may have ended by itself."""
    return await _subjects(await executor.fetch(SQL_FETCH_LAPSED, window.county, (window.now + DAY).date().isoformat()))


# Closed out so lately that a look-back may still be due, or with a look-back day of its own that has come.
SQL_FETCH_CLOSED: Final[LiteralString] = """
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'state') = 'closed_out' AND changed_at >= $2
    UNION ALL
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'state') IN ('closed_out', 'look_back_passed')
      AND (body ->> 'look_back_on') BETWEEN $3 AND $4
"""


async def closed_problems(executor: Executor, window: Window) -> list[Subject]:
    first, last = (window.since - DAY).date().isoformat(), (window.now + DAY).date().isoformat()
    return await _subjects(await executor.fetch(SQL_FETCH_CLOSED, window.county, window.changed, first, last))


# Open with a clock that has run out (the ledger has the first that runs), or changed in the window.
SQL_FETCH_SUMMONSES: Final[LiteralString] = """
    SELECT r.id, r.body FROM ledger_entry e JOIN record r ON r.county = e.county AND r.id = e.record
    WHERE e.county = $1 AND e.kind = 'summons' AND e.is_open AND e.due_at <= $2
    UNION ALL
    SELECT id, body FROM record WHERE county = $1 AND kind = 'summons' AND NOT deleted AND changed_at >= $3
"""


async def summonses(executor: Executor, window: Window) -> list[Summoned]:
    if not window.terms.published:
        return []
    return await _summoned(await executor.fetch(SQL_FETCH_SUMMONSES, window.county, window.now, window.changed))


# About one of the records, with a term that ended in the window, or changed in it.
SQL_FETCH_LETTERS: Final[LiteralString] = """
    SELECT r.id, r.body FROM ledger_entry e JOIN record r ON r.county = e.county AND r.id = e.record
    WHERE e.county = $1 AND e.about = ANY ($2::uuid[]) AND e.kind = 'supervision' AND NOT r.deleted
    UNION ALL
    SELECT r.id, r.body FROM ledger_entry e JOIN record r ON r.county = e.county AND r.id = e.record
    WHERE e.county = $1 AND e.kind = 'supervision' AND e.is_open AND e.due_at BETWEEN $3 AND $4 AND NOT r.deleted
    UNION ALL
    SELECT id, body FROM record WHERE county = $1 AND kind = 'supervision' AND NOT deleted AND changed_at >= $5
"""
SQL_FETCH_CHAIN: Final[LiteralString] = """
    SELECT id, body FROM record WHERE county = $1 AND id = ANY ($2::uuid[]) AND kind = 'supervision' AND NOT deleted
    UNION ALL
    SELECT id, body FROM record WHERE county = $1 AND kind = 'supervision' AND NOT deleted AND (body ->> 'previous') = ANY ($3::text[])
"""


async def letters_near(executor: Executor, window: Window, records: Iterable[Subject | Summoned]) -> list[Letter]:
    """Letters that may be followed or overturned, with those they followed and those that followed them."""
    ids = [one.id for one in records]
    rows = await executor.fetch(SQL_FETCH_LETTERS, window.county, ids, window.first, window.now, window.changed)
    found = {letter.id: letter for letter in await _letters(rows)}
    new = list(found.values())
    for _ in ORDER[1:]:
        before = [one.supervision.previous for one in new if one.supervision.previous not in found]
        rows = await executor.fetch(SQL_FETCH_CHAIN, window.county, [i for i in before if i], [str(one.id) for one in new])
        new = [letter for letter in await _letters(rows) if letter.id not in found]
        found |= {letter.id: letter for letter in new}
    return list(found.values())


async def letters_of(executor: Executor, county: County, abouts: Collection[RecordId]) -> list[Letter]:
    """All letters about these records, or that followed one of these letters."""
    about = await executor.fetch(SQL_FETCH_LETTERS_ABOUT, county, list(abouts))
    after = await executor.fetch(SQL_FETCH_CHAIN, county, [], [str(one) for one in abouts])
    return await _letters([*about, *after])


SQL_FETCH_LETTERS_ABOUT: Final[LiteralString] = """
    SELECT r.id, r.body FROM ledger_entry e JOIN record r ON r.county = e.county AND r.id = e.record
    WHERE e.county = $1 AND e.about = ANY ($2::uuid[]) AND e.kind = 'supervision'
"""
SQL_FETCH_PROBLEMS: Final[LiteralString] = """
    SELECT id, stream, body FROM record WHERE county = $1 AND id = ANY ($2::uuid[]) AND kind = 'problem'
"""


async def problems_of(executor: Executor, county: County, ids: Collection[RecordId]) -> list[Subject]:
    return await _subjects(await executor.fetch(SQL_FETCH_PROBLEMS, county, list(ids)))


SQL_FETCH_THESE_SUMMONSES: Final[LiteralString] = """
    SELECT id, body FROM record WHERE county = $1 AND id = ANY ($2::uuid[]) AND kind = 'summons'
"""


async def summonses_of(executor: Executor, county: County, ids: Collection[RecordId]) -> list[Summoned]:
    return await _summoned(await executor.fetch(SQL_FETCH_THESE_SUMMONSES, county, list(ids)))


async def _subjects(rows: Iterable[Any]) -> list[Subject]:
    found = {row["id"]: row for row in rows}
    return [
        Subject(id=i, unit=unit_of(row["stream"]), problem=body)
        async for i, row in unhurried(found.items())
        if (body := _body(row, Problem))
    ]


async def _summoned(rows: Iterable[Any]) -> list[Summoned]:
    found = {row["id"]: row for row in rows}
    return [Summoned(id=i, summons=body) async for i, row in unhurried(found.items()) if (body := _body(row, Summons))]


async def _letters(rows: Iterable[Any]) -> list[Letter]:
    found = {row["id"]: row for row in rows}
    return [Letter(id=i, supervision=body) async for i, row in unhurried(found.items()) if (body := _body(row, Supervision))]


def _body(row: Any, shape: type[_T]) -> _T | None:
    """None, and a line in the log, for a body that is not of its kind: one bad record keeps no other back."""
    try:
        return msgspec.json.decode(row["body"], type=shape)
    except msgspec.DecodeError as error:
        log.error("body_not_readable", record=str(row["id"]), error=str(error))  # noqa: TRY400 - no traceback is needed
        return None
