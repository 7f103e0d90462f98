"""The rules in force at a moment, and the working-day calendar."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Final, TypeVar, cast

import msgspec

from contracts.ids import County
from contracts.rules import RULE_BODIES, CalendarRule, Duration, RuleName, RuleVersion

CHINA: Final = timezone(timedelta(hours=8))  # one civil time for all of China, without daylight saving
NEVER: Final = datetime.max.replace(tzinfo=UTC)
EVER: Final = datetime.min.replace(tzinfo=UTC)
_T = TypeVar("_T", bound=msgspec.Struct)


def day_of(moment: datetime) -> date:
    """The day in China on which it is."""
    return moment.astimezone(CHINA).date()


class RuleBook:
    """All published versions. Lookups are total: no version means no rule."""

    def __init__(self, versions: Iterable[RuleVersion] = (), holidays: Mapping[date, bool] | None = None) -> None:
        """`holidays`: date -> whether it is worked, where it differs from Monday to Friday."""
        self._versions: dict[tuple[County, RuleName], list[RuleVersion]] = {}
        for version in sorted(versions, key=lambda v: (v.starts, v.version)):
            self._versions.setdefault((version.county, version.name), []).append(version)
        self._holidays = dict(holidays or {})
        # every year has weekends that are worked, and nobody knows them before the year is published
        self.published_years: frozenset[int] = frozenset(day.year for day, is_worked in self._holidays.items() if is_worked)
        self._decoded: dict[tuple[County, RuleName, int], msgspec.Struct] = {}
        self._calendars: dict[tuple[County, int], Calendar] = {}

    def content(self) -> tuple[list[RuleVersion], list[tuple[date, bool]]]:
        """Everything lookups go by."""
        return [v for versions in self._versions.values() for v in versions], sorted(self._holidays.items())

    def versions(self, county: County, name: RuleName) -> list[RuleVersion]:
        """All versions of one rule, oldest first."""
        return self._versions.get((county, name), [])

    def at(self, county: County, name: RuleName, moment: datetime) -> RuleVersion | None:
        """The version in force."""
        in_force = [v for v in self.versions(county, name) if v.starts <= moment]
        return in_force[-1] if in_force else None

    def before(self, version: RuleVersion) -> RuleVersion | None:
        """The version that was in force until this one began."""
        earlier = [v for v in self.versions(version.county, version.name) if v.starts < version.starts]
        return earlier[-1] if earlier else None

    def decoded(self, version: RuleVersion, shape: type[_T]) -> _T:
        """The body of a version, decoded once."""
        key = (version.county, version.name, version.version)
        if key not in self._decoded:
            self._decoded[key] = msgspec.convert(version.body, shape)
        return cast("_T", self._decoded[key])

    def body(self, county: County, shape: type[_T], moment: datetime) -> _T | None:
        """The body of the version in force, decoded."""
        name = next(name for name, body in RULE_BODIES.items() if body is shape)
        version = self.at(county, name, moment)
        return None if version is None else self.decoded(version, shape)

    def calendar(self, county: County, moment: datetime) -> Calendar:
        """The working days as known at a moment, and of years that were not published by then as they were published later (decision 0036)."""
        version = self.at(county, RuleName.CALENDAR, moment)
        key = (county, version.version if version else 0)
        if key not in self._calendars:
            self._calendars[key] = self._calendar(county, version)
        return self._calendars[key]

    def _calendar(self, county: County, version: RuleVersion | None) -> Calendar:
        rule = self.decoded(version, CalendarRule) if version else CalendarRule()
        differs = self._holidays | _days(rule)
        published = self.published_years | {day.year for day in rule.days_worked}
        for later in self.versions(county, RuleName.CALENDAR):
            if version is None or (later.starts, later.version) > (version.starts, version.version):
                found = self.decoded(later, CalendarRule)
                years = {day.year for day in found.days_worked} - published
                differs |= {day: is_worked for day, is_worked in _days(found).items() if day.year in years}
                published |= years
        return Calendar(differs, published if self._holidays else None)


def _days(rule: CalendarRule) -> dict[date, bool]:
    return dict.fromkeys(rule.days_off, False) | dict.fromkeys(rule.days_worked, True)


def unpublished_note(years: Collection[int]) -> str:
    """For people, in Chinese; "" when there is nothing to say."""
    if not years:
        return ""
    named = "、".join(str(year) for year in sorted(set(years)))
    return f"{named}年的节假日和调休安排尚未公布，期限暂按周一至周五和法定节日推算，公布后自动更正"


class Calendar:
    """Working days: Monday to Friday, but for the days that differ. Total: before or after all time is at its end."""

    def __init__(self, differs: Mapping[date, bool], published: Collection[int] | None = None) -> None:
        """`published`: the years whose days off and weekends worked are known; None: all."""
        self._differs = differs
        self._published = published

    def is_published(self, year: int) -> bool:
        return self._published is None or year in self._published

    def unpublished(self, start: datetime, duration: Duration) -> list[int]:
        """The years on which a term rests although nobody knows yet which of their days are worked."""
        if self._published is None or duration.working_days is None:
            return []
        years = range(day_of(start).year, day_of(self.add(start, duration) - timedelta(seconds=1)).year + 1)
        return [year for year in years if not self.is_published(year)]

    def is_worked(self, day: date) -> bool:
        return self._differs.get(day, day.weekday() < 5)

    def add(self, start: datetime, duration: Duration) -> datetime:
        """When a term that begins at `start` ends. Working days end at midnight after the last, China time."""
        try:
            return self._add(start, duration)
        except OverflowError:
            return NEVER

    def _add(self, start: datetime, duration: Duration) -> datetime:
        if duration.hours is not None:
            return start + timedelta(hours=duration.hours)
        day, left = day_of(start), duration.working_days or 0
        while left > 0:
            day += timedelta(days=1)
            left -= self.is_worked(day)
        return datetime.combine(day + timedelta(days=1), time.min, CHINA).astimezone(UTC)

    def subtract(self, end: datetime, duration: Duration) -> datetime:
        """When to remind: so long before `end`. Working days begin at midnight."""
        try:
            return self._subtract(end, duration)
        except OverflowError:
            return EVER

    def _subtract(self, end: datetime, duration: Duration) -> datetime:
        if duration.hours is not None:
            return end - timedelta(hours=duration.hours)
        day, left = day_of(end), duration.working_days or 0
        while left > 0:
            day -= timedelta(days=1)
            left -= self.is_worked(day)
        return datetime.combine(day, time.min, CHINA).astimezone(UTC)


def read_day(value: object) -> date | None:
    """None for what is no day."""
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        return None


def end_of(day: date) -> datetime:
    """The moment a deadline on a day has passed: midnight after it, China time. Also of the first and the last day there is."""
    return datetime.combine(day, time(16), UTC)
