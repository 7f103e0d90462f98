"""What the timers read every minute, beside many problems, letters and summonses: by an index, and no more than may be due."""

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from storage import timer_window

COUNTY = 610902
NOW = datetime(2026, 11, 20, tzinfo=UTC)
PROBLEMS, LETTERS = 200_000, 60_000
ROWS_MAX = 12_000  # what the window holds; a scan reads hundreds of thousands

FILL = """
INSERT INTO record (county, id, kind, stream, seq, incarnation, version, crc, changed_at, fields, body)
SELECT 610902, md5('p' || i)::uuid, 'problem', 'v' || i % 200 || '.field', i / 200 + 1, 1, 1, i, $1::timestamptz - i * interval '10 minutes',
       '{"*":[1,1,"00000000-0000-0000-0000-000000000001",1]}',
       json_build_object('state', CASE WHEN i % 50 = 0 THEN 'suspended' WHEN i % 10 < 8 THEN 'closed_out' ELSE 'assigned' END, 'note', repeat('x', 200),
                         'due_on', ($1::timestamptz - i * interval '10 minutes' + interval '20 days')::date,
                         'suspended_until', ($1::timestamptz - i * interval '10 minutes' + interval '60 days')::date,
                         'look_back_on', ($1::timestamptz - i * interval '10 minutes' + interval '90 days')::date)
FROM generate_series(0, $2::integer - 1) i;
"""
FILL_LETTERS = """
INSERT INTO record (county, id, kind, stream, seq, incarnation, version, crc, changed_at, fields, body)
SELECT 610902, md5(kind || i)::uuid, kind, 'w' || kind || i % 200 || '.field', i / 200 + 1, 1, 1, i, $1::timestamptz - i * interval '30 minutes',
       '{"*":[1,1,"00000000-0000-0000-0000-000000000001",1]}',
       json_build_object('state', CASE WHEN i % 20 = 0 THEN 'issued' ELSE 'lifted' END, 'previous', md5(kind || (i + 1))::uuid)
FROM generate_series(0, $2::integer - 1) i, unnest(ARRAY['supervision', 'summons']) kind;
"""
FILL_LEDGER = """
INSERT INTO ledger_entry (county, record, kind, stream, is_open, due_at, found_at, changed_at, about, returns, rebounds, title, tags, words, text)
SELECT 610902, md5(kind || i)::uuid, kind, 'w' || kind || i % 200 || '.field', i % 20 = 0, $1::timestamptz - i * interval '30 minutes' + interval '3 days',
       $1, $1, md5('p' || i)::uuid, 0, 0, '', '{}', '{}', ''
FROM generate_series(0, $2::integer - 1) i, unnest(ARRAY['supervision', 'summons']) kind
"""


async def fill(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute("SET synchronous_commit = off")
        await conn.execute(FILL.rstrip().rstrip(";"), NOW, PROBLEMS)
        await conn.execute(FILL_LETTERS.rstrip().rstrip(";"), NOW, LETTERS)
        await conn.execute(FILL_LEDGER, NOW, LETTERS)
        await conn.execute("VACUUM ANALYZE record, ledger_entry")
    finally:
        await conn.close()


@pytest.fixture(scope="module")
def dsn(module_database: str) -> Iterator[str]:
    import anyio

    anyio.run(fill, module_database)
    yield module_database


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


TERM = timedelta(days=2 * 30 + 21)  # thirty working days, as sync.due.terms_of bounds them
FIRST, LAST = (NOW - TERM).date().isoformat(), (NOW + timedelta(days=2)).date().isoformat()
IDS = [uuid.UUID(int=k) for k in range(50)]


@pytest.mark.parametrize(
    ("sql", "arguments"),
    [
        (timer_window.SQL_FETCH_SUBJECTS, (COUNTY, FIRST, LAST, NOW - TERM)),
        (timer_window.SQL_FETCH_CLOSED, (COUNTY, NOW - TERM, FIRST, LAST)),
        (timer_window.SQL_FETCH_LAPSED, (COUNTY, LAST)),
        (timer_window.SQL_FETCH_SUMMONSES, (COUNTY, NOW, NOW - TERM)),
        (timer_window.SQL_FETCH_LETTERS, (COUNTY, IDS, NOW - TERM, NOW, NOW - TERM)),
        (timer_window.SQL_FETCH_CHAIN, (COUNTY, IDS, [str(one) for one in IDS])),
        (timer_window.SQL_FETCH_LETTERS_ABOUT, (COUNTY, IDS)),
        (timer_window.SQL_FETCH_PROBLEMS, (COUNTY, IDS)),
        (timer_window.SQL_FETCH_THESE_SUMMONSES, (COUNTY, IDS)),
    ],
)
async def test_timers_read_what_may_be_due_and_no_more(conn: asyncpg.Connection, sql: str, arguments: tuple[Any, ...]) -> None:
    found = await conn.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *arguments)
    plan: dict[str, Any] = json.loads(found)[0]["Plan"]
    assert not [n for n in nodes(plan) if n["Node Type"] == "Seq Scan"], json.dumps(plan, indent=1)
    read = sum((n["Actual Rows"] + n.get("Rows Removed by Filter", 0)) * n["Actual Loops"] for n in nodes(plan) if "Scan" in n["Node Type"])
    assert read <= 3 * ROWS_MAX, json.dumps(plan, indent=1)
