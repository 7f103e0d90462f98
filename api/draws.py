"""Provable random draws (双随机、一公开): prepare, commit, seed, draw, depart, disclose (docs/draws.md).

Whoever has no part in a draw is told that there is none. Every act is a command on the draw's record, judged by its machine; what
is sealed is changed only after its command was taken, or so that repeating the request completes it.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from api.auth import LIMITED
from api.dependencies import GivenCaller, GivenNow, GivenOrigin, GivenPlaces, GivenResources
from api.draw_acts import READERS, act, is_issuer, issued, opened_of, push_one, readable, result_of, roles_at, shown
from api.draw_files import as_file, made_file
from api.draw_plans import complete_plan
from api.paging import position_of, position_text
from api.resources import Resources
from contracts.access import Action
from contracts.caller import Caller
from contracts.draw import (
    ALGORITHM,
    Depart,
    DrawListOut,
    DrawOut,
    DrawPlan,
    Draws,
    GiveNonce,
    PrepareDraw,
    Statement,
    WithReason,
    ordered,
)
from contracts.ids import County, asked_id
from contracts.people import Audience, Role
from contracts.problems import Problem, ProblemCode
from storage import draws
from storage.audit_log import Note, insert_note
from storage.draw_tasks import departure_of, send_tasks
from storage.jobs import enqueue
from storage.office_push import draft
from storage.pool import transaction
from sync.places import stream_name
from sync.scope import units_with

DRAWS_MAX: Final = 200
DRAW_BYTES_MAX: Final = 6 * 1024 * 1024  # a request: all sites of the largest pool


@post("", opt=LIMITED, status_code=201, summary="准备抽查 · Prepare a draw")
async def prepare_draw(
    data: JSONBody[PrepareDraw], caller: GivenCaller, resources: GivenResources, places: GivenPlaces, now: GivenNow
) -> DrawOut:
    """Pool, weights, exclusions and rules, complete. They are sealed; the draw's record carries only its title."""
    county = places.county_of(data.unit)
    if county is None or not is_issuer(caller, data.unit, now):
        raise Problem(ProblemCode.NOT_ALLOWED)
    plan = await complete_plan(data, county, resources, places, now)
    if await draws.fetch_draw(resources.pool, county, data.draw) is None:
        body = {"unit": data.unit, "title": data.title, "prepared_by": str(caller.person)}
        mutation = draft(kind="draw", record=data.draw, op="create", now=now, mutation=preparation_of(data.draw), body=body)
        await push_one(resources, caller, county, mutation, now)
    found = await issued(resources, caller, places, now, county, data.draw)
    is_same = (found.body.prepared_by, found.body.unit, found.body.title) == (caller.person, plan.unit, plan.title)
    if is_same and not await draws.seal_plan(resources.pool, resources.draw_seal, plan):
        opened = await opened_of(resources, found)  # asked again, because the answer was lost
        is_same = await asyncio.to_thread(is_plan, opened.plan, plan)
    if not is_same:
        raise Problem(ProblemCode.CONFLICTING_STATE, "该抽查编号已存在，内容与此不同；请另建一次抽查", reason="draw_exists")
    return shown(found)


def is_plan(sealed: DrawPlan, asked: DrawPlan) -> bool:
    """Whether it is the plan that was sealed, apart from the link it got when it was committed to."""
    return msgspec.structs.replace(sealed, previous=None) == ordered(asked)


def preparation_of(draw: UUID) -> UUID:
    """The id of the mutation that makes a draw's record: of two at once there is one."""
    return asked_id("draw.prepare", draw)


@post("/{county:int}/{draw:uuid}/commit", opt=LIMITED, status_code=200, summary="承诺 · Commit: publish the hash")
async def commit_draw(
    county: FromPath[County],
    draw: FromPath[UUID],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
) -> DrawOut:
    """The server makes the secret, once. From here nothing of the plan can be changed unseen.

    The plan is linked to what its unit committed to before, so that no draw of the unit can be left out later.
    """
    found = await issued(resources, caller, places, now, county, draw)
    if found.body.state == "prepared":
        opened = await opened_of(resources, found)
        await draws.commit_sealed(resources.pool, resources.draw_seal, opened.plan, partial(stated, resources, now))
    kept = await draws.fetch_statement(resources.pool, county, draw)
    if kept is None:
        raise Problem(ProblemCode.CONFLICTING_STATE, "尚未作出承诺", reason="no_commitment")
    fields = {"commitment": (None, kept.commitment)}
    mine = (kept.commitment, caller.person)
    return shown(
        await act(
            resources,
            caller,
            found,
            "draw.commit",
            now,
            fields,
            was_done=lambda draw: (draw.body.commitment, draw.body.committed_by) == mine,
        )
    )


def stated(resources: Resources, now: datetime, commitment: str) -> Statement:
    public = resources.signer.public_keys[0]
    statement = Statement(commitment=commitment, algorithm=ALGORITHM, at=now, public=public.public, key=public.key)
    return msgspec.structs.replace(statement, sig=resources.signer.sign(statement.signed_bytes()))


@post("/{county:int}/{draw:uuid}/nonce", opt=LIMITED, status_code=200, summary="提供随机数 · The second party's nonce")
async def give_nonce(
    county: FromPath[County],
    draw: FromPath[UUID],
    data: JSONBody[GiveNonce],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
) -> DrawOut:
    """From an auditor who neither prepared nor committed; once, and only after the commitment that it names.

    Only the same nonce is taken again, so that a lost answer is no second try.
    """
    found = await readable(resources, caller, places, now, county, draw)
    if Role.AUDITOR not in roles_at(caller, found.body.unit, places, now):
        raise Problem(ProblemCode.NOT_ALLOWED)
    fields = {"nonce": ("", data.nonce)}
    args = {"commitment": data.commitment}
    mine = (data.commitment, data.nonce, caller.person)
    return shown(
        await act(
            resources,
            caller,
            found,
            "draw.seed",
            now,
            fields,
            args,
            was_done=lambda draw: (draw.body.commitment, draw.body.nonce, draw.body.seeded_by) == mine,
        )
    )


@post("/{county:int}/{draw:uuid}/draw", opt=LIMITED, status_code=200, summary="抽取 · Draw")
async def draw_now(
    county: FromPath[County],
    draw: FromPath[UUID],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
) -> DrawOut:
    """Nothing is decided here: the list is fixed since the nonce. Where no list is possible, the draw fails by name."""
    found = await issued(resources, caller, places, now, county, draw)
    op, args = "draw.draw", {}
    if found.body.state == "seeded" and (failure := (await result_of(found, await opened_of(resources, found))).failure) is not None:
        op, args = "draw.fail", {"failure": failure.name}
    return shown(await act(resources, caller, found, op, now, args=args, was_done=partial(_was_drawn, caller)))


def _was_drawn(caller: Caller, draw: draws.DrawRecord) -> bool:
    """With which end is not in the request."""
    return any(step.by == caller.person for step in (draw.step("draw.draw"), draw.step("draw.fail")) if step is not None)


@post("/{county:int}/{draw:uuid}/depart", opt=LIMITED, status_code=200, summary="出发 · Depart: inspectors get their tasks")
async def depart(
    county: FromPath[County],
    draw: FromPath[UUID],
    data: JSONBody[Depart],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
) -> DrawOut:
    """Each inspector gets one task, in the stream of their own unit. What is cut short is completed by the worker, or by asking again.

    `untold`: whose task could not be made.
    """
    found = await issued(resources, caller, places, now, county, draw)
    if not _has_departed(found):
        await enqueue(resources.pool, [departure_of(county, draw)])
    given = {"due_on": data.due_on.isoformat() if data.due_on else "", "note": data.note}
    args = {name: value for name, value in given.items() if value}
    found = await act(resources, caller, found, "draw.depart", now, args=args)
    opened = await opened_of(resources, found)
    sent = await send_tasks(resources.pool, await resources.units.reference(), found, opened, await result_of(found, opened), now)
    resources.live.moved(sent.streams)
    return shown(found, untold=sent.untold)


def _has_departed(draw: draws.DrawRecord) -> bool:
    return draw.step("draw.depart") is not None


@post("/{county:int}/{draw:uuid}/disclose", opt=LIMITED, status_code=200, summary="公开 · Disclose: the file for everybody")
async def disclose(
    county: FromPath[County],
    draw: FromPath[UUID],
    data: JSONBody[WithReason],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
) -> Response[bytes]:
    """The signed file, from now on public. A list that was drawn and not followed is disclosed with the reason."""
    found = await issued(resources, caller, places, now, county, draw)
    args = {"reason": data.reason} if data.reason else {}
    if found.body.state == "disclosed":  # by another, whose request may have been cut short before the file: it is public all the same
        await _file_of(resources, found)
    found = await act(resources, caller, found, "draw.disclose", now, args=args)
    return as_file(await _file_of(resources, found), str(found.body.commitment))


async def _file_of(resources: Resources, found: draws.DrawRecord) -> bytes:
    """The file of a draw that was disclosed, made once."""
    content = await draws.fetch_kept_file(resources.pool, found.county, found.id)
    if content is None:
        opened = await opened_of(resources, found)
        result = await result_of(found, opened)
        file, content = await asyncio.to_thread(made_file, resources, found, opened, result)
        await draws.keep_file(resources.pool, found.county, found.id, content, file.disclosed_at)
    return content


@post("/{county:int}/{draw:uuid}/cancel", opt=LIMITED, status_code=200, summary="取消 · Give up a draw, before its nonce")
async def cancel(
    county: FromPath[County],
    draw: FromPath[UUID],
    data: JSONBody[WithReason],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
) -> DrawOut:
    """Its commitment stays published, as given up. After the nonce there is no way but to disclose."""
    found = await issued(resources, caller, places, now, county, draw)
    args = {"reason": data.reason}
    return shown(await act(resources, caller, found, "draw.cancel", now, args=args))


# ------------------------------------------------------------------------------------------------ reading


@get("", opt=LIMITED, summary="抽查列表 · Draws of the caller's units")
async def list_draws(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    county: FromQuery[County],
    before: FromQuery[Annotated[str, Meta(max_length=120)] | None] = None,
) -> Draws:
    """The last changed first; `next` is the `before` of the page after it. Never a pool or a list."""
    units = units_with(READERS, caller.duties, places, now)
    streams = [stream_name(code, Audience.SECRET) for code in units if places.county_of(code) == county]
    if not streams:
        raise Problem(ProblemCode.NOT_ALLOWED)
    found, end = await draws.fetch_draws(resources.pool, county, streams, drawn_before(before), DRAWS_MAX)
    return Draws(draws=[shown(one) for one in found], next=position_text(*end) if end else None)


def drawn_before(before: str | None) -> tuple[datetime, UUID]:
    if before is None:
        return draws.LATEST
    at, record = position_of(before, "before", UUID)
    return at, record


@get("/{county:int}/{draw:uuid}", opt=LIMITED, summary="抽查 · One draw")
async def show_draw(
    county: FromPath[County],
    draw: FromPath[UUID],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
) -> DrawOut:
    """Its states and its story."""
    return shown(await readable(resources, caller, places, now, county, draw))


@get("/{county:int}/{draw:uuid}/list", opt=LIMITED, summary="密封名单 · The sealed pool and list")
async def open_list(
    county: FromPath[County],
    draw: FromPath[UUID],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    origin: GivenOrigin,
) -> DrawListOut:
    """For the issuing unit alone; each opening is in the audit log. No result before it is drawn."""
    found = await issued(resources, caller, places, now, county, draw)
    opened = await opened_of(resources, found)
    result = await result_of(found, opened) if found.body.state in ("drawn", "failed", "departed", "disclosed") else None
    async with transaction(resources.pool) as conn:
        note = Note(
            action=Action.DRAW_LIST_OPENED,
            person=caller.person,
            device=caller.device,
            subject=f"{county}/{draw}",
            unit=found.body.unit,
            detail={"state": found.body.state},
        )
        await insert_note(conn, note, origin, now)
    return DrawListOut(plan=opened.plan, result=result)


DRAWS: Final = Router(
    "/office/v1/draws",
    route_handlers=[
        list_draws, prepare_draw, show_draw, open_list, commit_draw, give_nonce, draw_now, depart, disclose, cancel,
    ],
    tags=["draws"],
    request_max_body_size=DRAW_BYTES_MAX,
)  # fmt: skip
