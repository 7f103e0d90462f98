"""How often a person may come, and how much they may hand in a day. The counts are in PostgreSQL, but who behaves never touches them.

Of a person, not of a device: a person with many devices has no more than others. Each process lets everybody pass `FREE_SHARE` of the rate on
its own word; only who uses that up is asked about in the database, which all processes share. So an ordinary exchange costs no
statement, and a runaway phone is stopped everywhere.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import datetime
from typing import Final

from contracts.ids import PersonId
from contracts.problems import Problem, ProblemCode
from storage.pool import Executor
from storage.rate_limit import Rate, bucket_key, take

FREE_SHARE: Final = 0.25
PEOPLE_MAX: Final = 50_000  # 10 MB at most; the longest idle are forgotten first
DAY_S: Final = 86_400


class PersonLimit:
    """`what`: the name of the count. `rate` None: no limit."""

    def __init__(self, what: str, rate: Rate | None) -> None:
        self._what = what
        self._rate = rate
        self._free: OrderedDict[PersonId, tuple[float, float]] = OrderedDict()

    async def check(self, executor: Executor, person: PersonId, now: datetime) -> None:
        """Count one; Problem(too_many_requests) when it is one too many."""
        if wait_s := await self.wait_s(executor, person, now):
            raise Problem(ProblemCode.TOO_MANY_REQUESTS, retry_after_s=wait_s)

    async def wait_s(self, executor: Executor, person: PersonId, now: datetime, cost: float = 1.0) -> int | None:
        """Count so much; None when it was in the limit, else nothing is counted and the answer is the seconds until it will be."""
        if self._rate is None or self._passes_here(self._rate, person, time.monotonic(), cost):
            return None
        return await take(executor, bucket_key(self._what, str(person)), self._rate, now, cost)

    def _passes_here(self, rate: Rate, person: PersonId, at: float, cost: float) -> bool:
        full = rate.capacity * FREE_SHARE
        tokens, before = self._free.pop(person, (full, at))
        tokens = min(full, tokens + (at - before) * rate.per_second * FREE_SHARE)
        passes = tokens >= cost
        self._free[person] = (tokens - cost if passes else tokens, at)
        if len(self._free) > PEOPLE_MAX:
            self._free.popitem(last=False)
        return passes


def requests_limit(per_minute: int) -> PersonLimit:
    """So many requests a minute, half a minute's worth at once; 0: no limit."""
    return PersonLimit("person", Rate(capacity=max(per_minute / 2, 1), per_second=per_minute / 60) if per_minute else None)


def bytes_limit(per_day: int) -> PersonLimit:
    """So many bytes a day, all of them at once; 0: no limit."""
    return PersonLimit("bytes", Rate(capacity=per_day, per_second=per_day / DAY_S) if per_day else None)
