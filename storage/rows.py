"""One mapper per row shape: database rows to the values that sync plans on."""

from __future__ import annotations

from typing import Any, Final

import asyncpg
import msgspec

from contracts.ids import MutationId, RecordId
from contracts.outcomes import TEXT_ZH, MutationOutcome, Outcome, Reason
from sync.clock import ClockMark, DeviceClock, MadeMark
from sync.decision import HeldMutation
from sync.state import Head, RecordState, Writer

_writers: Final = msgspec.json.Decoder(dict[str, Writer])
_clocks: Final = msgspec.json.Decoder(tuple[ClockMark, ...])
_marks: Final = msgspec.json.Decoder(tuple[MadeMark, ...])


class KnownRow(msgspec.Struct, frozen=True, array_like=True):
    """A journal row of an earlier arrival, as `push_read` aggregates it."""

    n: int
    mutation: MutationId | None
    outcome: Outcome
    reason: Reason
    detail: dict[str, Any] | None
    record: RecordId | None
    incarnation: int | None
    version: int | None

    def as_outcome(self) -> MutationOutcome:
        version = (self.incarnation, self.version) if self.incarnation is not None and self.version is not None else None
        return MutationOutcome(
            n=self.n,
            id=self.mutation,
            outcome=self.outcome,
            reason=self.reason,
            version=version,
            detail=self.detail,
        )


def shown(row: Any, **more: Any) -> dict[str, Any]:
    """The members that a row of a desk's list shares with its item: reason in words, detail decoded, raw as text (undecodable bytes replaced)."""
    reason = Reason(row["reason"])
    detail = msgspec.json.decode(row["detail"]) if row["detail"] else None
    return dict(row) | {
        "reason": reason,
        "message": TEXT_ZH[reason],
        "detail": detail,
        "raw": (row["raw"] or b"").decode(errors="replace"),
        **more,
    }


class _HeldRow(msgspec.Struct, frozen=True, array_like=True):
    n: int
    record: RecordId | None
    mutation: MutationId | None


_known: Final = msgspec.json.Decoder(list[KnownRow])
_held: Final = msgspec.json.Decoder(list[_HeldRow])


def record_from_row(row: asyncpg.Record) -> RecordState:
    version = (row["incarnation"], row["version"])
    return RecordState(
        id=row["id"],
        kind=row["kind"],
        stream=row["stream"],
        version=version,
        fields=_writers.decode(row["fields"]),
        body=row["body"].encode(),
        parent=row["parent"],
        deleted=row["deleted"],
        moved_to=row["moved_to"],
        seq=row["seq"],
        planned_on=version,
    )


def head_from_row(row: asyncpg.Record) -> Head:
    return Head(
        stream=row["stream"],
        incarnation=row["incarnation"],
        seq=row["seq"],
        count=row["count"],
        digest=row["digest"],
    )


def clock_from_row(row: asyncpg.Record) -> DeviceClock:
    return DeviceClock(_clocks.decode(row["clocks"]), _marks.decode(row["marks"]))


def known_from_json(text: str | None) -> dict[int, MutationOutcome]:
    """The last decision of each number. The version is that of the last decision that wrote."""
    known: dict[int, MutationOutcome] = {}
    for row in _known.decode(text) if text else ():
        known[row.n] = row.as_outcome()
    return known


def held_from_json(text: str | None) -> tuple[HeldMutation, ...]:
    rows = _held.decode(text) if text else []
    return tuple(HeldMutation(n=r.n, record=r.record, mutation=r.mutation) for r in sorted(rows, key=lambda r: r.n))


def json_text(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
