"""The pool, with the faults injected: a full queue, a restart, a fault of the data that looks like one of the connection."""

import asyncio
import uuid

import asyncpg
import pytest

from contracts.problems import Problem, ProblemCode
from server.embedded.postgres import EmbeddedPostgres
from storage.pool import RETRY_PAUSES_S, infrastructure_problem, is_passing, open_pool, retrying, snapshot, transaction

pytestmark = pytest.mark.anyio


async def test_past_its_bound_the_queue_refuses_at_once(database: str) -> None:
    async with await open_pool(database, size_min=0, size_max=1, waiting_max=2, acquire_seconds_max=5) as pool:
        async with pool.acquire():
            waiting = [asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(2)]
            await asyncio.sleep(0.05)
            async with asyncio.timeout(0.5):
                with pytest.raises(Problem) as caught:
                    await pool.fetchval("SELECT 1")
            assert caught.value.code is ProblemCode.BUSY
            assert caught.value.retry_after_s
        assert await asyncio.gather(*waiting) == [1, 1]
        assert await pool.fetchval("SELECT 2") == 2


async def test_who_waits_too_long_for_a_connection_is_told_to_come_again(database: str) -> None:
    async with await open_pool(database, size_min=0, size_max=1, acquire_seconds_max=0.1) as pool, pool.acquire():
        with pytest.raises(Problem) as caught:
            await pool.fetchval("SELECT 1")
        assert caught.value.code is ProblemCode.BUSY


async def test_many_more_tasks_than_connections_are_all_served(database: str) -> None:
    async with await open_pool(database, size_max=3, waiting_max=200) as pool:
        values = await asyncio.gather(*(pool.fetchval("SELECT $1::int", i) for i in range(150)))
        assert values == list(range(150))
        assert pool.get_size() <= 3
        assert pool.waiting == 0  # type: ignore[attr-defined]


async def test_cancelled_waits_leave_no_trace(database: str) -> None:
    async with await open_pool(database, size_min=0, size_max=1, waiting_max=5) as pool:
        async with pool.acquire():
            waiting = [asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(5)]
            await asyncio.sleep(0.05)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        assert await pool.fetchval("SELECT 1") == 1


async def test_an_idempotent_call_survives_a_killed_postgresql(private_cluster: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.pool.RETRY_PAUSES_S", (*RETRY_PAUSES_S, 4.0, 8.0))  # a busy machine restarts it more slowly
    async with await open_pool(private_cluster.dsn(), size_min=4, size_max=4) as pool:
        await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.05)") for _ in range(4)))  # all four are open
        private_cluster.kill()
        call = asyncio.create_task(retrying(lambda: pool.fetchval("SELECT 42")))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(private_cluster.start)
        assert await call == 42
        values = await asyncio.gather(*(retrying(lambda: pool.fetchval("SELECT 1")) for _ in range(8)))
        assert values == [1] * 8


async def test_while_postgresql_is_gone_the_problem_says_so_and_retries_are_bounded(
    private_cluster: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.pool.RETRY_PAUSES_S", (0.01, 0.01))
    tries = 0
    async with await open_pool(private_cluster.dsn(), size_min=0) as pool:
        private_cluster.kill()

        async def call() -> None:
            nonlocal tries
            tries += 1
            await pool.fetchval("SELECT 1")

        with pytest.raises(Problem) as caught:
            await retrying(call)
        private_cluster.start()
    assert caught.value.code is ProblemCode.STORAGE_UNAVAILABLE
    assert caught.value.retry_after_s
    assert tries == 3


async def test_what_will_fail_again_is_not_tried_again(database: str) -> None:
    tries = 0
    async with await open_pool(database, size_min=0) as pool:

        async def call() -> None:
            nonlocal tries
            tries += 1
            await pool.execute("SELECT 1/0")

        with pytest.raises(asyncpg.DivisionByZeroError):
            await retrying(call)
    assert tries == 1


async def test_a_value_that_cannot_be_encoded_is_no_fault_of_the_infrastructure(database: str) -> None:
    """Answered as 503 the phone would send it for ever."""
    async with await open_pool(database, size_min=0) as pool:
        with pytest.raises(asyncpg.DataError) as caught:
            await pool.fetchval("SELECT $1::integer", "no number")
    assert infrastructure_problem(caught.value) is None


async def test_a_full_queue_is_not_tried_again() -> None:
    assert not is_passing(Problem(ProblemCode.BUSY))
    assert is_passing(Problem(ProblemCode.STORAGE_UNAVAILABLE))
    assert not is_passing(ValueError())


async def test_a_statement_that_takes_too_long_is_cancelled(database: str) -> None:
    async with await open_pool(database, size_min=0, statement_seconds_max=0.1) as pool:
        with pytest.raises(asyncpg.QueryCanceledError) as caught:
            await pool.execute("SELECT pg_sleep(5)")
        problem = infrastructure_problem(caught.value)
        assert problem is not None
        assert problem.code is ProblemCode.BUSY
        assert not is_passing(caught.value)


async def test_a_transaction_commits_at_its_end_and_not_after_an_exception(database: str) -> None:
    async with await open_pool(database, size_min=0) as pool:
        async with transaction(pool) as conn:
            await conn.execute("INSERT INTO wipe_allowance VALUES ($1, 1)", uuid.uuid4())
        with pytest.raises(RuntimeError):
            async with transaction(pool) as conn:
                await conn.execute("INSERT INTO wipe_allowance VALUES ($1, 1)", uuid.uuid4())
                raise RuntimeError
        assert await pool.fetchval("SELECT count(*) FROM wipe_allowance") == 1


async def test_a_snapshot_sees_one_moment(database: str) -> None:
    async with await open_pool(database, size_max=2) as pool, snapshot(pool) as conn:
        before = await conn.fetchval("SELECT count(*) FROM wipe_allowance")
        await pool.execute("INSERT INTO wipe_allowance VALUES ($1, 1)", uuid.uuid4())
        assert await conn.fetchval("SELECT count(*) FROM wipe_allowance") == before


async def test_connections_set_what_citus_needs_and_plain_postgresql_ignores(database: str) -> None:
    async with await open_pool(database, size_min=0, application_name="xunling-test") as pool, pool.acquire() as conn:
        assert await conn.fetchval("SELECT current_setting('citus.override_table_visibility')") == "off"
        assert await conn.fetchval("SELECT current_setting('application_name')") == "xunling-test"
        assert await conn.fetchval("SELECT current_setting('TimeZone')") == "UTC"
