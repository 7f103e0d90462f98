"""A photo's bytes on their way in: what is missing, what is complete, what is verified (design.md section 4, decision 0033).

Nothing here trusts a phone: the bytes are received only when this server has computed their SHA-256 and it is the announced one,
and a person gets a receipt only for bytes that came from one of the person's own devices. Whether the county has them
already changes no answer: they are asked for all the same, and the duplicate is dropped. S3 is asked outside transactions.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from contracts.ids import County
from contracts.photos import CHUNK_BYTES, PhotoState
from contracts.problems import Problem, ProblemCode
from storage import blobs
from storage import photo_sendings as sendings
from storage.blobs import Announced, BlobState, Uploader
from storage.jobs import JobRequest, enqueue
from storage.objects import Objects, Put, chunk_key, chunks_prefix, photo_key
from storage.pool import Connection, Pool, transaction
from storage.scratch import scratch_folder

VERIFY_JOB: Final = "photo.verify"
PROCESS_JOB: Final = "photo.process"
VERIFY_PRIORITY: Final = 100  # receipts before renderings


class PhotoRules(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one installation. A photo of at most `single_bytes_max` is one PUT, a larger one is chunks.

    day_bytes_max   for which one person is given addresses within a day
    """

    photo_bytes_max: int
    pixels_max: int
    day_bytes_max: int = 10 * 1024**3
    chunk_bytes: int = CHUNK_BYTES
    single_bytes_max: int = 2 * CHUNK_BYTES


class PhotoRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which bytes: the payload of the photo job, and the key of everything that is known of them."""

    county: County
    sha256: str


class PlannedPart(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    offset: int
    have: bool
    put: Put


class UploadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`received_at`: the bytes are kept, a receipt is due. `is_news`: this very call made the state what it is."""

    state: PhotoState
    bytes: int
    is_single: bool = False
    parts: list[PlannedPart] = []
    received_at: datetime | None = None
    reason: str | None = None
    is_news: bool = False


async def plan_upload(pool: Pool, objects: Objects, rules: PhotoRules, who: Uploader, now: datetime) -> UploadPlan:
    """What is left to be sent. Problems: photo_not_announced, photo_day_full, storage_unavailable."""
    said = await fetch_said(pool, who)
    if said.sent_at is None and await restore_senders(pool, objects, who.county, who.sha256, now):
        said = await fetch_said(pool, who)
    if plan := await settled_plan(pool, rules, who, said):
        return plan
    await sendings.open_sending(pool, who, said, rules.day_bytes_max, now)
    parts = planned_parts(who, said.bytes, rules)
    present = await find_present(objects, who, parts)
    parts = [msgspec.structs.replace(part, have=part.put.key in present) for part in parts]
    return UploadPlan(
        state=PhotoState.UPLOAD,
        bytes=said.bytes,
        is_single=is_single(said.bytes, rules),
        parts=parts,
        reason=said.reason,
    )


async def complete_upload(pool: Pool, objects: Objects, rules: PhotoRules, who: Uploader, now: datetime) -> UploadPlan:
    """All parts are there, says the phone. A single one is verified at once, the worker verifies chunks.

    Problems: photo_not_announced, photo_incomplete (missing: [index]), photo_size_mismatch, photo_hash_mismatch,
    storage_unavailable.
    """
    said = await fetch_said(pool, who)
    if plan := await settled_plan(pool, rules, who, said):
        return plan
    await require_all_parts(objects, rules, who, said)
    if not is_single(said.bytes, rules):
        return await hand_to_worker(pool, who, said)
    verified = await verify_parts(pool, objects, rules, who, said.bytes, now)
    if isinstance(verified, ProblemCode):
        raise Problem(verified)
    return verified


async def fetch_said(pool: Pool, who: Uploader) -> Announced:
    said = await blobs.fetch_announced(pool, who)
    if said is None:
        raise Problem(ProblemCode.PHOTO_NOT_ANNOUNCED)
    return said


async def settled_plan(pool: Pool, rules: PhotoRules, who: Uploader, said: Announced) -> UploadPlan | None:
    """The answer when nothing is to be sent; None when parts are. What never can be sent is refused for this person alone."""
    if said.sent_at is not None:
        is_refused = said.blob.state is BlobState.REFUSED
        state = PhotoState.REFUSED if is_refused else PhotoState.RECEIVED
        return UploadPlan(state=state, bytes=said.blob.bytes, received_at=said.sent_at, reason=said.blob.reason if is_refused else None)
    if reason := unacceptable(said.bytes, rules):
        if said.refused is None:
            async with transaction(pool) as conn:
                await blobs.update_announced_refused(conn, who, said.bytes, reason)
                await enqueue_process(conn, who)
        return UploadPlan(state=PhotoState.REFUSED, bytes=said.bytes, reason=reason.value)
    if said.completed_at is not None:
        return UploadPlan(state=PhotoState.VERIFYING, bytes=said.bytes)
    return None


def unacceptable(size: int, rules: PhotoRules) -> ProblemCode | None:
    """Why bytes of this size are never taken."""
    if size < 1:
        return ProblemCode.PHOTO_EMPTY
    return ProblemCode.PHOTO_TOO_LARGE if size > rules.photo_bytes_max else None


# Parts


def is_single(size: int, rules: PhotoRules) -> bool:
    return size <= rules.single_bytes_max


def planned_parts(who: Uploader, size: int, rules: PhotoRules) -> list[PlannedPart]:
    """The one PUT of a small photo, or the chunks of a larger one; none marked as present. Each device has keys of its own."""
    step = size if is_single(size, rules) else rules.chunk_bytes
    return [
        PlannedPart(
            index=index,
            offset=offset,
            have=False,
            put=Put(
                key=chunk_key(who.county, who.sha256, who.device, index),
                bytes=min(step, size - offset),
                sha256=who.sha256 if step == size else None,
            ),
        )
        for index, offset in enumerate(range(0, size, step))
    ]


async def find_present(objects: Objects, who: Uploader, parts: list[PlannedPart]) -> set[str]:
    """Keys of the parts that S3 has in full length."""
    sizes = {part.put.key: part.put.bytes for part in parts}
    there = await objects.list_under(chunks_prefix(who.county, who.sha256, who.device))
    return {each.key for each in there if sizes.get(each.key) == each.bytes}


async def require_all_parts(objects: Objects, rules: PhotoRules, who: Uploader, said: Announced) -> None:
    parts = planned_parts(who, said.bytes, rules)
    present = await find_present(objects, who, parts)
    if missing := [part.index for part in parts if part.put.key not in present]:
        raise Problem(ProblemCode(said.reason or ProblemCode.PHOTO_INCOMPLETE), missing=missing)


# Verifying


async def hand_to_worker(pool: Pool, who: Uploader, said: Announced) -> UploadPlan:
    async with transaction(pool) as conn:
        await sendings.update_completed(conn, who)
        await enqueue_verify(conn, [who])
    return UploadPlan(state=PhotoState.VERIFYING, bytes=said.bytes, is_news=True)


async def verify_sending(pool: Pool, objects: Objects, rules: PhotoRules, who: Uploader, now: datetime) -> None:
    """The worker's part: compose the chunks of a device that said `complete`. Safe to repeat anywhere."""
    if await sendings.is_completed(pool, who):
        await verify_parts(pool, objects, rules, who, (await fetch_said(pool, who)).bytes, now)


async def verify_parts(
    pool: Pool, objects: Objects, rules: PhotoRules, who: Uploader, size: int, now: datetime
) -> UploadPlan | ProblemCode:
    """Compute the SHA-256 of every byte that this device has sent; store them, or drop them where they are here already.

    What is wrong with them concerns this device alone, which begins anew: its parts are deleted before it can, those of a
    good photo after the receipt is committed.
    """
    parts = planned_parts(who, size, rules)
    with scratch_folder() as folder:
        path = folder / "original"
        problem = await compose(objects, parts, path, who.sha256, size)
        if problem is None:
            await store(objects, path, who)
    if problem is not None:
        await delete_chunks(objects, who)
        await sendings.update_anew(pool, who, problem)
        return problem
    plan = await receive(pool, who, size, now)
    await delete_chunks(objects, who)
    return plan


async def compose(objects: Objects, parts: list[PlannedPart], path: Path, sha256: str, size: int) -> ProblemCode | None:
    """Write all parts into one file. What is wrong with it, or None."""
    digest = hashlib.sha256()
    for part in parts:
        if not await objects.append_to(part.put.key, path, digest.update):
            return ProblemCode.PHOTO_INCOMPLETE
    if await asyncio.to_thread(lambda: path.stat().st_size) != size:
        return ProblemCode.PHOTO_SIZE_MISMATCH
    return None if digest.hexdigest() == sha256 else ProblemCode.PHOTO_HASH_MISMATCH


async def store(objects: Objects, path: Path, who: Uploader) -> None:
    """The original, untouched, and whose it is. A duplicate goes among this device's parts, which are deleted next: who has a
    picture does not learn from the time it takes whether others have handed it in.
    """
    original = photo_key(who.county, who.sha256)
    is_new = not await is_kept(objects, who.county, who.sha256, await asyncio.to_thread(lambda: path.stat().st_size))
    key = original if is_new else f"{chunks_prefix(who.county, who.sha256, who.device)}duplicate"
    await objects.put(key, path, sha256=who.sha256)
    await sendings.mark_sender(objects, who)


async def receive(pool: Pool, who: Uploader, size: int, now: datetime) -> UploadPlan:
    """The bytes are verified and stored: from here on there is a receipt, and the worker has a picture to look at."""
    async with transaction(pool) as conn:
        blob = await blobs.lock_blob(conn, who.county, who.sha256)
        await blobs.update_received(conn, blob, size, now)
        sent_at = await sendings.update_sent(conn, who, size, now)
        await enqueue_process(conn, who, await sendings.fetch_turn(conn, who, now))
    return UploadPlan(state=PhotoState.RECEIVED, bytes=size, received_at=sent_at, is_news=True)


async def is_kept(objects: Objects, county: County, sha256: str, size: int | None = None) -> bool:
    """Whether S3 has the original now, and vouches for its hash."""
    found = await objects.head(photo_key(county, sha256))
    return found is not None and found.sha256 == sha256 and size in (None, found.bytes)


async def delete_chunks(objects: Objects, who: Uploader) -> None:
    await objects.delete([each.key for each in await objects.list_under(chunks_prefix(who.county, who.sha256, who.device))])


async def enqueue_process(conn: Connection, who: Uploader, priority: int = 0) -> None:
    ref = PhotoRef(county=who.county, sha256=who.sha256)
    await enqueue(conn, [JobRequest(job=PROCESS_JOB, key=f"{ref.county}/{ref.sha256}", payload=ref, priority=priority)])


async def enqueue_verify(conn: Connection | Pool, uploaders: list[Uploader]) -> None:
    """Before every look at a picture: a receipt lets a phone go on, a thumbnail may wait."""
    requests = [
        JobRequest(job=VERIFY_JOB, key=f"{who.county}/{who.sha256}/{who.device}", payload=who, priority=VERIFY_PRIORITY)
        for who in uploaders
    ]
    await enqueue(conn, requests)


# After a restore from a backup


async def restore_senders(pool: Pool, objects: Objects, county: County, sha256: str, now: datetime) -> bool:
    """What S3 remembers and the database has forgotten: the original is here, and people who announce it have sent it before.

    Then it is received without another upload, even if the phone no longer has it. Returns whether anybody was found.
    """
    unsent = await sendings.fetch_unsent(pool, county, sha256)
    marked = await sendings.fetch_marked(objects, county, sha256) if unsent else set()
    found = [who for who in unsent if who.person in marked]
    size = await kept_size(objects, county, sha256) if found else None
    if size is None:
        return False
    async with transaction(pool) as conn:
        blob = await blobs.lock_blob(conn, county, sha256)
        if not await is_kept(objects, county, sha256, size):  # the cleaner was faster, before they were announced again
            return False
        await blobs.update_received(conn, blob, size, now)
        for who in found:
            await sendings.update_sent(conn, who, size, now)
        await enqueue_process(conn, found[0])
    return True


async def kept_size(objects: Objects, county: County, sha256: str) -> int | None:
    """Bytes of the original, where S3 has it and vouches for its hash."""
    found = await objects.head(photo_key(county, sha256))
    return found.bytes if found is not None and found.sha256 == sha256 else None
