"""Evidence stays as its author's side gave it: the inspected village does not delete, rewrite or move what the county found there."""

from typing import Any

import msgspec
import pytest

from contracts.ids import RecordId
from contracts.outcomes import MutationOutcome, Outcome, Reason
from contracts.people import Role
from sync.decision import Sender
from tests.builders import BODIES, a_duty, a_mutation, a_sender, an_id, arrived
from tests.county import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A, VILLAGE_B
from tests.sync.pretend_county import PretendCounty

INSPECTION, PROBLEM, PHOTO, TASK, WHISTLE = (an_id(k) for k in range(701, 706))
COUNTY_MAN = a_sender(11, Role.COUNTY_SUPERVISOR, str(COUNTY))
COLLEAGUE = a_sender(12, Role.COUNTY_SUPERVISOR, str(COUNTY))
LEAD = a_sender(13, Role.TOWNSHIP_LEAD, TOWNSHIP)
VILLAGER = a_sender(14, Role.GRID_MEMBER, VILLAGE_A)
NEIGHBOUR = a_sender(15, Role.GRID_MEMBER, VILLAGE_A)
BUREAU = a_sender(16, Role.DEPARTMENT_STAFF, DEPARTMENT)


class Files:
    """A county with what one of them made; each deed is a push."""

    def __init__(self) -> None:
        self.county = PretendCounty()
        self.n: dict[Any, int] = {}

    def do(self, who: Sender, record: RecordId, kind: str, op: str, **given: Any) -> MutationOutcome:
        """`given`: of a creation its fields, else what a mutation has beside its operation."""
        self.n[who.device] = n = self.n.get(who.device, 0) + 1
        if op == "create":
            given = {"body": {**BODIES.get(kind, {}), **given}}
        else:
            given.setdefault("base", self.county.records[record].version)
        (outcome,) = self.county.push(who, [arrived(a_mutation(n, record, kind, op, **given))]).outcomes
        return outcome

    def edit(self, who: Sender, record: RecordId, kind: str, **fields: Any) -> MutationOutcome:
        now = self.county.records[record].values
        return self.do(who, record, kind, "edit", fields={name: (now.get(name), value) for name, value in fields.items()})

    def values(self, record: RecordId) -> dict[str, Any]:
        return self.county.records[record].values


def inspected(author: Sender = COUNTY_MAN, **more: Any) -> Files:
    """A submitted inspection of village A with a photo below it."""
    files = Files()
    files.do(author, INSPECTION, "inspection", "create", answers={"covering": {"value": "no"}}, **more)
    files.do(author, PHOTO, "photo", "create", parent=str(INSPECTION), caption="裸土")
    assert files.do(author, INSPECTION, "inspection", "inspection.submit").outcome is Outcome.APPLIED
    return files


REFUSED = (Outcome.REJECTED, Reason.NOT_YOURS)


def ended(outcome: MutationOutcome) -> tuple[Outcome, Reason]:
    return outcome.outcome, outcome.reason


@pytest.mark.parametrize("who", [VILLAGER, LEAD])
def test_the_inspected_side_rewrites_moves_and_deletes_no_inspection_of_the_county(who: Sender) -> None:
    files = inspected()
    before = files.values(INSPECTION), files.values(PHOTO)
    deeds = [
        files.do(who, INSPECTION, "inspection", "delete"),
        files.edit(who, INSPECTION, "inspection", **{"answers.covering": {"value": "yes"}}),
        files.edit(who, INSPECTION, "inspection", unit=VILLAGE_B),
        files.edit(who, INSPECTION, "inspection", inspectors=[str(who.person)]),
        files.do(who, INSPECTION, "inspection", "inspection.amend", fields={"answers.covering": (None, {"value": "yes"})}),
        files.do(who, INSPECTION, "inspection", "create", note="同一编号另建"),
        files.edit(who, PHOTO, "photo", caption="已覆盖"),
    ]
    assert [ended(one) for one in deeds] == [REFUSED] * 7
    assert all("county_supervisor" in one.detail["by"] and "grid_member" not in one.detail["by"] for one in deeds if one.detail)
    assert (files.values(INSPECTION), files.values(PHOTO)) == before
    assert not files.county.records[INSPECTION].deleted


def test_what_was_typed_is_kept_in_the_history() -> None:
    files = inspected()
    files.edit(VILLAGER, INSPECTION, "inspection", note="我们认为已整改")
    entries = [e for _, e in files.county.journal if e.record == INSPECTION and e.reason is Reason.NOT_YOURS]
    assert ["我们认为已整改" in (e.raw or b"").decode() for e in entries] == [True]


def test_a_desk_below_the_authors_level_does_not_release_a_change_either() -> None:
    files = inspected()
    change = a_mutation(1, INSPECTION, "inspection", base=(1, 2), fields={"note": ("", "已整改")})
    stranger = Sender(device=an_id(730), person=an_id(930), duties=())
    assert files.county.push(stranger, [arrived(change)]).outcomes[0].reason is Reason.NO_DUTY
    for releaser, ends in ((LEAD, (Outcome.QUARANTINED, Reason.NOT_YOURS)), (COLLEAGUE, (Outcome.APPLIED, Reason.RELEASED))):
        files.county.known.clear()
        files.county.held.clear()
        again = msgspec.structs.replace(arrived(change), released=True, releaser=releaser.duties, entry=2)
        assert ended(files.county.push(stranger, [again]).outcomes[0]) == ends


def test_the_inspected_side_still_comments_and_adds_photos() -> None:
    files = inspected()
    said = files.edit(VILLAGER, INSPECTION, "inspection", comments=[{"id": "c", "text": "已安排覆盖"}])
    shown = files.do(VILLAGER, an_id(720), "photo", "create", parent=str(INSPECTION), caption="覆盖后")
    assert [ended(said), ended(shown)] == [(Outcome.APPLIED, Reason.OK)] * 2
    assert ended(files.edit(VILLAGER, an_id(720), "photo", caption="覆盖后，东侧")) == (Outcome.APPLIED, Reason.OK), "their own photo"


def test_author_inspectors_and_whoever_is_on_their_level_amend() -> None:
    files = inspected(inspectors=[str(BUREAU.person)])
    assert files.values(INSPECTION)["recorded_as"] == "county_supervisor"
    bureau = Sender(device=BUREAU.device, person=BUREAU.person, duties=(a_duty(Role.TOWNSHIP_STAFF, TOWNSHIP),))
    for who in (COUNTY_MAN, COLLEAGUE, bureau):
        amended = files.do(who, INSPECTION, "inspection", "inspection.amend", fields={"note": (None, f"更正{who.device}")})
        assert ended(amended) == (Outcome.APPLIED, Reason.OK)


def test_an_author_on_another_phone_is_still_the_author() -> None:
    files = inspected()
    other_phone = msgspec.structs.replace(COUNTY_MAN, device=an_id(790), duties=(a_duty(Role.GRID_MEMBER, VILLAGE_A),))
    assert ended(files.edit(other_phone, INSPECTION, "inspection", note="补记")) == (Outcome.APPLIED, Reason.OK)


def test_a_submitted_inspection_is_deleted_by_nobody_and_a_draft_by_its_own_side() -> None:
    files = inspected()
    assert ended(files.do(COUNTY_MAN, INSPECTION, "inspection", "delete")) == (Outcome.REJECTED, Reason.NOT_ALLOWED_NOW)
    files = Files()
    files.do(COUNTY_MAN, INSPECTION, "inspection", "create")
    assert ended(files.do(VILLAGER, INSPECTION, "inspection", "delete")) == REFUSED
    assert ended(files.do(VILLAGER, INSPECTION, "inspection", "inspection.submit")) == REFUSED
    assert ended(files.do(COUNTY_MAN, INSPECTION, "inspection", "delete")) == (Outcome.APPLIED, Reason.OK)


def test_neighbours_of_one_level_go_on_with_each_others_inspection() -> None:
    files = inspected(VILLAGER)
    assert files.values(INSPECTION)["recorded_as"] == "grid_member"
    assert ended(files.edit(NEIGHBOUR, INSPECTION, "inspection", note="下午再看")) == (Outcome.APPLIED, Reason.OK)
    assert ended(files.do(LEAD, INSPECTION, "inspection", "inspection.amend")) == (Outcome.APPLIED, Reason.OK)


# ------------------------------------------------------------------------------------------------ problems


def a_problem(author: Sender, *commands: str) -> Files:
    files = Files()
    files.do(author, PROBLEM, "problem", "create")
    for command in commands:
        assert files.do(LEAD, PROBLEM, "problem", command).outcome is Outcome.APPLIED
    return files


CHANGES: dict[str, Any] = {"title": "没有问题", "severity": "minor", "description": "误报"}


def test_after_it_is_verified_only_the_office_edits_a_problem() -> None:
    files = a_problem(VILLAGER, "problem.report", "problem.verify")
    for name, value in CHANGES.items():
        assert ended(files.edit(VILLAGER, PROBLEM, "problem", **{name: value})) == REFUSED
        smuggled = files.do(VILLAGER, PROBLEM, "problem", "problem.comment", fields={name: (None, value)})
        assert ended(smuggled) == REFUSED, "no command carries it in"
    assert ended(files.edit(LEAD, PROBLEM, "problem", title="围挡缺口")) == (Outcome.APPLIED, Reason.OK)
    assert ended(files.edit(VILLAGER, PROBLEM, "problem", comments=[{"id": "c", "text": "在整改"}])) == (Outcome.APPLIED, Reason.OK)
    assert ended(files.edit(VILLAGER, PROBLEM, "problem", measures="已补围挡")) == (Outcome.APPLIED, Reason.OK), "is for who rectifies"
    photo = files.do(VILLAGER, PHOTO, "photo", "create", parent=str(PROBLEM), purpose="after")
    assert ended(photo) == (Outcome.APPLIED, Reason.OK)


def test_before_that_a_problem_is_its_authors_and_the_offices() -> None:
    files = a_problem(COUNTY_MAN, "problem.report")
    assert ended(files.edit(VILLAGER, PROBLEM, "problem", title="没有问题")) == REFUSED
    assert ended(files.edit(LEAD, PROBLEM, "problem", title="围挡缺口")) == (Outcome.APPLIED, Reason.OK)
    own = a_problem(VILLAGER, "problem.report")
    assert ended(own.edit(NEIGHBOUR, PROBLEM, "problem", title="西侧")) == (Outcome.APPLIED, Reason.OK)


def test_a_problem_that_an_inspection_opened_is_of_the_inspectors_level() -> None:
    files = inspected()
    (opened,) = [r for r in files.county.records.values() if r.kind == "problem"]
    assert opened.values["reported_as"] == "county_supervisor"
    assert ended(files.edit(VILLAGER, opened.id, "problem", title="没有问题")) == REFUSED


# ------------------------------------------------------------------------------------------------ brothers


def test_who_carries_out_a_task_does_not_set_its_deadline() -> None:
    files = Files()
    files.do(LEAD, TASK, "task", "create", due_on="2026-11-21")
    assert ended(files.edit(VILLAGER, TASK, "task", due_on="2027-11-21")) == REFUSED
    assert ended(files.do(VILLAGER, TASK, "task", "task.accept", fields={"title": (None, "别的事")})) == REFUSED
    assert ended(files.edit(VILLAGER, TASK, "task", note="下午去")) == (Outcome.APPLIED, Reason.OK)
    assert ended(files.do(VILLAGER, TASK, "task", "task.finish", fields={"result": (None, "已看")})) == (Outcome.APPLIED, Reason.OK)
    assert ended(files.do(LEAD, TASK, "task", "delete")) == (Outcome.REJECTED, Reason.NOT_ALLOWED_NOW)


def test_a_whistle_that_was_blown_is_worded_by_the_township() -> None:
    files = Files()
    files.do(VILLAGER, WHISTLE, "whistle", "create", unit=VILLAGE_A, title="夜间倾倒")
    assert ended(files.edit(VILLAGER, WHISTLE, "whistle", title="夜间倾倒渣土")) == (Outcome.APPLIED, Reason.OK)
    blown = files.do(LEAD, WHISTLE, "whistle", "whistle.blow", fields={"called": ([], [DEPARTMENT])})
    assert blown.outcome is Outcome.APPLIED, blown
    assert ended(files.edit(VILLAGER, WHISTLE, "whistle", title="没有倾倒")) == REFUSED
    assert ended(files.edit(LEAD, WHISTLE, "whistle", text="今晚")) == (Outcome.APPLIED, Reason.OK)


def test_a_conflict_about_evidence_is_not_settled_below_its_authors_level() -> None:
    """Two supervisors have answered differently; the township's desk sees it, and does not decide it."""
    files = inspected()
    for who, value in ((COUNTY_MAN, "甲"), (COLLEAGUE, "乙")):
        files.do(who, INSPECTION, "inspection", "edit", base=(1, 2), fields={"note": ("", value)})
    (conflict,) = [r.id for r in files.county.records.values() if r.kind == "conflict"]
    settled = {"args": {"choice": "lost", "record": str(INSPECTION)}}
    assert ended(files.do(LEAD, conflict, "conflict", "conflict.settle", **settled)) == REFUSED
    assert ended(files.do(COLLEAGUE, conflict, "conflict", "conflict.settle", **settled)) == (Outcome.APPLIED, Reason.OK)


# ------------------------------------------------------------------------------------------------ moves


@pytest.mark.parametrize("to", [VILLAGE_B, TOWNSHIP, DEPARTMENT])
def test_a_field_role_moves_nothing_out_of_its_own_duty(to: str) -> None:
    """It waits on the desk, which may release it."""
    files = Files()
    files.do(VILLAGER, TASK, "site", "create")
    moved = files.edit(VILLAGER, TASK, "site", unit=to)
    assert ended(moved) == (Outcome.QUARANTINED, Reason.NOT_YOUR_ROLE)
    assert (moved.detail or {})["unit"] == to
    assert "township_lead" in (moved.detail or {})["by"]
    assert files.values(TASK)["unit"] == VILLAGE_A


def test_the_office_moves_and_so_does_who_has_both_units() -> None:
    files = Files()
    files.do(VILLAGER, TASK, "site", "create")
    assert ended(files.edit(LEAD, TASK, "site", unit=DEPARTMENT)) == (Outcome.APPLIED, Reason.OK)
    files.do(VILLAGER, PHOTO, "site", "create")
    both = msgspec.structs.replace(VILLAGER, duties=(*VILLAGER.duties, a_duty(Role.GRID_MEMBER, VILLAGE_B)))
    assert ended(files.edit(both, PHOTO, "site", unit=VILLAGE_B)) == (Outcome.APPLIED, Reason.OK)


def test_a_creation_that_finds_its_record_does_not_move_it_either() -> None:
    files = Files()
    files.do(LEAD, TASK, "site", "create")
    both = files.do(VILLAGER, TASK, "site", "create", unit=VILLAGE_B)
    assert ended(both) == (Outcome.QUARANTINED, Reason.NOT_YOUR_ROLE)
