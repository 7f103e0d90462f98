"""Giving changed records their place: seq, markers, count and digest of every stream they touch.

The heads are locked by the caller, which is what makes seq gap-free and commit-ordered (promise 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from contracts.digest import MODULUS, record_crc
from contracts.exchange import Marker
from contracts.ids import StreamName
from sync.state import Head, RecordState


class StreamMarker(msgspec.Struct, frozen=True):
    stream: StreamName
    marker: Marker


class Placed(msgspec.Struct, frozen=True):
    """Records with their seq, the markers of those that left a stream, and the heads afterwards (only changed ones)."""

    records: list[RecordState]
    markers: list[StreamMarker]
    heads: list[Head]


def place(changed: Iterable[tuple[RecordState | None, RecordState]], heads: Mapping[StreamName, Head]) -> Placed:
    """Place each (state before the batch, state after it), in the order given. Every stream touched is in `heads`."""
    now = dict(heads)
    records: list[RecordState] = []
    markers: list[StreamMarker] = []
    for before, after in changed:
        was_live = before is not None and not before.deleted
        if was_live and before is not None:
            now[before.stream] = _without(now[before.stream], before)
        if not after.deleted:
            head = now[after.stream] = _with(now[after.stream], after)
            records.append(replace(after, seq=head.seq))
        if was_live and before is not None and (after.deleted or before.stream != after.stream):
            head = now[before.stream] = _advanced(now[before.stream])
            markers.append(StreamMarker(before.stream, Marker(id=after.id, seq=head.seq, v=after.version)))
        if after.deleted:
            records.append(replace(after, seq=now[after.stream].seq))
    return Placed(records, markers, [head for stream, head in now.items() if head is not heads[stream]])


def _advanced(head: Head) -> Head:
    return replace(head, seq=head.seq + 1)


def _with(head: Head, record: RecordState) -> Head:
    digest = (head.digest + record_crc(record.id, record.version)) % MODULUS
    return replace(head, seq=head.seq + 1, count=head.count + 1, digest=digest)


def _without(head: Head, record: RecordState) -> Head:
    digest = (head.digest - record_crc(record.id, record.version)) % MODULUS
    return replace(head, count=head.count - 1, digest=digest)
