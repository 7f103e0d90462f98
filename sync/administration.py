"""Who may administer whom: roles, units and duties (domain.md 2.1). Pure; time and places come in.

An admin administers the unit of the duty and all below it. Nobody gives more than they have: a duty is granted only
inside those units, and only to somebody whose duties the admin administers (decision 0030). Nobody gives to themselves, and who
audits neither administers nor supervises.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Final

from msgspec.structs import replace

from contracts.ids import UnitCode
from contracts.people import Account, Duty, Level, Role
from sync.places import Places
from sync.rules import day_of
from sync.scope import is_within, open_duties

ADMINS: Final = frozenset({Role.ADMIN})
AUDIT_READERS: Final = frozenset({Role.ADMIN, Role.AUDITOR})
# Who assigns, judges or administers for a whole county shows a second factor at a console.
SECOND_FACTOR_ROLES: Final = AUDIT_READERS | {Role.COUNTY_SUPERVISOR, Role.CITY_SUPERVISOR}
# Field staff see no lists of people; who hands out work does.
PEOPLE_READERS: Final = AUDIT_READERS | {
    Role.TOWNSHIP_STAFF,
    Role.TOWNSHIP_LEAD,
    Role.DEPARTMENT_LEAD,
    Role.COUNTY_SUPERVISOR,
    Role.CITY_SUPERVISOR,
}

FIELD_ROLES: Final = frozenset({Role.GRID_MEMBER, Role.QINLING_GRID_MEMBER, Role.VILLAGE_LEAD})
# A duty of the office counts for so long after its end: the account still has devices of that time, and what they hold is judged by it.
ANSWERED_FOR: Final = timedelta(days=180)
# Who audits has no part in what is audited.
WATCHED: Final = frozenset({Role.ADMIN, Role.COUNTY_SUPERVISOR, Role.CITY_SUPERVISOR})
DUTIES_MAX: Final = 200  # of one person, ended ones too: every request of theirs reads them

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
    PERSON_OUTSIDE_YOUR_UNITS = "person_outside_your_units"
    NOT_TO_YOURSELF = "not_to_yourself"
    AUDITOR_IS_APART = "auditor_is_apart"
    STARTS_TOO_EARLY = "starts_too_early"
    TOO_MANY_DUTIES = "too_many_duties"
    ACCOUNT_EXISTS = "account_exists"
    ACCOUNT_ELSEWHERE = "account_elsewhere"
    ACCOUNT_DISABLED = "account_disabled"


def duty_refusal(
    admin: Collection[Duty], wanted: Duty, beside: Collection[Duty], places: Places, now: datetime, backdated_days: int
) -> Refusal | None:
    """Why these duties may not give that one to somebody who has those `beside`; None when they may.

    backdated_days   so many days before today it may start: a duty that was forgotten is entered late, no past is made up
    """
    found = places.units.get(wanted.unit)
    if found is None:
        return Refusal.UNKNOWN_UNIT
    if not is_within(ADMINS, admin, places, wanted.unit, now):
        return Refusal.OUTSIDE_YOUR_UNITS
    if found.level not in ROLE_LEVELS[wanted.role]:
        return Refusal.ROLE_DOES_NOT_FIT_UNIT
    if len(beside) >= DUTIES_MAX:
        return Refusal.TOO_MANY_DUTIES
    return apart_refusal(wanted, beside) or _time_refusal(wanted, places, now, backdated_days)


def _time_refusal(wanted: Duty, places: Places, now: datetime, backdated_days: int) -> Refusal | None:
    if wanted.ends is not None and wanted.ends <= wanted.starts:
        return Refusal.ENDS_BEFORE_IT_STARTS
    if day_of(wanted.starts) < day_of(now) - timedelta(days=backdated_days):
        return Refusal.STARTS_TOO_EARLY
    given = max(wanted.starts, min(now, wanted.ends or now))  # one that is entered late, for days before the closing, is no new one
    return Refusal.UNIT_CLOSED if places.is_closed(wanted.unit, day_of(given)) else None


def grant_refusal(
    admin: Collection[Duty], wanted: Duty, theirs: Collection[Duty], places: Places, now: datetime, backdated_days: int
) -> Refusal | None:
    """As `duty_refusal`, for somebody who has an account: never oneself, and only whose duties the admin administers."""
    if wanted.person in {duty.person for duty in admin}:
        return Refusal.NOT_TO_YOURSELF
    return person_refusal(admin, theirs, places, now) or duty_refusal(admin, wanted, theirs, places, now, backdated_days)


def longer_refusal(
    admin: Collection[Duty], duty: Duty, ends: datetime, others: Collection[Duty], places: Places, now: datetime, backdated_days: int
) -> Refusal | None:
    """Why a duty may not end later than it does: more of it is a grant. `others`: what the person has or had besides."""
    if duty.ends is None or ends <= duty.ends:
        return None
    if duty.person in {one.person for one in admin}:
        return Refusal.NOT_TO_YOURSELF
    longer = replace(duty, starts=max(duty.starts, now), ends=ends)
    answered = person_refusal(admin, [*others, duty], places, now)
    return answered or duty_refusal(admin, longer, others, places, now, backdated_days)


def apart_refusal(wanted: Duty, beside: Iterable[Duty]) -> Refusal | None:
    """Why somebody with these duties may not have that one, no matter who grants it."""
    return Refusal.AUDITOR_IS_APART if any(_is_apart(wanted, other) for other in beside) else None


def _is_apart(one: Duty, other: Duty) -> bool:
    """Whether somebody would audit what they administer or supervise at the same moment, in any units."""
    roles = {one.role, other.role}
    return Role.AUDITOR in roles and not roles.isdisjoint(WATCHED) and _at_once(one, other)


def _at_once(one: Duty, other: Duty) -> bool:
    return (one.ends is None or other.starts < one.ends) and (other.ends is None or one.starts < other.ends)


def overlap(one: Duty, other: Duty) -> bool:
    """Whether somebody would have the same role at the same unit twice at some moment."""
    return (one.person, one.role, one.unit) == (other.person, other.role, other.unit) and _at_once(one, other)


def end_refusal(admin: Collection[Duty], duty: Duty, ends: datetime, places: Places, now: datetime) -> Refusal | None:
    """Why a duty may not be ended then: what was permitted at the time of capture stays permitted."""
    if not is_within(ADMINS, admin, places, duty.unit, now):
        return Refusal.OUTSIDE_YOUR_UNITS
    if duty.ends is not None and duty.ends <= now:
        return Refusal.ENDED_ALREADY
    if ends < now:
        return Refusal.ENDS_IN_THE_PAST
    return Refusal.ENDS_BEFORE_IT_STARTS if ends <= duty.starts else None


def person_refusal(admin: Collection[Duty], theirs: Collection[Duty], places: Places, now: datetime) -> Refusal | None:
    """Why a person may not be given a duty, disabled, reset or have a device revoked by this admin."""
    answered = answered_for(theirs, now)
    if not answered or not all(is_within(ADMINS, admin, places, duty.unit, now) for duty in answered):
        return Refusal.PERSON_OUTSIDE_YOUR_UNITS
    return None


def answered_for(theirs: Collection[Duty], now: datetime) -> list[Duty]:
    """The duties by which somebody is administered: the open ones and those of the office that ended lately; without any, the last."""
    lately = [d for d in theirs if d.role not in FIELD_ROLES and d.ends is not None and now - ANSWERED_FOR < d.ends <= now]
    counted = [*open_duties(theirs, now), *lately]
    last = max((d.ends for d in theirs if d.ends is not None), default=None)
    return counted or [d for d in theirs if d.ends == last]


def number_refusal(admin: Collection[Duty], name: str, holder: Account | None, places: Places, now: datetime) -> Refusal | None:
    """Why a new account may not have the number of that one. A number goes on from a disabled account to the account that has it now.

    Of accounts outside the admin's units nothing is said but that the number is in use.
    """
    if holder is None:
        return None
    is_seen = any(is_within(PEOPLE_READERS, admin, places, duty.unit, now) for duty in holder.duties)
    if not holder.is_disabled:
        return Refusal.ACCOUNT_EXISTS if is_seen else Refusal.ACCOUNT_ELSEWHERE
    return Refusal.ACCOUNT_DISABLED if is_seen and holder.name == name else None


def last_admin_refusal(ending: Iterable[Duty], others: Iterable[Duty], ends: datetime, places: Places) -> Refusal | None:
    """Why these duties may not end then: nobody would administer their unit any more. `others`: of people whose accounts are good."""
    left = [d.unit for d in others if d.role in ADMINS and d.starts <= ends and (d.ends is None or ends < d.ends)]
    alone = any(d.role in ADMINS and not any(places.covers(unit, d.unit) for unit in left) for d in ending)
    return Refusal.LAST_ADMIN if alone else None


def rename_refusal(admin: Collection[Duty], unit: UnitCode, places: Places, now: datetime) -> Refusal | None:
    """Why a unit may not be called otherwise: names of areas come with the national codes."""
    if not is_within(ADMINS, admin, places, unit, now):
        return Refusal.OUTSIDE_YOUR_UNITS
    return None if places.units[unit].level in ADDED_LEVELS else Refusal.LEVEL_IS_NOT_ADDED


def unit_refusal(admin: Collection[Duty], parent: UnitCode, level: Level, places: Places, now: datetime) -> Refusal | None:
    """Why a unit may not be added there."""
    if parent not in places.units:
        return Refusal.UNKNOWN_UNIT
    if not is_within(ADMINS, admin, places, parent, now):
        return Refusal.OUTSIDE_YOUR_UNITS
    if places.is_closed(parent, day_of(now)):
        return Refusal.UNIT_CLOSED
    return None if level in ADDED_LEVELS else Refusal.LEVEL_IS_NOT_ADDED


def close_refusal(admin: Collection[Duty], unit: UnitCode, closed_on: date | None, places: Places, now: datetime) -> Refusal | None:
    """Why a unit may not be closed from that day on (None: go on). By whoever is above it: its work falls to them."""
    found = places.units.get(unit)
    if found is None or found.parent is None or not is_within(ADMINS, admin, places, found.parent, now):
        return Refusal.OUTSIDE_YOUR_UNITS
    if found.level in KEPT_LEVELS:
        return Refusal.LEVEL_IS_NOT_CLOSED
    return Refusal.CLOSES_IN_THE_PAST if closed_on is not None and closed_on < day_of(now) else None
