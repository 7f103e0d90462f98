"""A page of a ledger: one county at a time, cut by key, in the order of one index (table ledger_entry)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec

from contracts.ids import County, RecordId, StreamName
from contracts.ledger import TOTAL_MAX, LedgerSort
from contracts.rules import Colour
from storage.ledger_rows import NEVER
from storage.ledger_search import TextWanted, find_colour, find_text
from storage.pool import SQL_PLAN_EACH, Connection, Pool, snapshot

LONG_AGO: Final = datetime(1, 1, 2, tzinfo=UTC)
FIRST: Final = (LONG_AGO, UUID(int=0))
LAST: Final = (NEVER, UUID(int=2**128 - 1))
Key = tuple[datetime, UUID]


class LedgerFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of one kind. None and empty: no matter.

    streams      what the caller may see, already narrowed to the unit that is asked for
    tags         all of these;  states, parties: at least one of each
    due_from     inclusive; due_before exclusive
    overdue_at   whose deadline had passed then, and which are open; not_overdue_at: the others
    """

    kind: str
    streams: Sequence[StreamName]
    tags: Sequence[str] = ()
    states: Sequence[str] = ()
    parties: Sequence[str] = ()
    is_open: bool | None = None
    due_from: datetime | None = None
    due_before: datetime | None = None
    overdue_at: datetime | None = None
    not_overdue_at: datetime | None = None
    returns_min: int = 0
    rebounds_min: int = 0
    colours: Sequence[Colour] = ()
    text: TextWanted | None = None


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One row as it is stored. `key`: where it stands in the order that was asked for."""

    key: datetime
    record: RecordId
    stream: StreamName
    incarnation: int
    version: int
    title: str
    is_open: bool
    due_at: datetime
    found_at: datetime
    changed_at: datetime
    site_name: str | None
    colours: list[str]
    body: str


_COLUMNS: Final[LiteralString] = "e.record, e.stream, e.title, e.is_open, e.due_at, e.found_at, e.changed_at, e.site, e.about"
_WANTED: Final[LiteralString] = """
    FROM ledger_entry e
    WHERE e.county = $1 AND e.kind = $2 AND e.stream = ANY ($3::text[])
      AND ($4::text[] IS NULL OR e.tags @> $4) AND ($5::text[] IS NULL OR e.tags && $5) AND ($6::text[] IS NULL OR e.tags && $6)
      AND ($7::boolean IS NULL OR e.is_open = $7)
      AND ($8::timestamptz IS NULL OR e.due_at >= $8) AND ($9::timestamptz IS NULL OR e.due_at < $9)
      AND ($10::timestamptz IS NULL OR NOT (e.is_open AND e.due_at <= $10))
      AND ($11::integer IS NULL OR (e.returns >= $11 AND (e.returns > 0 OR e.rebounds > 0)))
      AND ($12::integer IS NULL OR (e.rebounds >= $12 AND (e.returns > 0 OR e.rebounds > 0)))
      AND ($13::uuid[] IS NULL OR e.record = ANY ($13))
      AND ($14::integer[] IS NULL OR (e.words @> $14 AND e.text LIKE ALL ($16::text[])) OR e.site IN (
           SELECT s.record FROM ledger_entry s
           WHERE s.county = $1 AND s.kind = 'site' AND s.stream = ANY ($3::text[]) AND s.words @> $15::integer[]
             AND s.text LIKE ALL ($16::text[])))
"""
_SHOWN: Final[LiteralString] = """)
    SELECT p.key, p.record, p.stream, r.incarnation, r.version, p.title, p.is_open, p.due_at, p.found_at, p.changed_at, r.body,
           (SELECT s.title FROM ledger_entry s
            WHERE s.county = $1 AND s.record = p.site AND s.kind = 'site' AND s.stream = ANY ($21::text[])) AS site_name,
           (SELECT array_agg(DISTINCT s.colour) FROM ledger_entry s
            WHERE s.county = $1 AND s.about = ANY (ARRAY[p.record, CASE WHEN $2 = 'assignment' THEN p.about END])
              AND s.kind = 'supervision' AND s.is_open AND s.stream = ANY ($21::text[])) AS colours,
           (SELECT count(*) FROM page) AS found
"""
SQL_LIST_BY_DUE: Final[LiteralString] = (
    "WITH page AS MATERIALIZED (SELECT e.due_at AS key, "  # noqa: S608 - only constants
    + _COLUMNS
    + _WANTED
    + " AND (e.due_at, e.record) > ($17, $18) ORDER BY e.due_at, e.record LIMIT $19"
    + _SHOWN
    + " FROM (SELECT * FROM page ORDER BY key, record LIMIT $20) p JOIN record r ON r.county = $1 AND r.id = p.record"
    " ORDER BY p.key, p.record"
)
SQL_LIST_BY_FOUND: Final[LiteralString] = (
    "WITH page AS MATERIALIZED (SELECT e.found_at AS key, "  # noqa: S608 - only constants
    + _COLUMNS
    + _WANTED
    + " AND (e.found_at, e.record) < ($17, $18) ORDER BY e.found_at DESC, e.record DESC LIMIT $19"
    + _SHOWN
    + " FROM (SELECT * FROM page ORDER BY key DESC, record DESC LIMIT $20) p JOIN record r ON r.county = $1 AND r.id = p.record"
    " ORDER BY p.key DESC, p.record DESC"
)
SQL_LIST_BY_CHANGED: Final[LiteralString] = (
    "WITH page AS MATERIALIZED (SELECT e.changed_at AS key, "  # noqa: S608 - only constants
    + _COLUMNS
    + _WANTED
    + " AND (e.changed_at, e.record) < ($17, $18) ORDER BY e.changed_at DESC, e.record DESC LIMIT $19"
    + _SHOWN
    + " FROM (SELECT * FROM page ORDER BY key DESC, record DESC LIMIT $20) p JOIN record r ON r.county = $1 AND r.id = p.record"
    " ORDER BY p.key DESC, p.record DESC"
)
STATEMENTS: Final[dict[LedgerSort, LiteralString]] = {
    LedgerSort.DUE: SQL_LIST_BY_DUE,
    LedgerSort.FOUND: SQL_LIST_BY_FOUND,
    LedgerSort.CHANGED: SQL_LIST_BY_CHANGED,
}
BEGINS: Final[dict[LedgerSort, Key]] = {LedgerSort.DUE: FIRST, LedgerSort.FOUND: LAST, LedgerSort.CHANGED: LAST}


async def fetch_ledger(
    pool: Pool,
    county: County,
    wanted: LedgerFilter,
    sort: LedgerSort,
    after: Key | None,
    limit: int,
    scope: Sequence[StreamName],
) -> tuple[list[Listed], int | None]:
    """(at most `limit` rows after the key, how many there are up to TOTAL_MAX + 1; None after the first page).

    scope   all streams of the caller: sites and supervisions beside a row may be those of another unit
    """
    async with snapshot(pool) as conn:
        await conn.fetchval(SQL_PLAN_EACH)
        hits, text = await _hits(conn, county, wanted)
        if hits is not None and not hits:
            return [], 0 if after is None else None
        counted = max(TOTAL_MAX + 1, limit) if after is None else limit
        arguments = list_arguments(county, wanted, sort, hits, text, after, counted, limit, scope)
        rows = await conn.fetch(STATEMENTS[sort], *arguments)
    total = (rows[0]["found"] if rows else 0) if after is None else None
    return [_listed(row) for row in rows], total


async def _hits(conn: Connection, county: County, wanted: LedgerFilter) -> tuple[set[RecordId] | None, TextWanted | None]:
    """(records among which the page is, None: any; the text that the page itself must look for)."""
    hits, text = None, wanted.text
    if wanted.text is not None:
        hits = await find_text(conn, county, wanted.kind, wanted.streams, wanted.text)
        text = wanted.text if hits is None else None
    if wanted.colours and wanted.kind != "supervision":
        coloured = await find_colour(conn, county, wanted.kind, wanted.streams, wanted.colours)
        hits = coloured if hits is None else hits & coloured
    return hits, text


def list_arguments(
    county: County,
    wanted: LedgerFilter,
    sort: LedgerSort,
    hits: set[RecordId] | None,
    text: TextWanted | None,
    after: Key | None,
    counted: int,
    limit: int,
    scope: Sequence[StreamName],
) -> tuple[Any, ...]:
    """$1 to $21 of the three statements."""
    due_before, is_open = wanted.due_before, wanted.is_open
    if wanted.overdue_at is not None:
        is_open = True
        due_before = min(due_before or NEVER, wanted.overdue_at + timedelta(microseconds=1))
    return (
        county,
        wanted.kind,
        list(wanted.streams),
        list(wanted.tags) or None,
        list(wanted.states) or None,
        list(wanted.parties) or None,
        is_open,
        wanted.due_from,
        due_before,
        wanted.not_overdue_at,
        wanted.returns_min or None,
        wanted.rebounds_min or None,
        None if hits is None else list(hits),
        text.words if text else None,
        text.site_words if text else None,
        text.patterns if text else None,
        *(after or BEGINS[sort]),
        counted,
        limit,
        list(scope),
    )


def _listed(row: Any) -> Listed:
    values = {name: row[name] for name in Listed.__struct_fields__}
    return Listed(**{**values, "colours": row["colours"] or []})
