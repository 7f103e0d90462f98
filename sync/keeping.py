"""Who may change what stands as evidence (decision 0023). The table of permissions asks for a role at the record's unit, and the
inspected village has one: what the county found there is not for the village to rewrite, to move or to delete.

An inspection, and a problem that is not verified yet, are changed by their author's side: the author, an inspector, persons with a role
of the author's level or above there (for a problem also the office). Afterwards, and with what the office gives to others, only the
office changes what it says. Comments, photos and the commands of the machine come in as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from contracts.ids import RecordId
from contracts.kinds import KINDS
from contracts.meta import Policy, field_rules
from contracts.mutation import CREATE, DELETE, Mutation
from contracts.outcomes import Outcome, Reason
from contracts.people import Duty, Role
from sync.clock import Interval
from sync.decision import Hold, Incoming, Refuse, Sender
from sync.machines import transition_of
from sync.merge import MAP_SEPARATOR, get_field, policy_of, spread
from sync.permission import COMMANDERS, DEPARTMENT, FIELD, OFFICE, TOWNSHIP, holds_within
from sync.places import unit_of
from sync.standing import certain_duties, is_own, now_ms
from sync.state import EVERY_OTHER, RecordState
from sync.tally import Tally
from sync.words import state_now

RANKS: Final[Mapping[Role, int]] = {
    **dict.fromkeys(FIELD, 1),
    **dict.fromkeys(TOWNSHIP | DEPARTMENT, 2),
    Role.COUNTY_SUPERVISOR: 3,
    Role.CITY_SUPERVISOR: 4,
}
UNKNOWN_RANK: Final = 2  # of an author of whom nothing was written down
MADE_AS: Final[Mapping[str, str]] = {"inspection": "recorded_as", "problem": "reported_as"}
WHOLE: Final = frozenset({DELETE, "inspection.submit", "inspection.amend"})  # about all of an inspection, with any fields beside it
EVERYTHING: Final = "*"


class Office(msgspec.Struct, frozen=True, kw_only=True):
    """What only the office changes. `until`: the states in which others may, too; `free`: fields that stay everybody's."""

    by: frozenset[Role]
    until: frozenset[str] = frozenset()
    free: frozenset[str] = frozenset()


# 整改措施 is for those who rectify to write; a task's note for those who carry it out.
OF_OFFICE: Final[Mapping[str, Office]] = {
    "problem": Office(by=OFFICE, until=frozenset({"draft", "reported"}), free=frozenset({"measures"})),
    "task": Office(by=OFFICE, free=frozenset({"note"})),
    "whistle": Office(by=TOWNSHIP, until=frozenset({"proposed"})),
    "transfer": Office(by=COMMANDERS, until=frozenset({"proposed"})),
}

GUARDED: Final = OF_OFFICE.keys() | MADE_AS.keys() | {"photo"}


def not_theirs_to_change(incoming: Incoming, mutation: Mutation, sender: Sender, tally: Tally) -> Refuse | Hold | None:
    """The refusal of a change of what is evidence. Roles and units have been judged already.

    A desk that releases lends its duties: where neither they nor the author's are of that level, it stays held.
    """
    state = tally.records.get(mutation.record)
    if state is None or state.kind not in GUARDED or sender.is_system or (incoming.released and not incoming.releaser):
        return None
    if state.kind == "inspection" and state.writer(EVERY_OTHER).device == sender.device:  # most of a day's work: no body is read for it
        return None
    touched = {EVERYTHING} if state.kind == "inspection" and mutation.op in WHOLE else _touched(mutation, state)
    by = changers(state, touched, sender, incoming.captured, tally, mutation) if touched else None
    certain = sender.duties if incoming.released else certain_duties(sender, incoming.captured, now_ms(tally))
    is_uncertain = by is None and touched and len(certain) < len(sender.duties)
    if is_uncertain:
        by = changers(state, touched, msgspec.structs.replace(sender, duties=certain), incoming.captured, tally, mutation)
    if by is None:
        return None
    detail = {"op": mutation.op, "fields": sorted(touched), "by": by}
    if not incoming.released and is_uncertain:
        return Hold(outcome=Outcome.QUARANTINED, reason=Reason.DUTY_UNCERTAIN, detail={"unit": unit_of(state.stream)})
    if not incoming.released:
        return Refuse(reason=Reason.NOT_YOURS, detail=detail)
    lends = _has_one(frozenset(map(Role, by)), incoming.releaser, state, tally, None)
    return None if lends else Hold(outcome=Outcome.QUARANTINED, reason=Reason.NOT_YOURS, detail=detail)


def changers(
    state: RecordState, fields: Iterable[str], sender: Sender, when: Interval, tally: Tally, mutation: Mutation | None = None
) -> list[str] | None:
    """The roles that may change these fields of a record, if its sender may not; None: the sender may."""
    if state.kind == "photo":
        return _of_photo(state, sender, when, tally)
    values = state.values
    rule, now = OF_OFFICE.get(state.kind), state_now(state.kind, values)
    duties = [duty for duty in sender.duties if holds_within(duty, when)]
    if rule is not None and now not in rule.until:
        is_bound = any(name.partition(MAP_SEPARATOR)[0] not in rule.free for name in fields)
        return _names(rule.by) if is_bound and not _has_one(rule.by, duties, state, tally, mutation) else None
    if state.kind not in MADE_AS or is_own(state, sender) or str(sender.person) in (values.get("inspectors") or ()):
        return None
    made_as = values.get(MADE_AS[state.kind])
    rank = next((rank for role, rank in RANKS.items() if role.value == made_as), UNKNOWN_RANK)
    by = frozenset(role for role, above in RANKS.items() if above >= rank) | (OFFICE if state.kind == "problem" else frozenset())
    return None if _has_one(by, duties, state, tally, mutation) else _names(by)


def made_as(sender: Sender, unit: str, when: Interval | None, tally: Tally) -> str | None:
    """The highest role in which its author may have made it: by a duty over the unit at that time, or by any at all."""
    held = [duty for duty in sender.duties if when is None or holds_within(duty, when)] or sender.duties
    here = [duty for duty in held if tally.view.places.covers(duty.unit, unit)] or held
    ranked = sorted((RANKS[duty.role], duty.role.value) for duty in here if duty.role in RANKS)
    return ranked[-1][1] if ranked else None


def _has_one(by: frozenset[Role], duties: Iterable[Duty], state: RecordState, tally: Tally, mutation: Mutation | None) -> bool:
    """A duty with one of the roles over the unit of the record, or over one where it lived when its author saw it."""
    covers = tally.view.places.covers
    mine = [duty.unit for duty in duties if duty.role in by]
    if any(covers(unit, unit_of(state.stream)) for unit in mine):
        return True
    homes = tally.earlier_homes(mutation) if mine and mutation is not None else ()
    return any(covers(unit, unit_of(home.stream)) for home in homes for unit in mine)


def _of_photo(state: RecordState, sender: Sender, when: Interval, tally: Tally) -> list[str] | None:
    """What is said below a photo is for who took it, or for who may change what it belongs to."""
    if is_own(state, sender) or state.parent is None:
        return None
    parent = RecordId(str(state.parent))
    tally.is_missing(parent)
    above = tally.records.get(parent)
    return None if above is None else changers(above, [EVERYTHING], sender, when, tally)


def _touched(mutation: Mutation, state: RecordState) -> set[str]:
    """The fields it changes, but for comments and for what its command sets."""
    rules = field_rules(KINDS[state.kind].body)
    transition = transition_of(state.kind, mutation.op)
    sets = transition.sets if transition is not None else frozenset[str]()
    given: dict[str, Any] = {name: new for name, (_, new) in mutation.fields.items()}
    if mutation.op == CREATE and mutation.body is not msgspec.UNSET:
        given = msgspec.json.decode(mutation.body)
    if not given:
        return set()
    values = state.values
    edits = spread({name: (get_field(values, name), new) for name, new in given.items()}, rules)
    return {
        name
        for name, (now, new) in edits.items()
        if name not in sets
        and policy_of(name, rules) not in (Policy.APPEND, Policy.SERVER, Policy.COMMAND, Policy.IMMUTABLE)
        and now != new
    }


def _names(roles: Iterable[Role]) -> list[str]:
    return sorted(role.value for role in roles)
