"""Reading the audit log: for admins and auditors, of their own units."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from litestar import Router, get
from litestar.params import FromQuery

from api.dependencies import GivenCaller, GivenNow, GivenPlaces, GivenResources, PageSize
from contracts.access import Action, AuditPage
from contracts.people import Level
from contracts.problems import Problem, ProblemCode
from storage.audit_log import NEWEST, fetch_entries
from sync.administration import AUDIT_READERS, units_with

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
    limit: PageSize = 50,
) -> AuditPage:
    """What concerns the caller's units. Failed log-ins of unknown numbers are shown to the city."""
    units = units_with(AUDIT_READERS, caller.duties, places, now)
    if not units:
        raise Problem(ProblemCode.NOT_ALLOWED)
    counties = {places.units[code].county for code in units}
    if any(places.units[code].level is Level.CITY for code in units):
        counties.add(NOBODY_KNOWN)
    entries = await fetch_entries(
        resources.pool,
        counties,
        units,
        before=before or NEWEST,
        action=action.value if action else None,
        person=person,
        limit=limit,
    )
    return AuditPage(entries=entries, next=str(entries[-1].id) if len(entries) == limit else None)


AUDIT: Final = Router("/audit/v1", route_handlers=[list_entries], tags=["audit"])
