"""What Litestar may inject by name: `resources`, `caller`, `now`, `origin`, `deed`, `places`. Few, and the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Final, TypeAlias

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter, SkipValidation

from api.problems import request_id_of
from api.resources import Resources
from contracts.access import PAGE_ROWS_MAX, Action
from contracts.caller import Caller
from contracts.problems import Problem, ProblemCode
from storage.audit_log import Note, Origin, insert_notes
from storage.ledger_rows import NEVER
from storage.pool import Connection
from sync.places import Places
from sync.rules import CHINA, end_of

# Litestar would check these against their types at every request; they are ours and need no check.
GivenResources: TypeAlias = NamedDependency[SkipValidation[Resources]]
GivenCaller: TypeAlias = NamedDependency[SkipValidation[Caller]]
GivenNow: TypeAlias = NamedDependency[SkipValidation[datetime]]
GivenOrigin: TypeAlias = NamedDependency[SkipValidation[Origin]]
GivenPlaces: TypeAlias = NamedDependency[SkipValidation[Places]]

# Bounds must stand in QueryParameter: those of a msgspec Meta inside FromQuery are silently not checked.
PageSize: TypeAlias = Annotated[int, QueryParameter(ge=1, le=PAGE_ROWS_MAX)]


@dataclass(frozen=True)
class Deed:
    """An act of administration: whose it is, when, and from where. It leaves a note in the transaction of what it does."""

    caller: Caller
    now: datetime
    origin: Origin

    def note(self, action: Action, subject: object, **more: Any) -> Note:
        return Note(action=action, person=self.caller.person, device=self.caller.device, subject=str(subject), **more)

    async def tell(self, conn: Connection, *notes: Note) -> None:
        await insert_notes(conn, notes, self.origin, self.now)


GivenDeed: TypeAlias = NamedDependency[SkipValidation[Deed]]


def start_of_day(day: date) -> datetime:
    """When a day of a filter begins in China. Problem: none that a database holds."""
    try:
        return datetime.combine(day, time.min, CHINA).astimezone(UTC)
    except OverflowError:
        raise Problem(ProblemCode.INVALID_VALUE, "日期过早，请更正") from None


def end_of_day(day: date) -> datetime:
    """When it has passed. Problem: in the year in which what has no deadline stands."""
    if day.year >= NEVER.year:
        raise Problem(ProblemCode.INVALID_VALUE, "日期过晚，请更正")
    return end_of(day)


def provide_resources(state: State) -> Resources:
    resources: Resources = state.resources
    return resources


def provide_caller(request: Request[Caller, Any, Any]) -> Caller:
    return request.user


def provide_now(resources: GivenResources) -> datetime:
    return resources.now()


async def provide_places(resources: GivenResources) -> Places:
    return await resources.units.places()


def provide_origin(request: Request[Any, Any, Any]) -> Origin:
    """Address and id of the request, for the audit log."""
    return Origin(source=str(request.scope["state"].get("source", "")), request=request_id_of(request.scope))


def provide_deed(caller: GivenCaller, now: GivenNow, origin: GivenOrigin) -> Deed:
    return Deed(caller, now, origin)


DEPENDENCIES: Final[Mapping[str, Provide]] = {
    "resources": Provide(provide_resources, sync_to_thread=False),
    "caller": Provide(provide_caller, sync_to_thread=False),
    "now": Provide(provide_now, sync_to_thread=False),
    "places": Provide(provide_places),
    "origin": Provide(provide_origin, sync_to_thread=False),
    "deed": Provide(provide_deed, sync_to_thread=False),
}
