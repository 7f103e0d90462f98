"""Running the timers of one county: read what may have fallen due, ask sync.timers, write what is not there yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import msgspec

from contracts.ids import County, RecordId
from contracts.kinds.problem import Problem
from contracts.kinds.summons import Summons
from contracts.kinds.supervision import Supervision
from storage.office_push import draft, system_push
from storage.pool import Executor, Pool
from storage.reference import Reference
from sync.places import unit_of
from sync.timers import (
    Due,
    Letter,
    Subject,
    colour_letters,
    look_backs,
    next_colours,
    overturned,
    reminders,
    summons_letters,
)

LOOK_AGAIN: Final = timedelta(days=2)  # before the last run: a push that committed meanwhile, a clock that was set back
TERM_MAX: Final = timedelta(days=400)  # no rule waits longer (contracts/rules.py bounds working days)
BATCH: Final = 100

# Problems whose deadline lies in the window in which a term may have ended since the last run, or that changed since then.
SQL_FETCH_SUBJECTS: Final[LiteralString] = """
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'due_on') BETWEEN $2 AND $3
    UNION ALL
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND changed_at >= $4
"""
SQL_FETCH_CLOSED: Final[LiteralString] = """
    SELECT id, stream, body FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND (body ->> 'state') = 'closed_out'
"""
SQL_FETCH_SUMMONSES: Final[LiteralString] = """
    SELECT id, body FROM record
    WHERE county = $1 AND kind = 'summons' AND NOT deleted
      AND ((body ->> 'state') IN ('called', 'signed', 'reported_in') OR changed_at >= $2)
"""
SQL_FETCH_LETTERS: Final[LiteralString] = """
    SELECT id, body FROM record
    WHERE county = $1 AND kind = 'supervision' AND NOT deleted AND ((body ->> 'state') <> 'lifted' OR changed_at >= $2)
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
    since = (done_until or now - TERM_MAX) - LOOK_AGAIN
    subjects = await _subjects(pool, county, since, now)
    letters = await _letters(pool, county, since)
    summonses = [(r["id"], _body(r, Summons)) for r in await pool.fetch(SQL_FETCH_SUMMONSES, county, since)]
    closed = [_subject(r) for r in await pool.fetch(SQL_FETCH_CLOSED, county)]
    book = reference.rules
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
        await system_push(pool, reference, county, drafts, now)
    return len(new)


async def _subjects(executor: Executor, county: County, since: datetime, now: datetime) -> list[Subject]:
    first = (since - TERM_MAX).date().isoformat()
    last = (now + TERM_MAX).date().isoformat()
    rows = await executor.fetch(SQL_FETCH_SUBJECTS, county, first, last, since)
    return list({row["id"]: _subject(row) for row in rows}.values())


SQL_FETCH_PROBLEMS: Final[LiteralString] = """
    SELECT id, stream, body FROM record WHERE county = $1 AND id = ANY ($2::uuid[]) AND kind = 'problem'
"""


async def _problems_of(executor: Executor, county: County, letters: Iterable[Letter]) -> list[Subject]:
    ids: list[RecordId] = [one.supervision.subject_record for one in letters if one.supervision.subject_record is not None]
    return [_subject(row) for row in await executor.fetch(SQL_FETCH_PROBLEMS, county, ids)]


async def _letters(executor: Executor, county: County, since: datetime) -> list[Letter]:
    rows = await executor.fetch(SQL_FETCH_LETTERS, county, since)
    return [Letter(id=row["id"], supervision=_body(row, Supervision)) for row in rows]


def _subject(row: Any) -> Subject:
    return Subject(id=row["id"], unit=unit_of(row["stream"]), problem=_body(row, Problem))


def _body(row: Any, shape: type[Any]) -> Any:
    return msgspec.json.decode(row["body"], type=shape)
