"""A plan as the arguments of SQL function push_write: arrays of rows, each row in the order of its type (push_record ...)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from contracts.digest import record_crc
from storage.rows import json_text
from sync.heads import StreamMarker
from sync.planned import Announced, Entry, HeldRow, Plan
from sync.state import Head, RecordState

_encode: Final = msgspec.json.Encoder().encode


Rows = list[tuple[Any, ...]]


def write_arguments(plan: Plan) -> tuple[Rows, Rows, Rows, Rows, Rows, Rows]:
    """From p_heads to p_photos."""
    seqs = {record.id: record.seq for record in plan.records}
    return (
        [_head(h) for h in plan.heads],
        [_record(r) for r in plan.records],
        [_marker(m) for m in plan.markers],
        [_entry(e, seqs) for e in plan.entries],
        [_held(h) for h in plan.held],
        [_announced(a) for a in plan.announced],
    )


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
    after, captured = e.after, e.captured
    start = _moment(captured.start_ms) if captured else None
    end = start if captured is None or captured.end_ms == captured.start_ms else _moment(captured.end_ms)
    return (
        e.n,
        e.entry,
        e.what,
        e.mutation,
        e.record,
        e.kind,
        e.op,
        start,
        end,
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


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(max(0, min(milliseconds, 253_402_300_799_000)) / 1000, UTC)


def _held(h: HeldRow) -> tuple[Any, ...]:
    return (h.n, h.mutation, h.record, h.kind, h.unit, h.outcome.value, h.reason.value, json_text(h.detail), h.waits_for)


def _announced(a: Announced) -> tuple[Any, ...]:
    return (a.sha256, a.bytes, a.n, a.photo)
