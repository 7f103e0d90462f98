"""Units that a workbook names instead of giving their codes. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from api.workbook_cells import folded
from api.workbooks import SheetRow, fault
from contracts.importing import UNITS, Reads, Sheet
from contracts.office import ImportFault
from sync.places import Places

COMMITTEE: Final = re.compile(r"(?:居民委员会|居委会|(?<=村)(?:民委员会|委会))\Z")
SHOWN_MAX: Final = 5


class UnitNames:
    """Name, short name, and either with the names of the units above in front -> codes."""

    def __init__(self, places: Places, units: Collection[str]) -> None:
        self._codes: dict[str, set[str]] = {}
        for code in units:
            line = [places.units[upper].name for upper in places.line(code)]
            for name in {line[0], COMMITTEE.sub("", line[0])}:
                for depth in range(len(line)):
                    above = "".join(reversed(line[1 : depth + 1]))
                    self.add(above + name, code)

    def add(self, name: str, code: str) -> None:
        self._codes.setdefault(_plain(name), set()).add(code)

    def codes(self, name: str) -> list[str]:
        """Of the units that may be meant."""
        return sorted(self._codes.get(_plain(name), ()))


def _plain(name: str) -> str:
    return re.sub(r"\s+", "", folded(name))


def with_codes(
    rows: Mapping[str, Sequence[SheetRow]], sheets: Sequence[Sheet], places: Places, units: Collection[str]
) -> tuple[dict[str, list[SheetRow]], list[ImportFault]]:
    """The rows with a code where a unit was named, among `units` and those that the file makes; a name of several is a fault."""
    names = UnitNames(places, units)
    for row in rows.get(UNITS.title, ()):
        names.add(row.text("name"), row.text("code"))
    faults: list[ImportFault] = []
    named = {sheet.title: [_with_codes(sheet, row, names, places, faults) for row in rows.get(sheet.title, ())] for sheet in sheets}
    return {title: found for title, found in named.items() if title in rows}, faults


def _with_codes(sheet: Sheet, row: SheetRow, names: UnitNames, places: Places, faults: list[ImportFault]) -> SheetRow:
    values = dict(row.values)
    for column in sheet.columns:
        text = row.text(column.name)
        if column.reads is not Reads.UNIT or not text or text in places.units or (sheet is UNITS and column.name == "code"):
            continue
        found = names.codes(text)
        if len(found) == 1:
            values[column.name] = found[0]
        elif found:
            faults.append(fault(sheet, row.number, column.name, "unit_ambiguous", "、".join(found[:SHOWN_MAX])))
    return msgspec.structs.replace(row, values=values)
