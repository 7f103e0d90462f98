"""Units as the console administers them: areas come with the national codes, what lies below them is made here."""

from __future__ import annotations

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody

from api.auth import PHONE_WITHOUT_FACTOR
from api.dependencies import GivenCaller, GivenDeed, GivenNow, GivenPlaces, GivenResources
from contracts.access import Action, CloseUnit, RenameUnit, UnitIn, Units
from contracts.ids import UnitCode
from contracts.importing import FAULT_TEXTS
from contracts.people import Unit
from contracts.problems import Problem, ProblemCode
from storage.pool import transaction
from storage.units import close_unit, insert_unit, upsert_units
from sync.administration import Refusal, close_refusal, rename_refusal, unit_refusal
from sync.scope import open_duties


def refuse(refusal: Refusal | None) -> None:
    """Problem for a refusal; what lies outside the caller's units is not said to exist."""
    match refusal:
        case None:
            return
        case Refusal.OUTSIDE_YOUR_UNITS | Refusal.PERSON_OUTSIDE_YOUR_UNITS | Refusal.NOT_TO_YOURSELF:
            raise Problem(ProblemCode.NOT_ALLOWED, FAULT_TEXTS[refusal.value], reason=refusal.value)
        case Refusal.ENDED_ALREADY | Refusal.LAST_ADMIN | Refusal.AUDITOR_IS_APART | Refusal.TOO_MANY_DUTIES:
            raise Problem(ProblemCode.CONFLICTING_STATE, FAULT_TEXTS[refusal.value], reason=refusal.value)
        case _:
            raise Problem(ProblemCode.INVALID_VALUE, FAULT_TEXTS[refusal.value], reason=refusal.value)


@get("/units", opt=PHONE_WITHOUT_FACTOR, summary="单位 · Units")
async def list_units(caller: GivenCaller, places: GivenPlaces, now: GivenNow) -> Units:
    """The units of the caller's duties, all below them, and the line above each for its name."""
    below = {code for d in open_duties(caller.duties, now) for code in places.below(d.unit)}
    above = {code for d in caller.duties for code in places.line(d.unit)}
    return Units(units=[places.units[code] for code in sorted(below | above)])


@post("/units", status_code=201, summary="新增网格、队伍或部门 · Add a grid, team or department")
async def create_unit(
    data: JSONBody[UnitIn],
    resources: GivenResources,
    places: GivenPlaces,
    deed: GivenDeed,
) -> Unit:
    """Under a unit of the admin. Townships and villages have national codes and are not made here."""
    refuse(unit_refusal(deed.caller.duties, data.parent, data.level, places, deed.now))
    unit = Unit(code=data.code, county=places.units[data.parent].county, parent=data.parent, level=data.level, name=data.name)
    async with transaction(resources.pool) as conn:
        if not await insert_unit(conn, unit):
            if await resources.units.find(unit.code) == unit:
                return unit  # made so already: the answer was lost
            raise Problem(ProblemCode.CONFLICTING_STATE, FAULT_TEXTS["unit_exists"], field="code")
        note = deed.note(
            Action.UNIT_CREATED, unit.code, unit=unit.code, detail={"name": unit.name, "level": unit.level.value, "parent": data.parent}
        )
        await deed.tell(conn, note)
    await resources.units.renew()
    return unit


@post("/units/{unit:str}/name", status_code=200, summary="单位更名 · Call a grid, team or department otherwise")
async def rename_unit(
    unit: FromPath[UnitCode],
    data: JSONBody[RenameUnit],
    resources: GivenResources,
    places: GivenPlaces,
    deed: GivenDeed,
) -> Unit:
    """The code stays, and with it all records. Areas have their names from the national codes."""
    refuse(rename_refusal(deed.caller.duties, unit, places, deed.now))
    renamed = msgspec.structs.replace(places.units[unit], name=data.name)
    async with transaction(resources.pool) as conn:
        await upsert_units(conn, [renamed])
        detail = {"old": places.units[unit].name, "new": data.name}
        note = deed.note(Action.UNIT_RENAMED, unit, unit=unit, detail=detail)
        await deed.tell(conn, note)
    await resources.units.renew()
    return renamed


@post("/units/{unit:str}/close", status_code=200, summary="单位撤并 · Close a unit from a day on")
async def close(
    unit: FromPath[UnitCode],
    data: JSONBody[CloseUnit],
    resources: GivenResources,
    places: GivenPlaces,
    deed: GivenDeed,
) -> Unit:
    """No new duties and no new records there from that day on. What it has stays, with whoever has a duty above it, and can be moved."""
    is_so = unit in places.units and places.units[unit].closed_on == data.closed_on
    refuse(close_refusal(deed.caller.duties, unit, None if is_so else data.closed_on, places, deed.now))
    if is_so:
        return places.units[unit]  # the answer was lost
    async with transaction(resources.pool) as conn:
        await close_unit(conn, unit, data.closed_on)
        detail = {"old": places.units[unit].closed_on, "new": data.closed_on}
        note = deed.note(Action.UNIT_CLOSED, unit, unit=unit, detail=detail)
        await deed.tell(conn, note)
    await resources.units.renew()
    return msgspec.structs.replace(places.units[unit], closed_on=data.closed_on)
