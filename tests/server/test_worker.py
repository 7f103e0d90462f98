"""The worker on a real queue: jobs survive kills, dead databases and dead S3; what cannot work is held, not repeated for ever."""

import asyncio
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest
from pgqueuer.qm import QueueManager
from pydantic import SecretStr
from uuid_utils.compat import uuid7

import server.work
import server.worker
from api.resources import utc_now
from contracts.problems import ProblemCode
from server.embedded.postgres import EmbeddedPostgres
from server.jobs import JOBS, TIMERS, Job, Timer, Work, run_casework_timers, sweep_photos
from server.parts import environment_of
from server.settings import PgSettings, Settings
from server.work import open_work
from server.worker import run_worker
from storage.blobs import Uploader
from storage.image_pool import ImagePool
from storage.jobs import JobRequest, enqueue, fetch_backlog, purge_job_log
from storage.objects import Objects, chunk_key, photo_key
from storage.photos import VERIFY_JOB, enqueue_verify
from storage.scratch import ABANDONED_SECONDS, PREFIX
from tests.photo_builder import jpeg, noise, sha256_of
from tests.slow_s3 import S3Proxy

COUNTY = 610902
CHUNK = 256 * 1024
HEARTBEAT = timedelta(seconds=2)


class Said(msgspec.Struct, frozen=True):
    word: str


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[None]:
    """A worker in this process, with quick heartbeats."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_worker(settings, shutdown=stop, heartbeat=HEARTBEAT))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await task


async def until(condition: Callable[[], Awaitable[bool]], seconds_max: float = 30) -> None:
    async with asyncio.timeout(seconds_max):
        while not await condition():  # noqa: ASYNC110 - the other side is a database
            await asyncio.sleep(0.05)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the product's jobs and timers by one of the test's own."""

    def replace(run: Callable[..., Awaitable[None]], *, tries: int = 3, timers: tuple[Timer, ...] = ()) -> None:
        job = Job(name="toy", payload=Said, run=run, tries=tries, pause=timedelta(seconds=0.05))
        monkeypatch.setattr(server.worker, "JOBS", (job,))
        monkeypatch.setattr(server.worker, "TIMERS", timers)

    return replace


async def ask(conn: asyncpg.Pool | asyncpg.Connection, word: str, **options: object) -> None:
    await enqueue(conn, [JobRequest(job="toy", key=word, payload=Said(word), **options)])


async def test_a_job_is_done_and_leaves_the_queue(pool, settings, toy) -> None:
    done = []

    async def run(_work: Work, said: Said, _attempt: int) -> None:
        done.append(said.word)

    toy(run)
    await ask(pool, "before")
    async with working(settings):
        await until(lambda: truth(done == ["before"]))
        await ask(pool, "after")
        await until(lambda: truth(done == ["before", "after"]), 5)  # woken, not polled
        await until(lambda: is_empty(pool))


async def truth(value: bool) -> bool:
    return value


async def is_empty(pool: asyncpg.Pool) -> bool:
    return await fetch_backlog(pool) == []


async def test_a_job_and_its_cause_are_committed_together_or_not_at_all(pool) -> None:
    class Stop(Exception):
        pass

    async with pool.acquire() as conn:
        with pytest.raises(Stop):
            async with conn.transaction():
                await ask(conn, "never")
                raise Stop
        assert await is_empty(pool)
        async with conn.transaction():
            await ask(conn, "once")
    assert [(b.job, b.queued) for b in await fetch_backlog(pool)] == [("toy", 1)]


async def test_the_same_job_waits_only_once_and_its_transaction_goes_on(pool) -> None:
    async with pool.acquire() as conn, conn.transaction():
        for _ in range(3):
            await ask(conn, "same")
        await ask(conn, "other")
    assert [b.queued for b in await fetch_backlog(pool)] == [2]


async def test_a_job_that_fails_is_tried_again_and_then_held_for_a_person(pool, settings, toy) -> None:
    attempts = []

    async def run(_work: Work, said: Said, attempt: int) -> None:
        attempts.append(attempt)
        raise RuntimeError(said.word)

    toy(run, tries=3)
    await ask(pool, "impossible")
    async with working(settings):
        await until(lambda: is_failed(pool))
    assert attempts == [0, 1, 2]
    [traceback] = await pool.fetch("SELECT traceback FROM pgqueuer_log WHERE status = 'failed'")
    assert "impossible" in traceback["traceback"]


async def is_failed(pool: asyncpg.Pool) -> bool:
    return [(b.queued, b.picked, b.failed) for b in await fetch_backlog(pool)] == [(0, 0, 1)]


async def test_a_payload_of_another_release_is_held_too(pool, settings, toy) -> None:
    async def run(_work: Work, _said: Said, _attempt: int) -> None:
        pytest.fail("nothing to run with")

    toy(run, tries=2)
    await enqueue(pool, [JobRequest(job="toy", key="x", payload={"wort": 5})])
    async with working(settings):
        await until(lambda: is_failed(pool))


async def test_passing_faults_are_tried_for_ever(pool, settings, toy) -> None:
    attempts = []

    async def run(_work: Work, _said: Said, attempt: int) -> None:
        attempts.append(attempt)
        if attempt < 5:
            raise ConnectionRefusedError

    toy(run, tries=2)
    await ask(pool, "patience")
    async with working(settings):
        await until(lambda: is_empty(pool))
    assert attempts == [0, 1, 2, 3, 4, 5]


async def test_the_worker_outlives_a_crash_of_postgresql(private_cluster: EmbeddedPostgres, settings: Settings, toy) -> None:
    done = []

    async def run(_work: Work, said: Said, _attempt: int) -> None:
        done.append(said.word)

    toy(run)
    settings = settings.model_copy(update={"pg": PgSettings(dsn=SecretStr(private_cluster.dsn()))})

    async def ask_there(word: str) -> None:
        conn = await asyncpg.connect(private_cluster.dsn())
        await ask(conn, word)
        await conn.close()

    async with working(settings):
        await ask_there("before")
        await until(lambda: truth(done == ["before"]))
        await asyncio.to_thread(private_cluster.kill)
        await asyncio.to_thread(private_cluster.start)
        await ask_there("after")
        await until(lambda: truth("after" in done), 60)


async def test_the_worker_does_not_start_anew_for_nothing(settings, pool, toy, monkeypatch) -> None:
    """Its queue is probed at once: the probe must not overtake the listener."""

    async def run(_work: Work, _said: Said, _attempt: int) -> None: ...

    toy(run)
    starts = []
    real = server.worker.registered
    monkeypatch.setattr(server.worker, "registered", lambda *arguments: starts.append(1) or real(*arguments))
    monkeypatch.setattr(QueueManager._run_periodic_health_check, "__defaults__", (timedelta(seconds=0.3),))
    listen = asyncpg.Connection.add_listener

    async def listen_late(conn: asyncpg.Connection, *arguments: object) -> None:
        await asyncio.sleep(0.2)
        await listen(conn, *arguments)

    monkeypatch.setattr(asyncpg.Connection, "add_listener", listen_late)
    monkeypatch.setattr(server.worker, "RESTART_PAUSE", timedelta(seconds=0.1))
    async with working(settings):
        await asyncio.sleep(4)
    assert len(starts) == 1


async def test_a_timer_runs_and_one_that_fails_stops_nothing(pool, settings, toy) -> None:
    ran = []

    async def run(_work: Work, said: Said, _attempt: int) -> None:
        ran.append(said.word)

    async def fail(_work: Work) -> None:
        ran.append("timer")
        raise RuntimeError

    toy(run, timers=(Timer(name="toy.timer", cron="* * * * * */1", run=fail),))
    async with working(settings):
        await until(lambda: truth(ran.count("timer") >= 2))
        await ask(pool, "job")
        await until(lambda: truth("job" in ran))


async def test_the_log_of_done_jobs_is_shortened(pool) -> None:
    await pool.execute(
        "INSERT INTO pgqueuer_log (created, job_id, status, priority, entrypoint, aggregated) VALUES "
        "(now() - interval '40 days', 1, 'successful', 0, 'toy', true), (now() - interval '40 days', 2, 'queued', 0, 'toy', false), "
        "(now(), 3, 'successful', 0, 'toy', true)"
    )
    assert [await purge_job_log(pool, 30), await purge_job_log(pool, 30)] == [1, 0]
    assert [row[0] for row in await pool.fetch("SELECT job_id FROM pgqueuer_log ORDER BY job_id")] == [2, 3]


async def test_every_timer_of_the_product_runs_on_an_empty_installation(settings, pool) -> None:
    async with open_work(settings, utc_now) as work:
        for timer in TIMERS:
            await timer.run(work)


@pytest.mark.parametrize("wrong", [timedelta(days=400), timedelta(days=-400)])
async def test_timers_go_by_the_one_clock_that_all_workers_have(settings, pool, monkeypatch, wrong: timedelta) -> None:
    """A worker whose own clock is a year off judges nothing early, and nothing late."""
    await pool.execute("INSERT INTO county (county, name) VALUES ($1, '汉滨区')", COUNTY)
    monkeypatch.setattr(server.work, "utc_now", lambda: utc_now() + wrong)
    async with open_work(settings, server.work.utc_now) as work:
        assert abs(work.now() - utc_now()) > timedelta(days=399)
        await run_casework_timers(work)
    looked, done = await pool.fetchrow("SELECT looked_until, done_until FROM timer_run WHERE county = $1", COUNTY)
    assert looked == done
    assert abs(done - utc_now()) < timedelta(minutes=5)


def test_every_job_and_timer_has_a_name_of_its_own() -> None:
    names = [each.name for each in (*JOBS, *TIMERS)]
    assert len(names) == len(set(names))


# The photo job under fire


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[S3Proxy]:
    proxy = S3Proxy(settings.s3.endpoint)
    await proxy.open()
    yield proxy
    await proxy.close()


@pytest.fixture
def behind_proxy(settings: Settings, proxy: S3Proxy) -> Settings:
    return settings.model_copy(update={"s3": settings.s3.model_copy(update={"endpoint": proxy.endpoint})})


@pytest.fixture
def photo() -> bytes:
    return jpeg(noise(uuid.uuid4().int % 2**32, 800, 600), quality=95)


@pytest.fixture
async def objects(settings: Settings) -> Objects:
    from server.resources import s3_access

    return Objects(s3_access(settings.s3))


async def upload(pool: asyncpg.Pool, objects: Objects, photo: bytes, sha256: str) -> uuid.UUID:
    """As if a phone had announced the photo, put its chunks and said `complete`."""
    person, device, record = uuid.uuid4(), uuid7(), uuid.uuid4()
    for index, offset in enumerate(range(0, len(photo), CHUNK)):
        await objects.put(chunk_key(COUNTY, sha256, device, index), photo[offset : offset + CHUNK])
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("INSERT INTO county (county, name) VALUES ($1, '汉滨区') ON CONFLICT DO NOTHING", COUNTY)
        await conn.execute("INSERT INTO person (id, name, phone, password_hash) VALUES ($1, '人', $2, '')", person, str(person))
        await conn.execute("INSERT INTO device (id, person, kind) VALUES ($1, $2, 'phone')", device, person)
        await conn.execute("INSERT INTO blob (county, sha256) VALUES ($1, $2)", COUNTY, sha256)
        await conn.execute(
            "INSERT INTO blob_announcement (county, device, person, sha256, bytes, n, photo) VALUES ($1, $2, $3, $4, $5, 1, $6)",
            COUNTY,
            device,
            person,
            sha256,
            len(photo),
            record,
        )
        await conn.execute(
            "INSERT INTO blob_sending (county, sha256, device, person, bytes, opened_at, completed_at) VALUES ($1, $2, $3, $4, $5, now(), now())",
            COUNTY,
            sha256,
            device,
            person,
            len(photo),
        )
        await enqueue_verify(conn, [Uploader(county=COUNTY, sha256=sha256, device=device, person=person)])
    return device


async def blob_state(pool: asyncpg.Pool, sha256: str) -> str:
    return await pool.fetchval("SELECT state FROM blob WHERE county = $1 AND sha256 = $2", COUNTY, sha256)


async def is_received(pool: asyncpg.Pool, sha256: str) -> bool:
    return await blob_state(pool, sha256) == "received"


async def is_looked_at(pool: asyncpg.Pool, sha256: str) -> bool:
    return await pool.fetchval("SELECT EXISTS (SELECT 1 FROM picture WHERE sha256 = $1)", sha256)


async def start_worker_process(settings: Settings, scratch: Path) -> asyncio.subprocess.Process:
    root = Path(server.__file__).parent.parent
    environment = environment_of(settings) | {"XUNLING_S3__BUCKET": settings.s3.bucket, "TMPDIR": str(scratch)}
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "server", "worker", env=environment, cwd=root, stdout=sys.stderr)


async def test_chunks_are_composed_verified_looked_at_and_cleared_away(pool, settings, objects, photo) -> None:
    sha256 = sha256_of(photo)
    await upload(pool, objects, photo, sha256)
    async with working(settings):
        await until(lambda: is_looked_at(pool, sha256))
        await until(lambda: is_empty(pool))
    assert await is_received(pool, sha256)
    assert await objects.read(photo_key(COUNTY, sha256), len(photo) + 1) == photo
    assert await objects.list_under(f"{COUNTY}/chunks/{sha256}/") == []
    renderings = await objects.list_under(f"{COUNTY}/renderings/{sha256}/")
    assert [each.key.rpartition("/")[2] for each in renderings] == ["thumb_1280.jpg", "thumb_320.jpg"]


async def test_kill_9_in_the_middle_of_composing_loses_nothing_and_leaves_nothing(
    pool, settings, behind_proxy, proxy, objects, photo, tmp_path, monkeypatch
) -> None:
    sha256, scratch = sha256_of(photo), tmp_path / "scratch"
    scratch.mkdir()
    await upload(pool, objects, photo, sha256)
    proxy.stall_when = lambda line: line.startswith("GET") and "/chunks/" in line and "/00001" in line
    process = await start_worker_process(behind_proxy, scratch)
    try:
        async with asyncio.timeout(30):
            await proxy.stalled.wait()
        assert [(b.picked, b.queued) for b in await fetch_backlog(pool) if b.job == VERIFY_JOB] == [(1, 0)]
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert await blob_state(pool, sha256) == "wanted"
    (left,) = scratch.iterdir()
    young = scratch / f"{PREFIX}of-another-worker"
    young.mkdir()
    os.utime(left, (0, time.time() - ABANDONED_SECONDS - 60))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    async with working(settings):
        await until(lambda: is_looked_at(pool, sha256))
        await until(lambda: is_empty(pool))
    assert list(scratch.iterdir()) == [young]
    assert await objects.read(photo_key(COUNTY, sha256), len(photo) + 1) == photo


async def test_s3_gone_in_the_middle_of_composing_is_waited_for(pool, behind_proxy, proxy, objects, photo) -> None:
    sha256 = sha256_of(photo)
    await upload(pool, objects, photo, sha256)
    proxy.stall_when = lambda line: line.startswith("GET") and "/00001" in line
    async with working(behind_proxy):
        async with asyncio.timeout(30):
            await proxy.stalled.wait()
        await proxy.close()
        await asyncio.sleep(1)
        assert await blob_state(pool, sha256) == "wanted"
        proxy.stall_when = lambda _line: False
        await proxy.open()
        await until(lambda: is_received(pool, sha256), 60)


async def test_chunks_with_another_hash_are_deleted_and_the_phone_may_begin_anew(pool, settings, objects, photo, monkeypatch) -> None:
    wrong = photo[:-1] + bytes([photo[-1] ^ 1])
    device = await upload(pool, objects, wrong, sha256_of(photo))
    async with working(settings):
        await until(lambda: is_empty(pool))
    row = await pool.fetchrow("SELECT b.state, s.reason, s.completed_at FROM blob b JOIN blob_sending s USING (county, sha256)")
    assert tuple(row) == ("wanted", "photo_hash_mismatch", None)
    assert await objects.list_under(f"{COUNTY}/chunks/{sha256_of(photo)}/") == []
    assert await objects.head(photo_key(COUNTY, sha256_of(photo))) is None
    for index, offset in enumerate(range(0, len(photo), CHUNK)):
        await objects.put(chunk_key(COUNTY, sha256_of(photo), device, index), photo[offset : offset + CHUNK])
    await pool.execute("UPDATE blob_sending SET completed_at = now()")
    sweep = Timer(name="photo.sweep", cron="* * * * * */1", run=sweep_photos)
    monkeypatch.setattr(server.worker, "TIMERS", (sweep,))
    async with working(settings):
        await until(lambda: is_received(pool, sha256_of(photo)))  # nobody asked: the sweep finds it


async def test_a_clean_stop_finishes_what_is_under_way(pool, settings, objects, photo, tmp_path) -> None:
    sha256 = sha256_of(photo)
    await upload(pool, objects, photo, sha256)
    process = await start_worker_process(settings, tmp_path)
    try:
        await until(lambda: is_received(pool, sha256))
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert all(b.picked == 0 for b in await fetch_backlog(pool))


async def test_receipts_wait_for_nobodys_pictures(pool, settings, objects, photo, monkeypatch) -> None:
    """Twenty pictures that take for ever occupy no place that a receipt needs."""
    looked = asyncio.Event()
    looking: list[Path] = []

    async def look_for_long(_pool: ImagePool, original: Path, _folder: Path, *, alone: bool = False) -> ProblemCode:
        looking.append(original)
        await looked.wait()
        return ProblemCode.PHOTO_NOT_AN_IMAGE

    monkeypatch.setattr(ImagePool, "look_at", look_for_long)
    heavy = [noise(seed, 8, 8).tobytes() for seed in range(20)]
    for data in heavy:
        await upload(pool, objects, data, sha256_of(data))
    async with working(settings):
        for data in heavy:
            await until(lambda data=data: is_received(pool, sha256_of(data)), 60)
        await until(lambda: has_begun(looking))
        await upload(pool, objects, photo, sha256_of(photo))
        await until(lambda: is_received(pool, sha256_of(photo)), 10)
        assert 1 <= len(looking) <= 2
        looked.set()
        await until(lambda: is_empty(pool), 60)


async def has_begun(looking: list[Path]) -> bool:
    return bool(looking)
