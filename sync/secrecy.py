"""Unannounced visits (暗访, 暗查, 四不两直): what keeps them out of sight until they are disclosed (domain.md 4.9).

A secret record lives in the `visit` stream of the unit that sends the visitors, in that unit's own county (for the city: the
city's). Whether a record is secret is said by its stream, so nothing has to be remembered elsewhere: whoever does not have the
stream does not have the record, its photos, its count or its head. What is left to guard is everything that could speak of it
in another place: desks, conflicts, links between problems, projections, refusals. docs/tasks.md lists them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from contracts.ids import RecordId, StreamName, UnitCode
from contracts.kinds import KINDS
from contracts.mutation import CREATE, Mutation
from contracts.outcomes import Outcome, Reason
from contracts.people import Audience, Duty
from contracts.visits import SECRET_MODES, SENDING
from sync.clock import Interval
from sync.decision import Change, Hold, Refuse, Sender
from sync.permission import holds_within
from sync.places import Places, is_secret, unit_of
from sync.scope import AUDIENCES
from sync.state import RecordState
from sync.tally import Tally

BETWEEN_DEPARTMENTS: Final = frozenset({"enforcement_info"})  # transfers that a department's office may see (sync/clues.py)
VISITING: Final = frozenset(role for role, audiences in AUDIENCES.items() if Audience.VISIT in audiences)


# Where a body, or what a command says, names a record that may be secret. What a visit's own records belong to comes first.
BELONGS: Final = {"inspection": "task", "problem": "inspection"}
NAMING: Final = {
    "inspection": ("task",),
    "problem": ("inspection", "related"),
    "activity": ("subject_record",),
    "notice": ("subject_record",),
    "supervision": ("subject_record",),
    "transfer": ("problem",),
    "whistle": ("problem",),
}
NAMING_ARGS: Final = ("inspection", "problem", "related", "task")


def is_meant_secret(kind: str, body: Any, tally: Tally) -> bool:
    """Whether a new record belongs to an unannounced visit: it says so, what it belongs to does, or a visitor's mode of inspection."""
    if kind not in ("task", "inspection", "problem"):
        return False
    if getattr(body, "secret", False):
        return True
    if tally.sender.is_system:
        return False
    if _is_told(getattr(body, BELONGS.get(kind, ""), None), tally):
        return True
    return getattr(body, "visit_mode", None) in SECRET_MODES and _sends(tally.sender)


def names_secret(mutation: Mutation, tally: Tally) -> bool:
    """Whether it would write the id of a visit's record, which its author may see, into one that others see, too."""
    if not _sends(tally.sender):
        return False
    body, fields = tally.bodies.get(mutation.id), NAMING.get(mutation.kind, ())
    said = [getattr(body, field, None) for field in fields]
    said += [mutation.fields[field][1] for field in fields if field in mutation.fields]
    said += [mutation.args.get(name) for name in NAMING_ARGS]
    told = [one for value in said for one in (value if isinstance(value, list) else [value]) if _is_told(one, tally)]
    return bool(told) and not (mutation.kind == "transfer" and _is_above(body, told, tally))


def _is_above(body: Any, told: list[Any], tally: Tally) -> bool:
    """A clue goes to the judicial organs before anybody is told of the visit: within the unit that sent it, or above."""
    units = [unit_of(tally.records[RecordId(str(one))].stream) for one in told]
    return body is not None and all(tally.view.places.covers(str(getattr(body, "unit", "")), unit) for unit in units)


def _is_told(value: object, tally: Tally) -> bool:
    """Whether this is the id of a secret that the sender knows of. To anybody else it names nothing."""
    try:
        record = RecordId(str(value)) if value else None
    except ValueError:
        return False
    if record is None or tally.is_missing(record):
        return False
    state = tally.records.get(record)
    return state is not None and is_secret(state.stream) and not is_hidden(state, tally.sender.duties, tally.view.places)


def _sends(sender: Sender) -> bool:
    return any(duty.role in VISITING for duty in sender.duties)


def audience_of(kind: str, body: Any, tally: Tally) -> Audience:
    """Where a new record without a parent lives."""
    if kind == "transfer" and getattr(body, "flow", None) in BETWEEN_DEPARTMENTS:
        return Audience.OFFICE
    return Audience.VISIT if is_meant_secret(kind, body, tally) else KINDS[kind].audience


def kept_secret(mutation: Mutation, sender: Sender, tally: Tally) -> Hold | Refuse | None:
    """What a secret does not let happen. For whoever may not know of it, a secret record does not exist."""
    if sender.is_system:
        return None
    places, body = tally.view.places, tally.bodies.get(mutation.id)
    parent = getattr(body, KINDS[mutation.kind].parent or "", None) if mutation.kind in KINDS else None
    for record, reason in ((mutation.record, Reason.RECORD_MISSING), (parent, Reason.PARENT_MISSING)):
        state = tally.records.get(record) if record is not None else None
        if state is not None and is_hidden(state, sender.duties, places):
            return Hold(outcome=Outcome.QUARANTINED, reason=reason)
    state = tally.records.get(mutation.record)
    if state is None:
        misplaced = _misplaced(mutation, body, sender, tally)
        if misplaced is not None or is_meant_secret(mutation.kind, body, tally):
            return misplaced
    if (state is None or not is_secret(state.stream)) and names_secret(mutation, tally):
        return Hold(outcome=Outcome.QUARANTINED, reason=Reason.NOT_DISCLOSED)
    if state is None:
        return None
    unit = mutation.fields.get("unit")
    if is_secret(state.stream) and unit is not None and unit[1] != unit_of(state.stream):
        return Refuse(reason=Reason.READ_ONLY_FIELD, detail={"fields": ["unit"]})  # that would be telling: disclosure is a command
    return None


def is_hidden(state: RecordState, duties: Iterable[Duty], places: Places) -> bool:
    """Secret, and neither a visitor of its unit nor whoever is above it, now or then, is asking."""
    unit = unit_of(state.stream)
    return is_secret(state.stream) and not any(duty.role in VISITING and places.covers(duty.unit, unit) for duty in duties)


def sees(state: RecordState, sender: Sender, captured: Interval | None, places: Places) -> bool:
    """Whether the author of work could see this record when it was captured, by a duty held then: only that may be named or linked.

    `is_hidden` asks for less on purpose: whoever ever was a visitor there knows of the visit, and is not told that it is none.
    """
    held = [duty for duty in sender.duties if captured is None or holds_within(duty, captured)]
    unit = unit_of(state.stream)
    return sender.is_system or (not is_hidden(state, sender.duties, places) and any(places.covers(duty.unit, unit) for duty in held))


def _misplaced(mutation: Mutation, body: Any, sender: Sender, tally: Tally) -> Hold | None:
    """A secret lives with whoever sends: in another county, or with a township, it would be in the wrong hands."""
    if mutation.op != CREATE or body is None or not is_meant_secret(mutation.kind, body, tally):
        return None
    places = tally.view.places
    unit = places.units.get(str(getattr(body, "unit", "")))
    if unit is not None and unit.level in SENDING and unit.county == tally.view.county:
        mine = [d for d in sender.duties if d.role in VISITING and places.county_of(d.unit) == unit.county]
        if any(places.covers(d.unit, unit.code) for d in mine):
            return None
    return Hold(outcome=Outcome.QUARANTINED, reason=Reason.NO_DUTY)


def secret_desk(mutation: Mutation | None, state: RecordState | None, tally: Tally) -> UnitCode | None:
    """Where held work of a visit waits: with whoever sends, wherever it was pushed to. None: it is no such work.

    What cannot be read at all, or says nothing of its own unit (a photo of something held), may be such work, if it comes from a
    visitor who has nothing else to do in this county.
    """
    sender, places = tally.sender, tally.view.places
    if sender.is_system or not _sends(sender):
        return None
    own = [duty.unit for duty in sender.duties if duty.role in VISITING]
    if mutation is not None and (state is None or not is_secret(state.stream)) and names_secret(mutation, tally):
        return places.desk_of(own[0])
    if state is not None:
        return None
    body = tally.bodies.get(mutation.id) if mutation else None
    if mutation is None or body is None or KINDS[mutation.kind].parent is not None:
        may_be_secret = all(places.county_of(unit) != tally.view.county for unit in own)
    else:
        may_be_secret = is_meant_secret(mutation.kind, body, tally)
    return places.desk_of(own[0]) if may_be_secret else None


def noted_on_task(mutation: Mutation, tally: Tally, inspection: RecordState) -> tuple[Change, ...]:
    """An unannounced visit knows what was found on it, so that it can be disclosed as one."""
    text = inspection.values.get("task")
    if not is_secret(inspection.stream) or text is None:
        return ()
    record = RecordId(str(text))
    if tally.is_missing(record):
        return ()
    task = tally.records.get(record)
    if task is None or task.kind != "task":
        return ()
    found = [*tally.latest(task).values.get("inspections", []), str(inspection.id)]
    return (tally.edited(task, "note", {"inspections": found}, mutation.n),)


def share_sight(a: StreamName, b: StreamName) -> bool:
    """Whether records of these streams may name each other: a secret only within its own stream."""
    return a == b or not (is_secret(a) or is_secret(b))
