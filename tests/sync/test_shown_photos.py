"""Whoever is sent to a problem sees what is wrong: its photos and those of the item that opened it, taken before or after they were called."""

from typing import Any

import pytest

from contracts.ids import RecordId, problem_id, projection_id
from contracts.outcomes import Outcome
from contracts.people import Role
from tests.builders import a_creation, a_mutation, an_id
from tests.county import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A
from tests.sync.players import Deeds, Who
from tests.sync.pretend_county import PretendCounty

MEMBER: Who = (1, Role.GRID_MEMBER, VILLAGE_A)
LEAD: Who = (2, Role.TOWNSHIP_LEAD, TOWNSHIP)
HANDLER: Who = (3, Role.DEPARTMENT_STAFF, DEPARTMENT)
SENDER: Who = (4, Role.COUNTY_SUPERVISOR, str(COUNTY))
INSPECTION, WHISTLE = an_id(201), an_id(202)
PROBLEM = problem_id(INSPECTION, "sprinkling")
SUMMONS, ASSIGNMENT = projection_id(WHISTLE, DEPARTMENT), projection_id(PROBLEM, DEPARTMENT)


class Found(Deeds):
    """A problem that an inspection opened."""

    def __init__(self) -> None:
        super().__init__(PretendCounty())
        self.pictures = 0
        answers = {"sprinkling": {"value": "no"}, "covering": {"value": "yes"}}
        self.push(MEMBER, a_creation(self.next(1), INSPECTION, "inspection", answers=answers))
        self.does(MEMBER, INSPECTION, "inspection", "inspection.submit")

    def does(self, who: Who, record: RecordId, kind: str, command: str, fields: dict[str, Any] | None = None, **args: Any) -> None:
        outcome = self.on(who, record, kind, command, False, fields or {}, args)
        assert outcome.outcome in (Outcome.APPLIED, Outcome.MERGED), outcome

    def calls(self, how: str) -> RecordId:
        """Where the department is shown the problem from now on."""
        if how == "assignment":
            self.does(LEAD, PROBLEM, "problem", "problem.assign", {"due_on": "2026-12-01", "leads": [DEPARTMENT]})
            return ASSIGNMENT
        body = {"unit": TOWNSHIP, "title": "扬尘", "problem": str(PROBLEM)}
        self.push(LEAD, a_mutation(self.next(2), WHISTLE, "whistle", "create", body=body))
        self.does(LEAD, WHISTLE, "whistle", "whistle.blow", {"called": [DEPARTMENT]})
        return SUMMONS

    def photo(self, parent: RecordId, who: Who = MEMBER, **body: Any) -> str:
        self.pictures += 1
        made = a_creation(
            self.next(who[0]), an_id(5000 + self.pictures), "photo", parent=str(parent), sha256=f"{self.pictures:064x}", **body
        )
        assert self.push(who, made).outcome is Outcome.APPLIED
        return f"{self.pictures:064x}"

    def beside(self, parent: RecordId) -> list[str]:
        return sorted(r.values["sha256"] for r in self.county.records.values() if r.parent == parent and not r.deleted)


@pytest.mark.parametrize("how", ["assignment", "whistle"])
def test_photos_of_the_problem_and_of_its_item_are_shown_whenever_they_were_taken(how: str) -> None:
    found = Found()
    shown = [found.photo(PROBLEM), found.photo(INSPECTION, item="sprinkling")]
    found.photo(INSPECTION, item="covering")
    found.photo(INSPECTION)
    place = found.calls(how)
    assert found.beside(place) == shown, "taken before"
    shown += [found.photo(PROBLEM), found.photo(INSPECTION, item="sprinkling")]
    found.photo(INSPECTION, item="covering")
    assert found.beside(place) == sorted(shown), "taken after"
    assert {r.stream for r in found.county.records.values() if r.parent == place} == {f"{DEPARTMENT}.field"}
    assert len(found.beside(PROBLEM)) == 2, "its own unit has the inspection's where they are"
    found.county.assert_true()


def test_what_a_fix_shows_is_shown_to_those_a_whistle_called() -> None:
    found = Found()
    found.calls("whistle")
    found.calls("assignment")
    after = found.photo(ASSIGNMENT, HANDLER, purpose="after")
    assert after in found.beside(PROBLEM)
    assert after in found.beside(SUMMONS)
    late = found.photo(SUMMONS, HANDLER)
    assert found.beside(WHISTLE) == [late]
    assert late not in found.beside(PROBLEM)


def test_a_department_that_is_called_later_sees_all_of_it_once() -> None:
    found = Found()
    found.calls("whistle")
    photos = [found.photo(PROBLEM), found.photo(INSPECTION, item="sprinkling")]
    assert found.beside(SUMMONS) == sorted(photos)
    found.does(LEAD, WHISTLE, "whistle", "whistle.release", unit=DEPARTMENT, reason="另派")
    found.does(LEAD, WHISTLE, "whistle", "whistle.call", unit=DEPARTMENT, reason="仍需到场")
    assert found.beside(SUMMONS) == sorted(photos)
    assert found.county.records[PROBLEM].values["whistles"] == [str(WHISTLE)]


def test_a_photo_of_an_item_that_opened_nothing_is_shown_nowhere() -> None:
    found = Found()
    before = len(found.county.records)
    found.photo(INSPECTION, item="covering")
    assert len(found.county.records) == before + 1


@pytest.mark.parametrize(
    ("ended", "args"),
    [("whistle.release", {"unit": DEPARTMENT, "reason": "另派"}), ("whistle.withdraw", {"reason": "不归其管"})],
)
def test_a_department_that_was_dismissed_is_shown_nothing_more(ended: str, args: dict[str, Any]) -> None:
    found = Found()
    found.calls("whistle")
    shown = [found.photo(PROBLEM), found.photo(WHISTLE, LEAD)]
    found.does(LEAD, WHISTLE, "whistle", ended, **args)
    found.photo(PROBLEM)
    found.photo(INSPECTION, item="sprinkling")
    found.photo(WHISTLE, LEAD)
    assert found.beside(SUMMONS) == sorted(shown)
    found.county.assert_true()


def test_a_department_that_is_called_again_sees_what_came_meanwhile() -> None:
    found = Found()
    found.calls("whistle")
    found.does(LEAD, WHISTLE, "whistle", "whistle.release", unit=DEPARTMENT, reason="另派")
    meanwhile = [found.photo(PROBLEM), found.photo(INSPECTION, item="sprinkling"), found.photo(WHISTLE, LEAD)]
    found.does(LEAD, WHISTLE, "whistle", "whistle.call", unit=DEPARTMENT, reason="仍需到场")
    later = found.photo(PROBLEM)
    assert found.beside(SUMMONS) == sorted([*meanwhile, later])
    found.county.assert_true()


@pytest.mark.parametrize("how", ["assignment", "whistle"])
def test_photos_that_come_out_of_secrecy_are_shown_to_those_who_were_called_before(how: str) -> None:
    """One finding was disclosed and given out before the visit itself, with its photos of the item."""
    found = Found.__new__(Found)
    Deeds.__init__(found, PretendCounty())
    found.pictures, task = 0, an_id(203)
    sent: dict[str, Any] = {"title": "暗访", "unit": DEPARTMENT, "secret": True, "visit_mode": "secret_visit"}
    sent["targets"] = [{"unit": VILLAGE_A, "name": "工地"}]
    found.push(SENDER, a_mutation(found.next(4), task, "task", "create", body=sent))
    visit = {"unit": DEPARTMENT, "task": str(task), "visit_mode": "secret_visit", "answers": {"sprinkling": {"value": "no"}}}
    found.push(HANDLER, a_creation(found.next(3), INSPECTION, "inspection", **visit))
    secret = [found.photo(INSPECTION, HANDLER, item="sprinkling"), found.photo(INSPECTION, HANDLER)]
    found.does(HANDLER, INSPECTION, "inspection", "inspection.submit")
    found.does(HANDLER, task, "task", "task.finish", {"result": "已取证"})
    found.does(SENDER, PROBLEM, "problem", "problem.disclose", unit=VILLAGE_A)
    place = found.calls(how)
    assert found.beside(place) == []
    found.does(SENDER, task, "task", "task.disclose")
    assert found.beside(place) == secret[:1]
    found.county.assert_true()
