"""Casework rules: what no source states is published here, as dated versions that are never edited."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec
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
from contracts.rules import RULE_BODIES, PublishRule, RuleName, RuleVersion
from storage.audit_log import Note, insert_note
from storage.pool import transaction
from storage.rules import fetch_repeated, insert_rule, load_rules
from sync.permission import OFFICE
from sync.places import Places
from sync.scope import held_duties

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
    check_body(data.name, data.body)
    async with transaction(resources.pool) as conn:
        repeated = await fetch_repeated(conn, data, caller.person)
        if repeated is not None:
            return repeated
        version = await insert_rule(conn, data, caller.person, now)
        if version is None:
            raise Problem(ProblemCode.INVALID_VALUE, "生效时间不能早于现在", path="$.starts", fault="starts_in_the_past")
        note = Note(
            action=Action.RULE_PUBLISHED,
            person=caller.person,
            device=caller.device,
            subject=f"{data.county}/{data.name.value}/{version.version}",
            unit=unit,
            detail={"starts": data.starts, "note": data.note, "body": data.body},
        )
        await insert_note(conn, note, origin, now)
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
    return RuleVersions(versions=[version for one in names for version in book.versions(county, one)], in_force=current)


def check_body(name: RuleName, body: dict[str, Any]) -> None:
    """Problem with the path of the first fault; a word that the rule does not know is one, for it would do nothing."""
    try:
        known = msgspec.convert(body, RULE_BODIES[name])
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        raise Problem(ProblemCode.INVALID_VALUE, message, path=f"$.body{path.rstrip('`').removeprefix('$')}") from None
    for path in unknown_words(body, msgspec.to_builtins(known), "$.body"):
        raise Problem(ProblemCode.INVALID_VALUE, "unknown field", path=path)
    keys = [trigger.get("key") for trigger in body.get("triggers", [])]
    if len(keys) != len(set(keys)):  # a letter's id derives from its trigger's key
        raise Problem(ProblemCode.INVALID_VALUE, "two triggers have the same key", path="$.body.triggers")


def unknown_words(given: Any, known: Any, path: str) -> Iterable[str]:
    """Paths of members that decoding dropped."""
    if isinstance(given, dict) and isinstance(known, dict):
        for name, value in given.items():
            if name not in known:
                yield f"{path}.{name}"
            else:
                yield from unknown_words(value, known[name], f"{path}.{name}")
    elif isinstance(given, list) and isinstance(known, list):
        for k, (one, other) in enumerate(zip(given, known, strict=False)):
            yield from unknown_words(one, other, f"{path}[{k}]")


RULES: Final = Router("/office/v1", route_handlers=[publish_rule, list_rules], tags=["office"])
