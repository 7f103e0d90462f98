"""What a command does to other records, in the same transaction; named in the tables of sync/machines.py.

An effect answers with changes, or with a refusal that undoes the command. It reads what `merge` says the record becomes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from contracts.ids import RecordId, UnitCode, projection_id
from contracts.kind import Step
from contracts.kinds.summons import Summons
from contracts.outcomes import Reason
from contracts.people import Audience
from contracts.rules import Duration, RuleName, WhistleRule
from sync.carrying_out import Situation, step_of
from sync.consequences import settle
from sync.decision import Change, Refuse
from sync.disclosure import disclose_problem, disclose_visit
from sync.machines import MACHINES, MOVED, allowed_from
from sync.merge import Merge, written
from sync.permission import who_may
from sync.places import stream_name, unit_of
from sync.state import RecordState, Writer

Effect: TypeAlias = Callable[[Situation, Merge], tuple[Change, ...] | Refuse]

ANSWERED = frozenset({"resulted", "confirmed", "cancelled"})  # a summons that is no longer waited for


def settle_conflict(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    return settle(s.mutation, s.sender, s.tally, merge)


def _edited(s: Situation, record: RecordState, op: str, values: dict[str, Any]) -> Change:
    """Another record with fields set by the server as a consequence of this command."""
    writer = Writer(s.tally.view.incarnation, record.version[1] + 1, s.sender.device, s.mutation.n)
    body = msgspec.json.encode(record.values | values)
    after = replace(record, version=writer.at, fields=written(record, values, writer), body=body)
    return Change(after=after, op=op, patch={"set": values})


def _with_step(s: Situation, record: RecordState, op: str, to: str, values: dict[str, Any]) -> Change:
    """As `_edited`, going to another state and leaving a step in its story."""
    before = record.values
    step: Step = step_of(s, op, str(before.get("state", "")), to)
    steps = [*before.get("steps", []), msgspec.to_builtins(step)]
    return _edited(s, record, op, values | {"state": to, "steps": steps})


# ------------------------------------------------------------------------------------------------ blowing


def summon(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """Every called department gets a summons of its own, with its clocks; nobody is called twice."""
    called, optional = list(merge.values.get("called") or []), list(merge.values.get("optional") or [])
    places, county = s.tally.view.places, s.tally.view.county
    unknown = [unit for unit in (*called, *optional) if places.county_of(unit) != county]
    if unknown:
        return Refuse(reason=Reason.UNKNOWN_UNIT, detail={"units": unknown})
    made = [_summons(s, merge, unit, required=unit in called) for unit in dict.fromkeys((*called, *optional))]
    set_in(merge, "blown_at", _iso(s.tally.view.now))
    set_in(merge, "feedback_owed", value=True)
    set_in(merge, "summons", {change.after.values["unit"]: summary_of(change.after.values) for change in made})
    return tuple(made)


def _summons(s: Situation, merge: Merge, unit: UnitCode, *, required: bool) -> Change:
    values, tally, now = merge.values, s.tally, s.tally.view.now
    rule = tally.view.rules.at(tally.view.county, RuleName.WHISTLE, now)
    clocks = tally.view.rules.body(tally.view.county, WhistleRule, now) or WhistleRule()
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
        position=values.get("position"),
        required=required,
        called_at=now,
        sign_due_at=_due(s, clocks.sign),
        report_in_due_at=_due(s, clocks.report_in),
        result_due_at=_due(s, clocks.result),
        rule_version=rule.version if rule else None,
    )
    return tally.server_made(record, "summons", stream_name(unit, Audience.FIELD), body, s.mutation.n)


def _due(s: Situation, clock: Duration | None) -> datetime | None:
    view = s.tally.view
    return None if clock is None else view.rules.calendar(view.county, view.now).add(view.now, clock)


def summary_of(summons: dict[str, Any]) -> dict[str, Any]:
    """What a whistle shows of one summons."""
    names = (
        "state", "required", "contact", "reported_in_at", "reported_in_position", "result", "refusals", "legal_basis",
        "rating", "sign_due_at", "report_in_due_at", "result_due_at",
    )  # fmt: skip
    return {name: summons[name] for name in names if summons.get(name) not in (None, "")}


# ------------------------------------------------------------------------------------------------ departments answer


def tell_whistle(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """The whistle shows how this summons stands; it is answered when every required one is."""
    whistle_id = RecordId(str(merge.values["whistle"]))
    if s.tally.is_missing(whistle_id):
        return Refuse(reason=Reason.RECORD_MISSING)
    whistle = s.tally.records.get(whistle_id)
    if whistle is None:
        return ()
    unit = str(merge.values["unit"])
    return (_whistle_after(s, whistle, {unit: summary_of(merge.values)}),)


def _whistle_after(s: Situation, whistle: RecordState, news: dict[UnitCode, dict[str, Any]]) -> Change:
    values = whistle.values
    summons = {**values.get("summons", {}), **news}
    waited_for = [unit for unit, state in summons.items() if state.get("required") and state.get("state") not in ANSWERED]
    state = str(values.get("state"))
    to = "answered" if not waited_for and state == "blown" else "blown" if waited_for and state == "answered" else state
    if to == state:
        return _edited(s, whistle, "summons.told", {"summons": summons})
    return _with_step(s, whistle, "whistle.answered" if to == "answered" else "whistle.waits", to, {"summons": summons})


# ------------------------------------------------------------------------------------------------ the township answers back


def act_on_summons(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """`args.unit` names the department: its result is confirmed and rated, sent back, insisted on, or the call is withdrawn."""
    unit = str(s.mutation.args.get("unit", ""))
    moved = [m for m in MOVED["summons"] if m.by == s.mutation.op]
    sources, to = {m.source for m in moved}, moved[0].to
    record = projection_id(s.state.id, unit)
    if s.tally.is_missing(record):
        return Refuse(reason=Reason.RECORD_MISSING, detail={"unit": unit})
    summons = s.tally.records.get(record)
    if summons is None:
        return ()
    state = str(summons.values.get("state"))
    if state not in sources:
        return _not_now(merge, unit, state)
    rating = s.mutation.args.get("rating")
    extra = {"rating": rating} if isinstance(rating, int) and 1 <= rating <= 5 else {}
    change = _with_step(s, summons, s.mutation.op, to, extra)
    news = {unit: summary_of(change.after.values)}
    set_in(merge, "summons", {**merge.values.get("summons", {}), **news})
    _settle_state(merge)
    return (change,)


def reroute(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """A justified refusal: another department is called in the place of `args.unit`."""
    unit, to = str(s.mutation.args.get("unit", "")), str(s.mutation.args.get("to", ""))
    if s.tally.view.places.county_of(to) != s.tally.view.county:
        return Refuse(reason=Reason.UNKNOWN_UNIT, detail={"unit": to})
    if to in merge.values.get("summons", {}):
        return Refuse(reason=Reason.ALREADY_SO, detail={"unit": to})
    record = projection_id(s.state.id, unit)
    if s.tally.is_missing(record):
        return Refuse(reason=Reason.RECORD_MISSING, detail={"unit": unit})
    summons = s.tally.records.get(record)
    if summons is None:
        return ()
    if summons.values.get("state") != "refused":
        return _not_now(merge, unit, str(summons.values.get("state")))
    gone = _with_step(s, summons, s.mutation.op, "cancelled", {})
    called = _summons(s, merge, to, required=bool(summons.values.get("required", True)))
    news = {unit: summary_of(gone.after.values), to: summary_of(called.after.values)}
    set_in(merge, "summons", {**merge.values.get("summons", {}), **news})
    set_in(merge, "called", [*merge.values.get("called", []), to])
    _settle_state(merge)
    return (gone, called)


def _not_now(merge: Merge, unit: UnitCode, state: str) -> Refuse:
    """Of one department's summons: what may be done to it now, by the department and by the township."""
    whistle = str(merge.values.get("state"))
    commands = {m.by for m in MOVED["summons"] if m.source == state and MACHINES["whistle"][m.by].accepts(whistle)}
    township = {command: who_may("whistle", command) for command in sorted(commands)}
    allowed = allowed_from("summons", state) | township
    return Refuse(reason=Reason.NOT_ALLOWED_NOW, detail={"unit": unit, "state": state, "allowed": allowed})


def withdraw_all(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """The whistle is withdrawn: summonses that are still open are cancelled."""
    changes: list[Change] = []
    news: dict[str, Any] = {}
    for unit, shown in merge.values.get("summons", {}).items():
        record = projection_id(s.state.id, unit)
        s.tally.is_missing(record)
        summons = s.tally.records.get(record)
        if summons is not None and shown.get("state") not in ANSWERED:
            change = _with_step(s, summons, s.mutation.op, "cancelled", {})
            changes.append(change)
            news[unit] = summary_of(change.after.values)
    set_in(merge, "summons", {**merge.values.get("summons", {}), **news})
    return tuple(changes)


def _settle_state(merge: Merge) -> None:
    """The whistle is answered, or waits again, by this very command: its own step says where it led."""
    open_ones = [
        shown for shown in merge.values.get("summons", {}).values() if shown.get("required") and shown.get("state") not in ANSWERED
    ]
    state, to = merge.values.get("state"), "blown" if open_ones else "answered"
    if state in ("blown", "answered") and state != to:
        *before, step = merge.values["steps"]
        set_in(merge, "steps", [*before, step | {"to": to}])
        set_in(merge, "state", to)


def set_in(merge: Merge, field: str, value: Any) -> None:
    merge.values[field] = merge.changed[field] = value


def _iso(moment: datetime) -> str:
    return moment.isoformat()


EFFECTS: dict[str, Effect] = {
    "settle_conflict": settle_conflict,
    "summon": summon,
    "tell_whistle": tell_whistle,
    "act_on_summons": act_on_summons,
    "reroute": reroute,
    "withdraw_all": withdraw_all,
    "disclose_visit": disclose_visit,
    "disclose_problem": disclose_problem,
}
