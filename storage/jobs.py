"""Asking for work: a job is enqueued on the connection, and in the transaction, of the change that makes it necessary.

The worker (server/worker.py) does it later, at least once; so every job is written to be repeated. `key` names what the
job is about: while one such job waits or runs, another is not added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, LiteralString

import msgspec

from storage.pool import Executor


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`payload` is encoded as JSON; the job function declares its type."""

    job: str
    key: str
    payload: Any
    priority: int = 0  # higher first
    delay_seconds: float = 0


# The table is pgqueuer's (storage/migrations/20261122000020_jobs.sql); its trigger wakes the workers at commit.
SQL_INSERT_JOBS: Final[LiteralString] = """
    INSERT INTO pgqueuer (entrypoint, dedupe_key, payload, priority, execute_after, status)
    SELECT u.job, u.key, u.payload, u.priority, now() + u.delay * interval '1 second', 'queued'
    FROM unnest($1::text[], $2::text[], $3::bytea[], $4::integer[], $5::double precision[])
         AS u (job, key, payload, priority, delay)
    ON CONFLICT (dedupe_key) WHERE status IN ('queued', 'picked') AND dedupe_key IS NOT NULL DO NOTHING
"""


async def enqueue(conn: Executor, requests: Sequence[JobRequest]) -> None:
    """Add jobs; those whose key already waits or runs are skipped."""
    if requests:
        await conn.execute(
            SQL_INSERT_JOBS,
            [r.job for r in requests],
            [f"{r.job}/{r.key}" for r in requests],
            [msgspec.json.encode(r.payload) for r in requests],
            [r.priority for r in requests],
            [r.delay_seconds for r in requests],
        )


SQL_FETCH_GIVEN_UP: Final[LiteralString] = """
    SELECT DISTINCT dedupe_key FROM pgqueuer WHERE entrypoint = $1 AND status = 'failed'
"""


async def fetch_given_up(conn: Executor, job: str) -> set[str]:
    """Keys of jobs that are held for a person: what looks for unfinished work must not ask for them again."""
    return {row["dedupe_key"].removeprefix(f"{job}/") for row in await conn.fetch(SQL_FETCH_GIVEN_UP, job)}


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of one name: waiting (due or not), under way, and given up (held for a person)."""

    job: str
    queued: int
    picked: int
    failed: int
    oldest_seconds: float


SQL_FETCH_BACKLOG: Final[LiteralString] = """
    SELECT entrypoint AS job,
           count(*) FILTER (WHERE status = 'queued') AS queued,
           count(*) FILTER (WHERE status = 'picked') AS picked,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           coalesce(extract(epoch FROM now() - min(created) FILTER (WHERE status = 'queued')), 0)::double precision
               AS oldest_seconds
    FROM pgqueuer GROUP BY entrypoint ORDER BY entrypoint
"""


async def fetch_backlog(conn: Executor) -> list[Backlog]:
    """What waits for the worker, per job; for metrics and readiness."""
    return [Backlog(**dict(row)) for row in await conn.fetch(SQL_FETCH_BACKLOG)]


SQL_PURGE_JOB_LOG: Final[LiteralString] = """
    DELETE FROM pgqueuer_log WHERE id IN (
        SELECT id FROM pgqueuer_log WHERE created < now() - $1 * interval '1 day' AND aggregated ORDER BY created LIMIT 5000)
"""
SQL_PURGE_JOB_STATISTICS: Final[LiteralString] = """
    DELETE FROM pgqueuer_statistics WHERE created < now() - $1 * interval '1 day'
"""


async def purge_job_log(conn: Executor, days: float) -> int:
    """Remove old log lines of jobs that are done; returns how many. To be called until it returns 0."""
    await conn.execute(SQL_PURGE_JOB_STATISTICS, days)
    status = await conn.execute(SQL_PURGE_JOB_LOG, days)
    return int(status.rpartition(" ")[2])
