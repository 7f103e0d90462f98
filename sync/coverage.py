"""Coverage: which sites were not seen (a submitted inspection) within their period. Pure.

How often a site must be seen is said by the site itself, else by the shortest of the plans that concern it today. Unannounced
visits count from their disclosure on: before, even a figure would tell of them (sync/secrecy.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date

import msgspec

from contracts.ids import RecordId, StreamName, UnitCode
from contracts.kinds.plan import Plan, Terms
from contracts.people import Audience
from sync.places import Places, stream_name
from sync.plans import span_of
from sync.recurrence import Seasons, is_in_force

ANY_SUBJECT = ""


class Periods(msgspec.Struct, frozen=True):
    """The shortest period that plans ask for: stream -> subject (or any) -> days, and of sites that are named one by one."""

    streams: dict[StreamName, dict[str, int]] = {}
    sites: dict[RecordId, int] = {}


def terms_in_force(plans: Iterable[Plan], seasons: Seasons, today: date) -> list[tuple[UnitCode, Terms]]:
    """What active plans ask for today, within their days and seasons, and that says how long a site may go unseen."""
    found: list[tuple[UnitCode, Terms]] = []
    for plan in plans:
        for revision in plan.revisions:
            first, last = span_of(revision)
            terms = revision.terms
            if terms.period_days is not None and first <= today <= last and is_in_force(terms, today, seasons):
                found.append((plan.unit, terms))
    return found


def periods_of(asked: Iterable[tuple[UnitCode, Terms]], streams: Collection[StreamName], places: Places) -> Periods:
    """What these terms ask for in these streams."""
    by_stream: dict[StreamName, dict[str, int]] = {}
    by_site: dict[RecordId, int] = {}
    for unit, terms in asked:
        days = terms.period_days
        if days is None:
            continue
        for site in terms.sites:
            by_site[site] = min(days, by_site.get(site, days))
        if terms.sites:
            continue
        subject = terms.subject or ANY_SUBJECT
        for code in {below for upper in terms.units or [unit] for below in places.below(upper)}:
            stream = stream_name(code, Audience.FIELD)
            if stream in streams:
                subjects = by_stream.setdefault(stream, {})
                subjects[subject] = min(days, subjects.get(subject, days))
    return Periods(by_stream, by_site)
