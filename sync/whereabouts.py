"""Where to go: what a department is told of the place of a problem or whistle, whose site it has no stream of.

Written by the server when the projection is written, so it is the site as it was at the last step. A record's own unit chooses the
site it names; one of elsewhere is not told of, or naming it would be a way of reading it.
"""

from __future__ import annotations

from typing import Any

from contracts.ids import RecordId, StreamName, UnitCode
from contracts.people import Level
from sync.places import Places, is_secret, unit_of
from sync.state import RecordState
from sync.tally import Tally


def whereabouts(tally: Tally, stream: StreamName, values: dict[str, Any]) -> dict[str, Any]:
    """`site_name`, `site_address` and `position` of what `values` of a record in `stream` say: its own position, or else the site's."""
    site = site_of(tally, stream, values.get("site"))
    found = site.values if site is not None else {}
    return {
        "site_name": str(found.get("name") or ""),
        "site_address": str(found.get("address") or ""),
        "position": values.get("position") or found.get("position"),
    }


def site_of(tally: Tally, stream: StreamName, named: object) -> RecordState | None:
    """The site that a record in `stream` names: of its unit, above it or below it; read first if it was not."""
    try:
        record = RecordId(str(named))
    except ValueError:
        return None
    if tally.is_missing(record):
        return None
    site = tally.records.get(record)
    if site is None or site.kind != "site" or site.deleted or is_secret(site.stream):
        return None
    covers, here, there = tally.view.places.covers, unit_of(stream), unit_of(site.stream)
    return site if covers(here, there) or covers(there, here) else None


def unit_name(places: Places, unit: UnitCode) -> str:
    """老城街道甲村: villages of different townships have one name."""
    local = [code for code in places.line(unit) if places.units[code].level in (Level.TOWNSHIP, Level.VILLAGE)]
    return "".join(places.units[code].name for code in reversed(local)) or (places.units[unit].name if unit in places.units else "")
