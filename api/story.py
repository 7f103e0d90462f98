"""One record with its whole story in one call, for whoever may see the record."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from litestar import Router, get
from litestar.params import FromPath

from api.auth import LIMITED
from api.dependencies import GivenCaller, GivenNow, GivenPlaces, GivenResources
from api.ledgers import streams_in_force
from contracts.ids import County, RecordId, StreamName, projection_id
from contracts.kinds.photo import Photo
from contracts.office import Story, StoryColour, StoryPhoto, StoryRecord
from contracts.people import Audience
from contracts.problems import Problem, ProblemCode
from contracts.stored import read_stored
from storage import story
from storage.photo_views import Rendering
from storage.pool import Connection, snapshot
from sync.machines import PROJECTED
from sync.permission import OFFICE
from sync.places import stream_name, unit_of
from sync.scope import units_with

# A story's list -> the kind in it.
BESIDE: Final = {
    "assignments": "assignment",
    "whistles": "whistle",
    "summons": "summons",
    "supervisions": "supervision",
    "transfers": "transfer",
    "handovers": "handover",
    "conflicts": "conflict",
    "inspections": "inspection",
    "problems": "problem",
    "sites": "site",
    "tasks": "task",
    "notices": "notice",
    "activities": "activity",
}


@get("/records/{county:int}/{record:uuid}", opt=LIMITED, summary="一事一档 · One record with its whole story")
async def tell_story(
    county: FromPath[County],
    record: FromPath[uuid.UUID],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
) -> Story:
    """A problem, whistle, site or any other record: steps, journal, photos, and what belongs to it within the caller's duties."""
    streams = [stream for stream, c in streams_in_force(caller, places, now).items() if c == county]
    desks = units_with(OFFICE, caller.duties, places, now)
    async with snapshot(resources.pool) as conn:
        found = await story.fetch_record(conn, county, record, streams)
        if found is None:
            raise Problem(ProblemCode.NOT_FOUND)
        near = await story.fetch_near(conn, county, found, streams)
        photos = await story.fetch_photos(conn, county, found, streams)
        entries, more = await story.fetch_entries(conn, county, record, projections_of(found, near), desks)
        colours = await colours_of(conn, county, found, streams)
        people = await story.fetch_names(conn, story.people_in(entries, [found, *near, *photos]))
    lists: dict[str, Any] = {name: [one for one in near if one.kind == kind] for name, kind in BESIDE.items()}
    units = {unit_of(one.stream) for one in (found, *near)} | units_named(found)
    return Story(
        county=county,
        record=found,
        people=people,
        units={code: places.units[code].name for code in sorted(units) if code in places.units},
        entries=entries,
        more_entries=more,
        colours=colours,
        photos=[photo_of(county, photo) for photo in photos],
        **lists,
    )


def projections_of(found: StoryRecord, near: list[StoryRecord]) -> list[RecordId]:
    """The records in which a problem or transfer is shown to others: what they did there was done to it."""
    if found.kind not in PROJECTED.values():
        return []
    shown = [one.id for one in near if PROJECTED.get(one.kind) == found.kind]
    return [*shown, *(projection_id(found.id, unit) for unit in units_named(found))]


async def colours_of(conn: Connection, county: County, found: StoryRecord, streams: Sequence[StreamName]) -> list[StoryColour]:
    """In which colour stand those who must act on a problem or whistle: for whoever has the desk of its unit."""
    if found.kind not in ("problem", "whistle"):
        return []
    if stream_name(unit_of(found.stream), Audience.OFFICE) not in streams:
        return []
    units = units_named(found)
    return await story.fetch_colours(conn, county, [found.id, *(projection_id(found.id, unit) for unit in units)], units)


def units_named(found: StoryRecord) -> set[str]:
    body: dict[str, Any] = msgspec.json.decode(found.body)
    lists = [body.get(field) for field in ("leads", "supporting", "called", "optional")]
    named = {str(unit) for units in lists if isinstance(units, list) for unit in units}
    return named | {
        body[field] for field in ("problem_unit", "whistle_unit", "transfer_unit", "receiver_unit") if isinstance(body.get(field), str)
    }


def photo_of(county: County, record: StoryRecord) -> StoryPhoto:
    photo = read_stored(bytes(record.body), Photo)
    links = {one.value: f"/photos/v1/{county}/{photo.sha256}/{one.value}" for one in Rendering} if photo.received_at else {}
    return StoryPhoto(
        id=record.id,
        sha256=photo.sha256,
        purpose=photo.purpose,
        caption=photo.caption,
        item=photo.item,
        taken_by=photo.taken_by,
        position=photo.position,
        received_at=photo.received_at,
        flags=photo.flags,
        links=links,
    )


STORIES: Final = Router("/office/v1", route_handlers=[tell_story], tags=["office"])
