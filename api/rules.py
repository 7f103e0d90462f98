"""Casework rules: what no source states is published here, as dated versions that are never edited."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from litestar import Router, get, post
from litestar.params import FromQuery, JSONBody

from api.auth import LIMITED
from api.dependencies import GivenCaller, GivenNow, GivenOrigin, GivenPlaces, GivenResources
from contracts.access import Action
from contracts.caller import Caller
from contracts.ids import County, UnitCode
from contracts.office import RuleVersions
from contracts.people import Level, Role
from contracts.problems import Problem, ProblemCode
from contracts.rules import PublishRule, RuleName, RuleVersion
from storage.audit_log import Note, insert_note
from storage.pool import transaction
from storage.rules import fetch_repeated, insert_rule, load_rules
from sync.permission import OFFICE
from sync.places import Places
from sync.rule_faults import first_fault
from sync.rules import day_of, unpublished_note
from sync.scope import held_duties

RULE_BYTES_MAX: Final = 256 * 1024  # a request
PUBLISHERS: Final = frozenset({Role.ADMIN, Role.COUNTY_SUPERVISOR, Role.CITY_SUPERVISOR})
READERS: Final = PUBLISHERS | OFFICE | {Role.AUDITOR, Role.DEPARTMENT_STAFF}
WHOLE: Final = frozenset({Level.COUNTY, Level.ZONE, Level.CITY})


def whole_county(caller: Caller, places: Places, county: County, now: datetime) -> UnitCode | None:
    """The unit that is all of a county, if a duty in force lets the caller publish for it."""
    for duty in held_duties(caller.duties, now):
        if duty.role in PUBLISHERS:
            for code in places.below(duty.unit):
                unit = places.units[code]
                if unit.county == county and unit.level in WHOLE:
                    return code
    return None


@post("/rules", opt=LIMITED, status_code=201, summary="发布规则 · Publish a version of a rule")
async def publish_rule(
    data: JSONBody[PublishRule],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    origin: GivenOrigin,
) -> RuleVersion:
    """By the county's admin or supervisor. It holds from `starts`, which may not lie in the past. The same again is the same version."""
    unit = whole_county(caller, places, data.county, now)
    if unit is None:
        raise Problem(ProblemCode.NOT_ALLOWED)
    check_body(data.name, data.body, places.units[unit].level)
    async with transaction(resources.pool) as conn:
        repeated = await fetch_repeated(conn, data, caller.person)
        if repeated is not None:
            return repeated
        version = await insert_rule(conn, data, caller.person, now)
        if version is None:
            raise Problem(
                ProblemCode.INVALID_VALUE,
                "生效时间不能早于现在，也不能早于到期事项已经处理到的时刻",
                path="$.starts",
                reason="starts_in_the_past",
            )
        note = Note(
            action=Action.RULE_PUBLISHED,
            person=caller.person,
            device=caller.device,
            subject=f"{data.county}/{data.name.value}/{version.version}",
            unit=unit,
            detail={"starts": data.starts, "note": data.note, "body": data.body},
        )
        await insert_note(conn, note, origin, now)
    await resources.units.renew()
    return version


@get("/rules", opt=LIMITED, summary="规则版本 · Versions of the rules of a county")
async def list_rules(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    county: FromQuery[County],
    name: FromQuery[RuleName | None] = None,
) -> RuleVersions:
    """For the office of the county: what was decided under a version can be read for ever."""
    duties = [duty for duty in held_duties(caller.duties, now) if duty.role in READERS]
    if not any(places.units[code].county == county for duty in duties for code in places.below(duty.unit)):
        raise Problem(ProblemCode.NOT_ALLOWED)
    book = await load_rules(resources.pool)
    names = [name] if name is not None else list(RuleName)
    current = {one.value: version.version for one in names if (version := book.at(county, one, now)) is not None}
    this_year, calendar = day_of(now).year, book.calendar(county, now)
    unpublished = [year for year in (this_year, this_year + 1) if not calendar.is_published(year)]
    return RuleVersions(
        versions=[version for one in names for version in book.versions(county, one)],
        in_force=current,
        unpublished_years=unpublished,
        notice=unpublished_note(unpublished),
    )


def check_body(name: RuleName, body: dict[str, Any], level: Level) -> None:
    """Problem with code, path and Chinese text of the first fault; what a rule does not know or would not do is one, too."""
    fault = first_fault(name, body, by_city=level is Level.CITY)
    if fault is not None:
        raise Problem(ProblemCode.INVALID_VALUE, f"{fault.text}（{fault.path}）", path=fault.path, reason=fault.code)


RULES: Final = Router("/office/v1", route_handlers=[publish_rule, list_rules], tags=["office"], request_max_body_size=RULE_BYTES_MAX)
