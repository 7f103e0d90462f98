"""Whole cases, by anybody, in any order, having seen anything: the rules of domain.md 4.0 hold on every way.

The rules are written here anew, from the document and not from the tables, and read only what a record shows.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.ids import RecordId, projection_id
from contracts.outcomes import Reason
from contracts.people import Role
from sync.machines import MACHINES
from tests.builders import a_creation, a_mutation, an_id, arrived, the_server
from tests.county import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A
from tests.sync.players import Deeds, Who, walked
from tests.sync.pretend_county import PretendCounty

PROBLEM = an_id(101)
OTHER = an_id(102)  # reported beside it
ASSIGNMENT = projection_id(PROBLEM, DEPARTMENT)
PEOPLE = [
    (1, Role.GRID_MEMBER, VILLAGE_A),
    (2, Role.TOWNSHIP_STAFF, TOWNSHIP),
    (3, Role.TOWNSHIP_LEAD, TOWNSHIP),
    (4, Role.DEPARTMENT_STAFF, DEPARTMENT),
    (5, Role.DEPARTMENT_LEAD, DEPARTMENT),
    (6, Role.COUNTY_SUPERVISOR, str(COUNTY)),
    (7, Role.AUDITOR, str(COUNTY)),
]
PLACE = {"lat": 32.69, "lng": 109.02, "accuracy_m": 9}
GIVEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # command -> (fields, arguments) that make it complete
    "problem.not_true": ({}, {"reason": "查无此事"}),
    "problem.reopen": ({}, {"reason": "又报"}),
    "problem.assign": ({"due_on": "2026-12-01", "leads": [DEPARTMENT]}, {}),
    "problem.return": ({"due_on": "2026-12-15"}, {"reason": "false"}),
    "problem.accept": ({}, {"position": PLACE}),
    "problem.plan_look_back": ({"look_back_on": "2027-03-01"}, {}),
    "problem.look_back": ({}, {"position": PLACE}),
    "problem.look_back_failed": ({}, {"position": PLACE, "result": "rebound"}),
    "problem.rebound": ({"due_on": "2026-12-20"}, {"reason": "rebound"}),
    "problem.suspend": ({"suspended_until": "2027-01-31"}, {"reason": "冰冻"}),
    "problem.extend": ({"due_on": "2026-12-09"}, {"reason": "雨"}),
    "problem.penalize": ({}, {"measure": "fine"}),
    "problem.remind": ({}, {"note": "将到期"}),
    "problem.supervise_on_site": ({}, {"note": "到场", "position": PLACE}),
    "problem.list": ({"listed_level": "city"}, {}),
    "problem.unlist": ({}, {"reason": "办结"}),
    "problem.link": ({}, {"other": str(OTHER)}),
    "problem.unlink": ({}, {"other": str(OTHER), "reason": "两处"}),
    "problem.feed_back": ({}, {"to": "村民", "note": "已办"}),
}

COMMANDS = sorted(MACHINES["problem"])
STEPS = [name for name in COMMANDS if MACHINES["problem"][name].to is not None]

Deed = tuple[int, int, Who, bool, bool]


def deeds() -> st.SearchStrategy[list[Deed]]:
    """(how it is chosen, which, who, on the assignment, without having seen anything newer than the creation)."""
    which = st.integers(min_value=0, max_value=10_000)
    rarely = st.sampled_from([False, False, False, True])
    deed = st.tuples(st.integers(min_value=0, max_value=9), which, st.sampled_from(PEOPLE), st.booleans(), rarely)
    return st.lists(deed, min_size=10, max_size=60)


class Played(Deeds):
    """Photos are taken before every submission, and most of them arrive. `parts`: what was submitted on an assignment, and whose that is."""

    def __init__(self) -> None:
        super().__init__(PretendCounty())
        self.photos = 0
        self.parts: dict[str, str] = {}
        self.push(PEOPLE[0], a_creation(self.next(1), PROBLEM, "problem"))
        self.push(PEOPLE[0], a_creation(self.next(1), OTHER, "problem"))

    def photo(self, who: Who, parent: Any, purpose: str) -> str:
        self.photos += 1
        record = an_id(5000 + self.photos)
        sha256 = f"{self.photos:064x}"
        creation = a_creation(self.next(who[0]), record, "photo", parent=str(parent), purpose=purpose, sha256=sha256)
        self.push(who, creation)
        if self.photos % 4:
            self.arrives(record)
        return str(record)

    def arrives(self, photo: RecordId) -> None:
        state = self.county.records.get(photo)
        if state is not None:
            noted: dict[str, tuple[Any, Any]] = {"received_at": (None, "2026-11-26T08:00:00Z")}
            self.county.push(the_server(), [arrived(a_mutation(self.next(999), photo, "photo", base=state.version, fields=noted))])

    def chosen(self, how: int, which: int) -> str:
        """Mostly a step that leads on from here, so that whole cases are walked; sometimes anything at all."""
        if how >= 8:
            return COMMANDS[which % len(COMMANDS)]
        here = [name for name in STEPS if MACHINES["problem"][name].accepts(self.problem.get("state", "draft"))]
        onward = [name for name in here if name != "problem.not_true" or how == 1]  # rarely: it ends what is to be walked
        return (onward or here or COMMANDS)[which % len(onward or here or COMMANDS)]

    def does(self, deed: Deed) -> Any:
        how, which, who, by_assignment, stale = deed
        command = self.chosen(how, which)
        own = projection_id(PROBLEM, who[2])
        shown = self.county.records.get(own)
        on_assignment = by_assignment and shown is not None and not shown.deleted
        if who[2] == DEPARTMENT and not on_assignment:
            return None  # a department sees only what is assigned to it
        target = own if on_assignment else PROBLEM
        fields, args = GIVEN.get(command, ({}, {}))
        if command == "problem.assign" and which % 3 == 0:
            fields = fields | {"leads": [DEPARTMENT, TOWNSHIP]}
        if command == "problem.accept" and which % 2:
            args = args | {"without": self.problem.get("leads", []), "reason": "已核实"}
        if command == "problem.submit_fix":
            args = {"photos": [self.photo(who, target, "after")]}
        if command == "problem.fix_on_spot":
            self.photo(who, target, "before")
            self.photo(who, target, "after")
        outcome = self.on(who, target, "assignment" if on_assignment else "problem", command, stale, fields, args)
        if on_assignment:
            self.parts[str(outcome.id)] = who[2]
        return outcome

    @property
    def problem(self) -> dict[str, Any]:
        return self.county.records[PROBLEM].values


def test_the_ways_that_are_walked_reach_the_end() -> None:
    """The properties below would be empty if random people never closed a case."""
    wanted = {"assigned", "submitted", "accepted", "closed_out", "look_back_passed", "suspended", "not_true"}
    reached: set[str] = set()

    @settings(max_examples=150, deadline=None, database=None)
    @given(deeds())
    def walk(day: list[Deed]) -> None:
        played = Played()
        for deed in day:
            played.does(deed)
        reached.update(step["to"] for step in played.problem.get("steps", []) if "to" in step)

    assert walked(walk, lambda: wanted <= reached), wanted - reached


def changes(problem: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (step for step in problem.get("steps", []) if step.get("source") != step.get("to"))


def assert_proven(played: Played) -> None:
    """What stands closed out was submitted with pictures whose bytes are there: of what each part handed in last since it was sent back."""
    problem = played.problem
    if problem.get("state") not in ("closed_out", "look_back_passed"):
        return
    here = {str(i) for i, r in played.county.records.items() if r.kind == "photo" and r.values.get("received_at")}
    since: dict[str, set[str]] = {}
    for step in problem["steps"]:
        sets = step.get("sets", {})
        if step["command"] in ("problem.return", "problem.rebound"):
            since.clear()
        if step["command"] == "problem.submit_fix":
            since |= {key: set(step["args"]["photos"]) for key in sets.get("handed_in") or [""]}
        if step["command"] == "problem.fix_on_spot":
            since["all"] = set(sets["photos"])
    parts = {unit: shown for unit, shown in since.items() if unit} or since
    assert parts and all(here & shown for shown in parts.values())


@settings(max_examples=150, deadline=None)
@given(deeds())
def test_the_rules_of_the_life_cycle_hold_on_every_way(day: list[Deed]) -> None:
    """Promises 2, 3 and 4."""
    played = Played()
    for deed in day:
        outcome = played.does(deed)
        if outcome is not None and outcome.reason is Reason.NOT_ALLOWED_NOW:
            assert outcome.detail["state"] == played.problem.get("state", "draft")
            assert all(outcome.detail["allowed"].values())
    problem = played.problem
    steps = problem.get("steps", [])
    moves = list(changes(problem))
    # the story is without a gap: every step begins where the last one ended, and the last one is where it stands
    assert all(a["to"] == b["source"] for a, b in pairwise(moves))
    assert not moves or moves[-1]["to"] == problem["state"]
    # rule 1: an assigned problem has a deadline and somebody who leads
    if problem.get("state") in ("assigned", "rectifying"):
        assert problem["due_on"]
    # rule 2: every return is counted; rule 4: a rebound reopens the record with its history, and is counted
    assert problem.get("returns", 0) == sum(s["command"] == "problem.return" for s in steps)
    assert problem.get("rebounds", 0) == sum(s["command"] == "problem.rebound" for s in steps)
    # rule 3: nothing but a close-out after an acceptance closes
    for before, after in zip([None, *moves], moves, strict=False):
        if after["to"] == "closed_out":
            assert before is not None and before["to"] == "accepted"
            assert after["command"] == "problem.close_out"
    assert_proven(played)
    # rule 6: nobody who submitted since it was last sent back accepted
    submitters: set[str] = set()
    for step in steps:
        if step["command"] in ("problem.submit_fix", "problem.fix_on_spot"):
            submitters.add(step["by"])
        if step["command"] in ("problem.return", "problem.rebound"):
            submitters.clear()
        if step["to"] == "accepted" != step["source"]:
            assert step["by"] not in submitters
    # two leads (2.5): nobody's part was forgotten by an acceptance
    assert not list(forgotten(played, steps))
    # linked, not merged: each names the other, or neither does
    other = played.county.records[OTHER].values
    for field in ("related", "suspected_duplicates", "distinct"):
        assert (str(OTHER) in problem.get(field, [])) == (str(PROBLEM) in other.get(field, []))
    played.county.assert_true()


def forgotten(played: Played, steps: list[dict[str, Any]]) -> Iterator[set[str]]:
    """The leads that had handed in nothing since it was last sent back when it was accepted, and whom nobody spared it."""
    units = {str(an_id(900 + device)): unit for device, _, unit in PEOPLE}
    leads: list[str] = []
    handed_in: set[str] = set()
    for step in steps:
        leads = step.get("sets", {}).get("leads", leads)
        if step["command"] in ("problem.return", "problem.rebound"):
            handed_in = set()
        if step["command"] == "problem.fix_on_spot":
            handed_in = set(leads)
        if step["command"] == "problem.submit_fix":
            theirs = played.parts.get(step["id"])
            handed_in |= {theirs} if theirs else {lead for lead in leads if units[step["by"]].startswith(lead)}
        if step["command"] == "problem.accept" and (missing := set(leads) - handed_in - set(step["args"].get("without", []))):
            yield missing


@settings(max_examples=60, deadline=None)
@given(deeds())
def test_an_assignment_always_shows_the_problem_as_it_is(day: list[Deed]) -> None:
    """Promise 4. Same version, same body; photos of either side are beside both."""
    played = Played()
    for deed in day:
        played.does(deed)
    records, problem = played.county.records, played.problem
    shown = records.get(ASSIGNMENT)
    if DEPARTMENT in (problem.get("leads") or []):
        assert shown is not None and not shown.deleted
        assert shown.version == records[PROBLEM].version
        assert shown.values["shown"] == problem
        assert shown.values["state"] == problem["state"]
        beside = {parent: {r.values.get("sha256") for r in records.values() if r.parent == parent} for parent in (PROBLEM, ASSIGNMENT)}
        assert beside[PROBLEM] == beside[ASSIGNMENT]
    else:
        assert shown is None or shown.deleted
