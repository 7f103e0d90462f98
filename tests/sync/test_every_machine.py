"""Every kind that has states, by anybody, with or without signal, in whatever order it arrives: no way leads to an illegal state,
and whoever is refused reads what would be allowed and who may do it.

What is legal is read off the tables that docs/workflows is made from; that the tables themselves keep the rules of domain.md 4.0
is shown in test_casework.py.
"""

import itertools
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.ids import RecordId, projection_id
from contracts.kinds import KINDS
from contracts.mutation import Mutation
from contracts.outcomes import MutationOutcome, Outcome, Reason
from contracts.people import Duty, Role
from sync.decision import Sender
from sync.machines import ANY, BACK, MACHINES, MOVED
from sync.permission import who_may
from sync.words import state_now
from tests.builders import BODIES, a_duty, a_mutation, a_sender, an_id, arrived, the_server
from tests.county import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A, VILLAGE_B
from tests.sync.players import walked
from tests.sync.pretend_county import PretendCounty

UNSEEN = {"conflict"}  # opened by merges (test_plan.py), settled by one tap
MADE: dict[str, dict[str, Any]] = {
    **{kind: BODIES[kind] for kind in ("task", "inspection", "problem")},
    "notice": BODIES["notice"],
    "whistle": {"unit": TOWNSHIP, "title": "吹哨"},
    "supervision": {"unit": TOWNSHIP, "colour": "white", "title": "督办", "issued_by_unit": str(COUNTY)},
    "transfer": {"unit": str(COUNTY), "flow": "enforcement_info", "receiver": DEPARTMENT, "title": "移送"},
    "plan": {"unit": TOWNSHIP, "title": "巡查计划"},
    "response": {"unit": str(COUNTY), "title": "应急响应", "level": "yellow"},
    "campaign": {"unit": str(COUNTY), "title": "路检", "category": "road_check", "starts_on": "2026-11-02", "ends_on": "2026-11-03"},
    "draw": {"unit": str(COUNTY), "title": "抽查", "prepared_by": str(an_id(1))},
}
RECORDS: dict[str, RecordId] = {kind: an_id(300 + k) for k, kind in enumerate(MADE)}
RECORDS["summons"] = projection_id(RECORDS["whistle"], DEPARTMENT)
RECORDS["assignment"] = projection_id(RECORDS["problem"], DEPARTMENT)
RECORDS["handover"] = projection_id(RECORDS["transfer"], DEPARTMENT)
SHOWN = {"assignment": "problem", "handover": "transfer"}
STATEFUL = sorted(RECORDS.keys())
OTHER = an_id(390)


def two_duties(device: int, person: int) -> Sender:
    """A township's lead who works for a department too; on two devices."""
    duties: tuple[Duty, ...] = (a_duty(Role.TOWNSHIP_LEAD, TOWNSHIP), a_duty(Role.DEPARTMENT_STAFF, DEPARTMENT))
    return Sender(device=an_id(device), person=an_id(person), duties=duties)


CAST = [
    a_sender(1, Role.GRID_MEMBER, VILLAGE_A),
    a_sender(2, Role.TOWNSHIP_STAFF, TOWNSHIP),
    a_sender(3, Role.TOWNSHIP_LEAD, TOWNSHIP),
    a_sender(4, Role.DEPARTMENT_STAFF, DEPARTMENT),
    a_sender(5, Role.DEPARTMENT_LEAD, DEPARTMENT),
    a_sender(6, Role.COUNTY_SUPERVISOR, str(COUNTY)),
    a_sender(7, Role.AUDITOR, str(COUNTY)),
    a_sender(8, Role.GRID_MEMBER, VILLAGE_B),
    two_duties(9, 909),
    two_duties(10, 909),
]
SAMPLES: dict[str, list[Any]] = {
    "reason": ["false", "rebound", "雨", ""],
    "unit": [DEPARTMENT, VILLAGE_B, "nowhere"],
    "to": [TOWNSHIP, "村民"],
    "rating": [5, 9],
    "position": [{"lat": 32.69, "lng": 109.02}, {"lat": "x"}],
    "other": [str(OTHER), str(RECORDS["problem"]), "x"],
    "due_on": ["2026-12-01", None],
    "leads": [[DEPARTMENT], [DEPARTMENT, TOWNSHIP], ["nowhere"], []],
    "supporting": [[], [TOWNSHIP]],
    "called": [[DEPARTMENT], []],
    "optional": [[]],
    "suspended_until": ["2026-12-31", "2020-01-01"],
    "look_back_on": ["2027-03-01"],
    "listed_level": ["city", "village"],
    "measure": ["fine", "头痛"],
    "result": ["rebound", "已办"],
    "terms": [None],
    "photos": [[str(an_id(395))], []],
}
Deed = tuple[int, str, int, int, bool, bool]


def deeds() -> st.SearchStrategy[list[Deed]]:
    """(who, which kind, which of its commands, how it is filled in, whether the author saw the newest, whether there is signal)."""
    which = st.integers(0, 10_000)
    deed = st.tuples(st.integers(0, len(CAST) - 1), st.sampled_from(STATEFUL), which, which, st.booleans(), st.booleans())
    return st.lists(deed, min_size=20, max_size=90)


class Story:
    """Deeds wait on their device until it has signal."""

    def __init__(self) -> None:
        self.county = PretendCounty()
        self.n = {sender.device: itertools.count(1) for sender in CAST}
        self.waiting: dict[int, list[Mutation]] = {who: [] for who in range(len(CAST))}
        made = [a_mutation(k + 1, RECORDS[kind], kind, "create", body=body) for k, (kind, body) in enumerate(MADE.items())]
        photo = {**BODIES["photo"], "parent": str(RECORDS["problem"]), "purpose": "after", "received_at": "2026-11-26T08:00:00Z"}
        made += [a_mutation(90, OTHER, "problem", "create"), a_mutation(91, an_id(395), "photo", "create", body=photo)]
        outcomes = self.county.push(msgspec.structs.replace(the_server(), at_seal=True), [arrived(one) for one in made]).outcomes
        assert {outcome.outcome for outcome in outcomes} == {Outcome.APPLIED}, outcomes

    def does(self, deed: Deed) -> list[tuple[Mutation, MutationOutcome, str]]:
        who, kind, which, how, is_current, has_signal = deed
        record = RECORDS[kind]
        known = self.county.records.get(record)
        if known is not None:
            command = self.chosen(kind, which, how)
            may = [k for k, sender in enumerate(CAST) if {duty.role.value for duty in sender.duties} & {*who_may(kind, command)}]
            who = may[who % len(may)] if may and how % 4 else who
            n, base = next(self.n[CAST[who].device]), known.version if is_current else (1, 1)
            mine = [one for one in self.waiting[who] if one.record == record]
            self.waiting[who].append(self.filled(kind, command, how, n, mine[-1].id if mine else base))
        return self.sends(who) if has_signal else []

    def chosen(self, kind: str, which: int, how: int) -> str:
        """Mostly one that is open now; also any other."""
        table = MACHINES[SHOWN.get(kind, kind)]
        now = state_now(SHOWN.get(kind, kind), self.county.records[RECORDS[SHOWN.get(kind, kind)]].values)
        here = [name for name in sorted(table) if table[name].to is not None and table[name].accepts(now)]
        names = here if here and how % 3 else sorted(table)
        return names[which % len(names)]

    def filled(self, kind: str, command: str, how: int, n: int, base: Any) -> Mutation:
        transition = MACHINES[SHOWN.get(kind, kind)][command]
        digits = iter(str(how * 7919 + 104_729) * 5)

        def sample(name: str) -> Any:
            words = sorted(transition.choices.get(name, ())) or SAMPLES.get(name, ["甲"])
            return words[0 if int(next(digits)) < 7 else int(next(digits)) % len(words)]

        fields = {name: (None, sample(name)) for name in sorted(transition.sets)}
        names = (transition.needs | transition.choices.keys() | {"photos", "position"}) - transition.sets
        args = {name: sample(name) for name in sorted(names)}
        return a_mutation(n, RECORDS[kind], kind, transition.command, base=base, fields=fields, args=args)

    def sends(self, who: int) -> list[tuple[Mutation, MutationOutcome, str]]:
        """With the state that each mutation's record was in when it had been decided."""
        told = []
        for mutation in self.waiting[who]:  # one push each, so that a refusal can be compared with what is there
            (outcome,) = self.county.push(CAST[who], [arrived(mutation)]).outcomes
            told.append((mutation, outcome, self.state(mutation)))
        self.waiting[who] = []
        return told

    def state(self, mutation: Mutation) -> str:
        kind = SHOWN.get(mutation.kind, mutation.kind)
        return state_now(kind, self.county.records[RECORDS[kind]].values)


def words_of(kind: str) -> set[str]:
    """Every state that the tables know."""
    states = {state_now(kind, {})}
    for transition in MACHINES[kind].values():
        states |= {state for state in (*transition.sources, *transition.late_from, transition.to) if state}
    return states - {"*", BACK} | {moved.to for moved in MOVED.get(kind, ())}


def is_legal(kind: str, step: dict[str, Any]) -> bool:
    source, to, command = step.get("source", ""), step.get("to", ""), step["command"]
    transition = MACHINES[kind].get(command)
    if transition is not None and (transition.accepts(source) or source in transition.late_from):
        if to == source and (transition.to in (None, source) or (transition.late_stays and source in transition.late_from)):
            return True
        if to == transition.to or (transition.to == BACK and to in words_of(kind)):
            return True
    return any((moved.source, moved.to) == (source, to) for moved in MOVED.get(kind, ()))


def refusal_names_a_way(mutation: Mutation, outcome: MutationOutcome, state: str) -> None:
    """What would be allowed now, and by whom; or, where it is the role that is missing, whose it is."""
    detail, kind = outcome.detail or {}, SHOWN.get(mutation.kind, mutation.kind)
    if outcome.reason is Reason.NOT_YOUR_ROLE:
        assert detail["by"] == (who_may(mutation.kind, mutation.op) or who_may(kind, mutation.op))
        return
    if outcome.reason is Reason.NOT_YOURS:
        assert (detail["op"], bool(detail["by"])) == (mutation.op, True)
        return
    allowed = detail["allowed"]
    assert all(by for by in allowed.values()), allowed
    if "unit" not in detail:  # of one department's summons: told of the summons
        assert detail["state"] == state
        open_to = {name for name, t in MACHINES[kind].items() if t.accepts(state) and "still_secret" not in t.guards}
        assert set(allowed) == open_to
        assert all(by == who_may(kind, name) for name, by in allowed.items())


def judge(told: Iterable[tuple[Mutation, MutationOutcome, str]]) -> None:
    for mutation, outcome, state in told:
        if outcome.outcome is Outcome.REJECTED:
            refusal_names_a_way(mutation, outcome, state)


@settings(max_examples=120, deadline=None)
@given(deeds(), st.permutations(range(len(CAST))))
def test_no_way_leads_to_an_illegal_state_and_every_refusal_names_one_that_is_open(day: list[Deed], home: list[int]) -> None:
    """Promises 2, 3 and 7."""
    story = Story()
    for deed in day:
        judge(story.does(deed))
    for who in home:  # whoever had no signal comes home in any order
        judge(story.sends(who))
    for kind, record in RECORDS.items():
        found = story.county.records.get(record)
        if found is None or kind in SHOWN:
            continue
        values = found.values
        assert state_now(kind, values) in words_of(kind), (kind, values.get("state"))
        assert msgspec.json.decode(found.body, type=KINDS[kind].body) is not None
        steps = [step for step in values.get("steps", []) if step["command"] in MACHINES[kind] or step.get("source") != step.get("to")]
        for step in steps:
            assert is_legal(kind, step), (kind, step)
        moves = [step for step in steps if step.get("source", "") != step.get("to", "")]
        assert all(a["to"] == b["source"] for a, b in pairwise(moves)), (kind, moves)
        assert not moves or moves[-1]["to"] == state_now(kind, values), kind
    story.county.assert_true()


STRANGE: list[Any] = [["false"], {"reason": "false"}, [["x"]], 1, 1.5, True, None, "\u0000", "9999-99-99", "x" * 5000, 10**30]


@pytest.mark.parametrize("kind", sorted(set(MACHINES) - UNSEEN))
def test_whatever_a_command_brings_it_is_judged_and_not_tripped_over(kind: str) -> None:
    """Promise 3. Every argument and field that any command looks at, with values of every wrong sort, in a state that allows the command."""
    names = {"photos", "position", "inspection", "without", "result", "to", "unit", "rating", "other", "value", "limit", "note", "reason"}
    for command, transition in MACHINES[kind].items():
        story, record = Story(), RECORDS[kind]
        if record not in story.county.records:  # a summons: there is one when a whistle is blown
            lead = CAST[2]
            blown = a_mutation(70, RECORDS["whistle"], "whistle", "whistle.blow", base=(1, 1), fields={"called": (None, [DEPARTMENT])})
            story.county.push(lead, [arrived(blown)])
        stands = story.county.records[record]
        state = next((one for one in sorted(transition.sources) if one != ANY), state_now(kind, stands.values))
        story.county.records[record] = msgspec.structs.replace(stands, body=msgspec.json.encode(stands.values | {"state": state}))
        for n, strange in enumerate(STRANGE, start=100):
            fields = dict.fromkeys(sorted(transition.sets), (None, strange))
            args = dict.fromkeys(names | transition.needs | transition.choices.keys() - transition.sets, strange)
            for sender in CAST:
                made = a_mutation(n, record, kind, command, id=an_id(hash((command, n, sender.device)) % 10**12), fields=fields, args=args)
                story.county.plan(sender, [arrived(made)])


def test_every_kind_with_states_is_walked() -> None:
    """A new kind with states gets a line in MADE."""
    assert set(MACHINES) - UNSEEN == set(RECORDS) - SHOWN.keys()


def test_the_ways_that_are_walked_reach_most_states() -> None:
    """The property above would be empty if random people never got anywhere."""
    reached: dict[str, set[str]] = {}

    @settings(max_examples=150, deadline=None, database=None)
    @given(deeds())
    def walk(day: list[Deed]) -> None:
        story = Story()
        for deed in day:
            for mutation, _, state in story.does(deed):
                reached.setdefault(mutation.kind, set()).add(state)

    kinds = set(MACHINES) - UNSEEN - {"draw", "plan"}  # whose commands need more than chance gives
    assert walked(walk, lambda: all(len(reached.get(kind, ())) >= min(3, len(words_of(kind))) for kind in kinds)), reached
