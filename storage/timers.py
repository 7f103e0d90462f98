"""Running the timers of one county: read what may have fallen due, ask sync.timers, write what is not there yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString, TypeVar

import msgspec
import structlog

from contracts.ids import County, RecordId
from contracts.kinds.problem import Problem
from contracts.kinds.summons import Summons
from contracts.kinds.supervision import Supervision
from storage.office_push import draft, system_push_each
from storage.pool import Executor, Pool
from storage.reference import Reference
from sync.places import unit_of
from sync.timers import (
    Due,
    Letter,
    Subject,
    Terms,
    colour_letters,
    look_backs,
    next_colours,
    overturned,
    reminders,
    summons_letters,
    terms_of,
)

_T = TypeVar("_T")

log = structlog.get_logger("xunling.timers")

LOOK_AGAIN: Final = timedelta(days=2)  # before the last run: a push that committed meanwhile, a clock that was set back
FIRST_LOOK: Final = timedelta(days=400)  # how far back the very first run looks
DAY: Final = timedelta(days=1)
BATCH: Final = 100

# Problems whose deadline lies in the window in which a term may have ended since the last run, or that changed since then.
SQL_FETCH_SUBJECTS: Final[LiteralString] = """
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'due_on') BETWEEN $2 AND $3
    UNION ALL
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND changed_at >= $4
"""
# Closed out so lately that a look-back may still be due, or with a look-back day of its own that has come.
SQL_FETCH_CLOSED: Final[LiteralString] = """
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'state') = 'closed_out' AND changed_at >= $2
    UNION ALL
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'state') = 'closed_out'
      AND (body ->> 'look_back_on') BETWEEN $3 AND $4
"""
SQL_FETCH_SUMMONSES: Final[LiteralString] = """
    SELECT id, body FROM record
    WHERE county = $1 AND kind = 'summons' AND NOT deleted
      AND ((body ->> 'state') IN ('called', 'signed', 'reported_in') OR changed_at >= $2)
"""
SQL_FETCH_LETTERS: Final[LiteralString] = """
    SELECT id, body FROM record
    WHERE county = $1 AND kind = 'supervision' AND NOT deleted AND ((body ->> 'state') <> 'lifted' OR changed_at >= $2
      OR id IN (SELECT (f.body ->> 'previous')::uuid FROM record f  -- what an open letter followed
                WHERE f.county = $1 AND f.kind = 'supervision' AND NOT f.deleted AND (f.body ->> 'state') <> 'lifted'))
"""
SQL_FETCH_MADE: Final[LiteralString] = """
    SELECT id FROM record WHERE county = $1 AND id = ANY ($2::uuid[])
"""
SQL_FETCH_DONE: Final[LiteralString] = """
    SELECT DISTINCT mutation FROM journal WHERE county = $1 AND record = ANY ($2::uuid[]) AND mutation = ANY ($3::uuid[])
"""
SQL_FETCH_RUN: Final[LiteralString] = "SELECT done_until FROM timer_run WHERE county = $1"
SQL_SET_RUN: Final[LiteralString] = """
    INSERT INTO timer_run (county, done_until) VALUES ($1, $2)
    ON CONFLICT (county) DO UPDATE SET done_until = greatest(timer_run.done_until, EXCLUDED.done_until)
"""


async def run_timers(pool: Pool, reference: Reference, county: County, now: datetime) -> int:
    """Issue everything that fell due up to `now`; returns how much. Safe to run twice, by two workers, and late."""
    done_until = await pool.fetchval(SQL_FETCH_RUN, county)
    since = (done_until or now - FIRST_LOOK) - LOOK_AGAIN
    book = reference.rules
    terms = terms_of(book, county)
    subjects = await _subjects(pool, county, since, now, terms)
    closed = await _closed(pool, county, since, now, terms)
    summonses = [(r["id"], body) for r in await pool.fetch(SQL_FETCH_SUMMONSES, county, since) if (body := _body(r, Summons))]
    due: list[Due] = [
        *colour_letters(book, county, subjects, now),
        *summons_letters(book, county, summonses, now),
        *reminders(book, county, subjects, now),
        *look_backs(book, county, closed, now),
    ]
    issued = await _issue(pool, reference, county, due, now)
    # a letter may be followed by the next colour within the same downtime, so this is asked until nothing is left
    while True:
        letters = await _letters(pool, county, since)
        problems = {s.id: s.problem for s in await _problems_of(pool, county, letters)}
        more = [*next_colours(book, county, letters, now), *overturned(letters, problems, now)]
        new = await _issue(pool, reference, county, more, now)
        issued += new
        if new == 0:
            break
    await pool.execute(SQL_SET_RUN, county, now)
    return issued


async def _issue(pool: Pool, reference: Reference, county: County, due: Sequence[Due], now: datetime) -> int:
    """Push what is not there yet, oldest moment first."""
    wanted = {one.mutation_id(): one for one in sorted(due, key=lambda one: one.moment)}
    records = [one.record for one in wanted.values()]
    made = {row["id"] for row in await pool.fetch(SQL_FETCH_MADE, county, records)}
    done = {row["mutation"] for row in await pool.fetch(SQL_FETCH_DONE, county, records, list(wanted))}
    new = [one for mutation, one in wanted.items() if mutation not in done and not (one.op == "create" and one.record in made)]
    issued = 0
    for k in range(0, len(new), BATCH):
        drafts = [
            draft(
                kind=one.kind,
                record=one.record,
                op=one.op,
                now=now,
                mutation=one.mutation_id(),
                body=one.body,
                fields=one.fields,
                args=one.args,
            )
            for one in new[k : k + BATCH]
        ]
        issued += await system_push_each(pool, reference, county, drafts, now)
    return issued


async def _subjects(executor: Executor, county: County, since: datetime, now: datetime, terms: Terms) -> list[Subject]:
    if not terms.published:
        return []
    first, last = (since - terms.after - DAY).date().isoformat(), (now + terms.before + DAY).date().isoformat()
    return _distinct(await executor.fetch(SQL_FETCH_SUBJECTS, county, first, last, since - terms.after))


async def _closed(executor: Executor, county: County, since: datetime, now: datetime, terms: Terms) -> list[Subject]:
    first, last = (since - DAY).date().isoformat(), (now + DAY).date().isoformat()
    return _distinct(await executor.fetch(SQL_FETCH_CLOSED, county, since - terms.after, first, last))


def _distinct(rows: Iterable[Any]) -> list[Subject]:
    found = {row["id"]: _subject(row) for row in rows}
    return [subject for subject in found.values() if subject is not None]


SQL_FETCH_PROBLEMS: Final[LiteralString] = """
    SELECT id, stream, body FROM record WHERE county = $1 AND id = ANY ($2::uuid[]) AND kind = 'problem'
"""


async def _problems_of(executor: Executor, county: County, letters: Iterable[Letter]) -> list[Subject]:
    ids: list[RecordId] = [one.supervision.subject_record for one in letters if one.supervision.subject_record is not None]
    return _distinct(await executor.fetch(SQL_FETCH_PROBLEMS, county, ids))


async def _letters(executor: Executor, county: County, since: datetime) -> list[Letter]:
    rows = await executor.fetch(SQL_FETCH_LETTERS, county, since)
    return [Letter(id=row["id"], supervision=body) for row in rows if (body := _body(row, Supervision))]


def _subject(row: Any) -> Subject | None:
    problem = _body(row, Problem)
    return None if problem is None else Subject(id=row["id"], unit=unit_of(row["stream"]), problem=problem)


def _body(row: Any, shape: type[_T]) -> _T | None:
    """None, and a line in the log, for a body that is not of its kind: one bad record keeps no other back."""
    try:
        return msgspec.json.decode(row["body"], type=shape)
    except msgspec.DecodeError as error:
        log.error("body_not_readable", record=str(row["id"]), error=str(error))  # noqa: TRY400 - no traceback is needed
        return None
