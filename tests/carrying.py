"""The worker's part in stories about transfers: everything that waits is carried, until nothing does."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from contracts.mutation import EDIT
from contracts.outcomes import MutationOutcome
from storage.carrying import FaultPoint, carry_family, no_fault
from storage.carrying_blobs import carry_blob
from storage.objects import Objects
from storage.office_push import draft, system_push
from storage.reference import Reference, reference_of
from storage.transfers import SQL_FETCH_OPEN, SQL_FETCH_OPEN_BLOBS, BlobTransferRef, TransferRef
from storage.units import load_units
from sync.places import Places
from tests.world import World

OTHER_COUNTY = 610921
OTHER_TOWNSHIP = "610921100"
OTHER_VILLAGE = "610921100001"


async def reference(world: World) -> Reference:
    return reference_of(Places((await load_units(world.pool)).values()))


async def counties(world: World) -> list[int]:
    return [row["county"] for row in await world.pool.fetch("SELECT county FROM county ORDER BY county")]


async def carry_all(world: World, at: FaultPoint = no_fault) -> int:
    """Steps done. What one county forwards to the next is carried, too."""
    known, done = await reference(world), 0
    while steps := [await carry_open(world, known, county, at) for county in await counties(world)]:
        done += sum(steps)
        if sum(steps) == 0:
            return done
    return done


async def carry_open(world: World, known: Reference, county: int, at: FaultPoint) -> int:
    rows = await world.pool.fetch(SQL_FETCH_OPEN, county, 100)
    refs = [TransferRef(county=row["county"], family=row["family"]) for row in rows]
    return sum([await carry_family(world.pool, known, ref, clock(world), at) for ref in refs])


async def carry_blobs(world: World, objects: Objects, at: FaultPoint = no_fault) -> int:
    """How many photos' bytes arrived."""
    refs = [
        BlobTransferRef(**dict(row))
        for county in await counties(world)
        for row in await world.pool.fetch(SQL_FETCH_OPEN_BLOBS, county, 100)
    ]
    return sum([await carry_blob(world.pool, objects, ref, clock(world), at) for ref in refs])


def clock(world: World) -> Callable[[], datetime]:
    return lambda: world.time.astimezone(UTC)


async def system_edit(world: World, county: int, kind: str, record: uuid.UUID, fields: dict[str, tuple[object, object]]) -> MutationOutcome:
    """What a job of the server writes."""
    note = draft(kind=kind, record=record, op=EDIT, now=world.time, mutation=uuid.uuid4(), fields=fields)
    return (await system_push(world.pool, await reference(world), county, [note], world.time)).outcomes[0]
