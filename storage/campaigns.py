"""Warnings for months whose road checks can no longer be met (domain.md 4.20)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final, LiteralString

import msgspec

from contracts.ids import County, UnitCode, derived_mutation_id
from contracts.kinds.campaign import Campaign
from contracts.kinds.notice import Notice
from storage.office_push import draft, system_push
from storage.pool import Executor, Pool
from storage.reference import Reference
from sync.campaigns import CAMPAIGNS_MIN, OBLIGED, SOURCE, Month, month_of
from sync.plans import day_of

SQL_FETCH_CAMPAIGNS: Final[LiteralString] = """
    SELECT body FROM record WHERE county = $1 AND kind = 'campaign' AND NOT deleted AND stream = $2 ORDER BY id
"""


async def fetch_campaigns(executor: Executor, county: County, unit: UnitCode) -> list[Campaign]:
    """All campaigns of one unit: a few dozen a year."""
    rows = await executor.fetch(SQL_FETCH_CAMPAIGNS, county, f"{unit}.office")
    return [msgspec.json.decode(row["body"], type=Campaign) for row in rows]


async def warn_of_campaigns(pool: Pool, reference: Reference, county: County, now: datetime) -> int:
    """One warning per unit and month that is lost, also when it was lost while nobody was running; returns how many are new."""
    new = 0
    today = day_of(now)
    for unit in OBLIGED:
        if reference.places.county_of(unit) != county:
            continue
        campaigns = await fetch_campaigns(pool, county, unit)
        months = [today.replace(day=1)]
        before = (months[0] - timedelta(days=1)).replace(day=1)
        if any(c.starts_on < months[0] for c in campaigns):  # it was counted here already
            months.insert(0, before)
        for month in (month_of(campaigns, first, today) for first in months):
            if not month.can_be_met:
                new += await _warn(pool, reference, county, unit, month, now)
    return new


SQL_FETCH_IS_THERE: Final[LiteralString] = "SELECT EXISTS (SELECT FROM record WHERE county = $1 AND id = $2)"


async def _warn(pool: Pool, reference: Reference, county: County, unit: UnitCode, month: Month, now: datetime) -> int:
    record = derived_mutation_id("campaign_warning", unit, month.month.isoformat())
    if await pool.fetchval(SQL_FETCH_IS_THERE, county, record):
        return 0
    body = Notice(
        unit=unit,
        title=f"{month.month:%Y年%m月}路检路查已无法达到{CAMPAIGNS_MIN}次",
        text=f"要求：{SOURCE}。本月已完成{month.held}次、{month.days}天；不足天数的{month.short}次。",
        category="warning",
        published_at=now,
    )
    mutation = derived_mutation_id("warn", record)
    made = draft(kind="notice", record=record, op="create", now=now, mutation=mutation, body=msgspec.to_builtins(body))
    await system_push(pool, reference, county, [made], now)
    return 1


def first_of(month: str) -> date:
    """The first day of "2026-11". ValueError: it is no month."""
    return date.fromisoformat(f"{month}-01")
