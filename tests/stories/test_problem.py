"""From a `no` on a checklist to a verified, closed-out problem: the village, the township and a department, mostly offline."""

from typing import Any
from uuid import uuid4

import pytest

from contracts.ids import RecordId, problem_id, projection_id
from contracts.outcomes import Outcome, Reason
from contracts.people import Level, Role, Unit
from phone.phone import Phone
from storage.office_push import draft, system_push
from storage.units import upsert_units
from tests.stories.day import Day, body, found, hidden, result, seen, shared_inspection, sync
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A

WATER, FOREST = "610902-water_bureau", "610902-forestry_bureau"
ASSIGN = {"due_on": "2026-12-01", "leads": [DEPARTMENT]}
CHECKED = {"position": {"lat": 32.69, "lng": 109.02, "accuracy_m": 9}}


class Case:
    """One problem under way: who works on it, and what they hold."""

    def __init__(self, day: Day, member: Phone, lead: Phone, handler: Phone, problem: RecordId) -> None:
        self.day = day
        self.member = member
        self.lead = lead
        self.handler = handler
        self.problem = problem
        self.assignment = projection_id(problem, DEPARTMENT)

    async def all_sync(self) -> None:
        await sync(self.member, self.lead, self.handler)

    async def fix(self, note: str = "已整改", *, has_arrived: bool = True) -> Any:
        """The department's handler takes a photo of the fixed state and submits it, offline, then finds signal, mostly also for the photo."""
        photo = self.handler.add_photo(self.assignment, note.encode(), purpose="after")
        made = self.handler.command(self.assignment, "problem.submit_fix", args={"photos": [str(photo)], "note": note})
        await sync(self.handler)
        if has_arrived:
            await self.day.photos_arrive()
        await self.all_sync()
        return made

    async def does(self, phone: Phone, op: str, values: dict[str, Any] | None = None, **args: Any) -> tuple[Outcome | None, str | None]:
        made = phone.command(self.problem, op, values, args=args)
        await self.all_sync()
        await self.all_sync()
        return result(phone, made)

    @property
    def state(self) -> str:
        return str(body(self.lead, self.problem)["state"])


async def opened(day: Day) -> Case:
    """A grid member answers `no` offline; the township verifies and assigns it to the housing bureau."""
    member, lead = await day.member(), await day.lead()
    handler = await day.world.phone(await day.world.person("住建经办", (Role.DEPARTMENT_STAFF, DEPARTMENT)))
    inspection = shared_inspection(member, answers={"sprinkling": {"value": "no", "note": "未洒水"}})
    member.command(inspection, "inspection.submit")
    case = Case(day, member, lead, handler, problem_id(inspection, "sprinkling"))
    await case.all_sync()
    return case


async def assigned(day: Day) -> Case:
    case = await opened(day)
    assert await case.does(case.lead, "problem.verify") == (Outcome.APPLIED, "ok")
    assert await case.does(case.lead, "problem.assign", ASSIGN) == (Outcome.APPLIED, "ok")
    return case


async def test_the_whole_way_to_close_out_and_look_back(day: Day) -> None:
    case = await assigned(day)
    assert body(case.handler, case.assignment)["due_on"] == "2026-12-01"
    assert seen(case.handler, case.assignment).version == seen(case.lead, case.problem).version
    case.handler.command(case.assignment, "problem.start")
    submitted = await case.fix()
    assert result(case.handler, submitted) == (Outcome.APPLIED, "ok")
    assert case.state == "submitted"
    assert await case.does(case.lead, "problem.accept", **CHECKED) == (Outcome.APPLIED, "ok")
    assert await case.does(case.lead, "problem.close_out", {"look_back_on": "2027-03-01"}) == (Outcome.APPLIED, "ok")
    assert await case.does(case.member, "problem.look_back", **CHECKED) == (Outcome.APPLIED, "ok")
    assert case.state == "look_back_passed"
    story = [(s["command"], s["to"]) for s in body(case.lead, case.problem)["steps"]]
    assert story == [
        ("problem.verify", "verified"),
        ("problem.assign", "assigned"),
        ("problem.start", "rectifying"),
        ("problem.submit_fix", "submitted"),
        ("problem.accept", "accepted"),
        ("problem.close_out", "closed_out"),
        ("problem.look_back", "look_back_passed"),
    ]
    assert body(case.handler, case.assignment)["state"] == "look_back_passed"


async def test_what_nobody_has_seen_a_picture_of_is_not_closed_out(day: Day) -> None:
    """Promise 10. Acceptance is on the place and does not wait for other people's uploads; the close-out does."""
    case = await assigned(day)
    await case.fix(has_arrived=False)
    assert await case.does(case.lead, "problem.accept", **CHECKED) == (Outcome.APPLIED, "ok")
    made = case.lead.command(case.problem, "problem.close_out")
    await sync(case.lead)
    told = found(case.lead, made)
    assert (told.outcome, told.reason) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    assert told.detail is not None and told.detail["needs"] == ["evidence_here"]
    assert case.state == "accepted"
    await day.photos_arrive()
    assert await case.does(case.lead, "problem.close_out") == (Outcome.APPLIED, "ok")


async def test_photos_of_both_sides_are_beside_the_problem_and_the_assignment(day: Day) -> None:
    case = await opened(day)
    before = case.member.add_photo(case.problem, b"before", purpose="before")
    await case.all_sync()
    await case.does(case.lead, "problem.verify")
    await case.does(case.lead, "problem.assign", ASSIGN)
    (shown,) = case.handler.children(case.assignment)
    assert shown.body["mirror_of"] == str(before)
    await case.fix()
    purposes = sorted(p.body["purpose"] for p in case.member.children(case.problem))
    assert purposes == ["after", "before"]


async def test_an_assignment_needs_a_deadline(day: Day) -> None:
    case = await opened(day)
    await case.does(case.lead, "problem.verify")
    made = case.lead.command(case.problem, "problem.assign", {"leads": [DEPARTMENT]})
    await case.all_sync()
    assert result(case.lead, made) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    detail = case.lead.refused()[0].detail
    assert (detail["needs"], detail["state"]) == (["due_on"], "verified")
    assert "township_lead" in detail["allowed"]["problem.assign"]


async def test_bad_rectification_goes_back_and_is_counted_and_needs_a_new_photo(day: Day) -> None:
    case = await assigned(day)
    await case.fix()
    assert await case.does(case.lead, "problem.return", reason="surface", note="只洒了门口") == (Outcome.APPLIED, "ok")
    assert (case.state, body(case.lead, case.problem)["returns"]) == ("rectifying", 1)
    old = [p.id for p in case.handler.children(case.assignment) if p.body["purpose"] == "after"]
    again = case.handler.command(case.assignment, "problem.submit_fix", args={"photos": [str(p) for p in old]})
    await case.all_sync()
    assert result(case.handler, again) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    assert result(case.handler, await case.fix("第二次整改")) == (Outcome.APPLIED, "ok")


async def test_a_word_that_is_no_reason_is_refused(day: Day) -> None:
    case = await assigned(day)
    await case.fix()
    assert await case.does(case.lead, "problem.return", reason="不好") == (Outcome.REJECTED, Reason.INCOMPLETE.value)


async def test_who_submits_does_not_accept(day: Day) -> None:
    case = await opened(day)
    await case.does(case.lead, "problem.verify")
    await case.does(case.lead, "problem.assign", {"due_on": "2026-12-01", "leads": [TOWNSHIP]})
    own = projection_id(case.problem, TOWNSHIP)
    photo = case.lead.add_photo(own, b"after", purpose="after")
    made = case.lead.command(own, "problem.submit_fix", args={"photos": [str(photo)]})
    await case.all_sync()
    assert result(case.lead, made) == (Outcome.APPLIED, "ok")
    assert await case.does(case.lead, "problem.accept", **CHECKED) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    other = await day.lead("另一位负责人")
    await sync(other)
    accepted = other.command(case.problem, "problem.accept", args=CHECKED)
    await sync(other, case.lead)
    assert result(other, accepted) == (Outcome.APPLIED, "ok")
    assert case.state == "accepted"


@pytest.mark.parametrize("measure", ["fine", "stoppage", "talk"])
async def test_a_fine_closes_nothing(day: Day, measure: str) -> None:
    case = await assigned(day)
    assert await case.does(case.lead, "problem.penalize", measure=measure) == (Outcome.APPLIED, "ok")
    assert case.state == "assigned"
    assert await case.does(case.lead, "problem.close_out") == (Outcome.REJECTED, Reason.NOT_ALLOWED_NOW.value)


async def test_a_rebound_reopens_the_same_record_with_its_history(day: Day) -> None:
    case = await assigned(day)
    await case.fix()
    await case.does(case.lead, "problem.accept", **CHECKED)
    await case.does(case.lead, "problem.close_out")
    outcome = await case.does(case.lead, "problem.rebound", {"due_on": "2026-12-20"}, reason="rebound")
    assert outcome == (Outcome.APPLIED, "ok")
    held = body(case.lead, case.problem)
    assert (held["state"], held["rebounds"], held["due_on"]) == ("rectifying", 1, "2026-12-20")
    assert [s["command"] for s in held["steps"]][-2:] == ["problem.close_out", "problem.rebound"]


async def test_a_suspension_has_a_reason_and_a_limit_and_ends_where_it_began(day: Day) -> None:
    case = await assigned(day)
    assert await case.does(case.lead, "problem.suspend", {"suspended_until": "2027-01-31"}) == (Outcome.REJECTED, "incomplete")
    done = await case.does(case.lead, "problem.suspend", {"suspended_until": "2027-01-31"}, reason="冰冻停工")
    assert (done, case.state) == ((Outcome.APPLIED, "ok"), "suspended")
    assert await case.does(case.lead, "problem.resume") == (Outcome.APPLIED, "ok")
    assert case.state == "assigned"


async def test_a_refusal_names_what_would_be_allowed_and_who_may(day: Day) -> None:
    case = await opened(day)
    assert await case.does(case.lead, "problem.accept", **CHECKED) == (Outcome.REJECTED, Reason.NOT_ALLOWED_NOW.value)
    detail = case.lead.refused()[0].detail
    assert detail["state"] == "reported"
    assert "township_lead" in detail["allowed"]["problem.verify"]


async def test_a_unit_that_is_no_longer_assigned_loses_the_assignment(day: Day) -> None:
    case = await assigned(day)
    assert case.handler.view(case.assignment) is not None
    done = await case.does(case.lead, "problem.assign", {"due_on": "2026-12-05", "leads": [TOWNSHIP]})
    assert done == (Outcome.APPLIED, "ok")
    view = case.handler.view(case.assignment)
    assert view is None or view.deleted


async def test_photos_leave_a_department_with_its_assignment_and_come_back_with_it(day: Day) -> None:
    case = await opened(day)
    case.member.add_photo(case.problem, b"before", purpose="before")
    await case.all_sync()
    await case.does(case.lead, "problem.verify")
    await case.does(case.lead, "problem.assign", ASSIGN)
    case.handler.add_photo(case.assignment, b"on the way", purpose="evidence")
    await case.all_sync()
    await case.all_sync()
    assert len(case.handler.records("photo")) == 2
    await case.does(case.lead, "problem.assign", {"due_on": "2026-12-05", "leads": [TOWNSHIP]})
    assert case.handler.records("photo") == []
    assert len(case.member.children(case.problem)) == 2
    assert await case.does(case.lead, "problem.assign", ASSIGN) == (Outcome.APPLIED, "ok")
    assert len(case.handler.children(case.assignment)) == 2


async def test_fixed_on_the_spot_is_still_an_entry_with_both_photos(day: Day) -> None:
    member, lead = await day.member(), await day.lead()
    problem = member.create("problem", COUNTY, {"unit": VILLAGE_A, "subject": "open_burning", "title": "焚烧秸秆"})
    early = member.command(problem, "problem.fix_on_spot")
    await sync(member)
    assert result(member, early) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    member.add_photo(problem, b"fire", purpose="before")
    member.add_photo(problem, b"out", purpose="after")
    made = member.command(problem, "problem.fix_on_spot")
    await sync(member, lead)
    assert result(member, made) == (Outcome.APPLIED, "ok")
    assert body(lead, problem)["state"] == "submitted"


async def test_an_archived_problem_leaves_the_department_and_comes_back_with_it(day: Day) -> None:
    case = await assigned(day)
    await case.fix()
    await case.does(case.lead, "problem.accept", **CHECKED)
    await case.does(case.lead, "problem.close_out")
    reference = await day.world.app.state.resources.units.reference()
    rows = await day.world.pool.fetch("SELECT incarnation, version FROM record WHERE id = $1", case.problem)
    archive = draft(
        kind="problem",
        record=case.problem,
        op="record.archive",
        now=day.world.time,
        mutation=uuid4(),
        base=(rows[0]["incarnation"], rows[0]["version"]),
    )
    done = await system_push(day.world.pool, reference, COUNTY, [archive], day.world.time)
    assert done.outcomes[0].outcome is Outcome.APPLIED, done.outcomes
    offline = case.lead.command(case.problem, "problem.rebound", {"due_on": "2027-01-20"}, args={"reason": "rebound"})
    await sync(case.handler)
    assert hidden(case.handler, case.assignment)
    await case.all_sync()
    await case.all_sync()
    assert result(case.lead, offline)[0] is Outcome.APPLIED
    assert body(case.handler, case.assignment)["state"] == "rectifying"


async def test_two_departments_lead_and_each_hands_in_its_part_from_an_offline_phone(day: Day) -> None:
    """景区违规建筑: two leads and one that helps (domain.md 2.5). The township clerk is told whose part is missing, and sees both sides' photos."""
    async with day.world.pool.acquire() as conn:
        for code, name in ((WATER, "区水利局"), (FOREST, "区林业局")):
            await upsert_units(conn, [Unit(code=code, county=COUNTY, parent="610902", level=Level.DEPARTMENT, name=name)])
    case = await opened(day)
    water, forest = [
        await day.world.phone(await day.world.person(name, (Role.DEPARTMENT_STAFF, unit)))
        for name, unit in (("水利", WATER), ("林业", FOREST))
    ]
    of_water, of_forest = projection_id(case.problem, WATER), projection_id(case.problem, FOREST)
    await case.does(case.lead, "problem.verify")
    await case.does(case.lead, "problem.assign", ASSIGN | {"leads": [DEPARTMENT, WATER], "supporting": [FOREST]})
    await sync(water, forest)
    made = []
    for phone, record in ((case.handler, case.assignment), (water, of_water), (forest, of_forest)):  # none of them has signal
        made.append(phone.command(record, "problem.start"))
        photo = phone.add_photo(record, str(record).encode(), purpose="after")
        made.append(phone.command(record, "problem.submit_fix", args={"photos": [str(photo)]}))
    for phone in (forest, case.handler):
        await sync(phone, case.lead)
        missing = case.lead.command(case.problem, "problem.accept", args=CHECKED)
        await sync(case.lead)
        assert result(case.lead, missing) == (Outcome.REJECTED, Reason.PARTS_MISSING.value)
    assert [one.detail["units"] for one in case.lead.refused()] == [[DEPARTMENT, WATER], [WATER]]
    await sync(water, case.lead, case.handler, forest)
    outcomes = {result(phone, one)[0] for phone in (case.handler, water, forest) for one in made if phone.find(one) is not None}
    assert outcomes <= {Outcome.APPLIED, Outcome.MERGED}
    assert body(water, of_water)["shown"]["handed_in"] == [DEPARTMENT, WATER]
    assert len(water.children(of_water)) == 3, "each sees what the others fixed"
    assert await case.does(case.lead, "problem.accept", **CHECKED) == (Outcome.APPLIED, "ok")
