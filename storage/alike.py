"""Problems of which the pictures look alike may be the same one, reported twice: suggested, never linked (sync/links.py).

The photo job asks when it has looked at a picture; a timer asks again for problems that changed, because a problem may be
opened, or disclosed, long after its photos were looked at. Only pictures of what was found count: that two places look alike after
they were fixed says nothing. What is suggested goes the one way that everything goes, and is judged there again.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import msgspec
import structlog

from contracts.ids import County, RecordId, derived_mutation_id, problem_id
from storage.office_push import draft, system_push_each
from storage.pictures import fetch_look, fetch_near
from storage.pool import Executor, Pool, is_passing
from storage.reference import Reference
from sync.links import DISTINCT, RELATED, SUSPECTED
from sync.secrecy import share_sight

BATCH: Final = 200
LOOK_AGAIN: Final = timedelta(minutes=5)  # before the mark: a push that committed meanwhile

log = structlog.get_logger("xunling.alike")

# The row is made by the timers of the county (storage/timers.py); until then there is no mark, and all is looked at.
SQL_FETCH_MARK: Final[LiteralString] = "SELECT alike_until FROM timer_run WHERE county = $1"
SQL_SET_MARK: Final[LiteralString] = "UPDATE timer_run SET alike_until = $2 WHERE county = $1"
SQL_FETCH_CHANGED: Final[LiteralString] = """
    SELECT id, changed_at FROM record
    WHERE county = $1 AND kind = 'problem' AND NOT deleted AND changed_at BETWEEN $2 AND clock_timestamp() AND (changed_at, id) > ($2, $3)
    ORDER BY changed_at, id LIMIT $4
"""
_FIRST: Final = (datetime.fromisoformat("2000-01-01T00:00:00+00:00"), RecordId(int=0))


async def suggest_for_changed(pool: Pool, reference: Reference, county: County, now: datetime) -> None:
    """For problems that were made or changed since the last run, oldest first: whoever dies on the way goes on from there."""
    mark = await pool.fetchval(SQL_FETCH_MARK, county)
    since, after = (mark - LOOK_AGAIN, _FIRST[1]) if mark else _FIRST
    while found := await pool.fetch(SQL_FETCH_CHANGED, county, since, after, BATCH):
        for row in found:
            await _suggest_alone(pool, reference, county, row["id"], now)
        since, after = found[-1]["changed_at"], found[-1]["id"]
        await pool.execute(SQL_SET_MARK, county, since)


async def _suggest_alone(pool: Pool, reference: Reference, county: County, problem: RecordId, now: datetime) -> None:
    """One that cannot be looked at is logged, and keeps no other back."""
    try:
        await suggest_for(pool, reference, county, problem, now)
    except Exception as error:
        if is_passing(error):
            raise
        log.exception("not_compared", county=county, record=str(problem), error=type(error).__name__)


# Of a picture that was announced and sent: what it was taken for.
SQL_FETCH_SHOWING: Final[LiteralString] = """
    SELECT DISTINCT r.parent, p.kind, r.body ->> 'item' AS item, p.body ->> 'problem' AS problem
    FROM blob_announcement a
    JOIN record r ON r.county = a.county AND r.id = a.photo AND r.kind = 'photo' AND NOT r.deleted
    JOIN record p ON p.county = r.county AND p.id = r.parent AND NOT p.deleted
    JOIN blob_sending s ON s.county = a.county AND s.sha256 = a.sha256 AND s.person = a.person AND s.sent_at IS NOT NULL
    WHERE a.county = $1 AND a.sha256 = ANY ($2::text[]) AND coalesce(r.body ->> 'purpose', 'evidence') IN ('evidence', 'before')
"""


async def problems_showing(executor: Executor, county: County, sha256s: Collection[str]) -> set[RecordId]:
    """The problems that these pictures were taken of, whether or not they have been opened yet."""
    rows = await executor.fetch(SQL_FETCH_SHOWING, county, list(sha256s))
    return {found for row in rows if (found := _problem_of(row)) is not None}


def _problem_of(row: Any) -> RecordId | None:
    match row["kind"]:
        case "problem":
            return RecordId(str(row["parent"]))
        case "assignment" if row["problem"]:
            return RecordId(row["problem"])
        case "inspection" if row["item"]:
            return problem_id(row["parent"], row["item"])
        case _:
            return None


SQL_FETCH_SHOWN: Final[LiteralString] = """
    SELECT DISTINCT s.sha256 FROM record q CROSS JOIN LATERAL (
        SELECT r.body ->> 'sha256' AS sha256, r.body ->> 'purpose' AS purpose FROM record r
        WHERE r.county = $1 AND r.parent = q.id AND r.kind = 'photo' AND NOT r.deleted AND r.body ->> 'rendered' = 'true'
        UNION ALL
        SELECT r.body ->> 'sha256', r.body ->> 'purpose' FROM record r
        WHERE r.county = $1 AND r.parent = (q.body ->> 'inspection')::uuid AND r.kind = 'photo' AND NOT r.deleted
          AND r.body ->> 'rendered' = 'true' AND (r.body ->> 'item') = (q.body ->> 'item')) s
    WHERE q.county = $1 AND q.id = $2 AND coalesce(s.purpose, 'evidence') IN ('evidence', 'before')
"""
SQL_FETCH_PROBLEMS: Final[LiteralString] = """
    SELECT id, stream, body FROM record WHERE county = $1 AND id = ANY ($2::uuid[]) AND kind = 'problem' AND NOT deleted
"""


class _Named(msgspec.Struct, frozen=True):
    """Of a problem: those of which it is known already how they stand to it."""

    related: list[str] = []
    suspected_duplicates: list[str] = []
    distinct: list[str] = []

    def has(self, other: RecordId) -> bool:
        return any(str(other) in getattr(self, name) for name in (RELATED, SUSPECTED, DISTINCT))


async def suggest_for(pool: Pool, reference: Reference, county: County, problem: RecordId, now: datetime) -> None:
    """Suggest every problem that a picture of this one looks like. Repeated harmlessly: one pair is one mutation."""
    shown = [row["sha256"] for row in await pool.fetch(SQL_FETCH_SHOWN, county, problem)]
    alike = {near for sha256 in shown for near in await _like(pool, county, sha256)}
    others = (await problems_showing(pool, county, alike) if alike else set[RecordId]()) - {problem}
    if not others:
        return
    rows = {row["id"]: row for row in await pool.fetch(SQL_FETCH_PROBLEMS, county, [problem, *others])}
    mine = rows.pop(problem, None)
    if mine is None:
        return
    named = msgspec.json.decode(mine["body"], type=_Named)
    new = [other for other, row in sorted(rows.items()) if share_sight(mine["stream"], row["stream"]) and not named.has(other)]
    drafts = [
        draft(
            kind="problem",
            record=problem,
            op="problem.suspect",
            now=now,
            mutation=derived_mutation_id("alike", *sorted((str(problem), str(other)))),
            args={"other": str(other), "because": "picture"},
        )
        for other in new
    ]
    if drafts:
        await system_push_each(pool, reference, county, drafts, now)


async def _like(executor: Executor, county: County, sha256: str) -> set[str]:
    """The picture itself, which may have been taken for something else too, and those that look like it."""
    look = await fetch_look(executor, county, sha256)
    return {sha256} | ({near.sha256 for near in await fetch_near(executor, county, sha256, look)} if look else set())
