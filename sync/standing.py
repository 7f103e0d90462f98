"""What a duty that has ended still permits (decision 0022): work of its time, as far as it is proven to be of its time.

Capture is an interval, and a phone may say what it likes of it. So it is narrowed by what cannot be otherwise: nobody changed
a record before they could have seen it. What then overlaps the ended duty in part only is taken where a person in the field
made something of their own, and flagged; what touches the work of others waits for the desk.
"""

from __future__ import annotations

from msgspec.structs import replace

from contracts.ids import UnitCode, Version
from contracts.mutation import CREATE, Mutation
from contracts.people import Duty
from sync.clock import Interval, not_before
from sync.decision import Incoming, Sender
from sync.permission import FIELD, PERMITTED, SERVER_ONLY, Verdict, has_ended, holds_surely, holds_within, may
from sync.places import unit_of
from sync.state import EVERY_OTHER, RecordState
from sync.tally import Tally

MAKERS = {"problem": "reported_by", "inspection": "recorded_by", "whistle": "proposed_by", "photo": "taken_by", "task": "assignee"}


def since_seen(incoming: Incoming, sender: Sender, tally: Tally) -> Incoming:
    """With the interval of capture from when its author can have seen what it is about. Asked only where an ended duty may hang on it."""
    mutation, when = incoming.mutation, incoming.captured
    if mutation is None or incoming.released or mutation.op == CREATE or mutation.record not in tally.records:
        return incoming
    read_ms = now_ms(tally)
    if not any(has_ended(duty, read_ms) and holds_within(duty, when) for duty in sender.duties):
        return incoming
    floor_ms = max(tally.floor_of(mutation, root_of(mutation, tally)), tally.began.get(mutation.base, 0))  # type: ignore[arg-type]
    return replace(incoming, captured=not_before(when, floor_ms, read_ms))


def root_of(mutation: Mutation, tally: Tally) -> Version:
    """The record version at the root of the offline chain: what its author had seen of other people's work."""
    base = mutation.base
    if isinstance(base, tuple):
        return base
    known = tally.seen.get(base) if base is not None else None
    return known.root if known is not None else (tally.view.incarnation, 0)


def judged_at(mutation: Mutation, sender: Sender, tally: Tally, unit: UnitCode, when: Interval) -> Verdict:
    """By the duties for the record's unit, or for the one where its author last saw it: it may have been moved meanwhile."""
    places = tally.view.places
    verdict = may(sender.duties, places, mutation.kind, mutation.op, unit, when)
    if verdict is not Verdict.NO_DUTY:
        return verdict
    root = root_of(mutation, tally)
    for home in tally.earlier_homes(mutation):
        there = may(sender.duties, places, mutation.kind, mutation.op, unit_of(home.stream), when)
        if root <= home.last and there.is_yes:
            tally.flag({"moved_to": unit})
            return there
    return verdict


def is_taken_all_the_same(mutation: Mutation, sender: Sender, tally: Tally, unit: UnitCode) -> bool:
    """Of what a duty covers in part: the person has it now as well, or it is their own work in the field."""
    moment = now_ms(tally)
    if judged_at(mutation, sender, tally, unit, Interval(moment, moment)).is_yes:
        return True
    if not PERMITTED.get((mutation.kind, mutation.op), SERVER_ONLY) >= FIELD:
        return False
    state = tally.records.get(mutation.record)
    return mutation.op == CREATE if state is None else is_own(state, sender)


def certain_duties(sender: Sender, when: Interval, now: int) -> tuple[Duty, ...]:
    """The duties that permit more than one's own work: one that has ended and covers the interval in part is left out.

    now    milliseconds since 1970
    """
    return tuple(duty for duty in sender.duties if holds_surely(duty, when, now))


def is_own(state: RecordState, sender: Sender) -> bool:
    """Made on this device, or by this person; a task is also of whom it was given to by name."""
    if state.writer(EVERY_OTHER).device == sender.device:
        return True
    field = MAKERS.get(state.kind)
    return field is not None and state.values.get(field) == str(sender.person)


def now_ms(tally: Tally) -> int:
    return int(tally.view.now.timestamp() * 1000)
