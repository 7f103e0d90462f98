"""What the worker holds while it runs: the counterpart of server/resources.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from api.resources import utc_now
from contracts.retention import RETENTION_DAYS
from server.jobs import RetentionRules, Work
from server.keys import load_secret, load_signer
from server.resources import photo_rules, s3_access
from server.settings import PhotoSettings, RetentionSettings, Settings
from storage.cleaning import CleaningRules
from storage.draws import Seal
from storage.image_pool import ImagePool
from storage.objects import Objects
from storage.photo_process import PhotoWork
from storage.pool import open_pool
from storage.scratch import remove_abandoned
from storage.units import UnitsCache
from sync.evidence import EvidenceRules


@asynccontextmanager
async def open_work(settings: Settings, now: Callable[[], datetime]) -> AsyncIterator[Work]:
    """Open what jobs need, and close it in reverse. What killed workers have left on the disk goes first."""
    await asyncio.to_thread(remove_abandoned)
    pool = await open_pool(
        settings.pg.full_dsn(),
        size_max=settings.pg.pool_size_max,
        statement_seconds_max=settings.pg.statement_seconds_max,
        application_name="xunling-worker",
    )
    async with pool:
        objects = Objects(s3_access(settings.s3))
        images = ImagePool(processes=settings.photos.decoders, pixels_max=settings.limits.photo_pixels_max, font=settings.cjk_font)
        units = UnitsCache(pool)
        try:
            photos = PhotoWork(
                pool=pool,
                objects=objects,
                images=images,
                rules=photo_rules(settings.limits),
                evidence=evidence_rules(settings.photos),
                places=units.places,
                now=now,
            )
            yield Work(
                pool=pool,
                photos=photos,
                draw_seal=Seal(load_secret(settings.keys_folder, "draws.key")),
                signer=load_signer(settings.keys_folder),
                units=units,
                cleaning=cleaning_rules(settings.photos),
                retention=retention_rules(settings.retention),
                now=now,
                given_time=now is not utc_now,
            )
        finally:
            await images.close()
            await objects.close()


def evidence_rules(photos: PhotoSettings) -> EvidenceRules:
    return EvidenceRules(
        far_m=photos.far_m,
        long_before=timedelta(hours=photos.long_before_hours),
        exif_differs_m=photos.exif_differs_m,
        exif_differs_time=timedelta(minutes=photos.exif_differs_minutes),
    )


def cleaning_rules(photos: PhotoSettings) -> CleaningRules:
    return CleaningRules(condemned_for=timedelta(days=photos.condemned_days), chunks_abandoned=timedelta(days=photos.chunks_abandoned_days))


def retention_rules(retention: RetentionSettings) -> RetentionRules:
    return RetentionRules(
        days={kind: getattr(retention, f"{kind}_days") for kind in RETENTION_DAYS},
        records_max=retention.records_max,
        marker_days=retention.marker_days,
    )
