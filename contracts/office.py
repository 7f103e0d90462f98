"""The office beside its ledgers: one record's whole story, assigning many problems at once, imports (docs/office-api.md)."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from contracts.ids import County, DeviceId, MutationId, PersonId, RecordId, StreamName, UnitCode, Version
from contracts.kind import Code, Position
from contracts.outcomes import MutationOutcome, Outcome, Reason
from contracts.rules import Colour, RuleVersion

AT_ONCE_MAX = 200  # problems of one request


# -------------------------------------------------------------------------------------------------- stories


class StoryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it stands, for whoever has its stream."""

    id: RecordId
    kind: str
    stream: StreamName
    v: Version
    changed_at: datetime
    deleted: bool
    body: msgspec.Raw


class StoryEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One journal entry that touched the record: also what was refused or waits on the caller's desk.

    what      mutation: as it came; decision: of a held one, later; consequence: of another mutation, or of a rule
    fields    {field: [old, new]} as whoever wrote it saw it
    args      a command's arguments
    set       fields that the server set as a consequence
    """

    device: DeviceId
    n: int
    entry: int
    what: str
    received_at: datetime
    outcome: Outcome
    reason: Reason
    record: RecordId | None = None
    op: str | None = None
    mutation: MutationId | None = None
    person: PersonId | None = None
    captured_from: datetime | None = None
    captured_to: datetime | None = None
    v: Version | None = None
    detail: dict[str, Any] | None = None
    fields: dict[str, Any] = {}
    args: dict[str, Any] = {}
    set: dict[str, Any] = {}


class StoryPhoto(msgspec.Struct, frozen=True, kw_only=True):
    """`links`: rendering -> path; a rendering that is not made yet answers not_found. Empty until the bytes are here."""

    id: RecordId
    sha256: str
    purpose: str
    caption: str = ""
    item: str | None = None
    taken_by: PersonId | None = None
    position: Position | None = None
    received_at: datetime | None = None
    flags: list[str] = []
    links: dict[str, str] = {}


class StoryColour(msgspec.Struct, frozen=True, kw_only=True):
    """An open letter to a unit that has a part in the record; the letter itself is for those who have its stream."""

    colour: Colour
    unit: UnitCode
    issued_at: datetime | None = None


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A record with everything that belongs to it and that the caller may see; each list oldest first.

    people      names of everybody who is mentioned      units   names of the units
    entries     newest `ENTRIES_MAX`; `more_entries`: there are older ones
    colours     of a problem or whistle, for the office of its unit: which unit that must act on it was sent a letter, and stands in which colour
    """

    county: County
    record: StoryRecord
    people: dict[str, str]
    units: dict[UnitCode, str]
    entries: list[StoryEntry]
    more_entries: bool
    photos: list[StoryPhoto] = []
    assignments: list[StoryRecord] = []
    whistles: list[StoryRecord] = []
    summons: list[StoryRecord] = []
    supervisions: list[StoryRecord] = []
    colours: list[StoryColour] = []
    transfers: list[StoryRecord] = []
    handovers: list[StoryRecord] = []
    conflicts: list[StoryRecord] = []
    inspections: list[StoryRecord] = []
    problems: list[StoryRecord] = []
    sites: list[StoryRecord] = []
    tasks: list[StoryRecord] = []
    notices: list[StoryRecord] = []
    activities: list[StoryRecord] = []


# -------------------------------------------------------------------------------------------------- many at once


class ToAssign(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`base`: the version that was on the screen; None: whatever it is now."""

    problem: RecordId
    base: Version | None = None


class AssignMany(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many problems to the same units with one deadline. The same `id` again changes nothing and has the same outcomes."""

    id: MutationId
    county: County
    problems: Annotated[list[ToAssign], Meta(min_length=1, max_length=AT_ONCE_MAX)]
    leads: Annotated[list[Code], Meta(min_length=1, max_length=2)]
    supporting: Annotated[list[Code], Meta(max_length=20)] = []
    due_on: date


class BulkRow(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one problem. `fault`: not_found (not the caller's to see, or no problem), or internal (nothing was written for it)."""

    problem: RecordId
    outcome: MutationOutcome | None = None
    fault: str | None = None


class AssignedMany(msgspec.Struct, frozen=True, kw_only=True):
    """One answer per problem, in the order asked. `applied`: how many."""

    applied: int
    rows: list[BulkRow]


class PlanLookBacks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """回头看 (domain.md 4.7): one day for all closed problems that the filters of the ledger hold for, page by page.

    id      of the campaign, for all its pages: what it has planned is not planned again
    state   any of these; empty: both
    text    with something to look for: a blank filter, as a mistyped one, would plan for all
    after   None: from the beginning; then what the answer before gave as `next`
    """

    id: MutationId
    county: County
    look_back_on: date
    state: Annotated[list[Literal["closed_out", "look_back_passed"]], Meta(max_length=2)] = []
    unit: Code | None = None
    subject: Code | None = None
    source: Code | None = None
    finding: Code | None = None
    site: RecordId | None = None
    department: Code | None = None
    name: Code | None = None
    closed_year: Annotated[int, Meta(ge=2000, le=9999)] | None = None
    text: Annotated[str, Meta(max_length=100, pattern=r"\w")] | None = None
    after: Annotated[str, Meta(max_length=120)] | None = None
    limit: Annotated[int, Meta(ge=1, le=AT_ONCE_MAX)] = AT_ONCE_MAX


class LookBacksPlanned(msgspec.Struct, frozen=True, kw_only=True):
    """One answer per problem of this page, in the order of the ledger. `next`: ask again with it as `after`; None: that was all."""

    applied: int
    rows: list[BulkRow]
    next: str | None = None


# -------------------------------------------------------------------------------------------------- imports


class ImportSubject(str, Enum):
    """staff: units, people and duties in one workbook. sites: supervised objects of one county."""

    STAFF = "staff"
    SITES = "sites"


class ImportFault(msgspec.Struct, frozen=True, kw_only=True):
    """One cell or row that is wrong. `row` as the spreadsheet counts, 0: the sheet; `text` is for people."""

    sheet: str
    row: int
    column: str
    code: str
    text: str


class ImportedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """`password`: only in this answer, and never again."""

    person: PersonId
    name: str
    phone: str
    password: str


class ImportAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Of a dry run or an import. With faults nothing was written; otherwise everything was, or would be.

    sha256     of the file: give it as `confirm` to import exactly what was tried
    counts     rows by sheet
    unchanged  of these: rows that say what is here already; they are passed over
    """

    sha256: str
    dry_run: bool
    counts: dict[str, int]
    unchanged: dict[str, int] = {}
    faults: list[ImportFault] = []
    more_faults: bool = False
    accounts: list[ImportedAccount] = []


# -------------------------------------------------------------------------------------------------- rules


class RuleVersions(msgspec.Struct, frozen=True, kw_only=True):
    """All versions of a county's rules, by name and age. `in_force`: rule -> the version that holds now.

    unpublished_years   of this year and the next, those whose days off and weekends worked are not known: terms that rest on them are
                        corrected when the rule `calendar` has them. `notice`: that, for people; empty when there are none
    """

    versions: list[RuleVersion]
    in_force: dict[str, int]
    unpublished_years: list[int] = []
    notice: str = ""


class WhyLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One supervision letter explained. `sentences`: for people, in the order of what happened; `rule`: the version it was issued under,
    none for a letter by hand.
    """

    id: RecordId
    colour: Colour
    state: str
    grounds: dict[str, Any]
    rule: RuleVersion | None
    sentences: list[str]


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """The letter that was asked for, last, and those it followed."""

    county: County
    letters: list[WhyLetter]
