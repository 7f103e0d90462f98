"""A term that somebody gives outside a command must not have passed when it was given, just as those that commands give."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Final

from contracts.outcomes import Reason
from sync.decision import Refuse, Sender
from sync.rules import day_of
from sync.situation import given_on
from sync.tally import Tally

TERMS: Final = {"task": "due_on", "notice": "acknowledge_by", "supervision": "due_at"}


def passed_term(kind: str, given: Callable[[str], object], sender: Sender, tally: Tally) -> Refuse | None:
    """By the day of capture: what was given in time and arrives late is taken. What the server makes goes by its rules."""
    field = TERMS.get(kind)
    day = _day_of(given(field)) if field is not None else None
    if day is None or sender.is_system or day >= given_on(tally):
        return None
    return Refuse(reason=Reason.INCOMPLETE, detail={"needs": ["deadline_ahead"], "field": field})


def _day_of(value: object) -> date | None:
    """None: nothing was given, or what is none is told by another (decoding_fault)."""
    try:
        return date.fromisoformat(str(value)) if len(str(value)) == len("2026-11-20") else _on(datetime.fromisoformat(str(value)))
    except ValueError:
        return None


def _on(moment: datetime) -> date:
    return day_of(moment) if moment.tzinfo else moment.date()
