"""A term that rests on a year whose working days nobody knows yet says so, and is corrected once, with the old one kept (decision 0036)."""

from datetime import UTC, date, datetime, timedelta

import msgspec

from contracts.kinds.supervision import Supervision
from contracts.rules import CalendarRule, Colour, ColoursRule, ColourTrigger, Duration, RuleName, WhistleRule
from storage.rules import load_rules
from sync.why import reasons
from tests.api.casework import read
from tests.stories.day import Day, body
from tests.stories.test_colours import DEADLINE, letters, publish, tick
from tests.stories.test_problem import assigned
from tests.stories.test_whistle import Called, blown
from tests.world import COUNTY, DEPARTMENT, MORNING

# Two days off more than the law says, and a Sunday that is worked for them: a term over them ends one working day later.
CALENDAR = CalendarRule(days_off=[date(2027, 1, 4), date(2027, 1, 5)], days_worked=[date(2027, 1, 10)])
LONG = Duration(working_days=40)  # from 2026-11-20: 2027-01-18, when New Year's Day alone is off
GUESSED = datetime(2027, 1, 18, 16, tzinfo=UTC)
CORRECTED = datetime(2027, 1, 19, 16, tzinfo=UTC)
NOTE = "2027年的节假日和调休安排尚未公布，期限暂按周一至周五和法定节日推算，公布后自动更正"


async def blown_for_long(day: Day) -> Called:
    await publish(day, RuleName.WHISTLE, WhistleRule(sign=Duration(working_days=2), result=LONG))
    return await blown(day)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_the_terms_of_a_whistle_are_corrected_when_the_year_is_published(day: Day) -> None:
    called = await blown_for_long(day)
    summons = body(called.housing, called.of_housing)
    assert moment(summons["result_due_at"]) == GUESSED
    assert [(clock["clock"], clock.get("unpublished", [])) for clock in summons["clocks"]] == [("sign", []), ("result", [2027])]
    assert (summons["terms_note"], called.shown["summons"][DEPARTMENT]["terms_note"]) == (NOTE, NOTE)
    told = await read(day.world, called.lead, "/office/v1/rules", county=COUNTY)
    assert (told["unpublished_years"], told["notice"]) == ([2027], NOTE)
    assert await tick(day, MORNING + timedelta(hours=1)) == 0

    await publish(day, RuleName.CALENDAR, CALENDAR, MORNING + timedelta(hours=2))
    assert await tick(day, MORNING + timedelta(hours=3)) == 2  # two departments
    await called.all_sync()
    after = body(called.housing, called.of_housing)
    assert (moment(after["result_due_at"]), after["sign_due_at"], after["terms_note"]) == (CORRECTED, summons["sign_due_at"], "")
    sign, result = after["clocks"]
    assert sign == summons["clocks"][0]
    assert (moment(result["due_at"]), result["unpublished"]) == (CORRECTED, [])
    (before,) = result["corrected"]
    assert (moment(before["due_at"]), moment(before["at"])) == (GUESSED, MORNING + timedelta(hours=3))
    assert after["steps"][-1]["command"] == "summons.correct_terms"
    shown = called.shown["summons"][DEPARTMENT]
    assert (moment(shown["result_due_at"]), "terms_note" in shown) == (CORRECTED, False)
    assert await tick(day, MORNING + timedelta(hours=4)) == 0
    await called.all_sync()
    assert (await read(day.world, called.lead, "/office/v1/rules", county=COUNTY))["unpublished_years"] == []


async def test_what_was_answered_keeps_the_term_that_it_had(day: Day) -> None:
    called = await blown_for_long(day)
    await called.does(called.housing, called.of_housing, "summons.refuse", {"legal_basis": "不属本部门职责"})
    await publish(day, RuleName.CALENDAR, CALENDAR, MORNING + timedelta(hours=2))
    assert await tick(day, MORNING + timedelta(hours=3)) == 1  # the other department alone
    await called.all_sync()
    assert moment(body(called.housing, called.of_housing)["result_due_at"]) == GUESSED


async def test_nobody_but_the_server_corrects_a_term(day: Day) -> None:
    called = await blown_for_long(day)
    outcome, reason = await called.does(called.housing, called.of_housing, "summons.correct_terms", terms=[])
    assert (outcome.value if outcome else None, reason) in {("rejected", "not_your_role"), ("quarantined", "not_your_role")}


async def test_the_term_of_a_letter_is_corrected_and_says_why(day: Day) -> None:
    trigger = ColourTrigger(key="overdue", colour=Colour.WHITE, fact="overdue", after=Duration(hours=24), answer_within=LONG)
    await publish(day, RuleName.COLOURS, ColoursRule(triggers=[trigger]))
    await assigned(day)
    assert await tick(day, DEADLINE + timedelta(hours=24)) == 1
    (letter,) = await letters(day)
    assert letter["term_note"] == NOTE
    await publish(day, RuleName.CALENDAR, CALENDAR, DEADLINE + timedelta(hours=30))
    assert await tick(day, DEADLINE + timedelta(hours=31)) == 1
    (after,) = await letters(day)  # a Friday became a Monday
    assert (after.get("term_note", ""), moment(after["due_at"]) - moment(letter["due_at"])) == ("", timedelta(days=3))
    assert moment(after["steps"][-1]["args"]["was"]) == moment(letter["due_at"])
    assert await tick(day, DEADLINE + timedelta(hours=32)) == 0
    book = await load_rules(day.world.pool)
    for one, word in ((letter, NOTE), (after, "节假日安排已公布，答复期限由")):
        said = reasons(msgspec.convert(one, Supervision), book.versions(COUNTY, RuleName.COLOURS)[0], {})
        assert any(word in sentence for sentence in said), said
