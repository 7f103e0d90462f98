"""Projections: one record shown in the streams of others who work on it (design.md section 2).

A problem is shown to every unit that must fix it as an `assignment` in that unit's stream, rewritten in the transaction that
changes the problem; enforcement information that was sent, to the department that receives it, as a `handover`. A projection carries its
source's version, so a command on it is judged by what its author saw. Photos of the source are shown beside each projection, and photos
taken for a projection beside the source; with a problem go those of the check item that opened it, also to departments that a whistle called to
it; likewise those of a whistle beside each summons, and those of a summons beside the whistle. What becomes of a photo (its bytes are here, somebody wrote a caption) is
shown beside it everywhere: a mirror is rewritten in the transaction that changes its original.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from contracts.ids import RecordId, StreamName, UnitCode, problem_id, projection_id
from contracts.kinds import KINDS
from contracts.kinds.assignment import Assignment
from contracts.kinds.handover import Handover
from contracts.kinds.photo import Photo
from contracts.mutation import CREATE, Mutation
from contracts.outcomes import Outcome, Reason
from contracts.people import Audience
from contracts.stored import read_stored
from sync.consequences import follow
from sync.decision import Accept, Change, Decision, Hold, Sender
from sync.machines import PROJECTED
from sync.merge import written
from sync.places import is_secret, stream_name, unit_of
from sync.retention import is_archived
from sync.secrecy import share_sight
from sync.state import DELETION, EVERY_OTHER, RecordState, Writer
from sync.tally import Tally
from sync.whereabouts import unit_name, whereabouts

DISMISSED: Final = "cancelled"  # of a summons: the department has nothing more to do with it
OWN_TO_MIRRORS: Final = frozenset({"parent", "mirror_of"})


def on_source(mutation: Mutation, tally: Tally) -> Mutation | Hold:
    """A command on a projection is planned on its source, which is read if it was not; held where there is none."""
    kind = PROJECTED.get(mutation.kind)
    state = tally.records.get(mutation.record)
    field = KINDS[mutation.kind].projects
    tally.acts_for = None
    if kind is None or field is None or state is None:
        return mutation
    source = RecordId(state.values[field])
    if tally.is_missing(source) or source not in tally.records:
        return Hold(outcome=Outcome.QUARANTINED, reason=Reason.RECORD_MISSING)
    tally.acts_for = str(state.values["unit"])
    return msgspec.structs.replace(mutation, kind=kind, record=source)


def projected(decision: Decision, mutation: Mutation, sender: Sender, tally: Tally) -> Decision:
    """The decision with what it changes in other streams."""
    if not isinstance(decision, Accept) or not decision.changes:
        return decision
    writer = Writing(mutation, sender, tally, {change.after.id: change.after for change in decision.changes})
    more: list[Change] = []
    for state in list(writer.now.values()):
        if state.kind == "problem":
            more += writer.assignments(state)
        if state.kind == "transfer":
            more += writer.handover(state)
    for change in decision.changes:
        if change.after.kind == "photo" and change.op == CREATE:
            more += writer.mirrors(change.after)
        elif change.after.kind == "photo" and not change.after.deleted:
            more += [*writer.retold(change.after), *writer.disclosed(change.after)]
        if change.after.kind == "summons" and (change.op == CREATE or writer.is_called_again(change.after)):
            more += writer.photos_of_whistle(change.after)
    return replace(decision, changes=(*decision.changes, *more)) if more else decision


def units_of(values: dict[str, Any]) -> dict[UnitCode, str]:
    """Unit -> its part, of those that must fix a problem."""
    supporting = dict.fromkeys(values.get("supporting") or [], "supporting")
    return supporting | dict.fromkeys(values.get("leads") or [], "lead")


def _called(whistle: RecordState) -> Iterable[tuple[RecordId, StreamName]]:
    """The summonses of a whistle that go on. Whoever was dismissed keeps what was shown, and is shown no more."""
    for unit, one in (whistle.values.get("summons") or {}).items():
        if one.get("state") != DISMISSED:
            yield projection_id(whistle.id, unit), stream_name(unit, Audience.FIELD)


class Writing:
    """Projections of one accepted mutation. `now`: the records as the mutation leaves them."""

    def __init__(self, mutation: Mutation, sender: Sender, tally: Tally, now: dict[RecordId, RecordState]) -> None:
        self.mutation = mutation
        self.sender = sender
        self.n = mutation.n
        self.device = sender.device
        self.tally = tally
        self.now = now

    def _at(self, record: RecordId) -> RecordState | None:
        return self.now.get(record) or self.tally.records.get(record)

    def assignments(self, problem: RecordState) -> Iterable[Change]:
        """The problem as each unit sees it now; gone for units that have nothing more to do with it."""
        before = self.tally.records.get(problem.id)
        was = units_of(before.values) if before else {}
        gone = problem.deleted or is_archived(problem)
        wanted = {} if gone else self._in_county(units_of(problem.values))
        for unit, part in wanted.items():
            record = projection_id(problem.id, unit)
            is_new = self.tally.is_missing(record)
            before_it = self._at(record)
            shown_again = self._assignment(problem, unit, part)
            yield shown_again
            if before_it is not None and before_it.deleted:
                yield from self._followers(shown_again.after)
            if is_new or unit not in was:
                yield from self._photos_to(problem.id, record, stream_name(unit, Audience.FIELD))
        for unit in was.keys() - wanted.keys():
            record = projection_id(problem.id, unit)
            self.tally.is_missing(record)
            self.tally.need_family(record)
            shown = self._at(record)
            if shown is not None and not shown.deleted:
                withdrawn = self._withdrawn(shown, problem)
                yield withdrawn
                yield from self._followers(withdrawn.after)

    def _followers(self, assignment: RecordState) -> Iterable[Change]:
        """Its photos go and come back with it; beside the problem they stay."""
        self.tally.need_family(assignment.id)
        for change in follow(self.mutation, self.sender, self.tally, assignment):
            self.now[change.after.id] = change.after
            yield change

    def _in_county(self, units: dict[UnitCode, str]) -> dict[UnitCode, str]:
        county = self.tally.view.county
        return {unit: part for unit, part in units.items() if self.tally.view.places.county_of(unit) == county}

    def _assignment(self, problem: RecordState, unit: UnitCode, part: str) -> Change:
        values = problem.values
        body = Assignment(
            unit=unit,
            problem=problem.id,
            problem_unit=unit_of(problem.stream),
            part="lead" if part == "lead" else "supporting",
            title=str(values.get("title", "")),
            state=str(values.get("state", "assigned")),
            due_on=values.get("due_on"),
            shown=values,
            problem_unit_name=unit_name(self.tally.view.places, unit_of(problem.stream)),
            **whereabouts(self.tally, problem.stream, values),
        )
        return self._shown(projection_id(problem.id, unit), "assignment", stream_name(unit, Audience.FIELD), problem, body)

    def _shown(self, record: RecordId, kind: str, stream: StreamName, source: RecordState, body: msgspec.Struct) -> Change:
        """A projection as it is now, in the version of what it shows."""
        before = self._at(record)
        after = RecordState(
            id=record,
            kind=kind,
            stream=stream,
            version=source.version,
            fields={EVERY_OTHER: Writer(*source.version, self.device, self.n)},
            body=msgspec.json.encode(body),
            planned_on=before.planned_on if before else (0, 0),
        )
        self.now[record] = after
        return Change(after=after, op="project", patch={"body": msgspec.to_builtins(body)})

    def handover(self, transfer: RecordState) -> Iterable[Change]:
        """Enforcement information as the department has it that it was sent to. It is never taken back."""
        for record, stream in self._shown_in(transfer):
            is_new = self.tally.is_missing(record)
            yield self._shown(record, "handover", stream, transfer, self._handover(transfer))
            if is_new:
                yield from self._photos_to(transfer.id, record, stream)

    def _handover(self, transfer: RecordState) -> Handover:
        values, steps = transfer.values, transfer.values.get("steps") or []
        sent = next((k for k, step in enumerate(steps) if step["command"] == "transfer.send"), len(steps))
        return Handover(
            unit=values["receiver_unit"],
            transfer=transfer.id,
            transfer_unit=unit_of(transfer.stream),
            transfer_unit_name=unit_name(self.tally.view.places, unit_of(transfer.stream)),
            flow=values["flow"],
            problem=self._told_of(values.get("problem")),
            whistle=values.get("whistle"),
            title=values.get("title", ""),
            text=values.get("text", ""),
            receipt_number=values.get("receipt_number", ""),
            result=values.get("result", ""),
            state=values["state"],
            steps=steps[sent:],
        )

    def _told_of(self, problem: str | None) -> RecordId | None:
        """The problem it is about, unless an unannounced visit found it of which the receiver has not been told."""
        if problem is None or self.tally.is_missing(RecordId(problem)):
            return None
        known = self._at(RecordId(problem))
        return None if known is None or is_secret(known.stream) else known.id

    def _withdrawn(self, shown: RecordState, problem: RecordState) -> Change:
        writer = Writer(*problem.version, self.device, self.n)
        after = replace(shown, deleted=True, version=problem.version, fields={**shown.fields, DELETION: writer})
        self.now[shown.id] = after
        return Change(after=after, op="withdraw", patch={})

    def mirrors(self, photo: RecordState) -> Iterable[Change]:
        """A new photo, beside every other place where its problem is shown."""
        parent = self._at(photo.parent) if photo.parent else None
        if parent is None or photo.values.get("mirror_of"):
            return
        if parent.kind in ("whistle", "summons"):
            yield from self._across_whistle(photo, parent)
            return
        if parent.kind == "inspection":
            yield from self._of_item(photo, parent)
            return
        source, field = parent, KINDS[parent.kind].projects
        if field is not None:
            found = RecordId(parent.values[field])
            self.tally.is_missing(found)
            known = self._at(found)
            if known is None:
                return
            source = known
            yield from self._mirror(photo, source.id, source.stream)
        for record, stream in self._shown_in(source):
            if record != parent.id:
                yield from self._mirror(photo, record, stream)

    def _shown_in(self, source: RecordState) -> Iterable[tuple[RecordId, StreamName]]:
        """Where a problem or transfer is shown to others; a problem, to those whom a whistle called to it, too."""
        if source.kind == "problem":
            for unit in self._in_county(units_of(source.values)):
                yield projection_id(source.id, unit), stream_name(unit, Audience.FIELD)
            for whistle in map(RecordId, source.values.get("whistles") or []):
                self.tally.is_missing(whistle)
                blown = self._at(whistle)
                yield from _called(blown) if blown is not None else ()
        elif source.kind == "transfer" and (receiver := source.values.get("receiver_unit")):
            yield projection_id(source.id, receiver), stream_name(receiver, Audience.OFFICE)

    def retold(self, photo: RecordState) -> Iterable[Change]:
        """The photo as its mirrors show it now; one that was taken away stays away, and is right when it comes back."""
        for known in sorted(self.tally.records.values(), key=lambda r: r.id):
            mirror = self._at(known.id)
            if mirror is None or mirror.kind != "photo" or mirror.moved_to is not None:
                continue
            shown = mirror.values
            news = {name: value for name, value in photo.values.items() if name not in OWN_TO_MIRRORS and shown.get(name) != value}
            if shown.get("mirror_of") != str(photo.id) or not news:
                continue
            writer = Writer(self.tally.view.incarnation, mirror.version[1] + 1, self.device, self.n)
            body = msgspec.json.encode(shown | news)
            after = replace(mirror, version=writer.at, fields=written(mirror, news, writer), body=body)
            self.now[mirror.id] = after
            yield Change(after=after, op="project", patch={"set": news})

    def _across_whistle(self, photo: RecordState, parent: RecordState) -> Iterable[Change]:
        """What a township shows, each department sees; what a department shows, the township sees that must confirm it."""
        if parent.kind == "summons":
            whistle = RecordId(parent.values["whistle"])
            self.tally.is_missing(whistle)
            above = self._at(whistle)
            if above is not None:
                yield from self._mirror(photo, above.id, above.stream)
            return
        for record, stream in _called(parent):
            yield from self._mirror(photo, record, stream)

    def _of_item(self, photo: RecordState, inspection: RecordState) -> Iterable[Change]:
        """Of the check item that opened a problem: wherever that problem is shown."""
        item = photo.values.get("item")
        problem = problem_id(inspection.id, item) if item else None
        if problem is None or self.tally.is_missing(problem):
            return
        opened = self._at(problem)
        if opened is not None and not opened.deleted and share_sight(opened.stream, photo.stream):
            for record, stream in self._shown_in(opened):
                yield from self._mirror(photo, record, stream)

    def disclosed(self, photo: RecordState) -> Iterable[Change]:
        """A photo that comes out of secrecy, for those who were called to its problem before."""
        before = self.tally.records.get(photo.id)
        if before is not None and is_secret(before.stream) and not is_secret(photo.stream) and photo.moved_to is None:
            yield from self.mirrors(photo)

    def is_called_again(self, summons: RecordState) -> bool:
        """It was dismissed, and is waited for or was answered after all: it sees what came meanwhile."""
        before = self.tally.records.get(summons.id)
        was_dismissed = before is not None and before.values.get("state") == DISMISSED
        return was_dismissed and summons.values.get("state") != DISMISSED

    def photos_of_whistle(self, summons: RecordState) -> Iterable[Change]:
        """A department that is called sees the photos of the whistle, and of the problem that it is about."""
        for source in (summons.values["whistle"], summons.values.get("problem")):
            if source is not None:
                yield from self._photos_to(RecordId(source), summons.id, summons.stream)

    def _photos_to(self, source: RecordId, parent: RecordId, stream: str) -> Iterable[Change]:
        """Photos the problem has already, its own and those of the item that opened it, for a unit that sees it for the first time."""
        self.tally.is_missing(source)
        known = self._at(source)
        inspection, item = (known.values.get("inspection"), known.values.get("item")) if known is not None else (None, None)
        opened_by = RecordId(inspection) if inspection and item else None
        for family in (source, *((opened_by,) if opened_by else ())):
            self.tally.need_family(family)
        for photo in sorted(self.tally.records.values(), key=lambda r: r.id):
            is_its = photo.parent == source or (opened_by is not None and photo.parent == opened_by and photo.values.get("item") == item)
            if is_its and photo.kind == "photo" and not photo.deleted and share_sight(photo.stream, stream):
                yield from self._mirror(photo, parent, stream)

    def _mirror(self, photo: RecordState, parent: RecordId, stream: str) -> Iterable[Change]:
        origin = photo.values.get("mirror_of") or str(photo.id)
        taken = self._at(RecordId(origin))
        if taken is not None and taken.parent == parent:
            return  # it was taken there
        record = projection_id(RecordId(origin), str(parent))
        if record == photo.id or not self.tally.is_missing(record) or record in self.now:
            return
        values = photo.values | {"parent": str(parent), "mirror_of": origin}
        body = read_stored(msgspec.json.encode(values), Photo)
        version = (self.tally.view.incarnation, 1)
        after = RecordState(
            id=record,
            kind="photo",
            stream=stream,
            version=version,
            fields={EVERY_OTHER: Writer(*version, self.device, self.n)},
            body=msgspec.json.encode(body),
            parent=parent,
        )
        self.now[record] = after
        yield Change(after=after, op="project", patch={"body": msgspec.to_builtins(body)})
