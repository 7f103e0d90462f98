"""The office's desks: settle conflicts, decide held mutations, and write as the console does.

Everything is scoped by duty: a desk shows what lies at or below the units of an office duty that is in force.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from api.auth import LIMITED
from api.dependencies import GivenCaller, GivenNow, GivenOrigin, GivenPlaces, GivenResources
from api.paging import position_of, position_text
from contracts.access import Action
from contracts.caller import Caller
from contracts.desk import (
    ConflictPage,
    Decide,
    Decided,
    DeskAction,
    HeldPage,
    OfficeMutation,
    OfficeMutations,
    RefusedPage,
    Settle,
)
from contracts.ids import County, DeviceId, RecordId, StreamName, UnitCode, asked_id, is_worded
from contracts.mutation import Mutation
from contracts.outcomes import TEXT_ZH, MutationOutcome, Outcome, Reason
from contracts.people import Audience
from contracts.problems import Problem, ProblemCode
from storage import conflicts, desk
from storage import refused as refused_creations
from storage.audit_log import Note, Origin, insert_note
from storage.devices import office_device
from storage.office_push import NotUnderstood, draft, is_not_understood, office_push
from storage.pool import Connection
from storage.push import Also
from sync.decision import Sender
from sync.permission import OFFICE
from sync.places import NARROW, Places, stream_name
from sync.scope import AUDIENCES, held_duties, units_with
from sync.words import worded_fault

PAGE_ROWS: Final = 100
OFFICE_BYTES_MAX: Final = 512 * 1024  # a request: two mutations of the largest size
NOT_A_NEW_ID: Final = "编号须由本端新生成（UUIDv7），该编号由服务器保留"
FAULTS_SAID: Final = 5  # that the text names; all are in the faults


def desk_units(caller: Caller, places: Places, county: County, now: datetime) -> list[UnitCode]:
    """Units at or below an office duty of the caller; Problem when none is of this county.

    Those of other counties are among them: a visitor's secret work that was pushed to the inspected county waits on the desk of
    whoever sent the visitor (sync/secrecy.py), and on no other.
    """
    units = units_with(OFFICE, caller.duties, places, now)
    if not any(places.county_of(code) == county for code in units):
        raise Problem(ProblemCode.NOT_ALLOWED)
    return sorted(units)


def conflict_streams(caller: Caller, places: Places, county: County, now: datetime) -> list[StreamName]:
    """Where conflicts that the caller may settle lie: of a case or a visit only before whoever may read the case or the visit."""
    desk_units(caller, places, county, now)
    duties = [duty for duty in held_duties(caller.duties, now) if duty.role in OFFICE]
    inbox = (Audience.OFFICE, *NARROW)
    return sorted(
        {
            stream_name(code, audience)
            for duty in duties
            for audience in AUDIENCES[duty.role]
            if audience in inbox
            for code in places.below(duty.unit)
        }
    )


def sender_of(caller: Caller) -> Sender:
    """The caller as a writer whom the server numbers: never in the sequence of the phone they may hold."""
    return Sender(device=office_device(caller.device), person=caller.person, duties=caller.duties)


# -------------------------------------------------------------------------------------------------- held mutations


@get("/held", opt=LIMITED, summary="待核定与暂缓 · Quarantined and deferred mutations")
async def list_held(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    county: FromQuery[County],
    outcome: FromQuery[Outcome | None] = None,
    after: FromQuery[Annotated[str, Meta(max_length=120)] | None] = None,
) -> HeldPage:
    """What waits for a person, with the raw mutation as it came, the longest waiting first."""
    units = desk_units(caller, places, county, now)
    items, full = await desk.fetch_held(resources.pool, county, units, outcome, place_after(after, desk.BEGINNING), PAGE_ROWS)
    last = items[-1] if items else None
    following = position_text(last.opened_at, last.device, last.n) if full and last else None
    return HeldPage(items=items, next=following)


def place_after(after: str | None, first: tuple[datetime, DeviceId, int]) -> tuple[datetime, DeviceId, int]:
    """Where a list of a desk goes on: (when, device, n). `first`: where it begins."""
    if after is None:
        return first
    at, device, n = position_of(after, "after", DeviceId, int)
    return at, device, n


@post(
    "/held/{county:int}/{device:uuid}/{n:int}/{action:str}",
    opt=LIMITED,
    status_code=200,
    summary="核定：重试、放行、不采纳 · Retry, release or discard a held mutation",
)
async def decide_held(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    origin: GivenOrigin,
    county: FromPath[County],
    device: FromPath[uuid.UUID],
    n: FromPath[int],
    action: FromPath[DeskAction],
    data: JSONBody[Decide],
) -> Decided:
    """Decide one held mutation, and whatever waited for it. An outcome that is held again says why."""
    units = desk_units(caller, places, county, now)
    held = await desk.fetch_one(resources.pool, county, device, n)
    if held is None or held.unit not in units:
        raise Problem(ProblemCode.NOT_FOUND)
    reference = await resources.units.reference()
    duties = tuple(held_duties(caller.duties, now))
    note = Note(
        action=Action.HELD_SETTLED,
        person=caller.person,
        device=caller.device,
        subject=f"{county}/{device}/{n}",
        unit=held.unit,
        detail={"action": action.value},
    )
    also = noted(note, origin, now)
    outcomes = await desk.decide(resources.pool, reference, county, device, n, action, caller.person, now, data.note, duties, also)
    if not outcomes:
        outcomes = await desk.fetch_decided(resources.pool, county, device, n, action, caller.person)
        if not outcomes:
            raise Problem(ProblemCode.CONFLICTING_STATE, "该项已由他人处理，请刷新列表", reason="settled")
    return Decided(outcomes=outcomes)


def noted(note: Note, origin: Origin, now: datetime) -> Also:
    """An entry of the audit log in the transaction of the decision that it tells of, with how it ended."""

    async def write(conn: Connection, outcomes: Sequence[MutationOutcome]) -> None:
        detail = note.detail | {"outcome": outcomes[0].outcome.value}
        await insert_note(conn, msgspec.structs.replace(note, detail=detail), origin, now)

    return write


# -------------------------------------------------------------------------------------------------- refused creations


@get("/refused/{county:int}", opt=LIMITED, summary="未被接受的新建 · Refused creations")
async def list_refused(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    county: FromPath[County],
    after: FromQuery[Annotated[str, Meta(max_length=120)] | None] = None,
) -> RefusedPage:
    """What somebody made and the server refused for good: as it was sent, by whom, when, and why; the newest first.

    No decision is open: the desk sees to it that the work is done again, or need not be.
    """
    units = desk_units(caller, places, county, now)
    items, full = await refused_creations.fetch_refused(
        resources.pool, county, units, place_after(after, refused_creations.NEWEST), PAGE_ROWS
    )
    last = items[-1] if items else None
    following = position_text(last.refused_at, last.device, last.n) if full and last else None
    return RefusedPage(items=items, next=following)


# -------------------------------------------------------------------------------------------------- conflicts


@get("/conflicts", opt=LIMITED, summary="冲突收件箱 · The conflict inbox")
async def list_conflicts(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    county: FromQuery[County],
    after: FromQuery[Annotated[str, Meta(max_length=120)] | None] = None,
) -> ConflictPage:
    """Losing values that wait for a decision, the oldest first."""
    streams = conflict_streams(caller, places, county, now)
    rows = await conflicts.fetch_conflicts(resources.pool, county, streams, conflict_key(after), PAGE_ROWS)
    following = position_text(rows[-1][0], rows[-1][1].id) if len(rows) == PAGE_ROWS else None
    return ConflictPage(items=[item for _, item in rows], next=following)


def conflict_key(after: str | None) -> tuple[datetime, RecordId]:
    if after is None:
        return conflicts.BEGINNING
    at, record = position_of(after, "after", RecordId)
    return at, record


@post(
    "/conflicts/{county:int}/{conflict:uuid}/settle",
    opt=LIMITED,
    status_code=200,
    summary="裁定冲突 · Settle a conflict with one tap",
)
async def settle_conflict(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    origin: GivenOrigin,
    county: FromPath[County],
    conflict: FromPath[uuid.UUID],
    data: JSONBody[Settle],
) -> Decided:
    """The choice becomes a mutation like any other, and syncs back to both phones. Repeated, it has the outcome that it had."""
    streams = conflict_streams(caller, places, county, now)
    found = await conflicts.fetch_conflict(resources.pool, county, conflict)
    if found is None or found[1] not in streams:
        raise Problem(ProblemCode.NOT_FOUND)
    args = {"choice": data.choice, "record": str(found[2].record)}
    if data.choice == "other":
        args["value"] = data.value
    tap = data.id or asked_id("settle", conflict, caller.person, data.choice, msgspec.json.encode(data.value).decode())
    if data.id is not None and is_worded(data.id):
        raise Problem(ProblemCode.INVALID_VALUE, NOT_A_NEW_ID, field="id")
    mutation = draft(kind="conflict", record=conflict, op="conflict.settle", now=now, mutation=tap, base=found[0], args=args)
    check_sizes([mutation], resources.sync.mutation_bytes_max)
    note = Note(
        action=Action.CONFLICT_SETTLED,
        person=caller.person,
        device=caller.device,
        subject=f"{county}/{conflict}",
        unit=found[2].unit,
        detail={"choice": data.choice},
    )
    reference, also, held_max = await resources.units.reference(), noted(note, origin, now), resources.sync.held_of_person_max
    pushed = await office_push(resources.pool, reference, county, sender_of(caller), [mutation], now, also=also, held_max=held_max)
    resources.live.moved((county, stream) for stream in pushed.streams)
    return Decided(outcomes=pushed.outcomes)


# -------------------------------------------------------------------------------------------------- console writes


@post("/mutations", opt=LIMITED, status_code=200, summary="办公端写入 · Writes by the console")
async def push_office_mutations(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    data: JSONBody[OfficeMutations],
) -> Decided:
    """The one write path, for a browser: the server numbers the mutations. An `id` that is known has its old outcome.

    What has no meaning (malformed, unknown words or units, a record that is not there) is 422 and nothing is written: whoever
    wrote it is there to mend it. What waits for another person's decision is held, as a phone's,
    and where too much of the caller waits already, nothing is written (429, `reason` `desk_full`).
    """
    if places.county_of(str(data.county)) is None and not any(u.county == data.county for u in places.units.values()):
        raise Problem(ProblemCode.NOT_FOUND)
    drafts = [office_draft(m, now) for m in data.mutations]
    check_ids(drafts)
    check_sizes(drafts, resources.sync.mutation_bytes_max)
    reference = await resources.units.reference()
    try:
        pushed = await office_push(
            resources.pool,
            reference,
            data.county,
            sender_of(caller),
            drafts,
            now,
            author_waits=True,
            same_content=True,
            held_max=resources.sync.held_of_person_max,
        )
    except NotUnderstood as refused:
        raise not_understood(refused.outcomes) from None
    resources.live.moved((data.county, stream) for stream in pushed.streams)
    return Decided(outcomes=pushed.outcomes)


def check_ids(drafts: Sequence[Mutation]) -> None:
    """The caller's ids are not among those that the server derives for what others will ask of it. Problem: invalid_value; `index` counts from 0."""
    wrong = [(k, one, fault) for k, one in enumerate(drafts) if (fault := worded_fault(one)) is not None]
    if wrong:
        reason = Reason.MALFORMED.value
        faults = [{"index": k, "id": str(one.id), "reason": reason, "text": NOT_A_NEW_ID, "detail": {"error": e}} for k, one, e in wrong]
        raise Problem(ProblemCode.INVALID_VALUE, f"{NOT_A_NEW_ID}。未写入任何内容", faults=faults)


def check_sizes(drafts: Sequence[Mutation], bytes_max: int) -> None:
    """A mutation is as large as a phone's at most. Problem: body_too_large, before anything is written; `index` counts from 0."""
    sizes = [len(msgspec.json.encode(mutation)) for mutation in drafts]
    wrong = [(k, drafts[k].id, size) for k, size in enumerate(sizes) if size > bytes_max]
    if not wrong:
        return
    text = f"{TEXT_ZH[Reason.TOO_LARGE]}，每项最多{bytes_max}字节，请精简后重新提交"
    reason, bound = Reason.TOO_LARGE.value, {"bytes_max": bytes_max}
    faults = [{"index": k, "id": str(one), "reason": reason, "text": text, "detail": bound | {"bytes": size}} for k, one, size in wrong]
    said = "、".join(f"第{k + 1}项" for k, _, _ in wrong[:FAULTS_SAID])
    raise Problem(ProblemCode.BODY_TOO_LARGE, f"{said}{'等' if len(wrong) > FAULTS_SAID else ''}：{text}。未写入任何内容", faults=faults)


def not_understood(outcomes: Sequence[MutationOutcome]) -> Problem:
    """Which of them, and why, for people and for machines. `index` counts from 0."""
    wrong = [(k, o) for k, o in enumerate(outcomes) if is_not_understood(o)]
    texts = {o.reason: TEXT_ZH[o.reason].removesuffix("，已原样保存") for _, o in wrong}
    faults = [{"index": k, "id": str(o.id), "reason": o.reason.value, "text": texts[o.reason], "detail": o.detail or {}} for k, o in wrong]
    said = "；".join(f"第{k + 1}项：{texts[o.reason]}" for k, o in wrong)
    return Problem(ProblemCode.INVALID_VALUE, f"{said}。未写入任何内容", faults=faults)


def office_draft(m: OfficeMutation, now: datetime) -> Mutation:
    return draft(
        kind=m.kind,
        record=m.record,
        op=m.op,
        now=now,
        mutation=m.id,
        base=m.base,
        body=m.body,
        fields=m.fields,
        args=m.args,
    )


DESK: Final = Router(
    "/office/v1",
    route_handlers=[list_held, decide_held, list_refused, list_conflicts, settle_conflict, push_office_mutations],
    tags=["office"],
    request_max_body_size=OFFICE_BYTES_MAX,
)
