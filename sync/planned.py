"""What one push writes and answers: the rows that storage passes to push_write."""

from __future__ import annotations

from typing import Any

import msgspec

from contracts.ids import MutationId, RecordId, UnitCode, Version
from contracts.outcomes import MutationOutcome, Outcome, Reason
from sync.clock import Interval
from sync.decision import Incoming
from sync.heads import StreamMarker
from sync.state import Head, RecordState
from sync.transfers import Transfer


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One journal row. `seq` and `stream` are those of the record after the batch."""

    n: int
    entry: int
    what: str  # mutation | consequence | decision
    op: str | None = None
    kind: str | None = None
    mutation: MutationId | None = None
    record: RecordId | None = None
    captured: Interval | None = None
    outcome: Outcome
    reason: Reason
    detail: dict[str, Any] | None = None
    root: Version = (0, 0)
    after: RecordState | None = None
    patch: dict[str, Any] | None = None
    raw: bytes | None = None


class HeldRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the desk."""

    n: int
    mutation: MutationId | None
    record: RecordId | None
    kind: str | None
    unit: UnitCode
    outcome: Outcome
    reason: Reason
    detail: dict[str, Any] | None
    waits_for: int | None


class RefusedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A creation that was refused for good. `entry`: of the journal, which says why; `unit`: on whose desk it is shown."""

    n: int
    entry: int
    unit: UnitCode


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """A photo whose bytes the device promised."""

    n: int
    photo: RecordId
    sha256: str
    bytes: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that one push writes and answers."""

    outcomes: list[MutationOutcome]
    entries: list[Entry]
    records: list[RecordState]
    markers: list[StreamMarker]
    heads: list[Head]
    held: list[HeldRow]
    refused: list[RefusedRow]
    announced: list[Announced]
    clones: list[Incoming]
    transfers: list[Transfer]
