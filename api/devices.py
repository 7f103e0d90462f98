"""One's own devices, and the lost phone."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from litestar import Router, get, post
from litestar.params import FromPath

from api.dependencies import GivenCaller, GivenNow, GivenOrigin, GivenPlaces, GivenResources
from api.resources import Resources
from contracts.access import Action, DeviceOut
from contracts.caller import Caller
from contracts.ids import DeviceId, PersonId
from contracts.problems import Problem, ProblemCode
from storage.audit_log import Note, Origin, insert_note
from storage.devices import RETIRED, fetch_devices, fetch_owner, revoke_device, wipe_device
from storage.people import fetch_duties
from storage.pool import transaction
from sync.administration import person_refusal
from sync.places import Places


@get("/", summary="我的设备 · My devices")
async def list_devices(caller: GivenCaller, resources: GivenResources, places: GivenPlaces) -> list[DeviceOut]:
    """The newest log-in first; `current` is the one that asks."""
    counties = sorted({c for d in caller.duties if (c := places.county_of(d.unit)) is not None})
    return await fetch_devices(resources.pool, caller.person, counties, caller.device)


@post("/{device_id:uuid}/revoke", status_code=204, summary="停用设备 · Retire a device")
async def revoke(
    device_id: FromPath[UUID],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    origin: GivenOrigin,
) -> None:
    """Its tokens end at once. It keeps what it holds and may log in again. For a lost phone use `lost`."""
    owner = await _owner(device_id, caller, resources, places, now)
    await _change(Action.DEVICE_REVOKED, device_id, owner, caller, resources, now, origin)


@post("/{device_id:uuid}/lost", status_code=204, summary="手机丢失 · Report a phone lost")
async def report_lost(
    device_id: FromPath[UUID],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    origin: GivenOrigin,
) -> None:
    """At its next contact the phone hands in what it holds, into quarantine, and is told to delete everything."""
    owner = await _owner(device_id, caller, resources, places, now)
    await _change(Action.DEVICE_WIPED, device_id, owner, caller, resources, now, origin)


async def _owner(device: DeviceId, caller: Caller, resources: Resources, places: Places, now: datetime) -> PersonId:
    """Whose it is, if the caller is that person or administers them; not found otherwise."""
    owner = await fetch_owner(resources.pool, device)
    if owner is None:
        raise Problem(ProblemCode.NOT_FOUND)
    if owner != caller.person:
        theirs = await fetch_duties(resources.pool, owner)
        if person_refusal(caller.duties, theirs, places, now):
            raise Problem(ProblemCode.NOT_FOUND)
    return owner


async def _change(
    action: Action, device: DeviceId, owner: PersonId, caller: Caller, resources: Resources, now: datetime, origin: Origin
) -> None:
    async with transaction(resources.pool) as conn:
        if action is Action.DEVICE_WIPED:
            changed = await wipe_device(conn, device, now)
        else:
            changed = await revoke_device(conn, device, RETIRED, now)
        if not changed:
            raise Problem(ProblemCode.CONFLICTING_STATE, "该设备已经停用或挂失")
        note = Note(action=action, person=caller.person, device=caller.device, about=owner, subject=str(device))
        await insert_note(conn, note, origin, now)


DEVICES: Final = Router("/devices/v1", route_handlers=[list_devices, revoke, report_lost], tags=["devices"])
