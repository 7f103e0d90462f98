"""A county in memory: gives planning only what it asks for, and applies what it decides. Nothing is judged here.

It exists to drive `plan_push` through whole days within milliseconds. What a database does is shown in tests/storage.
"""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from contracts.checklist import load_checklists
from contracts.digest import MODULUS, record_crc
from contracts.ids import MutationId, RecordId, StreamName
from contracts.mutation import CREATE, Mutation
from contracts.outcomes import MutationOutcome
from contracts.responsibility import load_responsibility
from sync.decision import Foregoing, HeldMutation, Home, Incoming, Lack, Seen, Sender, View
from sync.intake import photos_changed, wanted_of
from sync.places import Places
from sync.plan import plan_push
from sync.planned import Entry, HeldRow, Plan
from sync.rules import RuleBook
from sync.state import Head, RecordState
from tests.builders import NOW_MS, PLACES, utc
from tests.county import COUNTY

TRIES_MAX = 8


def _may_open(mutation: Mutation | None) -> bool:
    return mutation is not None and ((mutation.kind, mutation.op) == ("problem", CREATE) or mutation.kind == "inspection")


def _assert_each_version_once(plan: Plan) -> None:
    """Whatever changes a record twice in one plan builds on what it did before: each version has one state in the journal."""
    written = [(entry.after.id, entry.after.version) for entry in plan.entries if entry.after is not None]
    assert len(written) == len(set(written)), "two changes of a record with one version"


class PretendCounty:
    def __init__(self, places: Places = PLACES, rules: RuleBook | None = None) -> None:
        self.places = places
        self.rules = rules or RuleBook()
        self.incarnation = 1
        self.records: dict[RecordId, RecordState] = {}
        self.heads: dict[StreamName, Head] = {}
        self.markers: dict[tuple[StreamName, RecordId], tuple[int, Any]] = {}
        self.journal: list[tuple[uuid.UUID, Entry]] = []
        self.known: dict[uuid.UUID, dict[int, MutationOutcome]] = {}
        self.seen: dict[MutationId, Seen] = {}
        self.held: dict[uuid.UUID, list[HeldRow]] = {}
        self.seqs: dict[StreamName, list[int]] = {}

    def push(self, sender: Sender, batch: Sequence[Incoming]) -> Plan:
        """Plan as storage does, with more after each Lack, and apply."""
        plan = self.plan(sender, batch)
        _assert_each_version_once(plan)
        self._apply(sender, plan)
        return plan

    def plan(self, sender: Sender, batch: Sequence[Incoming]) -> Plan:
        wanted = wanted_of(batch)
        records, streams = set(wanted.records), set(wanted.streams)
        families: frozenset[RecordId] = frozenset()
        homes: frozenset[RecordId] = frozenset()
        floors: frozenset[Foregoing] = frozenset()
        for _ in range(TRIES_MAX):
            planned = plan_push(batch, sender, self._view(sender, batch, records, streams, families, homes, floors))
            if isinstance(planned, Plan):
                return planned
            assert planned != Lack(), "a lack must say of what"
            records |= planned.records
            streams |= planned.streams
            families |= planned.families
            homes |= planned.homes
            floors |= planned.floors
        raise AssertionError(f"planning still lacks {planned}")

    def _view(
        self,
        sender: Sender,
        batch: Sequence[Incoming],
        records: set[RecordId],
        streams: set[StreamName],
        families: frozenset[RecordId],
        homes: frozenset[RecordId],
        floors: frozenset[Foregoing],
    ) -> View:
        given = {i: self.records[i] for i in records if i in self.records}
        for child in self.records.values():
            if child.parent in families:
                given.setdefault(child.id, child)
        if any(_may_open(i.mutation) for i in batch):
            given.update({r.id: r for r in self.records.values() if r.kind == "problem" and not r.deleted})
        changed = {str(photo) for photo in photos_changed(batch)}
        given.update({r.id: r for r in self.records.values() if r.kind == "photo" and r.values.get("mirror_of") in changed})
        locked = streams | {self.records[i].stream for i in records if i in self.records}
        named = {m.id for i in batch if (m := i.mutation)} | {m.base for i in batch if (m := i.mutation) and isinstance(m.base, uuid.UUID)}
        return View(
            county=COUNTY,
            incarnation=self.incarnation,
            now=utc(NOW_MS),
            places=self.places,
            rules=self.rules,
            checklists=load_checklists(),
            responsibility=load_responsibility(),
            heads={s: self.heads.get(s) or Head(stream=s, incarnation=self.incarnation, seq=0, count=0, digest=0) for s in locked},
            records=given,
            known={n: o for n, o in self.known.get(sender.device, {}).items() if any(i.n == n for i in batch)},
            seen={m: s for m, s in self.seen.items() if m in named},
            held=tuple(HeldMutation(n=h.n, record=h.record, mutation=h.mutation) for h in self.held.get(sender.device, [])),
            families=families,
            asked=frozenset(records),
            homes={i: self._homes(i) for i in homes},
            floors={one.mutation: self._floor(one) for one in floors},
        )

    def _floor(self, one: Foregoing) -> int:
        """As the journal tells it: from when on its author can have seen what it is about."""
        of_record = [e for _, e in self.journal if e.captured is not None and e.record == one.record]
        written = [e for e in of_record if e.after is not None and e.after.id == one.record]
        seen = [e.captured.end_ms for e in written if e.after.version == one.root] + [
            e.captured.end_ms for e in written[:1] if one.base is None
        ]
        return max([0, *seen, *(e.captured.start_ms for e in of_record if e.mutation == one.base)])

    def _homes(self, record: RecordId) -> tuple[Home, ...]:
        last = {e.after.stream: e.after.version for _, e in self.journal if e.after is not None and e.after.id == record}
        return tuple(Home(stream, version) for stream, version in last.items())

    def _apply(self, sender: Sender, plan: Plan) -> None:
        for record in plan.records:
            before = self.records.get(record.id)
            assert record.planned_on == (before.version if before else (0, 0)), "planned on another state"
            self.records[record.id] = msgspec.structs.replace(record, planned_on=record.version)
            if not record.deleted:
                self.markers.pop((record.stream, record.id), None)
                self.seqs.setdefault(record.stream, []).append(record.seq)
        for marker in plan.markers:
            self.markers[marker.stream, marker.marker.id] = (marker.marker.seq, marker.marker.v)
            self.seqs.setdefault(marker.stream, []).append(marker.marker.seq)
        for head in plan.heads:
            self.heads[head.stream] = head
        known = self.known.setdefault(sender.device, {})
        for outcome in plan.outcomes:
            known.setdefault(outcome.n, outcome)
        for entry in plan.entries:
            self.journal.append((sender.device, entry))
            if entry.what == "mutation" and entry.mutation is not None:
                self.seen.setdefault(entry.mutation, Seen(device=sender.device, n=entry.n, root=entry.root, outcome=entry.outcome))
        self.held.setdefault(sender.device, []).extend(plan.held)

    # ------------------------------------------------------------------------------------------ to be compared

    def live(self, stream: StreamName) -> dict[RecordId, RecordState]:
        return {r.id: r for r in self.records.values() if r.stream == stream and not r.deleted}

    def assert_true(self) -> None:
        """Promises 4 and 5: seqs without a gap, count and digest as recomputed, every change still to be found by its seq."""
        for stream, head in self.heads.items():
            live = self.live(stream)
            assert head.count == len(live), stream
            assert head.digest == sum(record_crc(r.id, r.version) for r in live.values()) % MODULUS, stream
            assert sorted(self.seqs.get(stream, [])) == list(range(1, head.seq + 1)), stream
            current = [r.seq for r in live.values()] + [seq for (s, _), (seq, _) in self.markers.items() if s == stream]
            assert len(current) == len(set(current)), f"{stream}: two changes share a seq"

    def snapshot(self) -> tuple[Any, ...]:
        return (dict(self.records), dict(self.heads), dict(self.markers), len(self.journal))
