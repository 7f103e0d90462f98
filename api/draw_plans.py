"""From what an office asks for to a complete plan: names read from the records, what was drawn recently left out, faults told."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from api.resources import Resources
from contracts.draw import NAME_CHARACTERS_MAX, DrawPlan, Exclusion, PoolInspector, PoolSite, PrepareDraw, plan_faults
from contracts.ids import County, UnitCode
from contracts.people import Level
from contracts.problems import Problem, ProblemCode
from storage.draws import fetch_pool_people, fetch_pool_sites, fetch_recently_drawn, since_days
from sync.places import Places
from sync.words import is_blank

NAMED_MAX = 20  # ids in a refusal
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # the control characters (Cc) of Unicode


async def complete_plan(data: PrepareDraw, county: County, resources: Resources, places: Places, now: datetime) -> DrawPlan:
    """The plan to be sealed. Problem(invalid_value) names what is unknown, outside the unit's area, or contradictory."""
    if is_blank(data.title):
        raise Problem(ProblemCode.INVALID_VALUE, "抽查事项不能只有空白", field="title")
    plan = DrawPlan(
        draw=data.draw,
        county=county,
        unit=data.unit,
        title=data.title,
        sites=await _sites(data, resources, places),
        inspectors=await _inspectors(data, resources, places, now),
        exclusions=data.exclusions,
        rules=data.rules,
    )
    area = area_of(data.unit, places)
    if unknown := [unit for unit in data.rules.departments if not places.covers(area, unit)]:
        raise Problem(ProblemCode.INVALID_VALUE, "规则中有不存在或不在本区域的部门", field="rules.departments", unknown=unknown)
    faults = plan_faults(plan)
    if faults:
        raise Problem(ProblemCode.INVALID_VALUE, "; ".join(faults), faults=faults)
    if data.recently_drawn_days is None:
        return plan
    return await _without_recent(plan, resources, now, data.recently_drawn_days)


def area_of(unit: UnitCode, places: Places) -> UnitCode:
    """What a unit may inspect: its own area; a department or team that of the unit it belongs to."""
    return next(
        (code for code in places.line(unit) if places.units[code].level not in (Level.DEPARTMENT, Level.TEAM)),
        unit,
    )


def printed(name: str) -> str:
    """A name as it stands in a plan: whatever its record holds, the plan must be read again."""
    return CONTROL.sub(" ", name[:NAME_CHARACTERS_MAX])


async def _sites(data: PrepareDraw, resources: Resources, places: Places) -> list[PoolSite]:
    known = await fetch_pool_sites(resources.pool, data.sites)
    area = area_of(data.unit, places)
    unknown = [str(one.id) for one in data.sites if one.id not in known or not places.covers(area, known[one.id][1])]
    if unknown:
        raise Problem(ProblemCode.INVALID_VALUE, "名单中有不存在或不在本区域的监管对象", field="sites", unknown=unknown[:NAMED_MAX])
    return [
        PoolSite(id=str(one.id), name=printed(known[one.id][0]), unit=known[one.id][1], weight=one.weight, why=one.why)
        for one in data.sites
    ]


async def _inspectors(data: PrepareDraw, resources: Resources, places: Places, now: datetime) -> list[PoolInspector]:
    known = await fetch_pool_people(resources.pool, data.inspectors, now)
    area = area_of(data.unit, places)
    unknown = [str(one.id) for one in data.inspectors if (one.id, one.unit) not in known or not places.covers(area, one.unit)]
    if unknown:
        raise Problem(ProblemCode.INVALID_VALUE, "名单中有不存在或不在本区域的检查人员", field="inspectors", unknown=unknown[:NAMED_MAX])
    return [PoolInspector(id=str(one.id), name=printed(known[one.id, one.unit]), unit=one.unit) for one in data.inspectors]


async def _without_recent(plan: DrawPlan, resources: Resources, now: datetime, days: int) -> DrawPlan:
    """What this unit drew within so many days, each with the draw that drew it as the note."""
    since = since_days(now, days)
    sites, inspectors = await fetch_recently_drawn(resources.pool, resources.draw_seal, plan.county, plan.unit, since)
    recent = [
        *(Exclusion(reason="recently_drawn", site=s.id, note=str(sites[s.id])) for s in plan.sites if s.id in sites),
        *(Exclusion(reason="recently_drawn", inspector=i.id, note=str(inspectors[i.id])) for i in plan.inspectors if i.id in inspectors),
    ]
    return replace(plan, exclusions=[*plan.exclusions, *recent])
