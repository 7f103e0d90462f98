"""Carrying out a command that the machine allows: what it needs, its guards, its stamps, and the step it leaves behind.

Guards and stamps are named in the tables of sync/machines.py; each is a few lines here. A guard answers with what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import msgspec

from contracts.draw import NONCE_PATTERN
from contracts.outcomes import Reason
from contracts.visits import ANSWERED_SOURCES
from sync.assigning import each_unit_once, parts_of
from sync.corrections import corrected_term, corrected_terms
from sync.decision import Refuse
from sync.located import placed
from sync.merge import Merge
from sync.permission import holds_within, may
from sync.places import is_secret, unit_of
from sync.plan_guards import (
    checks_recur,
    days_in_order,
    days_over,
    of_city_or_county,
    seasons_known,
    terms_in_order,
    terms_occur,
    terms_read,
    terms_recur,
    units_below,
    units_open,
    visits_open,
)
from sync.proof import after_photos, before_and_after, evidence_here, new_after_photo, not_the_answerer, not_the_submitter, site_checked
from sync.rules import read_day
from sync.situation import STORIED, Situation, captured_on, given_on, has_story, step_of
from sync.words import is_blank, state_now

REFUSALS_MAX = 1
RATINGS = range(1, 6)
NONCE = re.compile(NONCE_PATTERN)
WITH_SEALED_PART = "with_sealed_part"


def carried_out(situation: Situation, merge: Merge, to: str) -> Refuse | None:
    """Sets state, stamps and step in `merge`, or says what is missing."""
    needs = _needs(situation, merge)
    if needs:
        return Refuse(reason=Reason.INCOMPLETE, detail={"needs": sorted(needs)})
    before = state_now(situation.state.kind, merge.values)
    for stamp in situation.transition.stamps:
        merge.set(STAMPS[stamp](situation, merge.values))
    if to and before != to:
        merge.set({"state": to})
    if has_story(situation.state.kind):
        step = step_of(situation, situation.mutation.op, before, to or before, _sets(situation, merge))
        merge.set({STORIED: [*merge.values.get(STORIED, []), msgspec.to_builtins(step)]})
    return None


def _sets(situation: Situation, merge: Merge) -> dict[str, Any]:
    """What the story says that the command set: the deadline, the limit, the level; whose part was handed in; what was fixed on the
    spot by which photos.
    """
    given = {name: merge.values.get(name) for name in sorted(situation.transition.sets) if name in situation.mutation.fields}
    parts = {"handed_in": parts_of(situation, merge.values)} if "submitter" in situation.transition.stamps else {}
    photos = {"photos": after_photos(situation, merge.values)} if "before_and_after" in situation.transition.guards else {}
    return given | parts | photos


def _needs(situation: Situation, merge: Merge) -> set[str]:
    """What is missing: fields or arguments not given, words outside their choices, guards that do not pass."""
    transition, mutation = situation.transition, situation.mutation
    given = {name: new for name, (_, new) in mutation.fields.items()} | mutation.args
    missing = {name for name in transition.needs if is_empty(given.get(name))}
    missing |= {name for name, words in transition.choices.items() if not is_one_of(given.get(name), words)}
    missing |= {name for name in transition.guards if not GUARDS[name](situation, merge.values)}
    return missing


def is_one_of(value: object, words: Collection[str]) -> bool:
    """Whatever came, also what is no word at all."""
    return isinstance(value, str) and value in words


def is_empty(value: object) -> bool:
    """Spaces are no reason, no legal basis and no result."""
    return is_blank(value) if isinstance(value, str) else value in (None, [], {})


# ------------------------------------------------------------------------------------------------ guards


def has_deadline(situation: Situation, values: dict[str, Any]) -> bool:
    """What goes back to be fixed has a deadline, also where it was fixed on the spot and never assigned."""
    del situation
    return bool(values.get("due_on"))


def day_ahead(field: str) -> Callable[[Situation, dict[str, Any]], bool]:
    """A day that had not passed when it was given: what was given in time and arrives late is taken."""

    def is_ahead(situation: Situation, _values: dict[str, Any]) -> bool:
        _, given = situation.mutation.fields.get(field, (None, None))
        if given is None:
            return True  # asked for by `needs`, where it must be
        day = read_day(given)
        return day is not None and day >= given_on(situation.tally)

    return is_ahead


def departs_ahead(situation: Situation, _values: dict[str, Any]) -> bool:
    """The day until which a drawn list is to be checked."""
    due_on = situation.mutation.args.get("due_on")
    return not due_on or ((day := read_day(due_on)) is not None and day >= given_on(situation.tally))


def limit_as_set(situation: Situation, values: dict[str, Any]) -> bool:
    """Resumed because its limit has passed: only if that is the limit still."""
    limit = situation.mutation.args.get("limit")
    return limit is None or limit == values.get("suspended_until")


def is_listed(situation: Situation, values: dict[str, Any]) -> bool:
    del situation
    return bool(values.get("listed_level"))


def refused_at_most_once(situation: Situation, values: dict[str, Any]) -> bool:
    """退回 is limited: once, with a legal basis."""
    del situation
    return int(values.get("refusals") or 0) < REFUSALS_MAX


def rating_1_to_5(situation: Situation, _values: dict[str, Any]) -> bool:
    rating = situation.mutation.args.get("rating")
    return type(rating) is int and rating in RATINGS


def reported_in(situation: Situation, values: dict[str, Any]) -> bool:
    """A result comes from somebody who was there."""
    del situation
    return bool(values.get("reported_in_at"))


def all_confirmed(situation: Situation, values: dict[str, Any]) -> bool:
    """Every required department's result has been confirmed by the township, and who raised it has been told."""
    del situation
    shown = values.get("summons", {}).values()
    confirmed = all(one.get("state") in ("confirmed", "cancelled") for one in shown if one.get("required"))
    return confirmed and not values.get("feedback_owed")


def with_sealed_part(situation: Situation, _values: dict[str, Any]) -> bool:
    """Only a request that holds the draw's pool and secret: a word pushed past it could name a failure that there is not."""
    return situation.sender.at_seal


def second_party(situation: Situation, values: dict[str, Any]) -> bool:
    """Whoever prepared or committed a draw does not give its nonce, nor anybody who might issue it in another of their duties."""
    sender, unit = situation.sender, unit_of(situation.state.stream)
    places, captured = situation.tally.view.places, situation.tally.captured
    is_issuer = captured is not None and may(sender.duties, places, "draw", "draw.commit", unit, captured).is_yes
    return not is_issuer and str(sender.person) not in {values.get("prepared_by"), values.get("committed_by")}


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


def to_another(situation: Situation, _values: dict[str, Any]) -> bool:
    """A reassignment names somebody else, or another unit."""
    fields = situation.mutation.fields
    return any(name in fields and fields[name][0] != fields[name][1] for name in ("assignee", "unit"))


def still_secret(situation: Situation, _values: dict[str, Any]) -> bool:
    return is_secret(situation.state.stream)


def no_secret(situation: Situation, _values: dict[str, Any]) -> bool:
    """Whoever is told to fix a problem is told of it: it must be disclosed first."""
    return not is_secret(situation.state.stream)


def addressed(situation: Situation, values: dict[str, Any]) -> bool:
    """A notice is acknowledged by those it is for: a duty at the unit itself when it was signed for, of a role it names."""
    roles, unit, captured = values.get("roles") or [], unit_of(situation.state.stream), situation.tally.captured
    held = [duty for duty in situation.sender.duties if captured is None or holds_within(duty, captured)]
    return any(duty.unit == unit and (not roles or duty.role.value in roles) for duty in held)


def answered_if_it_says_so(situation: Situation, values: dict[str, Any]) -> bool:
    """A letter is lifted as answered only while its answer stands."""
    return values.get("lifted_because") != "answered" or state_now(situation.state.kind, values) == "answered"


GUARDS: dict[str, Callable[[Situation, dict[str, Any]], bool]] = {
    "new_after_photo": new_after_photo,
    "before_and_after": before_and_after,
    "evidence_here": evidence_here,
    "has_deadline": has_deadline,
    "not_the_submitter": not_the_submitter,
    "not_the_answerer": not_the_answerer,
    "site_checked": site_checked,
    "limit_ahead": day_ahead("suspended_until"),
    "deadline_ahead": day_ahead("due_on"),
    "look_back_ahead": day_ahead("look_back_on"),
    "departs_ahead": departs_ahead,
    "each_unit_once": each_unit_once,
    "limit_as_set": limit_as_set,
    "is_listed": is_listed,
    "refused_at_most_once": refused_at_most_once,
    "rating_1_to_5": rating_1_to_5,
    "reported_in": reported_in,
    "all_confirmed": all_confirmed,
    WITH_SEALED_PART: with_sealed_part,
    "second_party": second_party,
    "names_the_commitment": names_the_commitment,
    "sound_nonce": sound_nonce,
    "departed_or_reason": departed_or_reason,
    "to_another": to_another,
    "still_secret": still_secret,
    "no_secret": no_secret,
    "addressed": addressed,
    "terms_read": terms_read,
    "terms_recur": terms_recur,
    "terms_occur": terms_occur,
    "terms_in_order": terms_in_order,
    "seasons_known": seasons_known,
    "units_below": units_below,
    "units_open": units_open,
    "visits_open": visits_open,
    "checks_recur": checks_recur,
    "of_city_or_county": of_city_or_county,
    "answered_if_it_says_so": answered_if_it_says_so,
    "days_in_order": days_in_order,
    "days_over": days_over,
}

# ------------------------------------------------------------------------------------------------ stamps


def _new_terms(situation: Situation, values: dict[str, Any]) -> dict[str, Any]:
    """The revision before ends now, and a new one begins."""
    now = situation.tally.view.now.isoformat()
    revisions = _end_terms(situation, values)["revisions"]
    new = {"n": len(revisions) + 1, "terms": values.get("terms"), "since": now}
    return {"revisions": [*revisions, new]}


def _end_terms(situation: Situation, values: dict[str, Any]) -> dict[str, Any]:
    now = situation.tally.view.now.isoformat()
    revisions = values.get("revisions") or []
    return {"revisions": [one if one.get("until") else one | {"until": now} for one in revisions]}


def _reported_in(situation: Situation, values: dict[str, Any]) -> dict[str, Any]:
    """Of two handlers who were there, the first: also if the other arrived at the server before."""
    captured, known = situation.tally.captured_at(), values.get("reported_in_at")
    is_late = not situation.transition.accepts(state_now(situation.state.kind, situation.state.values))
    if is_late and known and datetime.fromisoformat(str(known)) <= captured:
        return {}
    position, left_out = placed(situation.mutation.args.get("position"))
    if left_out is not None:
        situation.tally.flag({"left_out": (left_out,)})
    return {"reported_in_at": captured.isoformat(), "reported_in_position": position}


def _acknowledged(situation: Situation, values: dict[str, Any]) -> dict[str, Any]:
    return {"acknowledged_by": sorted({*values.get("acknowledged_by", []), str(situation.sender.person)})}


def _handed_in(situation: Situation, values: dict[str, Any]) -> dict[str, Any]:
    """A part is added to those that were handed in since it was last sent back, in whatever order they arrive."""
    parts = list(dict.fromkeys((*(values.get("handed_in") or []), *parts_of(situation, values))))
    return {"submitted_by": str(situation.sender.person), "handed_in": parts}


def _rebounded(situation: Situation, values: dict[str, Any]) -> dict[str, Any]:
    """What was arranged for the earlier close-out does not hold for the next one."""
    reason = situation.mutation.args.get("reason")
    return {
        "rebounds": values.get("rebounds", 0) + 1,
        "look_back_on": None,
        "look_back_result": reason,
        "feedback_owed": False,
        "closed_on": None,
        "handed_in": [],
    }


def _look_back_left(situation: Situation, values: dict[str, Any]) -> dict[str, Any]:
    """The day of the next look-back, where this command named one: an earlier one has had its time."""
    return {"look_back_on": values.get("look_back_on") if "look_back_on" in situation.mutation.fields else None}


def _closed(situation: Situation, values: dict[str, Any]) -> dict[str, Any]:
    """The day, and what is arranged for the look-back at this close-out."""
    closed_on = captured_on(situation).isoformat()
    return _look_back_left(situation, values) | {"closed_on": closed_on, "look_back_result": None} | _feedback(values)


def _feedback(values: dict[str, Any]) -> dict[str, Any]:
    """信息反馈 (domain.md 4.2, 4.11): what came in by a channel of the public is owed an answer there."""
    return {"feedback_owed": True} if values.get("source") in ANSWERED_SOURCES else {}


STAMPS: dict[str, Callable[[Situation, dict[str, Any]], dict[str, Any]]] = {
    "committer": lambda s, _: {"committed_by": str(s.sender.person)},
    "seeder": lambda s, _: {"seeded_by": str(s.sender.person)},
    "submitter": _handed_in,
    "submitter_of_all": lambda s, values: {"submitted_by": str(s.sender.person), "handed_in": list(values.get("leads") or [])},
    "returned": lambda _, values: {"returns": values.get("returns", 0) + 1, "handed_in": []},
    "rebounded": _rebounded,
    "suspended": lambda _, values: {"suspended_from": values["suspended_from" if values.get("state") == "suspended" else "state"]},
    "resumed": lambda _s, _v: {"suspended_from": None, "suspended_until": None},
    "listed": lambda s, values: {"listed_on": values.get("listed_on") or captured_on(s).isoformat(), "unlisted_on": None},
    "unlisted": lambda s, _: {"listed_level": None, "listed_on": None, "unlisted_on": captured_on(s).isoformat()},
    "looked_back": lambda s, values: _look_back_left(s, values) | {"look_back_result": s.mutation.args.get("result", "held")},
    "closed": _closed,
    "answered": lambda _, values: _feedback(values),
    "refused": lambda _, values: {"refusals": int(values.get("refusals") or 0) + 1},
    "reported_in": _reported_in,
    "recorded": lambda s, values: {"submitted_by": values.get("submitted_by") or str(s.sender.person)},
    "submitted": lambda s, values: {"submitted_at": values.get("submitted_at") or s.tally.captured_at().isoformat()},
    "disclosed": lambda s, _: {"disclosed_at": s.tally.view.now.isoformat()},
    "new_terms": _new_terms,
    "end_terms": _end_terms,
    "acknowledged": _acknowledged,
    "feedback_owed": lambda _s, _v: {"feedback_owed": True},
    "fed_back": lambda _s, _v: {"feedback_owed": False},
    "corrected_terms": corrected_terms,
    "corrected_term": corrected_term,
}
