"""Coverage: which sites were not seen (a submitted inspection) within their period. Pure.

Unannounced visits count from their disclosure on: before, even a figure would tell of them (sync/secrecy.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import msgspec

from contracts.ids import RecordId, UnitCode
from contracts.kinds.plan import Plan, Terms
from sync.places import Places
from sync.plans import day_of, span_of


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A site as the query gives it. `seen_at`: the newest submitted inspection, by its capture."""

    id: RecordId
    unit: UnitCode
    name: str
    subjects: Sequence[str] = ()
    period_days: int | None = None
    seen_at: datetime | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a site stands. `period_days` None: nobody has set how often it must be seen, and nothing is judged."""

    site: Watched
    period_days: int | None
    unseen_days: int | None  # since it was last seen; None: never
    is_covered: bool | None


def terms_in_force(plans: Iterable[Plan], today: date) -> list[tuple[Plan, Terms]]:
    """What active plans ask for today and that says how long a site may go unseen."""
    found: list[tuple[Plan, Terms]] = []
    for plan in plans:
        for revision in plan.revisions:
            first, last = span_of(revision)
            ended = revision.terms.until_on is not None and revision.terms.until_on < today
            if revision.terms.period_days is not None and first <= today <= last and not ended:
                found.append((plan, revision.terms))
    return found


def standing(site: Watched, asked: Iterable[tuple[Plan, Terms]], places: Places, today: date) -> Standing:
    """The site's own period counts; without one, the shortest of the plans that concern it."""
    period = site.period_days
    if period is None:
        periods = [t.period_days for plan, t in asked if t.period_days is not None and _concerns(plan, t, site, places)]
        period = min(periods, default=None)
    unseen = (today - day_of(site.seen_at)).days if site.seen_at else None
    covered = None if period is None else unseen is not None and unseen <= period
    return Standing(site=site, period_days=period, unseen_days=unseen, is_covered=covered)


def _concerns(plan: Plan, terms: Terms, site: Watched, places: Places) -> bool:
    if terms.sites:
        return site.id in terms.sites
    below = any(places.covers(unit, site.unit) for unit in terms.units or [plan.unit])
    return below and (terms.subject is None or terms.subject in site.subjects)
