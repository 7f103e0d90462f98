"""A photo's bytes on their way in: what is missing, what is complete, what is verified (design.md section 4).

Nothing here trusts a phone: the bytes are received only when S3 or the worker has computed their SHA-256 and it is the
announced one. S3 is asked outside transactions, except for one case: a condemned blob is verified under its row's lock.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from contracts.ids import County, DeviceId
from contracts.photos import CHUNK_BYTES, PhotoState
from contracts.problems import Problem, ProblemCode
from storage import blobs
from storage.blobs import Announced, Blob, BlobState
from storage.jobs import JobRequest, enqueue
from storage.objects import Objects, Put, StoredObject, chunk_key, chunks_prefix, photo_key
from storage.pool import Connection, Pool, transaction

PROCESS_JOB: Final = "photo.process"


class PhotoRules(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one installation. A photo of at most `single_bytes_max` is one PUT, a larger one is chunks."""

    photo_bytes_max: int
    pixels_max: int
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


async def plan_upload(
    pool: Pool, objects: Objects, rules: PhotoRules, county: County, device: DeviceId, sha256: str, now: datetime
) -> UploadPlan:
    """What is left to be sent. Problems: photo_not_announced, storage_unavailable."""
    said = await settle_announced(pool, objects, rules, county, device, sha256, now)
    if plan := settled_plan(said.blob):
        return plan
    if await is_kept(objects, said.blob, said.bytes):  # `complete` was lost, or the database has forgotten it
        return await receive(pool, objects, said.blob, said.bytes, now)
    parts = planned_parts(county, device, sha256, said.bytes, rules)
    present = await find_present(objects, county, device, sha256, parts)
    parts = [msgspec.structs.replace(part, have=part.put.key in present) for part in parts]
    return UploadPlan(
        state=PhotoState.UPLOAD,
        bytes=said.bytes,
        is_single=is_single(said.bytes, rules),
        parts=parts,
        reason=said.blob.reason,
    )


async def complete_upload(
    pool: Pool, objects: Objects, rules: PhotoRules, county: County, device: DeviceId, sha256: str, now: datetime
) -> UploadPlan:
    """All parts are there, says the phone. Received at once when S3 vouches for the hash; else the worker verifies.

    Problems: photo_not_announced, photo_incomplete (missing: [index]), photo_size_mismatch, photo_hash_mismatch,
    storage_unavailable.
    """
    said = await settle_announced(pool, objects, rules, county, device, sha256, now)
    if plan := settled_plan(said.blob):
        return plan
    if is_single(said.bytes, rules):
        found = await verified_object(objects, county, sha256, said.bytes)
        if found.sha256 == sha256:
            return await receive(pool, objects, said.blob, said.bytes, now)
    else:
        await require_all_parts(objects, rules, said, device)
    return await hand_to_worker(pool, said.blob, device)


async def settle_announced(
    pool: Pool, objects: Objects, rules: PhotoRules, county: County, device: DeviceId, sha256: str, now: datetime
) -> Announced:
    """What the device announced, with the blob's row brought up to date: size corrected, condemned verified again."""
    said = await blobs.fetch_announced(pool, county, device, sha256)
    if said is None:
        raise Problem(ProblemCode.PHOTO_NOT_ANNOUNCED)
    blob = said.blob
    if blob.state is BlobState.CONDEMNED:
        blob = await reprieve(pool, objects, said, now)
    elif blob.state is BlobState.WANTED and said.bytes > rules.photo_bytes_max:
        blob = await refuse(pool, blob, ProblemCode.PHOTO_TOO_LARGE)
    elif blob.state in (BlobState.WANTED, BlobState.REFUSED) and blob.received_at is None and said.bytes != blob.bytes:
        async with transaction(pool) as conn:
            await blobs.update_bytes(conn, blob, said.bytes, said.media_type)
    return msgspec.structs.replace(said, blob=blob)


def settled_plan(blob: Blob) -> UploadPlan | None:
    """The answer when nothing is to be sent; None when parts are."""
    if blob.state is BlobState.REFUSED:
        state = PhotoState.REFUSED
    elif blob.state is BlobState.RECEIVED:
        state = PhotoState.RECEIVED
    elif blob.completed_at is not None:
        state = PhotoState.VERIFYING
    else:
        return None
    return UploadPlan(state=state, bytes=blob.bytes, received_at=blob.received_at, reason=blob.reason)


# Parts


def is_single(size: int, rules: PhotoRules) -> bool:
    return size <= rules.single_bytes_max


def planned_parts(county: County, device: DeviceId, sha256: str, size: int, rules: PhotoRules) -> list[PlannedPart]:
    """The one PUT of a small photo, or the chunks of a larger one; none marked as present."""
    if is_single(size, rules):
        return [PlannedPart(index=0, offset=0, have=False, put=Put(key=photo_key(county, sha256), bytes=size, sha256=sha256))]
    return [
        PlannedPart(
            index=index,
            offset=offset,
            have=False,
            put=Put(key=chunk_key(county, sha256, device, index), bytes=min(rules.chunk_bytes, size - offset)),
        )
        for index, offset in enumerate(range(0, size, rules.chunk_bytes))
    ]


async def find_present(objects: Objects, county: County, device: DeviceId, sha256: str, parts: list[PlannedPart]) -> set[str]:
    """Keys of the parts that S3 has in full length."""
    if len(parts) == 1:
        found = await objects.head(parts[0].put.key)
        return {found.key} if found and found.bytes == parts[0].put.bytes else set()
    sizes = {part.put.key: part.put.bytes for part in parts}
    there = await objects.list_under(chunks_prefix(county, sha256, device))
    return {each.key for each in there if sizes.get(each.key) == each.bytes}


async def require_all_parts(objects: Objects, rules: PhotoRules, said: Announced, device: DeviceId) -> None:
    county, sha256 = said.blob.county, said.blob.sha256
    parts = planned_parts(county, device, sha256, said.bytes, rules)
    present = await find_present(objects, county, device, sha256, parts)
    if missing := [part.index for part in parts if part.put.key not in present]:
        raise Problem(ProblemCode(said.blob.reason or ProblemCode.PHOTO_INCOMPLETE), missing=missing)


async def verified_object(objects: Objects, county: County, sha256: str, size: int) -> StoredObject:
    """The original as S3 has it; size and hash are right, or the hash is unknown to S3. Problem when they are wrong.

    A wrong object is deleted, so that the phone can go on; it can only come from an S3 that does not keep to what we sign.
    """
    key = photo_key(county, sha256)
    found = await objects.head(key)
    if found is None:
        raise Problem(ProblemCode.PHOTO_INCOMPLETE, missing=[0])
    if found.bytes != size:
        await objects.delete([key])
        raise Problem(ProblemCode.PHOTO_SIZE_MISMATCH, announced=size, found=found.bytes)
    if found.sha256 not in (None, sha256):
        await objects.delete([key])
        raise Problem(ProblemCode.PHOTO_HASH_MISMATCH)
    return found


# State changes, each under the row's lock


async def receive(pool: Pool, objects: Objects, blob: Blob, size: int, now: datetime) -> UploadPlan:
    """The bytes are verified: from here on there is a receipt, and the worker has a picture to look at."""
    async with transaction(pool) as conn:
        locked = await blobs.lock_blob(conn, blob.county, blob.sha256)
        assert locked is not None, "blob rows are never deleted"
        if locked.state is BlobState.CONDEMNED and not await is_kept(objects, locked, size):
            await blobs.update_wanted(conn, locked, None)
            raise Problem(ProblemCode.PHOTO_INCOMPLETE, missing=[0])
        if locked.state in (BlobState.RECEIVED, BlobState.REFUSED) and locked.received_at:
            plan = settled_plan(locked)
            assert plan is not None
            return plan
        received_at = await blobs.update_received(conn, locked, size, now)
        await enqueue_process(conn, locked)
    return UploadPlan(state=PhotoState.RECEIVED, bytes=size, received_at=received_at, is_news=True)


async def reprieve(pool: Pool, objects: Objects, said: Announced, now: datetime) -> Blob:
    """A condemned blob that a device announces after all: verified again, while the cleaner is kept out."""
    async with transaction(pool) as conn:
        locked = await blobs.lock_blob(conn, said.blob.county, said.blob.sha256)
        assert locked is not None, "blob rows are never deleted"
        if locked.state is BlobState.CONDEMNED:
            if await is_kept(objects, locked, said.bytes):
                await blobs.update_received(conn, locked, said.bytes, now)
                await enqueue_process(conn, locked)
            else:
                await blobs.update_bytes(conn, locked, said.bytes, said.media_type)
                await blobs.update_wanted(conn, locked, None)
            locked = await blobs.fetch_blob(conn, locked.county, locked.sha256)
            assert locked is not None
        return locked


async def is_kept(objects: Objects, blob: Blob, size: int) -> bool:
    """Whether S3 has the original now, and vouches for its hash."""
    found = await objects.head(photo_key(blob.county, blob.sha256))
    return found is not None and (found.bytes, found.sha256) == (size, blob.sha256)


async def refuse(pool: Pool, blob: Blob, reason: ProblemCode) -> Blob:
    """No picture will come of it. Its records are told by the job."""
    async with transaction(pool) as conn:
        locked = await blobs.lock_blob(conn, blob.county, blob.sha256)
        assert locked is not None, "blob rows are never deleted"
        await blobs.update_refused(conn, locked, reason)
        await enqueue_process(conn, locked)
    return msgspec.structs.replace(locked, state=BlobState.REFUSED, reason=reason.value)


async def hand_to_worker(pool: Pool, blob: Blob, device: DeviceId) -> UploadPlan:
    async with transaction(pool) as conn:
        locked = await blobs.lock_blob(conn, blob.county, blob.sha256)
        assert locked is not None, "blob rows are never deleted"
        if plan := settled_plan(locked):
            return plan
        await blobs.update_completed(conn, locked, device)
        await enqueue_process(conn, locked)
    return UploadPlan(state=PhotoState.VERIFYING, bytes=blob.bytes, is_news=True)


async def enqueue_process(conn: Connection, blob: Blob) -> None:
    ref = PhotoRef(county=blob.county, sha256=blob.sha256)
    await enqueue(conn, [JobRequest(job=PROCESS_JOB, key=f"{ref.county}/{ref.sha256}", payload=ref)])


# The worker's part


async def verify_blob(pool: Pool, objects: Objects, rules: PhotoRules, blob: Blob, now: datetime) -> None:
    """Compose the chunks, or read the single object, and compute the SHA-256 of every byte. Safe to repeat anywhere.

    Ends with the blob received, or wanted again with the reason. The chunks of a failed attempt are deleted before the
    phone can start anew, those of a good one after the receipt is committed.
    """
    assert blob.completed_by is not None
    parts = planned_parts(blob.county, blob.completed_by, blob.sha256, blob.bytes, rules)
    with tempfile.TemporaryDirectory(prefix="xunling-photo-") as folder:
        path = Path(folder) / "original"
        problem = await compose(objects, parts, path, blob)
        if problem is None and not is_single(blob.bytes, rules):
            await objects.put(photo_key(blob.county, blob.sha256), path, sha256=blob.sha256, media_type=blob.media_type)
    if problem is not None:
        await objects.delete([part.put.key for part in parts])
        async with transaction(pool) as conn:
            await blobs.lock_blob(conn, blob.county, blob.sha256)
            await blobs.update_wanted(conn, blob, problem)
        return
    await receive(pool, objects, blob, blob.bytes, now)
    await delete_chunks(objects, blob.county, blob.sha256)


async def compose(objects: Objects, parts: list[PlannedPart], path: Path, blob: Blob) -> ProblemCode | None:
    """Write all parts into one file. What is wrong with it, or None."""
    digest = hashlib.sha256()
    for part in parts:
        if not await objects.append_to(part.put.key, path, digest.update):
            return ProblemCode.PHOTO_INCOMPLETE
    size = await asyncio.to_thread(lambda: path.stat().st_size)
    if size != blob.bytes:
        return ProblemCode.PHOTO_SIZE_MISMATCH
    return None if digest.hexdigest() == blob.sha256 else ProblemCode.PHOTO_HASH_MISMATCH


async def delete_chunks(objects: Objects, county: County, sha256: str) -> None:
    """The chunks of every device: the photo is there."""
    await objects.delete([each.key for each in await objects.list_under(f"{county}/chunks/{sha256}/")])
