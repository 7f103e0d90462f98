"""How often one device may come. The count is in PostgreSQL, but a device that behaves never touches it.

Each process lets every device pass `FREE_SHARE` of its rate on its own word; only who uses that up is asked about in the
database, which all processes share. So an ordinary exchange costs no statement, and a runaway phone is stopped everywhere.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import datetime
from typing import Final

from contracts.ids import DeviceId
from contracts.problems import Problem, ProblemCode
from storage.pool import Executor
from storage.rate_limit import Rate, bucket_key, take

FREE_SHARE: Final = 0.25
DEVICES_MAX: Final = 50_000  # 10 MB at most; the longest idle are forgotten first


class DeviceLimit:
    """`per_minute` requests of one device, half a minute's worth at once; 0: no limit."""

    def __init__(self, per_minute: int) -> None:
        self._rate = Rate(capacity=max(per_minute / 2, 1), per_second=per_minute / 60)
        self._is_off = per_minute == 0
        self._free: OrderedDict[DeviceId, tuple[float, float]] = OrderedDict()

    async def check(self, executor: Executor, device: DeviceId, now: datetime) -> None:
        """Count one request; Problem(too_many_requests) when it is one too many."""
        if self._is_off or self._passes_here(device, time.monotonic()):
            return
        wait_s = await take(executor, bucket_key("device", str(device)), self._rate, now)
        if wait_s is not None:
            raise Problem(ProblemCode.TOO_MANY_REQUESTS, retry_after_s=wait_s)

    def _passes_here(self, device: DeviceId, at: float) -> bool:
        full = self._rate.capacity * FREE_SHARE
        tokens, before = self._free.pop(device, (full, at))
        tokens = min(full, tokens + (at - before) * self._rate.per_second * FREE_SHARE)
        passes = tokens >= 1
        self._free[device] = (tokens - 1 if passes else tokens, at)
        if len(self._free) > DEVICES_MAX:
            self._free.popitem(last=False)
        return passes
