"""Which streams a person's device receives, most urgent first (promise 6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from contracts.ids import County, DeviceId, StreamName, UnitCode
from contracts.people import Audience, Duty, Role
from sync.places import Places, device_stream, stream_name

_FIELD_ONLY = (Audience.FIELD,)
_OFFICE_TOO = (Audience.FIELD, Audience.OFFICE, Audience.TEAM)

AUDIENCES: dict[Role, tuple[Audience, ...]] = {
    Role.GRID_MEMBER: _FIELD_ONLY,
    Role.QINLING_GRID_MEMBER: _FIELD_ONLY,
    Role.VILLAGE_LEAD: _FIELD_ONLY,
    Role.TOWNSHIP_STAFF: _OFFICE_TOO,
    Role.TOWNSHIP_LEAD: _OFFICE_TOO,
    Role.DEPARTMENT_STAFF: (*_OFFICE_TOO, Audience.VISIT),
    Role.DEPARTMENT_LEAD: (*_OFFICE_TOO, Audience.SECRET, Audience.VISIT),
    Role.COUNTY_SUPERVISOR: (*_OFFICE_TOO, Audience.CASE, Audience.SECRET, Audience.VISIT),
    Role.CITY_SUPERVISOR: (*_OFFICE_TOO, Audience.CASE, Audience.SECRET, Audience.VISIT),
    Role.ADMIN: _OFFICE_TOO,
    Role.AUDITOR: (*_OFFICE_TOO, Audience.SECRET),
    Role.SYSTEM: (),
}


def held_duties(duties: Iterable[Duty], now: datetime) -> list[Duty]:
    """The duties in force at `now`."""
    return [d for d in open_duties(duties, now) if d.starts <= now]


def open_duties(duties: Iterable[Duty], now: datetime) -> list[Duty]:
    """The duties that have not ended at `now`, also those that have not begun."""
    return [d for d in duties if d.ends is None or now < d.ends]


def has_worked_in(duties: Iterable[Duty], places: Places, county: County) -> bool:
    """Whether any duty, also one that has ended, is of this county or of the city above it."""
    theirs = {places.county_of(duty.unit) for duty in duties} - {None}
    if county in theirs:
        return True
    whole = places.whole(county)
    return any(places.covers(places.whole(one), whole) for one in theirs if one is not None)


def units_with(roles: frozenset[Role], duties: Iterable[Duty], places: Places, now: datetime) -> set[UnitCode]:
    """All units at or below a duty in force with one of the roles."""
    return {code for d in held_duties(duties, now) if d.role in roles for code in places.below(d.unit)}


def is_within(roles: frozenset[Role], duties: Iterable[Duty], places: Places, unit: UnitCode, now: datetime) -> bool:
    """Whether this unit is among `units_with`, asked of one: what is below the duties is not gone through."""
    return any(d.role in roles and places.covers(d.unit, unit) for d in held_duties(duties, now))


def units_of(duties: Iterable[Duty], places: Places, now: datetime) -> set[UnitCode]:
    """All units at or below a duty in force."""
    return {code for duty in held_duties(duties, now) for code in places.below(duty.unit)}


def streams_of(duties: Collection[Duty], device: DeviceId, places: Places, now: datetime) -> dict[StreamName, County]:
    """Stream -> county, in order of urgency: own units, the device's own, what lies below, then the county's.

    The device's own are there for every duty the person ever had: work that was held must be heard of afterwards, too.
    """
    own: dict[StreamName, County] = {}
    below: dict[StreamName, County] = {}
    shared: dict[StreamName, County] = {}
    for duty in held_duties(duties, now):
        county = places.county_of(duty.unit)
        if county is None:
            continue
        for audience in AUDIENCES[duty.role]:
            own[stream_name(duty.unit, audience)] = county
            for code in places.below(duty.unit):
                below[stream_name(code, audience)] = places.units[code].county
        shared[stream_name(str(county), Audience.COUNTY)] = county
    for county in {county for duty in duties if (county := places.county_of(duty.unit)) is not None}:
        own[device_stream(county, device)] = county
    return own | {s: c for s, c in below.items() if s not in own} | shared
