"""The worker as a process that can be killed: once round all counties, with the simulation's time, what waits in the queue, and the end.

What runs is what production's worker runs every minute (server/jobs.py), and its jobs for every photo that has come and for every draw
that has departed; two of these at once are two workers. Only that nothing is decoded: thumbnails and stamps have tests of their own
(tests/storage/test_imaging.py).
"""

import asyncio
import hashlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import msgspec

from server.jobs import Work, complete_one_departure, run_casework_timers, run_patrol_plans
from server.logs import configure_logs
from server.settings import Settings
from server.work import open_work
from storage.cleaning import fetch_counties
from storage.draw_tasks import DEPART_JOB, DrawRef
from storage.image_pool import ImagePool
from storage.looks import Look, StampLine
from storage.photo_notes import fetch_unfinished
from storage.photo_process import process_photo
from storage.photos import PhotoRef
from sync.evidence import Exif
from tests.simulator.plants import plant_in_server
from tests.simulator.server_process import SharedTime


def run_timers(settings: Settings, time_path: Path, log_path: Path, plant: str | None, behind_ms: int, has_photos: bool) -> None:
    """The body of one process. `behind_ms`: how late this machine's clock is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with log_path.open("ab", buffering=0) as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    tempfile.tempdir = str(time_path.parent)  # what a killed worker leaves goes with the installation
    configure_logs(settings.log)
    shared = SharedTime(time_path)
    now = lambda: shared.now() - timedelta(milliseconds=behind_ms)  # noqa: E731
    plant_in_server(plant, now)
    asyncio.run(_once(settings, now, has_photos))


async def _once(settings: Settings, now: Callable[[], datetime], has_photos: bool) -> None:
    if not has_photos:  # a day without S3: there is an address, and nobody asks there
        settings = settings.model_copy(update={"s3": settings.s3.model_copy(update={"endpoint": "http://127.0.0.1:9"})})
    async with open_work(settings, now) as work:
        if has_photos:
            await _look_at_photos(work)
        await run_casework_timers(work)
        await run_patrol_plans(work)
        for row in await work.pool.fetch("SELECT payload FROM pgqueuer WHERE entrypoint = $1", DEPART_JOB):
            await complete_one_departure(work, msgspec.json.decode(row["payload"], type=DrawRef), 0)


async def _look_at_photos(work: Work) -> None:
    photos = replace(work.photos, images=cast("ImagePool", _Unseeing()))
    for county in await fetch_counties(work.pool):
        for sha256 in await fetch_unfinished(work.pool, county):
            await process_photo(photos, PhotoRef(county=county, sha256=sha256))


class _Unseeing:
    """In the place of an ImagePool: every picture is like no other, and nothing is rendered."""

    async def look_at(self, original: Path, _folder: Path, *, alone: bool = False) -> Look:
        pdq = hashlib.sha256(original.read_bytes()).hexdigest()
        return Look(format="jpeg", width=64, height=48, exif=Exif(), pdq=pdq, pdq_quality=0)

    async def write_stamped(self, original: Path, out: Path, _lines: Sequence[StampLine]) -> bool:
        out.write_bytes(original.read_bytes())
        return True
