"""The days on which something recurs: RRULE over days in China, and the seasons of domain.md section 6. Pure."""

from __future__ import annotations

from calendar import isleap, monthrange
from datetime import date, timedelta
from typing import Final

import msgspec

from contracts.kinds.plan import Recurrence, Terms
from contracts.rules import Season

# "以秋冬季(10月至次年3月)为重点时段" (001_f623fb8cb988dc33.txt): the only season whose months a source states.
AUTUMN_WINTER: Final = "autumn_winter"
AUTUMN_WINTER_MONTHS: Final = frozenset({10, 11, 12, 1, 2, 3})


_WEEKDAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DAY: Final = timedelta(days=1)
# What limits an answer to one position among the days of a period needs something that says which days those are.
_NEEDED_BY_SETPOS: Final = frozenset({"BYDAY", "BYMONTHDAY", "BYMONTH", "BYYEARDAY"})


def is_readable(rule: str) -> bool:
    """Whether it is a recurrence this program can expand."""
    try:
        msgspec.convert(rule, Recurrence)
    except msgspec.ValidationError:
        return False
    parts = parts_of(rule)
    return "BYSETPOS" not in parts or bool(parts.keys() & _NEEDED_BY_SETPOS)


def parts_of(rule: str) -> dict[str, list[str]]:
    return {name: values.split(",") for name, _, values in (part.partition("=") for part in rule.split(";"))}


class _Rule:
    """RFC 5545 over days. A period is a day, week, month or year; its days are those that pass every BY part."""

    def __init__(self, rule: str, starts: date) -> None:
        parts = parts_of(rule)
        self.freq, self.starts = parts["FREQ"][0], starts
        self.interval = int(parts.get("INTERVAL", ["1"])[0])
        self.week_begins = _WEEKDAYS.index(parts.get("WKST", ["MO"])[0])
        self.months, self.month_days = _numbers(parts, "BYMONTH"), _numbers(parts, "BYMONTHDAY")
        self.year_days, self.positions = _numbers(parts, "BYYEARDAY"), _numbers(parts, "BYSETPOS")
        self.weekdays = {(int(text[:-2] or 0), _WEEKDAYS.index(text[-2:])) for text in parts.get("BYDAY", [])}
        self._fill_in()

    def _fill_in(self) -> None:
        """What is not said is as on the first day."""
        if self.weekdays or self.month_days or self.year_days or self.freq == "DAILY":
            return
        if self.freq == "WEEKLY":
            self.weekdays = {(0, self.starts.weekday())}
            return
        if self.freq == "YEARLY" and not self.months:
            self.months = {self.starts.month}
        self.month_days = {self.starts.day}

    def days_at(self, day: date) -> list[date]:
        """The days on which it recurs in the period that a day lies in; none in the periods between two intervals."""
        if self._period_number(day) % self.interval:
            return []
        fitting = [one for one in self.period(day) if self._fits(one)]
        chosen = [k - 1 if k > 0 else len(fitting) + k for k in self.positions]
        return sorted({fitting[k] for k in chosen if 0 <= k < len(fitting)}) if self.positions else fitting

    def _period_number(self, day: date) -> int:
        """Counted from the one that the first day lies in."""
        if self.freq == "DAILY":
            return (day - self.starts).days
        if self.freq == "WEEKLY":
            return (self._week_of(day) - self._week_of(self.starts)).days // 7
        years = day.year - self.starts.year
        return years if self.freq == "YEARLY" else years * 12 + day.month - self.starts.month

    def _week_of(self, day: date) -> date:
        return day - timedelta(days=(day.weekday() - self.week_begins) % 7)

    def period(self, day: date) -> list[date]:
        if self.freq == "DAILY":
            return [day]
        if self.freq == "WEEKLY":
            return [self._week_of(day) + k * _DAY for k in range(7)]
        months = [day.month] if self.freq == "MONTHLY" else range(1, 13)
        return [date(day.year, m, d) for m in months for d in range(1, monthrange(day.year, m)[1] + 1)]

    def _fits(self, day: date) -> bool:
        year_day, days = day.timetuple().tm_yday, 366 if isleap(day.year) else 365
        return (
            (not self.months or day.month in self.months)
            and (not self.month_days or _is_one_of(self.month_days, day.day, monthrange(day.year, day.month)[1]))
            and (not self.year_days or _is_one_of(self.year_days, year_day, days))
            and (not self.weekdays or any(self._is_weekday(day, n, weekday) for n, weekday in self.weekdays))
        )

    def _is_weekday(self, day: date, n: int, weekday: int) -> bool:
        """`n`: the how-manieth of its month, or of its year where no month is named; negative: from the end."""
        if day.weekday() != weekday or n == 0 or self.freq in ("DAILY", "WEEKLY"):
            return day.weekday() == weekday
        if self.freq == "YEARLY" and not self.months:
            at, of = day.timetuple().tm_yday, 366 if isleap(day.year) else 365
        else:
            at, of = day.day, monthrange(day.year, day.month)[1]
        return n == (at - 1) // 7 + 1 if n > 0 else -n == (of - at) // 7 + 1


def _numbers(parts: dict[str, list[str]], name: str) -> set[int]:
    return {int(text) for text in parts.get(name, [])}


def _is_one_of(numbers: set[int], at: int, of: int) -> bool:
    """Counted from the beginning, or, negative, from the end."""
    return at in numbers or at - of - 1 in numbers


def occurrences(rule: str, starts: date, first: date, last: date) -> list[date]:
    """The days from `first` to `last`, both included, on which a readable rule that starts on `starts` recurs.

    It costs what lies between the two, however long ago the rule began and however seldom it comes (30 February: never).
    """
    expanded, begins = _Rule(rule, starts), max(first, starts)
    found, at = list[date](), begins
    while at <= last:
        found += [day for day in expanded.days_at(at) if begins <= day <= last]
        at = expanded.period(at)[-1] + _DAY
    return found


class Seasons(msgspec.Struct, frozen=True):
    """What a county has published, oldest first, each version with the first day it holds for: as every rule of a plan, it holds
    for days that begin when it is in force. So it does not matter on which day somebody asks.
    """

    versions: tuple[tuple[date, tuple[Season, ...]], ...] = ()

    def on(self, day: date) -> tuple[Season, ...]:
        """The stretches known when that day began."""
        held = [seasons for first, seasons in self.versions if first <= day]
        return held[-1] if held else ()


def in_season(key: str, day: date, seasons: Seasons) -> bool:
    """Whether a day lies in a season: the stated one, or one that the county has published."""
    if key == AUTUMN_WINTER and day.month in AUTUMN_WINTER_MONTHS:
        return True
    return any(season.key == key and season.from_on <= day <= season.to_on for season in seasons.on(day))


def is_in_force(terms: Terms, day: date, seasons: Seasons) -> bool:
    """Whether terms ask for anything on a day: within their days and seasons."""
    if day < terms.from_on or (terms.until_on is not None and day > terms.until_on):
        return False
    named = [*terms.seasons, *(i.season for i in terms.intensified)]
    return not terms.seasons or any(in_season(key, day, seasons) for key in named)


def days_of(terms: Terms, first: date, last: date, seasons: Seasons) -> list[date]:
    """The days on which terms ask for work: denser rules within their seasons, the plain one everywhere else."""
    last = min(last, terms.until_on) if terms.until_on else last
    denser = {i.season: i.rule for i in terms.intensified}
    days = {
        day
        for day in occurrences(terms.rule, terms.from_on, first, last)
        if not any(in_season(key, day, seasons) for key in denser)
        and (not terms.seasons or any(in_season(key, day, seasons) for key in terms.seasons))
    }
    for key, rule in denser.items():
        days |= {day for day in occurrences(rule, terms.from_on, first, last) if in_season(key, day, seasons)}
    return sorted(days)
