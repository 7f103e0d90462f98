"""Every list at a million problems, after ANALYZE and with the planner's default settings: by an index, and quickly.

The rows are made in the read model alone, by SQL, with the skew of real life: 97 of 100 are closed and old, a handful of words
and places are frequent, most are rare.
"""

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from contracts.ledger import TOTAL_MAX, LedgerSort
from contracts.rules import Colour
from storage import ledger_lists, ledger_search
from storage.ledger_lists import LedgerFilter, fetch_ledger, list_arguments
from storage.ledger_rows import tag
from storage.ledger_search import HITS_MAX, text_wanted
from storage.ledger_words import words_of
from storage.pool import SQL_PLAN_EACH, Pool, open_pool

COUNTY = 610902
ROWS = 1_000_000
VILLAGES = 200
NOW = datetime(2026, 11, 20, tzinfo=UTC)
SCOPE = [f"{unit}.{audience}" for k in range(VILLAGES) for unit in [f"v{k}"] for audience in ("field", "office", "archive")]
SECONDS_MAX = 10.0  # a scan of a million rows takes longer; the figures of a quiet machine are in docs/office-api.md

FREQUENT, RARE, PLACE = "建筑垃圾", "古树名木", "安康一桥工地"
SQL_MAKE = """
    INSERT INTO ledger_entry (county, record, kind, stream, is_open, due_at, found_at, changed_at, about, site, colour, returns, rebounds,
                              title, tags, words, text)
    SELECT $1, gen_random_uuid(), 'problem', 'v' || abs(hashint4(k) % 200) || '.field', k % 100 >= 97,
           CASE WHEN k % 20 = 0 THEN '9999-01-01Z' ELSE $2::timestamptz + (k - $3::integer * 0.99) * interval '1 minute' END,
           $2::timestamptz + (k - $3::integer) * interval '1 minute', $2::timestamptz + (k - $3::integer) * interval '1 minute' + interval '5 days',
           NULL, CASE WHEN k % 50 = 0 THEN md5((k % 3000)::text)::uuid END, NULL,
           (k % 400 = 0)::integer, (k % 900 = 0)::integer, 'p' || k,
           ARRAY['state:' || CASE WHEN k % 100 < 97 THEN 'closed_out' WHEN k % 1000 = 999 THEN 'submitted' ELSE 'assigned' END,
                 'subject:s' || k % 7, 'source:' || CASE WHEN k % 5000 = 0 THEN 'inspector' ELSE 'patrol' END, 'lead:d' || abs(hashint4(k + 1) % 40)]
               || CASE WHEN k % 3000 = 0 THEN ARRAY['ledger:central'] ELSE ARRAY[]::text[] END,
           CASE WHEN k % 4 = 0 THEN $4::integer[] WHEN k % 20001 = 0 THEN $5 ELSE $6 END || k,
           CASE WHEN k % 4 = 0 THEN $7 WHEN k % 20001 = 0 THEN $8 ELSE '裸土' END
    FROM generate_series(1, $3::integer) k
"""
SQL_MAKE_SITES = """
    INSERT INTO ledger_entry (county, record, kind, stream, is_open, due_at, found_at, changed_at, returns, rebounds, title, tags, words, text)
    SELECT $1, md5(k::text)::uuid, 'site', 'v' || k % 200 || '.field', true, '9999-01-01Z', $2, $2, 0, 0, 's' || k, '{}',
           CASE WHEN k = 50 THEN $3::integer[] ELSE $5::integer[] END, CASE WHEN k = 50 THEN $4 ELSE '工地' END
    FROM generate_series(0, 2999) k
"""
SQL_MAKE_LETTERS = """
    INSERT INTO ledger_entry (county, record, kind, stream, is_open, due_at, found_at, changed_at, about, colour, returns, rebounds, title,
                              tags, words, text)
    SELECT e.county, gen_random_uuid(), 'supervision', e.stream, true, $2, $2, $2, e.record,
           CASE WHEN random() < 0.1 THEN 'red' ELSE 'white' END, 0, 0, '督办', '{}', '{}', ''
    FROM (SELECT * FROM ledger_entry WHERE county = $1 AND kind = 'problem' AND is_open ORDER BY due_at LIMIT 1000) e
"""


@pytest.fixture(scope="module")
def dsn(module_database: str) -> Iterator[str]:
    import anyio

    anyio.run(fill, module_database)
    yield module_database


async def fill(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute("SET synchronous_commit = off; SET maintenance_work_mem = '256MB'")
        indexes = await conn.fetch("SELECT indexdef FROM pg_indexes WHERE tablename = 'ledger_entry' AND indexname NOT LIKE '%_pkey'")
        names = await conn.fetch("SELECT indexname FROM pg_indexes WHERE tablename = 'ledger_entry' AND indexname NOT LIKE '%_pkey'")
        await conn.execute(";".join(f"DROP INDEX {row['indexname']}" for row in names))
        frequent, rare, other = (words_of("problem", text) for text in (FREQUENT, RARE, "裸土"))
        await conn.execute(SQL_MAKE, COUNTY, NOW, ROWS, frequent, rare, other, FREQUENT, RARE)
        await conn.execute(SQL_MAKE_SITES, COUNTY, NOW, words_of("site", PLACE), PLACE, words_of("site", "工地"))
        await conn.execute(SQL_MAKE_LETTERS, COUNTY, NOW)
        for row in indexes:  # built at once: a tenth of the time that a million insertions take
            await conn.execute(row["indexdef"])
        await conn.execute("VACUUM ANALYZE ledger_entry")
    finally:
        await conn.close()


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = await open_pool(dsn, size_min=0)
    yield pool
    pool.terminate()


def wanted(**more: Any) -> LedgerFilter:
    return LedgerFilter(**{"kind": "problem", "streams": SCOPE, **more})


VILLAGE = ["v17.field", "v17.office", "v17.archive"]
TOWNSHIP = SCOPE[: 15 * 3]
FILTERS: dict[str, LedgerFilter] = {
    "everything": wanted(),
    "one state, rare": wanted(states=[tag("state", "submitted")], is_open=True),
    "one state, most": wanted(states=[tag("state", "closed_out")], is_open=False),
    "states": wanted(states=[tag("state", "submitted"), tag("state", "assigned")], is_open=True),
    "subject": wanted(tags=["subject:s3"]),
    "source, rare": wanted(tags=["source:inspector"]),
    "named ledger": wanted(tags=["ledger:central"]),
    "department": wanted(parties=[tag("lead", "d7"), tag("supporting", "d7")]),
    "department's open ones": wanted(parties=[tag("lead", "d7"), tag("supporting", "d7")], is_open=True),
    "township": wanted(streams=TOWNSHIP),
    "village": wanted(streams=VILLAGE),
    "village's open ones": wanted(streams=VILLAGE, is_open=True),
    "overdue": wanted(overdue_at=NOW),
    "overdue in a village": wanted(streams=VILLAGE, overdue_at=NOW),
    "not overdue": wanted(not_overdue_at=NOW),
    "due this week": wanted(due_from=NOW, due_before=NOW + timedelta(days=7)),
    "returned": wanted(returns_min=1),
    "rebounded": wanted(rebounds_min=1),
    "red": wanted(colours=[Colour.RED]),
    "white in a village": wanted(colours=[Colour.WHITE], streams=VILLAGE),
    "rare text": wanted(text=text_wanted("problem", RARE)),
    "frequent text": wanted(text=text_wanted("problem", FREQUENT)),
    "frequent text, open": wanted(text=text_wanted("problem", FREQUENT), is_open=True),
    "one character": wanted(text=text_wanted("problem", "垃")),
    "a site's name": wanted(text=text_wanted("problem", PLACE)),
    "no such text": wanted(text=text_wanted("problem", "没有这样的字")),
    "several at once": wanted(tags=["subject:s3", "source:patrol"], streams=TOWNSHIP, is_open=True, text=text_wanted("problem", FREQUENT)),
}


async def explained(conn: asyncpg.Connection, sql: str, *arguments: Any) -> list[dict[str, Any]]:
    """All nodes of the plan that these arguments get."""
    await conn.fetchval(SQL_PLAN_EACH)
    found = await conn.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *arguments)
    nodes, todo = [], [json.loads(found)[0]["Plan"]]
    while todo:
        node = todo.pop()
        nodes.append(node)
        todo += node.get("Plans", [])
    return nodes


def scanned(nodes: list[dict[str, Any]]) -> list[str]:
    return [node.get("Relation Name", "") for node in nodes if node["Node Type"] in ("Seq Scan", "Parallel Seq Scan")]


@pytest.mark.parametrize("sort", list(LedgerSort))
@pytest.mark.parametrize("name", FILTERS)
async def test_every_list_uses_an_index(pool: Pool, name: str, sort: LedgerSort) -> None:
    asked = FILTERS[name]
    async with pool.acquire() as conn, conn.transaction():
        hits, text = await ledger_lists._hits(conn, COUNTY, asked)
        if asked.text is not None:
            text_plan = await explained(
                conn, ledger_search.SQL_FIND_TEXT, COUNTY, "problem", asked.streams, asked.text.words, asked.text.site_words,
                asked.text.patterns, HITS_MAX + 1,
            )  # fmt: skip
            assert scanned(text_plan) == []
        if asked.colours:
            colours = [c.value for c in asked.colours]
            assert scanned(await explained(conn, ledger_search.SQL_FIND_COLOUR, COUNTY, "problem", asked.streams, colours)) == []
        for after, counted in ((None, TOTAL_MAX + 1), ((NOW - timedelta(days=3), uuid.UUID(int=9)), 51)):
            arguments = list_arguments(COUNTY, asked, sort, hits, text, after, counted, 51, SCOPE)
            nodes = await explained(conn, ledger_lists.STATEMENTS[sort], *arguments)
            assert "ledger_entry" not in scanned(nodes)
    started = time.perf_counter()
    await fetch_ledger(pool, COUNTY, asked, sort, None, 51, SCOPE)
    seconds = time.perf_counter() - started
    print(f"{name:30} {sort.value:8} {seconds * 1000:6.0f} ms, {'all' if hits is None else len(hits)}")
    assert seconds < SECONDS_MAX


async def test_a_plan_without_an_index_would_be_noticed(pool: Pool) -> None:
    async with pool.acquire() as conn, conn.transaction():
        assert scanned(await explained(conn, "SELECT count(*) FROM ledger_entry WHERE text LIKE $1", "%裸%")) != []
