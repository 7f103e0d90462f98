"""What a record may name: what its author may see. For whoever may not see a record it does not exist, and the answer is the same.

A whistle is about a problem, and calls people to it who would ask; that holds for phones, too. Whatever else a phone names may still be on
its way, or have been moved meanwhile: it is taken as it is. Whoever sits at a console chose it from what is on the screen.
(That nothing names an unannounced visit is kept in sync/secrecy.py.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from contracts.ids import RecordId, UnitCode, projection_id
from contracts.mutation import Mutation
from contracts.outcomes import Outcome, Reason
from contracts.people import Audience, Role
from sync.decision import Hold, Incoming, Sender
from sync.permission import holds_within
from sync.places import unit_of
from sync.scope import AUDIENCES
from sync.secrecy import sees
from sync.state import RecordState
from sync.tally import Tally

CALLING: Final = {"whistle": ("problem",)}  # kind -> the fields that say what it is about
NAMING: Final = CALLING | {
    "activity": ("subject_record",),
    "notice": ("subject_record",),
    "supervision": ("subject_record",),
    "transfer": ("problem", "whistle"),
}


def names_unseen(incoming: Incoming, mutation: Mutation, sender: Sender, tally: Tally) -> Hold | None:
    """Of the records it names, the first that its author may not see, or that is not there."""
    if sender.is_system or incoming.released:
        return None
    for record in _named(mutation, sender, tally):
        is_missing = tally.is_missing(record)
        state = tally.records.get(record)
        may_name = reads if sender.waits else _could_see
        if is_missing or (state is not None and not may_name(state, incoming, sender, tally)):
            return Hold(outcome=Outcome.QUARANTINED, reason=Reason.RECORD_MISSING, detail={"record": str(record)})
    return None


def _named(mutation: Mutation, sender: Sender, tally: Tally) -> Iterator[RecordId]:
    body = tally.bodies.get(mutation.id)
    for field in (NAMING if sender.waits else CALLING).get(mutation.kind, ()):
        given = mutation.fields[field][1] if field in mutation.fields else getattr(body, field, None)
        try:
            if given is not None:
                yield RecordId(str(given))
        except ValueError:  # the merge says so
            continue


def _could_see(state: RecordState, incoming: Incoming, sender: Sender, tally: Tally) -> bool:
    return sees(state, sender, incoming.captured, tally.view.places)


def reads(state: RecordState, incoming: Incoming, sender: Sender, tally: Tally) -> bool:
    """Whether it is on its author's screen: it is here, in a stream of a duty in force, or shown in one as a projection."""
    if state.deleted or state.moved_to is not None:
        return False
    unit, audience = unit_of(state.stream), Audience(state.stream.rpartition(".")[2])
    held = [duty for duty in sender.duties if holds_within(duty, incoming.captured)]
    covers = tally.view.places.covers
    mine = any(covers(duty.unit, unit) and _has(duty.role, audience) for duty in held)
    shown = [one for one in _shown_to(state) if any(covers(duty.unit, one) for duty in held)]
    return mine or any(_is_shown(projection_id(state.id, one), tally) for one in shown)


def _shown_to(state: RecordState) -> list[UnitCode]:
    """The units that have a problem as an assignment, a whistle as a summons, or information as a handover."""
    values = state.values
    receiver = values.get("receiver_unit")
    return [
        *(values.get("leads") or []),
        *(values.get("supporting") or []),
        *(values.get("summons") or {}),
        *([receiver] if receiver else ()),
    ]


def _has(role: Role, audience: Audience) -> bool:
    return audience in AUDIENCES[role] or (audience is Audience.ARCHIVE and Audience.OFFICE in AUDIENCES[role])


def _is_shown(record: RecordId, tally: Tally) -> bool:
    """One that is not read yet counts as there: planning asks for it and begins again."""
    shown = None if tally.is_missing(record) else tally.records.get(record)
    return not (shown is None or shown.deleted) or record not in tally.view.asked
