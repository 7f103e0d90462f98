"""What a whistle is about: a problem that its author may see. It calls people to it, and they would ask.

(That nothing names an unannounced visit is kept in sync/secrecy.py.)
"""

from __future__ import annotations

from typing import Final

from contracts.mutation import Mutation
from contracts.outcomes import Outcome, Reason
from sync.decision import Hold, Incoming, Sender
from sync.secrecy import sees
from sync.tally import Tally

CALLING: Final = {"whistle": "problem"}  # kind -> the field that says what it is about


def names_unseen(incoming: Incoming, mutation: Mutation, sender: Sender, tally: Tally) -> Hold | None:
    """For whoever may not see a problem it does not exist: the answer is the same, and so is the desk."""
    body = tally.bodies.get(mutation.id)
    record = getattr(body, CALLING.get(mutation.kind, ""), None)
    if record is None or sender.is_system or incoming.released:
        return None
    is_missing = tally.is_missing(record)
    state = tally.records.get(record)
    if not is_missing and (state is None or sees(state, sender, incoming.captured, tally.view.places)):
        return None
    return Hold(outcome=Outcome.QUARANTINED, reason=Reason.RECORD_MISSING, detail={"record": str(record)})
