"""A supervisor settles a conflict: the field takes the value that was decided on, as if a command or an edit had set it."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from contracts.ids import DeviceId, RecordId
from contracts.mutation import DELETE, Mutation
from contracts.outcomes import Reason
from sync.assigning import CALLING, uncalled
from sync.carrying_out import GUARDS, is_empty, is_one_of
from sync.clock import Interval
from sync.consequences import bury, consequences_of
from sync.decision import Change, Refuse, Sender
from sync.homes import moved
from sync.keeping import changers
from sync.machines import MACHINES
from sync.merge import Lost, Merge, get_field, set_field, written
from sync.situation import STORIED, Situation, given_on, has_story, step_of
from sync.standing import now_ms
from sync.state import DELETION, RecordState, Writer
from sync.tally import Tally
from sync.transfers import settling
from sync.words import decoding_fault, state_now

# The guards of a command that are about the value of one field, and not about who gives the command or what else it brings.
GUARDS_OF: Final = {
    "leads": ("each_unit_once",),
    "supporting": ("each_unit_once",),
    "called": ("each_unit_once",),
    "optional": ("each_unit_once",),
    "suspended_until": ("limit_ahead",),
    "due_on": ("deadline_ahead",),
    "look_back_on": ("look_back_ahead",),
    "terms": (
        "terms_read", "terms_recur", "terms_occur", "terms_in_order", "seasons_known", "units_below", "units_open", "visits_open",
    ),
    "lifted_because": ("answered_if_it_says_so",),
}  # fmt: skip


def settle(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """The supervisor's tap. `args`: choice kept | lost | other, with `value` for other. Adds its fields to `merge`."""
    mutation, sender, tally = s.mutation, s.sender, s.tally
    choice = mutation.args.get("choice")
    if choice not in ("kept", "lost", "other") or (choice == "other" and "value" not in mutation.args):
        return Refuse(reason=Reason.MALFORMED, detail={"args": "choice"})
    merge.set({"choice": choice, "settled_by": str(sender.person)})
    if choice == "kept":
        return ()
    source = RecordId(str(merge.values["record"]))
    if tally.is_missing(source):
        return Refuse(reason=Reason.RECORD_MISSING)
    record = tally.records.get(source)
    if record is None:
        return ()
    field = str(merge.values["field"])
    value = merge.values.get("lost") if choice == "lost" else mutation.args.get("value")
    amiss = _not_theirs(s, record, field) or (None if field == DELETION else _amiss(s, record, field, value))
    if amiss is not None:
        return amiss
    if record.moved_to is not None:
        _settled_elsewhere(mutation, tally, merge, record, field, choice)
        return ()
    if field == DELETION:
        return _buried(mutation, sender, tally, record) if choice == "lost" else ()
    return _settled(s, record, field, value, merge.values.get("kept"))


# ------------------------------------------------------------------------------------------------ what a command would have asked


def _not_theirs(s: Situation, record: RecordState, field: str) -> Refuse | None:
    """A desk below the author's level does not decide what the author's evidence says."""
    tally = s.tally
    when = tally.captured or Interval(0, now_ms(tally))
    by = None if s.sender.is_system else changers(record, [field], s.sender, when, tally)
    return Refuse(reason=Reason.NOT_YOURS, detail={"op": s.mutation.op, "fields": [field], "by": by}) if by is not None else None


def _amiss(s: Situation, record: RecordState, field: str, value: Any) -> Refuse | None:
    """A field that only commands set takes no value by a settlement that they would not have taken."""
    setting = [t for t in MACHINES.get(record.kind, {}).values() if field in t.sets]
    if any(field in t.needs for t in setting) and is_empty(value):
        return Refuse(reason=Reason.INCOMPLETE, detail={"needs": [field]})
    if any(field in t.choices and not is_one_of(value, t.choices[field]) for t in setting):
        return Refuse(reason=Reason.INCOMPLETE, detail={"needs": [field]})
    values = record.values
    set_field(values, field, value)
    if setting and (fault := decoding_fault(record.kind, msgspec.json.encode(values), [field])) is not None:
        return Refuse(reason=Reason.MALFORMED, detail={"error": fault})
    on_record = replace(s, state=record, mutation=replace(s.mutation, fields={field: (None, value)}))
    unmet = sorted({g for t in setting for g in t.guards if g in GUARDS_OF.get(field, ()) and not GUARDS[g](on_record, values)})
    if unmet:
        return Refuse(reason=Reason.INCOMPLETE, detail={"needs": unmet})
    if field in CALLING:
        return uncalled(s.tally.view.places, record.moved_to or s.tally.view.county, values, given_on(s.tally))
    return None


def _settled(s: Situation, record: RecordState, field: str, value: Any, kept: Any) -> tuple[Change, ...] | Refuse:
    """The field takes the value that was decided on, under the same rules as any other writing.

    What only commands set, colours and other timers read from the story: the decision is a step of it. `kept` is what the conflict said is in the record.
    """
    mutation, sender, tally = s.mutation, s.sender, s.tally
    values = record.values
    current = get_field(values, field)
    if current == value:
        return ()
    set_field(values, field, value)
    told = _told(s, record, field, value)
    body = msgspec.json.encode(values | told)
    fault = decoding_fault(record.kind, body, [field])
    if fault is not None:
        return Refuse(reason=Reason.MALFORMED, detail={"error": fault})
    writer = Writer(tally.view.incarnation, record.version[1] + 1, sender.device, mutation.n)
    after = replace(record, version=writer.at, fields=written(record, (field, *told), writer), body=body)
    if field == "unit":
        if tally.view.places.county_of(str(value)) is None:
            return Refuse(reason=Reason.UNKNOWN_UNIT, detail={"unit": value})
        after = moved(after, str(value), tally)
    # What somebody wrote after the conflict arose was not on the supervisor's screen: it loses visibly, as any other value.
    unseen = [Lost(field, kept=value, lost=current, kept_by=(sender.device, mutation.n), lost_by=_written_by(record, field))]
    shown = () if current in (kept, None, "") else unseen
    return (
        Change(after=after, op="settle", patch={"set": {field: value} | told}),
        *(tally.conflict(mutation, sender, after, lost) for lost in shown),
        *consequences_of(mutation, sender, tally, record, after, (field,)),
    )


def _told(s: Situation, record: RecordState, field: str, value: Any) -> dict[str, Any]:
    """The story with the decision as its last step, of a field that commands set on a record that has one."""
    if not any(field in t.sets for t in MACHINES.get(record.kind, {}).values()) or not has_story(record.kind):
        return {}
    now = state_now(record.kind, record.values)
    step = step_of(s, s.mutation.op, now, now, {field: value})
    return {STORIED: [*record.values.get(STORIED, []), msgspec.to_builtins(step)]}


def _written_by(record: RecordState, field: str) -> tuple[DeviceId, int]:
    writer = record.writer(field)
    return (writer.device, writer.n)


def _settled_elsewhere(mutation: Mutation, tally: Tally, merge: Merge, record: RecordState, field: str, choice: str) -> None:
    """The record has moved to another county since: the decision follows it."""
    if field == DELETION:
        if choice == "lost":
            tally.forward(replace(mutation, kind=record.kind, record=record.id, op=DELETE, args={}), record)
        return
    value = merge.values.get("lost") if choice == "lost" else mutation.args["value"]
    tally.forward(settling(mutation, record, field, merge.values.get("kept"), value), record)


def _buried(mutation: Mutation, sender: Sender, tally: Tally, record: RecordState) -> tuple[Change, ...]:
    if record.deleted:
        return ()
    return bury(mutation, sender, tally, record)
