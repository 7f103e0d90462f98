"""The judge of what falls due: one letter for one ground, whichever version of the rules was the first under which it was time."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

from tests.simulator.judge_timers import judge_timers
from tests.simulator.testimony import Rule, ServerRecord, ServerView

COUNTY, UNIT = 610902, "610902001"
NOW = datetime(2027, 4, 10, tzinfo=UTC)
MIDNIGHT = datetime(2027, 4, 7, 16, tzinfo=UTC)  # after the deadline, in China


def rule(version: int, starts: datetime, late_h: int) -> Rule:
    late: dict[str, Any] = {"key": "late", "colour": "white", "fact": "overdue", "after": {"hours": late_h}}
    return Rule(COUNTY, "colours", version, starts, {"triggers": [late]})


def problem(*later: dict[str, Any]) -> ServerRecord:
    at = "2027-04-07T01:00:00Z"
    step = {"command": "problem.assign", "at": at, "captured_at": at, "to": "assigned", "sets": {"due_on": "2027-04-07", "leads": [UNIT]}}
    body = {"state": "assigned", "due_on": "2027-04-07", "leads": [UNIT], "steps": [step, *later]}
    return ServerRecord(COUNTY, "p", "problem", "610902001001.field", 1, (1, 1), 0, None, False, None, body)


def letter(version: int, moment: datetime, since: datetime = MIDNIGHT) -> ServerRecord:
    grounds = {
        "rule": "colours",
        "trigger": "late",
        "fact": "overdue",
        "version": version,
        "since": since.isoformat(),
        "due_moment": moment.isoformat(),
        "facts": {},
    }
    body = {"unit": UNIT, "colour": "white", "subject_record": "p", "grounds": grounds, "issued_at": moment.isoformat()}
    return ServerRecord(COUNTY, f"l{version}", "supervision", "610902001.office", 1, (1, 1), 0, None, False, None, body)


def found(rules: list[Rule], *letters: ServerRecord, about: ServerRecord | None = None) -> list[str]:
    records = {(COUNTY, record.id): record for record in (about or problem(), *letters)}
    return [v.text for v in judge_timers(ServerView({COUNTY: 1}, records, [], {}, {}, {}, {}, rules=rules, now=NOW))]


OLD = rule(1, datetime(2027, 3, 1, tzinfo=UTC), 0)
# begins between the two moments: by the old version it is time at midnight, by the new one an hour later
NEW = rule(2, datetime(2027, 4, 7, 16, 30, tzinfo=UTC), 1)


def test_a_new_version_asks_for_no_second_letter_of_the_same_ground() -> None:
    assert found([OLD, NEW], letter(1, MIDNIGHT)) == []


def test_a_deadline_without_any_letter_is_noticed() -> None:
    assert any("has no letter" in text for text in found([OLD]))
    assert any("has no letter" in text for text in found([OLD, NEW]))


def test_a_letter_of_another_period_is_not_the_one() -> None:
    before = datetime(2027, 4, 1, 16, tzinfo=UTC)
    assert any("has no letter" in text for text in found([OLD], letter(1, before, before)))


def moved(day: str, at: str, *units: str) -> ServerRecord:
    """Another assignment, made before the deadline and taken at `at`: the deadline and the leads are others from then on."""
    before = problem().body
    sets = {"due_on": day, "leads": list(units)}
    step = {"command": "problem.assign", "at": at, "captured_at": "2027-04-07T02:00:00Z", "to": "assigned", "sets": sets}
    after = before | {"due_on": day, "leads": list(units), "steps": [*before["steps"], step]}
    return dataclasses.replace(problem(), body=after)


def test_who_is_late_already_is_not_late_anew_because_the_day_is_moved_back() -> None:
    moved_back = moved("2027-04-06", "2027-04-09T01:00:00Z", UNIT)
    assert found([OLD], letter(1, MIDNIGHT), about=moved_back) == []
    assert any("has no letter" in text for text in found([OLD], about=moved_back))


def test_who_leads_newly_is_late_from_when_it_was_assigned() -> None:
    other = moved("2027-04-06", "2027-04-09T01:00:00Z", "610902-water")
    assert any("610902-water has no letter" in text for text in found([OLD], letter(1, MIDNIGHT), about=other))


def fixed_by(command: str, at: str, captured_at: str) -> dict[str, Any]:
    return {"command": command, "at": at, "captured_at": captured_at, "sets": {"handed_in": [UNIT]}}


def test_a_fix_that_its_clock_dates_before_its_assignment_relieves_all_the_same() -> None:
    """It was taken on the assignment: the story has it later, whatever was proven of its time."""
    fix = fixed_by("problem.submit_fix", "2027-04-08T01:00:00Z", "2027-04-07T00:59:00Z")
    assert found([OLD], about=problem(fix)) == []


def test_a_fix_that_was_sent_back_before_the_deadline_relieves_nobody() -> None:
    fix = fixed_by("problem.submit_fix", "2027-04-07T02:00:00Z", "2027-04-07T02:00:00Z")
    back = {"command": "problem.return", "at": "2027-04-07T03:00:00Z", "captured_at": "2027-04-07T03:00:00Z"}
    assert len(found([OLD], about=problem(fix, back))) == 1
