"""How sites stand against their period: a read model beside the records, kept in the transaction that changes them.

site_watch has the active sites, site_seen their submitted inspections without those of unannounced visits, site_last the newest of
each site. So a page costs what it shows, and the totals of a county one walk over narrow rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec

from contracts.ids import County, RecordId, StreamName
from contracts.kinds.plan import Plan
from contracts.stored import read_stored
from storage.pool import Connection, Executor
from storage.reference import Reference
from sync.coverage import Periods, periods_of, terms_in_force
from sync.plans import seasons_of
from sync.state import RecordState

SQL_COVERAGE_WRITE: Final[LiteralString] = "SELECT coverage_write($1, $2::uuid[], $3::uuid[])"


async def write_coverage(conn: Connection, county: County, records: Iterable[RecordState]) -> None:
    """After the records themselves. Costs nothing where no site and no submitted inspection is among them."""
    sites = [r.id for r in records if r.kind == "site"]
    inspections = [r.id for r in records if r.kind == "inspection" and b'"submitted_at"' in r.body]
    if sites or inspections:
        await conn.execute(SQL_COVERAGE_WRITE, county, sites, inspections)


SQL_FETCH_COUNTED: Final[LiteralString] = """
    SELECT id, kind, seq FROM record
    WHERE county = $1 AND stream = $2 AND seq > $3 AND kind IN ('site', 'inspection') ORDER BY seq LIMIT $4
"""


async def recount(conn: Connection, county: County, stream: StreamName, after: int, limit: int) -> int:
    """Count a part of a stream anew; returns the seq it came to, or -1 at the end. Its head is locked meanwhile."""
    found = await conn.fetch(SQL_FETCH_COUNTED, county, stream, after, limit)
    ids = {kind: [row["id"] for row in found if row["kind"] == kind] for kind in ("site", "inspection")}
    await conn.execute(SQL_COVERAGE_WRITE, county, ids["site"], ids["inspection"])
    return found[-1]["seq"] if len(found) == limit else -1


SQL_FETCH_ACTIVE_PLANS: Final[LiteralString] = """
    SELECT body FROM record
    WHERE county = $1 AND kind = 'plan' AND NOT deleted AND (body ->> 'state') = 'active'
"""


async def fetch_periods(executor: Executor, reference: Reference, county: County, streams: Sequence[StreamName], today: date) -> Periods:
    """What the plans ask for that were made in the county, and by whoever is above it."""
    places = reference.places
    above = {county} | {upper for unit in places.line(str(county)) if (upper := places.county_of(unit)) is not None}
    asked = []
    for made_in in sorted(above):
        rows = await executor.fetch(SQL_FETCH_ACTIVE_PLANS, made_in)
        plans = [read_stored(row["body"], Plan) for row in rows]
        asked += terms_in_force(plans, seasons_of(reference.rules, made_in), today)
    return periods_of(asked, frozenset(streams), places)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One active site. `period_days` None: nobody has set how often it must be seen, and nothing is judged."""

    site: RecordId
    stream: StreamName
    name: str
    period_days: int | None
    seen_at: datetime | None
    is_covered: bool | None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    with_period: int
    covered: int
    without_period: int


# Days are told in China; a site is covered on the last day of its period.
_STANDING: Final[LiteralString] = """
    FROM site_watch w
    LEFT JOIN site_last l ON l.county = w.county AND l.site = w.site
    CROSS JOIN LATERAL (SELECT coalesce(w.period_days, least(
        (SELECT min(a.value::integer) FROM jsonb_each_text($3::jsonb -> w.stream) a WHERE a.key = '' OR a.key = ANY (w.subjects)),
        ($4::jsonb ->> w.site::text)::integer)) AS days) p
    CROSS JOIN LATERAL (SELECT CASE WHEN p.days IS NOT NULL THEN
        l.seen_at IS NOT NULL AND (l.seen_at AT TIME ZONE 'UTC' + interval '8 hours')::date >= $5::date - p.days END AS covered) c
    WHERE w.county = $1 AND w.stream = ANY ($2::text[])
"""
SQL_FETCH_STANDING: Final[LiteralString] = (
    "SELECT s.*, r.body ->> 'name' AS name FROM ("  # noqa: S608 - only constants
    "SELECT w.county, w.site, w.stream, p.days AS period_days, l.seen_at, c.covered"
    + _STANDING
    + " AND w.site > $6 AND ($7::boolean IS NULL OR c.covered = $7) ORDER BY w.site LIMIT $8) s"
    " JOIN record r ON r.county = s.county AND r.id = s.site ORDER BY s.site"
)
SQL_COUNT_STANDING: Final[LiteralString] = (
    "SELECT count(*) FILTER (WHERE p.days IS NOT NULL) AS with_period, count(*) FILTER (WHERE c.covered) AS covered,"
    " count(*) FILTER (WHERE p.days IS NULL) AS without_period" + _STANDING
)
FIRST: Final = UUID(int=0)


async def fetch_standing(
    executor: Executor,
    county: County,
    streams: Sequence[StreamName],
    periods: Periods,
    today: date,
    *,
    covered: bool | None = None,
    after: RecordId = FIRST,
    limit: int,
) -> list[Standing]:
    """A page of the active sites in these streams, by id."""
    asked = _arguments(county, streams, periods, today)
    return [_standing(row) for row in await executor.fetch(SQL_FETCH_STANDING, *asked, after, covered, limit)]


async def fetch_totals(executor: Executor, county: County, streams: Sequence[StreamName], periods: Periods, today: date) -> Totals:
    row = await executor.fetchrow(SQL_COUNT_STANDING, *_arguments(county, streams, periods, today))
    assert row is not None  # counts give one row
    return Totals(**dict(row))


def _arguments(county: County, streams: Sequence[StreamName], periods: Periods, today: date) -> tuple[Any, ...]:
    sites = {str(site): days for site, days in periods.sites.items()}
    return county, list(streams), msgspec.json.encode(periods.streams).decode(), msgspec.json.encode(sites).decode(), today


def _standing(row: Any) -> Standing:
    return Standing(
        site=row["site"],
        stream=row["stream"],
        name=row["name"],
        period_days=row["period_days"],
        seen_at=row["seen_at"],
        is_covered=row["covered"],
    )
