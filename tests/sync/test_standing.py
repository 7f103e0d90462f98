"""A duty that has ended permits what is proven of its time, takes what the field made of its own, and leaves the rest to the desk."""

import msgspec
import pytest

from contracts.mutation import Mutation
from contracts.outcomes import MutationOutcome, Outcome, Reason
from contracts.people import Duty, Role
from sync.clock import Interval
from sync.decision import Sender
from tests.builders import (
    NOW_MS,
    a_creation,
    a_duty,
    a_mutation,
    a_sender,
    an_edit,
    an_id,
    arrived,
    utc,
)
from tests.county import COUNTY, TOWNSHIP, VILLAGE_A, VILLAGE_B
from tests.sync.pretend_county import PretendCounty

HOUR_MS = 3_600_000
NOON_MS = NOW_MS - 2 * HOUR_MS  # when the duty ended; now it is two o'clock
PROBLEM, SITE, INSPECTION, MINE = an_id(501), an_id(502), an_id(503), an_id(504)
UNKNOWN = Interval(NOON_MS - 3 * HOUR_MS, NOW_MS)  # no session is known: some time since nine
ALL_TIMES = Interval(0, NOW_MS)
OFFICER, LIN = 8, 9


def who_left(role: Role = Role.GRID_MEMBER, unit: str = VILLAGE_A, *more: Duty) -> Sender:
    """Somebody whose duty ended at noon."""
    return Sender(device=an_id(LIN), person=an_id(900 + LIN), duties=(a_duty(role, unit, ends=utc(NOON_MS)), *more))


def a_county(captured_ms: int) -> PretendCounty:
    """With an officer's site, problem and inspection, as captured at that moment."""
    county = PretendCounty()
    officer = a_sender(OFFICER, Role.TOWNSHIP_LEAD)
    when = Interval(captured_ms, captured_ms)
    made = [a_creation(1, SITE), a_creation(2, PROBLEM, "problem"), a_creation(3, INSPECTION, "inspection")]
    reported = a_mutation(4, PROBLEM, "problem", "problem.report", base=(1, 1))
    outcomes = county.push(officer, [arrived(one, when) for one in (*made, reported)]).outcomes
    assert {one.outcome for one in outcomes} == {Outcome.APPLIED}, outcomes
    return county


def told(county: PretendCounty, sender: Sender, mutation: Mutation, when: Interval) -> MutationOutcome:
    (outcome,) = county.push(sender, [arrived(mutation, when)]).outcomes
    return outcome


MORNING_MS, AFTERNOON_MS = NOON_MS - 2 * HOUR_MS, NOON_MS + HOUR_MS


def dismissed(base: tuple[int, int] | None = (1, 2)) -> Mutation:
    return a_mutation(1, PROBLEM, "problem", "problem.not_true", base=base, args={"reason": "查无此事"})


@pytest.mark.parametrize("base", [(1, 2), (1, 1), None])
def test_a_former_supervisor_does_not_dismiss_what_was_reported_after_the_end(base: tuple[int, int] | None) -> None:
    """Whatever the phone says of its clock, and of what its owner had seen: the problem was not there before the duty ended."""
    for when in (ALL_TIMES, UNKNOWN, Interval(MORNING_MS, MORNING_MS)):
        county = a_county(AFTERNOON_MS)
        outcome = told(county, who_left(Role.COUNTY_SUPERVISOR, str(COUNTY)), dismissed(base), when)
        assert (outcome.outcome, outcome.reason) == (Outcome.QUARANTINED, Reason.NO_DUTY)


def test_a_command_on_a_record_of_others_waits_where_the_duty_covers_its_time_in_part() -> None:
    county = a_county(MORNING_MS)
    outcome = told(county, who_left(Role.COUNTY_SUPERVISOR, str(COUNTY)), dismissed(), UNKNOWN)
    assert (outcome.outcome, outcome.reason, outcome.detail) == (Outcome.QUARANTINED, Reason.DUTY_UNCERTAIN, {"unit": VILLAGE_A})
    assert county.records[PROBLEM].values["state"] == "reported"


def test_a_command_that_is_proven_to_be_of_the_dutys_time_is_taken() -> None:
    """Promise 3. What was done before the end is accepted after it."""
    county = a_county(MORNING_MS)
    when = Interval(MORNING_MS + HOUR_MS, MORNING_MS + HOUR_MS)
    outcome = told(county, who_left(Role.COUNTY_SUPERVISOR, str(COUNTY)), dismissed(), when)
    assert (outcome.outcome, outcome.detail) == (Outcome.APPLIED, None)


@pytest.mark.parametrize(
    ("mutation", "is_taken"),
    [
        pytest.param(a_creation(1, MINE, "inspection"), True, id="an inspection"),
        pytest.param(a_creation(1, MINE, "problem"), True, id="a problem"),
        pytest.param(a_creation(1, MINE, "site"), True, id="a site"),
        pytest.param(a_creation(1, MINE, "photo", parent=str(INSPECTION)), True, id="a photo below what another made"),
        pytest.param(an_edit(1, SITE, (1, 1), note=("", "别人的")), False, id="an edit of what another made"),
        pytest.param(a_mutation(1, PROBLEM, "problem", "problem.comment", base=(1, 2)), False, id="a command on what another made"),
    ],
)
def test_what_the_field_made_of_its_own_is_taken_and_flagged(mutation: Mutation, is_taken: bool) -> None:
    """Honest work around a reassignment at noon does not wait."""
    outcome = told(a_county(MORNING_MS), who_left(), mutation, UNKNOWN)
    expected = (Outcome.APPLIED, Reason.OK, {"duty": "partial"})
    held = (Outcome.QUARANTINED, Reason.DUTY_UNCERTAIN, {"unit": VILLAGE_A})
    assert (outcome.outcome, outcome.reason, outcome.detail) == (expected if is_taken else held)


def test_edits_and_commands_on_ones_own_records_are_taken_and_flagged() -> None:
    county, lin = a_county(MORNING_MS), who_left()
    made = a_creation(1, MINE, "inspection")
    filled = an_edit(2, MINE, made.id, "inspection", note=("", "东侧"))
    submitted = a_mutation(3, MINE, "inspection", "inspection.submit", base=filled.id)
    outcomes = county.push(lin, [arrived(one, UNKNOWN) for one in (made, filled, submitted)]).outcomes
    assert [(one.outcome, one.detail) for one in outcomes] == [(Outcome.APPLIED, {"duty": "partial"})] * 3
    assert county.records[MINE].values["state"] == "submitted"


def test_a_task_given_by_name_is_finished_around_the_end_and_anothers_is_not() -> None:
    county = PretendCounty()
    officer, when = a_sender(OFFICER), Interval(MORNING_MS, MORNING_MS)
    tasks = [a_creation(1, SITE, "task", assignee=str(who_left().person)), a_creation(2, PROBLEM, "task")]
    county.push(officer, [arrived(one, when) for one in tasks])
    finished = [a_mutation(k, task, "task", "task.finish", base=(1, 1)) for k, task in ((1, SITE), (2, PROBLEM))]
    reasons = [told(county, who_left(), one, UNKNOWN).reason for one in finished]
    assert reasons == [Reason.OK, Reason.DUTY_UNCERTAIN]


def test_what_the_office_alone_may_make_waits_although_it_is_new() -> None:
    """A former supervisor issues no letter in the name of the county, whenever the phone says it was."""
    body = {"unit": TOWNSHIP, "issued_by_unit": str(COUNTY), "title": "督办", "colour": "red", "subject_record": str(PROBLEM)}
    letter = a_mutation(1, MINE, "supervision", "create", body=body)
    outcome = told(a_county(MORNING_MS), who_left(Role.COUNTY_SUPERVISOR, str(COUNTY)), letter, UNKNOWN)
    assert (outcome.outcome, outcome.reason) == (Outcome.QUARANTINED, Reason.DUTY_UNCERTAIN)


def test_who_has_the_duty_now_is_not_held_up_by_not_having_had_it_before() -> None:
    """A duty that has only begun covers the interval in part, too; whoever has it can do the same again at once."""
    new = Sender(device=an_id(LIN), person=an_id(900 + LIN), duties=(a_duty(Role.GRID_MEMBER, VILLAGE_A, starts=utc(NOON_MS)),))
    outcome = told(a_county(MORNING_MS), new, an_edit(1, SITE, (1, 1), note=("", "接手")), UNKNOWN)
    assert (outcome.outcome, outcome.detail) == (Outcome.APPLIED, {"duty": "partial"})


def test_a_second_duty_elsewhere_does_not_stand_for_the_one_that_ended() -> None:
    elsewhere = a_duty(Role.GRID_MEMBER, VILLAGE_B, starts=utc(NOON_MS))
    lin = who_left(Role.GRID_MEMBER, VILLAGE_A, elsewhere)
    outcome = told(a_county(MORNING_MS), lin, an_edit(1, SITE, (1, 1), note=("", "别人的")), UNKNOWN)
    assert outcome.reason is Reason.DUTY_UNCERTAIN


@pytest.mark.parametrize("at_once", [True, False])
def test_a_chain_is_not_older_than_the_work_it_builds_on(at_once: bool) -> None:
    """The second mutation builds on the first, which was captured in the afternoon; an early clock of its own proves nothing."""
    county = a_county(MORNING_MS)
    lin = who_left(Role.COUNTY_SUPERVISOR, str(COUNTY), a_duty(Role.GRID_MEMBER, VILLAGE_A))
    first = a_mutation(1, PROBLEM, "problem", "problem.comment", base=(1, 2))
    second = msgspec.structs.replace(dismissed(None), n=2, base=first.id)
    batch = [arrived(first, Interval(AFTERNOON_MS, AFTERNOON_MS)), arrived(second, Interval(MORNING_MS, MORNING_MS))]
    plans = [county.push(lin, batch)] if at_once else [county.push(lin, [one]) for one in batch]
    reasons = [outcome.reason for plan in plans for outcome in plan.outcomes]
    assert reasons == [Reason.OK, Reason.NOT_YOUR_ROLE]


def test_the_desk_releases_what_is_uncertain() -> None:
    county = a_county(MORNING_MS)
    lin = who_left(Role.COUNTY_SUPERVISOR, str(COUNTY))
    mutation = dismissed()
    assert told(county, lin, mutation, UNKNOWN).outcome is Outcome.QUARANTINED
    county.known.clear()
    county.held.clear()
    again = msgspec.structs.replace(arrived(mutation, UNKNOWN), released=True, releaser=(a_duty(Role.TOWNSHIP_LEAD, TOWNSHIP),), entry=2)
    (outcome,) = county.push(lin, [again]).outcomes
    assert (outcome.outcome, outcome.reason) == (Outcome.APPLIED, Reason.RELEASED)


def test_nobody_looks_for_what_was_seen_where_no_ended_duty_may_count() -> None:
    """The journal is not read for people whose duties go on, nor for work after the end."""
    county = a_county(MORNING_MS)
    asked: list[object] = []
    county._floor = lambda one: asked.append(one) or 0  # type: ignore[method-assign, func-returns-value]
    open_duty = Sender(device=an_id(LIN), person=an_id(909), duties=(a_duty(Role.GRID_MEMBER, VILLAGE_A),))
    told(county, open_duty, an_edit(1, SITE, (1, 1), note=("", "一")), UNKNOWN)
    told(county, who_left(), an_edit(2, SITE, (1, 2), note=("一", "二")), Interval(NOW_MS, NOW_MS))
    assert asked == []


@pytest.mark.parametrize("fields", [{"answers.covering": (None, {"value": "yes"})}, {"unit": (VILLAGE_A, VILLAGE_B)}])
def test_an_ended_higher_duty_beside_a_present_one_neither_rewrites_nor_moves_the_work_of_others(fields: dict[str, object]) -> None:
    county = a_county(MORNING_MS)
    who = who_left(Role.COUNTY_SUPERVISOR, str(COUNTY), a_duty(Role.GRID_MEMBER, VILLAGE_A, starts=utc(NOON_MS)))
    edit = a_mutation(1, INSPECTION, "inspection", "edit", base=(1, 3), fields=fields)
    outcome = told(county, who, edit, UNKNOWN)
    assert (outcome.outcome, outcome.reason) == (Outcome.QUARANTINED, Reason.DUTY_UNCERTAIN)


def test_an_ended_higher_duty_does_not_move_a_site_of_others() -> None:
    county = a_county(MORNING_MS)
    who = who_left(Role.COUNTY_SUPERVISOR, str(COUNTY), a_duty(Role.GRID_MEMBER, VILLAGE_A, starts=utc(NOON_MS)))
    outcome = told(county, who, a_mutation(1, SITE, "site", "edit", base=(1, 1), fields={"unit": (VILLAGE_A, VILLAGE_B)}), UNKNOWN)
    assert (outcome.outcome, outcome.reason) == (Outcome.QUARANTINED, Reason.DUTY_UNCERTAIN)
