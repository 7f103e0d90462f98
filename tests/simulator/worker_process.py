"""The worker's timers as a process that can be killed: once round all counties, with the simulation's time, and the end.

What runs is what production's worker runs every minute (server/jobs.py); two of these at once are two workers.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from server.jobs import RetentionRules, Work, run_casework_timers, run_patrol_plans
from server.logs import configure_logs
from server.settings import PhotoSettings, Settings
from server.work import cleaning_rules
from storage.pool import open_pool
from storage.units import UnitsCache
from tests.simulator.plants import plant_in_server
from tests.simulator.server_process import SharedTime


def run_timers(settings: Settings, time_path: Path, log_path: Path, plant: str | None, behind_ms: int) -> None:
    """The body of one process. `behind_ms`: how late this machine's clock is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with log_path.open("ab", buffering=0) as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    configure_logs(settings.log)
    shared = SharedTime(time_path)
    now = lambda: shared.now() - timedelta(milliseconds=behind_ms)  # noqa: E731
    plant_in_server(plant, now)
    asyncio.run(_once(settings, now))


async def _once(settings: Settings, now: Callable[[], datetime]) -> None:
    async with await open_pool(settings.pg.full_dsn(), size_min=0, size_max=3) as pool:
        work = Work(
            pool=pool,
            photos=cast("Any", None),  # these timers have nothing to do with photos,
            draw_seal=cast("Any", None),  # nor with draws
            units=UnitsCache(pool),
            cleaning=cleaning_rules(PhotoSettings()),
            retention=RetentionRules(days={}, records_max=0, marker_days=10_000),
            now=now,
        )
        await run_casework_timers(work)
        await run_patrol_plans(work)
