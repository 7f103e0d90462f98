"""Who shall fix a problem: units of this county, which will have it on their desk, each in one part."""

from __future__ import annotations

from typing import Any, Final

from contracts.ids import County
from contracts.outcomes import Reason
from sync.decision import Change, Refuse
from sync.merge import Merge
from sync.places import Places
from sync.situation import Situation

CALLING: Final = ("leads", "supporting")


def call_units(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """Whoever shall fix it can be told; the projections do the rest."""
    return uncalled(s.tally.view.places, s.tally.view.county, merge.values) or ()


def uncalled(places: Places, county: County, values: dict[str, Any]) -> Refuse | None:
    """Units that are none, or that the problem would not reach: they are of another county."""
    named = _named(values)
    unknown = [unit for unit in named if places.county_of(unit) is None]
    if unknown:
        return Refuse(reason=Reason.UNKNOWN_UNIT, detail={"units": unknown})
    elsewhere = [unit for unit in named if places.county_of(unit) != county]
    return Refuse(reason=Reason.UNIT_ELSEWHERE, detail={"units": elsewhere}) if elsewhere else None


def each_unit_once(_situation: Situation, values: dict[str, Any]) -> bool:
    """A unit leads or supports, and is named once."""
    named = _named(values)
    return len(named) == len(set(named))


def _named(values: dict[str, Any]) -> list[str]:
    return [unit for field in CALLING for unit in values.get(field) or []]
