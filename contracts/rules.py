"""Casework rules: what no source states (response times, colour triggers, look-back terms) is configuration here.

A rule is published as a version with the day from which it holds; a version is never edited, so what was decided under it can
always be explained. Without a version nothing runs and nothing is due: no default is presented as policy (domain.md section 4).
"""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from contracts.ids import County, PersonId


class RuleName(str, Enum):
    """What can be configured; the body's shape is in `RULE_BODIES`."""

    CALENDAR = "calendar"
    WHISTLE = "whistle"
    COLOURS = "colours"
    REMINDERS = "reminders"
    LOOK_BACK = "look_back"
    SEASONS = "seasons"
    DUPLICATES = "duplicates"


class Duration(msgspec.Struct, frozen=True, kw_only=True):
    """How long: working days (to the end of the last one) or hours by the clock. Exactly one is given."""

    working_days: Annotated[int, Meta(ge=0, le=400)] | None = None
    hours: Annotated[float, Meta(gt=0, le=10_000)] | None = None

    def __post_init__(self) -> None:
        if (self.working_days is None) == (self.hours is None):
            raise ValueError("exactly one of working_days and hours")


class CalendarRule(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from the published holidays: extra days off, and weekends that are worked.

    A year counts as published when weekends of it are known to be worked; terms that rested on it before are corrected (decision 0036).
    """

    days_off: list[date] = []
    days_worked: list[date] = []


class WhistleRule(msgspec.Struct, frozen=True, kw_only=True):
    """The clocks of a summons, each counted from the blowing. None: no clock."""

    sign: Duration | None = None
    report_in: Duration | None = None
    result: Duration | None = None


class Colour(str, Enum):
    """Rising severity, as the names say (domain.md 4.3)."""

    WHITE = "white"
    YELLOW = "yellow"
    RED = "red"


class ColourTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """Issue `colour` when `fact` has lasted for `after` (None: at once).

    fact   overdue: the problem's deadline has passed and it is neither fixed nor suspended; returned: it was returned `count` times
           as bad rectification; rebounded: it came back `count` times; summons_overdue: a summoned department's clock has run out;
           unanswered: the colour before has not been answered by its own deadline, and what it is about is still to be done
    addressee   leads: the units that must fix it, or the summoned department; county: the county itself, for rules of the city
    subjects, sources   of a problem: only these; empty: all
    """

    key: Annotated[str, Meta(pattern=r"^[a-z0-9_]+$(?!\n)", max_length=40)]
    colour: Colour
    fact: Literal["overdue", "returned", "rebounded", "summons_overdue", "unanswered"]
    after: Duration | None = None
    count: Annotated[int, Meta(ge=1, le=100)] = 1
    addressee: Literal["leads", "county"] = "leads"
    subjects: list[str] = []
    sources: list[str] = []
    answer_within: Duration | None = None


class ColoursRule(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters are issued by themselves, when, in which colour."""

    triggers: list[ColourTrigger]


class RemindersRule(msgspec.Struct, frozen=True, kw_only=True):
    """预警提醒: so long before a deadline."""

    before: list[Duration]


class LookBackRule(msgspec.Struct, frozen=True, kw_only=True):
    """回头看: so long after close-out; null: not by itself."""

    after: Duration | None


class Season(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of one year, both days included, such as this year's summer harvest: when it is, no source states."""

    key: Annotated[str, Meta(pattern=r"^[a-z0-9_]+$(?!\n)", max_length=40)]
    from_on: date
    to_on: date

    def __post_init__(self) -> None:
        if self.to_on < self.from_on:
            raise ValueError("a season ends before it begins")


class SeasonsRule(msgspec.Struct, frozen=True, kw_only=True):
    """Dated seasons, for patrols that are denser then. October to March needs none: a source states it (sync/recurrence.py)."""

    seasons: list[Season]


class DuplicatesRule(msgspec.Struct, frozen=True, kw_only=True):
    """Two problems of one subject at one place may be the same one if they were found so close together. No rule: whenever both are open."""

    within_days: Annotated[int, Meta(ge=1, le=3660)]


RULE_BODIES: dict[RuleName, type[msgspec.Struct]] = {
    RuleName.CALENDAR: CalendarRule,
    RuleName.WHISTLE: WhistleRule,
    RuleName.COLOURS: ColoursRule,
    RuleName.REMINDERS: RemindersRule,
    RuleName.LOOK_BACK: LookBackRule,
    RuleName.SEASONS: SeasonsRule,
    RuleName.DUPLICATES: DuplicatesRule,
}


class RuleVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One published version for one county. In force from `starts` until a later version starts."""

    county: County
    name: RuleName
    version: int
    starts: datetime
    body: dict[str, Any]
    made_by: PersonId | None = None
    made_at: datetime | None = None
    note: str = ""


class PublishRule(msgspec.Struct, frozen=True, kw_only=True):
    """A new version. `starts` may not lie in the past: what was decided stays decided."""

    county: County
    name: RuleName
    starts: Annotated[datetime, Meta(tz=True)]
    body: Annotated[dict[Annotated[str, Meta(max_length=200)], Any], Meta(max_length=200)]
    note: Annotated[str, Meta(max_length=1000)] = ""
