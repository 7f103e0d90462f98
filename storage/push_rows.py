"""A plan as the arrays of SQL function push_write, column by column, in the order of its parameters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from contracts.digest import record_crc
from storage.rows import json_text
from sync.clock import Interval
from sync.heads import StreamMarker
from sync.ledger import Announced, Entry, HeldRow, Plan
from sync.state import Head, RecordState

_encode: Final = msgspec.json.Encoder().encode


def write_arguments(plan: Plan) -> list[Any]:
    """From h_stream to b_photo."""
    seqs = {record.id: record.seq for record in plan.records}
    return [
        *_columns([_head(h) for h in plan.heads], 4),
        *_columns([_record(r) for r in plan.records], 13),
        *_columns([_marker(m) for m in plan.markers], 5),
        *_columns([_entry(e, seqs) for e in plan.entries], 21),
        *_columns([_held(h) for h in plan.held], 9),
        *_columns([_announced(a) for a in plan.announced], 5),
    ]


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _head(head: Head) -> tuple[Any, ...]:
    return (head.stream, head.seq, head.count, head.digest)


def _record(r: RecordState) -> tuple[Any, ...]:
    incarnation, version = r.version
    return (
        r.id,
        r.kind,
        r.stream,
        r.seq,
        incarnation,
        version,
        r.planned_on[1],
        record_crc(r.id, r.version),
        r.parent,
        r.deleted,
        r.moved_to,
        _encode(r.fields).decode(),
        r.body.decode(),
    )


def _marker(m: StreamMarker) -> tuple[Any, ...]:
    return (m.stream, m.marker.id, m.marker.seq, *m.marker.v)


def _entry(e: Entry, seqs: dict[Any, int]) -> tuple[Any, ...]:
    after = e.after
    return (
        e.n,
        e.entry,
        e.what,
        e.mutation,
        e.record,
        e.kind,
        e.op,
        _moment(e.captured, start=True),
        _moment(e.captured, start=False),
        e.outcome.value,
        e.reason.value,
        json_text(e.detail),
        *e.root,
        after.stream if after else None,
        seqs.get(after.id) if after else None,
        after.version[0] if after else None,
        after.version[1] if after else None,
        after.deleted if after else False,
        json_text(e.patch),
        e.raw,
    )


def _moment(interval: Interval | None, *, start: bool) -> datetime | None:
    if interval is None:
        return None
    milliseconds = interval.start_ms if start else interval.end_ms
    return datetime.fromtimestamp(max(0, min(milliseconds, 253_402_300_799_000)) / 1000, UTC)


def _held(h: HeldRow) -> tuple[Any, ...]:
    return (h.n, h.mutation, h.record, h.kind, h.unit, h.outcome.value, h.reason.value, json_text(h.detail), h.waits_for)


def _announced(a: Announced) -> tuple[Any, ...]:
    return (a.body.sha256, a.body.bytes, a.body.media_type, a.n, a.photo)
