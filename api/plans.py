"""How patrols stand: coverage of sites within their period, and road checks by the month. Scoped by duty."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Annotated, Final

from litestar import Router, get
from litestar.params import FromPath, FromQuery, QueryParameter

from api.auth import LIMITED
from api.dependencies import GivenCaller, GivenNow, GivenPlaces, GivenResources, PageSize
from contracts.caller import Caller
from contracts.ids import County, StreamName, UnitCode
from contracts.people import Audience
from contracts.planning import Coverage, RoadCheckMonth, SiteStanding
from contracts.problems import Problem, ProblemCode
from storage.campaigns import fetch_campaigns, first_of
from storage.coverage import FIRST, Standing, fetch_periods, fetch_standing, fetch_totals
from sync.campaigns import SOURCE, month_of
from sync.places import Places, stream_name, unit_of
from sync.rules import day_of
from sync.scope import held_duties, streams_of

Month = Annotated[str, QueryParameter(pattern=r"^[12][0-9]{3}-(0[1-9]|1[0-2])$(?!\n)")]
UnitWanted = Annotated[str | None, QueryParameter(max_length=40)]


def field_streams(caller: Caller, places: Places, county: County, now: datetime, unit: UnitCode | None) -> list[StreamName]:
    """The field streams of one county that the caller's duties show; Problem for whoever has none there."""
    if not any(d for d in held_duties(caller.duties, now) for code in places.below(d.unit) if places.county_of(code) == county):
        raise Problem(ProblemCode.NOT_ALLOWED)
    mine = [
        s
        for s, c in streams_of(caller.duties, caller.device, places, now).items()
        if c == county and s == stream_name(unit_of(s), Audience.FIELD)
    ]
    return [stream for stream in mine if unit is None or places.covers(unit, unit_of(stream))]


@get("/coverage/{county:int}", opt=LIMITED, summary="巡查覆盖 · Which sites were not seen within their period")
async def coverage(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    county: FromPath[County],
    unit: UnitWanted = None,
    covered: FromQuery[bool | None] = None,
    after: FromQuery[uuid.UUID | None] = None,
    limit: PageSize = 100,
) -> Coverage:
    """Totals over the caller's units (at or below `unit`), and a page of sites, by id; `covered`: only these.

    Unannounced visits are in no figure before they are disclosed, whoever asks.
    """
    streams = field_streams(caller, places, county, now, unit)
    today, pool = day_of(now), resources.pool
    periods = await fetch_periods(pool, await resources.units.reference(), county, streams, today)
    found = await fetch_standing(pool, county, streams, periods, today, covered=covered, after=after or FIRST, limit=limit + 1)
    totals = await fetch_totals(pool, county, streams, periods, today) if after is None else None
    return Coverage(
        county=county,
        on=today,
        with_period=totals and totals.with_period,
        covered=totals and totals.covered,
        without_period=totals and totals.without_period,
        rows=[row_of(s, today) for s in found[:limit]],
        next=found[limit - 1].site if len(found) > limit else None,
    )


def row_of(s: Standing, today: date) -> SiteStanding:
    return SiteStanding(
        site=s.site,
        name=s.name,
        unit=unit_of(s.stream),
        period_days=s.period_days,
        seen_at=s.seen_at,
        unseen_days=(today - day_of(s.seen_at)).days if s.seen_at else None,
        covered=s.is_covered,
    )


@get("/road-checks/{unit:str}", opt=LIMITED, summary="路检路查 · Road-check campaigns of a month")
async def road_checks(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    unit: FromPath[UnitCode],
    month: Month,
) -> RoadCheckMonth:
    """At least 2 campaigns of at least 2 days, of the unit and its departments; one over the month's end counts where it starts."""
    county = places.county_of(unit)
    scope = streams_of(caller.duties, caller.device, places, now)
    if county is None or stream_name(unit, Audience.OFFICE) not in scope:
        raise Problem(ProblemCode.NOT_FOUND)
    found = month_of(await fetch_campaigns(resources.pool, places, county, unit), first_of(month), day_of(now))
    return RoadCheckMonth(
        unit=unit,
        month=found.month,
        held=found.held,
        planned=found.planned,
        too_short=found.short,
        days=found.days,
        still_possible=found.still_possible,
        is_met=found.is_met,
        can_be_met=found.can_be_met,
        source=SOURCE,
    )


PLANS: Final = Router("/office/v1", route_handlers=[coverage, road_checks], tags=["office"])
