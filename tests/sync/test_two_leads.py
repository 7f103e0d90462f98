"""Two leads (domain.md 2.5): each hands in its part, in whatever order, and acceptance forgets nobody."""

from datetime import timedelta
from typing import Any

import pytest

from contracts.ids import projection_id
from contracts.outcomes import TEXT_ZH, MutationOutcome, Outcome, Reason
from contracts.rules import Duration, RemindersRule, RuleName
from sync.decision import Sender
from sync.rules import end_of
from sync.timers import reminders
from tests.builders import a_mutation, arrived, the_server
from tests.county import COUNTY, DEPARTMENT, TOWNSHIP
from tests.sync.test_problem_rules import (
    ASSIGN,
    ASSIGNMENT,
    HANDLER,
    LEAD,
    MEMBER,
    OTHER_LEAD,
    PLACE,
    PROBLEM,
    SUPERVISOR,
    Case,
    book,
    disputed,
    settled,
)

OWN = projection_id(PROBLEM, TOWNSHIP)
BOTH = {"due_on": "2026-12-01", "leads": [DEPARTMENT, TOWNSHIP]}


class Two(Case):
    """A problem that the housing bureau and the township lead together."""

    def __init__(self, **assigned: Any) -> None:
        super().__init__()
        self.pictures = 0
        self.done(LEAD, "assign", BOTH | assigned)

    def hands_in(self, sender: Sender, record: Any) -> MutationOutcome:
        self.pictures += 1
        photo = self.photo(sender, record, "after", self.pictures)
        self.arrives(photo)
        return self.does(sender, "submit_fix", record=record, photos=[photo])

    def department(self) -> None:
        assert self.hands_in(HANDLER, ASSIGNMENT).outcome is Outcome.APPLIED

    def township(self) -> None:
        assert self.hands_in(OTHER_LEAD, OWN).outcome is Outcome.APPLIED

    def missing(self, **args: Any) -> list[str]:
        """Whose part acceptance waits for; none: it was accepted."""
        outcome = self.does(LEAD, "accept", position=PLACE, **args)
        if outcome.outcome is Outcome.APPLIED:
            return []
        assert (outcome.outcome, outcome.reason, self.values["state"]) == (Outcome.REJECTED, Reason.PARTS_MISSING, "submitted")
        detail = outcome.detail or {}
        assert "problem.submit_fix" in detail["allowed"]
        return list(detail["units"])


def test_acceptance_waits_for_the_part_of_each_lead() -> None:
    case = Two()
    case.department()
    assert case.values["handed_in"] == [DEPARTMENT]
    assert case.missing() == [TOWNSHIP]
    case.department()  # once more adds nothing
    assert case.missing() == [TOWNSHIP]
    case.township()
    assert case.values["handed_in"] == [DEPARTMENT, TOWNSHIP]
    assert case.missing() == []
    assert [step["sets"]["handed_in"] for step in case.values["steps"] if step["command"] == "problem.submit_fix"] == [
        [DEPARTMENT],
        [DEPARTMENT],
        [TOWNSHIP],
    ]
    assert "牵头单位" in TEXT_ZH[Reason.PARTS_MISSING]


def test_each_may_hand_in_without_having_seen_the_other_and_in_either_order() -> None:
    for first, second in (((HANDLER, ASSIGNMENT), (OTHER_LEAD, OWN)), ((OTHER_LEAD, OWN), (HANDLER, ASSIGNMENT))):
        case = Two()
        seen = {record: case.county.records[record].version for record in (ASSIGNMENT, OWN)}
        for k, (sender, record) in enumerate((first, second)):
            photo = case.photo(sender, record, "after", k + 1)
            for op, args in (("problem.start", {}), ("problem.submit_fix", {"photos": [photo]})):
                made = a_mutation(case.next(), record, "assignment", op, base=seen[record], args=args)
                assert case.county.push(sender, [arrived(made)]).outcomes[0].outcome in (Outcome.APPLIED, Outcome.MERGED), (op, record)
        assert case.missing() == []


def test_what_only_helps_is_not_waited_for_and_is_nobodys_part() -> None:
    case = Two(leads=[TOWNSHIP], supporting=[DEPARTMENT])
    case.department()
    assert case.missing() == [TOWNSHIP]
    case.township()
    assert case.missing() == []


def test_on_the_problem_itself_it_is_the_part_of_those_its_author_serves() -> None:
    case = Two()
    assert case.hands_in(SUPERVISOR, PROBLEM).outcome is Outcome.APPLIED
    assert case.values["handed_in"] == []
    assert case.hands_in(MEMBER, PROBLEM).outcome is Outcome.APPLIED, "a village works for its township"
    assert case.missing() == [DEPARTMENT]


def test_a_part_that_is_not_needed_is_named_with_a_reason() -> None:
    case = Two()
    case.department()
    for spared in (
        {"without": [TOWNSHIP]},
        {"without": [TOWNSHIP], "reason": "  "},
        {"without": TOWNSHIP, "reason": "已拆"},
        {"reason": "已拆"},
    ):
        assert case.missing(**spared) == [TOWNSHIP]
    assert case.missing(without=[TOWNSHIP], reason="镇上部分已由住建一并拆除") == []
    assert case.values["steps"][-1]["args"]["without"] == [TOWNSHIP]


def test_fixed_on_the_spot_is_the_part_of_everybody() -> None:
    case = Two()
    case.photo(MEMBER, PROBLEM, "before", 11)
    case.photo(MEMBER, PROBLEM, "after", 12)
    case.done(MEMBER, "fix_on_spot")
    assert case.missing() == []


@pytest.mark.parametrize("sent_back", ["return", "rebound"])
def test_sent_back_everybody_hands_in_again(sent_back: str) -> None:
    case = Two()
    case.department()
    case.township()
    if sent_back == "rebound":
        assert case.missing() == []
        case.done(LEAD, "close_out")
    case.done(LEAD, sent_back, {"due_on": "2026-12-20"}, reason="false")
    assert case.values["handed_in"] == []
    case.township()
    assert case.missing() == [DEPARTMENT]
    assert case.missing(without=[DEPARTMENT], reason="其部分上次已核实") == []


def test_who_came_to_lead_by_a_settlement_hands_in_too() -> None:
    case = Case()
    conflicts = disputed(case, ASSIGN, {"due_on": "2026-12-05", "leads": [TOWNSHIP]})
    lead = case.values["leads"]
    record, sender = (ASSIGNMENT, HANDLER) if lead == [DEPARTMENT] else (OWN, OTHER_LEAD)
    case.done(sender, "submit_fix", record=record, photos=[case.photo(sender, record, "after", 1)])
    assert settled(case, conflicts["leads"], "lost").outcome is Outcome.APPLIED
    outcome = case.does(LEAD, "accept", position=PLACE)
    assert (outcome.reason, (outcome.detail or {}).get("units")) == (Reason.PARTS_MISSING, case.values["leads"])


def test_the_lead_whose_part_is_missing_may_be_given_more_time_and_is_reminded() -> None:
    case = Two()
    case.department()
    assert case.values["state"] == "submitted"
    case.done(LEAD, "extend", {"due_on": "2026-12-09"}, reason="雨")
    rules = book(RuleName.REMINDERS, RemindersRule(before=[Duration(hours=48)]))
    ends = end_of(case.subject.problem.due_on)  # type: ignore[arg-type]
    (due,) = reminders(rules, COUNTY, case.subject, ends - timedelta(hours=47))
    assert case.push(the_server(), a_mutation(case.next(), PROBLEM, "problem", due.op, args=due.args)).reason is Reason.OK
    case.township()
    assert list(reminders(rules, COUNTY, case.subject, ends - timedelta(hours=47))) == [], "nobody is waited for"


def test_what_a_settlement_chose_is_a_step_of_the_story() -> None:
    case = Case()
    conflicts = disputed(case, BOTH, {"due_on": "2026-12-01", "leads": [DEPARTMENT]})
    assert settled(case, conflicts["leads"], "lost").outcome is Outcome.APPLIED
    last = case.values["steps"][-1]
    assert (last["command"], last["source"], last["to"]) == ("conflict.settle", "assigned", "assigned")
    assert last["sets"] == {"leads": case.values["leads"]}
