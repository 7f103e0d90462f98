"""Units and how they nest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

from contracts.ids import County, DeviceId, StreamName, UnitCode
from contracts.people import Audience, Level, Unit

_DESK_LEVELS = (Level.TOWNSHIP, Level.COUNTY, Level.ZONE, Level.CITY, Level.DEPARTMENT)
_WHOLE_LEVELS = (Level.COUNTY, Level.ZONE, Level.CITY)


class Places:
    """An immutable snapshot of all units. Lookups never raise: an unknown code has no county and no ancestors."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self.units: Mapping[UnitCode, Unit] = {u.code: u for u in units}
        self.counties: frozenset[County] = frozenset(u.county for u in self.units.values())
        self._lines: dict[UnitCode, tuple[UnitCode, ...]] = {}
        self._below: dict[UnitCode, list[UnitCode]] = {}
        for code in self.units:
            for ancestor in self.line(code):
                self._below.setdefault(ancestor, []).append(code)

    def line(self, code: UnitCode) -> tuple[UnitCode, ...]:
        """The unit itself, its parent, and so on up. Empty for an unknown unit."""
        found = self._lines.get(code)
        if found is None:
            found = self._lines[code] = self._walk(code)
        return found

    def _walk(self, code: UnitCode) -> tuple[UnitCode, ...]:
        line: list[UnitCode] = []
        at: UnitCode | None = code
        while at is not None and at in self.units and at not in line:
            line.append(at)
            at = self.units[at].parent
        return tuple(line)

    def covers(self, upper: UnitCode, code: UnitCode) -> bool:
        """Whether `code` is `upper` or lies below it."""
        return upper in self.line(code)

    def below(self, code: UnitCode) -> list[UnitCode]:
        """The unit and all below it."""
        return self._below.get(code, [])

    def county_of(self, code: UnitCode) -> County | None:
        unit = self.units.get(code)
        return unit.county if unit else None

    def is_closed(self, code: UnitCode, day: date) -> bool:
        """Whether it, or a unit above it, is closed on that day."""
        return any((closed := self.units[upper].closed_on) is not None and closed <= day for upper in self.line(code))

    def open_unit(self, code: UnitCode, day: date) -> UnitCode:
        """Who has the unit's work on that day: it, or when it is closed the nearest one above that is not."""
        return next((upper for upper in self.line(code) if not self.is_closed(upper, day)), code)

    def whole(self, county: County) -> UnitCode:
        """The unit that is all of a county, zone or city."""
        return next((u.code for u in self.units.values() if u.county == county and u.level in _WHOLE_LEVELS), str(county))

    def is_department(self, code: UnitCode) -> bool:
        """A department, or a team of one."""
        return any(self.units[upper].level is Level.DEPARTMENT for upper in self.line(code))

    def desk_of(self, code: UnitCode) -> UnitCode:
        """Who settles what goes wrong with a unit's records: its township, or the unit itself from there up."""
        for upper in self.line(code):
            if self.units[upper].level in _DESK_LEVELS:
                return upper
        return code


def stream_name(unit: UnitCode, audience: Audience) -> StreamName:
    return f"{unit}.{audience.value}"


def device_stream(county: County, device: DeviceId) -> StreamName:
    """One phone's own stream in one county: how its held mutations ended."""
    return f"{county}-{device}.{Audience.DEVICE.value}"


def unit_of(stream: StreamName) -> UnitCode:
    return stream.rpartition(".")[0]


def is_secret(stream: StreamName) -> bool:
    """A stream of unannounced visits (sync/secrecy.py)."""
    return stream.endswith(f".{Audience.VISIT.value}")


NARROW: Final = (Audience.VISIT, Audience.SECRET, Audience.CASE)


def narrow_audience(stream: StreamName) -> Audience | None:
    """The audience of a stream that has fewer readers than a desk has: what is said of its records has no more."""
    return next((audience for audience in NARROW if stream.endswith(f".{audience.value}")), None)
