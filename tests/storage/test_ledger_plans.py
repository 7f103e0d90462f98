"""Every list at a million problems, after ANALYZE and with the planner's default settings: by an index, and quickly.

The rows are made by SQL, with the skew of real life: 97 of 100 are closed and old, a handful of words and places are frequent, most
are rare; beside them what the other lists of the office read: conflicts, desks, letters, draws, people, the audit log. Coverage has a
table and a test of its own (tests/stories/test_plans.py).
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
from storage import (
    audit_log,
    campaigns,
    conflicts,
    coverage,
    desk,
    devices,
    draws,
    families,
    importing,
    ledger_lists,
    ledger_search,
    notices,
    people,
    refused,
    story,
    timer_due,
    timers,
)
from storage.audit_log import AuditFilter
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
# What timers have to judge: all that is open has a moment to come, and of the last week's some has come.
SQL_MAKE_DUE = """
    INSERT INTO timer_due (county, record, due_at)
    SELECT county, coalesce(about, record), max($2::timestamptz + (hashtext(record::text) % 10000) * interval '3 minutes') + interval '20 days'
    FROM ledger_entry WHERE county = $1 AND kind IN ('problem', 'supervision') AND is_open GROUP BY 1, 2
"""
FILLED = ["ledger_entry", "record", "held", "refused", "journal", "audit_log"]
SQL_KEYS = """
    SELECT conrelid::regclass::text AS of, conname AS name, pg_get_constraintdef(oid) AS def FROM pg_constraint
    WHERE conrelid = ANY ($1::text[]::regclass[]) AND contype IN ('p', 'u')
"""
SQL_INDEXES = """
    SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS def FROM pg_index
    WHERE indrelid = ANY ($1::text[]::regclass[]) AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""
# The records themselves, and what stands beside the problems. `seq` only has to be another one each time.
SQL_MAKE_RECORDS = """
    INSERT INTO record (county, id, kind, stream, seq, incarnation, version, crc, changed_at, fields, body)
    SELECT county, record, kind, stream, row_number() OVER (), 1, 1, 1, changed_at, '{}',
           json_build_object('name', title, 'state', CASE WHEN is_open THEN 'assigned' ELSE 'closed_out' END, 'site', site,
                             'subject', 's' || returns, 'due_on', to_char(due_at, 'YYYY-MM-DD'))
    FROM ledger_entry
"""
SQL_MAKE_MORE = """
    INSERT INTO record (county, id, kind, stream, seq, incarnation, version, crc, parent, fields, body)
    SELECT $1, md5(kind || k)::uuid, kind, 'v' || k % 200 || '.' || audience, 10000000 + row_number() OVER (), 1, 1, 1,
           CASE kind WHEN 'photo' THEN md5((k % 50000)::text)::uuid END, '{}',
           json_build_object('unit', 'v' || k % 200, 'state', CASE WHEN kind = 'plan' THEN 'active' WHEN k % 50 = 0 THEN 'open' ELSE 'settled' END,
                             'person', md5('p' || k % 1000)::uuid, 'letter', md5('l' || k / 500)::uuid, 'site', md5((k % 3000)::text)::uuid,
                             'submitted_at', CASE kind WHEN 'inspection' THEN '2026-11-01T00:00:00Z' END)
    FROM (VALUES ('inspection', 'field', 100000), ('conflict', 'office', 50000), ('notice', 'field', 30000), ('photo', 'field', 100000),
                 ('draw', 'secret', 3000), ('plan', 'office', 400), ('campaign', 'office', 2000)) v (kind, audience, n),
         generate_series(1, n) k;
"""
SQL_MAKE_OFFICE = """
    INSERT INTO held (county, device, n, outcome, reason, unit, opened_at, settled_at)
    SELECT 610902, md5('d' || k % 500)::uuid, k, 'quarantined', 'no_duty', 'v' || k % 200, timestamptz '2026-01-01Z' + k * interval '1 minute',
           CASE WHEN k % 20 > 0 THEN now() END FROM generate_series(1, 200000) k;
    INSERT INTO journal (county, device, n, entry, what, record, outcome, reason, raw)
    SELECT 610902, md5('d' || k % 500)::uuid, k, 0, 'mutation', md5((k % 100000)::text)::uuid, 'quarantined', 'no_duty', '{}'
    FROM generate_series(1, 200000) k;
    INSERT INTO refused (county, device, n, entry, unit, refused_at)
    SELECT 610902, md5('d' || k % 500)::uuid, k, 0, 'v' || k % 200, timestamptz '2026-01-01Z' + k * interval '1 minute' FROM generate_series(1, 200000) k;
    INSERT INTO unit (code, county, level, name) SELECT 'v' || k, 610902, 'village', '村' || k FROM generate_series(0, 199) k;
    INSERT INTO person (id, name, phone, password_hash)
    SELECT md5('p' || k)::uuid, '人' || k, 13000000000 + k, '' FROM generate_series(0, 49999) k;
    INSERT INTO duty (id, person, role, unit, starts) SELECT gen_random_uuid(), md5('p' || k)::uuid, 'grid_member', 'v' || k % 200, now() - interval '1 year'
    FROM generate_series(0, 49999) k;
    INSERT INTO audit_log (county, id, at, unit, action, person, subject)
    SELECT 610902, ('018' || lpad(to_hex(k), 29, '0'))::uuid, timestamptz '2020-01-01Z' + k * interval '5 minutes', 'v' || k % 200,
           CASE WHEN k % 50000 = 0 THEN 'rule_published' ELSE 'enrolled' END, md5('p' || k % 50000)::uuid, 's' || k % 100000
    FROM generate_series(1, 500000) k;
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
        keys, indexes = await conn.fetch(SQL_KEYS, FILLED), await conn.fetch(SQL_INDEXES, FILLED)
        await conn.execute(";".join(f"DROP INDEX {row['name']}" for row in indexes))
        await conn.execute(";".join(f"ALTER TABLE {row['of']} DROP CONSTRAINT {row['name']}" for row in keys))
        frequent, rare, other = (words_of("problem", text) for text in (FREQUENT, RARE, "裸土"))
        await conn.execute(SQL_MAKE, COUNTY, NOW, ROWS, frequent, rare, other, FREQUENT, RARE)
        await conn.execute(SQL_MAKE_SITES, COUNTY, NOW, words_of("site", PLACE), PLACE, words_of("site", "工地"))
        await conn.execute(SQL_MAKE_LETTERS, COUNTY, NOW)
        await conn.execute(SQL_MAKE_DUE, COUNTY, NOW)
        await conn.execute(SQL_MAKE_RECORDS)
        await conn.execute(SQL_MAKE_MORE, COUNTY)
        await conn.execute(SQL_MAKE_OFFICE)
        for row in keys:  # built at once: a tenth of the time that a million insertions take
            await conn.execute(f"ALTER TABLE {row['of']} ADD CONSTRAINT {row['name']} {row['def']}")
        for row in indexes:
            await conn.execute(row["def"])
        await conn.execute("VACUUM ANALYZE")
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
            assert not BIG & set(scanned(nodes))
    started = time.perf_counter()
    await fetch_ledger(pool, COUNTY, asked, sort, None, 51, SCOPE)
    seconds = time.perf_counter() - started
    print(f"{name:30} {sort.value:8} {seconds * 1000:6.0f} ms, {'all' if hits is None else len(hits)}")
    assert seconds < SECONDS_MAX


ONE = uuid.UUID("c4ca4238-a0b9-2382-0dcc-509a6f75849b")  # md5('1'): a problem's site, and a record with a story
FIELD, OFFICE, SECRET = ([f"v{k}.{audience}" for k in range(VILLAGES)] for audience in ("field", "office", "secret"))
FEW = [f"v{k}" for k in range(15)]
EVERYWHERE = [f"v{k}" for k in range(VILLAGES)]
AUDITED: dict[str, Any] = {"counties": [COUNTY], "units": EVERYWHERE}
EVER = datetime(2000, 1, 1, tzinfo=UTC)
OFFICE_LISTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "conflicts of a county": (conflicts.SQL_FETCH_CONFLICTS, (COUNTY, OFFICE, *conflicts.BEGINNING, 100)),
    "conflicts of a township": (conflicts.SQL_FETCH_CONFLICTS, (COUNTY, OFFICE[:15], *conflicts.BEGINNING, 100)),
    "desk of a county": (desk.SQL_FETCH_HELD, (COUNTY, EVERYWHERE, None, *desk.BEGINNING, 100, desk.HELD_PAGE_BYTES_MAX)),
    "desk of a township": (desk.SQL_FETCH_HELD, (COUNTY, FEW, "quarantined", *desk.BEGINNING, 100, desk.HELD_PAGE_BYTES_MAX)),
    "desk, read on": (
        desk.SQL_FETCH_HELD,
        (COUNTY, FEW, None, datetime(2026, 3, 1, tzinfo=UTC), uuid.UUID(int=0), 0, 100, desk.HELD_PAGE_BYTES_MAX),
    ),
    "refused creations of a county": (refused.SQL_FETCH_REFUSED, (COUNTY, EVERYWHERE, *refused.NEWEST, 100, refused.PAGE_BYTES_MAX)),
    "refused creations of a township": (refused.SQL_FETCH_REFUSED, (COUNTY, FEW, *refused.NEWEST, 100, refused.PAGE_BYTES_MAX)),
    "refused creations of a new unit": (refused.SQL_FETCH_REFUSED, (COUNTY, ["v999"], *refused.NEWEST, 100, refused.PAGE_BYTES_MAX)),
    "refused creations, read on": (
        refused.SQL_FETCH_REFUSED,
        (COUNTY, FEW, datetime(2026, 3, 1, tzinfo=UTC), uuid.UUID(int=0), 0, 100, refused.PAGE_BYTES_MAX),
    ),
    "one held mutation": (desk.SQL_FETCH_HELD_ONE, (COUNTY, uuid.UUID(int=7), 7)),
    "audit": (audit_log.SQL_FETCH_AUDIT, AuditFilter(**AUDITED).arguments(50)),
    "audit of a township": (audit_log.SQL_FETCH_AUDIT, AuditFilter(counties=[COUNTY], units=FEW).arguments(50)),
    "audit of a new unit": (audit_log.SQL_FETCH_AUDIT, AuditFilter(counties=[COUNTY], units=["v999"]).arguments(50)),
    "audit by person": (audit_log.SQL_FETCH_AUDIT, AuditFilter(**AUDITED, person=ONE).arguments(50)),
    "audit by subject": (audit_log.SQL_FETCH_AUDIT, AuditFilter(**AUDITED, subject="nobody").arguments(50)),
    "audit by action": (audit_log.SQL_FETCH_AUDIT, AuditFilter(**AUDITED, action="rule_published").arguments(50)),
    "audit by day": (audit_log.SQL_FETCH_AUDIT, AuditFilter(**AUDITED, since=EVER, until=EVER + timedelta(days=7400)).arguments(50)),
    "people of a county": (people.SQL_FETCH_PEOPLE, (EVERYWHERE, people.FIRST, "", 50, None, "")),
    "people of a township": (people.SQL_FETCH_PEOPLE, (FEW, people.FIRST, "", 50, "grid_member", "")),
    "draws": (draws.SQL_FETCH_DRAWS, (COUNTY, SECRET, *draws.LATEST, 200)),
    "draws of a department": (draws.SQL_FETCH_DRAWS, (COUNTY, SECRET[:1], *draws.LATEST, 200)),
    "published draws": (draws.SQL_FETCH_PUBLISHED, (COUNTY, *draws.END, 50)),
    "active plans": (coverage.SQL_FETCH_ACTIVE_PLANS, (COUNTY,)),
    "a letter": (notices.SQL_FETCH_LETTER, (COUNTY, str(uuid.UUID(int=7)), FIELD)),
    "addressees": (notices.SQL_FETCH_ADDRESSEES, (FEW, ["grid_member"], NOW)),
    "campaigns": (campaigns.SQL_FETCH_CAMPAIGNS, (COUNTY, ["v7.field", "v8.field"])),
    "a story's record": (story.SQL_FETCH_RECORD, (COUNTY, ONE, SCOPE, story.SHOWN_TO_OTHERS)),
    "what is near": (story.SQL_FETCH_NEAR, (COUNTY, ONE, [uuid.UUID(int=7)], SCOPE, story.NEAR_MAX)),
    "its pictures": (story.SQL_FETCH_PHOTOS, (COUNTY, [ONE], ONE, None, SCOPE, story.PHOTOS_MAX)),
    "its journal": (story.SQL_FETCH_ENTRIES, (COUNTY, ONE, [uuid.UUID(int=7)], EVERYWHERE, story.ENTRIES_MAX)),
    "sites of a name": (importing.SQL_FETCH_SITES_NAMED, (COUNTY, FIELD, [f"s{k}" for k in range(2000)], [ONE])),
    "accounts": (people.SQL_FETCH_ACCOUNTS, ([str(13000000000 + k) for k in range(300)],)),
    "devices": (devices.SQL_FETCH_DEVICES, (ONE,)),
}
BIG = {"record", "ledger_entry", "journal", "held", "refused", "audit_log", "timer_due"}


@pytest.mark.parametrize("name", OFFICE_LISTS)
async def test_every_other_list_of_the_office_uses_an_index(pool: Pool, name: str) -> None:
    sql, arguments = OFFICE_LISTS[name]
    async with pool.acquire() as conn, conn.transaction():
        assert BIG & set(scanned(await explained(conn, sql, *arguments))) == set(), name
        started = time.perf_counter()
        found = await conn.fetch(sql, *arguments)
    seconds = time.perf_counter() - started
    print(f"{name:30} {seconds * 1000:6.0f} ms, {len(found)}")
    assert seconds < SECONDS_MAX


OPEN = 31_000
NAMED = "SELECT array_agg(record) FROM (SELECT record FROM timer_due WHERE county = $1 LIMIT 500) d"


async def read_by(conn: asyncpg.Connection, sql: str, *arguments: Any, whole: str = "") -> float:
    """Rows that a statement reads, whether or not it wants them. Of the large tables it may read only `whole` from end to end."""
    found = await conn.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)
    nodes, todo = [], [json.loads(found)[0]["Plan"]]
    while todo:
        nodes.append(todo.pop())
        todo += nodes[-1].get("Plans", [])
    assert BIG & set(scanned(nodes)) <= {whole}, json.dumps(nodes[0], indent=1)
    tables = [node for node in nodes if "Scan" in node["Node Type"] and "Relation Name" in node]
    return sum((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in tables)


@pytest.mark.parametrize("units", [EVERYWHERE, FEW, ["v17"]], ids=["county", "township", "village"])
async def test_refused_creations_are_read_as_far_as_they_are_shown(pool: Pool, units: list[str]) -> None:
    """A page of each desk at most, and the journal of what is shown."""
    async with pool.acquire() as conn, conn.transaction():
        arguments = (COUNTY, units, *refused.NEWEST, 100, refused.PAGE_BYTES_MAX)
        assert await read_by(conn, refused.SQL_FETCH_REFUSED, *arguments) <= 100 * len(units) + 3 * 100


async def test_timers_read_what_is_due_and_no_more(pool: Pool) -> None:
    """A quiet minute; one in which 500 records are due; and what a new rule can concern, which is what is open."""
    async with pool.acquire() as conn, conn.transaction():
        assert await conn.fetchval("SELECT count(*) FROM timer_due") > OPEN * 0.9
        records = await conn.fetchval(NAMED, COUNTY)
        letters = await conn.fetchval("SELECT count(*) FROM ledger_entry WHERE county = $1 AND kind = 'supervision'", COUNTY)
        assert await read_by(conn, timer_due.SQL_FETCH_DUE, COUNTY, NOW - timedelta(days=9)) == 0
        assert await read_by(conn, families.SQL_FETCH_ROOTS, COUNTY, records) <= 500
        # Each half reads by record, or all letters of the county while these are as few; which one is left to chance.
        assert await read_by(conn, families.SQL_FETCH_LETTERS, COUNTY, records) <= 2 * max(500, letters) + 500
        assert await read_by(conn, timers.SQL_FETCH_MADE, COUNTY, records) <= 500
        assert await read_by(conn, timers.SQL_FETCH_DONE, COUNTY, records, records, ONE) <= 2000
        marks = await conn.fetchval("SELECT array_agg(mark ORDER BY record) FROM timer_due WHERE record = ANY ($1::uuid[])", records)
        assert await read_by(conn, timer_due.SQL_SETTLE, COUNTY, sorted(records), marks, [None] * len(records)) <= 4 * 500
        assert await read_by(conn, timer_due.SQL_MARK_ALL, COUNTY, datetime(9000, 1, 1, tzinfo=UTC), whole="timer_due") <= 4 * OPEN


async def test_a_plan_without_an_index_would_be_noticed(pool: Pool) -> None:
    async with pool.acquire() as conn, conn.transaction():
        assert scanned(await explained(conn, "SELECT count(*) FROM ledger_entry WHERE text LIKE $1", "%裸%")) != []
