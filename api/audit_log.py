"""Reading the audit log: for admins and auditors, of their own units."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final
from uuid import UUID

from litestar import Router, get
from litestar.params import FromQuery, QueryParameter

from api.dependencies import GivenCaller, GivenNow, GivenPlaces, GivenResources, PageSize, end_of_day, start_of_day
from contracts.access import Action, AuditPage
from contracts.people import Level
from contracts.problems import Problem, ProblemCode
from storage.audit_log import NEWEST, AuditFilter, fetch_entries
from sync.administration import AUDIT_READERS
from sync.scope import units_with

NOBODY_KNOWN: Final = 0  # the county of what concerns no known person


@get("/entries", summary="审计日志 · Who did what, newest first")
async def list_entries(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    before: FromQuery[UUID | None] = None,
    action: FromQuery[Action | None] = None,
    person: FromQuery[UUID | None] = None,
    subject: Annotated[str | None, QueryParameter(max_length=200)] = None,
    unit: Annotated[str | None, QueryParameter(max_length=64)] = None,
    since: FromQuery[date | None] = None,
    until: FromQuery[date | None] = None,
    limit: PageSize = 50,
) -> AuditPage:
    """What concerns the caller's units. Failed log-ins of unknown numbers are shown to the city.

    person   who did it             subject   id of what, or to whom, it was done
    unit     at or below it         since     and until: days, both included
    before   the last entry of the page before: `next`
    """
    units = units_with(AUDIT_READERS, caller.duties, places, now)
    if not units:
        raise Problem(ProblemCode.NOT_ALLOWED)
    is_city = any(places.units[code].level is Level.CITY for code in units)
    wanted = units if unit is None else units & set(places.below(unit))
    found = AuditFilter(
        counties={places.units[code].county for code in wanted} | ({NOBODY_KNOWN} if is_city and unit is None else set()),
        units=wanted,
        before=before or NEWEST,
        action=action.value if action else None,
        person=person,
        subject=subject,
        since=start_of_day(since) if since else None,
        until=end_of_day(until) if until else None,
    )
    entries = await fetch_entries(resources.pool, found, limit)
    return AuditPage(entries=entries, next=str(entries[-1].id) if len(entries) == limit else None)


AUDIT: Final = Router("/audit/v1", route_handlers=[list_entries], tags=["audit"])
