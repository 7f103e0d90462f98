"""Units: who owns work. Read by every request, changed a few times a year, hence a cache with a version."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from datetime import date
from typing import Final, LiteralString

from contracts.ids import County, UnitCode
from contracts.people import Level, Unit
from storage.pool import Connection, Executor, Pool
from storage.reference import Reference, reference_of
from storage.rules import load_rules
from sync.places import Places
from sync.rules import RuleBook

CHECK_SECONDS: Final = 3.0

SQL_FETCH_UNITS: Final[LiteralString] = "SELECT code, county, parent, level, name, closed_on FROM unit"


async def load_units(executor: Executor) -> dict[UnitCode, Unit]:
    """All units. A few thousand rows: 11 counties have 2,280 areas."""
    rows = await executor.fetch(SQL_FETCH_UNITS)
    return {row["code"]: Unit(**{**row, "level": Level(row["level"])}) for row in rows}


SQL_FETCH_VERSION: Final[LiteralString] = "SELECT version FROM unit_version"


async def fetch_units_version(executor: Executor) -> int:
    return int(await executor.fetchval(SQL_FETCH_VERSION) or 0)


SQL_UPSERT_COUNTIES: Final[LiteralString] = """
    INSERT INTO county (county, name)
    SELECT county, name FROM unnest($1::integer[], $2::text[]) u (county, name)
    ON CONFLICT (county) DO UPDATE SET name = EXCLUDED.name WHERE county.name <> EXCLUDED.name
"""


async def upsert_counties(conn: Connection, counties: Mapping[County, str]) -> None:
    """Partitions are only ever added or renamed."""
    await conn.execute(SQL_UPSERT_COUNTIES, list(counties), list(counties.values()))


# The county of a unit never changes: its records live there (design.md section 2). A zone that takes a township over later
# needs the records moved, which is a job of its own.
SQL_UPSERT_UNITS: Final[LiteralString] = """
    INSERT INTO unit (code, county, parent, level, name)
    SELECT code, county, parent, level, name
    FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::text[]) u (code, county, parent, level, name)
    ON CONFLICT (code) DO UPDATE SET parent = EXCLUDED.parent, level = EXCLUDED.level, name = EXCLUDED.name
    WHERE (unit.parent, unit.level, unit.name) IS DISTINCT FROM (EXCLUDED.parent, EXCLUDED.level, EXCLUDED.name)
"""
SQL_RAISE_VERSION: Final[LiteralString] = "UPDATE unit_version SET version = version + 1"


async def upsert_units(conn: Connection, units: Collection[Unit]) -> int:
    """Add or rename units; returns how many changed. Tells all processes, but only when something did."""
    status = await conn.execute(
        SQL_UPSERT_UNITS,
        [u.code for u in units],
        [u.county for u in units],
        [u.parent for u in units],
        [u.level.value for u in units],
        [u.name for u in units],
    )
    changed = int(status.rpartition(" ")[2])
    if changed:
        await conn.execute(SQL_RAISE_VERSION)
    return changed


class UnitsCache:
    """The newest snapshot of all units in this process, at most `CHECK_SECONDS` behind the database.

    One task asks at a time; the others are served what is known.
    """

    def __init__(self, pool: Pool, check_seconds: float = CHECK_SECONDS) -> None:
        self._pool = pool
        self._check_seconds = check_seconds
        self._checked = float("-inf")
        self._version = -1
        self._places = Places(())
        self._rules = RuleBook()
        self._asking = asyncio.Lock()

    async def places(self) -> Places:
        """The snapshot. The first call of a process waits for the database; later ones only when a check is due."""
        if time.monotonic() - self._checked >= self._check_seconds and (self._version < 0 or not self._asking.locked()):
            await self._check(due_since=self._checked)
        return self._places

    async def reference(self) -> Reference:
        """Everything planning may know besides the records, of one moment."""
        places = await self.places()
        return reference_of(places, self._rules)

    async def renew(self) -> None:
        """This process knows at once what it has just changed; the others do within seconds."""
        await self._check(due_since=self._checked)

    async def find(self, code: UnitCode) -> Unit | None:
        """One unit; a miss asks the database, because the unit may be a second old."""
        unit = (await self.places()).units.get(code)
        if unit is None:
            await self.renew()
            unit = self._places.units.get(code)
        return unit

    async def _check(self, due_since: float) -> None:
        async with self._asking:
            if self._checked != due_since:  # somebody asked while we waited
                return
            asked = time.monotonic()
            version = await fetch_units_version(self._pool)
            if version != self._version:
                self._places = Places((await load_units(self._pool)).values())
                self._rules = await load_rules(self._pool)
                self._version = version
            self._checked = asked


# Never an upsert: of two who add one code at once, the second must not move what the first made.
SQL_INSERT_UNIT: Final[LiteralString] = """
    INSERT INTO unit (code, county, parent, level, name) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (code) DO NOTHING
"""


async def insert_unit(conn: Connection, unit: Unit) -> bool:
    """A new unit, told to all processes; False when the code is taken."""
    status = await conn.execute(SQL_INSERT_UNIT, unit.code, unit.county, unit.parent, unit.level.value, unit.name)
    if status.endswith(" 0"):
        return False
    await conn.execute(SQL_RAISE_VERSION)
    return True


SQL_CLOSE_UNIT: Final[LiteralString] = "UPDATE unit SET closed_on = $2 WHERE code = $1"


async def close_unit(conn: Connection, code: UnitCode, closed_on: date | None) -> None:
    """From that day on; None: it goes on. Told to all processes."""
    await conn.execute(SQL_CLOSE_UNIT, code, closed_on)
    await conn.execute(SQL_RAISE_VERSION)
