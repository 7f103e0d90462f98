"""Letters to units or roles, and who has not signed for them (通知、函件、签收)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Final

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, JSONBody

from api.auth import LIMITED
from api.dependencies import GivenCaller, GivenNow, GivenPlaces, GivenResources
from api.desk import sender_of
from api.ledgers import streams_in_force
from api.resources import Resources
from contracts.caller import Caller
from contracts.ids import County, RecordId, UnitCode, asked_id
from contracts.importing import FAULT_TEXTS
from contracts.kinds.notice import Notice
from contracts.outcomes import TEXT_ZH, Reason
from contracts.people import Audience
from contracts.planning import Addressee, LetterCopy, LetterSent, LetterStanding, SendLetter, Signature
from contracts.problems import Problem, ProblemCode
from storage.notices import fetch_addressees, fetch_letter, fetch_names, signatures
from storage.office_push import draft, office_push
from storage.story import fetch_records
from sync.permission import ACTIVE, OFFICE
from sync.places import Places, stream_name, unit_of
from sync.rules import day_of
from sync.scope import streams_of, units_with

WORDS: Final = ("title", "text", "category", "roles", "subject_record", "needs_acknowledgement", "acknowledge_by")


@post("/letters", opt=LIMITED, status_code=200, summary="发送通知 · Send a letter to units or roles")
async def send_letter(
    caller: GivenCaller, resources: GivenResources, places: GivenPlaces, now: GivenNow, data: JSONBody[SendLetter]
) -> list[LetterSent]:
    """A copy to each unit, through the one write path, judged by the caller's duties. Repeated, nothing is sent twice."""
    mine = units_with(OFFICE, caller.duties, places, now)
    if data.from_unit not in mine or not set(data.units) <= mine:
        raise Problem(ProblemCode.NOT_ALLOWED)
    if closed := [unit for unit in data.units if places.is_closed(unit, day_of(now))]:
        raise Problem(ProblemCode.INVALID_VALUE, FAULT_TEXTS["unit_closed"], reason="unit_closed", units=closed)
    if not set(data.roles) <= ACTIVE:  # who only reads or administers signs for nothing
        raise Problem(ProblemCode.INVALID_VALUE, "所选职责不签收通知，请改选网格员、镇办、部门或督办职责", field="roles")
    await check_subject(resources, caller, places, data, now)
    sent: list[LetterSent] = []
    counties = {places.units[unit].county for unit in data.units}
    for county in sorted(counties):
        units = [unit for unit in dict.fromkeys(data.units) if places.units[unit].county == county]
        await check_same_letter(resources, county, data, units)
        drafts = [
            draft(
                kind="notice",
                record=asked_id("copy", data.letter, unit),
                op="create",
                now=now,
                mutation=asked_id("letter", data.letter, unit, caller.person),
                body=msgspec.to_builtins(copy_for(data, unit, now)),
            )
            for unit in units
        ]
        reference, held_max = await resources.units.reference(), resources.sync.held_of_person_max
        pushed = await office_push(resources.pool, reference, county, sender_of(caller), drafts, now, held_max=held_max)
        resources.live.moved((county, stream) for stream in pushed.streams)
        sent += [
            LetterSent(unit=unit, county=county, notice=d.record, mutation=d.id, outcome=o.outcome)
            for unit, d, o in zip(units, drafts, pushed.outcomes, strict=True)
        ]
    return sent


async def check_subject(resources: Resources, caller: Caller, places: Places, data: SendLetter, now: datetime) -> None:
    """What a letter is about is on its sender's screen, in whichever county. Problem: invalid_value, whether it is hidden or nowhere."""
    if data.subject_record is None:
        return
    scope = streams_in_force(caller, places, now)
    for county in sorted(set(scope.values())):
        streams = [stream for stream, one in scope.items() if one == county]
        found = await fetch_records(resources.pool, county, [data.subject_record], streams)
        if any(not record.deleted for record in found):
            return
    raise Problem(ProblemCode.INVALID_VALUE, f"有关事项：{TEXT_ZH[Reason.RECORD_MISSING]}，请核对", field="subject_record")


async def check_same_letter(resources: Resources, county: County, data: SendLetter, units: list[UnitCode]) -> None:
    """A letter that was sent is repeated word for word, or it is another letter. Problem: conflicting_state."""
    for _, notice in await fetch_letter(resources.pool, county, data.letter, [stream_name(unit, Audience.FIELD) for unit in units]):
        sent = copy_for(data, notice.unit, notice.published_at)
        if any(getattr(sent, name) != getattr(notice, name) for name in WORDS):
            raise Problem(
                ProblemCode.CONFLICTING_STATE,
                "该通知已发送，内容与此不同；要更改请撤回后另发一份",
                reason="letter_differs",
                unit=notice.unit,
            )


def copy_for(data: SendLetter, unit: UnitCode, now: datetime | None) -> Notice:
    return Notice(
        unit=unit,
        title=data.title,
        text=data.text,
        category=data.category,
        letter=data.letter,
        sent_by_unit=data.from_unit,
        roles=data.roles,
        subject_record=data.subject_record,
        needs_acknowledgement=data.needs_acknowledgement,
        acknowledge_by=data.acknowledge_by,
        published_at=now,
    )


@get("/letters/{letter:uuid}", opt=LIMITED, summary="签收情况 · Who has signed for a letter, and who has not")
async def letter_standing(
    caller: GivenCaller, resources: GivenResources, places: GivenPlaces, now: GivenNow, letter: FromPath[uuid.UUID]
) -> LetterStanding:
    """The copies in units that the caller has an office duty over."""
    mine = units_with(OFFICE, caller.duties, places, now)
    scope = streams_of(caller.duties, caller.device, places, now)
    found: list[tuple[County, RecordId, Notice]] = []
    for county in sorted(set(scope.values())):
        streams = [s for s, c in scope.items() if c == county and s == stream_name(unit_of(s), Audience.FIELD) and unit_of(s) in mine]
        found += [(county, record, notice) for record, notice in await fetch_letter(resources.pool, county, letter, streams)]
    if not found:
        raise Problem(ProblemCode.NOT_FOUND)
    notices = [notice for _, _, notice in found]
    people = await fetch_addressees(resources.pool, [notice.unit for notice in notices], notices[0].roles, now)  # copies have the same
    names = await fetch_names(resources.pool, sorted({person for notice in notices for person in notice.acknowledged_by}))
    copies = [shown(county, record, one, people[one.unit], signatures(one, names), places) for county, record, one in found]
    return LetterStanding(copies=copies)


def shown(county: County, record: RecordId, notice: Notice, people: list[Addressee], signed: list[Signature], places: Places) -> LetterCopy:
    is_wanted = notice.needs_acknowledgement and notice.state == "published"
    has_signed = set(notice.acknowledged_by)
    return LetterCopy(
        county=county,
        notice=record,
        unit=notice.unit,
        unit_name=places.units[notice.unit].name if notice.unit in places.units else "",
        title=notice.title,
        state=notice.state,
        needs_acknowledgement=notice.needs_acknowledgement,
        acknowledge_by=notice.acknowledge_by,
        acknowledged=signed,
        missing=[p for p in people if p.person not in has_signed] if is_wanted else [],
    )


NOTICES: Final = Router("/office/v1", route_handlers=[send_letter, letter_standing], tags=["office"])
