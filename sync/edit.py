"""What a mutation that may happen does to its record: create, edit, delete or command.

A record is missing, live or deleted; each operation has an answer to each. Work that did not know of a deletion brings
the record back and shows the conflict; a deletion that did not know of an edit leaves the record and shows it, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from contracts.ids import RecordId, Version
from contracts.kinds import KINDS
from contracts.meta import Policy, field_rules
from contracts.mutation import ARCHIVE, CREATE, DELETE, RECORD_BYTES_MAX, RECORD_FIELDS_MAX, Mutation
from contracts.outcomes import Outcome, Reason
from contracts.subjects import unknown_subjects
from sync.answers import odd_answers
from sync.carrying_out import WITH_SEALED_PART, carried_out
from sync.consequences import bury, consequences_of
from sync.decision import Accept, Change, Decision, Hold, Refuse, Sender
from sync.effects import EFFECTS
from sync.homes import home_of, moved
from sync.letters import issued_now
from sync.machines import BACK, DELETED_FROM, MACHINES, Transition, allowed_from, transition_of
from sync.merge import Lost, Merge, Sight, has_seen, merge_fields, policy_of, spread, written
from sync.places import is_secret
from sync.retention import come_home, plan_archive
from sync.signing import signed_body, signed_edits, with_author, with_signatures
from sync.situation import Situation
from sync.standing import root_of
from sync.state import DELETION, EVERY_OTHER, RecordState, Writer
from sync.tally import Tally
from sync.terms import passed_term
from sync.titles import WRITING, name_field, untitled
from sync.transfers import arrives
from sync.words import decoding_fault, guarded_fields, state_now

WRITABLE: Final = (Policy.UNION, Policy.APPEND, Policy.LATEST, Policy.COMPOUND, Policy.EACH)


def plan_write(mutation: Mutation, sender: Sender, tally: Tally) -> Decision:
    """The mutation is understood and permitted; the record is missing, live or deleted."""
    state = tally.records.get(mutation.record)
    if state is not None and state.moved_to is not None:
        if sender.is_system and arrives(mutation):
            return _return(mutation, state, sender, tally)
        tally.forward(mutation, state)
        return Accept(outcome=Outcome.APPLIED, reason=Reason.FORWARDED, detail={"county": state.moved_to})
    if state is None:
        return _create(mutation, sender, tally)
    if mutation.op == DELETE:
        return _delete(mutation, state, sender, tally)
    if mutation.op == ARCHIVE:
        return plan_archive(mutation, state, sender, tally)
    return _change(mutation, state, sender, tally)


def _writer(mutation: Mutation, sender: Sender, tally: Tally, before: RecordState | None) -> Writer:
    version = before.version[1] + 1 if before is not None else 1
    return Writer(tally.view.incarnation, version, sender.device, mutation.n)


# ------------------------------------------------------------------------------------------------ create


def _create(mutation: Mutation, sender: Sender, tally: Tally) -> Decision:
    kind, body = KINDS[mutation.kind], tally.bodies[mutation.id]
    if kind.sealed and not sender.at_seal:
        return Refuse(reason=Reason.INCOMPLETE, detail={"needs": [WITH_SEALED_PART]})
    if not sender.is_system:
        guarded = [name for name, default in guarded_fields(mutation.kind) if getattr(body, name) != default]
        if guarded:
            return Refuse(reason=Reason.READ_ONLY_FIELD, detail={"fields": guarded})
    refused = passed_term(mutation.kind, partial(getattr, body), sender, tally)
    refused = refused or untitled(mutation.kind, getattr(body, name_field(mutation.kind), ""), sender, is_writing=mutation.kind in WRITING)
    if refused is not None:
        return refused
    signed = signed_body(mutation, sender, tally) | issued_now(mutation, sender, tally)
    if not sender.is_system:
        _flag_unknown(getattr(body, "subject", None), getattr(body, "subjects", ()), tally)
    if mutation.kind == "inspection" and not sender.is_system:
        signed |= _told_odd(msgspec.json.decode(mutation.body), tally)  # type: ignore[arg-type]
    writer = _writer(mutation, sender, tally, None)
    parent = getattr(body, kind.parent) if kind.parent else None
    state = RecordState(
        id=mutation.record,
        kind=mutation.kind,
        stream=home_of(mutation.kind, body, tally),
        version=writer.at,
        fields={EVERY_OTHER: writer},
        body=with_signatures(_one_line(bytes(mutation.body)), signed),  # type: ignore[arg-type]
        parent=parent,
    )
    gone = _gone_parent(parent, tally)
    if gone is not None:
        return _forwarded(state, gone, root_of(mutation, tally), signed)
    state, recalled = come_home(state, mutation, sender, tally)
    change = Change(after=state, op=CREATE, patch={"set": signed} if signed else None)
    revived = _revive_parent(mutation, sender, tally, parent)
    more = consequences_of(mutation, sender, tally, None, state, ())
    outcome = Outcome.CONFLICT if revived else Outcome.APPLIED
    reason = Reason.EDIT_AGAINST_DELETE if revived else Reason.OK
    return Accept(outcome=outcome, reason=reason, changes=(change, *revived, *recalled, *more), root=root_of(mutation, tally))


def _one_line(raw: bytes) -> bytes:
    return msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw


def _gone_parent(parent: Any, tally: Tally) -> RecordState | None:
    """The parent, or what the parent shows, where that has moved to another county."""
    above = tally.records.get(parent) if parent is not None else None
    field = KINDS[above.kind].projects if above is not None else None
    if above is not None and field is not None:
        source = RecordId(above.values[field])
        tally.is_missing(source)
        above = tally.records.get(source)
    return above if above is not None and above.moved_to is not None else None


def _forwarded(state: RecordState, gone: RecordState, root: Version, signed: dict[str, Any]) -> Decision:
    """A child of a record that has moved to another county: made, and gone after it at once."""
    patch: dict[str, Any] | None = {"set": signed} if signed else None
    body = state.body
    if state.parent != gone.id:  # what showed the record here does not exist there
        patch = {"body": state.values | {KINDS[state.kind].parent: str(gone.id)}}
        body = msgspec.json.encode(patch["body"])
    after = replace(state, stream=gone.stream, parent=gone.id, body=body, deleted=True, moved_to=gone.moved_to)
    change = Change(after=after, op=CREATE, patch=patch)
    return Accept(outcome=Outcome.APPLIED, reason=Reason.FORWARDED, detail={"county": gone.moved_to}, changes=(change,), root=root)


def _return(mutation: Mutation, state: RecordState, sender: Sender, tally: Tally) -> Decision:
    """A record comes back to this county, as it was where it came from. A child whose parent has moved on goes after it."""
    body = tally.bodies[mutation.id]
    above = tally.records.get(state.parent) if state.parent is not None else None
    elsewhere = above.moved_to if above is not None else None
    writer = _writer(mutation, sender, tally, state)
    after = replace(
        state,
        stream=home_of(mutation.kind, body, tally),
        version=writer.at,
        fields={EVERY_OTHER: writer},
        body=_one_line(bytes(mutation.body)),  # type: ignore[arg-type]
        deleted=elsewhere is not None,
        moved_to=elsewhere,
    )
    return Accept(outcome=Outcome.APPLIED, changes=(Change(after=after, op=CREATE, patch=None),), root=root_of(mutation, tally))


def _revive_parent(mutation: Mutation, sender: Sender, tally: Tally, parent: Any) -> tuple[Change, ...]:
    """Evidence for a record that was deleted meanwhile: field work outlives an office deletion.

    What only shows a record (an assignment that was given to another) stays away: the photo is shown beside the record itself.
    """
    state = tally.records.get(parent) if parent is not None else None
    if state is None or not state.deleted or KINDS[state.kind].projects is not None:
        return ()
    writer = _writer(mutation, sender, tally, state)
    back = replace(state, deleted=False, version=writer.at, fields=written(state, (), writer))
    return (
        Change(after=back, op="revive", patch={}),
        tally.conflict(mutation, sender, back, _deletion_lost(state, mutation, sender)),
        *consequences_of(mutation, sender, tally, state, back, ()),
    )


def _deletion_lost(state: RecordState, mutation: Mutation, sender: Sender) -> Lost:
    writer = state.writer(DELETION)
    return Lost(DELETION, kept=None, lost="delete", kept_by=(sender.device, mutation.n), lost_by=(writer.device, writer.n))


# ------------------------------------------------------------------------------------------------ edit and command


def _change(mutation: Mutation, state: RecordState, sender: Sender, tally: Tally) -> Decision:
    sight = Sight(sender.device, mutation.n, root_of(mutation, tally), tally.view.incarnation)
    if state.deleted and (_knew_deletion(sight, state) or _means_it_as_it_is(mutation, sender)):
        return Refuse(reason=Reason.RECORD_DELETED)
    rules = field_rules(KINDS[state.kind].body)
    values = state.values
    transition = transition_of(state.kind, mutation.op)
    edits = _edits(mutation, rules)
    refused = _refusal(edits, values, rules, transition, sender)
    refused = refused or passed_term(state.kind, {name: new for name, (_, new) in mutation.fields.items()}.get, sender, tally)
    if refused is not None:
        return _with_allowed(refused, state)
    step = _step(transition, values, state, sight) if transition else ("", Reason.OK)
    if isinstance(step, Refuse):
        return step
    merge = merge_fields(state, values, signed_edits(state.kind, values, edits, sender, tally), rules, sight)
    effect: tuple[Change, ...] | Refuse = ()
    if transition is not None:
        effect = _carried_out(Situation(transition, state, mutation, sender, tally), merge, step[0])
    if not isinstance(effect, Refuse) and merge.changed.keys() & {"state", name_field(state.kind)}:
        is_writing = state_now(state.kind, merge.values) == WRITING.get(state.kind)
        effect = untitled(state.kind, merge.values.get(name_field(state.kind)), sender, is_writing=is_writing) or effect
    if isinstance(effect, Refuse):
        return _with_allowed(effect, state)
    if state.kind == "inspection" and any(name.startswith("answers.") for name in merge.changed):
        _set_odd(merge, tally)
    if state.kind == "inspection" and "inspectors" in merge.changed:
        merge.set({"inspectors": with_author(merge.values["inspectors"], merge.values.get("recorded_by"))})
    return _accepted(mutation, state, sender, tally, merge, step[1], effect, sight)


def _carried_out(situation: Situation, merge: Merge, to: str) -> tuple[Change, ...] | Refuse:
    """The command on its own record, in `merge`, and what it does to others."""
    unmet = carried_out(situation, merge, to)
    if unmet is not None:
        return unmet
    changes: tuple[Change, ...] = ()
    for name in situation.transition.effects:
        done = EFFECTS[name](situation, merge)
        if isinstance(done, Refuse):
            return done
        changes += done
    return changes


def _knew_deletion(sight: Sight, state: RecordState) -> bool:
    return has_seen(sight, state.writer(DELETION), None, "delete")


def _means_it_as_it_is(mutation: Mutation, sender: Sender) -> bool:
    """A console or the server that names no version has no work from before a deletion that could be lost."""
    return mutation.base is None and mutation.op != CREATE and (sender.waits or sender.is_system)


def _edits(mutation: Mutation, rules: Any) -> dict[str, tuple[Any, Any]]:
    """A creation of a record that exists (two phones opened the same one) is an edit whose author had seen nothing."""
    if mutation.op != CREATE:
        return spread(mutation.fields, rules)
    body: dict[str, Any] = msgspec.json.decode(mutation.body)  # type: ignore[arg-type]
    given = {name: (None, value) for name, value in body.items() if policy_of(name, rules) in WRITABLE}
    return spread(given, rules)


def _refusal(
    edits: dict[str, tuple[Any, Any]],
    values: dict[str, Any],
    rules: Any,
    transition: Transition | None,
    sender: Sender,
) -> Refuse | None:
    """Fields that this operation may not write."""
    if sender.is_system:
        return None
    sets = transition.sets if transition else frozenset[str]()
    wrong = [name for name in edits if policy_of(name, rules) not in WRITABLE and name not in sets and edits[name][1] != values.get(name)]
    return Refuse(reason=Reason.READ_ONLY_FIELD, detail={"fields": sorted(wrong)}) if wrong else None


def _step(transition: Transition, values: dict[str, Any], state: RecordState, sight: Sight) -> tuple[str, Reason] | Refuse:
    """(the state the command leads to or '', whether it came late), or the refusal with what would be allowed."""
    now = state_now(state.kind, values)
    if transition.accepts(now):
        return (str(values.get("suspended_from", "")) if transition.to == BACK else transition.to or ""), Reason.OK
    unseen = not has_seen(sight, state.writer("state"), now, None)
    if now in transition.late_from and unseen:
        return ("" if transition.late_stays else transition.to or ""), Reason.LATE
    return _with_allowed(Refuse(reason=Reason.NOT_ALLOWED_NOW), state)


def _told_odd(values: dict[str, Any], tally: Tally) -> dict[str, Any]:
    """Answers that are none to the checklist: in the record, and in the outcome."""
    odd = odd_answers(tally.view.checklists, values)
    if odd:
        tally.flag({"odd_answers": odd})
    return {"odd_answers": odd} if odd else {}


def _flag_unknown(subject: str | None, subjects: Iterable[str], tally: Tally) -> None:
    """Codes that are no known subject stay in the record; the outcome and the ledger name them (docs/subjects.md)."""
    unknown = unknown_subjects((subject, *subjects))
    if unknown:
        tally.flag({"unknown_subjects": unknown})


def _set_odd(merge: Merge, tally: Tally) -> None:
    odd = _told_odd(merge.values, tally).get("odd_answers", [])
    if odd != merge.values.get("odd_answers", []):
        merge.set({"odd_answers": odd})


def _with_allowed(refused: Refuse, state: RecordState) -> Refuse:
    """Every refusal says what would be allowed now, and who may do it."""
    if state.kind not in MACHINES or "allowed" in (refused.detail or {}):
        return refused
    now = state_now(state.kind, state.values)
    allowed = allowed_from(state.kind, now, secret=is_secret(state.stream))
    return replace(refused, detail={**(refused.detail or {}), "state": now, "allowed": allowed})


def _accepted(
    mutation: Mutation,
    state: RecordState,
    sender: Sender,
    tally: Tally,
    merge: Merge,
    reason: Reason,
    effect: tuple[Change, ...],
    sight: Sight,
) -> Decision:
    root = sight.root
    if not merge.changed and not merge.lost and not effect and not state.deleted:
        outcome = Outcome.MERGED if merge.beside_others else Outcome.APPLIED
        return Accept(outcome=outcome, reason=Reason.ALREADY_SO, root=root)
    body = msgspec.json.encode(merge.values)
    fault = decoding_fault(state.kind, body, merge.changed)
    if fault is not None:
        return Hold(outcome=Outcome.QUARANTINED, reason=Reason.MALFORMED, detail={"error": fault})
    writer = _writer(mutation, sender, tally, state)
    after = replace(
        state,
        version=writer.at,
        fields=written(state, merge.changed, writer),
        body=body,
        deleted=False,
    )
    if _outgrows(after, state) and not sender.is_system:
        return Hold(outcome=Outcome.QUARANTINED, reason=Reason.TOO_LARGE, detail={"bytes": len(body), "bytes_max": RECORD_BYTES_MAX})
    if not sender.is_system:
        _flag_unknown(merge.changed.get("subject"), merge.changed.get("subjects", ()), tally)
    if "unit" in merge.changed:
        after = moved(after, str(merge.values["unit"]), tally)
    after, recalled = come_home(after, mutation, sender, tally)
    lost = (*((_deletion_lost(state, mutation, sender),) if state.deleted else ()), *merge.lost)
    conflicts = tuple(tally.conflict(mutation, sender, after, one) for one in lost)
    more = consequences_of(mutation, sender, tally, state, after, tuple(merge.changed))
    change = Change(after=after, op=mutation.op, patch={"set": merge.changed})
    outcome = Outcome.CONFLICT if lost else Outcome.MERGED if merge.beside_others else Outcome.APPLIED
    if lost and reason is Reason.OK:
        reason = Reason.EDIT_AGAINST_DELETE if state.deleted else Reason.OVERLAP
    detail = {"fields": [one.field for one in lost]} if lost else None
    return Accept(outcome=outcome, reason=reason, detail=detail, changes=(change, *conflicts, *effect, *recalled, *more), root=root)


def _outgrows(after: RecordState, before: RecordState) -> bool:
    """The record becomes larger than what every phone of its stream can be asked to fetch. What makes it smaller is always taken."""
    is_longer = len(after.body) > RECORD_BYTES_MAX and len(after.body) > len(before.body)
    return is_longer or (len(after.fields) > RECORD_FIELDS_MAX and len(after.fields) > len(before.fields))


# ------------------------------------------------------------------------------------------------ delete


def _delete(mutation: Mutation, state: RecordState, sender: Sender, tally: Tally) -> Decision:
    root = root_of(mutation, tally)
    if state.deleted:
        return Accept(outcome=Outcome.APPLIED, reason=Reason.ALREADY_SO, root=root)
    if state_now(state.kind, state.values) not in DELETED_FROM.get(state.kind, {state_now(state.kind, state.values)}):
        return _with_allowed(Refuse(reason=Reason.NOT_ALLOWED_NOW), state)
    sight = Sight(sender.device, mutation.n, root, tally.view.incarnation)
    unseen = [name for name, w in state.fields.items() if name != DELETION and not has_seen(sight, w, None, w)]
    if unseen:
        writer = state.writer(unseen[0])
        author = (sender.device, mutation.n)
        lost = Lost(DELETION, kept=None, lost="delete", kept_by=(writer.device, writer.n), lost_by=author)
        return Accept(
            outcome=Outcome.CONFLICT,
            reason=Reason.EDIT_AGAINST_DELETE,
            changes=(tally.conflict(mutation, sender, state, lost),),
            root=root,
        )
    return Accept(outcome=Outcome.APPLIED, changes=bury(mutation, sender, tally, state), root=root)
