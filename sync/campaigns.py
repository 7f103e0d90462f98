"""Road-check campaigns by the month (机动车路检路查, domain.md 4.20). Pure.

"市生态环境局、市公安局要坚持机动车路检路查工作，每月不少于2次，每次不少于2天" (003_cb31c390b66ab06a.txt): at least 2 campaigns a
month, each at least 2 days. Campaigns and days are counted, never vehicles. A campaign over a month's end counts in the month it
starts in (derived). It is a joint action: what two departments have entered for the same days is one campaign (our reading).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from datetime import date, timedelta
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


Days = tuple[date, date]  # the first and the last


def joined(campaigns: Iterable[Campaign]) -> list[Days]:
    """The actions behind what was entered: campaigns that share a day are one."""
    found: list[Days] = []
    for first, last in sorted((c.starts_on, c.ends_on) for c in campaigns if c.starts_on <= c.ends_on):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def length(days: Days) -> int:
    return (days[1] - days[0]).days + 1


def month_of(campaigns: Iterable[Campaign], month: date, today: date) -> Month:
    """How one month stands on a day. A planned campaign whose days have passed without being reported as held counts for nothing."""
    first = month.replace(day=1)
    last = first.replace(day=monthrange(first.year, first.month)[1])
    known = [c for c in campaigns if c.category == ROAD_CHECK]
    held = [d for d in joined(c for c in known if c.state == "held") if first <= d[0] <= last]
    planned = [d for d in joined(c for c in known if c.state == "planned") if first <= d[0] <= last]
    counted = [d for d in held if length(d) >= DAYS_MIN]
    coming = [d for d in planned if length(d) >= DAYS_MIN and d[1] >= today]
    left = (last - max(today, first)).days + 1
    return Month(
        month=first,
        held=len(counted),
        planned=len(coming),
        short=sum(1 for d in (*held, *planned) if length(d) < DAYS_MIN),
        days=sum(length(d) for d in counted),
        still_possible=max(0, -(-left // DAYS_MIN)),
    )


def months_to_judge(campaigns: Iterable[Campaign], today: date) -> list[date]:
    """From the month in which counting began (a year back at most) to the present one, oldest first."""
    present = today.replace(day=1)
    begun = min((c.starts_on.replace(day=1) for c in campaigns), default=present)
    months = [max(begun, present.replace(year=present.year - 1))]
    while months[-1] < present:
        months.append((months[-1] + timedelta(days=31)).replace(day=1))
    return [month for month in months if month <= present] or [present]
