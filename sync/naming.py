"""Records that name another one: never one of an unannounced visit, which must be disclosed first.

A whistle, a letter or an activity is read in villages, townships and departments, and they would ask about what it names. A whistle
moreover calls people to a problem: to one that its author may see, and to no other.
"""

from __future__ import annotations

from typing import Final

from contracts.ids import RecordId
from contracts.mutation import CREATE, Mutation
from contracts.outcomes import Outcome, Reason
from sync.decision import Hold, Incoming, Refuse, Sender
from sync.places import is_secret, unit_of
from sync.secrecy import is_hidden
from sync.state import RecordState
from sync.tally import Tally

# kind -> its fields that name what it is about
NAMING: Final[dict[str, tuple[str, ...]]] = {
    "whistle": ("problem",),
    "notice": ("subject_record",),
    "activity": ("subject_record",),
}
CALLING: Final = frozenset({"whistle"})


def names_unseen(incoming: Incoming, mutation: Mutation, sender: Sender, tally: Tally) -> Hold | Refuse | None:
    """For whoever may not see it, what is named does not exist; whoever may see a secret is told to disclose it first."""
    if sender.is_system or mutation.kind not in NAMING:
        return None
    for record in _named(mutation, tally):
        is_missing = tally.is_missing(record)
        state = tally.records.get(record)
        if state is None and not is_missing:
            continue  # it is read, and this is asked again
        if state is None or not _is_seen(state, sender, tally):
            if mutation.kind in CALLING and not incoming.released:
                return Hold(outcome=Outcome.QUARANTINED, reason=Reason.RECORD_MISSING, detail={"record": str(record)})
        elif is_secret(state.stream):
            return Refuse(reason=Reason.INCOMPLETE, detail={"needs": ["no_secret"]})
    return None


def _named(mutation: Mutation, tally: Tally) -> list[RecordId]:
    if mutation.op == CREATE:
        body = tally.bodies.get(mutation.id)
        given = [getattr(body, name, None) for name in NAMING[mutation.kind]]
    else:
        given = [mutation.fields[name][1] for name in NAMING[mutation.kind] if name in mutation.fields]
    return [record for value in given if value is not None and (record := _id(value)) is not None]


def _id(value: object) -> RecordId | None:
    try:
        return RecordId(str(value))
    except ValueError:
        return None


def _is_seen(state: RecordState, sender: Sender, tally: Tally) -> bool:
    places, unit = tally.view.places, unit_of(state.stream)
    return not is_hidden(state, sender.duties, places) and any(places.covers(duty.unit, unit) for duty in sender.duties)
