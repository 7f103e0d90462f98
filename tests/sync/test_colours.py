"""Which letters rules call for, and when: facts as they were at the moment, rules as they were in force."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from contracts.ids import RecordId
from contracts.kind import Step
from contracts.kinds.problem import Problem
from contracts.kinds.summons import Clock, Summons
from contracts.kinds.supervision import Supervision
from contracts.rules import CalendarRule, Colour, ColoursRule, ColourTrigger, Duration, RemindersRule, RuleName, RuleVersion
from sync.colours import Called, Colours, key_of, overturned
from sync.due import About, Letter, Subject, Summoned
from sync.facts import Owed
from sync.rules import RuleBook, end_of, read_day
from sync.timers import reminders
from tests.builders import PLACES, an_id
from tests.county import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A

CITY = 610900
DAY = date(2026, 12, 1)
DEADLINE = end_of(DAY)
NOW = DEADLINE + timedelta(days=60)
BEGAN = datetime(2026, 11, 20, tzinfo=UTC)
WHITE = ColourTrigger(key="overdue", colour=Colour.WHITE, fact="overdue", after=Duration(hours=24), answer_within=Duration(hours=48))
YELLOW = ColourTrigger(key="silent", colour=Colour.YELLOW, fact="unanswered", after=Duration(hours=1))


def rule(*triggers: ColourTrigger, n: int = 1, starts: datetime = BEGAN, county: int = COUNTY) -> RuleVersion:
    body = msgspec.to_builtins(ColoursRule(triggers=list(triggers)))
    return RuleVersion(county=county, name=RuleName.COLOURS, version=n, starts=starts, body=body)


def step(command: str, at: datetime, to: str = "", captured: datetime | None = None, **sets: Any) -> Step:
    return Step(id=str(an_id(hash((command, at)) % 10**9)), command=command, at=at, captured_at=captured or at, to=to, sets=sets)


def assigned(*steps: Step, due: str = "2026-12-01", leads: Iterable[str] = (DEPARTMENT,), at: datetime = BEGAN, **more: Any) -> Subject:
    first = step("problem.assign", at, "assigned", due_on=due, leads=list(leads))
    story = [first, *steps]
    held = {"due_on": [day for one in story if (day := read_day(one.sets.get("due_on")))][-1], **more}
    body = Problem(unit=VILLAGE_A, subject="open_burning", title="焚烧", state="assigned", steps=story, **held)
    return Subject(id=an_id(5), unit=VILLAGE_A, problem=body)


def found(subject: Subject, *versions: RuleVersion, now: datetime = NOW) -> list[tuple[str, str, datetime]]:
    called = Colours(RuleBook(versions or [rule(WHITE)]), PLACES, COUNTY).of_problem(subject, now)
    return [(one.trigger.colour.value, one.unit, one.moment) for one in sorted(called, key=lambda one: one.moment)]


def after(hours: float) -> datetime:
    return DEADLINE + timedelta(hours=hours)


def white(hours: float, unit: str = DEPARTMENT) -> tuple[str, str, datetime]:
    return ("white", unit, after(hours))


# ------------------------------------------------------------------------------------------------ the deadline as it was


def test_a_deadline_that_was_extended_after_the_moment_does_not_undo_the_letter() -> None:
    extended = step("problem.extend", after(48), "assigned", due_on="2026-12-20")
    assert found(assigned(extended)) == [white(24), white(19 * 24 + 24)]


def test_an_extension_made_offline_in_time_counts_though_it_arrives_late() -> None:
    extended = step("problem.extend", after(48), "assigned", captured=after(-5), due_on="2026-12-20")
    assert found(assigned(extended)) == [white(19 * 24 + 24)]


def test_a_deadline_set_back_counts_from_when_it_was_set() -> None:
    earlier = step("problem.assign", after(100), "assigned", due_on="2026-12-01")
    assert found(assigned(earlier, due="2026-12-31")) == [white(124)]


def test_an_assignment_that_arrives_after_its_own_deadline_burdens_nobody_before() -> None:
    assert found(assigned(at=after(240))) == [white(264)]


def test_a_deadline_that_a_settlement_chose_holds_instead_of_the_one_that_lost() -> None:
    other = step("problem.assign", BEGAN + timedelta(hours=1), "assigned", due_on="2026-11-28")
    chosen = step("conflict.settle", BEGAN + timedelta(days=1), "assigned", due_on="2026-12-01")
    assert found(assigned(other, chosen)) == [white(24)]
    assert found(assigned(other)) == [white(-72 + 24)]


def test_a_lead_that_a_settlement_chose_is_burdened_from_then_on() -> None:
    chosen = step("conflict.settle", after(30), "assigned", leads=[TOWNSHIP])
    assert found(assigned(chosen)) == [white(24), white(54, TOWNSHIP)]


@pytest.mark.parametrize(("limit", "letters"), [("2026-12-05", [white(5 * 24)]), ("2026-12-20", [white(20 * 24)])])
def test_a_limit_that_a_settlement_chose_holds_instead_of_the_one_that_lost(limit: str, letters: list[Any]) -> None:
    suspended = step("problem.suspend", after(-10), "suspended", suspended_until="2026-12-11")
    chosen = step("conflict.settle", after(-5), "suspended", suspended_until=limit)
    assert found(assigned(suspended, chosen)) == letters


def test_the_letter_goes_to_who_led_then_and_the_next_lead_has_a_term_of_its_own() -> None:
    handed_on = step("problem.assign", after(30), "assigned", leads=[TOWNSHIP])
    assert found(assigned(handed_on)) == [white(24), white(54, TOWNSHIP)]


def test_two_leads_get_a_letter_each() -> None:
    assert sorted(found(assigned(leads=[DEPARTMENT, TOWNSHIP]))) == sorted([white(24), white(24, TOWNSHIP)])


# ------------------------------------------------------------------------------------------------ what relieves


@pytest.mark.parametrize(("captured", "letters"), [(-1, []), (23.9, []), (24, []), (24.1, [white(24)])])
def test_a_fix_counts_from_its_capture(captured: float, letters: list[Any]) -> None:
    fixed = step("problem.submit_fix", after(500), "submitted", captured=after(captured))
    assert found(assigned(fixed)) == letters


def test_a_fix_returned_as_false_after_the_deadline_is_overdue_from_then_on() -> None:
    fixed = step("problem.submit_fix", after(90), "submitted", captured=after(-1))  # it overturned the first letter
    returned = step("problem.return", after(100), "rectifying")
    assert found(assigned(fixed, returned)) == [white(124)]


def test_a_fix_on_the_spot_outlives_an_assignment_that_did_not_know_of_it() -> None:
    fixed = step("problem.fix_on_spot", BEGAN + timedelta(days=2), "submitted", captured=BEGAN - timedelta(hours=1))
    assert found(assigned(fixed)) == []


def test_a_suspension_stops_the_clock_until_it_is_lifted_and_no_longer_than_it_said() -> None:
    suspended = step("problem.suspend", after(-10), "suspended", suspended_until="2026-12-11")
    assert found(assigned(suspended)) == [white(10 * 24 + 24)]
    resumed = step("problem.resume", after(50), "assigned")
    assert found(assigned(suspended, resumed)) == [white(74)]
    assert found(assigned(step("problem.suspend", after(30), "suspended", suspended_until="2027-12-31"))) == [white(24)]


def test_strange_days_are_no_trouble() -> None:
    for day in ("0001-01-01", "9999-12-31", "2026-02-30", 7):
        subject = assigned(step("problem.extend", after(-5), "assigned", due_on=day, suspended_until=day))
        assert isinstance(found(subject), list)
    old = Problem(unit=VILLAGE_A, subject="x", state="assigned", due_on=date(9999, 12, 31), leads=[DEPARTMENT])
    assert found(Subject(id=an_id(5), unit=VILLAGE_A, problem=old)) == []


# ------------------------------------------------------------------------------------------------ rules change


def test_a_changed_rule_issues_no_second_letter_for_the_same_period() -> None:
    slower = msgspec.structs.replace(WHITE, after=Duration(hours=48))
    assert found(assigned(), rule(WHITE), rule(slower, n=2, starts=after(30))) == [white(24)]


def test_what_was_pending_under_the_old_rule_is_due_when_the_new_one_begins() -> None:
    slow = msgspec.structs.replace(WHITE, after=Duration(hours=72))
    assert found(assigned(), rule(slow), rule(WHITE, n=2, starts=after(40))) == [white(40)]
    # ... but a rule says nothing about what was over before there was any
    assert found(assigned(), rule(WHITE, starts=after(40))) == []


def test_of_two_versions_that_start_together_the_later_holds() -> None:
    slow = msgspec.structs.replace(WHITE, after=Duration(hours=72))
    assert found(assigned(), rule(slow), rule(WHITE, n=2)) == [white(24)]


def test_a_version_withdrawn_by_an_empty_one_calls_for_nothing_more() -> None:
    assert found(assigned(), rule(WHITE), rule(n=2, starts=after(1))) == []


def test_a_calendar_published_later_moves_nothing_that_has_begun() -> None:
    days = msgspec.structs.replace(WHITE, after=Duration(working_days=1))
    calendar = RuleVersion(
        county=COUNTY,
        name=RuleName.CALENDAR,
        version=1,
        starts=after(1),
        body=msgspec.to_builtins(CalendarRule(days_off=[date(2026, 12, 3)])),
    )
    # the term began at the first moment of 2 December in China and ends with the working day after it
    assert found(assigned(), rule(days)) == found(assigned(), rule(days), calendar) == [white(48)]


# ------------------------------------------------------------------------------------------------ the city above


def test_the_rules_of_the_city_write_to_the_county_and_each_in_its_own_name() -> None:
    to_county = msgspec.structs.replace(WHITE, addressee="county", key="city")
    ignored = msgspec.structs.replace(WHITE, addressee="county", key="to_itself")
    colours = Colours(RuleBook([rule(WHITE, ignored), rule(to_county, WHITE, county=CITY)]), PLACES, COUNTY)
    called = colours.of_problem(assigned(), NOW)
    issued = [(one.unit, (colours.issue(one).body or {})["issued_by_unit"]) for one in called]
    assert sorted(issued) == [("610902", "6109"), (DEPARTMENT, "610902")]


def test_a_letter_is_followed_only_by_the_rules_of_who_issued_it() -> None:
    book = RuleBook([rule(WHITE, YELLOW), rule(county=CITY, n=1)])
    letter = a_letter(issued_by_unit="6109", unit=str(COUNTY))
    assert Colours(book, PLACES, COUNTY).after_letter(letter, None, NOW) == []
    book = RuleBook([rule(WHITE), rule(YELLOW, county=CITY)])
    (called,) = Colours(book, PLACES, COUNTY).after_letter(letter, None, NOW)
    assert (called.version.county, called.moment) == (CITY, after(49))


# ------------------------------------------------------------------------------------------------ the next colour


def a_letter(*steps: Step, k: int = 70, **more: Any) -> Letter:
    given: dict[str, Any] = {
        "unit": DEPARTMENT,
        "colour": Colour.WHITE,
        "title": "焚烧",
        "issued_by_unit": str(COUNTY),
        "due_at": after(48),
    }
    return Letter(id=an_id(k), supervision=Supervision(**(given | {"issued_at": after(0), "steps": list(steps)} | more)))


def following(letter: Letter, about: Any = None) -> list[datetime]:
    return [one.moment for one in Colours(RuleBook([rule(YELLOW)]), PLACES, COUNTY).after_letter(letter, about, NOW)]


def test_an_answer_counts_from_its_capture_and_a_rejected_one_no_longer() -> None:
    assert following(a_letter()) == [after(49)]
    answered = step("supervision.answer", after(200), "answered", captured=after(47))
    assert following(a_letter(answered)) == []
    rejected = step("supervision.reject_answer", after(210), "acknowledged")
    assert following(a_letter(answered, rejected)) == [after(211)]
    assert following(a_letter(step("supervision.lift", after(48.5), "lifted"))) == []


def test_no_next_colour_for_what_is_fixed_or_has_gone_to_another() -> None:
    fixed = assigned(step("problem.submit_fix", after(40), "submitted"))
    assert following(a_letter(subject_record=fixed.id), fixed) == []
    elsewhere = assigned(step("problem.assign", after(40), "assigned", leads=[TOWNSHIP]))
    assert following(a_letter(subject_record=elsewhere.id), elsewhere) == []
    assert following(a_letter(subject_record=fixed.id), assigned()) == [after(49)]


def test_a_letter_by_hand_whose_term_had_passed_when_it_came_is_followed_from_then() -> None:
    assert following(a_letter(issued_at=after(100))) == [after(101)]
    assert following(a_letter(due_at=None)) == []


def test_what_follows_a_letter_about_no_record_is_about_the_first_of_them() -> None:
    red = ColourTrigger(key="still", colour=Colour.RED, fact="unanswered", after=Duration(hours=1))
    yellow = msgspec.structs.replace(YELLOW, answer_within=Duration(hours=2))
    colours, letter = Colours(RuleBook([rule(yellow, red)]), PLACES, COUNTY), a_letter()
    for colour in ("yellow", "red"):
        (called,) = colours.after_letter(letter, None, NOW)
        letter = letter_of(called, colours)
        s = letter.supervision
        assert (s.colour.value, s.subject_record, s.subject_kind) == (colour, an_id(70), "supervision")


def test_red_is_followed_by_nothing() -> None:
    assert following(a_letter(colour=Colour.RED)) == []


# ------------------------------------------------------------------------------------------------ summonses


LATE = ColourTrigger(key="late", colour=Colour.WHITE, fact="summons_overdue", after=Duration(hours=2))


def a_summons(*steps: Step, clocks: Iterable[Clock] = ()) -> Summons:
    given = {"whistle": an_id(8), "whistle_unit": TOWNSHIP, "title": "河道", "report_in_due_at": after(0)}
    return Summons(unit=DEPARTMENT, steps=list(steps), clocks=list(clocks), **given)  # type: ignore[arg-type]


def of_summons(*steps: Step, clocks: Iterable[Clock] = ()) -> list[datetime]:
    summoned = Summoned(id=an_id(9), summons=a_summons(*steps, clocks=clocks))
    return [one.moment for one in Colours(RuleBook([rule(LATE)]), PLACES, COUNTY).of_summons(summoned, NOW)]


def test_a_report_in_counts_from_its_capture() -> None:
    assert of_summons() == [after(2)]
    assert of_summons(step("summons.report_in", after(90), "reported_in", captured=after(-1))) == []


def test_a_refusal_that_was_not_accepted_is_no_answer() -> None:
    refused, insisted = step("summons.refuse", after(-3), "refused"), step("whistle.insist", after(10), "called")
    assert of_summons(refused) == []
    clocks = [Clock(clock="report_in", since=BEGAN, due_at=after(0)), Clock(clock="report_in", since=after(10), due_at=after(20), steps=2)]
    assert of_summons(refused, insisted, clocks=clocks) == [after(22)]
    assert of_summons(step("whistle.release", after(-1), "cancelled")) == []


# ------------------------------------------------------------------------------------------------ overturned


def letter_of(called: Called, colours: Colours, **more: Any) -> Letter:
    body = msgspec.convert(colours.issue(called).body, Supervision)
    return Letter(id=called.id, supervision=msgspec.structs.replace(body, **more))


def lifted(letters: list[Letter], called: Iterable[Called], about: About, now: datetime = NOW) -> list[RecordId]:
    return [due.record for due in overturned(letters, {one.key for one in called}, about, now)[0]]


def test_late_evidence_overturns_every_fact_and_what_followed() -> None:
    colours = Colours(RuleBook([rule(WHITE, YELLOW, LATE)]), PLACES, COUNTY)
    subject = assigned()
    (first,) = colours.of_problem(subject, NOW)
    white_letter = letter_of(first, colours)
    (second,) = colours.after_letter(white_letter, subject, NOW)
    yellow_letter = letter_of(second, colours)
    both = [white_letter, yellow_letter]
    assert lifted(both, [first, second], subject) == []
    # the fix arrives: neither is called for
    assert lifted(both, [], subject) == [white_letter.id, yellow_letter.id]
    # only the answer arrives: the yellow one had no ground
    assert lifted(both, [first], subject) == [yellow_letter.id]
    # the white one was lifted by hand as mistaken: the yellow one only followed it
    mistaken = letter_of(first, colours, lifted_because="mistaken", state="lifted")
    assert lifted([mistaken, yellow_letter], [first, second], subject) == [yellow_letter.id]
    # nobody knows what its subject calls for, or the clock is before its moment: it is left alone
    assert lifted(both, [second], None) == []
    assert lifted(both, [], subject, now=first.moment - timedelta(hours=1)) == []
    summoned = Summoned(id=an_id(9), summons=a_summons())
    (out,) = colours.of_summons(summoned, NOW)
    assert lifted([letter_of(out, colours)], [], summoned) == [out.id]


@pytest.mark.parametrize("grounds", [{"rule": "colours", "due_moment": "yesterday"}, {"rule": "colours", "version": []}, {"rule": 7}, {}])
def test_grounds_that_are_none_are_left_alone(grounds: dict[str, Any]) -> None:
    letter = a_letter(grounds=grounds, subject_record=an_id(5))
    assert key_of(letter) is None
    assert lifted([letter], [], assigned()) == []


# ------------------------------------------------------------------------------------------------ reminders


def reminded(subject: Subject, now: datetime, *before: Duration) -> list[datetime]:
    body = msgspec.to_builtins(RemindersRule(before=list(before)))
    book = RuleBook([RuleVersion(county=COUNTY, name=RuleName.REMINDERS, version=1, starts=BEGAN - timedelta(days=9), body=body)])
    return [due.moment for due in reminders(book, COUNTY, subject, now)]


def test_of_reminders_that_were_slept_through_the_nearest_is_sent() -> None:
    three = (Duration(hours=72), Duration(hours=48), Duration(hours=24))
    assert reminded(assigned(), after(-50), *three) == [after(-72)]
    assert reminded(assigned(), after(-1), *three) == [after(-24)]
    assert reminded(assigned(), after(0), *three) == []


def test_nobody_is_reminded_for_a_moment_before_the_deadline_was_set() -> None:
    assert reminded(assigned(at=after(-10)), after(-5), Duration(hours=72)) == []


def test_a_lead_is_not_relieved_by_the_part_of_another() -> None:
    leads = [DEPARTMENT, TOWNSHIP]
    one = step("problem.submit_fix", after(-2), "submitted", handed_in=[DEPARTMENT])
    assert found(assigned(one, leads=leads)) == [white(24, TOWNSHIP)]
    both = [one, step("problem.submit_fix", after(50), "submitted", captured=after(-1), handed_in=[TOWNSHIP])]
    assert found(assigned(*both, leads=leads)) == []
    assert found(assigned(*both, step("problem.return", after(60), "rectifying"), leads=leads)) == [white(84), white(84, TOWNSHIP)]
    spared = step("problem.accept", after(23), "accepted")
    assert found(assigned(one, spared, leads=leads)) == [], "accepted without its part: nothing is owed any more"
    helped = step("problem.submit_fix", after(-2), "submitted", handed_in=[])
    assert found(assigned(helped, leads=[TOWNSHIP])) == [white(24, TOWNSHIP)], "the part of nobody who leads"
    assert found(assigned(helped, spared, leads=[TOWNSHIP])) == []
    for command, sets in (("problem.fix_on_spot", {}), ("problem.submit_fix", {}), ("problem.submit_fix", {"handed_in": None})):
        assert found(assigned(step(command, after(-2), "submitted", **sets), leads=leads)) == [], "that of everybody"
    owed = Owed(assigned(one, leads=leads).problem, VILLAGE_A)
    assert "relieved_since" in owed.said(after(24), DEPARTMENT)
    assert "relieved_since" not in owed.said(after(24), TOWNSHIP) | owed.said(after(24))


def test_where_nobody_leads_any_submission_relieves_the_unit_of_the_problem() -> None:
    returned = step("problem.return", BEGAN, "rectifying", due_on="2026-12-01")
    for fixes, letters in (([], [white(24, VILLAGE_A)]), ([step("problem.submit_fix", after(-2), "submitted", handed_in=[])], [])):
        told = [step("problem.fix_on_spot", BEGAN, "submitted"), returned, *fixes]
        own = Problem(unit=VILLAGE_A, subject="open_burning", title="焚烧", state="submitted", due_on=DAY, steps=told)
        assert found(Subject(id=an_id(5), unit=VILLAGE_A, problem=own)) == letters


def test_the_next_colour_comes_to_the_lead_whose_part_is_missing() -> None:
    half = assigned(step("problem.submit_fix", after(40), "submitted", handed_in=[DEPARTMENT]), leads=[DEPARTMENT, TOWNSHIP])
    assert following(a_letter(subject_record=half.id), half) == []
    assert following(a_letter(subject_record=half.id, unit=TOWNSHIP), half) == [after(49)]


def test_facts_are_said_as_they_were() -> None:
    subject = assigned(step("problem.submit_fix", after(90), "submitted", captured=after(-1)))
    owed = Owed(subject.problem, subject.unit)
    assert owed.said(after(24)) == {"due_on": "2026-12-01", "units": [DEPARTMENT], "relieved_since": after(-1).isoformat()}
