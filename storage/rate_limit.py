"""Token buckets in PostgreSQL: the same limit for all processes, without a lock between different keys.

A bucket holds at most `capacity` tokens and regains `per_second`. Used with one token per try and given back on success,
it is the lock-out of the log-in: failures drain it and it decays by itself.
"""

from __future__ import annotations

import hashlib
import math
from datetime import datetime, timedelta
from typing import Final, LiteralString

import msgspec

from storage.pool import Executor


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """`capacity` tries at once, then one every 1 / `per_second` seconds."""

    capacity: float
    per_second: float


SQL_TAKE: Final[LiteralString] = """
    INSERT INTO rate_bucket AS b (key, tokens, at, taken) VALUES ($1, $2::float8 - $4::float8, $5, true)
    ON CONFLICT (key) DO UPDATE SET (tokens, at, taken) = (
        SELECT CASE WHEN f.full >= $4 THEN f.full - $4 ELSE f.full END, greatest(b.at, $5), f.full >= $4
        FROM (SELECT least($2, b.tokens + $3::float8 * greatest(0, extract(epoch FROM $5 - b.at)::float8))) f ("full"))
    RETURNING tokens, taken
"""


async def take(executor: Executor, key: str, rate: Rate, now: datetime, cost: float = 1.0) -> int | None:
    """Take tokens; None when there were enough, else the seconds (at least 1) after which there will be."""
    row = await executor.fetchrow(SQL_TAKE, key, rate.capacity, rate.per_second, cost, now)
    assert row is not None  # an upsert without WHERE always returns its row
    return None if row["taken"] else max(1, math.ceil((cost - row["tokens"]) / rate.per_second))


SQL_GIVE_BACK: Final[LiteralString] = "UPDATE rate_bucket SET tokens = tokens + $2 WHERE key = $1"


async def give_back(executor: Executor, key: str, cost: float = 1.0) -> None:
    """The try was a good one. More than full is cut at the next take."""
    await executor.execute(SQL_GIVE_BACK, key, cost)


SQL_FORGET: Final[LiteralString] = "DELETE FROM rate_bucket WHERE key = $1"


async def forget(executor: Executor, key: str) -> None:
    """Start anew with a full bucket."""
    await executor.execute(SQL_FORGET, key)


SQL_PURGE_BUCKETS: Final[LiteralString] = """
    DELETE FROM rate_bucket WHERE key IN (SELECT key FROM rate_bucket WHERE at < $1 LIMIT 5000)
"""


async def purge_buckets(executor: Executor, now: datetime) -> int:
    """Remove buckets untouched for two days, which are full again under every rate in use; returns how many."""
    status = await executor.execute(SQL_PURGE_BUCKETS, now - timedelta(days=2))
    return int(status.rpartition(" ")[2])


def bucket_key(what: str, who: str) -> str:
    """A key of fixed length that shows neither phone numbers nor addresses."""
    return f"{what}:{hashlib.sha256(who.encode()).hexdigest()[:32]}"
