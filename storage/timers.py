"""Running the timers of one county: read what may have fallen due, ask sync, write what is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString, TypeVar

import structlog

from contracts.ids import County, RecordId
from storage.office_push import draft, system_push_each, system_sender
from storage.pool import Executor, Pool
from storage.reference import Reference
from storage.rules import fetch_settled_rules
from storage.timer_window import (
    Summoned,
    Window,
    closed_problems,
    lapsed,
    letters_near,
    letters_of,
    problems_of,
    subjects,
    summonses,
    summonses_of,
    unhurried,
)
from sync.colours import About, Called, Colours, Letter, authorities, by_age, key_of, overturned_one
from sync.due import Due, Subject, terms_of
from sync.timers import look_backs, reminders, resumptions

_T = TypeVar("_T")

log = structlog.get_logger("xunling.timers")

LOOK_AGAIN: Final = timedelta(days=2)  # before the last run: a push that committed meanwhile
FIRST_LOOK: Final = timedelta(days=400)  # how far back the very first run looks
BATCH: Final = 100

SQL_FETCH_MADE: Final[LiteralString] = """
    SELECT id FROM record WHERE county = $1 AND id = ANY ($2::uuid[])
"""
SQL_FETCH_DONE: Final[LiteralString] = """
    SELECT DISTINCT mutation FROM journal WHERE county = $1 AND record = ANY ($2::uuid[]) AND mutation = ANY ($3::uuid[]) AND device = $4
"""
# Where the county stands. It is said before the rules are read: who publishes one from then on must begin later.
SQL_LOOK: Final[LiteralString] = """
    INSERT INTO timer_run (county, done_until, looked_until) VALUES ($1, $3, $2)
    ON CONFLICT (county) DO UPDATE SET looked_until = EXCLUDED.looked_until
    RETURNING done_until, read_at, clock_timestamp() AS reading_at
"""
# Also backwards: a clock that ran ahead must not leave days behind that nobody looks at.
SQL_SET_RUN: Final[LiteralString] = "UPDATE timer_run SET done_until = $2, read_at = $3 WHERE county = $1"


SQL_FETCH_MOMENT: Final[LiteralString] = "SELECT clock_timestamp()"


async def fetch_moment(executor: Executor) -> datetime:
    """What time it is by PostgreSQL's clock."""
    return await executor.fetchval(SQL_FETCH_MOMENT)


async def run_timers(pool: Pool, reference: Reference, county: County, now: datetime) -> int:
    """Issue everything that fell due up to `now`; returns how much. Safe to run twice, by two workers, and late."""
    last = await pool.fetchrow(SQL_LOOK, county, now, now - FIRST_LOOK)
    assert last is not None  # RETURNING gives its row
    first_look = last["reading_at"] - FIRST_LOOK
    read_at = max(last["read_at"] or first_look, first_look)  # a write that fails for ever widens the window no further
    book = await fetch_settled_rules(pool)
    terms = terms_of(book, authorities(reference.places, county))
    window = Window(
        county=county, since=min(last["done_until"], now) - LOOK_AGAIN, now=now, changed=read_at - LOOK_AGAIN - terms.after, terms=terms
    )
    run = Run(pool, reference, county, now, Colours(book, reference.places, county))
    found, called_out = await subjects(pool, window), await summonses(pool, window)
    closed = await closed_problems(pool, window)
    called = [*await judged(found, run.of_problem), *await judged(called_out, run.of_summons)]
    others = [
        *await judged(found, lambda one: reminders(book, county, one, now)),
        *await judged(closed, lambda one: look_backs(book, county, one, now)),
    ]
    await run.issue(await judged(await lapsed(pool, window), lambda one: resumptions(one, now)))
    await run.issue([*await run.wanted(called), *others])
    while await run.follow(await letters_near(pool, window, [*found, *called_out])):
        pass  # a letter may be followed by the next colour within the same downtime
    await pool.execute(SQL_SET_RUN, county, min([now, *run.failed]), read_at if run.failed else last["reading_at"])
    return run.issued


async def judged(records: Iterable[Any], judge: Callable[[Any], Iterable[_T]]) -> list[_T]:
    """What follows from each. One that cannot be judged is logged, and keeps no other back."""
    found: list[_T] = []
    async for record in unhurried(records):
        try:
            found += judge(record)
        except Exception as error:
            log.exception("record_not_judged", record=str(getattr(record, "id", record)), error=type(error).__name__)
    return found


class Run:
    """One run: what it issued, and the moments of what the server failed at, from which the next run begins."""

    def __init__(self, pool: Pool, reference: Reference, county: County, now: datetime, colours: Colours) -> None:
        self.pool, self.reference, self.county, self.now, self.colours = pool, reference, county, now, colours
        self.issued = 0
        self.failed: list[datetime] = []

    def of_problem(self, subject: Subject) -> list[Called]:
        return self.colours.of_problem(subject, self.now)

    def of_summons(self, summoned: Summoned) -> list[Called]:
        return self.colours.of_summons(summoned.id, summoned.summons, self.now)

    async def wanted(self, called: Sequence[Called]) -> list[Due]:
        """Without those for which there is a letter, under whatever moment an earlier calendar or rule gave it."""
        made = await _made(self.pool, self.county, [one.id for one in called])
        new = [one for one in called if one.id not in made]
        there = {key_of(letter) for letter in await letters_of(self.pool, self.county, [one.about for one in new])} if new else set()
        return [self.colours.issue(one) for one in new if one.key not in there]

    async def follow(self, letters: Sequence[Letter]) -> int:
        """What letters call for: the next colour, or that they be lifted; returns how much was done."""
        ids = {one.supervision.subject_record for one in letters if one.supervision.subject_record is not None}
        abouts: dict[RecordId, Subject | Summoned] = {s.id: s for s in await problems_of(self.pool, self.county, ids)}
        abouts |= {s.id: s for s in await summonses_of(self.pool, self.county, ids)}
        grounds = [
            *await judged((s for s in abouts.values() if isinstance(s, Subject)), self.of_problem),
            *await judged((s for s in abouts.values() if isinstance(s, Summoned)), self.of_summons),
        ]
        beside: dict[RecordId, About] = {i: s if isinstance(s, Subject) else (i, s.summons) for i, s in abouts.items()}
        next_ones = await judged(letters, lambda one: self.colours.after_letter(one, beside.get(one.supervision.subject_record), self.now))
        keys = {one.key for one in (*grounds, *next_ones)}
        known, groundless = beside | {one.id: None for one in letters}, set[RecordId]()
        lost = await judged(by_age(letters, self.now), lambda one: overturned_one(one, keys, known, groundless, self.now))
        gone = {one.record for one in lost}
        next_ones = [one for one in next_ones if one.about not in gone]
        return await self.issue([*await self.wanted(next_ones), *lost])

    async def issue(self, due: Sequence[Due]) -> int:
        """Push what is not there yet, oldest moment first."""
        wanted = {one.mutation_id(): one for one in sorted(due, key=lambda one: one.moment)}
        made = await _made(self.pool, self.county, [one.record for one in wanted.values()])
        done = await self._done(wanted)
        new = {m: one for m, one in wanted.items() if m not in done and not (one.op == "create" and one.record in made)}
        drafts = [self._draft(one) for one in new.values() if not one.is_captured]
        written = 0
        for one in (one for one in new.values() if one.is_captured):
            written += await system_push_each(self.pool, self.reference, self.county, [self._draft(one)], self.now, one.moment)
        for k in range(0, len(drafts), BATCH):
            written += await system_push_each(self.pool, self.reference, self.county, drafts[k : k + BATCH], self.now)
        if written < len(new):
            kept = await self._done(new)
            self.failed += [one.moment for m, one in new.items() if m not in kept]
        self.issued += written
        return written

    async def _done(self, wanted: dict[RecordId, Due]) -> set[RecordId]:
        records = [one.record for one in wanted.values()]
        return {
            row["mutation"]
            for row in await self.pool.fetch(SQL_FETCH_DONE, self.county, records, list(wanted), system_sender(self.county).device)
        }

    def _draft(self, one: Due) -> Any:
        return draft(
            kind=one.kind,
            record=one.record,
            op=one.op,
            now=self.now,
            mutation=one.mutation_id(),
            body=one.body,
            fields=one.fields,
            args=one.args,
        )


async def _made(executor: Executor, county: County, records: Sequence[RecordId]) -> set[RecordId]:
    return {row["id"] for row in await executor.fetch(SQL_FETCH_MADE, county, records)}
