"""What the office asks about plans: coverage of sites, road-check months, and who has a letter (docs/tasks.md)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.ids import County, MutationId, PersonId, RecordId, UnitCode
from contracts.kind import Code, Heading, Text
from contracts.outcomes import Outcome
from contracts.people import Role


class SiteStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One active site. `seen_at`: its newest submitted inspection; `covered` None: nobody has set how often it must be seen."""

    site: RecordId
    name: str
    unit: UnitCode
    period_days: int | None
    seen_at: datetime | None
    unseen_days: int | None
    covered: bool | None


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Of the sites in the caller's units: `with_period` are judged, `covered` of them were seen in time. Counted on the first page only."""

    county: County
    on: date
    with_period: int | None
    covered: int | None
    without_period: int | None
    rows: list[SiteStanding]
    next: RecordId | None = None


class RoadCheckMonth(msgspec.Struct, frozen=True, kw_only=True):
    """Campaigns and days of one month, never vehicles. `source`: the sentence that asks for them."""

    unit: UnitCode
    month: date
    held: int
    planned: int
    too_short: int
    days: int
    still_possible: int
    is_met: bool
    can_be_met: bool
    source: str


class SendLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One letter to several units, or to some roles of them. The same `letter` again is the same letter."""

    letter: RecordId
    from_unit: Code
    units: Annotated[list[Code], Meta(min_length=1, max_length=300)]
    title: Heading
    text: Text = ""
    category: Code = "notice"
    roles: Annotated[list[Role], Meta(max_length=20)] = []
    subject_record: RecordId | None = None
    needs_acknowledgement: bool = False
    acknowledge_by: datetime | None = None


class LetterSent(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one unit's copy."""

    unit: UnitCode
    county: County
    notice: RecordId
    mutation: MutationId | None
    outcome: Outcome


class Addressee(msgspec.Struct, frozen=True, kw_only=True):
    person: PersonId
    name: str
    role: Role


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """Who signed for a letter, and when, at the latest. It stays, also when the person has left. `late`: after the letter's term."""

    person: PersonId
    name: str
    signed_at: datetime | None = None
    late: bool = False


class LetterCopy(msgspec.Struct, frozen=True, kw_only=True):
    """One unit's copy: who has signed for it, and who of those with a duty there today has not. Withdrawn, nobody has to."""

    county: County
    notice: RecordId
    unit: UnitCode
    unit_name: str
    title: str
    state: str
    needs_acknowledgement: bool
    acknowledge_by: datetime | None
    acknowledged: list[Signature]
    missing: list[Addressee]


class LetterStanding(msgspec.Struct, frozen=True, kw_only=True):
    copies: list[LetterCopy]
