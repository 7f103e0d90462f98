"""Who shall fix a problem: units of this county, which will have it on their desk, each in one part; and whose part is done.

Two units may lead (domain.md 2.5). Each hands in its part, and the problem is accepted when every part is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from contracts.ids import County, UnitCode
from contracts.outcomes import Reason
from sync.decision import Change, Refuse
from sync.merge import Merge
from sync.permission import holds_within
from sync.places import Places
from sync.situation import Situation, given_on

CALLING: Final = ("leads", "supporting")  # of a problem
SUMMONING: Final = ("called", "optional")  # of a whistle


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
    """A unit leads or supports, is called or only assists, and is named once."""
    named = [unit for field in (*CALLING, *SUMMONING) for unit in units_in(values.get(field))]
    return len(named) == len(set(named))


def _named(values: dict[str, Any]) -> list[str]:
    return [unit for field in CALLING for unit in units_in(values.get(field))]


def units_in(value: object) -> list[UnitCode]:
    """What stands in the place of a list of units, whatever it is: what is no unit is then found to be unknown."""
    return [str(unit) for unit in (value if isinstance(value, list) else [value])] if value else []


def parts_of(s: Situation, values: dict[str, Any]) -> list[UnitCode]:
    """The leads whose part a submission hands in: the unit on whose assignment it is given; on the problem itself, whichever its
    author serves (a village works for its township).
    """
    leads: list[UnitCode] = values.get("leads") or []
    if s.tally.acts_for is not None:
        return [unit for unit in leads if unit == s.tally.acts_for]
    places, captured = s.tally.view.places, s.tally.captured
    served = [duty.unit for duty in s.sender.duties if captured is None or holds_within(duty, captured)]
    return [lead for lead in leads if any(places.covers(lead, unit) for unit in served)]


def every_part(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """Every lead has handed in its part since it was last sent back. `args.without`: units of which it is not needed, with `args.reason`."""
    handed_in, args = merge.values.get("handed_in") or [], s.mutation.args
    without = args.get("without") if str(args.get("reason") or "").strip() else None
    spared = without if isinstance(without, list) else []
    missing = [unit for unit in merge.values.get("leads") or [] if unit not in handed_in and unit not in spared]
    return Refuse(reason=Reason.PARTS_MISSING, detail={"units": missing}) if missing else ()
