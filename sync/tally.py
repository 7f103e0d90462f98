"""What a batch adds up to: the rows that storage writes, gathered decision by decision."""

from __future__ import annotations

from typing import Any

import msgspec

from contracts.ids import MutationId, RecordId, StreamName, UnitCode, Version, conflict_id, outcome_id
from contracts.kinds import KINDS
from contracts.kinds.conflict import Conflict
from contracts.kinds.outcome import HeldOutcome
from contracts.kinds.photo import Photo
from contracts.mutation import CREATE, Mutation
from contracts.outcomes import MutationOutcome, Outcome, Reason
from contracts.people import Audience
from sync.clock import Interval
from sync.decision import (
    Accept,
    Change,
    Clone,
    Decision,
    HeldMutation,
    Hold,
    Home,
    Incoming,
    Lack,
    Refuse,
    Repeat,
    Seen,
    Sender,
    View,
)
from sync.heads import place
from sync.journal import Journal
from sync.merge import Lost
from sync.places import NARROW, device_stream, narrow_audience, stream_name, unit_of
from sync.planned import Announced, HeldRow, Plan
from sync.secrecy import is_hidden, secret_desk
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
        self._flags: dict[str, Any] = {}
        self._changed: dict[RecordId, None] = {}
        self._lacking_records: set[RecordId] = set()
        self._lacking_families: set[RecordId] = set()
        self._lacking_homes: set[RecordId] = set()
        self._outcomes: list[MutationOutcome] = []
        self.journal = Journal()
        self._held_rows: list[HeldRow] = []
        self._announced: list[Announced] = []
        self._clones: list[Incoming] = []
        self._n = 0  # of the mutation being entered
        self._left: dict[RecordId, int] = {}
        self._forwarded: list[Transfer] = []

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

    def flag(self, detail: dict[str, Any]) -> None:
        """Said of the mutation being decided, whatever becomes of it."""
        self._flags |= detail

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
        return self.server_made(conflict_id(mutation.id, lost.field), "conflict", stream_name(desk, audience), body, mutation.n)

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

    # -------------------------------------------------------------------------------------------- entering decisions

    def enter(self, incoming: Incoming, decision: Decision) -> None:
        """Take one decision into the plan."""
        flags, self._flags = self._flags or None, {}
        self._n = incoming.n
        match decision:
            case Repeat(outcome=outcome):
                self._outcomes.append(outcome)
            case Clone():
                self._clones.append(incoming)
                self._answer(incoming, Outcome.QUARANTINED, Reason.DEVICE_CLONED, flags)
            case Hold():
                self._hold(incoming, msgspec.structs.replace(decision, detail=_both(decision.detail, flags)))
            case Refuse(reason=reason, detail=detail):
                both = _both(detail, flags)
                self._write(incoming, Outcome.REJECTED, reason, both, self.root_seen(incoming))
                self._tell_end(incoming, Outcome.REJECTED, reason, both)
                self._answer(incoming, Outcome.REJECTED, reason, both)
            case Accept():
                self._accept(incoming, decision, _both(decision.detail, flags))

    def root_seen(self, incoming: Incoming) -> Version:
        """The root base that a refused mutation hands on to those that build on it."""
        base = incoming.mutation.base if incoming.mutation else None
        if isinstance(base, tuple):
            return base
        known = self.seen.get(base) if base is not None else None
        return known.root if known else (self.view.incarnation, 0)

    def _accept(self, incoming: Incoming, accept: Accept, detail: dict[str, Any] | None) -> None:
        self._announce(incoming)
        if incoming.released and accept.reason is Reason.OK:
            accept = msgspec.structs.replace(accept, reason=Reason.RELEASED)
        own = accept.changes[0] if accept.changes else None
        named = incoming.mutation.record if incoming.mutation else None
        mine = own if own is not None and own.after.id == named else None
        self._write(incoming, accept.outcome, accept.reason, detail, accept.root, mine)
        for change in accept.changes:
            self._take(change)
            if change is not mine:
                self.journal.consequence(incoming, change)
        self._tell_end(incoming, accept.outcome, accept.reason, detail)
        self._answer(incoming, accept.outcome, accept.reason, detail, mine)

    def _tell_end(self, incoming: Incoming, outcome: Outcome, reason: Reason, detail: dict[str, Any] | None) -> None:
        """A mutation that was held has ended: its device learns it from the record that told of the holding."""
        if incoming.entry == 0:
            return
        mutation_id = incoming.mutation.id if incoming.mutation else incoming.envelope.id
        record = incoming.mutation.record if incoming.mutation else incoming.envelope.record
        told = self.told(incoming.n, outcome, reason, mutation_id, record, detail, final=True, again=True)
        self._take(told)
        self.journal.consequence(incoming, told)

    def _take(self, change: Change) -> None:
        self.records[change.after.id] = change.after
        self._changed[change.after.id] = None
        if change.after.moved_to is not None:
            self._left[change.after.id] = self._n

    def _hold(self, incoming: Incoming, hold: Hold) -> None:
        self._announce(incoming)
        mutation = incoming.mutation
        record = mutation.record if mutation else incoming.envelope.record
        mutation_id = mutation.id if mutation else incoming.envelope.id
        self._write(incoming, hold.outcome, hold.reason, hold.detail, self.root_seen(incoming))
        self._held_rows.append(
            HeldRow(
                n=incoming.n,
                mutation=mutation_id,
                record=record,
                kind=mutation.kind if mutation else incoming.envelope.kind,
                unit=self._desk(mutation),
                outcome=hold.outcome,
                reason=hold.reason,
                detail=hold.detail,
                waits_for=hold.waits_for,
            )
        )
        self.held.append(HeldMutation(n=incoming.n, record=record, mutation=mutation_id))
        told = self.told(incoming.n, hold.outcome, hold.reason, mutation_id, record, hold.detail, final=False, again=incoming.entry > 0)
        self._take(told)
        self.journal.consequence(incoming, told)
        self._answer(incoming, hold.outcome, hold.reason, hold.detail)

    def told(
        self,
        n: int,
        outcome: Outcome,
        reason: Reason,
        mutation: MutationId | None,
        record: RecordId | None,
        detail: dict[str, Any] | None,
        *,
        final: bool,
        again: bool,
    ) -> Change:
        """The record by which the device learns what is happening to a held mutation."""
        device, county = self.sender.device, self.view.county
        body = HeldOutcome(device=device, n=n, outcome=outcome, reason=reason, mutation=mutation, record=record, detail=detail, final=final)
        record_id = outcome_id(f"{device}/{county}/{n}")
        if again:
            self.is_missing(record_id)  # it was told before: the record must be read to be written
        return self.server_made(record_id, "outcome", device_stream(county, device), body, n)

    def _desk(self, mutation: Mutation | None) -> UnitCode:
        """Whose desk a held mutation lies on: its record's unit, the unit it names, or the sender's first duty."""
        places = self.view.places
        state = self.records.get(mutation.record) if mutation else None
        if state is not None and is_hidden(state, self.sender.duties, places):
            state = None  # even the desk on which prying ends must not tell that there is something
        hidden = secret_desk(mutation, state, self)
        if hidden is not None:
            return hidden
        body = self.bodies.get(mutation.id) if mutation else None
        candidates = [
            unit_of(state.stream) if state else None,
            getattr(body, "unit", None),
            *(duty.unit for duty in self.sender.duties),
        ]
        for unit in candidates:
            if unit is not None and places.county_of(unit) == self.view.county:
                return places.whole(self.view.county) if self._is_narrow(mutation, state) else places.desk_of(unit)
        return str(self.view.county)

    def _is_narrow(self, mutation: Mutation | None, state: RecordState | None) -> bool:
        """Of a case or of something sealed: a township's desk has more readers than that."""
        if state is not None:
            return narrow_audience(state.stream) is not None
        kind = KINDS.get(mutation.kind) if mutation else None
        return kind is not None and kind.audience in NARROW

    def _announce(self, incoming: Incoming) -> None:
        mutation = incoming.mutation
        body = self.bodies.get(mutation.id) if mutation else None
        if mutation is not None and isinstance(body, Photo):
            self._announced.append(Announced(n=incoming.n, photo=mutation.record, body=body))

    def _write(
        self,
        incoming: Incoming,
        outcome: Outcome,
        reason: Reason,
        detail: dict[str, Any] | None,
        root: Version,
        change: Change | None = None,
    ) -> None:
        """Into the journal; from here on the mutation is known."""
        mutation_id = incoming.mutation.id if incoming.mutation else incoming.envelope.id
        if mutation_id is not None and mutation_id not in self.seen:
            self.seen[mutation_id] = Seen(device=self.sender.device, n=incoming.n, root=root, outcome=outcome)
        self.journal.decision(incoming, outcome, reason, detail, root, change)

    def _answer(
        self, incoming: Incoming, outcome: Outcome, reason: Reason, detail: dict[str, Any] | None, own: Change | None = None
    ) -> None:
        """What is told now is what the journal will tell a repetition."""
        mutation = incoming.mutation
        self._outcomes.append(
            MutationOutcome(
                n=incoming.n,
                id=mutation.id if mutation else incoming.envelope.id,
                outcome=outcome,
                reason=reason,
                version=own.after.version if own else None,
                detail=detail,
            )
        )

    # -------------------------------------------------------------------------------------------- closing

    def closed(self) -> Plan | Lack:
        """The finished plan, or everything that was missing to make it."""
        changed = [(self.view.records.get(record), self.records[record]) for record in self._changed]
        streams = {state.stream for pair in changed for state in pair if state is not None}
        missing = streams - self.view.heads.keys()
        if missing or self._lacking_records or self._lacking_families or self._lacking_homes:
            return Lack(
                records=frozenset(self._lacking_records),
                families=frozenset(self._lacking_families),
                streams=frozenset(missing),
                homes=frozenset(self._lacking_homes),
            )
        placed = place(changed, self.view.heads)
        return Plan(
            outcomes=self._outcomes,
            entries=self.journal.entries,
            records=placed.records,
            markers=placed.markers,
            heads=placed.heads,
            held=self._held_rows,
            announced=self._announced,
            clones=self._clones,
            transfers=[*self._copies(), *self._forwarded],
        )


def _why(lost: Lost) -> str:
    return Reason.EDIT_AGAINST_DELETE.value if lost.field == DELETION else Reason.OVERLAP.value


def _both(a: dict[str, Any] | None, b: dict[str, Any] | None) -> dict[str, Any] | None:
    return {**(a or {}), **(b or {})} or None
