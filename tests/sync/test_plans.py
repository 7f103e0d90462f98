"""Patrol plans, responses, coverage and campaigns as pure functions: which days, which tasks, what is counted."""

import datetime as dt
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, get_args
from unittest.mock import patch

import dateutil.rrule
import msgspec
import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.kinds.campaign import Campaign
from contracts.kinds.plan import Intensified, Plan, Recurrence, Revision, Terms
from contracts.kinds.response import Response
from contracts.kinds.site import Site
from contracts.people import Duty, Role
from contracts.rules import RuleName, RuleVersion, Season
from sync.campaigns import month_of, months_to_judge
from sync.carrying_out import GUARDS
from sync.coverage import Periods, periods_of, terms_in_force
from sync.places import Places
from sync.plans import OFF_DUTY, Around, Made, Wanted, lapsed, not_taken_on, plan_tasks, response_tasks, seasons_of, shared_out
from sync.recurrence import AUTUMN_WINTER, Seasons, days_of, in_season, is_readable, occurrences
from sync.rules import RuleBook
from tests.builders import PLACES, an_id
from tests.world import TOWNSHIP, VILLAGE_A, VILLAGE_B

DAY = date(2026, 11, 20)  # a Friday
RULE = str(get_args(Recurrence)[1].pattern)
HARVEST = Season(key="autumn_harvest", from_on=date(2026, 9, 10), to_on=date(2026, 9, 30))
NONE = Seasons()
KNOWN = Seasons(((date.min, (HARVEST,)),))
AROUND = Around(places=PLACES, seasons=KNOWN)


def at(day: date, hour: int = 2) -> datetime:
    """A moment of a day in China: 02:00 UTC is 10:00."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def a_plan(*revisions: tuple[Terms, date, date | None]) -> Plan:
    made = [Revision(n=n, terms=t, since=at(s), until=at(u) if u else None) for n, (t, s, u) in enumerate(revisions, start=1)]
    return Plan(unit=TOWNSHIP, title="巡查", terms=revisions[-1][0], revisions=made, state="active")


def tasks(plan: Plan, today: date, since: date = date.min) -> list[Wanted]:
    return list(plan_tasks(an_id(1), plan, AROUND, since, today))


def days(found: list[Wanted]) -> list[date | None]:
    return [w.body.occurs_on for w in found]


# ------------------------------------------------------------------------------------------------ recurrence


def test_a_rule_gives_days_of_its_start_on() -> None:
    assert occurrences("FREQ=WEEKLY;BYDAY=MO,FR", DAY, DAY, DAY + timedelta(days=7)) == [DAY, date(2026, 11, 23), date(2026, 11, 27)]
    assert occurrences("FREQ=WEEKLY;INTERVAL=2", DAY, date(2026, 12, 1), date(2026, 12, 31)) == [date(2026, 12, 4), date(2026, 12, 18)]


@pytest.mark.parametrize(
    "rule",
    ["", "DAILY", "FREQ=HOURLY", "FREQ=DAILY;COUNT=3", "FREQ=DAILY;UNTIL=20270101", "FREQ=DAILY;BYDAY=XX", "FREQ=DAILY\nEXDATE:20261120",
     "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;BYHOUR=3", "FREQ=MINUTELY", "FREQ=DAILY;BYSETPOS=1", "FREQ=MONTHLY;BYMONTHDAY=0",
     "FREQ=YEARLY;BYMONTH=13", "FREQ=MONTHLY;BYDAY=0MO", "FREQ=DAILY;WKST=XX", "FREQ=DAILY;INTERVAL=1000", "FREQ=DAILY;BYDAY=,",
     "RRULE:FREQ=DAILY", "freq=daily", "FREQ=DAILY;"],
)  # fmt: skip
def test_what_is_no_recurrence_over_days_is_refused(rule: str) -> None:
    assert not is_readable(rule)


# The other one looks for what never comes to the end of its calendar, day by day: here that is soon.
A_SHORT_FUTURE = SimpleNamespace(**vars(dt) | {"MAXYEAR": 2030})


def some(words: list[str], name: str) -> st.SearchStrategy[str]:
    chosen = st.lists(st.sampled_from(words), min_size=1, max_size=3, unique=True).map(lambda found: f";{name}={','.join(found)}")
    return st.one_of(st.just(""), st.just(""), chosen)


@st.composite
def some_rules(draw: st.DrawFn) -> str:
    freq = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    ordinal = draw(st.booleans()) and freq in ("MONTHLY", "YEARLY")
    parts = [
        f"FREQ={freq}",
        draw(st.sampled_from(["", "", ";INTERVAL=2", ";INTERVAL=5"])),
        draw(st.sampled_from(["", "", ";WKST=SU", ";WKST=WE"])),
        draw(some(["1MO", "-1FR", "+2SU", "5TH"] if ordinal else ["MO", "WE", "SA", "SU"], "BYDAY")),
        draw(some(["1", "15", "29", "31", "-1", "-31"], "BYMONTHDAY")),
        draw(some(["1", "2", "6", "12"], "BYMONTH")),
        draw(some(["1", "60", "366", "-1", "-200"], "BYYEARDAY")) if freq == "YEARLY" else "",
    ]
    if any(parts[3:]) and draw(st.booleans()):
        parts.append(draw(some(["1", "2", "-1", "-3"], "BYSETPOS")))
    return "".join(parts)


@settings(max_examples=150, deadline=None)
@given(some_rules(), st.dates(date(2023, 12, 20), date(2024, 3, 10)), st.integers(0, 500))
def test_rules_mean_what_they_mean_to_others(rule: str, starts: date, later: int) -> None:
    """Another implementation of RFC 5545 gives the same days, for rules that begin around a leap day.

    But for one week: it counts positions among those days of the first week that lie on or after the first day. The text counts within
    the whole interval.
    """
    begun = 7 if "WEEKLY" in rule and "BYSETPOS" in rule else 0
    first, last = starts + timedelta(days=later + begun), date(2026, 6, 30)
    with patch.object(dateutil.rrule, "datetime", A_SHORT_FUTURE):
        dates = rrulestr(rule, dtstart=datetime(starts.year, starts.month, starts.day))
        expected = [found.date() for found in dates.between(datetime(2023, 1, 1), datetime(2026, 6, 30), inc=True)]
    assert is_readable(rule)
    assert occurrences(rule, starts, first, last) == [day for day in expected if day >= first]


def test_a_position_counts_within_the_whole_week_also_the_first() -> None:
    wednesday = date(2023, 12, 20)
    days = occurrences("FREQ=WEEKLY;BYDAY=MO,WE;BYSETPOS=1", wednesday, wednesday, wednesday + timedelta(days=12))
    assert days == [date(2023, 12, 25), date(2024, 1, 1)]


@settings(max_examples=60, deadline=None)
@given(st.from_regex(RULE, fullmatch=True))
def test_whatever_has_the_shape_of_a_rule_can_be_asked_for_its_days(rule: str) -> None:
    """An answer or a refusal, and at once: also of what never comes."""
    if is_readable(rule):
        found = occurrences(rule, date(2026, 1, 1), date(2026, 1, 1), date(2027, 12, 31))
        assert found == sorted(set(found))
    else:
        assert "BYSETPOS" in rule or len(rule) > 200


@pytest.mark.parametrize("rule", ["FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "FREQ=WEEKLY;BYMONTHDAY=31;BYMONTH=4", "FREQ=YEARLY;INTERVAL=999"])
def test_what_never_comes_costs_nothing(rule: str) -> None:
    """Another implementation looks for it day by day to the year 9999."""
    begins = time.perf_counter()
    assert occurrences(rule, date(2000, 1, 1), DAY, DAY + timedelta(days=400)) == []
    assert time.perf_counter() - begins < 1


@pytest.mark.parametrize(
    ("rule", "until_on", "occurs"),
    [
        ("FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=2", None, False),
        ("FREQ=YEARLY;BYMONTHDAY=29;BYMONTH=2", None, True),
        ("FREQ=YEARLY;BYMONTHDAY=29;BYMONTH=2", date(2027, 12, 31), False),
        ("FREQ=WEEKLY;BYDAY=MO", date(2026, 11, 22), False),
        ("FREQ=DAILY", None, True),
    ],
)
def test_a_plan_has_a_day(rule: str, until_on: date | None, occurs: bool) -> None:
    values = {"terms": msgspec.to_builtins(Terms(rule=rule, from_on=date(2026, 11, 20), until_on=until_on))}
    assert GUARDS["terms_occur"](None, values) is occurs  # type: ignore[arg-type]


def test_where_sites_are_named_a_unit_without_one_has_no_task_as_the_page_says() -> None:
    site = uuid.uuid4()
    terms = Terms(rule="FREQ=DAILY", from_on=DAY, units=[VILLAGE_A, VILLAGE_B], sites=[site])
    assert shared_out(a_plan((terms, DAY, None)), terms, DAY, with_sites({site: VILLAGE_A})) == {VILLAGE_A: [site]}


def test_a_rule_that_never_comes_ends_all_the_same() -> None:
    assert occurrences("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", DAY, DAY, DAY + timedelta(days=3650)) == []


def test_the_stated_season_needs_no_rule_and_others_need_one() -> None:
    assert [m for m in range(1, 13) if in_season(AUTUMN_WINTER, date(2026, m, 15), NONE)] == [1, 2, 3, 10, 11, 12]
    assert not in_season("autumn_harvest", HARVEST.from_on, NONE)
    assert in_season("autumn_harvest", HARVEST.to_on, KNOWN)
    assert not in_season("autumn_harvest", HARVEST.to_on + timedelta(days=1), KNOWN)


def test_harvest_is_watched_daily_and_the_rest_of_the_year_weekly() -> None:
    terms = Terms(rule="FREQ=WEEKLY", from_on=date(2026, 9, 1), intensified=[Intensified(season="autumn_harvest", rule="FREQ=DAILY")])
    found = days_of(terms, date(2026, 9, 1), date(2026, 10, 10), KNOWN)
    assert [d for d in found if not HARVEST.from_on <= d <= HARVEST.to_on] == [date(2026, 9, 1), date(2026, 9, 8), date(2026, 10, 6)]
    assert len([d for d in found if HARVEST.from_on <= d <= HARVEST.to_on]) == 21
    assert days_of(terms, date(2026, 9, 1), date(2026, 9, 20), NONE) == [date(2026, 9, 1), date(2026, 9, 8), date(2026, 9, 15)]


def test_a_plan_for_a_season_rests_outside_it() -> None:
    terms = Terms(rule="FREQ=MONTHLY", from_on=date(2026, 1, 5), seasons=[AUTUMN_WINTER])
    assert [d.month for d in days_of(terms, date(2026, 1, 1), date(2026, 12, 31), NONE)] == [1, 2, 3, 10, 11, 12]


# ------------------------------------------------------------------------------------------------ plans

DAILY = Terms(rule="FREQ=DAILY", from_on=DAY)


def test_tasks_are_made_ahead_and_due_after() -> None:
    plan = a_plan((Terms(rule="FREQ=DAILY", from_on=DAY, ahead_days=2, due_days=1), DAY, None))
    found = tasks(plan, DAY)
    assert days(found) == [DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)]
    assert found[0].body.due_on == DAY + timedelta(days=1)


rules = st.sampled_from(["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,WE", "FREQ=MONTHLY;BYMONTHDAY=1,15", "FREQ=DAILY;INTERVAL=3"])


@settings(max_examples=150, deadline=None)
@given(rules, rules, st.integers(0, 40), st.integers(0, 10), st.lists(st.integers(0, 60), min_size=1, max_size=6), st.booleans())
def test_whenever_it_runs_the_same_tasks_come_about(
    first: str, second: str, changed: int, ahead: int, runs: list[int], is_ended: bool
) -> None:
    """Exact after downtime: any days of running that end on the last one make what running every day makes, each once."""
    a = Terms(rule=first, from_on=DAY, ahead_days=ahead)
    b = Terms(rule=second, from_on=DAY, ahead_days=ahead, units=[VILLAGE_A, VILLAGE_B])
    last = 60

    def known_on(k: int) -> Plan:
        before = a_plan((a, DAY, None))
        if k < changed:
            return before
        if is_ended:
            return a_plan((a, DAY, DAY + timedelta(days=changed)))
        return a_plan((a, DAY, DAY + timedelta(days=changed)), (b, DAY + timedelta(days=changed), None))

    def run(on: list[int]) -> dict[uuid.UUID, str]:
        there: dict[uuid.UUID, Made] = {}
        for k in on:
            plan, today = known_on(k), DAY + timedelta(days=k)
            wanted = tasks(plan, today)
            there |= {t.id: Made(**{**_as_dict(t), "state": "cancelled"}) for t in lapsed(plan, there.values(), wanted, today)}
            for w in not_taken_on(wanted, list(there.values())):
                assert w.id not in there
                there[w.id] = made_of(w)
        return {k: t.state for k, t in there.items() if t.state == "open"}

    assert run([*sorted(runs), last]) == run(list(range(last + 1)))


def _as_dict(task: Made) -> dict[str, Any]:
    return {name: getattr(task, name) for name in task.__struct_fields__}


def made_of(w: Wanted, state: str = "open") -> Made:
    assert w.body.origin_revision is not None
    assert w.body.occurs_on is not None
    return Made(
        id=w.id,
        county=610902,
        unit=w.unit,
        revision=w.body.origin_revision,
        occurs_on=w.body.occurs_on,
        state=state,
        sites=[str(site) for site in w.body.sites],
    )


def test_changing_a_plan_touches_later_days_only_and_accepted_tasks_stay() -> None:
    ahead = Terms(rule="FREQ=DAILY", from_on=DAY, ahead_days=3)
    before = tasks(a_plan((ahead, DAY, None)), DAY)
    there = [made_of(w, "accepted" if k == 2 else "open") for k, w in enumerate(before)]
    revised = a_plan((ahead, DAY, DAY), (Terms(rule="FREQ=DAILY", from_on=DAY, ahead_days=3, subject="noise"), DAY, None))
    gone = lapsed(revised, there, tasks(revised, DAY), DAY)
    assert [t.occurs_on for t in gone] == [DAY + timedelta(days=1), DAY + timedelta(days=3)], "today's stays, the accepted one stays"
    kept = [t for t in there if t not in gone]
    new = not_taken_on(tasks(revised, DAY), kept)
    assert [(w.body.occurs_on, w.body.subject) for w in new] == [(DAY + timedelta(days=1), "noise"), (DAY + timedelta(days=3), "noise")]


def test_an_ended_plan_makes_nothing_more() -> None:
    plan = a_plan((DAILY, DAY, DAY + timedelta(days=1)))
    assert days(tasks(plan, DAY + timedelta(days=30))) == [DAY, DAY + timedelta(days=1)]


def test_a_day_in_china_begins_at_its_own_midnight() -> None:
    """16:30 UTC is past midnight in Ankang: the revision begins a day later than the date in UTC says."""
    plan = Plan(unit=TOWNSHIP, title="x", revisions=[Revision(n=1, terms=DAILY, since=datetime(2026, 11, 20, 16, 30, tzinfo=UTC))])
    assert days(tasks(plan, DAY + timedelta(days=1))) == [DAY + timedelta(days=1)]


def test_sites_go_to_the_nearest_unit_above_them() -> None:
    terms = Terms(rule="FREQ=DAILY", from_on=DAY, units=[VILLAGE_A], sites=[an_id(k) for k in range(1, 5)])
    plan = a_plan((terms, DAY, None))
    around = with_sites({an_id(1): VILLAGE_A, an_id(2): VILLAGE_B, an_id(3): "610921100"})
    shared = shared_out(plan, terms, DAY, around)
    assert shared == {VILLAGE_A: [an_id(1)], TOWNSHIP: [an_id(2)]}, "what has left the township, or is closed, is nobody's"


def with_sites(site_units: dict[uuid.UUID, str]) -> Around:
    return Around(places=PLACES, seasons=KNOWN, site_units=site_units)


SITED = Terms(rule="FREQ=DAILY", from_on=DAY, units=[VILLAGE_A, VILLAGE_B], sites=[an_id(1), an_id(2)], ahead_days=1)


def sited(today: date, site_units: dict[uuid.UUID, str]) -> list[Wanted]:
    return list(plan_tasks(an_id(9), a_plan((SITED, DAY, None)), with_sites(site_units), DAY - timedelta(days=3), today))


def test_a_site_that_moves_is_given_once_a_day_and_from_the_next_day_on_to_its_new_unit() -> None:
    before = sited(DAY, {an_id(1): VILLAGE_A, an_id(2): VILLAGE_A})
    there = [made_of(w) for w in before]
    after = sited(DAY, {an_id(1): VILLAGE_A, an_id(2): VILLAGE_B})
    assert lapsed(a_plan((SITED, DAY, None)), there, after, DAY) == [], "its old unit's task of tomorrow has another site"
    assert not_taken_on(after, there) == []
    later = not_taken_on(sited(DAY + timedelta(days=1), {an_id(1): VILLAGE_A, an_id(2): VILLAGE_B}), there)
    assert [(w.unit, w.body.occurs_on, w.body.sites) for w in later] == [
        (VILLAGE_A, DAY + timedelta(days=2), [an_id(1)]),
        (VILLAGE_B, DAY + timedelta(days=2), [an_id(2)]),
    ]


def test_what_was_made_ahead_for_sites_that_are_closed_meanwhile_is_withdrawn() -> None:
    there = [made_of(w) for w in sited(DAY, {an_id(1): VILLAGE_A, an_id(2): VILLAGE_B})]
    gone = lapsed(a_plan((SITED, DAY, None)), there, sited(DAY, {an_id(1): VILLAGE_A}), DAY)
    assert [(t.unit, t.occurs_on) for t in gone] == [(VILLAGE_B, DAY + timedelta(days=1))], "today's was given and stays"


def test_a_task_somebody_keeps_leaves_the_sites_it_does_not_have() -> None:
    there = [made_of(w, "accepted") for w in sited(DAY, {an_id(1): VILLAGE_A, an_id(2): VILLAGE_A})]
    more = Terms(rule="FREQ=DAILY", from_on=DAY, units=[VILLAGE_A], sites=[an_id(1), an_id(3)], ahead_days=1)
    plan = a_plan((SITED, DAY, DAY), (more, DAY, None))
    wanted = list(plan_tasks(an_id(9), plan, with_sites({an_id(1): VILLAGE_A, an_id(3): VILLAGE_A}), DAY, DAY))
    assert [w.body.sites for w in not_taken_on(wanted, there)] == [[an_id(3)]]


# ------------------------------------------------------------------------------------------------ persons

MEMBER = an_id(7)


def on_duty(first: date, last: date | None, unit: str = VILLAGE_A) -> Around:
    ends = at(last, 16) if last else None  # 16:00 UTC: midnight after that day in China
    duty = Duty(person=MEMBER, role=Role.GRID_MEMBER, unit=unit, starts=at(first), ends=ends)
    return Around(places=PLACES, duties={MEMBER: [duty]})


def given_to(terms: Terms, around: Around, today: date) -> list[tuple[str, uuid.UUID | None]]:
    return [(w.unit, w.body.assignee) for w in plan_tasks(an_id(1), a_plan((terms, DAY, None)), around, DAY, today)]


def test_a_plan_for_a_person_follows_the_duty_and_falls_to_the_unit_when_it_ends() -> None:
    terms = Terms(rule="FREQ=DAILY", from_on=DAY, assignee=MEMBER)
    around = on_duty(DAY, DAY + timedelta(days=1))
    assert given_to(terms, around, DAY + timedelta(days=2)) == [(VILLAGE_A, MEMBER), (VILLAGE_A, MEMBER), (TOWNSHIP, None)]
    named = Terms(rule="FREQ=DAILY", from_on=DAY, assignee=MEMBER, units=[VILLAGE_A], note="沿河查看")
    assert given_to(named, around, DAY + timedelta(days=2)) == [(VILLAGE_A, MEMBER), (VILLAGE_A, MEMBER), (VILLAGE_A, None)]
    last = list(plan_tasks(an_id(1), a_plan((named, DAY, None)), around, DAY, DAY + timedelta(days=2)))[-1]
    assert last.body.note == "沿河查看" + OFF_DUTY


def test_a_unit_has_no_task_from_the_day_on_that_it_is_closed_and_its_sites_fall_to_the_next_above() -> None:
    closes = msgspec.structs.replace(PLACES.units[VILLAGE_A], closed_on=DAY + timedelta(days=2))
    places = Places([*PLACES.units.values(), closes])
    site = an_id(7)
    around = Around(places=places, seasons=KNOWN, site_units={site: VILLAGE_A})
    every_day = Terms(rule="FREQ=DAILY", from_on=DAY, units=[VILLAGE_A, VILLAGE_B], ahead_days=3)
    found = list(plan_tasks(an_id(1), a_plan((every_day, DAY, None)), around, DAY, DAY))
    assert [w.body.occurs_on for w in found if w.unit == VILLAGE_A] == [DAY, DAY + timedelta(days=1)]
    assert len([w for w in found if w.unit == VILLAGE_B]) == 4
    of_site = msgspec.structs.replace(every_day, units=[VILLAGE_A, TOWNSHIP], sites=[site])
    units = [w.unit for w in plan_tasks(an_id(1), a_plan((of_site, DAY, None)), around, DAY, DAY)]
    assert units == [VILLAGE_A, VILLAGE_A, TOWNSHIP, TOWNSHIP]


def test_a_person_of_another_unit_is_not_sent_there() -> None:
    terms = Terms(rule="FREQ=DAILY", from_on=DAY, assignee=MEMBER, units=[VILLAGE_B])
    assert given_to(terms, on_duty(DAY, None), DAY) == [(VILLAGE_B, None)]


# ------------------------------------------------------------------------------------------------ seasons by the day


def published(version: int, starts: datetime, *seasons: Season) -> RuleVersion:
    body = {"seasons": [{"key": s.key, "from_on": s.from_on.isoformat(), "to_on": s.to_on.isoformat()} for s in seasons]}
    return RuleVersion(county=610902, name=RuleName.SEASONS, version=version, starts=starts, body=body)


def test_a_season_holds_for_days_that_begin_after_it_was_published_whenever_somebody_asks() -> None:
    """Published at ten on the 20th for the 18th on, changed on the 22nd: what downtime makes of it is what every day made of it."""
    long = Season(key="s", from_on=DAY - timedelta(days=2), to_on=DAY + timedelta(days=20))
    short = Season(key="s", from_on=DAY - timedelta(days=2), to_on=DAY)
    book = RuleBook([published(1, at(DAY), long), published(2, at(DAY + timedelta(days=2)), short)])
    seasons = seasons_of(book, 610902)
    assert [k for k in range(-3, 8) if in_season("s", DAY + timedelta(days=k), seasons)] == [1, 2]
    midnight = RuleBook([published(1, at(DAY - timedelta(days=1), 16), long)])
    assert in_season("s", DAY, seasons_of(midnight, 610902)), "in force from the first moment of the day"


def test_what_was_made_ahead_for_a_season_that_was_changed_is_withdrawn() -> None:
    terms = Terms(rule="FREQ=WEEKLY", from_on=DAY, intensified=[Intensified(season="s", rule="FREQ=DAILY")], ahead_days=3)
    plan = a_plan((terms, DAY, None))
    known = Seasons(((date.min, (Season(key="s", from_on=DAY, to_on=DAY + timedelta(days=9)),)),))
    there = [made_of(w) for w in plan_tasks(an_id(1), plan, Around(places=PLACES, seasons=known), DAY, DAY)]
    changed = Seasons((*known.versions, (DAY + timedelta(days=1), ())))
    gone = lapsed(plan, there, plan_tasks(an_id(1), plan, Around(places=PLACES, seasons=changed), DAY, DAY), DAY)
    assert [t.occurs_on for t in gone] == [DAY + timedelta(days=k) for k in (1, 2, 3)]


# ------------------------------------------------------------------------------------------------ responses


def a_response(repeats: str | None) -> Response:
    steps = [{"id": "x", "command": "response.respond", "at": at(DAY), "source": "started", "to": "responding", "captured_at": at(DAY)}]
    return msgspec.convert({"unit": "610902", "title": "应急", "state": "responding", "repeats": repeats, "steps": steps}, Response)


def checks(response: Response, since: date, today: date) -> list[date | None]:
    sites = {an_id(1): (VILLAGE_A, Site(name="企业", unit=VILLAGE_A, subjects=[]))}
    return days(list(response_tasks(an_id(2), response, sites, since, at(today))))


def test_a_check_is_for_the_day_of_the_last_look_and_later() -> None:
    later = DAY + timedelta(days=3)
    assert checks(a_response("FREQ=DAILY"), date.min, later) == [DAY + timedelta(days=k) for k in range(4)], "after downtime: all of them"
    assert checks(a_response("FREQ=DAILY"), later, later) == [later], "what comes on the list today has no yesterday"
    assert checks(a_response(None), date.min, later) == [DAY]
    assert checks(a_response(None), later, later) == [later]
    assert checks(a_response(None), later + timedelta(days=9), later) == [later], "a clock that was set back"


# ------------------------------------------------------------------------------------------------ coverage

STREAMS = {f"{VILLAGE_A}.field", f"{VILLAGE_B}.field"}


def asked(*terms: Terms, today: date = DAY) -> Periods:
    return periods_of(terms_in_force([a_plan((one, DAY, None)) for one in terms], KNOWN, today), STREAMS, PLACES)


def test_of_the_plans_that_concern_a_place_or_a_site_the_shortest_period_counts() -> None:
    monthly = Terms(rule="FREQ=MONTHLY", from_on=DAY, period_days=31)
    weekly = Terms(rule="FREQ=WEEKLY", from_on=DAY, period_days=7, subject="noise", units=[VILLAGE_A])
    longer = Terms(rule="FREQ=WEEKLY", from_on=DAY, period_days=9, subject="noise", units=[VILLAGE_A])
    named = Terms(rule="FREQ=DAILY", from_on=DAY, period_days=1, sites=[an_id(1)])
    found = asked(monthly, weekly, longer, named)
    assert found.streams == {f"{VILLAGE_A}.field": {"": 31, "noise": 7}, f"{VILLAGE_B}.field": {"": 31}}
    assert found.sites == {an_id(1): 1}


def test_a_plan_asks_for_nothing_before_it_begins_after_it_ends_and_outside_its_season() -> None:
    ended = Terms(rule="FREQ=DAILY", from_on=DAY, period_days=1, until_on=DAY)
    seasonal = Terms(rule="FREQ=DAILY", from_on=DAY, period_days=1, seasons=["autumn_harvest"])
    assert asked(ended).streams != {}
    assert asked(ended, today=DAY + timedelta(days=1)).streams == {}
    assert asked(ended, today=DAY - timedelta(days=1)).streams == {}
    assert asked(seasonal).streams == {}, "the harvest is over"
    whole = Terms(rule="FREQ=DAILY", from_on=date(2026, 9, 1), period_days=1, seasons=["autumn_harvest"])
    assert terms_in_force([a_plan((whole, date(2026, 9, 1), None))], KNOWN, HARVEST.to_on) != []
    without = Terms(rule="FREQ=DAILY", from_on=DAY)
    assert asked(without) == Periods()
    assert terms_in_force([a_plan((ended, DAY, DAY))], KNOWN, DAY + timedelta(days=1)) == []


# ------------------------------------------------------------------------------------------------ campaigns


def held(first: date, last: date, state: str = "held") -> Campaign:
    return Campaign(unit="6109", title="路检路查", starts_on=first, ends_on=last, state=state)


def test_campaigns_and_their_days_are_counted_not_vehicles() -> None:
    month = month_of([held(date(2026, 11, 3), date(2026, 11, 4)), held(date(2026, 11, 10), date(2026, 11, 12))], DAY, DAY)
    assert (month.held, month.days, month.is_met) == (2, 5, True)


def test_a_campaign_of_one_day_is_too_short_and_a_cancelled_one_is_none() -> None:
    month = month_of([held(DAY, DAY), held(DAY, DAY + timedelta(days=1), "cancelled")], DAY, DAY)
    assert (month.held, month.short, month.is_met) == (0, 1, False)


def test_what_two_bureaus_entered_of_one_joint_action_is_one_campaign() -> None:
    """Campaigns that share a day; those that follow each other are two."""
    third = date(2026, 11, 3)
    both = [held(third, third + timedelta(days=1)), held(third, third + timedelta(days=1)), held(third, third)]
    month = month_of(both, DAY, DAY)
    assert (month.held, month.days, month.short) == (1, 2, 0)
    month = month_of([*both, held(third + timedelta(days=2), third + timedelta(days=3))], DAY, DAY)
    assert (month.held, month.days, month.is_met) == (2, 4, True)


def test_months_are_judged_from_the_first_campaign_on_a_year_back_at_most() -> None:
    assert months_to_judge([], DAY) == [date(2026, 11, 1)]
    assert months_to_judge([held(date(2026, 9, 30), DAY)], DAY) == [date(2026, 9, 1), date(2026, 10, 1), date(2026, 11, 1)]
    assert months_to_judge([held(date(2027, 3, 1), date(2027, 3, 2))], DAY) == [date(2026, 11, 1)]
    assert len(months_to_judge([held(date(2020, 1, 1), DAY)], DAY)) == 13


def test_over_the_months_end_it_counts_where_it_starts() -> None:
    campaign = held(date(2026, 11, 30), date(2026, 12, 1))
    assert month_of([campaign], date(2026, 11, 1), DAY).held == 1
    assert month_of([campaign], date(2026, 12, 1), DAY).held == 0


@pytest.mark.parametrize(
    ("today", "found", "can"),
    [
        (date(2026, 11, 28), [], True),  # 28 and 29, then 30 into December
        (date(2026, 11, 29), [], False),
        (date(2026, 11, 30), [held(date(2026, 11, 3), date(2026, 11, 4))], True),
        (date(2026, 12, 1), [held(date(2026, 11, 3), date(2026, 11, 4))], False),
        (date(2026, 11, 30), [held(date(2026, 11, 29), date(2026, 11, 30), "planned")], False),
        (date(2026, 12, 1), [held(date(2026, 11, 3), date(2026, 11, 4)), held(date(2026, 11, 29), date(2026, 12, 1), "planned")], True),
    ],
)
def test_a_month_is_lost_when_no_two_campaigns_can_be_begun_any_more(today: date, found: list[Campaign], can: bool) -> None:
    assert month_of(found, date(2026, 11, 1), today).can_be_met is can
