"""Ledgers (台账): what the console lists, by which filters, in which order (docs/office-api.md)."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from contracts.ids import County, RecordId, StreamName, UnitCode, Version
from contracts.rules import Colour

TOTAL_MAX = 1000  # beyond it a count costs more than it tells
ROWS_MAX = 200


class LedgerName(str, Enum):
    """The ledgers, each a kind. `assignments` are problems as the units see them that must fix them, `handovers` transfers as their
    receivers have them.
    """

    PROBLEMS = "problems"
    ASSIGNMENTS = "assignments"
    WHISTLES = "whistles"
    SUMMONS = "summons"
    SUPERVISIONS = "supervisions"
    TASKS = "tasks"
    INSPECTIONS = "inspections"
    SITES = "sites"
    TRANSFERS = "transfers"
    HANDOVERS = "handovers"
    NOTICES = "notices"
    PLANS = "plans"
    RESPONSES = "responses"
    CAMPAIGNS = "campaigns"
    ACTIVITIES = "activities"

    @property
    def kind(self) -> str:
        return LEDGER_KINDS[self]


LEDGER_KINDS: dict[LedgerName, str] = {
    LedgerName.PROBLEMS: "problem",
    LedgerName.ASSIGNMENTS: "assignment",
    LedgerName.WHISTLES: "whistle",
    LedgerName.SUMMONS: "summons",
    LedgerName.SUPERVISIONS: "supervision",
    LedgerName.TASKS: "task",
    LedgerName.INSPECTIONS: "inspection",
    LedgerName.SITES: "site",
    LedgerName.TRANSFERS: "transfer",
    LedgerName.HANDOVERS: "handover",
    LedgerName.NOTICES: "notice",
    LedgerName.PLANS: "plan",
    LedgerName.RESPONSES: "response",
    LedgerName.CAMPAIGNS: "campaign",
    LedgerName.ACTIVITIES: "activity",
}


class LedgerSort(str, Enum):
    """due: the earliest first, those without a deadline last. found, changed: the newest first."""

    DUE = "due"
    FOUND = "found"
    CHANGED = "changed"


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One record of a ledger. Colours are those of open supervisions that the caller may see.

    body   the record without its story (steps, comments, answers), which one call of its own gives
    """

    county: County
    id: RecordId
    kind: str
    stream: StreamName
    unit: UnitCode
    unit_name: str
    v: Version
    title: str
    is_open: bool
    overdue: bool
    due_at: datetime | None
    found_at: datetime
    changed_at: datetime
    colours: list[Colour] = []
    site_name: str | None = None
    body: dict[str, Any] = {}


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are. `more`: at least so many; "1000+" on the screen."""

    count: Annotated[int, Meta(ge=0, le=TOTAL_MAX)]
    more: bool = False


class LedgerPage(msgspec.Struct, frozen=True, kw_only=True):
    """`next`: give it as `after` to read on; None: that was all. `total` only on the first page."""

    rows: list[LedgerRow]
    next: str | None = None
    total: Total | None = None
