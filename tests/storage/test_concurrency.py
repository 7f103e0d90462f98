"""Many writers at once on a real PostgreSQL: no gap, no deadlock, heads that tell the truth."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from contracts.outcomes import Outcome
from storage.audit import audit_county
from storage.pool import Pool, open_pool, snapshot
from tests.builders import a_creation, an_edit, an_id
from tests.county import COUNTY, TOWNSHIP, VILLAGE_A, VILLAGE_B
from tests.storage.pushing import Reader, assert_true, hand_in, load_county

WRITERS = 16
PUSHES = 12
VILLAGES = [VILLAGE_A, VILLAGE_B, TOWNSHIP, "610902"]
STREAMS = [f"{unit}.field" for unit in VILLAGES]


@pytest.fixture
async def wide_pool(database: str) -> AsyncIterator[Pool]:
    """A connection for every writer, so that they really meet."""
    pool = await open_pool(database, size_min=0, size_max=WRITERS + 4)
    yield pool
    pool.terminate()


async def _deadlocks(pool: Pool) -> int:
    return int(await pool.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))


@pytest.mark.parametrize("units", [[VILLAGE_A], VILLAGES], ids=["one stream", "four streams"])
async def test_sixteen_writers_leave_no_gap(wide_pool: Pool, units: list[str]) -> None:
    """Promise 5. Readers that follow meanwhile, page by page, hold in the end exactly what is there, and saw every seq once."""
    reference = await load_county(wide_pool)
    done = asyncio.Event()
    readers = [Reader(wide_pool, STREAMS, limit) for limit in (1, 7, 500)]
    following = [asyncio.create_task(reader.follow(done)) for reader in readers]

    async def write(device: int) -> None:
        for k in range(PUSHES):
            made = [a_creation(3 * k + i, an_id(device * 1000 + 3 * k + i), unit=units[(device + k + i) % len(units)]) for i in (1, 2, 3)]
            pushed = await hand_in(wide_pool, reference, made, device)
            assert [o.outcome for o in pushed.outcomes] == [Outcome.APPLIED] * 3

    await asyncio.gather(*(write(device) for device in range(1, WRITERS + 1)))
    done.set()
    await asyncio.gather(*following)
    await assert_true(wide_pool, *readers)
    for stream in STREAMS:
        rows = await wide_pool.fetch("SELECT seq FROM record WHERE county = $1 AND stream = $2 ORDER BY seq", COUNTY, stream)
        assert [r["seq"] for r in rows] == list(range(1, len(rows) + 1))
        assert all(reader.seqs[stream] == list(range(1, len(rows) + 1)) for reader in readers)
    assert sum(len(reader.seqs[STREAMS[0]]) for reader in readers) > 0
    assert await _deadlocks(wide_pool) == 0


async def test_sixteen_writers_edit_and_move_the_same_records(wide_pool: Pool) -> None:
    """Promises 2, 4 and 5. Everybody wants several heads, in any order: they are locked in one."""
    reference = await load_county(wide_pool)
    shared = [an_id(k) for k in range(1, 9)]
    await hand_in(wide_pool, reference, [a_creation(n, record) for n, record in enumerate(shared, start=1)], device=99)
    done = asyncio.Event()
    readers = [Reader(wide_pool, STREAMS, limit) for limit in (2, 100)]
    following = [asyncio.create_task(reader.follow(done)) for reader in readers]

    async def write(device: int) -> None:
        chance = random.Random(device)
        for k in range(PUSHES):
            edits = [
                an_edit(2 * k + i, chance.choice(shared), (1, 1), note=(None, f"{device}/{k}/{i}"), unit=(None, chance.choice(VILLAGES)))
                for i in (1, 2)
            ]
            pushed = await hand_in(wide_pool, reference, edits, device)
            assert len(pushed.outcomes) == 2
            assert all(not o.outcome.is_held for o in pushed.outcomes)

    await asyncio.gather(*(write(device) for device in range(1, WRITERS + 1)))
    done.set()
    await asyncio.gather(*following)
    await assert_true(wide_pool, *readers)
    assert await wide_pool.fetchval("SELECT count(*) FROM journal WHERE what = 'mutation'") == 8 + WRITERS * PUSHES * 2
    assert await _deadlocks(wide_pool) == 0
    async with snapshot(wide_pool) as conn:
        assert (await audit_county(conn, COUNTY)).differences == []


async def test_sixteen_phones_create_the_same_records(wide_pool: Pool) -> None:
    """Promise 2. The same ids in different streams at once: one record each, every value kept."""
    reference = await load_county(wide_pool)

    async def write(device: int) -> None:
        for n in range(1, 7):
            made = a_creation(n, an_id(n), name=f"手机{device}", unit=VILLAGES[(device + n) % len(VILLAGES)])
            pushed = await hand_in(wide_pool, reference, [made], device)
            assert [o.outcome.is_held for o in pushed.outcomes] == [False]

    await asyncio.gather(*(write(device) for device in range(1, WRITERS + 1)))
    await assert_true(wide_pool)
    assert await wide_pool.fetchval("SELECT count(*) FROM record WHERE kind = 'site'") == 6
    for n in range(1, 7):
        lost = await wide_pool.fetch(
            "SELECT body ->> 'lost' AS lost FROM record WHERE kind = 'conflict' AND body ->> 'record' = $1 AND body ->> 'field' = 'name'",
            str(an_id(n)),
        )
        now = await wide_pool.fetchval("SELECT body ->> 'name' FROM record WHERE id = $1", an_id(n))
        assert {now, *(r["lost"] for r in lost)} == {f"手机{device}" for device in range(1, WRITERS + 1)}


async def test_one_device_pushing_twice_at_once_counts_once(wide_pool: Pool) -> None:
    """Promise 2. A phone that gave up waiting and came again, while its first request is still at work."""
    reference = await load_county(wide_pool)
    batch = [a_creation(n, an_id(n)) for n in range(1, 6)]
    answers = await asyncio.gather(*(hand_in(wide_pool, reference, batch) for _ in range(8)))
    assert all(answer.outcomes == answers[0].outcomes for answer in answers)
    assert await wide_pool.fetchval("SELECT count(*) FROM journal") == 5
    await assert_true(wide_pool)
