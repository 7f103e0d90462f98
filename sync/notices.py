"""Whose a notice is: whoever sent it withdraws it, and nobody sends in the name of a unit that is not theirs (domain.md 4.22).

The table of roles cannot say it: a township's lead sends letters to villages, and must not make the county's letter disappear.
"""

from __future__ import annotations

from typing import Any, Final

from contracts.ids import UnitCode
from contracts.mutation import CREATE, Mutation
from contracts.outcomes import Reason
from sync.decision import Incoming, Refuse, Sender
from sync.permission import may, who_may
from sync.places import unit_of
from sync.tally import Tally

NOTICE: Final = "notice"
SENDERS_OWN: Final = frozenset({CREATE, "notice.withdraw"})


def not_the_sender(incoming: Incoming, mutation: Mutation, sender: Sender, tally: Tally) -> Refuse | None:
    """Only the side that sends a notice sends it, and takes it back. Units and roles have been judged already."""
    if mutation.kind != NOTICE or mutation.op not in SENDERS_OWN or sender.is_system or incoming.released:
        return None
    unit = _sender_of(mutation, tally)
    if unit is None or may(sender.duties, tally.view.places, NOTICE, mutation.op, unit, incoming.captured).is_yes:
        return None
    return Refuse(reason=Reason.NOT_YOUR_ROLE, detail={"op": mutation.op, "by": who_may(NOTICE, mutation.op), "unit": unit})


def _sender_of(mutation: Mutation, tally: Tally) -> UnitCode | None:
    """The unit that sends; of a notice that names none, the unit that has it."""
    state = tally.records.get(mutation.record)
    values: dict[str, Any] = state.values if state is not None else {}
    body = tally.bodies.get(mutation.id)
    named = getattr(body, "sent_by_unit", None) if state is None else values.get("sent_by_unit")
    return str(named) if named is not None else unit_of(state.stream) if state is not None else None
