"""The days on which something recurs: RRULE over days in China, and the seasons of domain.md section 6. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time
from typing import Final

import msgspec
from dateutil.rrule import rrulestr

from contracts.kinds.plan import Recurrence, Terms
from contracts.rules import Season

# "以秋冬季(10月至次年3月)为重点时段" (001_f623fb8cb988dc33.txt): the only season whose months a source states.
AUTUMN_WINTER: Final = "autumn_winter"
AUTUMN_WINTER_MONTHS: Final = frozenset({10, 11, 12, 1, 2, 3})


def is_readable(rule: str) -> bool:
    """Whether it is a recurrence this program can expand."""
    try:
        msgspec.convert(rule, Recurrence)
        occurrences(rule, date(2026, 1, 1), date(2026, 1, 1), date(2026, 1, 31))
    except (ValueError, msgspec.ValidationError):
        return False
    return True


def occurrences(rule: str, starts: date, first: date, last: date) -> list[date]:
    """The days from `first` to `last`, both included, on which a rule that starts on `starts` recurs. ValueError: not readable.

    Where nothing can recur (30 February) it ends with `last` all the same.
    """
    if last < max(first, starts):
        return []
    expanded = rrulestr(f"{rule};UNTIL={last:%Y%m%d}", dtstart=datetime.combine(starts, time.min))
    return [moment.date() for moment in expanded if moment.date() >= first]


def in_season(key: str, day: date, seasons: Iterable[Season]) -> bool:
    """Whether a day lies in a season: the stated one, or one that the county has published."""
    if key == AUTUMN_WINTER and day.month in AUTUMN_WINTER_MONTHS:
        return True
    return any(season.key == key and season.from_on <= day <= season.to_on for season in seasons)


def days_of(terms: Terms, first: date, last: date, seasons: Iterable[Season]) -> list[date]:
    """The days on which terms ask for work: denser rules within their seasons, the plain one everywhere else."""
    known = list(seasons)
    last = min(last, terms.until_on) if terms.until_on else last
    denser = {i.season: i.rule for i in terms.intensified}
    days = {
        day
        for day in occurrences(terms.rule, terms.from_on, first, last)
        if not any(in_season(key, day, known) for key in denser)
        and (not terms.seasons or any(in_season(key, day, known) for key in terms.seasons))
    }
    for key, rule in denser.items():
        days |= {day for day in occurrences(rule, terms.from_on, first, last) if in_season(key, day, known)}
    return sorted(days)
