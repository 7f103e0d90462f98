"""Every job and timer of the product on one screen. A new one: a function, and a line here (docs/photos.md shows how).

A job is asked for by `storage.jobs.enqueue`, in the transaction that makes it necessary, and done at least once: write it
so that it may be repeated and may die anywhere. A timer runs on one worker at a time; what was due while no worker ran is
done once when one runs again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog

from api.signing import Signer
from contracts.ids import County
from storage.alike import suggest_for_changed
from storage.audit_seal import seal_log
from storage.blobs import Uploader
from storage.campaigns import warn_of_campaigns
from storage.carrying import carry_family
from storage.carrying_blobs import carry_blob
from storage.cleaning import CleaningRules, clean_county, fetch_counties
from storage.desk import DeskAction, decide, fetch_deferred, update_tries
from storage.draw_tasks import DEPART_JOB, DrawRef, complete_departure
from storage.draws import Seal
from storage.floors import purge_county
from storage.jobs import JobRequest, enqueue, fetch_given_up, purge_job_log
from storage.office_push import SYSTEM_PERSON
from storage.photo_notes import fetch_unfinished
from storage.photo_process import PhotoWork, process_photo, verify_photo
from storage.photo_sendings import fetch_unverified
from storage.photos import PROCESS_JOB, VERIFY_JOB, PhotoRef, enqueue_verify
from storage.plans import run_plans
from storage.pool import Pool, infrastructure_problem, is_passing
from storage.rate_limit import purge_buckets
from storage.retention import archive_county
from storage.timers import fetch_moment, run_timers
from storage.tokens import purge_tokens
from storage.transfers import CARRY_BLOB_JOB, CARRY_JOB, BlobTransferRef, TransferRef, enqueue_open
from storage.units import UnitsCache

DEFERRED_TRIES_MAX: Final = 12  # the last after a day and a half; then only a person tries again
DEFERRED_BATCH: Final = 200
JOB_LOG_DAYS: Final = 30
CLOCKS_DIFFER: Final = timedelta(minutes=1)  # between this machine and PostgreSQL: worth a line in the log

log = structlog.get_logger("xunling.jobs")


@dataclass(frozen=True, kw_only=True)
class RetentionRules:
    """What leaves the phones: closed records after so many days by kind, at most so many a night; markers after `marker_days`."""

    days: Mapping[str, int]
    records_max: int
    marker_days: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """What jobs may use. `attempt` counts from 0 and grows with every failure that was not a passing one.

    given_time   somebody else says what time it is (a demonstration, a test): PostgreSQL's clock is not asked
    """

    pool: Pool
    photos: PhotoWork
    draw_seal: Seal
    signer: Signer
    units: UnitsCache
    cleaning: CleaningRules
    retention: RetentionRules
    now: Callable[[], datetime]
    given_time: bool = True


@dataclass(frozen=True, kw_only=True)
class Job:
    """`run(work, payload, attempt)`. After `tries` failures it is held for a person; faults that pass are not counted.

    for_each_decoder   of all workers together run at most so many for each decoder of one; 0: as many as there are places
    """

    name: str
    payload: type[msgspec.Struct]
    run: Callable[[Work, Any, int], Awaitable[None]]
    tries: int = 5
    pause: timedelta = timedelta(seconds=10)  # doubled with every attempt
    for_each_decoder: int = 0


@dataclass(frozen=True, kw_only=True)
class Timer:
    """`cron`: five fields, UTC (Ankang is eight hours ahead)."""

    name: str
    cron: str
    run: Callable[[Work], Awaitable[None]]


async def verify_one_photo(work: Work, who: Uploader, _attempt: int) -> None:
    await verify_photo(work.photos, who)


async def process_one_photo(work: Work, ref: PhotoRef, _attempt: int) -> None:
    await process_photo(work.photos, ref)


async def each_county(work: Work, run: Callable[[County], Awaitable[None]]) -> None:
    """One county after the other. What one of them trips over is logged and keeps no other back; a fault of PostgreSQL or S3
    would meet them all, and ends the round.
    """
    for county in await fetch_counties(work.pool):
        try:
            await run(county)
        except Exception as error:
            if is_passing(error):
                raise
            log.exception("county_failed", run=run.__qualname__, county=county, error=type(error).__name__)


async def sweep_photos(work: Work) -> None:
    """Ask again for what a skipped job left behind, such as a record released from the desk after its photo came."""
    given_up = await fetch_given_up(work.pool, PROCESS_JOB)

    async def sweep(county: County) -> None:
        refs = [PhotoRef(county=county, sha256=sha256) for sha256 in await fetch_unfinished(work.pool, county)]
        requests = [JobRequest(job=PROCESS_JOB, key=f"{r.county}/{r.sha256}", payload=r) for r in refs]
        await enqueue(work.pool, [request for request in requests if request.key not in given_up])
        await enqueue_verify(work.pool, await fetch_unverified(work.pool, county))

    await each_county(work, sweep)


async def clean_objects(work: Work) -> None:
    """Orphans in S3, county by county."""

    async def clean(county: County) -> None:
        await clean_county(work.pool, work.photos.objects, county, work.cleaning, work.now())

    await each_county(work, clean)


async def retry_deferred(work: Work) -> None:
    """What the server itself failed at, judged again, each alone; what fails often enough stays for a person."""
    reference = await work.units.reference()
    for county, device, n in await fetch_deferred(work.pool, DEFERRED_TRIES_MAX, work.now(), DEFERRED_BATCH):
        try:
            await decide(work.pool, reference, county, device, n, DeskAction.RETRY, SYSTEM_PERSON, work.now())
        except Exception as error:
            if infrastructure_problem(error) is not None:
                raise
            log.warning("deferred_failed_again", county=county, device=str(device), n=n, error=type(error).__name__)
            await update_tries(work.pool, county, device, n)


async def carry_one_family(work: Work, ref: TransferRef, _attempt: int) -> None:
    """A record and its children, and what came late for them, to the county they moved to."""
    await carry_family(work.pool, await work.units.reference(), ref, work.now)


async def carry_one_blob(work: Work, ref: BlobTransferRef, _attempt: int) -> None:
    await carry_blob(work.pool, work.photos.objects, ref, work.now)


async def sweep_transfers(work: Work) -> None:
    """Ask again for what a skipped job left behind, and for bytes that have come since their record moved."""

    async def sweep(county: County) -> None:
        await enqueue_open(work.pool, county)

    await each_county(work, sweep)


async def archive_records(work: Work) -> None:
    """Closed, old records leave the phones."""
    reference, rules = await work.units.reference(), work.retention

    async def archive(county: County) -> None:
        if count := await archive_county(work.pool, reference, county, rules.days, work.now(), rules.records_max):
            log.info("archived", county=county, records=count)

    await each_county(work, archive)


async def purge_markers(work: Work) -> None:
    """Floors rise: a phone that stayed away for so long reads its streams anew."""
    left_before = work.now() - timedelta(days=work.retention.marker_days)

    async def purge(county: County) -> None:
        if count := await purge_county(work.pool, county, left_before):
            log.info("markers_purged", county=county, markers=count)

    await each_county(work, purge)


async def moment_of(work: Work) -> datetime:
    """What time it is for whatever falls due. There is one clock for all workers, PostgreSQL's: one that is wrong issues nothing early."""
    if work.given_time:
        return work.now()
    moment = await fetch_moment(work.pool)
    if abs(moment - work.now()) > CLOCKS_DIFFER:
        log.warning("clock_differs", seconds=(work.now() - moment).total_seconds())
    return moment


async def run_casework_timers(work: Work) -> None:
    """Colours, reminders and look-backs that have fallen due, also while nobody was running (storage/timers.py)."""
    reference = await work.units.reference()

    async def run(county: County) -> None:
        if count := await run_timers(work.pool, reference, county, await moment_of(work)):
            log.info("casework_due", county=county, issued=count)

    await each_county(work, run)


async def suggest_alike(work: Work) -> None:
    """Problems whose pictures look alike, among those that changed (storage/alike.py)."""
    reference = await work.units.reference()

    async def suggest(county: County) -> None:
        await suggest_for_changed(work.pool, reference, county, await moment_of(work))

    await each_county(work, suggest)


async def run_patrol_plans(work: Work) -> None:
    """Tasks of patrol plans and weather responses, and warnings of lost road-check months (storage/plans.py)."""
    reference = await work.units.reference()

    async def run(county: County) -> None:
        if count := await run_plans(work.pool, reference, county, await moment_of(work)):
            log.info("plans_due", county=county, tasks=count)

    async def warn(county: County) -> None:
        await warn_of_campaigns(work.pool, reference, county, await moment_of(work))

    await each_county(work, run)
    await each_county(work, warn)


async def clean_access(work: Work) -> None:
    """Tokens that nobody can use any more, and rate buckets that are long full again."""
    while await purge_tokens(work.pool, work.now()):
        pass
    while await purge_buckets(work.pool, work.now()):
        pass


async def clean_job_log(work: Work) -> None:
    """The queue's own log, which nobody else shortens."""
    while await purge_job_log(work.pool, JOB_LOG_DAYS):
        pass


async def seal_audit_log(work: Work) -> None:
    """What was noted since the last seal."""
    while await seal_log(work.pool, work.signer.key, work.signer.sign, await moment_of(work)):
        pass


async def complete_one_departure(work: Work, ref: DrawRef, _attempt: int) -> None:
    """Tasks of inspectors who departed, if whoever sent them died before the tasks were made."""
    await complete_departure(work.pool, await work.units.reference(), work.draw_seal, ref, work.now())


JOBS: Final = (
    Job(name=VERIFY_JOB, payload=Uploader, run=verify_one_photo, pause=timedelta(seconds=2)),
    Job(name=PROCESS_JOB, payload=PhotoRef, run=process_one_photo, pause=timedelta(seconds=2), for_each_decoder=2),
    Job(name=CARRY_JOB, payload=TransferRef, run=carry_one_family),
    Job(name=CARRY_BLOB_JOB, payload=BlobTransferRef, run=carry_one_blob),
    Job(name=DEPART_JOB, payload=DrawRef, run=complete_one_departure),
)

TIMERS: Final = (
    Timer(name="photo.sweep", cron="* * * * *", run=sweep_photos),
    Timer(name="deferred.retry", cron="* * * * *", run=retry_deferred),
    Timer(name="transfer.sweep", cron="* * * * *", run=sweep_transfers),
    Timer(name="casework.due", cron="* * * * *", run=run_casework_timers),
    Timer(name="alike.due", cron="* * * * *", run=suggest_alike),
    Timer(name="plans.due", cron="* * * * *", run=run_patrol_plans),
    Timer(name="audit.seal", cron="*/5 * * * *", run=seal_audit_log),
    Timer(name="record.archive", cron="37 17 * * *", run=archive_records),
    Timer(name="marker.purge", cron="57 17 * * *", run=purge_markers),
    Timer(name="photo.clean", cron="17 18 * * *", run=clean_objects),
    Timer(name="access.clean", cron="41 * * * *", run=clean_access),
    Timer(name="job_log.clean", cron="7 19 * * *", run=clean_job_log),
)
