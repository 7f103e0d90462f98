"""The worker's part of photos, done by hand: the jobs that were asked for, and what became of a record."""

from __future__ import annotations

import uuid

import asyncpg
import msgspec

from contracts.kinds.photo import Photo
from server.jobs import Work
from storage.blobs import Uploader
from storage.photo_process import process_photo, verify_photo
from storage.photos import PROCESS_JOB, VERIFY_JOB, PhotoRef


async def work_off(pool: asyncpg.Pool, work: Work) -> None:
    """All photo jobs that were asked for, and those they ask for."""
    while rows := await pool.fetch("DELETE FROM pgqueuer RETURNING entrypoint, payload, priority"):
        for row in sorted(rows, key=lambda row: -row["priority"]):
            if row["entrypoint"] == VERIFY_JOB:
                await verify_photo(work.photos, msgspec.json.decode(row["payload"], type=Uploader))
            elif row["entrypoint"] == PROCESS_JOB:
                await process_photo(work.photos, msgspec.json.decode(row["payload"], type=PhotoRef))


async def body_of(pool: asyncpg.Pool, photo: uuid.UUID) -> dict:
    """With the defaults of what nobody wrote."""
    stored = await pool.fetchval("SELECT body FROM record WHERE id = $1", photo)
    return msgspec.to_builtins(msgspec.json.decode(stored, type=Photo))
