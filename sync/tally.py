"""What a batch adds up to: the rows that storage writes, gathered decision by decision."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from contracts.ids import MutationId, RecordId, StreamName, UnitCode, Version, conflict_id
from contracts.kinds.conflict import Conflict
from contracts.mutation import CREATE, Mutation
from contracts.outcomes import MutationOutcome, Reason
from contracts.people import Audience
from sync.clock import Interval
from sync.decision import (
    Change,
    Foregoing,
    HeldMutation,
    Home,
    Incoming,
    Lack,
    Seen,
    Sender,
    View,
)
from sync.heads import place
from sync.journal import Journal
from sync.merge import Lost, written
from sync.places import narrow_audience, stream_name, unit_of
from sync.planned import Announced, HeldRow, Plan, RefusedRow
from sync.state import DELETION, EVERY_OTHER, RecordState, Writer
from sync.transfers import Transfer, late, leaving
from sync.words import body_of

TITLE_FIELDS = ("title", "name", "subject", "slug", "caption")


class Tally:
    """The working state of one batch. `records`, `seen` and `held` grow as decisions are entered."""

    def __init__(self, sender: Sender, view: View) -> None:
        self.sender = sender
        self.view = view
        self.records: dict[RecordId, RecordState] = dict(view.records)
        self.seen: dict[MutationId, Seen] = dict(view.seen)
        self.held: list[HeldMutation] = list(view.held)
        self.bodies: dict[MutationId, Any] = {}
        self.captured: Interval | None = None  # of the mutation being decided
        self.began: dict[MutationId, int] = {}  # when each of the batch was captured at the earliest
        self.acts_for: UnitCode | None = None  # the unit on whose assignment the mutation being decided was given
        self.flags: dict[str, Any] = {}
        self._changed: dict[RecordId, None] = {}
        self._drafts: dict[RecordId, RecordState] = {}  # others, as the decision that is being made leaves them so far
        self._lacking_records: set[RecordId] = set()
        self._lacking_families: set[RecordId] = set()
        self._lacking_homes: set[RecordId] = set()
        self._lacking_floors: set[Foregoing] = set()
        self.outcomes: list[MutationOutcome] = []
        self.journal = Journal()
        self.held_rows: list[HeldRow] = []
        self.refused: list[RefusedRow] = []
        self.announced: list[Announced] = []
        self.clones: list[Incoming] = []
        self._n = 0  # of the mutation being entered
        self._left: dict[RecordId, int] = {}
        self._forwarded: list[Transfer] = []

    def captured_at(self) -> datetime:
        """When what is being decided was done, at the latest: work of an offline phone counts from its capture, not from its arrival."""
        return datetime.fromtimestamp(self.captured.end_ms / 1000, UTC) if self.captured else self.view.now

    # -------------------------------------------------------------------------------------------- asked by planning

    def body_fault(self, mutation: Mutation) -> str | None:
        """Decodes a creation's body once, for all who ask later."""
        body = body_of(mutation)
        if isinstance(body, str):
            return body
        self.bodies[mutation.id] = body
        return None

    def waits_for(self, mutation: Mutation) -> int | None:
        """The number of the held mutation this one depends on: same record, its base, or its parent."""
        if not self.held:
            return None
        body = self.bodies.get(mutation.id)
        needs = {mutation.record, getattr(body, "parent", None)} - {None}
        for held in self.held:
            if held.n < mutation.n and (held.record in needs or (held.mutation and held.mutation == mutation.base)):
                return held.n
        return None

    def is_missing(self, record: RecordId) -> bool:
        """Whether the record does not exist. One that was not asked for is noted as lacking, and counts as there."""
        if record in self.records:
            return False
        if record not in self.view.asked:
            self._lacking_records.add(record)
            return False
        return True

    def need_family(self, record: RecordId) -> None:
        """The record's children must be known before it may move."""
        if record not in self.view.families:
            self._lacking_families.add(record)

    def earlier_homes(self, mutation: Mutation) -> tuple[Home, ...]:
        """Where the record (for a new child: its parent) lived before. Noted as lacking if nobody looked."""
        body = self.bodies.get(mutation.id)
        record: RecordId | None = mutation.record if mutation.record in self.records else getattr(body, "parent", None)
        if record is None or record not in self.records:
            return ()
        if record not in self.view.homes:
            self._lacking_homes.add(record)
        return self.view.homes.get(record, ())

    def floor_of(self, mutation: Mutation, root: Version) -> int:
        """Unix ms before which it was not captured, by what its author had seen. Noted as lacking if nobody looked."""
        if mutation.id not in self.view.floors:
            base = mutation.base if mutation.base is not None and not isinstance(mutation.base, tuple) else None
            self._lacking_floors.add(Foregoing(mutation.id, mutation.record, root, base))
        return self.view.floors.get(mutation.id, 0)

    def flag(self, detail: dict[str, Any]) -> None:
        """Said of the mutation being decided, whatever becomes of it."""
        self.flags |= detail

    def forward(self, mutation: Mutation, record: RecordState) -> None:
        """It follows a record that has moved to another county."""
        assert record.moved_to is not None
        self._forwarded.append(late(mutation, record, self.sender))

    def _copies(self) -> list[Transfer]:
        """Of the records that leave, parents before their children."""
        left = ((self.records[record], n) for record, n in self._left.items())
        return [leaving(record, n, self.view.county, self.sender) for record, n in left if record.moved_to is not None]

    def conflict(self, mutation: Mutation, sender: Sender, record: RecordState, lost: Lost) -> Change:
        """The record that shows a losing value to the supervisor responsible for the unit."""
        places, unit = self.view.places, unit_of(record.stream)
        desk = places.desk_of(unit)
        values = record.values
        body = Conflict(
            unit=desk,
            record=record.id,
            record_kind=record.kind,
            record_unit=unit,
            record_title=next((str(values[f]) for f in TITLE_FIELDS if values.get(f)), "")[:200],
            field=lost.field,
            kept=lost.kept,
            lost=lost.lost,
            kept_by=lost.kept_by,
            lost_by=lost.lost_by,
            mutation=mutation.id,
            person=sender.person,
            device=sender.device,
            why=_why(lost),
            opened_at=self.view.now,
        )
        audience = narrow_audience(record.stream) or Audience.OFFICE  # whoever may not read the record reads no value of it here
        shown = conflict_id(mutation.id, record.id, lost.field)
        return self.server_made(shown, "conflict", stream_name(desk, audience), body, mutation.n)

    def server_made(self, record: RecordId, kind: str, stream: StreamName, body: msgspec.Struct, n: int, op: str = CREATE) -> Change:
        """A whole record that the server writes as a consequence, new or again."""
        before = self.records.get(record)
        version = (self.view.incarnation, before.version[1] + 1 if before else 1)
        encoded = msgspec.json.encode(body)
        after = RecordState(
            id=record,
            kind=kind,
            stream=stream,
            version=version,
            fields={EVERY_OTHER: Writer(*version, self.sender.device, n)},
            body=encoded,
            planned_on=before.planned_on if before else (0, 0),
        )
        return Change(after=after, op=op, patch={"body": msgspec.json.decode(encoded)})

    def latest(self, record: RecordState) -> RecordState:
        """As the decision that is being made leaves it so far."""
        return self._drafts.get(record.id, record)

    def edited(self, record: RecordState, op: str, values: Mapping[str, Any], n: int) -> Change:
        """Another record with fields that the server sets: on top of what the same decision did to it before."""
        record = self.latest(record)
        writer = Writer(self.view.incarnation, record.version[1] + 1, self.sender.device, n)
        body = msgspec.json.encode({**record.values, **values})
        after = replace(record, version=writer.at, fields=written(record, values, writer), body=body)
        self._drafts[record.id] = after
        return Change(after=after, op=op, patch={"set": msgspec.to_builtins(values)})

    # -------------------------------------------------------------------------------------------- grown by decisions

    def begins(self, incoming: Incoming) -> None:
        """The next mutation is about to be decided."""
        self.captured = incoming.captured
        if incoming.mutation is not None:
            self.began[incoming.mutation.id] = incoming.captured.start_ms

    def begin(self, n: int) -> dict[str, Any] | None:
        """The next decision is entered; what was flagged of its mutation."""
        flags, self.flags, self._n = self.flags or None, {}, n
        self._drafts = {}
        return flags

    def take(self, change: Change) -> None:
        self.records[change.after.id] = change.after
        self._changed[change.after.id] = None
        if change.after.moved_to is not None:
            self._left[change.after.id] = self._n

    # -------------------------------------------------------------------------------------------- closing

    def closed(self) -> Plan | Lack:
        """The finished plan, or everything that was missing to make it."""
        changed = [(self.view.records.get(record), self.records[record]) for record in self._changed]
        streams = {state.stream for pair in changed for state in pair if state is not None}
        missing = streams - self.view.heads.keys()
        if missing or self._lacking_records or self._lacking_families or self._lacking_homes or self._lacking_floors:
            return Lack(
                records=frozenset(self._lacking_records),
                families=frozenset(self._lacking_families),
                streams=frozenset(missing),
                homes=frozenset(self._lacking_homes),
                floors=frozenset(self._lacking_floors),
            )
        placed = place(changed, self.view.heads)
        return Plan(
            outcomes=self.outcomes,
            entries=self.journal.entries,
            records=placed.records,
            markers=placed.markers,
            heads=placed.heads,
            held=self.held_rows,
            refused=self.refused,
            announced=self.announced,
            clones=self.clones,
            transfers=[*self._copies(), *self._forwarded],
        )


def _why(lost: Lost) -> str:
    return Reason.EDIT_AGAINST_DELETE.value if lost.field == DELETION else Reason.OVERLAP.value
