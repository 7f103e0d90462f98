"""Road-check campaigns by the month (机动车路检路查, domain.md 4.20). Pure.

"市生态环境局、市公安局要坚持机动车路检路查工作，每月不少于2次，每次不少于2天" (003_cb31c390b66ab06a.txt): at least 2 campaigns a
month, each at least 2 days. Campaigns and days are counted, never vehicles. A campaign over a month's end counts in the month it
starts in (derived).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from datetime import date
from typing import Final

import msgspec

from contracts.kinds.campaign import Campaign

CAMPAIGNS_MIN: Final = 2
DAYS_MIN: Final = 2
SOURCE: Final = "每月不少于2次，每次不少于2天"
ROAD_CHECK: Final = "road_check"
OBLIGED: Final = ("6109",)  # whom the sentence names: the bureaus of the city of Ankang, counted together


class Month(msgspec.Struct, frozen=True, kw_only=True):
    """One month. held, planned: campaigns of at least `DAYS_MIN` days; short: those that are too short to count.

    still_possible   how many more could be begun, one after the other, from today on; the last day of the month is soon enough
    """

    month: date
    held: int
    planned: int
    short: int
    days: int
    still_possible: int

    @property
    def is_met(self) -> bool:
        return self.held >= CAMPAIGNS_MIN

    @property
    def can_be_met(self) -> bool:
        return self.held + max(self.planned, self.still_possible) >= CAMPAIGNS_MIN


def days_of(campaign: Campaign) -> int:
    return max(0, (campaign.ends_on - campaign.starts_on).days + 1)


def month_of(campaigns: Iterable[Campaign], month: date, today: date) -> Month:
    """How one month stands on a day. A planned campaign whose days have passed without being reported as held counts for nothing."""
    first = month.replace(day=1)
    last = first.replace(day=monthrange(first.year, first.month)[1])
    mine = [c for c in campaigns if c.category == ROAD_CHECK and c.state != "cancelled" and first <= c.starts_on <= last]
    counted = [c for c in mine if days_of(c) >= DAYS_MIN]
    held = [c for c in counted if c.state == "held"]
    planned = [c for c in counted if c.state == "planned" and c.ends_on >= today]
    left = (last - max(today, first)).days + 1
    return Month(
        month=first,
        held=len(held),
        planned=len(planned),
        short=len(mine) - len(counted),
        days=sum(days_of(c) for c in held),
        still_possible=max(0, -(-left // DAYS_MIN)),
    )
