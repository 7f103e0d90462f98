"""The worker: takes jobs off the queue and runs timers, in a process of its own, any number of them side by side.

A job whose worker was killed is taken up by another (or by its successor) once its heartbeat is `HEARTBEAT` old. Faults of
PostgreSQL and S3 pass: such a job waits and is tried for ever. Any other fault is tried a few times, then the job is held,
with its traceback, for a person (`python -m pgqueuer failed`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import msgspec
import pgqueuer
import structlog
from pgqueuer.executors import AbstractEntrypointExecutor, EntrypointExecutorParameters
from pgqueuer.models import Context, Schedule
from pgqueuer.models import Job as QueuedJob

from api.resources import utc_now
from contracts.problems import Problem, ProblemCode
from server.jobs import JOBS, TIMERS, Job, Timer, Work
from server.settings import Settings
from server.work import open_work
from storage.pool import infrastructure_problem, open_pool

HEARTBEAT: Final = timedelta(seconds=30)
JOBS_AT_ONCE_MAX: Final = 8
BATCH: Final = 4
POLL: Final = timedelta(seconds=10)  # NOTIFY wakes it earlier
RESTART_PAUSE: Final = timedelta(seconds=2)
PAUSE_MAX: Final = timedelta(minutes=5)
PASSING: Final = (ProblemCode.STORAGE_UNAVAILABLE, ProblemCode.BUSY)

log = structlog.get_logger("xunling.worker")


def work(settings: Settings) -> None:
    """Work until SIGINT or SIGTERM; what is under way is finished first."""
    asyncio.run(run_worker(settings))


async def run_worker(
    settings: Settings,
    *,
    shutdown: asyncio.Event | None = None,
    heartbeat: timedelta = HEARTBEAT,
    now: Callable[[], datetime] = utc_now,
) -> None:
    """Until `shutdown`, or a signal when there is none. Starts anew, with fresh connections, when PostgreSQL was away."""

    @asynccontextmanager
    async def manager() -> AsyncIterator[pgqueuer.PgQueuer]:
        async with open_work(settings, now) as opened, queue_connection(settings.pg.full_dsn()) as conn:
            log.info("worker_ready", jobs=[job.name for job in JOBS], timers=[timer.name for timer in TIMERS])
            yield registered(pgqueuer.PgQueuer.from_asyncpg_connection(conn), opened)
        log.info("worker_stopped")

    await pgqueuer.run(
        manager,
        dequeue_timeout=min(POLL, heartbeat),
        batch_size=BATCH,
        max_concurrent_tasks=JOBS_AT_ONCE_MAX,
        heartbeat_timeout=heartbeat,
        shutdown_on_listener_failure=True,
        restart_on_failure=True,
        restart_delay=RESTART_PAUSE,
        shutdown=shutdown,
    )


@asynccontextmanager
async def queue_connection(dsn: str) -> AsyncIterator[Any]:
    """The one connection of the queue, listening included.

    With a pool, pgqueuer's first probe of its listener (NOTIFY) may overtake the LISTEN on another connection, and the
    worker starts anew after ten seconds for nothing.
    """
    async with await open_pool(dsn, size_max=1) as pool, pool.acquire() as conn:
        try:
            yield conn
        finally:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await conn.reset()  # its listener must not be met by the pool


def registered(queue: pgqueuer.PgQueuer, work: Work) -> pgqueuer.PgQueuer:
    """The queue with every job and timer of server/jobs.py."""
    for job in JOBS:
        add_job(queue, job, work)
    for timer in TIMERS:
        add_timer(queue, timer, work)
    return queue


def add_job(queue: pgqueuer.PgQueuer, job: Job, work: Work) -> None:
    async def run(queued: QueuedJob) -> None:
        payload = msgspec.json.decode(queued.payload or b"{}", type=job.payload)
        with structlog.contextvars.bound_contextvars(job=job.name, job_id=queued.id):
            await job.run(work, payload, queued.attempts)

    queue.entrypoint(
        job.name,
        concurrency_limit=job.for_each_decoder * work.photos.images.processes,
        on_failure="hold",
        executor_factory=lambda parameters: PatientExecutor(parameters=parameters, job=job),
    )(run)


def add_timer(queue: pgqueuer.PgQueuer, timer: Timer, work: Work) -> None:
    async def run(_schedule: Schedule) -> None:
        try:
            await timer.run(work)
        except Exception as error:  # a timer comes again by itself; the others must go on
            log.exception("timer_failed", timer=timer.name, error=type(error).__name__)

    queue.schedule(timer.name, timer.cron)(run)


@dataclass
class PatientExecutor(AbstractEntrypointExecutor):
    """Decides what a failure means: come again later, or give up."""

    parameters: EntrypointExecutorParameters
    job: Job

    async def execute(self, job: QueuedJob, context: Context) -> None:  # noqa: ARG002 - pgqueuer's signature
        try:
            await self.parameters.func(job)  # type: ignore[call-arg]
        except Exception as error:
            pause = min(PAUSE_MAX, self.job.pause * 2 ** min(job.attempts, 10))
            if is_passing(error):
                log.warning("job_waits", job=self.job.name, error=type(error).__name__, seconds=pause.total_seconds())
            elif job.attempts + 1 >= self.job.tries:
                log.exception("job_given_up", job=self.job.name, job_id=job.id)
                raise
            else:
                log.warning("job_failed", job=self.job.name, job_id=job.id, attempt=job.attempts, exc_info=error)
            raise pgqueuer.RetryRequested(delay=pause, reason=type(error).__name__) from error


def is_passing(error: Exception) -> bool:
    """A fault of PostgreSQL, S3 or the way to them."""
    if isinstance(error, Problem):
        return error.code in PASSING
    return infrastructure_problem(error) is not None
