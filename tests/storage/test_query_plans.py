"""The hot statements at full size, after ANALYZE, with PostgreSQL's default planner settings: indexes, and work that follows the result.

Some 340,000 records, 60,000 markers, 340,000 journal rows and 20,000 stream heads of two counties are made by generate_series. Plain statements
are explained as they are; what the two functions of a push run inside is told by auto_explain (log_nested_statements),
often enough that PostgreSQL may choose generic plans. Two million records do not fit into this test's time: that the cost
of a delta does not depend on the stored history is shown between streams of 20,000 and 200,000 records of one table;
bench/ measures at two million.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from contracts.mutation import CREATE
from contracts.people import Role
from storage import contact, pull, push_state
from storage.pool import open_pool
from storage.push import push
from storage.reference import Reference
from tests.builders import a_creation, a_deletion, a_mutation, a_sender, an_edit, an_id
from tests.county import COUNTY, VILLAGE_A, VILLAGE_B
from tests.storage.pushing import a_request, load_county

OTHER = 610921
SMALL, LARGE = "small.field", "large.field"
SIZES = {SMALL: 20_000, LARGE: 200_000}
BIG_TABLES = {"record", "marker", "journal", "stream_head", "device_county", "held"}

FILL = """
INSERT INTO stream_head (county, stream, incarnation, seq, count)
SELECT c, 'v' || s || '.field', 1, 300, 250 FROM unnest(ARRAY[610902, 610921]) c, generate_series(1, 200) s;
INSERT INTO stream_head (county, stream, incarnation, seq, count)
SELECT c, c || '-' || gen_random_uuid() || '.device', 1, 3, 3 FROM unnest(ARRAY[610902, 610921]) c, generate_series(1, 10000);
INSERT INTO stream_head (county, stream, incarnation, seq, count) VALUES
    (610902, 'small.field', 1, 20000, 20000), (610902, 'large.field', 1, 200000, 200000);

INSERT INTO record (county, id, kind, stream, seq, incarnation, version, crc, parent, fields, body)
SELECT CASE WHEN i % 2 = 0 THEN 610902 ELSE 610921 END, gen_random_uuid(), kind, 'v' || (i / 2 % 200 + 1) || '.field', i / 400 + 1, 1, 1, i,
       CASE WHEN kind = 'photo' THEN gen_random_uuid() END, '{"*":[1,1,"00000000-0000-0000-0000-000000000001",1]}',
       json_build_object('unit', 'v' || (i / 2 % 200 + 1), 'subject', 's' || i % 7, 'site', i % 30000, 'state', 'reported', 'position', json_build_object('lat', 32 + i % 30000 / 30000.0, 'lng', 109), 'note', repeat('x', 200))
FROM (SELECT i, (ARRAY['inspection', 'inspection', 'photo', 'problem', 'site'])[i % 5 + 1] AS kind FROM generate_series(0, 119999) i) x;
INSERT INTO record (county, id, kind, stream, seq, incarnation, version, crc, fields, body)
SELECT 610902, gen_random_uuid(), 'inspection', s, i, 1, 1, i, '{"*":[1,1,"00000000-0000-0000-0000-000000000001",1]}', '{"note":"x"}'
FROM (VALUES ('small.field', 20000), ('large.field', 200000)) v (s, n), generate_series(1, n) i;

INSERT INTO marker (county, stream, record, seq, incarnation, version)
SELECT 610902, 'v' || (i % 200 + 1) || '.field', gen_random_uuid(), 300 + i / 200, 1, 1 FROM generate_series(0, 59999) i;
INSERT INTO journal (county, device, n, entry, what, mutation, record, kind, op, outcome, reason, stream, seq, incarnation, version)
SELECT county, ('00000000-0000-0000-0000-' || lpad((crc % 500)::text, 12, '0'))::uuid, row_number() OVER (), 0, 'mutation',
       gen_random_uuid(), id, kind, 'create', 'applied', 'ok', stream, seq, 1, 1 FROM record;
INSERT INTO device_county (county, device, n_high)
SELECT 610902, ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, 400000 FROM generate_series(0, 9999) i;
INSERT INTO held (county, device, n, outcome, reason)
SELECT 610902, ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, 1, 'quarantined', 'no_duty' FROM generate_series(0, 9999) i;
ANALYZE;
"""


async def _filled(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute("SET synchronous_commit = off; " + FILL)
        await conn.execute("VACUUM record")
    finally:
        await conn.close()


@pytest.fixture(scope="module")
def full(module_database: str) -> str:
    """DSN of the filled database."""

    async def fill() -> None:
        pool = await open_pool(module_database, size_min=0)
        await load_county(pool)
        await pool.close()
        await _filled(module_database)

    asyncio.run(fill())
    return module_database


@pytest.fixture
async def conn(full: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(full)
    yield connection
    await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def scans(plan: dict[str, Any]) -> set[str]:
    """Big tables that are read from end to end."""
    return {n["Relation Name"] for n in nodes(plan) if n["Node Type"] == "Seq Scan" and n["Relation Name"] in BIG_TABLES}


def filtered_away(plan: dict[str, Any]) -> int:
    """Rows that an index led to and that were not wanted."""
    return sum(n.get("Rows Removed by Filter", 0) * n.get("Actual Loops", 1) for n in nodes(plan))


def buffers(plan: dict[str, Any]) -> int:
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


async def explained(conn: asyncpg.Connection, sql: str, *arguments: Any) -> dict[str, Any]:
    found = await conn.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *arguments)
    plan: dict[str, Any] = json.loads(found)[0]["Plan"]
    assert scans(plan) == set(), json.dumps(plan, indent=1)
    return plan


# ---------------------------------------------------------------------------------------------- pull


async def test_pages_of_many_streams_use_the_stream_indexes(conn: asyncpg.Connection) -> None:
    streams = [f"v{s}.field" for s in range(1, 17)]
    plan = await explained(conn, pull.SQL_FETCH_PAGES, COUNTY, streams, [295] * 16, 100, pull.PAGE_BYTES_MAX)
    used = {n["Index Name"] for n in nodes(plan) if "Index Name" in n}
    assert {"record_stream", "marker_stream", "stream_head_pkey"} <= used
    assert filtered_away(plan) == 0


async def test_a_delta_costs_what_it_brings_and_not_what_is_stored(conn: asyncpg.Connection) -> None:
    """The newest 200 changes of 20,000 and of 200,000 records, and the 200 after the middle: as many rows and pages read."""
    cost = {}
    for stream, size in SIZES.items():
        for cursor in (size - 200, size // 2):
            plan = await explained(conn, pull.SQL_FETCH_PAGES, COUNTY, [stream], [cursor], 200, pull.PAGE_BYTES_MAX)
            assert sum(n["Actual Rows"] * n["Actual Loops"] for n in nodes(plan) if "Relation Name" in n) <= 200 + 5
            cost[stream, cursor] = buffers(plan)
    assert max(cost.values()) <= min(cost.values()) + 40, cost


async def test_a_phone_that_has_everything_costs_a_handful_of_pages(conn: asyncpg.Connection) -> None:
    plan = await explained(conn, pull.SQL_FETCH_PAGES, COUNTY, list(SIZES), list(SIZES.values()), 500, pull.PAGE_BYTES_MAX)
    assert buffers(plan) <= 30


async def test_other_reads_of_an_exchange_use_indexes(conn: asyncpg.Connection) -> None:
    record = await conn.fetchval("SELECT parent FROM record WHERE kind = 'photo' LIMIT 1")
    device = uuid.UUID(int=7)
    for sql, arguments in (
        (pull.SQL_FETCH_HEADS, (COUNTY, [f"v{s}.field" for s in range(1, 30)])),
        (pull.SQL_FETCH_BUCKETS, (COUNTY, "v7.field")),
        (pull.SQL_FETCH_REPAIR, (COUNTY, "v7.field", [1, 2], pull.PAGE_BYTES_MAX)),
        (contact.SQL_FETCH_CONTACT, (COUNTY, device)),
        (push_state.SQL_FETCH_CHILDREN, (COUNTY, [record])),
        (push_state.SQL_FETCH_HOMES, (COUNTY, [record, an_id(1)])),
        (push_state.SQL_FETCH_ALIKE, (COUNTY, ["17", "18"], ["s3"], [32.5], 0.0009, 50)),
    ):
        plan = await explained(conn, sql, *arguments)
        assert buffers(plan) <= 900, sql


# ---------------------------------------------------------------------------------------------- push


class OneConnection:
    """A pool of one connection that keeps its notices."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self.conn = conn
        self.plans: list[dict[str, Any]] = []
        conn.add_log_listener(self._note)

    def _note(self, _conn: Any, message: Any) -> None:
        _, _, text = message.message.partition("plan:")
        if text:
            self.plans.append(json.loads(text))

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.Connection]:
        yield self.conn


@pytest.fixture
async def watched(full: str) -> AsyncIterator[OneConnection]:
    """Every statement's plan is told, those inside functions too."""
    conn = await asyncpg.connect(full)
    await conn.execute("""
        LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
        SET auto_explain.log_analyze = on; SET auto_explain.log_buffers = on; SET auto_explain.log_format = json;
        SET auto_explain.log_level = notice""")
    yield OneConnection(conn)
    await conn.close()


async def test_a_push_runs_on_indexes_from_the_first_to_the_last_statement(watched: OneConnection, full: str) -> None:
    """Creations, edits, moves, deletions, children, suspected duplicates, held and repeated mutations, twelve pushes long."""
    reference = await _reference(full)
    sender = a_sender(7, Role.COUNTY_SUPERVISOR, str(COUNTY))
    for k in range(12):
        site, base, n = an_id(1000 + k), uuid.uuid4(), 10 * k + 1
        batch = [
            a_creation(n, site, unit=VILLAGE_A),
            a_mutation(
                n + 1,
                an_id(2000 + k),
                "photo",
                CREATE,
                body={"parent": str(site), "sha256": f"{k:064x}", "bytes": 9, "media_type": "image/png"},
            ),
            a_creation(n + 2, an_id(3000 + k), "problem", unit=VILLAGE_A, site=str(an_id(1))),
            an_edit(n + 3, site, (1, 1), unit=(VILLAGE_A, VILLAGE_B)),
            a_deletion(n + 4, site, (1, 2)),
            an_edit(n + 5, an_id(4000 + k), base, name=("", "not here")),
        ]
        request = a_request(batch, 7, sender)
        first = await push(watched, reference, request)  # type: ignore[arg-type]
        again = await push(watched, reference, request)  # type: ignore[arg-type]
        assert len(first.outcomes) == len(again.outcomes) == 6
    assert len(watched.plans) > 200
    inside = [p for p in watched.plans if any(n.get("Relation Name") in BIG_TABLES for n in nodes(p["Plan"]))]
    touched = {n["Relation Name"] for p in inside for n in nodes(p["Plan"]) if "Relation Name" in n}
    assert touched >= BIG_TABLES
    for plan in inside:
        assert scans(plan["Plan"]) == set(), plan["Query Text"]
        assert filtered_away(plan["Plan"]) <= 200, plan["Query Text"]


async def _reference(dsn: str) -> Reference:
    pool = await open_pool(dsn, size_min=0)
    try:
        return await load_county(pool)
    finally:
        await pool.close()
