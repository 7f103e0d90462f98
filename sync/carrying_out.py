"""Carrying out a command that the machine allows: what it needs, its guards, its stamps, and the step it leaves behind.

Guards and stamps are named in the tables of sync/machines.py; each is a few lines here. A guard answers with what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from contracts.draw import NONCE_PATTERN
from contracts.ids import RecordId, projection_id
from contracts.kind import Step
from contracts.kinds import KINDS
from contracts.mutation import Mutation
from contracts.outcomes import Reason
from sync.decision import Refuse, Sender
from sync.ledger import Ledger
from sync.machines import Transition
from sync.merge import Merge
from sync.state import RecordState

REFUSALS_MAX = 1
NONCE = re.compile(NONCE_PATTERN)
STORIED = "steps"  # the field of a kind that tells its story


class Situation(msgspec.Struct, frozen=True):
    """One command about to be carried out on one record."""

    transition: Transition
    state: RecordState
    mutation: Mutation
    sender: Sender
    ledger: Ledger


def carried_out(situation: Situation, merge: Merge, to: str) -> Refuse | None:
    """Sets state, stamps and step in `merge`, or says what is missing."""
    needs = _needs(situation, merge)
    if needs:
        return Refuse(reason=Reason.INCOMPLETE, detail={"needs": sorted(needs)})
    before = str(merge.values.get("state", ""))
    for stamp in situation.transition.stamps:
        _set(merge, STAMPS[stamp](situation, merge.values))
    if to and before != to:
        _set(merge, {"state": to})
    if _has_story(situation):
        step = step_of(situation, situation.mutation.op, before, to or before)
        _set(merge, {STORIED: [*merge.values.get(STORIED, []), msgspec.to_builtins(step)]})
    return None


def _set(merge: Merge, values: dict[str, Any]) -> None:
    for field, value in values.items():
        if merge.values.get(field) != value:
            merge.values[field] = merge.changed[field] = value


def _has_story(situation: Situation) -> bool:
    return STORIED in KINDS[situation.state.kind].body.__struct_fields__


def _needs(situation: Situation, merge: Merge) -> set[str]:
    """What is missing: fields or arguments not given, words outside their choices, guards that do not pass."""
    transition, mutation = situation.transition, situation.mutation
    given = {name: new for name, (_, new) in mutation.fields.items()} | mutation.args
    missing = {name for name in transition.needs if given.get(name) in (None, "", [], {})}
    missing |= {name for name, words in transition.choices.items() if given.get(name) not in words}
    missing |= {name for name in transition.guards if not GUARDS[name](situation, merge.values)}
    return missing


def step_of(situation: Situation, command: str, source: str, to: str) -> Step:
    """What the story of a record says of one command."""
    mutation, ledger = situation.mutation, situation.ledger
    return Step(
        id=str(mutation.id),
        command=command,
        by=situation.sender.person,
        at=ledger.view.now,
        captured_at=_captured_at(situation),
        source=source,
        to=to,
        args=mutation.args,
    )


# ------------------------------------------------------------------------------------------------ guards


def photos_of(situation: Situation, values: dict[str, Any], purpose: str) -> set[str]:
    """Photos of the record with this purpose, also those that a unit it is assigned to took."""
    ledger, record = situation.ledger, situation.state.id
    parents = {record, *(projection_id(record, unit) for unit in (*values.get("leads", []), *values.get("supporting", [])))}
    for parent in parents:
        ledger.need_family(parent)
    return {
        str(photo.id)
        for photo in ledger.records.values()
        if photo.kind == "photo" and photo.parent in parents and not photo.deleted and photo.values.get("purpose") == purpose
    }


def _named_photos(situation: Situation) -> set[str]:
    named = situation.mutation.args.get("photos")
    return {str(photo) for photo in named} if isinstance(named, list) else set()


def new_after_photo(situation: Situation, values: dict[str, Any]) -> bool:
    """The submission names at least one photo of the fixed state that no earlier submission has shown."""
    shown = {str(photo) for step in values.get(STORIED, []) for photo in step.get("args", {}).get("photos", [])}
    return bool((_named_photos(situation) & photos_of(situation, values, "after")) - shown)


def before_and_after(situation: Situation, values: dict[str, Any]) -> bool:
    before = photos_of(situation, values, "before") | photos_of(situation, values, "evidence")
    return bool(before) and bool(photos_of(situation, values, "after"))


def not_the_submitter(situation: Situation, values: dict[str, Any]) -> bool:
    return values.get("submitted_by") != str(situation.sender.person)


def site_checked(situation: Situation, _values: dict[str, Any]) -> bool:
    """Somebody was there: a position, or the inspection that was made."""
    args = situation.mutation.args
    position = args.get("position")
    has_position = isinstance(position, dict) and {"lat", "lng"} <= position.keys()
    return has_position or _is_id(args.get("inspection"))


def _is_id(value: object) -> bool:
    try:
        RecordId(str(value))
    except ValueError:
        return False
    return True


def refused_at_most_once(situation: Situation, values: dict[str, Any]) -> bool:
    """退回 is limited: once, with a legal basis."""
    del situation
    return int(values.get("refusals") or 0) < REFUSALS_MAX


def all_confirmed(situation: Situation, values: dict[str, Any]) -> bool:
    """Every required department's result has been confirmed by the township, and who raised it has been told."""
    del situation
    shown = values.get("summons", {}).values()
    confirmed = all(one.get("state") in ("confirmed", "cancelled") for one in shown if one.get("required"))
    return confirmed and not values.get("feedback_owed")


def second_party(situation: Situation, values: dict[str, Any]) -> bool:
    """Whoever prepared or committed a draw does not give its nonce."""
    return str(situation.sender.person) not in {values.get("prepared_by"), values.get("committed_by")}


def names_the_commitment(situation: Situation, values: dict[str, Any]) -> bool:
    """The nonce is given for the commitment that its giver was shown, and for no other."""
    return bool(values.get("commitment")) and situation.mutation.args.get("commitment") == values.get("commitment")


def sound_nonce(situation: Situation, values: dict[str, Any]) -> bool:
    """Long enough that nobody guesses it."""
    del situation
    return NONCE.fullmatch(str(values.get("nonce", ""))) is not None


def departed_or_reason(situation: Situation, values: dict[str, Any]) -> bool:
    """A list that was drawn and not followed is disclosed with the reason."""
    return values.get("state") != "drawn" or bool(situation.mutation.args.get("reason"))


GUARDS: dict[str, Callable[[Situation, dict[str, Any]], bool]] = {
    "new_after_photo": new_after_photo,
    "before_and_after": before_and_after,
    "not_the_submitter": not_the_submitter,
    "site_checked": site_checked,
    "refused_at_most_once": refused_at_most_once,
    "all_confirmed": all_confirmed,
    "second_party": second_party,
    "names_the_commitment": names_the_commitment,
    "sound_nonce": sound_nonce,
    "departed_or_reason": departed_or_reason,
}

# ------------------------------------------------------------------------------------------------ stamps


def _captured_at(situation: Situation) -> datetime:
    """When it was done, at the latest: an offline report-in counts from its capture, not from its arrival."""
    captured = situation.ledger.captured
    return datetime.fromtimestamp(captured.end_ms / 1000, UTC) if captured else situation.ledger.view.now


STAMPS: dict[str, Callable[[Situation, dict[str, Any]], dict[str, Any]]] = {
    "committer": lambda s, _: {"committed_by": str(s.sender.person)},
    "seeder": lambda s, _: {"seeded_by": str(s.sender.person)},
    "submitter": lambda s, _: {"submitted_by": str(s.sender.person)},
    "returned": lambda _, values: {"returns": values.get("returns", 0) + 1},
    "rebounded": lambda _, values: {"rebounds": values.get("rebounds", 0) + 1},
    "suspended": lambda _, values: {"suspended_from": values.get("state")},
    "unlisted": lambda _s, _v: {"listed_level": None},
    "refused": lambda _, values: {"refusals": int(values.get("refusals") or 0) + 1},
    "reported_in": lambda s, _: {
        "reported_in_at": _captured_at(s).isoformat(),
        "reported_in_position": s.mutation.args.get("position"),
    },
    "fed_back": lambda _s, _v: {"feedback_owed": False},
}
