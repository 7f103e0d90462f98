"""Published versions of casework rules. Rows are only ever added."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import Final, LiteralString

import asyncpg
import holidays
import msgspec

from contracts.ids import PersonId
from contracts.rules import PublishRule, RuleName, RuleVersion
from storage.cleaning import fetch_counties
from storage.pool import Connection, Executor, Pool, transaction
from sync.rules import RuleBook

HOLIDAY_YEARS: Final = range(2020, 2041)
GUESSED: Final = "(observed)"

SQL_FETCH_RULES: Final[LiteralString] = """
    SELECT county, name, version, starts, body, made_by, made_at, note FROM rule_version ORDER BY county, name, version
"""


async def load_rules(executor: Executor) -> RuleBook:
    """Everything published, with the public holidays of China."""
    rows = await executor.fetch(SQL_FETCH_RULES)
    return RuleBook([_version(row) for row in rows], public_holidays())


def _version(row: asyncpg.Record) -> RuleVersion:
    return RuleVersion(
        county=row["county"],
        name=RuleName(row["name"]),
        version=row["version"],
        starts=row["starts"],
        body=msgspec.json.decode(row["body"]),
        made_by=row["made_by"],
        made_at=row["made_at"],
        note=row["note"],
    )


SQL_AWAIT_PUBLISHING: Final[LiteralString] = "SELECT version FROM unit_version FOR SHARE"


async def fetch_settled_rules(pool: Pool) -> RuleBook:
    """As `load_rules`, after whoever is publishing has done so: what is read here holds for every moment until now."""
    async with transaction(pool) as conn:
        await conn.execute(SQL_AWAIT_PUBLISHING)
        return await load_rules(conn)


@cache
def public_holidays() -> dict[date, bool]:
    """Days off and weekends worked, as published by the State Council and kept by the library `holidays`.

    Of a year that is not published yet (it has no weekend that is worked) the days of the law alone: on which weekdays they are made
    good the library guesses, and a guess is no day off.
    """
    china = holidays.country_holidays("CN", years=HOLIDAY_YEARS)
    worked = set(getattr(china, "weekend_workdays", ()))
    published = {day.year for day in worked}
    days_off = (day for day, name in china.items() if day.year in published or GUESSED not in name)
    return dict.fromkeys(days_off, False) | dict.fromkeys(worked, True)


SQL_INSERT_RULE: Final[LiteralString] = """
    INSERT INTO rule_version (county, name, version, starts, body, made_by, note)
    SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4::json, $5, $6 FROM rule_version WHERE county = $1 AND name = $2
    RETURNING county, name, version, starts, body, made_by, made_at, note
"""
# Two who publish the same rule at once get two numbers. Readers and pushes do not wait for this lock.
SQL_LOCK_COUNTY: Final[LiteralString] = "SELECT county FROM county WHERE county = $1 FOR NO KEY UPDATE"
SQL_TELL: Final[LiteralString] = "UPDATE unit_version SET version = version + 1"


SQL_FETCH_NEWEST: Final[LiteralString] = """
    SELECT county, name, version, starts, body, made_by, made_at, note FROM rule_version
    WHERE county = $1 AND name = $2 ORDER BY version DESC LIMIT 1
"""


async def fetch_repeated(conn: Connection, rule: PublishRule, by: PersonId) -> RuleVersion | None:
    """The newest version, if this person published this very one and its answer was lost. Keeps other publishers out meanwhile."""
    await conn.execute(SQL_LOCK_COUNTY, rule.county)
    row = await conn.fetchrow(SQL_FETCH_NEWEST, rule.county, rule.name.value)
    newest = _version(row) if row is not None else None
    same = newest is not None and (newest.starts, newest.made_by, newest.note, newest.body) == (rule.starts, by, rule.note, rule.body)
    return newest if same else None


SQL_FETCH_LOOKED: Final[LiteralString] = "SELECT looked_until FROM timer_run WHERE county = $1"


async def insert_rule(conn: Connection, rule: PublishRule, by: PersonId | None, now: datetime) -> RuleVersion | None:
    """Publish a new version; None where it would start in the past, or at a moment that timers have already judged by the version before.

    Its body has been checked by the caller.
    """
    if rule.starts < now:
        return None
    await conn.execute(SQL_TELL)  # first: timers wait for it before they read the rules
    for county in await fetch_counties(conn):  # a city's rule is judged in all its counties
        looked_until = await conn.fetchval(SQL_FETCH_LOOKED, county)
        if looked_until is not None and rule.starts <= looked_until:
            return None
    await conn.execute(SQL_LOCK_COUNTY, rule.county)
    row = await conn.fetchrow(
        SQL_INSERT_RULE,
        rule.county,
        rule.name.value,
        rule.starts,
        msgspec.json.encode(rule.body).decode(),
        by,
        rule.note,
    )
    assert row is not None  # INSERT ... RETURNING gives its row
    return _version(row)
