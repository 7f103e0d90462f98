"""The digest by which a phone and the server prove that they hold the same records of a stream (design.md 3.2).

A record's share is the CRC-32 of its id (16 bytes) followed by its version's incarnation (unsigned 32 bit) and number
(signed 64 bit), both big-endian. A stream's digest is the sum of the shares of its live records, modulo 2^32: it does
not depend on order, and one record more or less is one addition. Fixed for ever: both sides store shares.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from contracts.ids import RecordId, Version

MODULUS: Final = 2**32
_VERSION: Final = struct.Struct(">Iq")


def record_crc(record: RecordId, version: Version) -> int:
    """The record's share of its stream's digest, 0 <= share < 2^32."""
    return zlib.crc32(record.bytes + _VERSION.pack(*version))


def bucket_of(record: RecordId) -> int:
    """Which of the 256 buckets a record counts in: the last byte of its id."""
    return record.int & 0xFF
