"""Which days are worked, and which of them nobody knows yet (decision 0036)."""

from datetime import UTC, date, datetime

import msgspec

from contracts.rules import CalendarRule, Duration, RuleName, RuleVersion
from storage.rules import public_holidays
from sync.rules import RuleBook, unpublished_note
from tests.county import COUNTY

HOLIDAYS = {date(2026, 10, 1): False, date(2026, 10, 10): True, date(2027, 1, 1): False}
EVE = datetime(2026, 12, 30, 2, tzinfo=UTC)
TWO_DAYS = Duration(working_days=2)


def version(n: int, starts: datetime, off: list[date], worked: list[date]) -> RuleVersion:
    body = msgspec.to_builtins(CalendarRule(days_off=off, days_worked=worked))
    return RuleVersion(county=COUNTY, name=RuleName.CALENDAR, version=n, starts=starts, body=body)


PUBLISHED = version(1, datetime(2027, 1, 1, tzinfo=UTC), [date(2027, 1, 4)], [date(2027, 1, 3)])


def test_what_the_library_guesses_is_no_day_off() -> None:
    """2026 is published in full; of 2027 the days of the law are known, and not on which weekdays they are made good."""
    days = public_holidays()
    assert {day for day, is_worked in days.items() if is_worked and day.year == 2026} == {
        date(2026, 1, 4), date(2026, 2, 14), date(2026, 2, 28), date(2026, 5, 9), date(2026, 9, 20), date(2026, 10, 10),
    }  # fmt: skip
    assert days[date(2026, 4, 6)] is False  # made good on a Monday, as published
    published = RuleBook((), days).published_years
    assert 2026 in published
    if 2027 not in published:
        assert days[date(2027, 1, 1)] is False
        assert not {date(2027, 2, 9), date(2027, 2, 10), date(2027, 5, 3), date(2027, 5, 4), date(2027, 10, 4)} & days.keys()


def test_a_term_knows_the_unpublished_years_it_rests_on() -> None:
    calendar = RuleBook((), HOLIDAYS).calendar(COUNTY, EVE)
    assert calendar.unpublished(EVE, Duration(working_days=1)) == []  # 12-31: its last moment is the first of the next year
    assert calendar.unpublished(EVE, TWO_DAYS) == [2027]
    assert calendar.unpublished(EVE, Duration(hours=1000)) == []  # by the clock no calendar is asked
    assert calendar.unpublished(EVE, Duration(working_days=400)) == [2027, 2028]
    assert RuleBook().calendar(COUNTY, EVE).unpublished(EVE, TWO_DAYS) == []  # where no holidays are kept nothing is waited for


def test_a_calendar_learns_an_unpublished_year_and_no_other() -> None:
    """A term that began before the publication ends by it; a year that was known then is not changed behind anybody's back."""
    before, after = RuleBook((), HOLIDAYS), RuleBook([PUBLISHED], HOLIDAYS)
    assert before.calendar(COUNTY, EVE).add(EVE, TWO_DAYS) == datetime(2027, 1, 4, 16, tzinfo=UTC)
    assert after.calendar(COUNTY, EVE).add(EVE, TWO_DAYS) == datetime(2027, 1, 3, 16, tzinfo=UTC)
    assert after.calendar(COUNTY, EVE).unpublished(EVE, TWO_DAYS) == []
    changed = version(2, datetime(2027, 2, 1, tzinfo=UTC), [date(2026, 12, 31)], [date(2027, 1, 2)])
    again = RuleBook([PUBLISHED, changed], HOLIDAYS)
    assert again.calendar(COUNTY, EVE).add(EVE, TWO_DAYS) == datetime(2027, 1, 3, 16, tzinfo=UTC)


def test_the_note_names_the_years_once() -> None:
    assert unpublished_note([]) == ""
    assert unpublished_note([2028, 2027, 2027]).startswith("2027、2028年")
