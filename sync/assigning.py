"""Who shall fix a problem: units of this county, which will have it on their desk, each in one part."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from contracts.ids import County, UnitCode
from contracts.outcomes import Reason
from sync.decision import Change, Refuse
from sync.merge import Merge
from sync.places import Places
from sync.situation import Situation, given_on

CALLING: Final = ("leads", "supporting")


def call_units(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """Whoever shall fix it can be told; the projections do the rest."""
    return uncalled(s.tally.view.places, s.tally.view.county, merge.values, given_on(s.tally)) or ()


def uncalled(places: Places, county: County, values: dict[str, Any], day: date) -> Refuse | None:
    """Units that are none, that the problem would not reach (they are of another county), or that are closed on that day."""
    named = _named(values)
    unknown = [unit for unit in named if places.county_of(unit) is None]
    if unknown:
        return Refuse(reason=Reason.UNKNOWN_UNIT, detail={"units": unknown})
    elsewhere = [unit for unit in named if places.county_of(unit) != county]
    if elsewhere:
        return Refuse(reason=Reason.UNIT_ELSEWHERE, detail={"units": elsewhere})
    return closed_units(places, named, day)


def closed_units(places: Places, units: Sequence[UnitCode], day: date) -> Refuse | None:
    """Units that have no new work from that day on."""
    closed = sorted(unit for unit in units if places.is_closed(unit, day))
    return Refuse(reason=Reason.UNIT_CLOSED, detail={"units": closed}) if closed else None


def each_unit_once(_situation: Situation, values: dict[str, Any]) -> bool:
    """A unit leads or supports, and is named once."""
    named = _named(values)
    return len(named) == len(set(named))


def _named(values: dict[str, Any]) -> list[str]:
    return [unit for field in CALLING for unit in values.get(field) or []]
