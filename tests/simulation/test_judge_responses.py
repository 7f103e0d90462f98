"""The judge of weather responses: what a response asks for, object by object and day by day."""

from datetime import UTC, datetime
from typing import Any

from tests.simulator.judge_responses import judge_responses
from tests.simulator.testimony import JournalRow, ServerRecord, ServerView

COUNTY, FIELD, OFFICE = 610902, "610902001001.field", "610902.office"
NOW = datetime(2027, 3, 6, 4, tzinfo=UTC)


def record(name: str, kind: str, stream: str, body: dict[str, Any]) -> ServerRecord:
    return ServerRecord(COUNTY, name, kind, stream, 1, (1, 1), 0, None, False, None, body)


def response(*sites: str, repeats: str | None) -> ServerRecord:
    begun = {"to": "responding", "at": "2027-03-03T04:00:00Z"}
    return record("r", "response", OFFICE, {"state": "responding", "sites": list(sites), "steps": [begun], "repeats": repeats})


def check(site: str, day: str) -> ServerRecord:
    return record(f"{site} {day}", "task", FIELD, {"origin": "r", "sites": [site], "occurs_on": day, "state": "finished"})


def found(*records: ServerRecord) -> list[str]:
    there = [*records, *(record(site, "site", FIELD, {}) for site in ("a", "b"))]
    journal = [
        JournalRow(COUNTY, "d", k, 0, "change", None, r.id, "create", "applied", "ok", r.stream, 1, (1, 1), None)
        for k, r in enumerate(there)
    ]
    view = ServerView({COUNTY: 1}, {(COUNTY, r.id): r for r in there}, journal, {}, {}, {}, {}, now=NOW)
    return [violation.text for violation in judge_responses(view)]


def test_a_single_check_of_what_came_on_the_list_later_is_for_a_later_day() -> None:
    assert found(response("a", "b", repeats=None), check("a", "2027-03-03"), check("b", "2027-03-05")) == []


def test_a_single_check_is_for_no_day_before_the_response_or_after_today() -> None:
    for day in ("2027-03-02", "2027-03-07"):
        assert found(response("a", repeats=None), check("a", day)) == [f"a check for {day}, outside of 2027-03-03 to 2027-03-06"]


def test_a_second_single_check_of_one_object_is_one_too_many() -> None:
    twice = found(response("a", repeats=None), check("a", "2027-03-03"), check("a", "2027-03-05"))
    assert twice == ["a has 2 checks for the whole response"]


def test_an_object_without_its_single_check_is_noticed() -> None:
    assert found(response("a", "b", repeats=None), check("a", "2027-03-03")) == ["b is on the list, and has no check for ['2027-03-06']"]


def test_a_daily_response_asks_for_every_day_from_the_first_on() -> None:
    days = [check("a", f"2027-03-0{k}") for k in (4, 5, 6)]
    assert found(response("a", repeats="FREQ=DAILY"), *days) == []
    assert found(response("a", repeats="FREQ=DAILY"), days[0], days[2]) == ["a is on the list, and has no check for ['2027-03-05']"]
    twice = check("a", "2027-03-06"), record("again", "task", FIELD, days[2].body)
    assert found(response("a", repeats="FREQ=DAILY"), *twice) == ["a has 2 checks for 2027-03-06"]
