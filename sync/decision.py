"""What goes into a plan, and what may be decided of one mutation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec

from contracts.checklist import Checklist
from contracts.ids import NO_VERSION, County, DeviceId, MutationId, PersonId, RecordId, StreamName, Version
from contracts.mutation import Envelope, Mutation
from contracts.outcomes import MutationOutcome, Outcome, Reason
from contracts.people import Duty, Role
from contracts.responsibility import ResponsibilityTable
from sync.clock import Interval
from sync.places import Places
from sync.rules import RuleBook
from sync.state import Head, RecordState


class Sender(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Whose device it is, with every duty the person ever had. `barred`: all its work goes to quarantine, and why.

    waits    the author is there for the answer and mends at once what has no meaning: a console, never a phone
    at_seal  the request holds the sealed part of the draw that it acts on (api/draw_acts.py); nothing that was pushed does
    """

    device: DeviceId
    person: PersonId
    duties: tuple[Duty, ...]
    barred: Reason | None = None
    waits: bool = False
    at_seal: bool = False

    @cached_property
    def is_system(self) -> bool:
        """Asked a dozen times for each mutation, so it is worked out once for a batch."""
        return any(duty.role is Role.SYSTEM for duty in self.duties)


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """One mutation as it arrived. `mutation` None: it does not decode. `fault`: it made the server fail before."""

    n: int
    raw: bytes
    captured: Interval
    mutation: Mutation | None = None
    envelope: Envelope = Envelope()
    fault: str | None = None
    is_too_large: bool = False  # kept whole (a request is bounded), but nobody decodes it
    entry: int = 0  # its place in the journal: 0 when it arrives, later for each new decision
    left_out: tuple[str, ...] = ()  # what no database holds or no JSON has (sync/intake.py)
    released: bool = False  # a person answers for it: duty, device and contract are not asked again
    releaser: tuple[Duty, ...] = ()  # the duties of that person; none: it was judged in another county


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier mutation of a record: by whom, on which root base, and how it ended."""

    device: DeviceId
    n: int
    root: Version
    outcome: Outcome


class HeldMutation(msgspec.Struct, frozen=True, kw_only=True):
    n: int
    record: RecordId | None
    mutation: MutationId | None


class Home(msgspec.Struct, frozen=True):
    """A stream that a record has lived in, with the last version it had there."""

    stream: StreamName
    last: Version


class Foregoing(msgspec.Struct, frozen=True):
    """What the author of a mutation must have seen before: the record, its version at the root of the chain, own work before it."""

    mutation: MutationId
    record: RecordId
    root: Version
    base: MutationId | None


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Everything planning may know, read under the lock of `heads`.

    records        those the batch names and those it may touch (children, duplicates, sources of a conflict)
    known          what was decided before, by number: a repeated push
    seen           earlier mutations of the named records, by id: bases, and the same mutation under another number
    held           this device's mutations that wait, in order
    families       records whose children are all in `records`
    asked          ids that were looked for: not in `records` means missing
    homes          every stream each of these records has lived in; read only when a duty may hang on it
    floors         mutation -> Unix ms before which it was not captured; read only when it hangs on a duty that has ended
    """

    county: County
    incarnation: int
    now: datetime
    places: Places
    checklists: Mapping[tuple[str, int], Checklist]
    responsibility: ResponsibilityTable
    rules: RuleBook = RuleBook()
    heads: Mapping[StreamName, Head]
    records: Mapping[RecordId, RecordState] = {}
    known: Mapping[int, MutationOutcome] = {}
    seen: Mapping[MutationId, Seen] = {}
    held: tuple[HeldMutation, ...] = ()
    families: frozenset[RecordId] = frozenset()
    asked: frozenset[RecordId] = frozenset()
    homes: Mapping[RecordId, tuple[Home, ...]] = {}
    floors: Mapping[MutationId, int] = {}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One record write. `patch` None: the raw mutation's own body, as it is (the journal needs no copy)."""

    after: RecordState
    op: str
    patch: dict[str, Any] | None


class Repeat(msgspec.Struct, frozen=True):
    """Known already: the same answer again."""

    outcome: MutationOutcome


class Clone(msgspec.Struct, frozen=True):
    """The number is taken by another mutation: two phones share one identity."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Kept for a desk: quarantined or deferred."""

    outcome: Outcome
    reason: Reason
    detail: dict[str, Any] | None = None
    waits_for: int | None = None


class Refuse(msgspec.Struct, frozen=True, kw_only=True):
    """Rejected; the journal keeps it in the record's history."""

    reason: Reason
    detail: dict[str, Any] | None = None


class Accept(msgspec.Struct, frozen=True, kw_only=True):
    """Done. The first change is the mutation's own (none: nothing differed), the others are its consequences."""

    outcome: Outcome
    reason: Reason = Reason.OK
    detail: dict[str, Any] | None = None
    changes: tuple[Change, ...] = ()
    root: Version = NO_VERSION


class Lack(msgspec.Struct, frozen=True, kw_only=True):
    """Planning needs more than it was given: read these, too, and plan again."""

    records: frozenset[RecordId] = frozenset()
    families: frozenset[RecordId] = frozenset()
    streams: frozenset[StreamName] = frozenset()
    homes: frozenset[RecordId] = frozenset()
    floors: frozenset[Foregoing] = frozenset()


Decision = Repeat | Clone | Hold | Refuse | Accept
