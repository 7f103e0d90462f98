"""What planning may know besides the records: units, checklists, responsibilities. Slow-changing, kept in memory."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from contracts.checklist import Checklist, load_checklists
from contracts.responsibility import ResponsibilityTable, load_responsibility
from sync.places import Places
from sync.rules import RuleBook


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """One consistent snapshot, handed to each push."""

    places: Places
    checklists: Mapping[tuple[str, int], Checklist]
    responsibility: ResponsibilityTable
    rules: RuleBook = RuleBook()


def reference_of(places: Places, rules: RuleBook | None = None) -> Reference:
    """With the definitions that ship with this release (both loaders are cached)."""
    return Reference(
        places=places,
        checklists=load_checklists(),
        responsibility=load_responsibility(),
        rules=rules or RuleBook(),
    )
