"""What the rows of an import mean, and what is wrong with them: pure, every fault with its row and column."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
import prcoords
from uuid_utils.compat import uuid7

from api.workbooks import SheetRow, fault
from contracts.access import NAME_PATTERN, UNIT_CODE_PATTERN
from contracts.importing import (
    CHINA_LAT,
    CHINA_LNG,
    DATUM_WORDS,
    DUTIES,
    LEVEL_WORDS,
    PEOPLE,
    ROLE_WORDS,
    SITES,
    UNITS,
    ZONE_WORDS,
    Sheet,
)
from contracts.kind import HEADING_PATTERN
from contracts.kinds.site import Site
from contracts.office import ImportFault
from contracts.people import Account, Duty, Role, Unit
from contracts.phones import plain_phone
from contracts.subjects import subject_words
from sync.administration import Refusal, duty_refusal, grant_refusal, number_refusal, unit_refusal
from sync.clock import Interval
from sync.permission import may
from sync.places import Places
from sync.rules import CHINA, day_of, end_of

UNIT_CODE: Final = re.compile(UNIT_CODE_PATTERN)
NAME: Final = re.compile(NAME_PATTERN)
HEADING: Final = re.compile(HEADING_PATTERN)
SEPARATORS: Final = re.compile(r"[,，、;；\s]+")
_T = TypeVar("_T")


def phone_of(row: SheetRow) -> str:
    """As it is stored."""
    return row.text("phone")


class Staff(msgspec.Struct, frozen=True, kw_only=True):
    """What an import of staff would make.

    people      phone -> (id, name)
    unchanged   sheet -> rows that are there already
    given       phone -> account that gets a duty
    passed_on   new person -> who had their number: a disabled account
    """

    units: list[Unit]
    people: dict[str, tuple[UUID, str]]
    duties: dict[UUID, Duty]
    unchanged: dict[str, int]
    given: dict[str, Account] = {}
    passed_on: dict[UUID, UUID] = {}

    @property
    def is_nothing(self) -> bool:
        return not (self.units or self.people or self.duties)


def word_of(text: str, words: Mapping[str, _T]) -> _T | None:
    """The meaning of a word, in Chinese or as a code."""
    codes = {str(getattr(value, "value", value)): value for value in words.values()}
    return words.get(text, codes.get(text))


class Checking:
    """Collects faults; what a row is worth where it has any does not matter, because then nothing is written."""

    def __init__(self) -> None:
        self.faults: list[ImportFault] = []
        self.unchanged: Counter[str] = Counter()

    def say(self, sheet: Sheet, row: SheetRow, column: str, code: str, more: str = "") -> None:
        self.faults.append(fault(sheet, row.number, column, code, more))

    def word(self, sheet: Sheet, row: SheetRow, column: str, words: Mapping[str, _T]) -> _T | None:
        """The meaning of a word, in Chinese or as a code."""
        text = row.text(column)
        if not text:
            return None
        found = word_of(text, words)
        if found is None:
            self.say(sheet, row, column, "unknown_word", text[:40])
        return found

    def day(self, row: SheetRow, column: str) -> date | None:
        text = row.text(column)
        return date.fromisoformat(text) if text else None

    def number(self, sheet: Sheet, row: SheetRow, column: str, low: float, high: float) -> float | None:
        text = row.text(column)
        if not text:
            return None
        value = float(text)
        if not low <= value <= high:
            self.say(sheet, row, column, "not_a_number")
            return None
        return value


# -------------------------------------------------------------------------------------------------- staff


class Administered(msgspec.Struct, frozen=True, kw_only=True):
    """By what rows are judged: who imports, who has the numbers already, the units, now, and how long ago a duty may start."""

    admin: Sequence[Duty]
    known: Mapping[str, Account]
    places: Places
    now: datetime
    backdated_days: int


def check_staff(rows: Mapping[str, Sequence[SheetRow]], by: Administered) -> tuple[Staff, list[ImportFault]]:
    """Units first, for people may be given duties in them; all by the rules of administration (sync/administration.py)."""
    checking = Checking()
    units = _units(checking, rows.get(UNITS.title, ()), by.admin, by.places, by.now)
    by = msgspec.structs.replace(by, places=Places([*by.places.units.values(), *units]))
    people = _people(checking, rows.get(PEOPLE.title, ()), by)
    duties = _duties(checking, rows.get(DUTIES.title, ()), people, by)
    with_duty = {phone_of(row) for row in rows.get(DUTIES.title, ())}
    for row in rows.get(PEOPLE.title, ()):
        if phone_of(row) in people and phone_of(row) not in with_duty:
            checking.say(PEOPLE, row, "phone", "person_without_duty")
    receiving = {duty.person for duty in duties.values()}
    staff = Staff(
        units=units,
        people=people,
        duties=duties,
        unchanged=dict(checking.unchanged),
        given={phone: account for phone, account in by.known.items() if account.person in receiving},
        passed_on={person: by.known[phone].person for phone, (person, _) in people.items() if phone in by.known},
    )
    return staff, checking.faults


def _units(checking: Checking, rows: Sequence[SheetRow], admin: Sequence[Duty], places: Places, now: datetime) -> list[Unit]:
    around, made = Places([*places.units.values(), *_named_units(rows, places)]), dict[str, Unit]()
    for row in rows:
        code, parent, level = row.text("code"), row.text("parent"), checking.word(UNITS, row, "level", LEVEL_WORDS)
        if code in made:
            checking.say(UNITS, row, "code", "duplicate")
        elif (there := places.units.get(code)) is not None:
            if (there.parent, there.level, there.name) == (parent, level, row.text("name")):
                checking.unchanged[UNITS.title] += 1
            else:
                checking.say(UNITS, row, "code", "unit_exists")
        elif not UNIT_CODE.fullmatch(code):  # what was loaded with the national areas has other codes
            checking.say(UNITS, row, "code", "not_a_code")
        elif len(row.text("name")) > 50:
            checking.say(UNITS, row, "name", "too_long")
        elif row.text("name") and not NAME.match(row.text("name")):  # one that is missing has been told
            checking.say(UNITS, row, "name", "not_a_name")
        elif level is not None:
            is_above = parent in made or parent in places.units  # a parent stands above its units
            refusal = unit_refusal(admin, parent, level, around, now) if is_above else Refusal.UNKNOWN_UNIT
            if refusal is not None:
                checking.say(UNITS, row, "parent", refusal.value)
            else:
                made[code] = Unit(code=code, county=around.units[parent].county, parent=parent, level=level, name=row.text("name"))
    return list(made.values())


def _named_units(rows: Iterable[SheetRow], places: Places) -> Iterable[Unit]:
    """What the file would make, one of each code and under what is known by then, whether or not it may: all at once, for places to be made once."""
    named: dict[str, Unit] = {}
    for row in rows:
        code, parent = row.text("code"), row.text("parent")
        above, level = named.get(parent) or places.units.get(parent), word_of(row.text("level"), LEVEL_WORDS)
        if above is not None and level is not None and code not in named and code not in places.units:
            named[code] = Unit(code=code, county=above.county, parent=parent, level=level, name=row.text("name"))
    return named.values()


def _people(checking: Checking, rows: Iterable[SheetRow], by: Administered) -> dict[str, tuple[UUID, str]]:
    people: dict[str, tuple[UUID, str]] = {}
    seen: set[str] = set()
    for row in rows:
        phone, name, account = phone_of(row), row.text("name"), by.known.get(phone_of(row))
        refusal = number_refusal(by.admin, name, account, by.places, by.now)
        if plain_phone(phone) is None:
            checking.say(PEOPLE, row, "phone", "not_a_phone")
        elif phone in seen:
            checking.say(PEOPLE, row, "phone", "duplicate")
        elif account is not None and account.name == name and refusal is Refusal.ACCOUNT_EXISTS:
            checking.unchanged[PEOPLE.title] += 1
        elif refusal is not None:
            checking.say(PEOPLE, row, "phone", refusal.value)
        elif len(name) > 50:
            checking.say(PEOPLE, row, "name", "too_long")
        elif name and not NAME.match(name):
            checking.say(PEOPLE, row, "name", "not_a_name")
        else:
            people[phone] = (uuid7(), name)
        seen.add(phone)
    return people


def _duties(checking: Checking, rows: Iterable[SheetRow], people: Mapping[str, tuple[UUID, str]], by: Administered) -> dict[UUID, Duty]:
    made: dict[UUID, Duty] = {}
    made_for: defaultdict[UUID, list[Duty]] = defaultdict(list)
    seen: set[tuple[UUID, Role, str]] = set()
    for row in rows:
        phone, unit, role = phone_of(row), row.text("unit"), checking.word(DUTIES, row, "role", ROLE_WORDS)
        first, last = checking.day(row, "starts"), checking.day(row, "ends")
        account = None if phone in people else by.known.get(phone)
        if account is None and phone not in people:
            checking.say(DUTIES, row, "phone", "account_missing" if plain_phone(phone) else "not_a_phone")
        elif account is not None and account.is_disabled:
            checking.say(DUTIES, row, "phone", "account_disabled")
        elif role is not None:
            person = account.person if account else people[phone][0]
            starts = datetime.combine(first, time.min, CHINA).astimezone(UTC) if first else by.now
            duty = Duty(person=person, role=role, unit=unit, starts=starts, ends=end_of(last) if last else None)
            there = _held(account, duty)
            is_same = there is not None and there.ends == duty.ends and (first is None or there.starts == starts)
            asked = msgspec.structs.replace(duty, starts=by.now) if is_same else duty  # it is so already, since whenever
            theirs = [*(account.duties if account else ()), *made_for[person]]
            refusal = (grant_refusal if account else duty_refusal)(by.admin, asked, theirs, by.places, by.now, by.backdated_days)
            if refusal is not None:
                checking.say(DUTIES, row, COLUMNS_REFUSED.get(refusal, "unit"), refusal.value)
            elif (person, role, unit) in seen:
                checking.say(DUTIES, row, "phone", "duplicate")
            elif is_same:
                checking.unchanged[DUTIES.title] += 1
            elif there is not None:
                checking.say(DUTIES, row, "phone", "duty_exists")
            else:
                made[uuid7()] = duty
                made_for[person].append(duty)
            seen.add((person, role, unit))
    return made


# Where a refusal is shown; else at the unit.
COLUMNS_REFUSED: Final = {
    Refusal.ENDS_BEFORE_IT_STARTS: "ends",
    Refusal.STARTS_TOO_EARLY: "starts",
    Refusal.PERSON_OUTSIDE_YOUR_UNITS: "phone",
    Refusal.NOT_TO_YOURSELF: "phone",
    Refusal.TOO_MANY_DUTIES: "phone",
    Refusal.AUDITOR_IS_APART: "role",
}


def _held(account: Account | None, wanted: Duty) -> Duty | None:
    """The same duty, not ended by the wanted start."""
    held = account.duties if account else ()
    return next((d for d in held if (d.role, d.unit) == (wanted.role, wanted.unit) and (d.ends is None or d.ends > wanted.starts)), None)


# -------------------------------------------------------------------------------------------------- sites


def check_sites(
    rows: Sequence[SheetRow], caller: Sequence[Duty], places: Places, now: datetime
) -> tuple[dict[int, dict[str, Any]], list[ImportFault]]:
    """(row number -> body of the site, faults). Who is there already is asked by the caller."""
    checking = Checking()
    bodies: dict[int, dict[str, Any]] = {}
    seen: set[tuple[str, str]] = set()
    counties: set[int] = set()
    moment = int(now.timestamp() * 1000)
    for row in rows:
        unit, name = row.text("unit"), row.text("name")
        place = places.units.get(unit)
        if place is None:
            checking.say(SITES, row, "unit", "unknown_unit")
            continue
        if not may(caller, places, "site", "create", unit, Interval(moment, moment)).is_yes:
            checking.say(SITES, row, "unit", "not_allowed")
        elif places.is_closed(unit, day_of(now)):
            checking.say(SITES, row, "unit", "unit_closed")
        if name and not HEADING.match(name):  # one that is missing has been told
            checking.say(SITES, row, "name", "not_one_line")
        counties.add(place.county)
        if len(counties) > 1:
            checking.say(SITES, row, "unit", "one_county")
        if (unit, name) in seen:
            checking.say(SITES, row, "name", "duplicate")
        seen.add((unit, name))
        bodies[row.number] = _site(checking, row)
    return bodies, checking.faults


def _site(checking: Checking, row: SheetRow) -> dict[str, Any]:
    body: dict[str, Any] = {name: row.text(name) for name in ("name", "unit", "address", "contact", "contact_phone", "note")}
    for name in ("name", "address", "contact", "contact_phone"):
        if len(body[name]) > 200:
            checking.say(SITES, row, name, "too_long")
    body["subjects"] = _subjects(checking, row)
    body["tags"] = [word[:200] for word in SEPARATORS.split(row.text("tags")) if word][:50]
    body["protection_zone"] = checking.word(SITES, row, "protection_zone", ZONE_WORDS)
    period = checking.number(SITES, row, "period_days", 1, 3660)
    if period is not None and not period.is_integer():
        checking.say(SITES, row, "period_days", "not_whole")
    body["period_days"] = None if period is None else int(period)
    body["position"] = _position(checking, row)
    kept = {name: value for name, value in body.items() if value not in ("", None, [])}
    if not checking.faults and all(column.name in kept for column in SITES.columns if column.is_required):  # else it has been told
        msgspec.convert(kept, Site)  # what was checked above is what the kind asks
    return kept


def _subjects(checking: Checking, row: SheetRow) -> list[str]:
    """Codes, or titles: a title may have a separator in it."""
    words, text = subject_words(), row.text("subjects")
    named = [text] if text in words else [word for word in SEPARATORS.split(text) if word]
    found = list(dict.fromkeys(words.get(word, word) for word in named))
    if len(found) > 20:
        checking.say(SITES, row, "subjects", "too_long")
    if unknown := sorted(set(found) - set(words.values())):
        checking.say(SITES, row, "subjects", "unknown_word", "、".join(unknown)[:40])
    return found


def _position(checking: Checking, row: SheetRow) -> dict[str, float] | None:
    """WGS-84, as it is stored; what was given in GCJ-02 (Amap) lies some 500 m beside."""
    lat, lng = checking.number(SITES, row, "lat", -90, 90), checking.number(SITES, row, "lng", -180, 180)
    accuracy = checking.number(SITES, row, "accuracy_m", 0, 1_000_000)
    datum = checking.word(SITES, row, "datum", DATUM_WORDS)
    if (row.text("lat") == "") != (row.text("lng") == ""):
        checking.say(SITES, row, "lat", "position_incomplete")
    if lat is None or lng is None:
        return None
    if not (CHINA_LAT[0] <= lat <= CHINA_LAT[1] and CHINA_LNG[0] <= lng <= CHINA_LNG[1]):
        checking.say(SITES, row, "lat", "not_in_china")
    if row.text("datum") == "":
        checking.say(SITES, row, "datum", "datum_missing")
    if datum == "gcj02":
        lat, lng = prcoords.gcj_wgs_bored((lat, lng))
    return {"lat": round(lat, 7), "lng": round(lng, 7)} | ({} if accuracy is None else {"accuracy_m": accuracy})
