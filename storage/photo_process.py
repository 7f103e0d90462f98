"""The photo jobs: verify; look, render, note. Each step leaves a state in which the next begins, so it may die anywhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from contracts.ids import derived_mutation_id
from contracts.mutation import EDIT
from contracts.outcomes import Outcome
from contracts.problems import ProblemCode
from storage import blobs
from storage.alike import problems_showing, suggest_for
from storage.blobs import Blob, BlobState, Uploader
from storage.children import ChildDied
from storage.image_pool import ImagePool
from storage.looks import Look
from storage.objects import Objects, photo_key, rendering_key
from storage.office_push import draft, system_push
from storage.photo_notes import (
    PhotoContext,
    changed_fields,
    fetch_unnoted,
    flags_of,
    note_of,
    stamp_lines,
    update_noted,
)
from storage.photo_views import RENDERING_MEDIA_TYPE, stamped_name
from storage.photos import PhotoRef, PhotoRules, restore_senders, verify_sending
from storage.pictures import fetch_look, insert_picture
from storage.pool import Pool, transaction
from storage.reference import reference_of
from storage.scratch import scratch_folder
from sync.evidence import EvidenceRules, Flag
from sync.places import Places

DEATHS_MAX: Final = 2  # a picture that killed its decoder so often is refused

log = structlog.get_logger("xunling.photos")


@dataclass(frozen=True, kw_only=True)
class PhotoWork:
    """What the job needs."""

    pool: Pool
    objects: Objects
    images: ImagePool
    rules: PhotoRules
    evidence: EvidenceRules
    places: Callable[[], Awaitable[Places]]
    now: Callable[[], datetime]


async def process_photo(work: PhotoWork, ref: PhotoRef) -> None:
    """Bring one blob as far as it can come. Raises what passes, and ChildDied: the queue tries again."""
    blob = await blobs.fetch_blob(work.pool, ref.county, ref.sha256)
    if blob and blob.state is BlobState.CONDEMNED and await restore_senders(work.pool, work.objects, ref.county, ref.sha256, work.now()):
        blob = await blobs.fetch_blob(work.pool, ref.county, ref.sha256)
    if blob is None:
        return
    with scratch_folder() as folder:
        original = Original(work, blob, folder)
        look = await fetch_look(work.pool, blob.county, blob.sha256)
        if look is None and blob.state is BlobState.RECEIVED:
            found = await look_and_render(work, blob, original)
            if isinstance(found, ProblemCode):
                log.warning("photo_refused", county=blob.county, sha256=blob.sha256, reason=found.value)
                blob = await refuse_picture(work.pool, blob, found)
            else:
                look = found
        for context in await fetch_unnoted(work.pool, blob.county, blob.sha256):
            await write_note(work, blob, look, context, original)
    if look is not None:
        await suggest_alike(work, blob)


async def verify_photo(work: PhotoWork, who: Uploader) -> None:
    """Compose and verify what one device has sent."""
    await verify_sending(work.pool, work.objects, work.rules, who, work.now())


async def suggest_alike(work: PhotoWork, blob: Blob) -> None:
    """Other problems whose pictures look like this one."""
    reference = reference_of(await work.places())
    for problem in sorted(await problems_showing(work.pool, blob.county, [blob.sha256])):
        await suggest_for(work.pool, reference, blob.county, problem, work.now())


class Original:
    """The original as a local file, fetched when it is first needed."""

    def __init__(self, work: PhotoWork, blob: Blob, folder: Path) -> None:
        self.folder = folder
        self._work = work
        self._blob = blob
        self._path = folder / "original"
        self._is_here = False

    async def path(self) -> Path:
        """FileNotFoundError when S3 has lost a received photo: a person must know, and the job is held."""
        if not self._is_here:
            key = photo_key(self._blob.county, self._blob.sha256)
            if not await self._work.objects.append_to(key, self._path, lambda _block: None):
                raise FileNotFoundError(f"S3 has no {key}, for which there is a receipt")
            self._is_here = True
        return self._path


async def refuse_picture(pool: Pool, blob: Blob, reason: ProblemCode) -> Blob:
    """No picture will come of the bytes, which are kept. The job notes it on the records."""
    async with transaction(pool) as conn:
        locked = await blobs.lock_blob(conn, blob.county, blob.sha256)
        await blobs.update_refused(conn, locked, reason)
    return msgspec.structs.replace(locked, state=BlobState.REFUSED, reason=reason.value)


async def look_and_render(work: PhotoWork, blob: Blob, original: Original) -> Look | ProblemCode:
    """Thumbnails in S3 first, then the row that says that they are there.

    A picture is condemned by its own deaths only: a decoder that died while others worked may have fallen to them (the
    machine was out of memory), so it is looked at again alone.
    """
    path = await original.path()
    try:
        look = await look_patiently(work.images, path, original.folder, alone=blob.deaths > 0)
    except ChildDied:
        if await blobs.count_death(work.pool, blob) >= DEATHS_MAX:
            return ProblemCode.PHOTO_BOMB
        raise
    if isinstance(look, ProblemCode):
        return look
    for path in sorted(original.folder.glob("thumb_*.jpg")):
        await put_rendering(work.objects, blob, path.name, path)
    async with transaction(work.pool) as conn:
        await insert_picture(conn, blob.county, blob.sha256, look)
    return look


async def look_patiently(images: ImagePool, path: Path, folder: Path, *, alone: bool) -> Look | ProblemCode:
    """ChildDied only where this picture was alone."""
    try:
        return await images.look_at(path, folder, alone=alone)
    except ChildDied as died:
        if died.alone:
            raise
    return await images.look_at(path, folder, alone=True)


async def write_note(work: PhotoWork, blob: Blob, look: Look | None, context: PhotoContext, original: Original) -> None:
    """Stamp, then the record through the mutation path, then the mark that it is done; repeated harmlessly."""
    look = look if context.sent_at else None  # refused for its announced size: others' bytes are not its
    if not (context.is_deleted or context.is_moved):
        flags: list[Flag] = []
        if look is not None:
            flags = await flags_of(work.pool, context, look, work.evidence)
            if not await write_stamp(work, blob, context, original):
                flags.append(Flag.STAMP_WITHOUT_CHINESE)
            if look.is_damaged:
                flags = [flag for flag in Flag if flag in flags or flag is Flag.DAMAGED]
        if fields := changed_fields(context, note_of(context, blob, look, flags)):
            await push_note(work, context, fields)
    await update_noted(work.pool, context)


async def push_note(work: PhotoWork, context: PhotoContext, fields: dict[str, tuple[Any, Any]]) -> None:
    """Edit the record as everybody does. The same note twice is one mutation: its id derives from what it says."""
    says = msgspec.json.encode({name: new for name, (_, new) in fields.items()}, order="deterministic").decode()
    now = work.now()
    note = draft(
        kind="photo",
        record=context.photo,
        op=EDIT,
        now=now,
        mutation=derived_mutation_id("photo.note", context.photo, *context.version, says),
        base=context.version,
        fields=fields,
    )
    reference = reference_of(await work.places())
    pushed = await system_push(work.pool, reference, context.county, [note], now)
    outcome = pushed.outcomes[0]
    if outcome.outcome not in (Outcome.APPLIED, Outcome.MERGED):
        log.warning("photo_note_not_applied", photo=str(context.photo), outcome=outcome.outcome.value, reason=outcome.reason.value)


async def write_stamp(work: PhotoWork, blob: Blob, context: PhotoContext, original: Original) -> bool:
    """Whether the stamp could be written in Chinese."""
    out = original.folder / stamped_name(context.photo)
    lines = stamp_lines(context, await work.places(), work.evidence.zone)
    is_chinese = await work.images.write_stamped(await original.path(), out, lines)
    await put_rendering(work.objects, blob, out.name, out)
    return is_chinese


async def put_rendering(objects: Objects, blob: Blob, name: str, path: Path) -> None:
    await objects.put(rendering_key(blob.county, blob.sha256, name), path, media_type=RENDERING_MEDIA_TYPE)
