"""The bytes of a photo that moved to another county: copied in S3, and then known there with their first receipt time.

They may come long after the record has left, because the phone hands them in where it announced them. Original and
renderings are copied; what was found out about the photo before it moved is on its record and is not found out again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Final, LiteralString

from contracts.problems import ProblemCode
from storage import blobs
from storage import photo_sendings as sendings
from storage.blobs import Blob, BlobState, Uploader
from storage.carrying import FaultPoint, no_fault
from storage.objects import BINARY, Objects, photo_key, rendering_key
from storage.photo_views import RENDERING_MEDIA_TYPE
from storage.photos import enqueue_process
from storage.pictures import fetch_look, insert_picture
from storage.pool import Pool, transaction
from storage.scratch import scratch_folder
from storage.transfers import BlobTransferRef

SQL_UPDATE_BLOB_DONE: Final[LiteralString] = """
    UPDATE transfer_blob SET done_at = $4 WHERE county = $1 AND target = $2 AND sha256 = $3 AND done_at IS NULL
"""


async def carry_blob(pool: Pool, objects: Objects, ref: BlobTransferRef, now: Callable[[], datetime], at: FaultPoint = no_fault) -> bool:
    """False: the bytes, or the record that announces them there, are still to come. May die anywhere and be repeated."""
    here = await blobs.fetch_blob(pool, ref.county, ref.sha256)
    there = await blobs.fetch_blob(pool, ref.target, ref.sha256)
    if here is None or there is None or here.received_at is None:
        return False
    if there.received_at is None:
        await _copy(pool, objects, ref)
        at("copied")
    await _mark_noted(pool, ref)
    at("noted")
    for who in await _receive(pool, ref, here):
        await sendings.mark_sender(objects, who)
    at("received")
    await pool.execute(SQL_UPDATE_BLOB_DONE, ref.county, ref.target, ref.sha256, now())
    return True


async def _receive(pool: Pool, ref: BlobTransferRef, here: Blob) -> list[Uploader]:
    """Known there as it is here: since when, sent by whom, and whether a picture could be made of it."""
    assert here.received_at is not None
    async with transaction(pool) as conn:
        there = await blobs.lock_blob(conn, ref.target, ref.sha256)
        await blobs.update_received(conn, there, here.bytes, here.received_at)
        if here.state is BlobState.REFUSED:
            await blobs.update_refused(conn, there, ProblemCode(here.reason or ProblemCode.PHOTO_NOT_AN_IMAGE))
        senders = await sendings.copy_sendings(conn, ref.county, ref.target, ref.sha256)
        for who in senders[:1]:
            await enqueue_process(conn, who)
    return senders


async def _copy(pool: Pool, objects: Objects, ref: BlobTransferRef) -> None:
    """The original, its hash computed on the way and checked by S3 again; then what was rendered of it."""
    await _copy_object(objects, photo_key(ref.county, ref.sha256), photo_key(ref.target, ref.sha256), BINARY, ref.sha256)
    look = await fetch_look(pool, ref.county, ref.sha256)
    if look is None:
        return
    prefix = rendering_key(ref.county, ref.sha256, "")
    for each in await objects.list_under(prefix):
        await _copy_object(objects, each.key, rendering_key(ref.target, ref.sha256, each.key.removeprefix(prefix)), RENDERING_MEDIA_TYPE)
    async with transaction(pool) as conn:
        await insert_picture(conn, ref.target, ref.sha256, look)


async def _copy_object(objects: Objects, source: str, target: str, media_type: str, sha256: str | None = None) -> None:
    """FileNotFoundError when S3 has lost it, ValueError when its bytes are not the ones it is named by: a person must know."""
    digest = hashlib.sha256()
    with scratch_folder() as folder:
        path = folder / "object"
        if not await objects.append_to(source, path, digest.update):
            raise FileNotFoundError(f"S3 has no {source}")
        if sha256 not in (None, digest.hexdigest()):
            raise ValueError(f"{source} holds other bytes")
        await objects.put(target, path, sha256=sha256, media_type=media_type)


SQL_UPDATE_NOTED_BEFORE: Final[LiteralString] = """
    UPDATE blob_announcement a SET noted_at = now() FROM record r
    WHERE a.county = $1 AND a.sha256 = $2 AND a.noted_at IS NULL
      AND r.county = a.county AND r.id = a.photo AND (r.body ->> 'received_at') IS NOT NULL
"""


async def _mark_noted(pool: Pool, ref: BlobTransferRef) -> None:
    await pool.execute(SQL_UPDATE_NOTED_BEFORE, ref.target, ref.sha256)
