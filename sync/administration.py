"""Who may administer whom: roles, units and duties (domain.md 2.1). Pure; time and places come in.

An admin administers the unit of the duty and all below it. Nobody gives more than they have: a duty is granted only
inside those units, and a person is disabled or reset only by an admin of all their open duties.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from enum import Enum
from typing import Final

from contracts.ids import UnitCode
from contracts.people import Duty, Level, Role
from sync.places import Places
from sync.rules import day_of
from sync.scope import open_duties, units_with

ADMINS: Final = frozenset({Role.ADMIN})
AUDIT_READERS: Final = frozenset({Role.ADMIN, Role.AUDITOR})
# Field staff see no lists of people; who hands out work does.
PEOPLE_READERS: Final = AUDIT_READERS | {
    Role.TOWNSHIP_STAFF,
    Role.TOWNSHIP_LEAD,
    Role.DEPARTMENT_LEAD,
    Role.COUNTY_SUPERVISOR,
    Role.CITY_SUPERVISOR,
}

_FIELD: Final = frozenset({Level.TOWNSHIP, Level.VILLAGE, Level.GRID, Level.TEAM})
_ANY: Final = frozenset(Level)
ROLE_LEVELS: Final[dict[Role, frozenset[Level]]] = {
    Role.GRID_MEMBER: _FIELD,
    Role.QINLING_GRID_MEMBER: _FIELD,
    Role.VILLAGE_LEAD: frozenset({Level.VILLAGE}),
    Role.TOWNSHIP_STAFF: frozenset({Level.TOWNSHIP}),
    Role.TOWNSHIP_LEAD: frozenset({Level.TOWNSHIP}),
    Role.DEPARTMENT_STAFF: frozenset({Level.DEPARTMENT, Level.TEAM}),
    Role.DEPARTMENT_LEAD: frozenset({Level.DEPARTMENT}),
    Role.COUNTY_SUPERVISOR: frozenset({Level.COUNTY, Level.ZONE}),
    Role.CITY_SUPERVISOR: frozenset({Level.CITY}),
    Role.ADMIN: _ANY,
    Role.AUDITOR: _ANY,
    Role.SYSTEM: frozenset(),
}
KEPT_LEVELS: Final = frozenset({Level.PROVINCE, Level.CITY, Level.COUNTY, Level.ZONE})  # partitions, which never change
ADDED_LEVELS: Final = frozenset({Level.GRID, Level.TEAM, Level.DEPARTMENT})  # areas come from the national codes


class Refusal(Enum):
    """Why an act of administration is refused."""

    UNKNOWN_UNIT = "unknown_unit"
    OUTSIDE_YOUR_UNITS = "outside_your_units"
    ROLE_DOES_NOT_FIT_UNIT = "role_does_not_fit_unit"
    LEVEL_IS_NOT_ADDED = "level_is_not_added"
    ENDS_BEFORE_IT_STARTS = "ends_before_it_starts"
    ENDS_IN_THE_PAST = "ends_in_the_past"
    ENDED_ALREADY = "ended_already"
    LAST_ADMIN = "last_admin"
    UNIT_CLOSED = "unit_closed"
    LEVEL_IS_NOT_CLOSED = "level_is_not_closed"
    CLOSES_IN_THE_PAST = "closes_in_the_past"


def grant_refusal(
    admin: Iterable[Duty], role: Role, unit: UnitCode, starts: datetime, ends: datetime | None, places: Places, now: datetime
) -> Refusal | None:
    """Why these duties may not grant that one; None when they may."""
    found = places.units.get(unit)
    if found is None:
        return Refusal.UNKNOWN_UNIT
    if unit not in units_with(ADMINS, admin, places, now):
        return Refusal.OUTSIDE_YOUR_UNITS
    if found.level not in ROLE_LEVELS[role]:
        return Refusal.ROLE_DOES_NOT_FIT_UNIT
    if ends is not None and ends <= starts:
        return Refusal.ENDS_BEFORE_IT_STARTS
    given = max(starts, min(now, ends or now))  # one that is entered late, for days before the closing, is no new one
    return Refusal.UNIT_CLOSED if places.is_closed(unit, day_of(given)) else None


def overlap(one: Duty, other: Duty) -> bool:
    """Whether somebody would have the same role at the same unit twice at some moment."""
    if (one.person, one.role, one.unit) != (other.person, other.role, other.unit):
        return False
    return (one.ends is None or other.starts < one.ends) and (other.ends is None or one.starts < other.ends)


def end_refusal(admin: Iterable[Duty], duty: Duty, ends: datetime, places: Places, now: datetime) -> Refusal | None:
    """Why a duty may not be ended then: what was permitted at the time of capture stays permitted."""
    if duty.unit not in units_with(ADMINS, admin, places, now):
        return Refusal.OUTSIDE_YOUR_UNITS
    if duty.ends is not None and duty.ends <= now:
        return Refusal.ENDED_ALREADY
    if ends < now:
        return Refusal.ENDS_IN_THE_PAST
    return Refusal.ENDS_BEFORE_IT_STARTS if ends <= duty.starts else None


def person_refusal(admin: Iterable[Duty], theirs: Iterable[Duty], places: Places, now: datetime) -> Refusal | None:
    """Why a person may not be disabled, reset or have a device revoked by this admin."""
    mine = units_with(ADMINS, admin, places, now)
    open_or_last = open_duties(theirs, now) or list(theirs)[-1:]
    if not open_or_last or any(d.unit not in mine for d in open_or_last):
        return Refusal.OUTSIDE_YOUR_UNITS
    return None


def last_admin_refusal(ending: Iterable[Duty], others: Iterable[Duty], ends: datetime, places: Places) -> Refusal | None:
    """Why these duties may not end then: nobody would administer their unit any more. `others`: of people whose accounts are good."""
    left = [d.unit for d in others if d.role in ADMINS and d.starts <= ends and (d.ends is None or ends < d.ends)]
    alone = any(d.role in ADMINS and not any(places.covers(unit, d.unit) for unit in left) for d in ending)
    return Refusal.LAST_ADMIN if alone else None


def rename_refusal(admin: Iterable[Duty], unit: UnitCode, places: Places, now: datetime) -> Refusal | None:
    """Why a unit may not be called otherwise: names of areas come with the national codes."""
    if unit not in units_with(ADMINS, admin, places, now):
        return Refusal.OUTSIDE_YOUR_UNITS
    return None if places.units[unit].level in ADDED_LEVELS else Refusal.LEVEL_IS_NOT_ADDED


def unit_refusal(admin: Iterable[Duty], parent: UnitCode, level: Level, places: Places, now: datetime) -> Refusal | None:
    """Why a unit may not be added there."""
    if parent not in places.units:
        return Refusal.UNKNOWN_UNIT
    if parent not in units_with(ADMINS, admin, places, now):
        return Refusal.OUTSIDE_YOUR_UNITS
    if places.is_closed(parent, day_of(now)):
        return Refusal.UNIT_CLOSED
    return None if level in ADDED_LEVELS else Refusal.LEVEL_IS_NOT_ADDED


def close_refusal(admin: Iterable[Duty], unit: UnitCode, closed_on: date | None, places: Places, now: datetime) -> Refusal | None:
    """Why a unit may not be closed from that day on (None: go on). By whoever is above it: its work falls to them."""
    found = places.units.get(unit)
    if found is None or found.parent not in units_with(ADMINS, admin, places, now):
        return Refusal.OUTSIDE_YOUR_UNITS
    if found.level in KEPT_LEVELS:
        return Refusal.LEVEL_IS_NOT_CLOSED
    return Refusal.CLOSES_IN_THE_PAST if closed_on is not None and closed_on < day_of(now) else None
