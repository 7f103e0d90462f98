"""People, units and duties (domain.md 1.1, 2.1; design.md section 2)."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum

import msgspec

from contracts.ids import County, PersonId, UnitCode


class Level(str, Enum):
    """What a unit is. Areas nest; a team or department hangs under its area."""

    PROVINCE = "province"
    CITY = "city"
    COUNTY = "county"
    ZONE = "zone"
    TOWNSHIP = "township"
    VILLAGE = "village"
    GRID = "grid"
    TEAM = "team"
    DEPARTMENT = "department"


class Role(str, Enum):
    """What a duty lets a person do; the tables that use it are sync/permission.py and sync/scope.py."""

    GRID_MEMBER = "grid_member"  # 网格员
    QINLING_GRID_MEMBER = "qinling_grid_member"  # 秦岭网格员
    VILLAGE_LEAD = "village_lead"  # 村(社区)负责人
    TOWNSHIP_STAFF = "township_staff"  # 镇办工作人员
    TOWNSHIP_LEAD = "township_lead"  # 镇办负责人
    DEPARTMENT_STAFF = "department_staff"  # 部门经办人
    DEPARTMENT_LEAD = "department_lead"  # 部门负责人
    COUNTY_SUPERVISOR = "county_supervisor"  # 县级督办
    CITY_SUPERVISOR = "city_supervisor"  # 市级督办
    ADMIN = "admin"  # 系统管理员
    AUDITOR = "auditor"  # 只读审计
    SYSTEM = "system"  # timers, rules and jobs of the server itself; never given to a person


class Audience(str, Enum):
    """Who a stream of a unit is for."""

    FIELD = "field"
    OFFICE = "office"
    COUNTY = "county"
    TEAM = "team"
    CASE = "case"  # clues and cases under transfer: supervisors only (domain.md 4.12)
    SECRET = "secret"  # noqa: S105 - no password: draws until disclosed, for who issues them and auditors
    VISIT = "visit"  # unannounced visits until disclosed: who sends them and who goes, never the inspected side (domain.md 4.9)
    ARCHIVE = "archive"  # closed and old: on no phone (design.md 3.2)
    DEVICE = "device"  # one phone's own: how its held mutations ended


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """Who owns work: an area, a team, or a department. `county` is the partition its records live in.

    closed_on   from this day on it and all below it have no new work (撤并); what they have stays
    """

    code: UnitCode
    county: County
    parent: UnitCode | None
    level: Level
    name: str
    closed_on: date | None = None


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """A person holds a role at a unit from `starts` (inclusive) to `ends` (exclusive; None = open)."""

    person: PersonId
    role: Role
    unit: UnitCode
    starts: datetime
    ends: datetime | None = None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Who has a phone number: one live account at most, else the one that was disabled last. `duties`: all there ever were."""

    person: PersonId
    phone: str
    name: str
    is_disabled: bool
    duties: tuple[Duty, ...]
