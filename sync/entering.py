"""Decisions enter the tally: what the journal keeps of each, what its author is answered, what changes, what lies on a desk."""

from __future__ import annotations

from typing import Any

import msgspec

from contracts.ids import Version
from contracts.mutation import CREATE
from contracts.outcomes import MutationOutcome, Outcome, Reason
from sync.announcing import announced_by
from sync.decision import Accept, Change, Clone, Decision, HeldMutation, Hold, Incoming, Refuse, Repeat, Seen
from sync.holding import desk_of, told
from sync.planned import HeldRow, RefusedRow
from sync.tally import Tally


def enter(tally: Tally, incoming: Incoming, decision: Decision) -> None:
    """Take one decision into the plan."""
    flags = tally.begin(incoming.n)
    match decision:
        case Repeat(outcome=outcome):
            tally.outcomes.append(outcome)
        case Clone():
            tally.clones.append(incoming)
            _answer(tally, incoming, Outcome.QUARANTINED, Reason.DEVICE_CLONED, flags)
        case Hold():
            _hold(tally, incoming, msgspec.structs.replace(decision, detail=_both(decision.detail, flags)))
        case Refuse(reason=reason, detail=detail):
            both = _both(detail, flags)
            _write(tally, incoming, Outcome.REJECTED, reason, both, root_seen(tally, incoming))
            _show_refused(tally, incoming, reason)
            _tell_end(tally, incoming, Outcome.REJECTED, reason, both)
            _answer(tally, incoming, Outcome.REJECTED, reason, both)
        case Accept():
            _accept(tally, incoming, decision, _both(decision.detail, flags))


def _show_refused(tally: Tally, incoming: Incoming, reason: Reason) -> None:
    """A creation that is refused for good is shown on its desk: otherwise only its phone knows of it. A desk knows what it discarded itself."""
    mutation = incoming.mutation
    if mutation is None or mutation.op != CREATE or reason is Reason.DISCARDED or tally.sender.is_system:
        return
    tally.refused.append(RefusedRow(n=incoming.n, entry=incoming.entry, unit=desk_of(tally, mutation)))


def root_seen(tally: Tally, incoming: Incoming) -> Version:
    """The root base that a refused mutation hands on to those that build on it."""
    base = incoming.mutation.base if incoming.mutation else None
    if isinstance(base, tuple):
        return base
    known = tally.seen.get(base) if base is not None else None
    return known.root if known else (tally.view.incarnation, 0)


def _accept(tally: Tally, incoming: Incoming, accept: Accept, detail: dict[str, Any] | None) -> None:
    _announce(tally, incoming)
    if incoming.released and accept.reason is Reason.OK:
        accept = msgspec.structs.replace(accept, reason=Reason.RELEASED)
    own = accept.changes[0] if accept.changes else None
    named = incoming.mutation.record if incoming.mutation else None
    mine = own if own is not None and own.after.id == named else None
    _write(tally, incoming, accept.outcome, accept.reason, detail, accept.root, mine)
    for change in accept.changes:
        tally.take(change)
        if change is not mine:
            tally.journal.consequence(incoming, change)
    _tell_end(tally, incoming, accept.outcome, accept.reason, detail)
    _answer(tally, incoming, accept.outcome, accept.reason, detail, mine)


def _tell_end(tally: Tally, incoming: Incoming, outcome: Outcome, reason: Reason, detail: dict[str, Any] | None) -> None:
    """A mutation that was held has ended: its device learns it from the record that told of the holding."""
    if incoming.entry == 0:
        return
    mutation_id = incoming.mutation.id if incoming.mutation else incoming.envelope.id
    record = incoming.mutation.record if incoming.mutation else incoming.envelope.record
    news = told(tally, incoming.n, outcome, reason, mutation_id, record, detail, final=True, again=True)
    tally.take(news)
    tally.journal.consequence(incoming, news)


def _hold(tally: Tally, incoming: Incoming, hold: Hold) -> None:
    _announce(tally, incoming)
    mutation = incoming.mutation
    record = mutation.record if mutation else incoming.envelope.record
    mutation_id = mutation.id if mutation else incoming.envelope.id
    _write(tally, incoming, hold.outcome, hold.reason, hold.detail, root_seen(tally, incoming))
    tally.held_rows.append(
        HeldRow(
            n=incoming.n,
            mutation=mutation_id,
            record=record,
            kind=mutation.kind if mutation else incoming.envelope.kind,
            unit=desk_of(tally, mutation),
            outcome=hold.outcome,
            reason=hold.reason,
            detail=hold.detail,
            waits_for=hold.waits_for,
        )
    )
    tally.held.append(HeldMutation(n=incoming.n, record=record, mutation=mutation_id))
    news = told(tally, incoming.n, hold.outcome, hold.reason, mutation_id, record, hold.detail, final=False, again=incoming.entry > 0)
    tally.take(news)
    tally.journal.consequence(incoming, news)
    _answer(tally, incoming, hold.outcome, hold.reason, hold.detail)


def _announce(tally: Tally, incoming: Incoming) -> None:
    mutation = incoming.mutation
    announced = announced_by(incoming, tally.bodies.get(mutation.id) if mutation else None)
    if announced is not None:
        tally.announced.append(announced)


def _write(
    tally: Tally,
    incoming: Incoming,
    outcome: Outcome,
    reason: Reason,
    detail: dict[str, Any] | None,
    root: Version,
    change: Change | None = None,
) -> None:
    """Into the journal; from here on the mutation is known."""
    mutation_id = incoming.mutation.id if incoming.mutation else incoming.envelope.id
    if mutation_id is not None and mutation_id not in tally.seen:
        tally.seen[mutation_id] = Seen(device=tally.sender.device, n=incoming.n, root=root, outcome=outcome)
    tally.journal.decision(incoming, outcome, reason, detail, root, change)


def _answer(
    tally: Tally, incoming: Incoming, outcome: Outcome, reason: Reason, detail: dict[str, Any] | None, own: Change | None = None
) -> None:
    """What is told now is what the journal will tell a repetition."""
    mutation = incoming.mutation
    tally.outcomes.append(
        MutationOutcome(
            n=incoming.n,
            id=mutation.id if mutation else incoming.envelope.id,
            outcome=outcome,
            reason=reason,
            version=own.after.version if own else None,
            detail=detail,
        )
    )


def _both(a: dict[str, Any] | None, b: dict[str, Any] | None) -> dict[str, Any] | None:
    return {**(a or {}), **(b or {})} or None
