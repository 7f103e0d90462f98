"""The office's desks: held mutations, open conflicts, and writes by the console (docs/sync-protocol.md)."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from contracts.ids import County, DeviceId, MutationId, PersonId, RecordId, StreamName, UnitCode, Version
from contracts.kinds.conflict import Conflict
from contracts.outcomes import MutationOutcome, Outcome, Reason

Member = Annotated[str, Meta(max_length=120)]
MEMBERS_MAX = 500  # of one object


class DeskAction(str, Enum):
    """retry: judge it again as it is. release: a supervisor answers for it. discard: it is not wanted."""

    RETRY = "retry"
    RELEASE = "release"
    DISCARD = "discard"


class HeldItem(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the desk. `raw`: the bytes as they came, as text (undecodable bytes replaced)."""

    county: County
    device: DeviceId
    n: int
    outcome: Outcome
    reason: Reason
    opened_at: datetime
    mutation: MutationId | None = None
    record: RecordId | None = None
    kind: str | None = None
    op: str | None = None
    unit: UnitCode | None = None
    person: PersonId | None = None
    person_name: str | None = None
    detail: dict[str, Any] | None = None
    waits_for: int | None = None
    tries: int = 0
    captured_from: datetime | None = None
    captured_to: datetime | None = None
    raw: str = ""
    message: str = ""  # what people read of the reason


class HeldPage(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first. `next`: give it as `after` for the following page; None: that was all."""

    items: list[HeldItem]
    next: str | None = None


class RefusedItem(msgspec.Struct, frozen=True, kw_only=True):
    """A creation that was refused for good. `raw`: the bytes as they came, as text; `unit`: on whose desk it is shown; `message`: the reason in words."""

    county: County
    device: DeviceId
    n: int
    unit: UnitCode
    reason: Reason
    message: str
    refused_at: datetime
    mutation: MutationId | None = None
    record: RecordId | None = None
    kind: str | None = None
    person: PersonId | None = None
    person_name: str | None = None
    detail: dict[str, Any] | None = None
    captured_from: datetime | None = None
    captured_to: datetime | None = None
    raw: str = ""


class RefusedPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. `next`: give it as `after` for the following page; None: that was all."""

    items: list[RefusedItem]
    next: str | None = None


class Decide(msgspec.Struct, frozen=True, kw_only=True):
    """Why, in the words of whoever decides; kept in the journal."""

    note: Annotated[str, Meta(max_length=1000)] = ""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of the item, then of everything that waited for it."""

    outcomes: list[MutationOutcome]


class ConflictItem(msgspec.Struct, frozen=True, kw_only=True):
    """One open conflict with the record that shows it. `person_name`: who entered the losing value; null where that was nobody."""

    county: County
    id: RecordId
    stream: StreamName
    v: Version
    conflict: Conflict
    person_name: str | None = None


class ConflictPage(msgspec.Struct, frozen=True, kw_only=True):
    items: list[ConflictItem]
    next: str | None = None


class Settle(msgspec.Struct, frozen=True, kw_only=True):
    """One tap: the value in the record stays, the losing value takes its place, or `value` does.

    id   the same again has the same outcome; without one, the same choice of the same person is the same tap
    """

    id: MutationId | None = None
    choice: Literal["kept", "lost", "other"]
    value: Any = None


class OfficeMutation(msgspec.Struct, frozen=True, kw_only=True):
    """A write by the console; the server numbers it. The same `id` again has the same outcome."""

    id: MutationId
    kind: Annotated[str, Meta(max_length=40)]
    record: RecordId
    op: Annotated[str, Meta(max_length=64)]
    base: Version | None = None
    body: Annotated[dict[Member, Any], Meta(max_length=MEMBERS_MAX)] | None = None
    fields: Annotated[dict[Member, tuple[Any, Any]], Meta(max_length=MEMBERS_MAX)] = {}
    args: Annotated[dict[Member, Any], Meta(max_length=MEMBERS_MAX)] = {}


class OfficeMutations(msgspec.Struct, frozen=True, kw_only=True):
    county: County
    mutations: Annotated[list[OfficeMutation], Meta(min_length=1, max_length=200)]
