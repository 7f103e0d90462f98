"""Running the timers of one county: read what has fallen due or changed, ask sync, write what is not there yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString

import structlog

from contracts.ids import County, RecordId
from storage.families import fetch_families, unhurried
from storage.office_push import draft, system_push_each, system_sender
from storage.pool import Executor, Pool
from storage.reference import Reference
from storage.rules import fetch_settled_rules
from storage.timer_due import Mark, fetch_due, judge_by, settle
from sync.colours import Colours
from sync.due import Due, Family, basis_of
from sync.judging import Judged, judge
from sync.rules import RuleBook

log = structlog.get_logger("xunling.timers")

FAMILIES: Final = 500  # judged at a time
BATCH: Final = 100

SQL_FETCH_MADE: Final[LiteralString] = """
    SELECT id FROM record WHERE county = $1 AND id = ANY ($2::uuid[])
"""
SQL_FETCH_DONE: Final[LiteralString] = """
    SELECT DISTINCT mutation FROM journal WHERE county = $1 AND record = ANY ($2::uuid[]) AND mutation = ANY ($3::uuid[]) AND device = $4
"""
# Where the county stands. It is said before the rules are read: who publishes one from then on must begin later.
SQL_LOOK: Final[LiteralString] = """
    INSERT INTO timer_run (county, done_until, looked_until) VALUES ($1, to_timestamp(0), $2)
    ON CONFLICT (county) DO UPDATE SET looked_until = EXCLUDED.looked_until
    RETURNING clock_timestamp()
"""
SQL_SET_RUN: Final[LiteralString] = "UPDATE timer_run SET done_until = $2, read_at = $3 WHERE county = $1"


SQL_FETCH_MOMENT: Final[LiteralString] = "SELECT clock_timestamp()"


async def fetch_moment(executor: Executor) -> datetime:
    """What time it is by PostgreSQL's clock."""
    return await executor.fetchval(SQL_FETCH_MOMENT)


async def run_timers(pool: Pool, reference: Reference, county: County, now: datetime) -> int:
    """Issue everything that fell due up to `now`; returns how much. Safe to run twice, by two workers, and late."""
    reading_at = await pool.fetchval(SQL_LOOK, county, now)
    book = await fetch_settled_rules(pool)
    basis = basis_of(book, reference.places)
    await judge_by(pool, county, basis, now)
    run = Run(pool, reference, county, now, book, basis)
    while await run.round():
        pass  # what was issued may be followed within the same downtime
    if not run.failed:
        await pool.execute(SQL_SET_RUN, county, now, reading_at)
    return run.issued


class Run:
    """One run: what it issued, and whether anything was left over that the server failed at, which the next run takes up."""

    def __init__(self, pool: Pool, reference: Reference, county: County, now: datetime, book: RuleBook, basis: str) -> None:
        self.pool, self.reference, self.county, self.now, self.book, self.basis = pool, reference, county, now, book, basis
        self.colours = Colours(book, reference.places, county)
        self.issued, self.failed = 0, False

    async def round(self) -> int:
        """Judge and settle whatever is due by now; returns how much was written, which is due again."""
        marks, before = await fetch_due(self.pool, self.county, self.now), self.issued
        for k in range(0, len(marks), FAMILIES):
            await self._judge(marks[k : k + FAMILIES])
        return self.issued - before

    async def _judge(self, marks: Sequence[Mark]) -> None:
        by_record = {mark.record: mark for mark in marks}
        judged: list[tuple[Mark, Judged]] = []
        async for family in unhurried(await fetch_families(self.pool, self.county, list(by_record))):
            try:
                judged.append((by_record[family.root], self.judge(family)))
            except Exception as error:  # one that cannot be judged keeps no other back
                log.exception("record_not_judged", record=str(family.root), error=type(error).__name__)
        self.failed = self.failed or len(judged) < len(marks)  # their marks stay, and the next run tries again
        left = await self.issue([due for _, one in judged for due in one.due])
        done = [(mark, one.next_at) for mark, one in judged if left.isdisjoint(due.mutation_id() for due in one.due)]
        await settle(self.pool, self.county, self.basis, done)

    def judge(self, family: Family) -> Judged:
        return judge(family, self.book, self.colours, self.county, self.now)

    async def issue(self, due: Sequence[Due]) -> set[RecordId]:
        """Push what is not there yet, oldest moment first; returns the mutations that the server failed at."""
        wanted = {one.mutation_id(): one for one in sorted(due, key=lambda one: one.moment)}
        made = await self._made([one.record for one in wanted.values()])
        done = await self._done(wanted)
        new = {m: one for m, one in wanted.items() if m not in done and not (one.op == "create" and one.record in made)}
        drafts = [self._draft(one) for one in new.values() if not one.is_captured]
        written = 0
        for one in (one for one in new.values() if one.is_captured):
            written += await system_push_each(self.pool, self.reference, self.county, [self._draft(one)], self.now, one.moment)
        for k in range(0, len(drafts), BATCH):
            written += await system_push_each(self.pool, self.reference, self.county, drafts[k : k + BATCH], self.now)
        self.issued += written
        left = new.keys() - await self._done(new) if written < len(new) else set[RecordId]()
        self.failed = self.failed or bool(left)
        return left

    async def _made(self, records: Collection[RecordId]) -> set[RecordId]:
        rows = await self.pool.fetch(SQL_FETCH_MADE, self.county, list(records)) if records else []
        return {row["id"] for row in rows}

    async def _done(self, wanted: dict[RecordId, Due]) -> set[RecordId]:
        records = [one.record for one in wanted.values()]
        device = system_sender(self.county).device
        rows = await self.pool.fetch(SQL_FETCH_DONE, self.county, records, list(wanted), device) if wanted else []
        return {row["mutation"] for row in rows}

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
