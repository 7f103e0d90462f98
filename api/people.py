"""People, duties and units: what everyone may see of themselves, and what an admin does inside the units of their duty."""

from __future__ import annotations

from datetime import datetime
from itertools import combinations
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from uuid_utils.compat import uuid7

from api.auth import WITHOUT_FACTOR
from api.dependencies import Deed, GivenCaller, GivenDeed, GivenNow, GivenOrigin, GivenPlaces, GivenResources, PageSize
from api.passwords import check_new_password, generate_password
from api.resources import Resources
from api.units import close, create_unit, list_units, refuse, rename_unit
from contracts.access import (
    Action,
    CorrectPerson,
    DeviceOut,
    DutyIn,
    EndDuty,
    GrantDuty,
    Me,
    People,
    PersonIn,
    PersonOut,
)
from contracts.caller import Caller
from contracts.ids import PersonId
from contracts.importing import FAULT_TEXTS
from contracts.people import Account, Duty, Role
from contracts.problems import Problem, ProblemCode
from storage.audit_log import Note
from storage.credentials import update_password
from storage.devices import fetch_devices
from storage.people import (
    FIRST,
    correct_person,
    disable_person,
    enable_person,
    end_duty,
    fetch_duties,
    fetch_people,
    fetch_person,
    insert_duty,
    insert_person,
    lock_admin_duties,
    lock_duties_of,
    lock_duty,
    lock_number,
)
from storage.pool import Connection, Pool, transaction
from storage.tokens import end_person_tokens
from sync.administration import (
    PEOPLE_READERS,
    Refusal,
    duty_refusal,
    end_refusal,
    grant_refusal,
    last_admin_refusal,
    longer_refusal,
    number_refusal,
    overlap,
    person_refusal,
)
from sync.places import Places
from sync.scope import open_duties, units_with

Text = Annotated[str, QueryParameter(max_length=50)]


@get("/me", opt=WITHOUT_FACTOR, summary="我是谁 · Who am I")
async def me(caller: GivenCaller, resources: GivenResources, places: GivenPlaces) -> Me:
    """The caller with all duties, the device, and the counties whose records it may exchange."""
    person = await fetch_person(resources.pool, caller.person)
    counties = sorted({c for d in caller.duties if (c := places.county_of(d.unit)) is not None})
    devices = await fetch_devices(resources.pool, caller.person, counties, caller.device)
    assert person is not None  # people are never deleted
    return Me(person=person, device=next(d for d in devices if d.current), counties=counties)


@get("/persons", summary="人员名单 · People in my units")
async def list_people(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    origin: GivenOrigin,
    after: FromQuery[UUID | None] = None,
    text: Text = "",
    unit: Annotated[str | None, QueryParameter(max_length=64)] = None,
    role: FromQuery[Role | None] = None,
    limit: PageSize = 50,
) -> People:
    """Who has or had a duty in the caller's units, with those duties.

    text   part of the name, or the number's beginning      unit   a duty at or below it      role   a duty of this kind

    Each different search is noted in the audit log once an hour, also one that finds nobody; of one person a bounded number an hour.
    """
    units = units_with(PEOPLE_READERS, caller.duties, places, now)
    if not units:
        raise Problem(ProblemCode.NOT_ALLOWED)
    units = units if unit is None else units & set(places.below(unit))
    found = await fetch_people(resources.pool, units, after=after or FIRST, text=text, role=role, limit=limit)
    named = unit and unit.replace("\0", "\ufffd")  # PostgreSQL cannot hold the former
    asked = {"text": text, "role": role.value if role else None, "unit": named}
    resources.readings.note_search(caller, Action.PEOPLE_LISTED, named or "*", asked, origin=origin, now=now)
    return People(people=found, next=str(found[-1].id) if len(found) == limit else None)


@get("/persons/{person_id:uuid}", summary="一个人 · One person")
async def show_person(person_id: FromPath[UUID], deed: GivenDeed, resources: GivenResources, places: GivenPlaces) -> PersonOut:
    """With the duties in the caller's units. Noted in the audit log, as the devices are."""
    found = await _visible(person_id, deed.caller, resources.pool, places, deed.now)
    _note_reading(person_id, deed, resources)
    return found


@get("/persons/{person_id:uuid}/devices", summary="某人的设备 · A person's devices")
async def list_devices_of(person_id: FromPath[UUID], deed: GivenDeed, resources: GivenResources, places: GivenPlaces) -> list[DeviceOut]:
    """For an admin of all the person's duties."""
    theirs = await _administered(person_id, deed.caller, resources.pool, places, deed.now)
    _note_reading(person_id, deed, resources)
    counties = sorted({c for d in theirs if (c := places.county_of(d.unit)) is not None})
    return await fetch_devices(resources.pool, person_id, counties)


def _note_reading(person: PersonId, deed: Deed, resources: Resources) -> None:
    resources.readings.note(deed.caller, Action.PERSON_READ, str(person), origin=deed.origin, now=deed.now, about=person)


async def _visible(person: PersonId, caller: Caller, pool: Pool, places: Places, now: datetime) -> PersonOut:
    found = await fetch_person(pool, person, units_with(PEOPLE_READERS, caller.duties, places, now))
    if found is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return found


async def _administered(person: PersonId, caller: Caller, pool: Pool, places: Places, now: datetime) -> tuple[Duty, ...]:
    """The duties of a person whom the caller administers; not found when they have none in the caller's units."""
    await _visible(person, caller, pool, places, now)
    theirs = await fetch_duties(pool, person)
    refuse(person_refusal(caller.duties, theirs, places, now))
    return theirs


def _duty(person: PersonId, wanted: DutyIn, now: datetime) -> Duty:
    return Duty(person=person, role=wanted.role, unit=wanted.unit, starts=wanted.starts or now, ends=wanted.ends)


def _granted(deed: Deed, duty_id: UUID, duty: Duty) -> Note:
    return deed.note(Action.DUTY_GRANTED, duty_id, about=duty.person, unit=duty.unit, detail=msgspec.to_builtins(duty))


@post("/persons", status_code=201, summary="新增人员 · Create a person")
async def create_person(
    data: JSONBody[PersonIn],
    resources: GivenResources,
    places: GivenPlaces,
    deed: GivenDeed,
) -> PersonOut:
    """With their first duties, each inside the admin's units. The password is in this answer and nowhere else.

    The number of a disabled account passes on to the new one. Of a live account outside the admin's units the refusal says
    nothing but that the number is in use.
    """
    person = uuid7()
    duties = _first_duties(person, data.duties, deed, places, resources.access.backdated_days)
    password = data.password or generate_password()
    check_new_password(password, data.phone, name=data.name)
    password_hash = await resources.passwords.hash(password)
    async with transaction(resources.pool) as conn:
        holder = await lock_number(conn, data.phone)
        _refuse_number(number_refusal(deed.caller.duties, data.name, holder, places, deed.now), holder)
        await insert_person(conn, person, data.name, data.phone, password_hash, deed.now, must_change=True, by=deed.caller.person)
        notes = [deed.note(Action.PERSON_CREATED, person, about=person, unit=data.duties[0].unit)]
        if holder is not None:
            notes.append(deed.note(Action.NUMBER_PASSED_ON, holder.person, about=holder.person, detail={"to": str(person)}))
        for duty_id, duty in duties.items():
            await insert_duty(conn, duty_id, duty, by=deed.caller.person)
        await deed.tell(conn, *notes, *(_granted(deed, one, d) for one, d in duties.items()))
        made = await fetch_person(conn, person)
    assert made is not None
    return msgspec.structs.replace(made, password=password)


def _first_duties(person: PersonId, wanted: list[DutyIn], deed: Deed, places: Places, backdated_days: int) -> dict[UUID, Duty]:
    """Id -> duty; Problem for one that the admin may not give, beside the others."""
    duties: dict[UUID, Duty] = {}
    for one in wanted:
        duty = _duty(person, one, deed.now)
        refuse(duty_refusal(deed.caller.duties, duty, duties.values(), places, deed.now, backdated_days))
        duties[uuid7()] = duty
    if any(overlap(one, other) for one, other in combinations(duties.values(), 2)):
        raise Problem(ProblemCode.INVALID_VALUE, "同一职责不能重复授予，请只保留一项", field="duties", reason="duplicate")
    return duties


def _refuse_number(refusal: Refusal | None, holder: Account | None) -> None:
    """Problem when the number is not free. Whose it is stands in it only where the admin sees that person anyway."""
    if refusal is None or holder is None:
        return
    whose: dict[str, Any] = {} if refusal is Refusal.ACCOUNT_ELSEWHERE else {"person": str(holder.person)}
    raise Problem(ProblemCode.CONFLICTING_STATE, FAULT_TEXTS[refusal.value], field="phone", reason=refusal.value, **whose)


@post("/persons/{person_id:uuid}/correct", status_code=200, summary="更正姓名或手机号 · Correct a name or a number")
async def correct(
    person_id: FromPath[UUID],
    data: JSONBody[CorrectPerson],
    resources: GivenResources,
    places: GivenPlaces,
    deed: GivenDeed,
) -> PersonOut:
    """Duties, devices and password stay; from now on the person logs in with the new number."""
    await _administered(person_id, deed.caller, resources.pool, places, deed.now)
    async with transaction(resources.pool) as conn:
        before = await fetch_person(conn, person_id)
        assert before is not None  # people are never deleted
        name, phone = data.name or before.name, data.phone or before.phone
        if not await correct_person(conn, person_id, name, phone):
            raise Problem(ProblemCode.CONFLICTING_STATE, "该手机号已有账号，请核对号码", field="phone")
        detail = {"old": [before.name, before.phone], "new": [name, phone]}
        note = deed.note(Action.PERSON_CORRECTED, person_id, about=person_id, detail=detail)
        await deed.tell(conn, note)
    return await _visible(person_id, deed.caller, resources.pool, places, deed.now)


@post("/persons/{person_id:uuid}/disable", status_code=204, summary="停用账号 · Disable a person")
async def disable(
    person_id: FromPath[UUID],
    resources: GivenResources,
    places: GivenPlaces,
    deed: GivenDeed,
) -> None:
    """All duties end now; consoles are logged out; phones hand in what they hold, into quarantine, and wipe themselves."""
    theirs = await _administered(person_id, deed.caller, resources.pool, places, deed.now)
    async with transaction(resources.pool) as conn:
        admins = await lock_admin_duties(conn, deed.now)
        refuse(last_admin_refusal(open_duties(theirs, deed.now), [d for d in admins.values() if d.person != person_id], deed.now, places))
        ended = await disable_person(conn, person_id, deed.now)
        if ended is None:
            raise Problem(ProblemCode.CONFLICTING_STATE, "该账号已经停用")
        await end_person_tokens(conn, person_id)
        duties, phones = ended
        note = deed.note(
            Action.PERSON_DISABLED,
            person_id,
            about=person_id,
            detail={"duties": [str(one) for one in duties], "phones": [str(one) for one in phones]},
        )
        await deed.tell(conn, note)


@post("/persons/{person_id:uuid}/enable", status_code=204, summary="恢复账号 · Enable a person again")
async def enable(
    person_id: FromPath[UUID],
    resources: GivenResources,
    places: GivenPlaces,
    deed: GivenDeed,
) -> None:
    """Without any duty: those are granted anew, and phones log in with a new store."""
    await _administered(person_id, deed.caller, resources.pool, places, deed.now)
    async with transaction(resources.pool) as conn:
        found = await fetch_person(conn, person_id)
        assert found is not None  # people are never deleted
        holder = await lock_number(conn, found.phone)
        if holder is not None and holder.person != person_id and not holder.is_disabled:
            raise Problem(
                ProblemCode.CONFLICTING_STATE,
                "该号码已由他人使用：请先更正此人的手机号，再恢复账号",
                field="phone",
                reason="number_passed_on",
            )
        if not await enable_person(conn, person_id, by=deed.caller.person):
            raise Problem(ProblemCode.CONFLICTING_STATE, "该账号没有停用，不需要恢复")
        note = deed.note(Action.PERSON_ENABLED, person_id, about=person_id)
        await deed.tell(conn, note)


@post("/persons/{person_id:uuid}/password", status_code=200, summary="重置密码 · Reset a password")
async def reset_password(
    person_id: FromPath[UUID],
    resources: GivenResources,
    places: GivenPlaces,
    deed: GivenDeed,
) -> PersonOut:
    """A new password, in this answer only. The person is logged out everywhere; unsent work stays on the phones.

    Never one's own: who has only an open session of an admin must not take the account over.
    """
    if person_id == deed.caller.person:
        refuse(Refusal.NOT_TO_YOURSELF)
    found = await _visible(person_id, deed.caller, resources.pool, places, deed.now)
    await _administered(person_id, deed.caller, resources.pool, places, deed.now)
    password = generate_password()
    password_hash = await resources.passwords.hash(password)
    async with transaction(resources.pool) as conn:
        await update_password(conn, person_id, password_hash, by=deed.caller.person)
        await end_person_tokens(conn, person_id)
        note = deed.note(Action.PASSWORD_RESET, person_id, about=person_id)
        await deed.tell(conn, note)
    return msgspec.structs.replace(found, password=password)


@post("/duties", status_code=201, summary="授予职责 · Grant a duty")
async def grant_duty(
    data: JSONBody[GrantDuty],
    resources: GivenResources,
    places: GivenPlaces,
    deed: GivenDeed,
) -> PersonOut:
    """Inside the admin's units, to somebody else whose duties the admin administers. A start some days ago is allowed, and logged:
    it is how a forgotten duty is entered late.

    A duty that the person has is not given twice: the same again changes nothing, another end or start is 409.
    """
    await _visible(data.person, deed.caller, resources.pool, places, deed.now)
    duty, duty_id = _duty(data.person, data.duty, deed.now), data.id or uuid7()
    async with transaction(resources.pool) as conn:
        known = await lock_duty(conn, duty_id)
        if known is not None and (known.person, known.role, known.unit) != (duty.person, duty.role, duty.unit):
            raise Problem(ProblemCode.CONFLICTING_STATE, "该标识已用于另一职责，请刷新后重新授予", field="id")
        if known is None:
            await _grant(conn, data, duty_id, duty, deed, places, resources.access.backdated_days)
    return await _visible(data.person, deed.caller, resources.pool, places, deed.now)


async def _grant(conn: Connection, data: GrantDuty, duty_id: UUID, duty: Duty, deed: Deed, places: Places, backdated_days: int) -> None:
    """Judged by what the person has under lock: two who give what does not go together are not both right."""
    theirs = await lock_duties_of(conn, duty.person)
    person = await fetch_person(conn, duty.person)
    assert person is not None  # people are never deleted
    if person.disabled_at is not None:
        raise Problem(ProblemCode.CONFLICTING_STATE, "该账号已停用，请先恢复账号再授予职责")
    held = next((d for d in theirs if overlap(d, duty)), None)
    is_same = held is not None and held.ends == duty.ends and data.duty.starts in (None, held.starts)
    asked = msgspec.structs.replace(duty, starts=deed.now) if is_same else duty  # it is so already, since whenever
    refuse(grant_refusal(deed.caller.duties, asked, theirs, places, deed.now, backdated_days))
    if held is None:
        await insert_duty(conn, duty_id, duty, by=deed.caller.person)
        await deed.tell(conn, _granted(deed, duty_id, duty))
    elif not is_same:
        raise Problem(ProblemCode.CONFLICTING_STATE, "该人员已有此职责，且起止时间不同：可更改其结束时间", reason="duty_exists")


@post("/duties/{duty_id:uuid}/end", status_code=200, summary="结束职责 · End a duty")
async def end_one_duty(
    duty_id: FromPath[UUID],
    data: JSONBody[EndDuty],
    resources: GivenResources,
    places: GivenPlaces,
    deed: GivenDeed,
) -> PersonOut:
    """Never in the past: what was permitted when it was captured stays permitted. Nor the last admin's who has this unit."""
    ends = data.ends or deed.now
    async with transaction(resources.pool) as conn:
        admins = await lock_admin_duties(conn, deed.now)
        duty = await lock_duty(conn, duty_id)
        if duty is None:
            raise Problem(ProblemCode.NOT_FOUND)
        refuse(end_refusal(deed.caller.duties, duty, ends, places, deed.now))
        others = [d for d in await lock_duties_of(conn, duty.person) if d != duty]
        refuse(longer_refusal(deed.caller.duties, duty, ends, others, places, deed.now, resources.access.backdated_days))
        refuse(last_admin_refusal([duty], [d for one, d in admins.items() if one != duty_id], ends, places))
        await end_duty(conn, duty_id, ends)
        note = deed.note(Action.DUTY_ENDED, duty_id, about=duty.person, unit=duty.unit, detail={"role": duty.role.value, "ends": ends})
        await deed.tell(conn, note)
    return await _visible(duty.person, deed.caller, resources.pool, places, deed.now)


PEOPLE: Final = Router(
    "/people/v1",
    route_handlers=[
        me,
        list_units,
        create_unit,
        rename_unit,
        close,
        list_people,
        show_person,
        list_devices_of,
        create_person,
        correct,
        disable,
        enable,
        reset_password,
        grant_duty,
        end_one_duty,
    ],
    tags=["people"],
)
