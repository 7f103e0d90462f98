"""Whole whistles, by anybody, in any order, having seen anything: what domain.md 4.1 asks for holds on every way.

The rules are written here anew, from the document and not from the tables, and read only what the records show.
"""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.ids import projection_id
from contracts.mutation import CREATE
from contracts.outcomes import Reason
from contracts.people import Level, Role, Unit
from contracts.rules import RuleName, RuleVersion
from sync.machines import MACHINES
from sync.places import Places
from sync.rules import RuleBook
from tests.builders import NOW_MS, a_mutation, an_id, utc
from tests.county import COUNTY, DEPARTMENT, TOWNSHIP, UNITS, VILLAGE_A
from tests.sync.players import Deeds, walked
from tests.sync.pretend_county import PretendCounty

WATER, FOREST = "610902-water_bureau", "610902-forestry_bureau"
BUREAUS = [DEPARTMENT, WATER, FOREST]
PLACES = Places([*UNITS, *(Unit(code=c, county=COUNTY, parent="610902", level=Level.DEPARTMENT, name=c) for c in (WATER, FOREST))])
TERMS = {"sign": {"hours": 2}, "report_in": {"hours": 4}, "result": {"hours": 24}}
RULES = RuleBook([RuleVersion(county=COUNTY, name=RuleName.WHISTLE, version=1, starts=utc(NOW_MS) - timedelta(days=1), body=TERMS)])
WHISTLE = an_id(101)
HERE = {"lat": 32.69, "lng": 109.02, "accuracy_m": 9}
DONE = {"resulted", "confirmed", "cancelled"}  # a department that nobody waits for
WAITS = {"called": ("sign", "report_in", "result"), "signed": ("report_in", "result"), "reported_in": ("result",)}
TOWNSPEOPLE = [(1, Role.GRID_MEMBER, VILLAGE_A), (2, Role.TOWNSHIP_STAFF, TOWNSHIP), (3, Role.TOWNSHIP_LEAD, TOWNSHIP)]
HANDLERS = {unit: [(10 + 2 * k, Role.DEPARTMENT_LEAD, unit), (11 + 2 * k, Role.DEPARTMENT_STAFF, unit)] for k, unit in enumerate(BUREAUS)}
OF_WHISTLE, OF_SUMMONS = sorted(MACHINES["whistle"]), sorted(MACHINES["summons"])

SELDOM = {"comment", "withdraw", "decline", "release"}  # what leads a case to its end too soon, or nowhere
ENDING = {"confirm", "feed_back", "close"}

Deed = tuple[int, int, int, int, int, bool]


def deeds() -> st.SearchStrategy[list[Deed]]:
    """(whose turn, which command, which department, which other, which person, without having seen anything newer than the beginning)."""
    some = st.integers(min_value=0, max_value=9999)
    return st.lists(st.tuples(some, some, some, some, some, st.sampled_from([False, False, True])), min_size=10, max_size=60)


class Played(Deeds):
    def __init__(self) -> None:
        super().__init__(PretendCounty(PLACES, RULES))
        self.push(TOWNSPEOPLE[0], a_mutation(self.next(1), WHISTLE, "whistle", CREATE, body={"unit": VILLAGE_A, "title": "河道倾倒渣土"}))

    def does(self, deed: Deed) -> Any:
        turn, which, department, other, person, stale = deed
        unit, to = BUREAUS[department % 3], BUREAUS[other % 3]
        if turn % 2 and (summons := self.county.records.get(projection_id(WHISTLE, unit))) is not None:
            command = self.onward("summons", OF_SUMMONS, str(summons.values.get("state")), which)
            return self.on(HANDLERS[unit][person % 2], summons.id, "summons", command, stale, *_given(command, unit, to))
        waiting = [u for u, one in self.summonses.items() if one["state"] in ("resulted", "refused")]
        if waiting and other % 4:  # mostly, a township answers whoever has come
            unit = waiting[department % len(waiting)]
        command = self.onward("whistle", OF_WHISTLE, self.whistle.get("state", "proposed"), which)
        return self.on(TOWNSPEOPLE[person % 3], WHISTLE, "whistle", command, stale, *_given(command, unit, to))

    def onward(self, kind: str, commands: list[str], state: str, which: int) -> str:
        """Mostly what leads on from here, so that whole cases are walked; sometimes anything at all."""
        here = [c for c in commands if MACHINES[kind][c].accepts(state) and c.rpartition(".")[2] not in SELDOM]
        here += [c for c in here if c.rpartition(".")[2] in ENDING] * 4
        return (here or commands)[which % len(here or commands)] if which % 10 else commands[which // 10 % len(commands)]

    @property
    def whistle(self) -> dict[str, Any]:
        return self.county.records[WHISTLE].values

    @property
    def summonses(self) -> dict[str, dict[str, Any]]:
        found = {unit: self.county.records.get(projection_id(WHISTLE, unit)) for unit in BUREAUS}
        return {unit: state.values for unit, state in found.items() if state is not None}


def _given(command: str, unit: str, to: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(fields, arguments) that make a command complete."""
    fields: dict[str, dict[str, Any]] = {
        "whistle.blow": {"called": [unit], "optional": [to] if to != unit else []},
        "summons.contact": {"contact": "陈 138"},
        "summons.result": {"result": "已清运"},
        "summons.refuse": {"legal_basis": "非本部门法定职责"},
    }
    args: dict[str, dict[str, Any]] = {"summons.report_in": {"position": HERE}, "whistle.feed_back": {"to": "甲", "note": "已清运"}}
    if command.startswith("whistle."):
        about = {"unit": unit, "to": to, "reason": "河道属水利", "rating": 4}
        return fields.get(command, {}), args.get(command, about)
    return fields.get(command, {}), args.get(command, {})


def test_the_ways_that_are_walked_reach_every_state() -> None:
    """The properties below would be empty if random people never ended a whistle."""
    wanted = {("whistle", state) for state in ("blown", "answered", "closed", "withdrawn", "declined")}
    wanted |= {("summons", state) for state in ("called", "signed", "reported_in", "resulted", "confirmed", "refused", "cancelled")}
    reached: set[tuple[str, str]] = set()

    @settings(max_examples=150, deadline=None, database=None)
    @given(deeds())
    def walk(day: list[Deed]) -> None:
        played = Played()
        for deed in day:
            played.does(deed)
        for name, values in (("whistle", played.whistle), *(("summons", one) for one in played.summonses.values())):
            reached.update((name, step["to"]) for step in values.get("steps", []) if "to" in step)

    assert walked(walk, lambda: wanted <= reached), wanted - reached


@settings(max_examples=200, deadline=None)
@given(deeds())
def test_what_a_whistle_asks_for_holds_on_every_way(day: list[Deed]) -> None:
    """Promises 2, 3 and 4."""
    played = Played()
    for deed in day:
        outcome = played.does(deed)
        if outcome is not None and outcome.reason is Reason.NOT_ALLOWED_NOW:
            assert all(outcome.detail["allowed"].values()), "somebody is named who may"
        _assert_one_picture(played.whistle, played.summonses)
    _assert_stories(played.whistle, "proposed")
    for summons in played.summonses.values():
        _assert_stories(summons, "called")
        _assert_kept(summons)
    for step in played.whistle.get("steps", []):
        assert step["command"] != "whistle.close" or step["source"] == "answered"
    played.county.assert_true()


def _assert_one_picture(whistle: dict[str, Any], summonses: dict[str, dict[str, Any]]) -> None:
    """The whistle shows its departments as they are, waits for those it must wait for, and knows what is due next."""
    shown = whistle.get("summons", {})
    for name in ("state", "result", "rating", "reported_in_at"):
        assert {u: one.get(name) or None for u, one in shown.items()} == {u: one.get(name) or None for u, one in summonses.items()}, name
    waited = [one for one in summonses.values() if one["required"] and one["state"] not in DONE]
    state = whistle.get("state", "proposed")
    assert state != "blown" or waited
    assert state not in ("answered", "closed", "withdrawn") or not waited
    due = [one[f"{clock}_due_at"] for one in waited for clock in WAITS.get(one["state"], ())]
    assert all(due), "everybody who is waited for has a term"
    assert _moment(whistle.get("due_at")) == min(map(_moment, due), default=None, key=str)
    assert state != "closed" or not whistle["feedback_owed"]
    assert state not in ("declined", "withdrawn") or whistle["feedback_owed"] or _was_told(whistle)


def _was_told(whistle: dict[str, Any]) -> bool:
    return any(step["command"] == "whistle.feed_back" for step in whistle["steps"])


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _assert_stories(values: dict[str, Any], begins: str) -> None:
    steps = values.get("steps", [])
    assert not steps or steps[0]["source"] == begins
    assert all(a["to"] == b["source"] for a, b in pairwise(steps))
    assert not steps or steps[-1]["to"] == values["state"]


def _assert_kept(summons: dict[str, Any]) -> None:
    steps = summons.get("steps", [])
    refusals = [step for step in steps if step["to"] == "refused" and step["command"] == "summons.refuse"]
    assert len(refusals) == summons.get("refusals", 0) <= 1, "once, with a legal basis"
    assert not refusals or summons["legal_basis"]
    assert summons["state"] not in ("resulted", "confirmed") or (summons["reported_in_at"] and summons["result"])
    assert (summons["state"] == "confirmed") == bool(summons.get("rating"))
    answerer = None
    for step in steps:
        answerer = step["by"] if step["command"] == "summons.result" else answerer
        assert step["command"] != "whistle.confirm" or step["by"] != answerer
