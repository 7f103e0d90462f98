"""What the rules of a problem's life cycle ask of proof, of terms and of links, one case each (domain.md 2.5, 4.0, 4.5 to 4.7)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from contracts.ids import problem_id, projection_id
from contracts.kinds.problem import Problem
from contracts.outcomes import MutationOutcome, Outcome, Reason
from contracts.people import Role
from contracts.rules import Duration, LookBackRule, RemindersRule, RuleName, RuleVersion
from sync.clock import Interval
from sync.decision import Sender
from sync.due import Subject
from sync.rules import RuleBook, end_of
from sync.timers import look_backs, reminders, resumptions
from tests.builders import BODIES, NOW_MS, a_creation, a_duty, a_mutation, a_sender, an_edit, an_id, arrived, the_server, utc
from tests.county import COUNTY, DEPARTMENT, MORNING, TOWNSHIP, VILLAGE_A, VILLAGE_B
from tests.sync.pretend_county import PretendCounty

PROBLEM, ASSIGNMENT = an_id(101), projection_id(an_id(101), DEPARTMENT)
MEMBER = a_sender(1, Role.GRID_MEMBER, VILLAGE_A)
LEAD, OTHER_LEAD = a_sender(3, Role.TOWNSHIP_LEAD, TOWNSHIP), a_sender(4, Role.TOWNSHIP_LEAD, TOWNSHIP)
HANDLER = a_sender(5, Role.DEPARTMENT_STAFF, DEPARTMENT)
SUPERVISOR = a_sender(6, Role.COUNTY_SUPERVISOR, str(COUNTY))
PLACE = {"lat": 32.69, "lng": 109.02, "accuracy_m": 9}
ASSIGN = {"due_on": "2026-12-01", "leads": [DEPARTMENT]}


class Case:
    """One problem, and whoever does something to it."""

    def __init__(self, **body: Any) -> None:
        self.county = PretendCounty()
        self.n = 0
        self.push(MEMBER, a_creation(self.next(), PROBLEM, "problem", **body))
        self.does(MEMBER, "report")

    def next(self) -> int:
        self.n += 1
        return self.n

    def push(self, sender: Sender, mutation: Any) -> MutationOutcome:
        (outcome,) = self.county.push(sender, [arrived(mutation)]).outcomes
        return outcome

    def does(
        self, sender: Sender, command: str, fields: dict[str, Any] | None = None, record: Any = PROBLEM, **args: Any
    ) -> MutationOutcome:
        shown = self.county.records[record]
        pairs = {name: (None, value) for name, value in (fields or {}).items()}
        made = a_mutation(self.next(), record, shown.kind, f"problem.{command}", base=shown.version, fields=pairs, args=args)
        return self.push(sender, made)

    def done(self, sender: Sender, command: str, fields: dict[str, Any] | None = None, record: Any = PROBLEM, **args: Any) -> None:
        outcome = self.does(sender, command, fields, record, **args)
        assert outcome.outcome in (Outcome.APPLIED, Outcome.MERGED), outcome

    def photo(self, sender: Sender, parent: Any, purpose: str, picture: int, **body: Any) -> str:
        record = an_id(5000 + self.n)
        made = a_creation(self.next(), record, "photo", parent=str(parent), purpose=purpose, sha256=f"{picture:064x}", **body)
        assert self.push(sender, made).outcome is Outcome.APPLIED
        return str(record)

    def arrives(self, photo: str) -> None:
        """Its bytes are on the server, which notes it."""
        state = self.county.records[msgspec.convert(photo, type(PROBLEM))]
        noted = {"received_at": (None, utc(NOW_MS).isoformat())}
        self.push(the_server(), a_mutation(self.next(), state.id, "photo", base=state.version, fields=noted))

    def submitted(self, picture: int = 1) -> str:
        self.done(LEAD, "assign", ASSIGN)
        photo = self.photo(HANDLER, ASSIGNMENT, "after", picture)
        self.done(HANDLER, "submit_fix", record=ASSIGNMENT, photos=[photo])
        return photo

    def closed(self) -> None:
        self.arrives(self.submitted())
        self.done(LEAD, "accept", position=PLACE)
        self.done(LEAD, "close_out")

    @property
    def values(self) -> dict[str, Any]:
        return self.county.records[PROBLEM].values

    @property
    def subject(self) -> Subject:
        return Subject(id=PROBLEM, unit=VILLAGE_A, problem=msgspec.convert(self.values, Problem, strict=False))


def needs(outcome: MutationOutcome) -> list[str]:
    assert (outcome.outcome, outcome.reason) == (Outcome.REJECTED, Reason.INCOMPLETE), outcome
    assert outcome.detail is not None
    return list(outcome.detail["needs"])


# ------------------------------------------------------------------------------------------------ proof


def test_the_same_picture_announced_again_is_no_new_after_photo() -> None:
    case = Case()
    first = case.submitted(picture=1)
    case.done(LEAD, "return", {"due_on": "2026-12-09"}, reason="false")
    again = case.photo(HANDLER, ASSIGNMENT, "after", 1)
    assert needs(case.does(HANDLER, "submit_fix", record=ASSIGNMENT, photos=[again])) == ["new_after_photo"]
    mirror = projection_id(msgspec.convert(first, type(PROBLEM)), str(PROBLEM))
    assert str(mirror) in {str(r.id) for r in case.county.records.values() if r.parent == PROBLEM}
    assert needs(case.does(MEMBER, "submit_fix", photos=[str(mirror)])) == ["new_after_photo"]
    fresh = case.photo(HANDLER, ASSIGNMENT, "after", 2)
    case.done(HANDLER, "submit_fix", record=ASSIGNMENT, photos=[fresh])


def test_the_picture_of_the_problem_is_no_picture_of_its_fix() -> None:
    case = Case()
    case.photo(MEMBER, PROBLEM, "before", 1)
    case.done(LEAD, "assign", ASSIGN)
    photo = case.photo(HANDLER, ASSIGNMENT, "after", 1)
    assert needs(case.does(HANDLER, "submit_fix", record=ASSIGNMENT, photos=[photo])) == ["new_after_photo"]


def test_fixed_on_the_spot_needs_two_pictures_and_takes_the_one_beside_the_item() -> None:
    case = Case()
    case.photo(MEMBER, PROBLEM, "before", 1)
    case.photo(MEMBER, PROBLEM, "after", 1)
    assert needs(case.does(MEMBER, "fix_on_spot")) == ["before_and_after"]
    inspection = an_id(200)
    opened = problem_id(inspection, "sprinkling")
    case.push(MEMBER, a_creation(case.next(), inspection, "inspection", answers={"sprinkling": {"value": "no"}}))
    case.photo(MEMBER, inspection, "evidence", 3, item="sprinkling")
    case.photo(MEMBER, inspection, "evidence", 5, item="covering")
    case.push(MEMBER, a_mutation(case.next(), inspection, "inspection", "inspection.submit", base=(1, 1)))
    case.photo(MEMBER, opened, "after", 5)
    case.done(MEMBER, "fix_on_spot", record=opened)
    step = case.county.records[opened].values["steps"][-1]
    assert len(step["sets"]["photos"]) == 1, "what was shown then is no new photo after a return"


def test_nothing_is_closed_out_before_the_picture_of_its_fix_is_on_the_server() -> None:
    """Promise 10. Announced is not enough; accepting is, for whoever accepts was on the place."""
    case = Case()
    photo = case.submitted()
    case.done(LEAD, "accept", position=PLACE)
    assert needs(case.does(LEAD, "close_out")) == ["evidence_here"]
    case.arrives(photo)
    case.done(LEAD, "close_out")


def test_a_picture_that_was_sent_back_is_no_proof_of_the_next_fix() -> None:
    case = Case()
    case.arrives(case.submitted(1))
    case.done(LEAD, "return", {"due_on": "2026-12-09"}, reason="false")
    second = case.photo(HANDLER, ASSIGNMENT, "after", 2)
    case.done(HANDLER, "submit_fix", record=ASSIGNMENT, photos=[second])
    case.done(LEAD, "accept", position=PLACE)
    assert needs(case.does(LEAD, "close_out")) == ["evidence_here"]
    case.arrives(second)
    case.done(LEAD, "close_out")


def test_every_submission_that_stands_is_proven_or_the_close_out_names_a_picture_that_is_there() -> None:
    """A phone that drowned with its pictures keeps no case open for ever: somebody shows the fixed state anew."""
    case = Case()
    case.arrives(case.submitted(1))
    drowned = case.photo(HANDLER, ASSIGNMENT, "after", 2)
    case.done(HANDLER, "submit_fix", record=ASSIGNMENT, photos=[drowned])
    case.done(LEAD, "accept", position=PLACE)
    anew = case.photo(LEAD, PROBLEM, "after", 3)
    assert needs(case.does(LEAD, "close_out")) == ["evidence_here"]
    assert needs(case.does(LEAD, "close_out", photos=[anew])) == ["evidence_here"], "announced, as the others are"
    case.arrives(anew)
    case.done(LEAD, "close_out", photos=[anew])


def test_a_close_out_names_no_picture_of_what_others_handed_in_or_of_the_fix_before() -> None:
    """Else the picture of one lead would stand for that of the other, and a spare one of a false fix for the next."""
    case = Case()
    case.done(LEAD, "assign", ASSIGN)
    spare = case.photo(HANDLER, ASSIGNMENT, "after", 9)
    first = case.photo(HANDLER, ASSIGNMENT, "after", 1)
    case.arrives(spare)
    case.arrives(first)
    case.done(HANDLER, "submit_fix", record=ASSIGNMENT, photos=[first])
    case.done(LEAD, "return", {"due_on": "2026-12-09"}, reason="false")
    missing = case.photo(HANDLER, ASSIGNMENT, "after", 2)
    case.done(HANDLER, "submit_fix", record=ASSIGNMENT, photos=[missing])
    case.done(LEAD, "accept", position=PLACE)
    for named in (first, spare, missing):
        assert needs(case.does(LEAD, "close_out", photos=[named])) == ["evidence_here"]


def test_what_a_part_handed_in_last_stands_for_what_it_handed_in_before() -> None:
    """A phone drowned with the first picture; the same bureau hands in again."""
    case = Case()
    case.submitted(1)
    second = case.photo(HANDLER, ASSIGNMENT, "after", 2)
    case.done(HANDLER, "submit_fix", record=ASSIGNMENT, photos=[second])
    case.arrives(second)
    case.done(LEAD, "accept", position=PLACE)
    case.done(LEAD, "close_out")


def test_refused_bytes_prove_nothing() -> None:
    case = Case()
    photo = case.submitted()
    case.arrives(photo)
    state = case.county.records[msgspec.convert(photo, type(PROBLEM))]
    refused = {"refused": (None, "photo_not_an_image")}
    case.push(the_server(), a_mutation(case.next(), state.id, "photo", base=state.version, fields=refused))
    case.done(LEAD, "accept", position=PLACE)
    assert needs(case.does(LEAD, "close_out")) == ["evidence_here"]


def test_nobody_but_the_server_says_that_bytes_are_there() -> None:
    case = Case()
    photo = msgspec.convert(case.submitted(), type(PROBLEM))
    forged: dict[str, tuple[Any, Any]] = {"received_at": (None, "2026-11-26T08:00:00Z")}
    edit = a_mutation(case.next(), photo, "photo", base=case.county.records[photo].version, fields=forged)
    assert case.push(HANDLER, edit).reason is Reason.READ_ONLY_FIELD
    made = a_creation(case.next(), an_id(4999), "photo", parent=str(ASSIGNMENT), purpose="after", received_at="2026-11-26T08:00:00Z")
    assert case.push(HANDLER, made).reason is Reason.READ_ONLY_FIELD


def test_what_was_fixed_on_the_spot_is_closed_out_with_both_pictures_on_the_server() -> None:
    case = Case()
    before, after = case.photo(MEMBER, PROBLEM, "before", 1), case.photo(MEMBER, PROBLEM, "after", 2)
    case.done(MEMBER, "fix_on_spot")
    case.done(LEAD, "accept", position=PLACE)
    case.arrives(after)
    assert needs(case.does(LEAD, "close_out")) == ["evidence_here"]
    case.arrives(before)
    case.done(LEAD, "close_out")


@pytest.mark.parametrize("position", [{"lat": "x", "lng": None}, {"lat": 91, "lng": 0}, {"lat": 1}, "here", None])
def test_a_site_check_has_a_position_that_is_one(position: object) -> None:
    case = Case()
    case.submitted()
    assert needs(case.does(LEAD, "accept", position=position)) == ["site_checked"]


def test_a_site_check_by_inspection_names_one_that_was_made_there_and_submitted() -> None:
    site, elsewhere = str(an_id(70)), str(an_id(71))
    case = Case(site=site)
    case.submitted()
    assert needs(case.does(LEAD, "accept", inspection=str(an_id(404)))) == ["site_checked"]
    for k, (place, submits, is_check) in enumerate([(site, False, False), (elsewhere, True, False), (site, True, True)]):
        visit = an_id(210 + k)
        case.push(MEMBER, a_creation(case.next(), visit, "inspection", site=place))
        if submits:
            case.push(MEMBER, a_mutation(case.next(), visit, "inspection", "inspection.submit", base=(1, 1)))
        outcome = case.does(LEAD, "accept", inspection=str(visit))
        assert (outcome.outcome is Outcome.APPLIED) is is_check


def test_nobody_who_submitted_accepts_on_whatever_device_and_by_whatever_duty() -> None:
    case = Case()
    duties = (a_duty(Role.TOWNSHIP_LEAD, TOWNSHIP), a_duty(Role.DEPARTMENT_STAFF, DEPARTMENT))
    phone, tablet = (Sender(device=an_id(d), person=an_id(990), duties=duties) for d in (20, 21))
    case.done(LEAD, "assign", {"due_on": "2026-12-01", "leads": [DEPARTMENT, TOWNSHIP]})
    photos = [case.photo(phone, ASSIGNMENT, "after", 1)]
    case.done(phone, "submit_fix", record=ASSIGNMENT, photos=photos)
    own = projection_id(PROBLEM, TOWNSHIP)
    photos += [case.photo(OTHER_LEAD, own, "after", 2)]
    case.done(OTHER_LEAD, "submit_fix", record=own, photos=photos[1:])  # the second lead's part
    for photo in photos:
        case.arrives(photo)
    for submitter in (phone, tablet, OTHER_LEAD):
        assert needs(case.does(submitter, "accept", position=PLACE)) == ["not_the_submitter"]
    case.done(LEAD, "accept", position=PLACE)
    assert needs(case.does(tablet, "close_out")) == ["not_the_submitter"]


# ------------------------------------------------------------------------------------------------ assignment


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"leads": ["nowhere"]}, Reason.UNKNOWN_UNIT),
        ({"leads": [DEPARTMENT], "supporting": ["nowhere"]}, Reason.UNKNOWN_UNIT),
        ({"leads": ["6109"]}, Reason.UNIT_ELSEWHERE),
        ({"leads": [DEPARTMENT], "supporting": ["610921100"]}, Reason.UNIT_ELSEWHERE),
    ],
)
def test_whoever_is_told_to_fix_it_can_be_told(fields: dict[str, Any], reason: Reason) -> None:
    case = Case()
    outcome = case.does(LEAD, "assign", {"due_on": "2026-12-01", **fields})
    assert (outcome.outcome, outcome.reason) == (Outcome.REJECTED, reason)
    assert case.values["state"] == "reported"


@pytest.mark.parametrize("fields", [{"leads": [DEPARTMENT, DEPARTMENT]}, {"leads": [DEPARTMENT], "supporting": [DEPARTMENT]}])
def test_a_unit_has_one_part_in_a_problem(fields: dict[str, Any]) -> None:
    assert needs(Case().does(LEAD, "assign", {"due_on": "2026-12-01", **fields})) == ["each_unit_once"]


def on_paper(case: Case, op: str, fields: dict[str, Any], captured: datetime, **args: Any) -> MutationOutcome:
    """Captured then, and only now at the server."""
    ms = int(captured.timestamp() * 1000)
    pairs = {name: (None, value) for name, value in fields.items()}
    base = case.county.records[PROBLEM].version
    made = a_mutation(case.next(), PROBLEM, "problem", f"problem.{op}", base=base, fields=pairs, args=args)
    (outcome,) = case.county.push(LEAD, [arrived(made, Interval(ms, ms))]).outcomes
    return outcome


def test_a_deadline_is_ahead_on_the_day_that_it_was_given() -> None:
    case, past = Case(), "2026-11-19"
    assert needs(case.does(LEAD, "assign", ASSIGN | {"due_on": past})) == ["deadline_ahead"]
    assert on_paper(case, "assign", ASSIGN | {"due_on": past}, MORNING - timedelta(days=2)).outcome is Outcome.APPLIED
    assert needs(case.does(LEAD, "extend", {"due_on": past}, reason="雨")) == ["deadline_ahead"]
    case.done(LEAD, "extend", {"due_on": "2026-11-20"}, reason="雨")
    photo = case.photo(HANDLER, ASSIGNMENT, "after", 1)
    case.arrives(photo)
    case.done(HANDLER, "submit_fix", record=ASSIGNMENT, photos=[photo])
    assert needs(case.does(LEAD, "return", {"due_on": past}, reason="false")) == ["deadline_ahead"]
    case.done(LEAD, "accept", position=PLACE)
    assert needs(case.does(LEAD, "close_out", {"look_back_on": past})) == ["look_back_ahead"]
    case.done(LEAD, "close_out")
    assert needs(case.does(LEAD, "plan_look_back", {"look_back_on": past})) == ["look_back_ahead"]
    assert needs(case.does(LEAD, "rebound", {"due_on": past}, reason="rebound")) == ["deadline_ahead"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("task", {"title": "查扬尘", "unit": VILLAGE_A, "due_on": "2026-11-19"}),
        ("notice", {"title": "通知", "unit": VILLAGE_A, "acknowledge_by": "2026-11-19T10:00:00+08:00"}),
        (
            "supervision",
            {"unit": TOWNSHIP, "colour": "white", "title": "督办", "issued_by_unit": str(COUNTY), "due_at": "2026-11-19T10:00:00Z"},
        ),
    ],
)
def test_a_term_that_has_passed_is_not_given(kind: str, body: dict[str, Any]) -> None:
    case, record = Case(), an_id(300)
    made = a_mutation(case.next(), record, kind, "create", body=body)
    assert needs(case.push(SUPERVISOR, made)) == ["deadline_ahead"]
    ms = int((MORNING - timedelta(days=2)).timestamp() * 1000)
    again = a_mutation(case.next(), record, kind, "create", body=body)
    (outcome,) = case.county.push(SUPERVISOR, [arrived(again, Interval(ms, ms))]).outcomes
    assert outcome.outcome is Outcome.APPLIED, "given in time, and late at the server"


def test_a_task_is_not_put_off_to_a_day_that_has_passed() -> None:
    case, task = Case(), an_id(300)
    case.push(LEAD, a_creation(case.next(), task, "task", due_on="2026-11-21"))
    assert needs(case.push(LEAD, an_edit(case.next(), task, (1, 1), "task", due_on=("2026-11-21", "2026-11-19")))) == ["deadline_ahead"]
    assert case.push(LEAD, an_edit(case.next(), task, (1, 1), "task", due_on=("2026-11-21", None))).outcome is Outcome.APPLIED


def test_who_may_on_the_problem_is_told_to_whoever_tries_it_on_the_assignment() -> None:
    case = Case()
    case.submitted()
    outcome = case.does(HANDLER, "accept", record=ASSIGNMENT, position=PLACE)
    assert (outcome.outcome, outcome.reason) == (Outcome.REJECTED, Reason.NOT_YOUR_ROLE)
    detail = outcome.detail or {}
    assert "township_lead" in detail["by"]
    assert detail["on"] == {"kind": "problem", "record": str(PROBLEM)}


def test_a_finding_is_titled_by_the_question_and_its_answer() -> None:
    case, inspection = Case(), an_id(200)
    answers = {"sprinkling": {"value": "no"}, "covering": {"value": "no"}}
    case.push(MEMBER, a_creation(case.next(), inspection, "inspection", answers=answers))
    case.push(MEMBER, a_mutation(case.next(), inspection, "inspection", "inspection.submit", base=(1, 1)))
    titles = [case.county.records[problem_id(inspection, item)].values["title"] for item in answers]
    assert titles == ["洒水100%：否", "覆盖100%：否"]


# ------------------------------------------------------------------------------------------------ settlements


def disputed(case: Case, fields: dict[str, Any], other: dict[str, Any]) -> Any:
    """Two leads assign without having seen each other: what lost is a conflict."""
    base = case.county.records[PROBLEM].version
    for lead, given in ((LEAD, fields), (OTHER_LEAD, other)):
        pairs = {name: (None, value) for name, value in given.items()}
        case.push(lead, a_mutation(case.next(), PROBLEM, "problem", "problem.assign", base=base, fields=pairs))
    return {r.values["field"]: r.id for r in case.county.records.values() if r.kind == "conflict"}


def settled(case: Case, conflict: Any, choice: str, **args: Any) -> MutationOutcome:
    version = case.county.records[conflict].version
    return case.push(
        SUPERVISOR, a_mutation(case.next(), conflict, "conflict", "conflict.settle", base=version, args={"choice": choice, **args})
    )


@pytest.mark.parametrize(
    ("field", "value", "reason", "lacks"),
    [
        ("leads", ["nowhere"], Reason.UNKNOWN_UNIT, []),
        ("leads", ["6109"], Reason.UNIT_ELSEWHERE, []),
        ("leads", [], Reason.INCOMPLETE, ["leads"]),
        ("leads", [DEPARTMENT, DEPARTMENT], Reason.INCOMPLETE, ["each_unit_once"]),
        ("leads", "住建局", Reason.MALFORMED, []),
        ("due_on", None, Reason.INCOMPLETE, ["due_on"]),
        ("due_on", "1999-01-01", Reason.INCOMPLETE, ["deadline_ahead"]),
        ("due_on", "明天", Reason.MALFORMED, []),
    ],
)
def test_a_settlement_gives_what_its_command_might_have_given(field: str, value: object, reason: Reason, lacks: list[str]) -> None:
    case = Case()
    conflicts = disputed(case, ASSIGN, {"due_on": "2026-12-05", "leads": [TOWNSHIP]})
    before = case.values[field]
    outcome = settled(case, conflicts[field], "other", value=value)
    assert (outcome.outcome, outcome.reason) == (Outcome.REJECTED, reason)
    assert (outcome.detail or {}).get("needs", []) == lacks
    assert (case.values[field], case.county.records[conflicts[field]].values.get("state", "open")) == (before, "open")
    good = {"leads": [DEPARTMENT], "due_on": "2026-12-24"}[field]
    assert settled(case, conflicts[field], "other", value=good).outcome is Outcome.APPLIED
    assert case.values[field] == good


def test_the_story_says_what_a_command_set() -> None:
    case = Case()
    case.done(LEAD, "assign", ASSIGN)
    case.done(LEAD, "extend", {"due_on": "2026-12-20"}, reason="雨")
    assert [step["sets"] for step in case.values["steps"][-2:]] == [ASSIGN, {"due_on": "2026-12-20"}]


def test_a_problem_is_not_deleted_off_the_ledger() -> None:
    case = Case()
    outcome = case.push(LEAD, a_mutation(case.next(), PROBLEM, "problem", "delete", base=case.county.records[PROBLEM].version))
    assert (outcome.outcome, outcome.reason) == (Outcome.REJECTED, Reason.NOT_ALLOWED_NOW)
    assert "problem.not_true" in (outcome.detail or {})["allowed"]


# ------------------------------------------------------------------------------------------------ suspension


def book(name: RuleName, rule: msgspec.Struct) -> RuleBook:
    version = RuleVersion(county=COUNTY, name=name, version=1, starts=MORNING - timedelta(days=400), body=msgspec.to_builtins(rule))
    return RuleBook([version])


def test_a_suspension_has_a_limit_ahead_and_may_be_prolonged() -> None:
    case = Case()
    case.done(LEAD, "assign", ASSIGN)
    assert needs(case.does(LEAD, "suspend", {"suspended_until": "2026-11-19"}, reason="冰冻")) == ["limit_ahead"]
    case.done(LEAD, "suspend", {"suspended_until": "2026-12-31"}, reason="冰冻")
    case.done(LEAD, "suspend", {"suspended_until": "2027-01-31"}, reason="仍冰冻")
    case.done(LEAD, "resume")
    assert (case.values["state"], case.values["suspended_until"]) == ("assigned", None)


def test_a_suspension_ends_by_itself_when_its_limit_has_passed_and_not_one_that_was_prolonged() -> None:
    case = Case()
    case.done(LEAD, "assign", ASSIGN)
    case.done(LEAD, "suspend", {"suspended_until": "2026-12-31"}, reason="冰冻")
    ended = end_of(case.subject.problem.suspended_until)  # type: ignore[arg-type]
    assert list(resumptions(case.subject, ended - timedelta(seconds=1))) == []
    (due,) = resumptions(case.subject, ended + timedelta(days=9))
    assert (due.op, due.moment, due.is_captured) == ("problem.resume", ended, True)
    resume = a_mutation(case.next(), PROBLEM, "problem", due.op, args=due.args)
    case.done(LEAD, "suspend", {"suspended_until": "2027-01-31"}, reason="仍冰冻")
    assert needs(case.push(the_server(), resume)) == ["limit_as_set"]
    (later,) = resumptions(case.subject, ended + timedelta(days=40))
    assert case.push(the_server(), a_mutation(case.next(), PROBLEM, "problem", later.op, args=later.args)).reason is Reason.OK
    assert case.values["state"] == "assigned"


def test_somebody_is_reminded_before_a_suspension_ends() -> None:
    case = Case()
    case.done(LEAD, "assign", ASSIGN)
    case.done(LEAD, "suspend", {"suspended_until": "2026-12-31"}, reason="冰冻")
    rules = book(RuleName.REMINDERS, RemindersRule(before=[Duration(hours=48)]))
    ended = end_of(case.subject.problem.suspended_until)  # type: ignore[arg-type]
    (due,) = reminders(rules, COUNTY, case.subject, ended - timedelta(hours=47))
    assert (due.args["note"], due.args["suspended_until"]) == ("中止期限 2026-12-31", "2026-12-31")


# ------------------------------------------------------------------------------------------------ look-back


def test_a_look_back_is_arranged_anew_after_a_rebound_and_a_second_close_out() -> None:
    case = Case()
    case.arrives(case.submitted())
    case.done(LEAD, "accept", position=PLACE)
    case.done(LEAD, "close_out", {"look_back_on": "2027-01-10"})
    far = datetime(2027, 6, 1, tzinfo=UTC)
    (first,) = look_backs(RuleBook(), COUNTY, case.subject, far)
    case.done(LEAD, "rebound", {"due_on": "2027-02-01"}, reason="rebound")
    assert (case.values["look_back_on"], case.values["look_back_result"]) == (None, "rebound")
    second = case.photo(HANDLER, ASSIGNMENT, "after", 2)
    case.done(HANDLER, "submit_fix", record=ASSIGNMENT, photos=[second])
    case.arrives(second)
    case.done(LEAD, "accept", position=PLACE)
    case.done(LEAD, "close_out")
    assert list(look_backs(RuleBook(), COUNTY, case.subject, far)) == [], "nobody has arranged one, and no rule does"
    (ruled,) = look_backs(book(RuleName.LOOK_BACK, LookBackRule(after=Duration(hours=24))), COUNTY, case.subject, far)
    case.done(LEAD, "plan_look_back", {"look_back_on": "2027-01-10"})
    (second,) = look_backs(RuleBook(), COUNTY, case.subject, far)
    assert len({first.record, ruled.record, second.record}) == 3
    assert second.body is not None and second.body["origin"] == str(PROBLEM)


def test_the_result_of_a_look_back_is_held_or_is_for_the_office_to_act_on() -> None:
    case = Case()
    case.closed()
    case.done(MEMBER, "look_back", {"look_back_on": "2027-05-01"}, position=PLACE)
    assert (case.values["state"], case.values["look_back_result"]) == ("look_back_passed", "held")
    assert len(list(look_backs(RuleBook(), COUNTY, case.subject, datetime(2027, 6, 1, tzinfo=UTC)))) == 1
    assert needs(case.does(MEMBER, "look_back_failed", position=PLACE)) == ["result"]
    case.done(MEMBER, "look_back_failed", position=PLACE, result="false")
    assert (case.values["state"], case.values["look_back_result"], case.values["look_back_on"]) == ("look_back_passed", "false", None)
    assert case.does(MEMBER, "rebound", {"due_on": "2027-06-01"}, reason="false").reason is Reason.NOT_YOUR_ROLE
    case.done(LEAD, "rebound", {"due_on": "2027-06-01"}, reason="false")
    assert case.values["state"] == "rectifying"


# ------------------------------------------------------------------------------------------------ listing, sources, feedback


def test_listed_supervision_has_a_level_and_its_days() -> None:
    case = Case()
    assert needs(case.does(SUPERVISOR, "unlist", reason="办结")) == ["is_listed"]
    assert needs(case.does(SUPERVISOR, "list", {"listed_level": "village"})) == ["listed_level"]
    case.done(SUPERVISOR, "list", {"listed_level": "city"})
    assert (case.values["listed_level"], case.values["listed_on"]) == ("city", "2026-11-20")
    case.done(SUPERVISOR, "unlist", reason="办结")
    assert (case.values["listed_level"], case.values["listed_on"], case.values["unlisted_on"]) == (None, None, "2026-11-20")


def test_a_source_is_one_of_those_there_are() -> None:
    county = PretendCounty()
    body = {**BODIES["problem"], "source": "hotline"}
    (outcome,) = county.push(MEMBER, [arrived(a_mutation(1, PROBLEM, "problem", "create", body=body))]).outcomes
    assert (outcome.outcome, outcome.reason) == (Outcome.QUARANTINED, Reason.MALFORMED)


def test_what_came_by_a_channel_of_the_public_is_owed_an_answer() -> None:
    case = Case(source="hotline_12345", source_number="12345-7", source_batch="2026-11")
    case.closed()
    assert case.values["feedback_owed"] is True
    case.done(LEAD, "feed_back", to="12345", note="已办结")
    assert case.values["feedback_owed"] is False
    patrol = Case()
    patrol.closed()
    assert not patrol.values.get("feedback_owed")


# ------------------------------------------------------------------------------------------------ links


def another(case: Case, unit: str = VILLAGE_A, sender: Sender = LEAD, record: Any = None, **body: Any) -> Any:
    record = record or an_id(150)
    made = a_creation(case.next(), record, "problem", unit=unit, **body)
    assert case.push(sender, made).outcome is Outcome.APPLIED
    return record


def named(case: Case, record: Any, field: str) -> list[str]:
    return list(case.county.records[record].values.get(field, []))


def test_two_problems_are_linked_from_both_sides_or_said_to_be_two() -> None:
    case = Case(position=PLACE)
    other = another(case, TOWNSHIP, position=PLACE, source="hotline_12345")
    case.done(LEAD, "report", record=other)
    assert named(case, PROBLEM, "suspected_duplicates") == [str(other)], "a hotline's entry at the township, a patrol's in the village"
    case.done(LEAD, "link", other=str(other))
    assert (named(case, PROBLEM, "related"), named(case, other, "related")) == ([str(other)], [str(PROBLEM)])
    assert named(case, PROBLEM, "suspected_duplicates") == named(case, other, "suspected_duplicates") == []
    case.done(LEAD, "unlink", record=other, other=str(PROBLEM), reason="两处")
    assert named(case, PROBLEM, "related") == named(case, other, "related") == []
    suggestion = a_mutation(case.next(), PROBLEM, "problem", "problem.suspect", args={"other": str(other)})
    assert case.push(the_server(), suggestion).reason is Reason.ALREADY_SO, "a person has said that they are two"
    case.county.assert_true()


def test_two_findings_of_one_inspection_that_may_be_an_open_problem_are_both_named_there() -> None:
    """Promise 3."""
    site = str(an_id(70))
    case, inspection = Case(subject="construction_dust", site=site), an_id(200)
    answers = {"sprinkling": {"value": "no"}, "covering": {"value": "no"}}
    case.push(MEMBER, a_creation(case.next(), inspection, "inspection", site=site, answers=answers))
    case.push(MEMBER, a_mutation(case.next(), inspection, "inspection", "inspection.submit", base=(1, 1)))
    opened = [problem_id(inspection, item) for item in answers]
    assert named(case, PROBLEM, "suspected_duplicates") == sorted(map(str, opened))
    assert [named(case, problem, "suspected_duplicates") for problem in opened] == [[str(PROBLEM)]] * 2
    case.county.assert_true()


def test_a_link_names_only_a_problem_that_its_author_may_see() -> None:
    case = Case()
    hidden = another(case, VILLAGE_B)
    for other in (str(hidden), str(PROBLEM), str(an_id(404)), "x", str(ASSIGNMENT)):
        outcome = case.does(MEMBER, "link", other=other)
        assert (outcome.outcome, outcome.reason) == (Outcome.REJECTED, Reason.RECORD_MISSING)
    assert case.does(MEMBER, "suspect", other=str(hidden)).reason is Reason.NOT_YOUR_ROLE


@pytest.mark.parametrize(("starts", "ends", "saw"), [(-30, 1, True), (-30, -1, False), (1, None, False)])
def test_what_may_be_named_is_what_its_author_could_see_when_it_was_captured(starts: int, ends: int | None, saw: bool) -> None:
    """Not what they see when it arrives, nor what they ever saw; linked or called about, it is the same question."""
    case = Case()
    of_b = another(case, VILLAGE_B)
    ended = None if ends is None else MORNING + timedelta(hours=ends)
    there = a_duty(Role.GRID_MEMBER, VILLAGE_B, starts=MORNING + timedelta(hours=starts), ends=ended)
    member = msgspec.structs.replace(MEMBER, duties=(*MEMBER.duties, there))
    body = {"unit": VILLAGE_A, "title": "叫部门来", "problem": str(of_b)}
    whistle = case.push(member, a_mutation(case.next(), an_id(153), "whistle", "create", body=body))
    assert whistle.reason is (Reason.OK if saw else Reason.RECORD_MISSING)
    assert case.does(member, "link", other=str(of_b)).reason is (Reason.OK if saw else Reason.RECORD_MISSING)


def test_a_suggestion_never_names_a_secret_and_an_open_problem_only() -> None:
    case = Case(position=PLACE)
    sender = a_sender(8, Role.COUNTY_SUPERVISOR, str(COUNTY))
    secret = another(case, str(COUNTY), sender, an_id(151), secret=True, position=PLACE)
    assert named(case, PROBLEM, "suspected_duplicates") == named(case, secret, "suspected_duplicates") == []
    for one, other in ((PROBLEM, secret), (secret, PROBLEM)):
        outcome = case.push(the_server(), a_mutation(case.next(), one, "problem", "problem.suspect", args={"other": str(other)}))
        assert (outcome.outcome, outcome.reason) in [
            (Outcome.REJECTED, Reason.RECORD_MISSING), (Outcome.REJECTED, Reason.NOT_ALLOWED_NOW),
        ]  # fmt: skip
    case.done(LEAD, "not_true", reason="查无此事")
    assert named(case, another(case, record=an_id(152), position=PLACE), "suspected_duplicates") == []


# ------------------------------------------------------------------------------------------------ subjects


@pytest.mark.parametrize(("subject", "unknown"), [("construction_dust", None), ("dust", ["dust"]), ("air.dust", ["air.dust"])])
def test_a_code_that_is_no_subject_is_kept_and_flagged(subject: str, unknown: list[str] | None) -> None:
    case, record = Case(), an_id(201)
    made = case.push(MEMBER, a_creation(case.next(), record, "problem", subject=subject))
    assert (made.outcome, (made.detail or {}).get("unknown_subjects")) == (Outcome.APPLIED, unknown)
    edited = case.push(LEAD, a_mutation(case.next(), PROBLEM, "problem", "edit", fields={"subject": (None, subject)}))
    assert (edited.outcome.is_held, (edited.detail or {}).get("unknown_subjects")) == (False, unknown)
    assert case.county.records[record].values["subject"] == subject


def test_of_the_subjects_of_a_place_the_unknown_ones_are_flagged() -> None:
    case, record = Case(), an_id(202)
    made = case.push(LEAD, a_creation(case.next(), record, "site", subjects=["river_outfall", "inn", "dust"]))
    assert (made.outcome, made.detail) == (Outcome.APPLIED, {"unknown_subjects": ["dust", "inn"]})
    edited = case.push(LEAD, a_mutation(case.next(), record, "site", "edit", fields={"note": (None, "北岸")}))
    assert (edited.detail or {}).get("unknown_subjects") is None  # it changes no subject


# ------------------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    ("answers", "odd"),
    [
        ({"sprinkling": {"value": "no"}, "covering": "yes"}, []),
        ({"sprinkling": {"value": "maybe"}}, ["sprinkling"]),
        ({"sprinkling": {"value": ["no"]}, "of_another_list": {"value": "no"}}, ["of_another_list", "sprinkling"]),
        ({"sprinkling": {"value": None}}, []),
    ],
)
def test_answers_that_are_none_to_the_checklist_are_kept_and_named(answers: dict[str, Any], odd: list[str]) -> None:
    case, inspection = Case(), an_id(200)
    outcome = case.push(MEMBER, a_creation(case.next(), inspection, "inspection", answers=answers))
    assert outcome.outcome is Outcome.APPLIED
    assert (outcome.detail or {}).get("odd_answers", []) == odd
    values = case.county.records[inspection].values
    assert (values["answers"], values.get("odd_answers", [])) == (answers, odd)
    changes = {f"answers.{key}": (answers[key], {"value": "yes"}) for key in odd if key == "sprinkling"}
    case.push(MEMBER, a_mutation(case.next(), inspection, "inspection", "edit", base=(1, 1), fields=changes))
    assert "sprinkling" not in case.county.records[inspection].values.get("odd_answers", [])
