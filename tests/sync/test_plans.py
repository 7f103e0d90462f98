"""Patrol plans, responses, coverage and campaigns as pure functions: which days, which tasks, what is counted."""

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.kinds.campaign import Campaign
from contracts.kinds.plan import Intensified, Plan, Revision, Terms
from contracts.rules import Season
from sync.campaigns import month_of
from sync.coverage import Watched, standing, terms_in_force
from sync.plans import Made, Wanted, lapsed, not_taken_on, plan_tasks, shared_out
from sync.recurrence import AUTUMN_WINTER, days_of, in_season, is_readable, occurrences
from tests.builders import PLACES, an_id
from tests.world import TOWNSHIP, VILLAGE_A, VILLAGE_B

DAY = date(2026, 11, 20)  # a Friday
HARVEST = Season(key="autumn_harvest", from_on=date(2026, 9, 10), to_on=date(2026, 9, 30))


def at(day: date, hour: int = 2) -> datetime:
    """A moment of a day in China: 02:00 UTC is 10:00."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def a_plan(*revisions: tuple[Terms, date, date | None]) -> Plan:
    made = [Revision(n=n, terms=t, since=at(s), until=at(u) if u else None) for n, (t, s, u) in enumerate(revisions, start=1)]
    return Plan(unit=TOWNSHIP, title="巡查", terms=revisions[-1][0], revisions=made, state="active")


def tasks(plan: Plan, today: date, since: date = date.min) -> list[Wanted]:
    return list(plan_tasks(an_id(1), plan, [HARVEST], PLACES, {}, since, today))


def days(found: list[Wanted]) -> list[date | None]:
    return [w.body.occurs_on for w in found]


# ------------------------------------------------------------------------------------------------ recurrence


def test_a_rule_gives_days_of_its_start_on() -> None:
    assert occurrences("FREQ=WEEKLY;BYDAY=MO,FR", DAY, DAY, DAY + timedelta(days=7)) == [DAY, date(2026, 11, 23), date(2026, 11, 27)]
    assert occurrences("FREQ=WEEKLY;INTERVAL=2", DAY, date(2026, 12, 1), date(2026, 12, 31)) == [date(2026, 12, 4), date(2026, 12, 18)]


@pytest.mark.parametrize(
    "rule",
    ["", "DAILY", "FREQ=HOURLY", "FREQ=DAILY;COUNT=3", "FREQ=DAILY;UNTIL=20270101", "FREQ=DAILY;BYDAY=XX", "FREQ=DAILY\nEXDATE:20261120",
     "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;BYHOUR=3"],
)  # fmt: skip
def test_what_is_no_recurrence_over_days_is_refused(rule: str) -> None:
    assert not is_readable(rule)


def test_a_rule_that_never_comes_ends_all_the_same() -> None:
    assert occurrences("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", DAY, DAY, DAY + timedelta(days=3650)) == []


def test_the_stated_season_needs_no_rule_and_others_need_one() -> None:
    assert [m for m in range(1, 13) if in_season(AUTUMN_WINTER, date(2026, m, 15), [])] == [1, 2, 3, 10, 11, 12]
    assert not in_season("autumn_harvest", HARVEST.from_on, [])
    assert in_season("autumn_harvest", HARVEST.to_on, [HARVEST])
    assert not in_season("autumn_harvest", HARVEST.to_on + timedelta(days=1), [HARVEST])


def test_harvest_is_watched_daily_and_the_rest_of_the_year_weekly() -> None:
    terms = Terms(rule="FREQ=WEEKLY", from_on=date(2026, 9, 1), intensified=[Intensified(season="autumn_harvest", rule="FREQ=DAILY")])
    found = days_of(terms, date(2026, 9, 1), date(2026, 10, 10), [HARVEST])
    assert [d for d in found if not HARVEST.from_on <= d <= HARVEST.to_on] == [date(2026, 9, 1), date(2026, 9, 8), date(2026, 10, 6)]
    assert len([d for d in found if HARVEST.from_on <= d <= HARVEST.to_on]) == 21
    assert days_of(terms, date(2026, 9, 1), date(2026, 9, 20), []) == [date(2026, 9, 1), date(2026, 9, 8), date(2026, 9, 15)]


def test_a_plan_for_a_season_rests_outside_it() -> None:
    terms = Terms(rule="FREQ=MONTHLY", from_on=date(2026, 1, 5), seasons=[AUTUMN_WINTER])
    assert [d.month for d in days_of(terms, date(2026, 1, 1), date(2026, 12, 31), [])] == [1, 2, 3, 10, 11, 12]


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
            there |= {t.id: Made(**{**_as_dict(t), "state": "cancelled"}) for t in lapsed(plan, there.values())}
            for w in not_taken_on(tasks(plan, today), list(there.values())):
                assert w.id not in there
                there[w.id] = made_of(w)
        return {k: t.state for k, t in there.items() if t.state == "open"}

    assert run([*sorted(runs), last]) == run(list(range(last + 1)))


def _as_dict(task: Made) -> dict[str, Any]:
    return {name: getattr(task, name) for name in task.__struct_fields__}


def made_of(w: Wanted, state: str = "open") -> Made:
    assert w.body.origin_revision is not None
    assert w.body.occurs_on is not None
    return Made(id=w.id, county=610902, unit=w.unit, revision=w.body.origin_revision, occurs_on=w.body.occurs_on, state=state)


def test_changing_a_plan_touches_later_days_only_and_accepted_tasks_stay() -> None:
    ahead = Terms(rule="FREQ=DAILY", from_on=DAY, ahead_days=3)
    before = tasks(a_plan((ahead, DAY, None)), DAY)
    there = [made_of(w, "accepted" if k == 2 else "open") for k, w in enumerate(before)]
    revised = a_plan((ahead, DAY, DAY), (Terms(rule="FREQ=DAILY", from_on=DAY, ahead_days=3, subject="noise"), DAY, None))
    gone = lapsed(revised, there)
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
    terms = Terms(rule="FREQ=DAILY", from_on=DAY, units=[TOWNSHIP, VILLAGE_A], sites=[an_id(1), an_id(2), an_id(3)])
    plan = a_plan((terms, DAY, None))
    shared = shared_out(plan, plan.revisions[0], PLACES, {an_id(1): VILLAGE_A, an_id(2): VILLAGE_B})
    assert shared == {VILLAGE_A: [an_id(1)], TOWNSHIP: [an_id(2), an_id(3)]}


# ------------------------------------------------------------------------------------------------ coverage


def seen(days_ago: int | None, **more: Any) -> Watched:
    when = at(DAY - timedelta(days=days_ago)) if days_ago is not None else None
    return Watched(id=an_id(1), unit=VILLAGE_A, name="工地", subjects=["noise"], seen_at=when, **more)


@pytest.mark.parametrize(
    ("site", "covered"),
    [
        (seen(30, period_days=30), True),
        (seen(31, period_days=30), False),
        (seen(None, period_days=30), False),
        (seen(0), None),
        (seen(None), None),
    ],
)
def test_a_site_is_covered_within_its_period(site: Watched, covered: bool | None) -> None:
    assert standing(site, [], PLACES, DAY).is_covered is covered


def test_the_sites_own_period_counts_before_any_plans_and_the_shortest_plan_before_the_others() -> None:
    monthly = a_plan((Terms(rule="FREQ=MONTHLY", from_on=DAY, period_days=31), DAY, None))
    weekly = a_plan((Terms(rule="FREQ=WEEKLY", from_on=DAY, period_days=7, subject="noise"), DAY, None))
    other = a_plan((Terms(rule="FREQ=DAILY", from_on=DAY, period_days=1, subject="open_burning"), DAY, None))
    elsewhere = a_plan((Terms(rule="FREQ=DAILY", from_on=DAY, period_days=1, units=[VILLAGE_B]), DAY, None))
    asked = terms_in_force([monthly, weekly, other, elsewhere], DAY)
    assert standing(seen(8), asked, PLACES, DAY).period_days == 7
    assert standing(seen(8, period_days=90), asked, PLACES, DAY).is_covered is True
    assert terms_in_force([a_plan((DAILY, DAY, DAY))], DAY + timedelta(days=1)) == []


# ------------------------------------------------------------------------------------------------ campaigns


def held(first: date, last: date, state: str = "held") -> Campaign:
    return Campaign(unit="6109", title="路检路查", starts_on=first, ends_on=last, state=state)


def test_campaigns_and_their_days_are_counted_not_vehicles() -> None:
    month = month_of([held(date(2026, 11, 3), date(2026, 11, 4)), held(date(2026, 11, 10), date(2026, 11, 12))], DAY, DAY)
    assert (month.held, month.days, month.is_met) == (2, 5, True)


def test_a_campaign_of_one_day_is_too_short_and_a_cancelled_one_is_none() -> None:
    month = month_of([held(DAY, DAY), held(DAY, DAY + timedelta(days=1), "cancelled")], DAY, DAY)
    assert (month.held, month.short, month.is_met) == (0, 1, False)


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
