"""The digest by which phone and server prove that they hold the same records (design.md 3.2, promise 4)."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from contracts.ids import RecordId, Version

MODULUS: Final = 2**32


def record_crc(record: RecordId, version: Version) -> int:
    """CRC32 over the 16 bytes of the id, the incarnation (4 bytes) and the version (8 bytes), big-endian."""
    return zlib.crc32(record.bytes + struct.pack(">Iq", *version))


def bucket_of(record: RecordId) -> int:
    """0..255: the last byte of the id. The digest of a stream is the sum of its records' CRCs, mod 2^32."""
    return record.bytes[15]
