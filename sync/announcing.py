"""Which bytes a mutation promises: read of every photo, also of one that cannot be understood otherwise (docs/photos.md).

Evidence waits for no desk: even if a photo's record is odd, its SHA-256 and size are enough to take the bytes.
"""

from __future__ import annotations

import re
import uuid
from typing import Any, Final

import msgspec

from contracts.ids import RecordId
from contracts.kinds.photo import Photo
from contracts.mutation import CREATE
from sync.decision import Incoming
from sync.planned import Announced

SHA256: Final = re.compile(r"[0-9a-f]{64}")
BYTES_MAX: Final = 2**53
NAMELESS: Final = RecordId(int=0)  # its record cannot be read: nothing will show it before a desk has seen to it


class _Body(msgspec.Struct, frozen=True):
    sha256: Any = None
    bytes: Any = None
    mirror_of: Any = None


class _Raw(msgspec.Struct, frozen=True):
    kind: Any = None
    op: Any = None
    record: Any = None
    body: Any = None


_body: Final = msgspec.json.Decoder(_Body)
_raw: Final = msgspec.json.Decoder(_Raw)


def announced_by(incoming: Incoming, body: msgspec.Struct | None) -> Announced | None:
    """The bytes that a mutation promises, if it creates a photo. `body`: as it was read for its kind, if that went well.

    A mirror shows another photo's bytes and promises none.
    """
    mutation = incoming.mutation
    if mutation is None:
        return None if incoming.is_too_large else _of_raw(incoming)
    if isinstance(body, Photo):
        return None if body.mirror_of else Announced(n=incoming.n, photo=mutation.record, sha256=body.sha256, bytes=body.bytes)
    if mutation.kind != "photo" or mutation.op != CREATE or mutation.body is msgspec.UNSET:
        return None
    try:
        return _of(incoming.n, mutation.record, _body.decode(mutation.body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _of_raw(incoming: Incoming) -> Announced | None:
    try:
        raw = _raw.decode(incoming.raw)
        if raw.kind != "photo" or raw.op != CREATE:
            return None
        return _of(incoming.n, _record_of(raw.record), msgspec.convert(raw.body, _Body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _of(n: int, photo: RecordId, body: _Body) -> Announced | None:
    size = _size_of(body.bytes)
    if size is None or not isinstance(body.sha256, str) or not SHA256.fullmatch(body.sha256):
        return None
    return Announced(n=n, photo=photo, sha256=body.sha256, bytes=size)


def _size_of(value: Any) -> int | None:
    """A number of bytes, also one that was sent as text or with a fraction of nothing."""
    try:
        size = int(value)
        return size if not isinstance(value, bool) and size == float(value) and 0 <= size <= BYTES_MAX else None
    except (TypeError, ValueError, OverflowError):
        return None


def _record_of(value: Any) -> RecordId:
    try:
        return uuid.UUID(value)
    except (TypeError, ValueError, AttributeError):
        return NAMELESS
