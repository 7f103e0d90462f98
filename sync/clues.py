"""Who may have to do with a transfer (domain.md 4.12): four flows, of which three are for supervisors alone.

"Only supervisor roles may see (a) and (b)"; who may see (c) no source states, so it is as narrow. (d), enforcement information, goes "between
departments": a department makes its own and keeps it among its office, and since it is sent the department that receives it has it, too
(`handover`, sync/projections.py). The table of roles cannot tell flows apart, so they are told here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from contracts.ids import County, UnitCode
from contracts.mutation import Mutation
from contracts.outcomes import Outcome, Reason
from contracts.people import Duty
from sync.assigning import closed_units
from sync.decision import Change, Hold, Incoming, Refuse, Sender
from sync.merge import Merge
from sync.permission import DEPARTMENT, SUPERVISORS, holds_within, who_may
from sync.places import Places, unit_of
from sync.secrecy import BETWEEN_DEPARTMENTS
from sync.situation import Situation, given_on
from sync.tally import Tally

CLUE: Final = "transfer"
FROM_RECEIVER: Final = frozenset({"transfer.receive", "transfer.return_result"})


def not_for_departments(incoming: Incoming, mutation: Mutation, sender: Sender, tally: Tally) -> Refuse | None:
    """A department has to do with its enforcement information, and with no other flow; and does not sign for another that has it.

    Roles and units have been judged already.
    """
    if mutation.kind != CLUE or sender.is_system:
        return None
    state = tally.records.get(mutation.record)
    receiver = state.values.get("receiver_unit") if state is not None and mutation.op in FROM_RECEIVER else None
    if receiver is None and _flow(mutation, tally) in BETWEEN_DEPARTMENTS:
        return None
    unit = unit_of(state.stream) if state is not None else str(getattr(tally.bodies.get(mutation.id), "unit", ""))
    if any(_supervises(duty, tally.view.places, unit) and holds_within(duty, incoming.captured) for duty in _duties(incoming, sender)):
        return None
    if receiver is not None:
        return Refuse(reason=Reason.NOT_YOUR_ROLE, detail={"op": mutation.op, "by": who_may("handover", mutation.op), "units": [receiver]})
    by = [role for role in who_may(CLUE, mutation.op) if role not in {one.value for one in DEPARTMENT}]
    return Refuse(reason=Reason.NOT_YOUR_ROLE, detail={"op": mutation.op, "by": by})


def goes_nowhere(mutation: Mutation, sender: Sender, tally: Tally) -> Hold | None:
    """From a console, information for a unit that there is none of: it would be sent, and nobody would have it. An organ outside (a court,
    the traffic police) has no code of a unit, but a word.
    """
    body = tally.bodies.get(mutation.id)
    if not sender.waits or mutation.kind != CLUE or getattr(body, "flow", None) not in BETWEEN_DEPARTMENTS:
        return None
    receiver = str(getattr(body, "receiver", ""))
    if not receiver[:1].isdigit() or receiver in tally.view.places.units:
        return None
    return Hold(outcome=Outcome.QUARANTINED, reason=Reason.UNKNOWN_UNIT, detail={"unit": receiver})


def hand_over(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """Whoever receives it is settled by the sending; the projections do the rest. A department that was closed would not hear of it."""
    receiver = receiving_unit(s.tally.view.places, s.tally.view.county, merge.values)
    if receiver is None:
        return ()
    merge.set({"receiver_unit": receiver})
    return closed_units(s.tally.view.places, [receiver], given_on(s.tally)) or ()


def receiving_unit(places: Places, county: County, values: Mapping[str, Any]) -> UnitCode | None:
    """The department of this county that gets enforcement information: `receiver` is its code, or ends it (`forestry_bureau`)."""
    if values.get("flow") not in BETWEEN_DEPARTMENTS:
        return None
    named = str(values.get("receiver", ""))
    for unit in (named, f"{places.whole(county)}-{named}"):
        if places.county_of(unit) == county and places.is_department(unit) and unit != values.get("unit"):
            return unit
    return None


def _duties(incoming: Incoming, sender: Sender) -> tuple[Duty, ...]:
    return (*sender.duties, *incoming.releaser)


def _supervises(duty: Duty, places: Places, unit: UnitCode) -> bool:
    return duty.role in SUPERVISORS and places.covers(duty.unit, unit)


def _flow(mutation: Mutation, tally: Tally) -> str:
    state = tally.records.get(mutation.record)
    return str(state.values.get("flow") if state is not None else getattr(tally.bodies.get(mutation.id), "flow", ""))
