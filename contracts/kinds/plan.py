"""A patrol plan (巡查计划): tasks that come back by themselves. Source: domain.md section 6; how often is nowhere stated."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.ids import PersonId, RecordId, UnitCode
from contracts.kind import Code, Comment, Kind, ShortText, Step, Text
from contracts.meta import Policy, field
from contracts.people import Audience

# What of RFC 5545 a patrol needs: days, never hours; where it ends is said by `until_on` and by ending the plan. An interval of
# nought would never come to an end.
_WEEKDAY = "(MO|TU|WE|TH|FR|SA|SU)"
_PARTS = "|".join(
    f"{name}={one}" if name in ("INTERVAL", "WKST") else f"{name}={one}(,{one})*"
    for name, one in (
        ("INTERVAL", "[1-9][0-9]{0,2}"),
        ("BYDAY", rf"([+-]?[1-9][0-9]?)?{_WEEKDAY}"),
        ("BYMONTHDAY", "[+-]?([1-9]|[12][0-9]|3[01])"),
        ("BYMONTH", "([1-9]|1[0-2])"),
        ("BYSETPOS", "[+-]?[1-9][0-9]{0,2}"),
        ("BYYEARDAY", "[+-]?[1-9][0-9]{0,2}"),
        ("WKST", _WEEKDAY),
    )
)
Recurrence = Annotated[str, Meta(max_length=200, pattern=rf"^FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;({_PARTS}))*$(?!\n)")]


class Intensified(msgspec.Struct, frozen=True, kw_only=True):
    """Within a season (of the published rule `seasons`) another recurrence takes the place of the plan's own."""

    season: Code
    rule: Recurrence


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan asks for, as one whole: a revision has all of it.

    rule         RRULE over days in China; `from_on` is its first day (DTSTART)
    assignee     only on days on which that person has a duty there; without `units` and `sites` the task is where the duty is
    seasons      only in these; empty: all year
    units        each gets its own task (with `sites`: each that has one of them); the plan's own unit where none is named
    sites        each goes into the task of the unit nearest above it
    ahead_days   so long before its day a task is made
    due_days     so long after its day it is due; None: no deadline
    period_days  how long each site may go unseen; for sites that have no period of their own
    """

    rule: Recurrence
    from_on: date
    until_on: date | None = None
    seasons: list[Code] = []
    intensified: list[Intensified] = []
    units: Annotated[list[UnitCode], Meta(max_length=300)] = []
    subject: Code | None = None
    sites: Annotated[list[RecordId], Meta(max_length=500)] = []
    assignee: PersonId | None = None
    visit_mode: Code | None = None
    ahead_days: Annotated[int, Meta(ge=0, le=60)] = 0
    due_days: Annotated[int, Meta(ge=0, le=400)] | None = None
    period_days: Annotated[int, Meta(ge=1, le=3660)] | None = None
    note: Text = ""

    def rules(self) -> list[Recurrence]:
        return [self.rule, *(one.rule for one in self.intensified)]


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """Terms in force for the occurrences after `since` and up to `until`; the days of both are told in China time."""

    n: int
    terms: Terms
    since: datetime
    until: datetime | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`terms` are set by plan.start and plan.revise only; `revisions` keeps all that ever held, so that later is exact."""

    unit: Annotated[UnitCode, field("计划单位", Policy.IMMUTABLE, max_length=40)]
    title: Annotated[ShortText, field("计划", Policy.LATEST)]
    terms: Annotated[Terms | None, field("计划内容", Policy.COMMAND)] = None
    revisions: Annotated[list[Revision], field("历次内容", Policy.SERVER)] = []
    note: Annotated[Text, field("备注", Policy.LATEST)] = ""
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "drafted"
    steps: Annotated[list[Step], field("办理过程", Policy.SERVER)] = []
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="plan", title="巡查计划", body=Plan, audience=Audience.OFFICE)
