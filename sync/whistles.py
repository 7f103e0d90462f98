"""What the steps of a whistle and of its summonses do to each other, in one transaction (domain.md 4.1).

The whistle shows how every summons stands; a summons shows what its department needs of the whistle. Each term of a summons is
kept with the moment and the step from which it ran (`clocks`), so that a term that was missed stays missed when a new one begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from contracts.ids import RecordId, UnitCode, projection_id
from contracts.kind import Step
from contracts.kinds.summons import Clock, ClockName, Summons
from contracts.mutation import EDIT, Mutation
from contracts.outcomes import Reason
from contracts.people import Audience
from contracts.rules import Duration, RuleName, WhistleRule
from sync.assigning import closed_units, units_in
from sync.decision import Change, Refuse
from sync.machines import MACHINES, MOVED, allowed_from
from sync.merge import Merge
from sync.permission import who_may
from sync.places import stream_name, unit_of
from sync.rules import unpublished_note
from sync.secrecy import share_sight
from sync.situation import Situation, given_on, step_of
from sync.state import RecordState
from sync.tally import Tally
from sync.whereabouts import unit_name, whereabouts

ANSWERED: Final = frozenset({"resulted", "confirmed", "cancelled"})  # a summons that is no longer waited for
SHARED: Final = ("title", "text", "problem", "site", "position")  # what a summons has of its whistle
PLACED: Final = frozenset({"site", "position"})
EVERY_CLOCK: Final[tuple[ClockName, ...]] = ("sign", "report_in", "result")
# What a term is waiting for, by the state of its summons.
RUNNING: Final[dict[str, tuple[ClockName, ...]]] = {
    "called": EVERY_CLOCK,
    "signed": ("report_in", "result"),
    "reported_in": ("result",),
}


def edited(s: Situation, record: RecordState, op: str, values: dict[str, Any]) -> Change:
    """Another record with fields set by the server as a consequence of this command."""
    return s.tally.edited(record, op, values, s.mutation.n)


def with_step(s: Situation, record: RecordState, op: str, to: str, values: dict[str, Any]) -> Change:
    """As `edited`, going to another state and leaving a step in its story."""
    before = record.values
    step: Step = step_of(s, op, str(before.get("state", "")), to)
    steps = [*before.get("steps", []), msgspec.to_builtins(step)]
    return edited(s, record, op, values | {"state": to, "steps": steps})


# ------------------------------------------------------------------------------------------------ calling


def summon(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """Every called department gets a summons of its own, with its clocks; nobody is called twice."""
    called, optional = units_in(merge.values.get("called")), units_in(merge.values.get("optional"))
    refused = uncallable(s.tally, [*called, *optional])
    if refused is not None:
        return refused
    made = [_summons(s, merge, unit, required=unit in called) for unit in dict.fromkeys((*called, *optional))]
    merge.set({"blown_at": s.tally.view.now.isoformat(), "feedback_owed": True})
    _show(merge, made)
    return (*made, *_told_to_problem(s, merge))


def _told_to_problem(s: Situation, merge: Merge) -> tuple[Change, ...]:
    """The problem knows by which whistle departments were called to it, so that they are shown what is photographed of it later."""
    named = merge.values.get("problem")
    record = RecordId(str(named)) if named else None
    if record is None or s.tally.is_missing(record):
        return ()
    problem = s.tally.records.get(record)
    if problem is None or problem.kind != "problem" or problem.deleted or not share_sight(s.state.stream, problem.stream):
        return ()
    whistles = problem.values.get("whistles") or []
    return (edited(s, problem, s.mutation.op, {"whistles": [*whistles, str(s.state.id)]}),)


def uncallable(tally: Tally, units: Sequence[UnitCode]) -> Refuse | None:
    """部门报到: a department, or a team of one, of this very county, that is not closed. Whoever is called elsewhere would never hear of it."""
    places, county = tally.view.places, tally.view.county
    unknown = sorted(unit for unit in units if unit not in places.units)
    if unknown:
        return Refuse(reason=Reason.UNKNOWN_UNIT, detail={"units": unknown})
    others = sorted(unit for unit in units if places.county_of(unit) != county or not places.is_department(unit))
    if others:
        return Refuse(reason=Reason.NOT_A_DEPARTMENT, detail={"units": others})
    return closed_units(places, units, given_on(tally))


def _summons(s: Situation, merge: Merge, unit: UnitCode, *, required: bool) -> Change:
    values, tally = merge.values, s.tally
    record = projection_id(s.state.id, unit)
    tally.is_missing(record)
    body = Summons(
        unit=unit,
        whistle=s.state.id,
        whistle_unit=unit_of(s.state.stream),
        title=str(values.get("title", "")),
        text=str(values.get("text", "")),
        problem=values.get("problem"),
        site=values.get("site"),
        whistle_unit_name=unit_name(tally.view.places, unit_of(s.state.stream)),
        **whereabouts(tally, s.state.stream, values),
        required=required,
        called_at=tally.view.now,
        **_terms(s, [], EVERY_CLOCK if required else (), after=0),
    )
    return tally.server_made(record, "summons", stream_name(unit, Audience.FIELD), body, s.mutation.n)


def _terms(s: Situation, clocks: Sequence[Any], names: Iterable[ClockName], *, after: int) -> dict[str, Any]:
    """Fields of a summons whose terms `names` begin now, `after` so many steps of its story, by the rule in force now."""
    view = s.tally.view
    rule = view.rules.at(view.county, RuleName.WHISTLE, view.now)
    given = view.rules.body(view.county, WhistleRule, view.now) or WhistleRule()
    calendar = view.rules.calendar(view.county, view.now)
    version = rule.version if rule else None
    terms: dict[ClockName, Duration | None] = {name: getattr(given, name) for name in names}
    new = [
        Clock(
            clock=name,
            since=view.now,
            due_at=calendar.add(view.now, term),
            rule_version=version,
            steps=after,
            unpublished=calendar.unpublished(view.now, term),
        )
        for name, term in terms.items()
        if term is not None
    ]
    due = {clock.clock: clock.due_at for clock in new}
    note = unpublished_note({year for clock in new for year in clock.unpublished})
    return {"rule_version": version, "clocks": [*clocks, *new], "terms_note": note} | {f"{name}_due_at": due.get(name) for name in terms}


def _anew(s: Situation, summons: RecordState, names: Iterable[ClockName]) -> dict[str, Any]:
    """Terms that begin with the step that this command leaves on the summons."""
    values = summons.values
    return _terms(s, values.get("clocks") or [], names, after=len(values.get("steps") or []) + 1)


def recalled(s: Situation, summons: RecordState, *, required: bool) -> Change:
    """Called anew: every clock begins again. That it refused before is not forgotten."""
    again = {"required": required, "called_at": s.tally.view.now}
    return with_step(s, summons, s.mutation.op, "called", again | _anew(s, summons, EVERY_CLOCK if required else ()))


# ------------------------------------------------------------------------------------------------ what the whistle shows


def summary_of(summons: dict[str, Any]) -> dict[str, Any]:
    """What a whistle shows of one summons."""
    names = (
        "state", "required", "contact", "reported_in_at", "reported_in_position", "result", "refusals", "legal_basis",
        "rating", "sign_due_at", "report_in_due_at", "result_due_at", "terms_note",
    )  # fmt: skip
    return {name: summons[name] for name in names if summons.get(name) not in (None, "")}


def _news(changes: Iterable[Change]) -> dict[UnitCode, dict[str, Any]]:
    summonses = [change.after.values for change in changes if change.after.kind == "summons"]
    return {str(values["unit"]): summary_of(values) for values in summonses}


def _waited_for(summons: dict[UnitCode, dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in summons.values() if one.get("required") and one.get("state") not in ANSWERED]


def _next_due(summons: dict[UnitCode, dict[str, Any]]) -> str | None:
    """The earliest term that runs for a department that is waited for."""
    dues = [
        one[f"{name}_due_at"]
        for one in _waited_for(summons)
        for name in RUNNING.get(str(one.get("state")), ())
        if one.get(f"{name}_due_at")
    ]
    return min(dues, key=datetime.fromisoformat, default=None)


def _show(merge: Merge, changes: Iterable[Change], *, reopens: bool = False) -> None:
    """The whistle of this very command: how its summonses stand, what is due next, and where that leads it."""
    summons = {**(merge.values.get("summons") or {}), **_news(changes)}
    merge.set({"summons": summons, "due_at": _next_due(summons)})
    state, to = merge.values.get("state"), "blown" if _waited_for(summons) else "answered"
    if state == to or not (reopens or state in ("blown", "answered")):
        return
    *before, step = merge.values["steps"]
    merge.set({"steps": [*before, step | {"to": to}], "state": to})
    if reopens or to == "blown":
        merge.set({"feedback_owed": True})  # what they were told does not hold any more


def tell_whistle(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """The whistle shows how this summons stands; it is answered when every required one is."""
    whistle_id = RecordId(str(merge.values["whistle"]))
    if s.tally.is_missing(whistle_id):
        return Refuse(reason=Reason.RECORD_MISSING)
    whistle = s.tally.records.get(whistle_id)
    if whistle is None:
        return ()
    return (_whistle_after(s, whistle, {str(merge.values["unit"]): summary_of(merge.values)}),)


def _whistle_after(s: Situation, whistle: RecordState, news: dict[UnitCode, dict[str, Any]]) -> Change:
    values = whistle.values
    summons = {**(values.get("summons") or {}), **news}
    set_now: dict[str, Any] = {"summons": summons}
    if _next_due(summons) != values.get("due_at"):
        set_now["due_at"] = _next_due(summons)
    waits, state = bool(_waited_for(summons)), str(values.get("state"))
    to = "answered" if not waits and state == "blown" else "blown" if waits and state == "answered" else state
    if to == state:
        return edited(s, whistle, "summons.told", set_now)
    if to == "blown":
        set_now["feedback_owed"] = True
    return with_step(s, whistle, "whistle.answered" if to == "answered" else "whistle.waits", to, set_now)


# ------------------------------------------------------------------------------------------------ the township answers back


def act_on_summons(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """`args.unit` names the department: its result is confirmed and rated, sent back, insisted on, or the call is withdrawn."""
    unit = str(s.mutation.args.get("unit", ""))
    summons = _of_unit(s, unit)
    if not isinstance(summons, RecordState):
        return summons
    state = str(summons.values.get("state"))
    if state not in {m.source for m in MOVED["summons"] if m.by == s.mutation.op}:
        return _not_now(merge, unit, state)
    change = _answered_back(s, summons)
    _show(merge, [change], reopens=merge.values.get("state") == "closed")
    return (change,)


def _answered_back(s: Situation, summons: RecordState) -> Change:
    op = s.mutation.op
    match op:
        case "whistle.insist":
            return recalled(s, summons, required=bool(summons.values.get("required", True)))
        case "whistle.send_back":
            names: tuple[ClockName, ...] = ("result",) if summons.values.get("required", True) else ()
            return with_step(s, summons, op, "reported_in", {"rating": None} | _anew(s, summons, names))
        case "whistle.confirm":
            return with_step(s, summons, op, "confirmed", {"rating": s.mutation.args["rating"]})
        case _:
            return with_step(s, summons, op, "cancelled", {})


def _of_unit(s: Situation, unit: UnitCode) -> RecordState | tuple[Change, ...] | Refuse:
    """The summons of a department; what to answer where there is none, or where it must be read first."""
    record = projection_id(s.state.id, unit)
    if s.tally.is_missing(record):
        return Refuse(reason=Reason.RECORD_MISSING, detail={"unit": unit})
    return s.tally.records.get(record) or ()


def call_more(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """One more department: new, called before, or so far only assisting. `args.optional`: it only assists."""
    unit, required = str(s.mutation.args.get("unit", "")), s.mutation.args.get("optional") is not True
    called = _called_too(s, merge, unit, required=required)
    if not isinstance(called, Change):
        return called
    _enter(merge, "called" if required else "optional", unit)
    _show(merge, [called])
    return (called,)


def _enter(merge: Merge, field: str, unit: UnitCode) -> None:
    units = merge.values.get(field) or []
    if unit not in units:
        merge.set({field: [*units, unit]})


def reroute(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """A justified refusal: another department is called in the place of `args.unit`, also one that was called before."""
    unit, to = str(s.mutation.args.get("unit", "")), str(s.mutation.args.get("to", ""))
    refuser = _of_unit(s, unit)
    if not isinstance(refuser, RecordState):
        return refuser
    if refuser.values.get("state") != "refused":
        return _not_now(merge, unit, str(refuser.values.get("state")))
    required = bool(refuser.values.get("required", True))
    called = _not_now(merge, to, "refused") if to == unit else _called_too(s, merge, to, required=required)
    if not isinstance(called, Change):
        return called
    gone = with_step(s, refuser, s.mutation.op, "cancelled", {})
    _enter(merge, "called" if required else "optional", to)
    _show(merge, [gone, called])
    return (gone, called)


def _called_too(s: Situation, merge: Merge, unit: UnitCode, *, required: bool) -> Change | tuple[Change, ...] | Refuse:
    refused = uncallable(s.tally, [unit])
    if refused is not None:
        return refused
    if unit not in (merge.values.get("summons") or {}):
        return _summons(s, merge, unit, required=required)
    known = _of_unit(s, unit)
    if not isinstance(known, RecordState):
        return known
    state = str(known.values.get("state"))
    if state == "cancelled":
        return recalled(s, known, required=required)
    if required and not known.values.get("required", True):
        return with_step(s, known, s.mutation.op, state, {"required": True} | _anew(s, known, RUNNING.get(state, ())))
    return _not_now(merge, unit, state)


def _not_now(merge: Merge, unit: UnitCode, state: str) -> Refuse:
    """Of one department's summons: what may be done to it now, by the department and by the township."""
    whistle = str(merge.values.get("state"))
    commands = {m.by for m in MOVED["summons"] if m.source == state and MACHINES["whistle"][m.by].accepts(whistle)}
    township = {command: who_may("whistle", command) for command in sorted(commands)}
    allowed = allowed_from("summons", state) | township
    return Refuse(reason=Reason.NOT_ALLOWED_NOW, detail={"unit": unit, "state": state, "allowed": allowed})


def dismiss(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """The whistle has ended: summonses that are still open are cancelled, and no clock of theirs runs on."""
    changes: list[Change] = []
    for unit, shown in (merge.values.get("summons") or {}).items():
        record = projection_id(s.state.id, unit)
        s.tally.is_missing(record)
        summons = s.tally.records.get(record)
        if summons is not None and shown.get("state") not in ANSWERED:
            changes.append(with_step(s, summons, s.mutation.op, "cancelled", {}))
    _show(merge, changes)
    return tuple(changes)


# ------------------------------------------------------------------------------------------------ departments hear of changes


def retold(mutation: Mutation, tally: Tally, whistle: RecordState, changed: Sequence[str]) -> tuple[Change, ...]:
    """What was corrected in a whistle that is blown is corrected in its summonses."""
    values = whistle.values
    news = {name: values.get(name) for name in SHARED if name in changed}
    if mutation.op != EDIT or not news:
        return ()
    if PLACED & news.keys():
        news |= whereabouts(tally, whistle.stream, values)
    changes: list[Change] = []
    for unit in values.get("summons") or {}:
        record = projection_id(whistle.id, unit)
        tally.is_missing(record)
        summons = tally.records.get(record)
        if summons is not None and summons.values.get("state") != "cancelled":
            changes.append(tally.edited(summons, "whistle.told", news, mutation.n))
    return tuple(changes)
