"""Imports of staff and sites by spreadsheet: a dry run with every fault, then all of it or nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import FromPath, FromQuery

from api.auth import LIMITED
from api.dependencies import GivenCaller, GivenNow, GivenOrigin, GivenPlaces, GivenResources
from api.desk import sender_of
from api.import_rows import Administered, Staff, check_sites, check_staff, phone_of
from api.passwords import generate_password
from api.resources import Resources
from api.unit_names import with_codes
from api.workbooks import MEDIA_TYPE, SheetRow, fault
from contracts.access import Action
from contracts.caller import Caller
from contracts.ids import RecordId, asked_id
from contracts.importing import (
    DUTIES,
    FAULTS_MAX,
    FILE_BYTES_MAX,
    LEVEL_WORDS,
    PEOPLE,
    ROLE_WORDS,
    SHEETS,
    SITES,
    ZONE_WORDS,
)
from contracts.office import ImportAnswer, ImportedAccount, ImportFault, ImportSubject
from contracts.outcomes import TEXT_ZH, MutationOutcome, Outcome
from contracts.people import Account, Audience
from contracts.problems import Problem, ProblemCode
from contracts.subjects import subject_words
from storage.audit_log import Note, Origin, insert_note, insert_notes
from storage.importing import (
    NewAccount,
    fetch_sites_named,
    fetch_unused_accounts,
    insert_staff,
    lock_staff,
    replace_unused_passwords,
)
from storage.office_push import NotAll, draft, office_push
from storage.people import fetch_accounts
from storage.pool import Connection, transaction
from sync.administration import ADMINS, person_refusal
from sync.permission import ACTIVE, OFFICE
from sync.places import Places, stream_name
from sync.scope import units_with

CODES_MAX: Final = 5000
SITE_IMPORTERS: Final = OFFICE & ACTIVE

Rows = dict[str, list[SheetRow]]


def require_importer(subject: ImportSubject, caller: Caller, places: Places, now: datetime) -> set[str]:
    """Units the caller may import into; Problem when there are none: staff by admins, sites by the office."""
    units = units_with(ADMINS if subject is ImportSubject.STAFF else SITE_IMPORTERS, caller.duties, places, now)
    if not units:
        raise Problem(ProblemCode.NOT_ALLOWED)
    return units


@get("/imports/{subject:str}/template", opt=LIMITED, summary="导入模板 · A template to fill in")
async def import_template(
    subject: FromPath[ImportSubject], resources: GivenResources, caller: GivenCaller, places: GivenPlaces, now: GivenNow
) -> Response[bytes]:
    """A workbook with the headings, and a sheet of the codes that may be used: units of the caller, roles, words."""
    units = sorted(require_importer(subject, caller, places, now))[:CODES_MAX]
    codes: dict[str, list[tuple[str, str]]] = {"单位代码": [(code, places.units[code].name) for code in units]}
    if subject is ImportSubject.STAFF:
        codes["职责"] = [(word, role.value) for word, role in ROLE_WORDS.items()]
        codes["级别"] = [(word, level.value) for word, level in LEVEL_WORDS.items()]
    else:
        codes["类别"] = sorted(subject_words().items(), key=lambda pair: pair[1])
        codes["保护区分区"] = list(ZONE_WORDS.items())
        codes["坐标系"] = [("WGS-84", "GPS、天地图"), ("GCJ-02", "高德、腾讯地图")]
    data = await resources.imports.template(subject.value, codes)
    headers = {"Content-Disposition": f'attachment; filename="{subject.value}.xlsx"'}
    return Response(data, media_type=MEDIA_TYPE, headers=headers)


@post("/imports/{subject:str}", opt=LIMITED, status_code=200, summary="表格导入 · Try or import a spreadsheet")
async def import_workbook(
    subject: FromPath[ImportSubject],
    request: Request[Any, Any, Any],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    origin: GivenOrigin,
    confirm: FromQuery[str | None] = None,
) -> ImportAnswer:
    """The body is the xlsx. Without `confirm` a dry run; with the file's sha256 from there, an import of all or nothing."""
    units = require_importer(subject, caller, places, now)
    async with resources.imports.turn(caller.person):
        data = await request.body()
        if len(data) > FILE_BYTES_MAX:
            raise Problem(ProblemCode.BODY_TOO_LARGE, bytes_max=FILE_BYTES_MAX)
        sha256 = hashlib.sha256(data).hexdigest()
        if confirm is not None and confirm != sha256:
            raise Problem(ProblemCode.INVALID_VALUE, "文件与试运行时不同，请重新试运行", field="confirm")
        read = await resources.imports.read(data, subject.value)
        # Beside the loop, which goes on with the requests of others, as the judging of the rows is.
        rows, faults = await asyncio.to_thread(with_codes, read.rows, SHEETS[subject], places, units)
        importing = Importing(resources, caller, places, now, origin, sha256, rows, [*read.faults, *faults], is_dry=confirm is None)
        return await (importing.staff() if subject is ImportSubject.STAFF else importing.sites())


class Importing:
    """One file on its way in."""

    def __init__(
        self,
        resources: Resources,
        caller: Caller,
        places: Places,
        now: datetime,
        origin: Origin,
        sha256: str,
        rows: Rows,
        faults: Sequence[ImportFault],
        *,
        is_dry: bool,
    ) -> None:
        self.resources = resources
        self.caller = caller
        self.places = places
        self.now = now
        self.origin = origin
        self.sha256 = sha256
        self.rows = rows
        self.faults = list(faults)
        self.unchanged: dict[str, int] = {}
        self.is_dry = is_dry

    def answer(self, accounts: Sequence[ImportedAccount] = ()) -> ImportAnswer:
        """With faults: of a dry run the list, of an import the Problem that carries it."""
        shown = sorted(self.faults, key=lambda f: (f.sheet, f.row, f.column))[:FAULTS_MAX]
        if shown and not self.is_dry:
            raise Problem(ProblemCode.INVALID_VALUE, "文件有误，未导入任何内容", faults=msgspec.to_builtins(shown))
        return ImportAnswer(
            sha256=self.sha256,
            dry_run=self.is_dry,
            counts={title: len(rows) for title, rows in self.rows.items() if rows},
            unchanged=self.unchanged,
            faults=shown,
            more_faults=len(self.faults) > FAULTS_MAX,
            accounts=list(accounts),
        )

    # ---------------------------------------------------------------------------------------------- staff

    async def staff(self) -> ImportAnswer:
        phones = {phone_of(row) for sheet in (PEOPLE, DUTIES) for row in self.rows.get(sheet.title, ())}
        known = await fetch_accounts(self.resources.pool, phones)
        days = self.resources.access.backdated_days
        by = Administered(admin=self.caller.duties, known=known, places=self.places, now=self.now, backdated_days=days)
        staff, faults = await asyncio.to_thread(check_staff, self.rows, by)
        self.faults += faults
        self.unchanged = staff.unchanged
        if self.faults or self.is_dry:
            return self.answer()
        if staff.is_nothing:
            return self.answer(await self._new_passwords(list(known.values())))
        passwords = {phone: generate_password() for phone in staff.people}
        accounts = [
            NewAccount(person=person, name=name, phone=phone, password_hash=await self.resources.passwords.hash(passwords[phone]))
            for phone, (person, name) in staff.people.items()
        ]
        async with transaction(self.resources.pool) as conn:
            await lock_staff(conn, staff.units, accounts, staff.given)
            await insert_staff(conn, staff.units, accounts, staff.duties, self._notes(staff), self.origin, self.now)
        for unit in staff.units:
            await self.resources.units.find(unit.code)  # this process knows it at once
        made = [ImportedAccount(person=a.person, name=a.name, phone=a.phone, password=passwords[a.phone]) for a in accounts]
        return self.answer(made)

    async def _new_passwords(self, known: Sequence[Account]) -> list[ImportedAccount]:
        """The answer with the first passwords was lost: while nobody has logged in with one, the same file gives new ones."""
        mine = [one for one in known if person_refusal(self.caller.duties, one.duties, self.places, self.now) is None]
        counties = {self.places.units[duty.unit].county for one in mine for duty in one.duties}
        made = await fetch_unused_accounts(self.resources.pool, [one.person for one in mine], self.sha256, counties)
        if not made:
            return []
        passwords = {person: generate_password() for person in made}
        hashes = {person: await self.resources.passwords.hash(password) for person, password in passwords.items()}
        detail = {"sha256": self.sha256}
        notes = [self._note(Action.PASSWORD_RESET, str(person), None, detail, about=person) for person in made]
        async with transaction(self.resources.pool) as conn:
            if not await replace_unused_passwords(conn, hashes, self.caller.person):
                raise Problem(ProblemCode.CONFLICTING_STATE, "已有人用这份表格发放的密码登录，密码未作更改；个别人员请单独重置")
            await insert_notes(conn, notes, self.origin, self.now)
        return [
            ImportedAccount(person=one.person, name=one.name, phone=one.phone, password=passwords[one.person])
            for one in mine
            if one.person in passwords
        ]

    def _notes(self, staff: Staff) -> list[Note]:
        """As if each had been entered by hand, and one for the file."""
        first = {duty.person: duty.unit for duty in reversed(staff.duties.values())}
        detail = {"sha256": self.sha256}
        notes = [
            self._note(Action.UNIT_CREATED, unit.code, unit.code, detail | {"name": unit.name, "parent": unit.parent})
            for unit in staff.units
        ]
        notes += [
            self._note(Action.PERSON_CREATED, str(person), first[person], detail, about=person) for person, _ in staff.people.values()
        ]
        notes += [
            self._note(Action.DUTY_GRANTED, str(one), duty.unit, detail | msgspec.to_builtins(duty), about=duty.person)
            for one, duty in staff.duties.items()
        ]
        notes += [
            self._note(Action.NUMBER_PASSED_ON, str(holder), None, detail | {"to": str(person)}, about=holder)
            for person, holder in staff.passed_on.items()
        ]
        return [*notes, self._imported(None)]

    def _note(self, action: Action, subject: str, unit: str | None, detail: Mapping[str, Any], about: UUID | None = None) -> Note:
        return Note(
            action=action,
            person=self.caller.person,
            device=self.caller.device,
            about=about,
            subject=subject,
            unit=unit,
            detail=dict(detail),
        )

    def _imported(self, unit: str | None) -> Note:
        counts = {title: len(rows) for title, rows in self.rows.items() if rows}
        return self._note(Action.IMPORTED, self.sha256, unit, {"rows": counts})

    # ---------------------------------------------------------------------------------------------- sites

    async def sites(self) -> ImportAnswer:
        rows = self.rows.get(SITES.title, [])
        bodies, faults = await asyncio.to_thread(check_sites, rows, self.caller.duties, self.places, self.now)
        self.faults += faults
        counties = {self.places.units[body["unit"]].county for body in bodies.values()}
        if len(counties) == 1:
            await self._there_already(counties.copy().pop(), bodies)
        if self.faults or self.is_dry:
            return self.answer()
        await self._push_sites(counties.pop(), bodies)
        return self.answer()

    def _record(self, number: int) -> RecordId:
        return asked_id("import_site", self.sha256, number)

    async def _there_already(self, county: int, bodies: Mapping[int, dict[str, Any]]) -> None:
        """A site of this name in this unit; those that this very file made do not count, so it may come twice."""
        streams = {number: stream_name(body["unit"], Audience.FIELD) for number, body in bodies.items()}
        bodies = {number: body for number, body in bodies.items() if "name" in body}  # of one without a name that has been told
        names = [body["name"] for body in bodies.values()]
        mine = [self._record(number) for number in bodies]
        found = await fetch_sites_named(self.resources.pool, county, list(set(streams.values())), names, mine)
        self.faults += [
            fault(SITES, number, "name", "site_exists") for number, body in bodies.items() if (streams[number], body["name"]) in found
        ]

    async def _push_sites(self, county: int, bodies: Mapping[int, dict[str, Any]]) -> None:
        """The one write path; one transaction."""
        drafts = [
            draft(
                kind="site",
                record=self._record(number),
                op="create",
                now=self.now,
                mutation=asked_id("import", self.sha256, number),
                body=body,
            )
            for number, body in bodies.items()
        ]
        note = self._imported(next(iter(bodies.values()))["unit"])

        async def noted(conn: Connection, _outcomes: Sequence[MutationOutcome]) -> None:
            await insert_note(conn, note, self.origin, self.now)

        reference, sender = await self.resources.units.reference(), sender_of(self.caller)
        try:
            pushed = await office_push(self.resources.pool, reference, county, sender, drafts, self.now, all_or_none=True, also=noted)
        except NotAll as refused:
            self.faults += [
                fault(SITES, number, "", "refused", TEXT_ZH[outcome.reason])
                for number, outcome in zip(bodies, refused.outcomes, strict=False)
                if outcome.outcome is not Outcome.APPLIED
            ]
            return
        self.resources.live.moved((county, stream) for stream in pushed.streams)


IMPORTS: Final = Router(
    "/office/v1", route_handlers=[import_template, import_workbook], tags=["office"], request_max_body_size=FILE_BYTES_MAX
)
