"""The rules in force at a moment, and the working-day calendar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Final, TypeVar, cast

import msgspec

from contracts.ids import County
from contracts.rules import RULE_BODIES, CalendarRule, Duration, RuleName, RuleVersion

CHINA: Final = timezone(timedelta(hours=8))  # one civil time for all of China, without daylight saving
_T = TypeVar("_T", bound=msgspec.Struct)


class RuleBook:
    """All published versions. Lookups are total: no version means no rule."""

    def __init__(self, versions: Iterable[RuleVersion] = (), holidays: Mapping[date, bool] | None = None) -> None:
        """`holidays`: date -> whether it is worked, where it differs from Monday to Friday."""
        self._versions: dict[tuple[County, RuleName], list[RuleVersion]] = {}
        for version in sorted(versions, key=lambda v: (v.starts, v.version)):
            self._versions.setdefault((version.county, version.name), []).append(version)
        self._holidays = dict(holidays or {})

    def versions(self, county: County, name: RuleName) -> list[RuleVersion]:
        """All versions of one rule, oldest first."""
        return self._versions.get((county, name), [])

    def at(self, county: County, name: RuleName, moment: datetime) -> RuleVersion | None:
        """The version in force."""
        in_force = [v for v in self.versions(county, name) if v.starts <= moment]
        return in_force[-1] if in_force else None

    def body(self, county: County, shape: type[_T], moment: datetime) -> _T | None:
        """The body of the version in force, decoded."""
        name = next(name for name, body in RULE_BODIES.items() if body is shape)
        version = self.at(county, name, moment)
        return None if version is None else cast("_T", msgspec.convert(version.body, shape))

    def calendar(self, county: County, moment: datetime) -> Calendar:
        """The working days as known at a moment."""
        rule = self.body(county, CalendarRule, moment) or CalendarRule()
        differs = self._holidays | dict.fromkeys(rule.days_off, False) | dict.fromkeys(rule.days_worked, True)
        return Calendar(differs)


class Calendar:
    """Working days: Monday to Friday, but for the days that differ."""

    def __init__(self, differs: Mapping[date, bool]) -> None:
        self._differs = differs

    def is_worked(self, day: date) -> bool:
        return self._differs.get(day, day.weekday() < 5)

    def add(self, start: datetime, duration: Duration) -> datetime:
        """When a term that begins at `start` ends. Working days end at midnight after the last, China time."""
        if duration.hours is not None:
            return start + timedelta(hours=duration.hours)
        day, left = start.astimezone(CHINA).date(), duration.working_days or 0
        while left > 0:
            day += timedelta(days=1)
            left -= self.is_worked(day)
        return datetime.combine(day + timedelta(days=1), time.min, CHINA).astimezone(UTC)

    def subtract(self, end: datetime, duration: Duration) -> datetime:
        """When to remind: so long before `end`. Working days begin at midnight."""
        if duration.hours is not None:
            return end - timedelta(hours=duration.hours)
        day, left = end.astimezone(CHINA).date(), duration.working_days or 0
        while left > 0:
            day -= timedelta(days=1)
            left -= self.is_worked(day)
        return datetime.combine(day, time.min, CHINA).astimezone(UTC)


def end_of(day: date) -> datetime:
    """The moment a deadline on a day has passed: midnight after it, China time."""
    return datetime.combine(day + timedelta(days=1), time.min, CHINA).astimezone(UTC)
