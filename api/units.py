"""Units as the console administers them: areas come with the national codes, what lies below them is made here."""

from __future__ import annotations

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody

from api.dependencies import GivenCaller, GivenNow, GivenOrigin, GivenPlaces, GivenResources
from contracts.access import Action, RenameUnit, UnitIn, Units
from contracts.ids import UnitCode
from contracts.importing import FAULT_TEXTS
from contracts.people import Unit
from contracts.problems import Problem, ProblemCode
from storage.audit_log import Note, insert_note
from storage.pool import transaction
from storage.units import insert_unit, upsert_units
from sync.administration import Refusal, rename_refusal, unit_refusal
from sync.scope import open_duties


def refuse(refusal: Refusal | None) -> None:
    """Problem for a refusal; what lies outside the caller's units is not said to exist."""
    match refusal:
        case None:
            return
        case Refusal.OUTSIDE_YOUR_UNITS:
            raise Problem(ProblemCode.NOT_ALLOWED, FAULT_TEXTS[refusal.value], reason=refusal.value)
        case Refusal.ENDED_ALREADY | Refusal.LAST_ADMIN:
            raise Problem(ProblemCode.CONFLICTING_STATE, FAULT_TEXTS[refusal.value], reason=refusal.value)
        case _:
            raise Problem(ProblemCode.INVALID_VALUE, FAULT_TEXTS[refusal.value], reason=refusal.value)


@get("/units", summary="单位 · Units")
async def list_units(caller: GivenCaller, places: GivenPlaces, now: GivenNow) -> Units:
    """The units of the caller's duties, all below them, and the line above each for its name."""
    below = {code for d in open_duties(caller.duties, now) for code in places.below(d.unit)}
    above = {code for d in caller.duties for code in places.line(d.unit)}
    return Units(units=[places.units[code] for code in sorted(below | above)])


@post("/units", status_code=201, summary="新增网格、队伍或部门 · Add a grid, team or department")
async def create_unit(
    data: JSONBody[UnitIn],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    origin: GivenOrigin,
) -> Unit:
    """Under a unit of the admin. Townships and villages have national codes and are not made here."""
    refuse(unit_refusal(caller.duties, data.parent, data.level, places, now))
    unit = Unit(code=data.code, county=places.units[data.parent].county, parent=data.parent, level=data.level, name=data.name)
    async with transaction(resources.pool) as conn:
        if not await insert_unit(conn, unit):
            if await resources.units.find(unit.code) == unit:
                return unit  # made so already: the answer was lost
            raise Problem(ProblemCode.CONFLICTING_STATE, FAULT_TEXTS["unit_exists"], field="code")
        note = Note(
            action=Action.UNIT_CREATED,
            person=caller.person,
            device=caller.device,
            subject=unit.code,
            unit=unit.code,
            detail={"name": unit.name, "level": unit.level.value, "parent": data.parent},
        )
        await insert_note(conn, note, origin, now)
    await resources.units.find(unit.code)  # this process knows it at once, the others within seconds
    return unit


@post("/units/{unit:str}/name", status_code=200, summary="单位更名 · Call a grid, team or department otherwise")
async def rename_unit(
    unit: FromPath[UnitCode],
    data: JSONBody[RenameUnit],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    origin: GivenOrigin,
) -> Unit:
    """The code stays, and with it all records. Areas have their names from the national codes."""
    refuse(rename_refusal(caller.duties, unit, places, now))
    renamed = msgspec.structs.replace(places.units[unit], name=data.name)
    async with transaction(resources.pool) as conn:
        await upsert_units(conn, [renamed])
        detail = {"old": places.units[unit].name, "new": data.name}
        note = Note(action=Action.UNIT_RENAMED, person=caller.person, device=caller.device, subject=unit, unit=unit, detail=detail)
        await insert_note(conn, note, origin, now)
    return renamed
