"""Enforcement information between departments (domain.md 4.12, flow d): to whom it goes, and what of it."""

from datetime import date
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.ids import projection_id
from contracts.mutation import CREATE
from contracts.outcomes import MutationOutcome, Outcome, Reason
from contracts.people import Level, Role, Unit
from sync.places import Places
from tests.builders import BODIES, a_mutation, a_sender, an_id, arrived
from tests.county import COUNTY, DEPARTMENT, TOWNSHIP, UNITS
from tests.sync.players import Deeds, Who
from tests.sync.pretend_county import PretendCounty

WATER = "610902-water_bureau"
TEAM = f"{DEPARTMENT}-t1"
TRANSFER, PROBLEM, WHISTLE = an_id(101), an_id(102), an_id(103)
BUREAU: Who = (1, Role.DEPARTMENT_LEAD, DEPARTMENT)


def county(closed_on: date | None = None) -> Deeds:
    water = Unit(code=WATER, county=COUNTY, parent="610902", level=Level.DEPARTMENT, name="区水利局", closed_on=closed_on)
    return Deeds(PretendCounty(Places([*UNITS, water])))


def sent(deeds: Deeds, **more: Any) -> MutationOutcome:
    body = {"unit": DEPARTMENT, "flow": "enforcement_info", "receiver": "water_bureau", "title": "擅自改变河道", **more}
    outcome = deeds.push(BUREAU, a_mutation(deeds.next(1), TRANSFER, "transfer", CREATE, body=body))
    for op in ("transfer.approve", "transfer.send"):
        assert outcome.outcome is Outcome.APPLIED, outcome
        outcome = deeds.on(BUREAU, TRANSFER, "transfer", op, False, {}, {})
    return outcome


def test_it_is_not_sent_to_a_department_that_was_closed() -> None:
    deeds = county(date(2026, 1, 1))
    outcome = sent(deeds)
    assert (outcome.outcome, outcome.reason) == (Outcome.REJECTED, Reason.UNIT_CLOSED)
    assert (outcome.detail or {})["units"] == [WATER]
    assert deeds.county.records[TRANSFER].values["state"] == "approved"
    assert projection_id(TRANSFER, WATER) not in deeds.county.records


@pytest.mark.parametrize("secret", [False, True])
def test_it_names_no_problem_of_an_unannounced_visit(secret: bool) -> None:
    deeds = county()
    found = BODIES["problem"] | {"unit": DEPARTMENT, "secret": secret}
    assert deeds.push(BUREAU, a_mutation(deeds.next(1), PROBLEM, "problem", CREATE, body=found)).outcome is Outcome.APPLIED
    assert sent(deeds, problem=str(PROBLEM)).outcome is Outcome.APPLIED
    handover = deeds.county.records[projection_id(TRANSFER, WATER)]
    assert handover.stream == f"{WATER}.office"
    assert handover.values["problem"] == (None if secret else str(PROBLEM))
    assert (str(PROBLEM) in handover.body.decode()) is not secret
    assert handover.version == deeds.county.records[TRANSFER].version
    deeds.county.assert_true()


@pytest.mark.parametrize(("how", "named"), [("leads", "problem"), ("supporting", "problem"), ("summons", "whistle"), ("nobody", "problem")])
def test_from_a_console_it_names_what_is_shown_to_a_team_below_its_author(how: str, named: str) -> None:
    """And nothing that is shown to others."""
    team = Unit(code=TEAM, county=COUNTY, parent=DEPARTMENT, level=Level.TEAM, name="一队")
    deeds = Deeds(PretendCounty(Places([*UNITS, team])))
    lead: Who = (2, Role.TOWNSHIP_LEAD, TOWNSHIP)
    deeds.push(lead, a_mutation(deeds.next(2), PROBLEM, "problem", CREATE, body=BODIES["problem"]))
    deeds.on(lead, PROBLEM, "problem", "problem.report", False, {}, {})
    deeds.push(lead, a_mutation(deeds.next(2), WHISTLE, "whistle", CREATE, body={"unit": TOWNSHIP, "title": "偷排"}))
    leads = {"leads": [TEAM]} if how == "leads" else {"leads": [TOWNSHIP], "supporting": [TEAM] if how == "supporting" else []}
    deeds.on(lead, PROBLEM, "problem", "problem.assign", False, {"due_on": "2026-12-01", **leads}, {})
    if how == "summons":
        deeds.on(lead, WHISTLE, "whistle", "whistle.blow", False, {"called": [TEAM]}, {})
    record = PROBLEM if named == "problem" else WHISTLE
    assert (projection_id(record, TEAM) in deeds.county.records) is (how != "nobody")
    body = {"unit": DEPARTMENT, "flow": "enforcement_info", "receiver": "water_bureau", "title": "线索", named: str(record)}
    console = replace(a_sender(1, Role.DEPARTMENT_LEAD, DEPARTMENT), waits=True)
    (outcome,) = deeds.county.push(console, [arrived(a_mutation(deeds.next(1), TRANSFER, "transfer", CREATE, body=body))]).outcomes
    expected = (Outcome.QUARANTINED, Reason.RECORD_MISSING) if how == "nobody" else (Outcome.APPLIED, Reason.OK)
    assert (outcome.outcome, outcome.reason) == expected


def test_approved_and_not_to_be_sent_any_more_it_is_declined_with_the_reason() -> None:
    deeds = county(date(2026, 1, 1))
    assert sent(deeds).reason is Reason.UNIT_CLOSED
    assert deeds.on(BUREAU, TRANSFER, "transfer", "transfer.decline", False, {}, {}).reason is Reason.INCOMPLETE
    outcome = deeds.on(BUREAU, TRANSFER, "transfer", "transfer.decline", False, {}, {"reason": "接收部门已撤并，另行移交"})
    assert (outcome.outcome, deeds.county.records[TRANSFER].values["state"]) == (Outcome.APPLIED, "declined")
    assert deeds.on(BUREAU, TRANSFER, "transfer", "transfer.send", False, {}, {}).reason is Reason.NOT_ALLOWED_NOW


@pytest.mark.parametrize(
    ("receiver", "from_console", "from_phone"),
    [
        ("610903-env_bureau", Reason.UNKNOWN_UNIT, Reason.OK),
        ("610902-no_bureau", Reason.UNKNOWN_UNIT, Reason.OK),
        (WATER, Reason.OK, Reason.OK),
        ("water_bureau", Reason.OK, Reason.OK),
        ("peoples_court", Reason.OK, Reason.OK),
    ],
)
def test_a_console_sends_no_information_to_a_unit_that_there_is_none_of(receiver: str, from_console: Reason, from_phone: Reason) -> None:
    deeds = county()
    body = {"unit": DEPARTMENT, "flow": "enforcement_info", "receiver": receiver, "title": "线索"}
    for k, (waits, expected) in enumerate(((True, from_console), (False, from_phone))):
        made = arrived(a_mutation(deeds.next(1), an_id(300 + k), "transfer", CREATE, body=body))
        (outcome,) = deeds.county.push(replace(a_sender(1, Role.DEPARTMENT_LEAD, DEPARTMENT), waits=waits), [made]).outcomes
        assert outcome.reason is expected, waits
