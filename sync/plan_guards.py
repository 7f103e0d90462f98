"""What must hold of plans, responses and campaigns; named in the tables of sync/machines.py, carried out by sync/carrying_out.py."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

import msgspec

from contracts.kinds.plan import Terms
from contracts.people import Level
from contracts.rules import RuleName, SeasonsRule
from contracts.visits import SECRET_MODES, SENDING
from sync.places import unit_of
from sync.recurrence import AUTUMN_WINTER, is_readable, occurrences
from sync.rules import day_of
from sync.situation import Situation, given_on

FROM_ON_MIN: Final = date(2000, 1, 1)  # a plan begins in our time
YEARS_LOOKED_AHEAD: Final = 9  # 29 February is eight years away at most


def _terms(values: dict[str, Any]) -> Terms | None:
    try:
        return msgspec.convert(values.get("terms"), Terms)
    except msgspec.ValidationError:
        return None


def terms_read(_situation: Situation, values: dict[str, Any]) -> bool:
    """The terms of a plan have the shape and the words of terms; a rule that is none of RFC 5545 has not."""
    return _terms(values) is not None


def terms_recur(_situation: Situation, values: dict[str, Any]) -> bool:
    """Every rule can be expanded into days."""
    terms = _terms(values)
    return terms is None or all(is_readable(rule) for rule in terms.rules())


def terms_occur(_situation: Situation, values: dict[str, Any]) -> bool:
    """Every rule has a day between the first and the last: 31 February never comes."""
    terms = _terms(values)
    if terms is None or not terms_in_order(_situation, values) or not all(is_readable(rule) for rule in terms.rules()):
        return True  # said by others
    return all(_occurs(rule, terms) for rule in terms.rules())


def _occurs(rule: str, terms: Terms) -> bool:
    for year in range(YEARS_LOOKED_AHEAD):
        first = terms.from_on + timedelta(days=366 * year)
        last = min(first + timedelta(days=365), terms.until_on or date.max)
        if first <= last and occurrences(rule, terms.from_on, first, last):
            return True
    return False


def terms_in_order(_situation: Situation, values: dict[str, Any]) -> bool:
    """They begin in our time, and do not end before they begin."""
    terms = _terms(values)
    return terms is None or FROM_ON_MIN <= terms.from_on <= (terms.until_on or date.max)


def seasons_known(situation: Situation, values: dict[str, Any]) -> bool:
    """Every season it names has been published for its county, or is the one that a source states: in any other it would never have a day."""
    terms, view = _terms(values), situation.tally.view
    if terms is None:
        return True  # said by others
    versions = view.rules.versions(view.county, RuleName.SEASONS)
    known = {season.key for version in versions for season in view.rules.decoded(version, SeasonsRule).seasons}
    return {*terms.seasons, *(one.season for one in terms.intensified)} <= known | {AUTUMN_WINTER}


def units_below(situation: Situation, values: dict[str, Any]) -> bool:
    """A plan gives work only to units at or below its own."""
    terms, places, unit = _terms(values), situation.tally.view.places, unit_of(situation.state.stream)
    return terms is None or all(places.covers(unit, one) for one in terms.units)


def units_open(situation: Situation, values: dict[str, Any]) -> bool:
    """From a console, no unit that is closed is given work: its own, or another that it names. A phone's plan is taken."""
    terms, tally = _terms(values), situation.tally
    units = terms.units or [unit_of(situation.state.stream)] if terms is not None else []
    return not situation.sender.waits or not any(tally.view.places.is_closed(unit, given_on(tally)) for unit in units)


def visits_open(situation: Situation, values: dict[str, Any]) -> bool:
    """A plan's tasks go to the units themselves: an unannounced visit is sent one by one (sync/secrecy.py). A township's own is none."""
    terms, unit = _terms(values), situation.tally.view.places.units.get(unit_of(situation.state.stream))
    sends = unit is None or unit.level in SENDING
    return terms is None or not (sends and terms.visit_mode in SECRET_MODES)


def checks_recur(_situation: Situation, values: dict[str, Any]) -> bool:
    """How often the checks of a response come back can be expanded into days."""
    return not values.get("repeats") or is_readable(str(values["repeats"]))


def of_city_or_county(situation: Situation, _values: dict[str, Any]) -> bool:
    """市、县两级 (domain.md 4.15)."""
    unit = situation.tally.view.places.units.get(unit_of(situation.state.stream))
    return unit is not None and unit.level in (Level.CITY, Level.COUNTY, Level.ZONE)


def days_in_order(situation: Situation, values: dict[str, Any]) -> bool:
    del situation
    return str(values.get("starts_on")) <= str(values.get("ends_on"))


def days_over(situation: Situation, values: dict[str, Any]) -> bool:
    """A campaign has been held when its last day has come."""
    return str(values.get("ends_on")) <= day_of(situation.tally.view.now).isoformat()
