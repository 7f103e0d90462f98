"""How the bytes of a photo travel, after its record has announced them (design.md section 4, docs/photos.md).

    POST UPLOADS_PATH    PhotoRequest -> UploadAnswer      where to put which bytes; ask again at any time to go on
    PUT  <part.url>      the part's bytes, with part.headers and nothing else (no token)
    POST COMPLETE_PATH   PhotoRequest -> CompleteAnswer    all parts are there

A phone deletes its copy only when an answer has brought a receipt that it has verified and stored.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Literal

import msgspec

from contracts.ids import County, DeviceId, PersonId, RecordId, UnitCode
from contracts.kind import Sha256
from contracts.receipt import PhotoReceipt

UPLOADS_PATH = "/photos/v1/uploads"
COMPLETE_PATH = "/photos/v1/complete"
RELAY_PATH = "/photos/v1/relay"
KEYS_PATH = "/sync/v1/keys"

CHUNK_BYTES = 256 * 1024


class PhotoState(str, Enum):
    """Where the bytes are. RECEIVED, and REFUSED with a receipt, mean that the phone may delete its copy."""

    UPLOAD = "upload"  # parts are missing, or `complete` has not been said
    VERIFYING = "verifying"  # all there; the worker composes and verifies: ask again in `retry_after_s`
    RECEIVED = "received"
    REFUSED = "refused"  # `reason` is a problem code; with a receipt: kept, but no picture can be made of it


class PhotoRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The photo this device has announced in this county."""

    county: County
    sha256: Sha256


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the photo's bytes. Send exactly `headers` with it; `have`: here already, no need to send it."""

    index: int
    offset: int
    bytes: int
    have: bool
    url: str = ""  # empty when `have`
    method: Literal["PUT"] = "PUT"
    headers: dict[str, str] = {}
    expires_at: datetime | None = None  # server time; ask for a new one after it


class UploadAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`mode` single: one PUT of everything; chunks: one PUT a part, in any order.

    `reason` in state upload: why an earlier attempt had to start anew (photo_hash_mismatch).
    """

    state: PhotoState
    mode: Literal["single", "chunks"] | None = None
    parts: list[Part] = []
    receipt: PhotoReceipt | None = None
    reason: str | None = None
    retry_after_s: int | None = None


class CompleteAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """State received or refused (200), or verifying (202)."""

    state: PhotoState
    receipt: PhotoReceipt | None = None
    reason: str | None = None
    retry_after_s: int | None = None


class WantedPhoto(msgspec.Struct, frozen=True, kw_only=True):
    """A photo the server waits for: its record, or only the announcement while its mutation is held."""

    county: County
    sha256: str
    bytes: int
    photo: RecordId
    record: RecordId | None  # what the photo proves
    unit: UnitCode | None
    device: DeviceId
    device_name: str
    person: PersonId | None
    person_name: str | None
    since: datetime
    lost: bool = False  # the phone says that it has lost it


class WantedPhotos(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first. `next` continues the list; null: that was all."""

    photos: list[WantedPhoto]
    next: str | None = None
