"""What a person's decision on a held mutation does (storage/desk.py runs it)."""

from __future__ import annotations

from typing import Any

from contracts.outcomes import Reason
from sync.decision import Incoming, Lack, Refuse, Sender, View
from sync.entering import enter
from sync.planned import Plan
from sync.tally import Tally


def plan_discard(incoming: Incoming, sender: Sender, view: View, detail: dict[str, Any]) -> Plan | Lack:
    """It is not wanted: rejected with that reason, told to the phone, kept in the journal."""
    tally = Tally(sender, view)
    enter(tally, incoming, Refuse(reason=Reason.DISCARDED, detail=detail))
    return tally.closed()
