"""Who stands on which side of a supervision letter (domain.md 4.3): who issues it, lifts it or sends an answer back, and who answers.

The table of roles cannot say it: a county supervisor issues letters to departments and answers those of the city. So a letter is
judged by its two units. The issuer's side holds a duty at or above the unit that issued; the addressee's side holds one at or above
the unit that must answer, and is not the issuer's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from contracts.ids import UnitCode
from contracts.kinds.supervision import Supervision
from contracts.mutation import CREATE, DELETE, EDIT, Mutation
from contracts.outcomes import Reason
from contracts.people import Duty
from sync.clock import Interval
from sync.decision import Incoming, Refuse, Sender
from sync.permission import may, who_may
from sync.places import Places, unit_of
from sync.tally import Tally

ISSUERS: Final = frozenset({EDIT, DELETE, "supervision.lift", "supervision.reject_answer"})
ADDRESSEES: Final = frozenset({"supervision.acknowledge", "supervision.answer"})
BY_HAND: Final = frozenset({"reason"})  # what a person may give as grounds; the rest is for rules
LETTER: Final = "supervision"


def wrong_side(incoming: Incoming, mutation: Mutation, sender: Sender, tally: Tally) -> Refuse | None:
    """What the two sides of a letter do not let happen. Roles and units have been judged already."""
    if mutation.kind != LETTER or sender.is_system:
        return None
    state, places, when = tally.records.get(mutation.record), tally.view.places, incoming.captured
    if state is None and (forged := _forged(mutation, tally)) is not None:
        return forged
    if incoming.released:  # a person at the desk answers for it
        return None
    if state is None:
        return _misissued(mutation, sender, tally, when)
    values = state.values
    issuer, unit = issuer_of(values, places), unit_of(state.stream)
    if mutation.op in ISSUERS and not _is_issuer(mutation.op, sender, places, issuer, when):
        return _not_yours(mutation.op, issuer)
    if mutation.op in ADDRESSEES and not _is_addressee(mutation.op, sender, places, issuer, unit, when):
        return _not_yours(mutation.op, unit)
    return None


def issued_now(mutation: Mutation, sender: Sender, tally: Tally) -> dict[str, Any]:
    """What the server adds to a letter issued by hand: it is issued when it is here, for nobody could read it before."""
    by_hand = mutation.kind == LETTER and not sender.is_system
    return {"issued_at": tally.view.now.isoformat()} if by_hand else {}


def issuer_of(values: dict[str, Any], places: Places) -> UnitCode:
    """The unit that issued a letter; one that nobody knows any more stands for the unit that is above the addressee."""
    issuer = str(values.get("issued_by_unit", ""))
    if issuer in places.units:
        return issuer
    line = places.line(str(values.get("unit", "")))
    return line[min(1, len(line) - 1)] if line else issuer


def _is_issuer(op: str, sender: Sender, places: Places, issuer: UnitCode, when: Interval) -> bool:
    return may(sender.duties, places, LETTER, op, issuer, when).is_yes


def _is_addressee(op: str, sender: Sender, places: Places, issuer: UnitCode, unit: UnitCode, when: Interval) -> bool:
    mine: Iterable[Duty] = [duty for duty in sender.duties if not places.covers(duty.unit, issuer)]
    return may(mine, places, LETTER, op, unit, when).is_yes


def _misissued(mutation: Mutation, sender: Sender, tally: Tally, when: Interval) -> Refuse | None:
    """Issued in the name of a unit that is not the author's, or by a unit to itself or to one above it."""
    body: Supervision = tally.bodies[mutation.id]
    places = tally.view.places
    if _is_issuer(CREATE, sender, places, body.issued_by_unit, when) and not places.covers(body.unit, body.issued_by_unit):
        return None
    return _not_yours(CREATE, body.issued_by_unit)


def _forged(mutation: Mutation, tally: Tally) -> Refuse | None:
    """The grounds of a rule and the moment of issue are the server's to write."""
    body: Supervision = tally.bodies[mutation.id]
    forged = [*(["grounds"] if body.grounds.keys() - BY_HAND else []), *(["issued_at"] if body.issued_at is not None else [])]
    return Refuse(reason=Reason.READ_ONLY_FIELD, detail={"fields": sorted(forged)}) if forged else None


def _not_yours(op: str, unit: UnitCode) -> Refuse:
    return Refuse(reason=Reason.NOT_YOUR_ROLE, detail={"op": op, "by": who_may(LETTER, op), "unit": unit})
