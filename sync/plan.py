"""The heart: what becomes of a batch of mutations (design.md 3.1). Pure and total.

Every mutation is in one of a few situations, asked in this order:

    its number is known          -> the same answer again (promise 2), or a cloned phone
    it cannot be judged          -> held for a human: not decodable, barred device, foreign contract, unknown words
    it waits for a held one      -> deferred with it, and only it (promise 3)
    it would tell of a secret    -> held as if there were none, or refused (sync/secrecy.py)
    nobody had the duty          -> held for a human, as is others' record where it is not sure; a duty of another role is a refusal
    its record lives elsewhere   -> forwarded to the county it moved to
    otherwise                    -> sync/edit.py: create, edit, delete or command

Decisions are collected in a `Tally`, in which later mutations of the batch see the earlier ones. At the end the changed
records are placed into their streams. If something needed was not read, the answer is a `Lack` and nothing else: the
caller reads it under lock and plans again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.ids import UnitCode, is_of_store
from contracts.kinds import KINDS
from contracts.mutation import CONTRACT_MAX, CONTRACT_MIN, CREATE, Mutation
from contracts.outcomes import Outcome, Reason
from sync.clues import goes_nowhere, not_for_departments
from sync.decision import Accept, Clone, Decision, Hold, Incoming, Lack, Refuse, Repeat, Sender, View
from sync.edit import plan_write
from sync.entering import enter
from sync.homes import unit_wanted
from sync.keeping import not_theirs_to_change
from sync.letters import wrong_side
from sync.machines import PROJECTED
from sync.naming import names_unseen
from sync.notices import not_the_sender
from sync.permission import LEAVE, PERMITTED, SERVER_ONLY, Verdict, judge, may, movers, who_may
from sync.places import unit_of
from sync.planned import Plan
from sync.projections import on_source, projected
from sync.secrecy import kept_secret
from sync.situation import given_on
from sync.standing import certain_duties, is_own, is_taken_all_the_same, judged_at, now_ms, since_seen
from sync.state import RecordState
from sync.tally import Tally
from sync.words import id_fault, shape_fault, word_fault, worded_fault


def plan_push(batch: Sequence[Incoming], sender: Sender, view: View, said: dict[str, Any] | None = None) -> Plan | Lack:
    """Decide every mutation of one device in one county, in the order of their numbers. `said` goes into each detail."""
    tally = Tally(sender, view)
    for arrived in batch:
        incoming = since_seen(arrived, sender, tally)
        tally.flag(said or {})
        if incoming.left_out:
            tally.flag({"left_out": incoming.left_out})
        tally.begins(incoming)
        enter(tally, incoming, plan_mutation(incoming, sender, tally))
    return tally.closed()


def plan_mutation(incoming: Incoming, sender: Sender, tally: Tally) -> Decision:
    """What becomes of one mutation, given all that was decided before it."""
    known = _known(incoming, sender, tally)
    if known is not None:
        return known
    mutation = incoming.mutation
    if incoming.fault is not None:
        return Hold(outcome=Outcome.DEFERRED, reason=Reason.SERVER_FAILED, detail={"error": incoming.fault})
    if mutation is None:
        reason = Reason.TOO_LARGE if incoming.is_too_large else Reason.MALFORMED
        return Hold(outcome=Outcome.QUARANTINED, reason=reason, detail=_identity(incoming))
    strange = _unintelligible(mutation, tally)  # reads the body: a photo is announced also where it is held
    strange = _not_theirs(mutation, sender) or strange
    barred = None if incoming.released else _barred(mutation, sender)
    if barred is not None:
        return Hold(outcome=Outcome.QUARANTINED, reason=barred)
    waits_for = tally.waits_for(mutation)
    if waits_for is not None:
        return Hold(outcome=Outcome.DEFERRED, reason=Reason.WAITS_FOR, detail={"n": waits_for}, waits_for=waits_for)
    refused = kept_secret(mutation, sender, tally) or strange or _forbidden(incoming, mutation, sender, tally)
    refused = refused or not_for_departments(incoming, mutation, sender, tally) or goes_nowhere(mutation, sender, tally)
    refused = refused or not_theirs_to_change(incoming, mutation, sender, tally) or _forbidden_move(incoming, mutation, sender, tally)
    refused = refused or wrong_side(incoming, mutation, sender, tally)
    refused = refused or not_the_sender(incoming, mutation, sender, tally) or names_unseen(incoming, mutation, sender, tally)
    if refused is not None:
        return refused
    meant = on_source(mutation, tally)
    if isinstance(meant, Hold):
        return meant
    refused = not_theirs_to_change(incoming, meant, sender, tally) if meant is not mutation else None
    if refused is not None:
        return refused
    return projected(plan_write(meant, sender, tally), mutation, sender, tally)


def _known(incoming: Incoming, sender: Sender, tally: Tally) -> Decision | None:
    mutation_id = incoming.mutation.id if incoming.mutation else incoming.envelope.id
    known = tally.view.known.get(incoming.n)
    if known is not None and not incoming.released:
        return Repeat(known) if known.id in (None, mutation_id) else Clone()
    seen = tally.seen.get(mutation_id) if mutation_id else None
    if seen is None or seen.outcome.is_held or (seen.device, seen.n) == (sender.device, incoming.n):
        return None
    # the same mutation under another number: a device that enrolled again, or a timer that ran twice
    return Accept(outcome=seen.outcome, reason=Reason.ALREADY_SO, detail={"as": [str(seen.device), seen.n]})


def _identity(incoming: Incoming) -> dict[str, str] | None:
    e = incoming.envelope
    known = {"id": e.id, "kind": e.kind, "record": e.record}
    return {k: str(v) for k, v in known.items() if v is not None} or None


def _barred(mutation: Mutation, sender: Sender) -> Reason | None:
    if sender.barred is not None:
        return sender.barred
    if mutation.contract < CONTRACT_MIN:
        return Reason.CONTRACT_TOO_OLD
    return Reason.CONTRACT_TOO_NEW if mutation.contract > CONTRACT_MAX else None


def _not_theirs(mutation: Mutation, sender: Sender) -> Hold | None:
    fault = None if sender.is_system else id_fault(mutation)
    if fault is None and is_of_store(sender.device):  # under its other identities the server pushes what it worded itself
        fault = worded_fault(mutation)
    return Hold(outcome=Outcome.QUARANTINED, reason=Reason.MALFORMED, detail={"error": fault}) if fault else None


def _unintelligible(mutation: Mutation, tally: Tally) -> Hold | None:
    """Words this server does not know, or a body that is not of its kind."""
    state = tally.records.get(mutation.record)
    reason = word_fault(mutation)
    detail = None
    if reason is not None:
        pass
    elif state is not None and state.kind != mutation.kind:
        reason = Reason.KIND_DIFFERS
    elif mutation.op == CREATE:
        fault = tally.body_fault(mutation)
        reason, detail = (Reason.MALFORMED, {"error": fault}) if fault else (None, None)
    elif state is None:
        reason = Reason.RECORD_MISSING
    elif (fault := shape_fault(mutation)) is not None:
        reason, detail = Reason.MALFORMED, {"error": fault}
    return None if reason is None else Hold(outcome=Outcome.QUARANTINED, reason=reason, detail=detail)


def _forbidden(incoming: Incoming, mutation: Mutation, sender: Sender, tally: Tally) -> Decision | None:
    """Every unit the mutation touches must be known, of this county, and within a duty at the time of capture."""
    state = tally.records.get(mutation.record)
    wanted = unit_wanted(mutation, tally)
    if isinstance(wanted, Hold):
        return wanted
    places, county = tally.view.places, tally.view.county
    if wanted is not None and places.county_of(wanted) is None:
        return Hold(outcome=Outcome.QUARANTINED, reason=Reason.UNKNOWN_UNIT, detail={"unit": wanted})
    if wanted is not None and state is None and places.county_of(wanted) != county:
        return Hold(outcome=Outcome.QUARANTINED, reason=Reason.WRONG_COUNTY, detail={"unit": wanted})
    if wanted is not None and sender.waits and _is_new_there(mutation, state, wanted) and places.is_closed(wanted, given_on(tally)):
        return Refuse(reason=Reason.UNIT_CLOSED, detail={"units": [wanted]})
    if sender.is_system:
        return None
    judged = unit_of(state.stream) if state is not None else wanted
    if incoming.released:
        return _unanswered(incoming, mutation, sender, tally, judged)
    if judged is None:
        return Hold(outcome=Outcome.QUARANTINED, reason=Reason.UNKNOWN_UNIT)
    match judged_at(mutation, sender, tally, judged, incoming.captured):
        case Verdict.NO_DUTY:
            return Hold(outcome=Outcome.QUARANTINED, reason=Reason.NO_DUTY, detail={"unit": judged})
        case Verdict.WRONG_ROLE:
            return Refuse(reason=Reason.NOT_YOUR_ROLE, detail=_who_else(mutation, tally))
        case Verdict.FLAGGED if not is_taken_all_the_same(mutation, sender, tally, judged):
            return Hold(outcome=Outcome.QUARANTINED, reason=Reason.DUTY_UNCERTAIN, detail={"unit": judged})
        case Verdict.FLAGGED:
            tally.flag({"duty": "partial"})
        case Verdict.YES:
            pass
    return None


def _is_new_there(mutation: Mutation, state: RecordState | None, unit: UnitCode) -> bool:
    """It is made there, or given to that unit; a photo is work on what is there. A phone's work is taken: whoever made it knew of no
    closing, or has the duty still.
    """
    return KINDS[mutation.kind].parent is None if state is None else unit_of(state.stream) != unit


def _who_else(mutation: Mutation, tally: Tally) -> dict[str, Any]:
    """Who may do it; where nobody may on what only shows a record, who may on that, and which it is."""
    by, source = who_may(mutation.kind, mutation.op), PROJECTED.get(mutation.kind)
    state, field = tally.records.get(mutation.record), KINDS[mutation.kind].projects
    if by or source is None or state is None or field is None:
        return {"op": mutation.op, "by": by}
    return {"op": mutation.op, "by": who_may(source, mutation.op), "on": {"kind": source, "record": state.values[field]}}


def _unanswered(incoming: Incoming, mutation: Mutation, sender: Sender, tally: Tally, unit: UnitCode | None) -> Hold | None:
    """A release makes up for a missing duty, not for a role: somebody's of the two must be one that may do this at all.

    Without a releaser it is late work that follows its record to another county, and was judged where it came from.
    """
    if not incoming.releaser:
        return None
    covers = tally.view.places.covers
    own = {duty.role for duty in sender.duties}
    lent = {duty.role for duty in incoming.releaser if unit is None or covers(duty.unit, unit)}
    roles = who_may(mutation.kind, mutation.op)
    if any(role.value in roles for role in own | lent):
        return None
    return Hold(outcome=Outcome.QUARANTINED, reason=Reason.NOT_YOUR_ROLE, detail={"op": mutation.op, "by": roles})


def _forbidden_move(incoming: Incoming, mutation: Mutation, sender: Sender, tally: Tally) -> Hold | None:
    """Giving a record to another county, or to a unit where its mover has no duty, is for the office; somebody else's edit that would
    do it waits on its desk.
    """
    state, places, when = tally.records.get(mutation.record), tally.view.places, incoming.captured
    if state is None or state.parent is not None or sender.is_system or incoming.released:
        return None
    unit, wanted = unit_of(state.stream), unit_wanted(mutation, tally)
    if wanted is None or isinstance(wanted, Hold) or wanted == unit:
        return None
    stays = places.county_of(wanted) == (state.moved_to or tally.view.county)
    duties = sender.duties if is_own(state, sender) else certain_duties(sender, when, now_ms(tally))
    if stays and may(duties, places, mutation.kind, mutation.op, wanted, when).is_yes:
        return None
    roles = movers(mutation.kind, mutation.op) if stays else PERMITTED.get((mutation.kind, LEAVE), SERVER_ONLY)
    if judge(duties, places, roles, unit, when).is_yes:
        return None
    if judge(sender.duties, places, roles, unit, when).is_yes or (
        stays and may(sender.duties, places, mutation.kind, mutation.op, wanted, when).is_yes
    ):
        return Hold(outcome=Outcome.QUARANTINED, reason=Reason.DUTY_UNCERTAIN, detail={"unit": unit})
    by = sorted(role.value for role in roles)
    return Hold(outcome=Outcome.QUARANTINED, reason=Reason.NOT_YOUR_ROLE, detail={"unit": wanted, "by": by})
