"""Warnings for months whose road checks can no longer be met (domain.md 4.20)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final, LiteralString

import msgspec

from contracts.ids import County, UnitCode, derived_mutation_id
from contracts.kinds.campaign import Campaign
from contracts.kinds.notice import Notice
from contracts.people import Audience
from storage.office_push import draft, system_push
from storage.pool import Executor, Pool
from storage.reference import Reference
from sync.campaigns import CAMPAIGNS_MIN, OBLIGED, SOURCE, Month, month_of, months_to_judge
from sync.places import Places, stream_name
from sync.rules import day_of

MET_LATE: Final = "补报后当月已达到要求"

SQL_FETCH_CAMPAIGNS: Final[LiteralString] = """
    SELECT body FROM record WHERE county = $1 AND kind = 'campaign' AND NOT deleted AND stream = ANY ($2::text[]) ORDER BY id
"""


async def fetch_campaigns(executor: Executor, places: Places, county: County, unit: UnitCode) -> list[Campaign]:
    """All campaigns of a unit and of those below it in its own partition, such as its bureaus: a few dozen a year."""
    units = [code for code in places.below(unit) if places.county_of(code) == county]
    rows = await executor.fetch(SQL_FETCH_CAMPAIGNS, county, [stream_name(code, Audience.OFFICE) for code in units])
    return [msgspec.json.decode(row["body"], type=Campaign) for row in rows]


async def warn_of_campaigns(pool: Pool, reference: Reference, county: County, now: datetime) -> int:
    """One warning per unit and month that is lost, also when it was lost while nobody was running; returns how many are new.

    A month that turns out to be met, because a campaign was reported late, has its warning withdrawn with that reason.
    """
    new = 0
    today = day_of(now)
    for unit in OBLIGED:
        if reference.places.county_of(unit) != county:
            continue
        campaigns = await fetch_campaigns(pool, reference.places, county, unit)
        for month in (month_of(campaigns, first, today) for first in months_to_judge(campaigns, today)):
            new += await _tell(pool, reference, county, unit, month, now)
    return new


SQL_FETCH_STATE: Final[LiteralString] = "SELECT coalesce(body ->> 'state', 'published') FROM record WHERE county = $1 AND id = $2"


async def _tell(pool: Pool, reference: Reference, county: County, unit: UnitCode, month: Month, now: datetime) -> int:
    record = derived_mutation_id("campaign_warning", unit, month.month.isoformat())
    state = await pool.fetchval(SQL_FETCH_STATE, county, record)
    if month.can_be_met and state == "published":
        mutation = derived_mutation_id("unwarn", record)
        gone = draft(kind="notice", record=record, op="notice.withdraw", now=now, mutation=mutation, args={"reason": MET_LATE})
        await system_push(pool, reference, county, [gone], now)
    if month.can_be_met or state is not None:
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
