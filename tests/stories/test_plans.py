"""Patrol plans over HTTP: tasks come by themselves, once, also after downtime; reassignment finds phones in the field; coverage."""

import asyncio
import json
import uuid
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from contracts.ids import RecordId
from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from contracts.rules import PublishRule, RuleName, Season, SeasonsRule
from phone.phone import Phone
from storage.coverage import FIRST, SQL_COUNT_STANDING, SQL_FETCH_STANDING
from storage.plans import run_plans
from storage.pool import Pool
from storage.reference import Reference, reference_of
from storage.rules import insert_rule, load_rules
from storage.units import load_units
from sync.places import Places
from tests.api.casework import read
from tests.house.tree import ROOT
from tests.stories.day import Day, body, found, hidden, result, shared_inspection, shared_site, sync
from tests.stories.test_secret_visits import carried
from tests.world import COUNTY, MORNING, TOWNSHIP, VILLAGE_A, VILLAGE_B

CITY = 610900
TODAY = date(2026, 11, 20)
APPLIED = (Outcome.APPLIED, "ok")
DAILY = {"rule": "FREQ=DAILY", "from_on": TODAY.isoformat()}


async def reference(day: Day) -> Reference:
    return reference_of(Places((await load_units(day.world.pool)).values()), await load_rules(day.world.pool))


async def tick(day: Day, days: float = 0, county: int = COUNTY) -> int:
    """The worker's timer, so many days after the morning."""
    moment = MORNING + timedelta(days=days)
    day.world.time = max(day.world.time, moment)
    return await run_plans(day.world.pool, await reference(day), county, moment)


async def started(day: Day, lead: Phone, **terms: Any) -> RecordId:
    plan = lead.create("plan", COUNTY, {"unit": TOWNSHIP, "title": "禁烧巡查"})
    made = lead.command(plan, "plan.start", {"terms": DAILY | {"units": [VILLAGE_A]} | terms})
    await sync(lead)
    assert result(lead, made) == APPLIED
    return plan


async def made(day: Day) -> list[tuple[str, str, str]]:
    rows = await day.world.pool.fetch(
        "SELECT body FROM record WHERE kind = 'task' AND NOT deleted ORDER BY body ->> 'occurs_on', body ->> 'unit', id"
    )
    bodies = [msgspec.json.decode(row["body"]) for row in rows]
    return [(b["occurs_on"], b["unit"], b["state"]) for b in bodies]


def on(k: int) -> str:
    return (TODAY + timedelta(days=k)).isoformat()


async def test_a_plan_gives_work_to_phones_day_by_day(day: Day) -> None:
    lead, member = await day.lead(), await day.member()
    await started(day, lead, subject="open_burning", due_days=1)
    assert await tick(day) == 1
    assert await tick(day) == 0
    assert await tick(day, 1) == 1
    await sync(member)
    assert sorted((t.body["title"], t.body["due_on"]) for t in member.records("task")) == [("禁烧巡查", on(1)), ("禁烧巡查", on(2))]


async def test_after_downtime_every_day_is_there_once_with_two_workers_and_a_clock_set_back(day: Day) -> None:
    lead = await day.lead()
    await started(day, lead)
    known = await reference(day)
    late = day.world.time = MORNING + timedelta(days=9)
    await asyncio.gather(*(run_plans(day.world.pool, known, COUNTY, late) for _ in range(4)))
    expected = [(on(k), VILLAGE_A, "open") for k in range(10)]
    assert await made(day) == expected
    await tick(day, 4)
    await day.world.pool.execute("DELETE FROM plan_run")
    await tick(day, 9)
    assert await made(day) == expected
    assert await day.world.pool.fetchval("SELECT max(version) FROM record WHERE kind = 'task'") == 1


async def test_a_deleted_task_is_not_made_again(day: Day) -> None:
    lead = await day.lead()
    await started(day, lead)
    await tick(day)
    await sync(lead)
    (task,) = lead.records("task")
    lead.delete(task.id)
    await sync(lead)
    await day.world.pool.execute("DELETE FROM plan_run")
    assert await tick(day) == 0
    assert await made(day) == []


async def test_a_revision_touches_later_days_and_an_accepted_task_stays(day: Day) -> None:
    lead, member = await day.lead(), await day.member()
    plan = await started(day, lead, ahead_days=3)
    await tick(day)
    await sync(member)
    accepted = sorted(member.records("task"), key=lambda t: t.body["occurs_on"])[2]
    member.command(accepted.id, "task.accept")
    await sync(member)
    lead.command(plan, "plan.revise", {"terms": DAILY | {"units": [VILLAGE_B], "ahead_days": 3}}, args={"reason": "改由乙村"})
    await sync(lead)
    await tick(day)
    assert sorted(await made(day)) == [
        (on(0), VILLAGE_A, "open"),
        (on(1), VILLAGE_A, "cancelled"),
        (on(1), VILLAGE_B, "open"),
        (on(2), VILLAGE_A, "accepted"),
        (on(2), VILLAGE_B, "open"),
        (on(3), VILLAGE_A, "cancelled"),
        (on(3), VILLAGE_B, "open"),
    ]
    ended = lead.command(plan, "plan.end", args={"reason": "任务结束"})
    await sync(lead)
    assert result(lead, ended) == APPLIED
    await tick(day, 5)
    states = [(unit, state) for when, unit, state in await made(day) if when > on(0)]
    assert (VILLAGE_A, "accepted") in states
    assert all(state == "cancelled" for unit, state in states if unit == VILLAGE_B)


async def test_an_accepted_task_keeps_its_day_for_the_same_unit(day: Day) -> None:
    lead, member = await day.lead(), await day.member()
    plan = await started(day, lead, ahead_days=1)
    await tick(day)
    await sync(member)
    for task in member.records("task"):
        member.command(task.id, "task.accept")
    await sync(member)
    lead.command(plan, "plan.revise", {"terms": DAILY | {"units": [VILLAGE_A], "ahead_days": 2}}, args={"reason": "提前"})
    await sync(lead)
    await tick(day)
    assert await made(day) == [(on(0), VILLAGE_A, "accepted"), (on(1), VILLAGE_A, "accepted"), (on(2), VILLAGE_A, "open")]


async def test_terms_that_cannot_hold_are_refused_with_what_is_missing(day: Day) -> None:
    lead = await day.lead()
    plan = lead.create("plan", COUNTY, {"unit": TOWNSHIP, "title": "x"})
    wrong = [
        lead.command(plan, "plan.start", {"terms": DAILY | {"rule": "FREQ=DAILY;INTERVAL=0"}}),
        lead.command(plan, "plan.start", {"terms": DAILY | {"units": ["610921100"]}}),
        lead.command(plan, "plan.start"),
    ]
    await sync(lead)
    outcomes = {result(lead, one)[0] for one in wrong}
    assert outcomes <= {Outcome.REJECTED, Outcome.QUARANTINED}
    assert body(lead, plan).get("state", "drafted") == "drafted"
    assert await tick(day) == 0


async def test_a_refusal_names_what_is_wrong_with_the_terms(day: Day) -> None:
    supervisor = await day.world.phone(await day.world.person("县督办", (Role.COUNTY_SUPERVISOR, str(COUNTY))))
    wrong: dict[str, dict[str, Any]] = {
        "terms_read": {"rule": "FREQ=HOURLY"},
        "terms_recur": {"rule": "FREQ=DAILY;BYSETPOS=1"},
        "terms_occur": {"rule": "FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=2"},
        "terms_in_order": {"until_on": on(-1)},
        "units_below": {"units": ["610921100"]},
        "visits_open": {"units": [VILLAGE_A], "visit_mode": "secret_visit"},
    }
    for needs, terms in wrong.items():
        plan = supervisor.create("plan", COUNTY, {"unit": str(COUNTY), "title": "暗访计划"})
        made = supervisor.command(plan, "plan.start", {"terms": DAILY | terms})
        await sync(supervisor)
        pending = found(supervisor, made)
        assert (pending.outcome, pending.reason, pending.detail["needs"]) == (Outcome.REJECTED, Reason.INCOMPLETE.value, [needs])
    ancient = supervisor.create("plan", COUNTY, {"unit": str(COUNTY), "title": "x"})
    supervisor.command(ancient, "plan.start", {"terms": DAILY | {"from_on": "0001-01-01"}})
    await sync(supervisor)
    assert await tick(day) == 0


async def test_one_plan_that_cannot_be_read_keeps_no_other_back(day: Day) -> None:
    """As an older version may have taken it, or a newer one."""
    lead = await day.lead()
    broken = [await started(day, lead), await started(day, lead)]
    for plan, find, put in ((broken[0], "FREQ=DAILY", "FREQ=DAILY;BYSETPOS=1"), (broken[1], on(0), "someday")):
        await day.world.pool.execute("UPDATE record SET body = replace(body::text, $2, $3)::json WHERE id = $1", plan, find, put)
    await started(day, lead)
    assert await tick(day) == 1


async def test_sites_that_are_closed_deleted_or_moved_while_a_plan_runs(day: Day) -> None:
    lead, member = await day.lead(), await day.member()
    closed, deleted, moved, stays = sites = [shared_site(member, name=f"工地{k}") for k in range(4)]
    await sync(member, lead)
    await started(day, lead, units=[VILLAGE_A, VILLAGE_B], sites=[str(site) for site in sites])
    assert await tick(day) == 1
    lead.edit(closed, {"status": "closed"})
    lead.delete(deleted)
    lead.edit(moved, {"unit": VILLAGE_B})
    await sync(lead)
    assert await tick(day, 1) == 2
    await day.world.pool.execute("DELETE FROM plan_run")
    assert await tick(day, 1) == 0, "nothing comes about for days that are past"
    rows = await day.world.pool.fetch("SELECT body FROM record WHERE kind = 'task' ORDER BY body ->> 'occurs_on', body ->> 'unit'")
    given = [(b["occurs_on"], b["unit"], set(b["sites"])) for b in (msgspec.json.decode(row["body"]) for row in rows)]
    assert given == [
        (on(0), VILLAGE_A, {str(site) for site in sites}),
        (on(1), VILLAGE_A, {str(stays)}),
        (on(1), VILLAGE_B, {str(moved)}),
    ]


async def test_a_plan_for_a_person_whose_duty_ends_falls_to_the_unit(day: Day) -> None:
    lead, member = await day.lead(), await day.member()
    await started(day, lead, units=[], assignee=str(member.account.person))
    assert await tick(day) == 1
    await sync(member)
    (task,) = member.records("task")
    assert task.body["assignee"] == str(member.account.person), "where the person has a duty, though no unit was named"
    await day.world.pool.execute("UPDATE duty SET ends = $2 WHERE person = $1", member.account.person, MORNING + timedelta(days=1))
    await tick(day, 3)
    rows = await day.world.pool.fetch("SELECT stream, body FROM record WHERE kind = 'task' ORDER BY body ->> 'occurs_on'")
    given = [(row["stream"], msgspec.json.decode(row["body"]).get("assignee") is not None) for row in rows]
    assert given == [(f"{VILLAGE_A}.field", True)] * 2 + [(f"{TOWNSHIP}.field", False)] * 2


async def harvest(day: Day, first: int, last: int, at: datetime = MORNING) -> None:
    """Its days, counted from today, are published."""
    season = Season(key="autumn_harvest", from_on=TODAY + timedelta(days=first), to_on=TODAY + timedelta(days=last))
    async with day.world.pool.acquire() as conn:
        rule = msgspec.to_builtins(SeasonsRule(seasons=[season]))
        assert await insert_rule(conn, PublishRule(county=COUNTY, name=RuleName.SEASONS, starts=at, body=rule), None, at)


async def test_a_plan_names_no_season_that_nobody_has_published(day: Day) -> None:
    lead = await day.lead()
    for terms in ({"seasons": ["autum_harvest"]}, {"intensified": [{"season": "autum_harvest", "rule": "FREQ=DAILY"}]}):
        plan = lead.create("plan", COUNTY, {"unit": TOWNSHIP, "title": "秋收巡查"})
        start = lead.command(plan, "plan.start", {"terms": DAILY | terms})
        await sync(lead)
        assert result(lead, start) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
        assert "seasons_known" in lead.refused()[-1].detail["needs"]
    known = lead.create("plan", COUNTY, {"unit": TOWNSHIP, "title": "秋冬季巡查"})
    start = lead.command(known, "plan.start", {"terms": DAILY | {"seasons": ["autumn_winter"]}})
    await sync(lead)
    assert result(lead, start) == (Outcome.APPLIED, "ok"), "that one a source states"


async def test_harvest_is_watched_daily_once_its_dates_are_published(day: Day) -> None:
    await harvest(day, -365, -360, MORNING - timedelta(days=1))
    lead = await day.lead()
    await started(day, lead, rule="FREQ=WEEKLY", intensified=[{"season": "autumn_harvest", "rule": "FREQ=DAILY"}])
    assert await tick(day) == 1
    await harvest(day, 1, 3)
    assert await tick(day, 8) == 4
    assert [when for when, _, _ in await made(day)] == [on(0), on(1), on(2), on(3), on(7)]


async def test_a_city_plan_gives_work_in_every_county(day: Day) -> None:
    city = await day.world.phone(await day.world.person("市督办", (Role.CITY_SUPERVISOR, "6109")))
    plan = city.create("plan", CITY, {"unit": "6109", "title": "全市排查"})
    city.command(plan, "plan.start", {"terms": DAILY | {"units": [TOWNSHIP, "610921100"]}})
    await sync(city)
    assert await tick(day, county=CITY) == 2
    rows = await day.world.pool.fetch("SELECT county, stream FROM record WHERE kind = 'task' ORDER BY county")
    assert [(r["county"], r["stream"]) for r in rows] == [(COUNTY, f"{TOWNSHIP}.field"), (610921, "610921100.field")]


# ------------------------------------------------------------------------------------------------ reassignment


async def test_a_reassigned_task_that_was_started_offline_is_kept_by_both(day: Day) -> None:
    """A has no signal and starts; the office gives the task to B, who starts, too. Both are in its story."""
    a, b = await day.two()
    lead = await day.lead()
    task = lead.create("task", COUNTY, {"title": "查扬尘", "unit": VILLAGE_A, "assignee": str(a.account.person)})
    await sync(lead, a, b)
    by_a = a.command(task, "task.start")
    lead.command(task, "task.reassign", {"assignee": str(b.account.person)}, args={"reason": "甲下乡"})
    await sync(lead, b)
    by_b = b.command(task, "task.start")
    await sync(a, b, a, lead)
    assert result(a, by_a)[0] in (Outcome.APPLIED, Outcome.MERGED)
    assert result(b, by_b) == (Outcome.MERGED, Reason.LATE.value)
    for phone in (a, b, lead):
        shown = body(phone, task)
        assert (shown["state"], shown["assignee"]) == ("started", str(b.account.person))
        told = [(s["command"], s.get("by")) for s in shown["steps"]]
        assert told == [
            ("task.reassign", str(lead.account.person)),
            ("task.start", str(a.account.person)),
            ("task.start", str(b.account.person)),
        ]


async def test_a_task_given_to_another_village_leaves_the_old_phones_after_their_work_was_taken(day: Day) -> None:
    a = await day.member()
    b = await day.member("乙村网格员", VILLAGE_B)
    lead = await day.lead()
    task = lead.create("task", COUNTY, {"title": "查扬尘", "unit": VILLAGE_A})
    await sync(lead, a)
    lead.command(task, "task.reassign", {"unit": VILLAGE_B}, args={"reason": "跨村调整"})
    await sync(lead)
    by_a = a.command(task, "task.finish", {"result": "已覆盖"})
    await sync(a, b, lead)
    await sync(a)
    assert result(a, by_a)[0] in (Outcome.APPLIED, Outcome.MERGED)
    assert hidden(a, task), "a stale row is gone once its work is in"
    for phone in (b, lead):
        assert (body(phone, task)["state"], body(phone, task)["result"]) == ("finished", "已覆盖")


async def test_a_task_given_to_another_county_takes_the_late_work_of_its_old_holder_along(day: Day) -> None:
    """The old holder has no signal: accepts, starts, takes a photo and finishes what lies in another county by then."""
    a, lead = await day.member(), await day.lead()
    other = await day.world.phone(await day.world.person("外县镇办", (Role.TOWNSHIP_LEAD, "610921100")))
    task = lead.create("task", COUNTY, {"title": "查扬尘", "unit": VILLAGE_A})
    await sync(lead, a)
    lead.command(task, "task.reassign", {"unit": "610921100"}, args={"reason": "属外县"})
    await sync(lead)
    a.command(task, "task.start")
    a.add_photo(task, b"\xff\xd8 seen there")
    by_a = a.command(task, "task.finish", {"result": "已覆盖"})
    await sync(a)
    await carried(day)
    await sync(other, a)
    assert result(a, by_a) == (Outcome.APPLIED, Reason.FORWARDED.value)
    assert hidden(a, task)
    shown = body(other, task)
    assert (shown["state"], shown["result"], shown["unit"]) == ("finished", "已覆盖", "610921100")
    assert [step["by"] for step in shown["steps"]] == [str(p.account.person) for p in (lead, a, a)]
    assert len(other.children(task)) == 1
    assert await day.held() == []


async def test_a_reassignment_names_somebody_else_and_why(day: Day) -> None:
    lead = await day.lead()
    task = lead.create("task", COUNTY, {"title": "查扬尘", "unit": VILLAGE_A})
    to_nobody = lead.command(task, "task.reassign", args={"reason": "x"})
    without_reason = lead.command(task, "task.reassign", {"unit": VILLAGE_B})
    await sync(lead)
    assert result(lead, to_nobody) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    assert result(lead, without_reason) == (Outcome.REJECTED, Reason.INCOMPLETE.value)


# ------------------------------------------------------------------------------------------------ responses


async def test_a_response_checks_the_cut_list_and_ends_what_is_open_when_it_is_lifted(day: Day) -> None:
    supervisor = await day.world.phone(await day.world.person("县督办", (Role.COUNTY_SUPERVISOR, str(COUNTY))))
    member = await day.member()
    listed = [shared_site(member, name=f"企业{k}", tags=["应急减排清单"]) for k in range(3)]
    shared_site(member, name="不在清单")
    shared_site(member, name="已关闭", tags=["应急减排清单"], status="closed")
    response = supervisor.create("response", COUNTY, {"unit": str(COUNTY), "title": "应急响应", "cut_list_tag": "应急减排清单"})
    supervisor.command(response, "response.start")
    await sync(member, supervisor)
    assert await tick(day) == 0, "started is not responding"
    supervisor.command(response, "response.respond")
    await sync(supervisor)
    assert await tick(day) == 3
    later = shared_site(member, name="新列入", tags=["应急减排清单"])
    await sync(member)
    assert await tick(day, 0.1) == 1, "the list may grow while it lasts"
    await sync(member)
    checks = {t.body["sites"][0]: t.id for t in member.records("task")}
    assert set(checks) == {str(site) for site in (*listed, later)}
    member.command(checks[str(listed[0])], "task.finish", {"result": "已停产"})
    member.command(checks[str(listed[1])], "task.start")
    await sync(member)
    offline = member.command(checks[str(listed[2])], "task.finish", {"result": "已限产"})
    supervisor.command(response, "response.lift", args={"reason": "空气转好"})
    await sync(supervisor)
    assert await tick(day, 0.2) == 2
    assert await tick(day, 0.3) == 0
    await sync(member)
    states = [body(member, checks[str(site)])["state"] for site in (*listed, later)]
    assert states == ["finished", "started", "finished", "cancelled"]
    assert result(member, offline) == (Outcome.MERGED, Reason.LATE.value), "finished work beats the lifting"


async def test_a_city_response_repeats_daily_in_all_its_counties(day: Day) -> None:
    city = await day.world.phone(await day.world.person("市督办", (Role.CITY_SUPERVISOR, "6109")))
    member = await day.member()
    site = shared_site(member)
    await sync(member)
    values = {"unit": "6109", "title": "应急响应", "sites": [str(site)], "repeats": "FREQ=DAILY"}
    response = city.create("response", CITY, values)
    city.command(response, "response.start")
    city.command(response, "response.respond")
    await sync(city)
    assert await tick(day, 2, county=CITY) == 3
    assert await made(day) == [(on(k), VILLAGE_A, "open") for k in range(3)]


async def test_lifting_ends_all_that_is_open_however_old_and_a_long_response_writes_nothing_twice(day: Day) -> None:
    supervisor = await day.world.phone(await day.world.person("县督办", (Role.COUNTY_SUPERVISOR, str(COUNTY))))
    member = await day.member()
    site = shared_site(member)
    await sync(member)
    values = {"unit": str(COUNTY), "title": "应急响应", "sites": [str(site)], "cut_list_tag": "应急", "repeats": "FREQ=DAILY"}
    response = supervisor.create("response", COUNTY, values)
    supervisor.command(response, "response.start")
    supervisor.command(response, "response.respond")
    await sync(supervisor)
    assert [await tick(day, k) for k in range(7)] == [1] * 7
    entries = await day.world.pool.fetchval("SELECT count(*) FROM journal")
    assert await tick(day, 6.01) == 0
    assert await day.world.pool.fetchval("SELECT count(*) FROM journal") == entries
    shared_site(member, name="新列入", tags=["应急"])
    await sync(member)
    assert await tick(day, 6.02) == 1, "what is listed today has no yesterday"
    await sync(member)
    old = min(member.records("task"), key=lambda task: str(task.body["occurs_on"]))
    member.command(old.id, "task.start")
    supervisor.command(response, "response.lift", args={"reason": "空气转好"})
    await sync(member, supervisor)
    assert await tick(day, 6.03) == 7
    assert [state for _, _, state in await made(day)] == ["started"] + ["cancelled"] * 7


async def test_checks_that_cannot_come_back_are_refused_and_stop_nothing(day: Day) -> None:
    lead = await day.lead()
    supervisor = await day.world.phone(await day.world.person("县督办", (Role.COUNTY_SUPERVISOR, str(COUNTY))))
    values = {"unit": str(COUNTY), "title": "应急响应"}
    mistyped = supervisor.create("response", COUNTY, values | {"repeats": "FREQ=DAILY;BYDAY=XX"})
    response = supervisor.create("response", COUNTY, values | {"repeats": "FREQ=DAILY;BYSETPOS=1"})
    supervisor.command(response, "response.start")
    refused = supervisor.command(response, "response.respond")
    await sync(supervisor)
    assert found(supervisor, refused).detail["needs"] == ["checks_recur"]
    assert await day.held() == [("quarantined", "malformed")], "kept, and shown to a human"
    assert hidden(lead, mistyped)
    await started(day, lead)
    assert await tick(day) == 1


async def test_a_township_does_not_declare_a_response(day: Day) -> None:
    lead = await day.lead()
    response = lead.create("response", COUNTY, {"unit": TOWNSHIP, "title": "x"})
    await sync(lead)
    assert [(p.reason, hidden(lead, response)) for p in lead.refused()] == [(Reason.NOT_YOUR_ROLE.value, True)]


# ------------------------------------------------------------------------------------------------ coverage


async def inspected(phone: Phone, site: RecordId) -> None:
    inspection = shared_inspection(phone, site=str(site))
    phone.command(inspection, "inspection.submit")
    await sync(phone)


async def test_coverage_counts_what_was_seen_in_time_by_its_capture(day: Day) -> None:
    lead, member = await day.lead(), await day.member()
    sites = [shared_site(member, name=f"工地{k}", period_days=30 if k else None) for k in range(3)]
    await sync(member)
    draft = shared_inspection(member, site=str(sites[2]))
    await sync(member)
    await inspected(member, sites[1])
    shown = await read(day.world, lead, f"/office/v1/coverage/{COUNTY}")
    assert (shown["with_period"], shown["covered"], shown["without_period"]) == (2, 1, 1)
    unseen = await read(day.world, lead, f"/office/v1/coverage/{COUNTY}", covered="false")
    assert [row["site"] for row in unseen["rows"]] == [str(sites[2])], "a draft is no visit"
    day.world.time = MORNING + timedelta(days=31)
    shown = await read(day.world, await _again(day, lead), f"/office/v1/coverage/{COUNTY}")
    assert (shown["with_period"], shown["covered"]) == (2, 0)
    assert draft is not None


async def _again(day: Day, phone: Phone) -> Phone:
    """Logged in anew: the tokens of a month ago are not good any more."""
    del phone
    return await day.lead("镇办负责人二")


async def test_a_plans_period_holds_for_sites_without_their_own(day: Day) -> None:
    lead, member = await day.lead(), await day.member()
    shared_site(member)
    await sync(member)
    await started(day, lead, subject="construction_dust", period_days=7)
    shown = await read(day.world, lead, f"/office/v1/coverage/{COUNTY}")
    assert [(row["period_days"], row["covered"]) for row in shown["rows"]] == [(7, False)]


async def test_coverage_is_scoped_by_duty(day: Day) -> None:
    a, b = await day.member(), await day.member("乙", VILLAGE_B)
    stranger = await day.world.phone(await day.world.person("外县", (Role.TOWNSHIP_LEAD, "610921100")))
    shared_site(a, name="甲村工地", period_days=30)
    shared_site(b, name="乙村工地", unit=VILLAGE_B, period_days=30)
    await sync(a, b)
    path = f"/office/v1/coverage/{COUNTY}"
    assert [row["name"] for row in (await read(day.world, a, path))["rows"]] == ["甲村工地"]
    lead = await day.lead()
    assert len((await read(day.world, lead, path))["rows"]) == 2
    assert [row["name"] for row in (await read(day.world, lead, path, unit=VILLAGE_B))["rows"]] == ["乙村工地"]
    first = await read(day.world, lead, path, limit=1)
    assert [len(first["rows"]), len((await read(day.world, lead, path, limit=1, after=first["next"]))["rows"])] == [1, 1]
    headers = {"Authorization": f"Bearer {_token(stranger)}"}
    assert (await day.world.client.get(path, headers=headers)).status_code == 403


def _token(phone: Phone) -> str:
    return str(phone.store.db.execute("SELECT value FROM meta WHERE name = 'access'").fetchone()[0])


async def test_a_citys_plan_counts_in_its_counties_and_a_season_only_in_its_days(day: Day) -> None:
    await harvest(day, -365, -360, MORNING - timedelta(days=1))
    lead, member = await day.lead(), await day.member()
    shared_site(member)
    await sync(member)
    await started(day, lead, seasons=["autumn_harvest"], period_days=2)
    path = f"/office/v1/coverage/{COUNTY}"
    assert (await read(day.world, lead, path))["without_period"] == 1, "nobody has said when this year's harvest is"
    city = await day.world.phone(await day.world.person("市督办", (Role.CITY_SUPERVISOR, "6109")))
    plan = city.create("plan", CITY, {"unit": "6109", "title": "全市排查"})
    city.command(plan, "plan.start", {"terms": DAILY | {"units": [TOWNSHIP], "period_days": 30}})
    await sync(city)
    shown = await read(day.world, lead, path)
    assert [(row["period_days"], row["covered"]) for row in shown["rows"]] == [(30, False)]


async def test_coverage_follows_whatever_happens_to_sites_and_inspections(day: Day) -> None:
    """Submitted for one site, corrected to another, not deleted; a site that is paused, and taken up again."""
    lead, member = await day.lead(), await day.member()
    a, b = sites = [shared_site(member, name=f"工地{k}", period_days=30) for k in range(2)]
    await sync(member)
    path = f"/office/v1/coverage/{COUNTY}"

    async def covered() -> list[bool]:
        await sync(member, lead)
        rows = {row["site"]: row["covered"] for row in (await read(day.world, lead, path))["rows"]}
        return [rows.get(str(site)) for site in sites]

    inspection = shared_inspection(member, site=str(a))
    member.command(inspection, "inspection.submit")
    assert await covered() == [True, False]
    member.edit(inspection, {"site": str(b)})
    assert await covered() == [False, True]
    member.edit(b, {"status": "paused"})
    assert await covered() == [False, None]
    member.edit(b, {"status": "active", "period_days": None})
    assert await covered() == [False, None]
    member.edit(b, {"period_days": 7})
    assert await covered() == [False, True]
    member.delete(inspection)  # what was submitted is evidence: it stays, and so does what it covers
    assert await covered() == [False, True]


async def test_two_who_see_one_site_at_the_same_time_are_both_counted(day: Day) -> None:
    """From two villages' streams, so that no lock of a stream orders them; the newest counts, whoever commits last."""
    a, b = await day.member(), await day.member("乙", VILLAGE_B)
    sites = [shared_site(a, period_days=30) for _ in range(5)]
    await sync(a)
    for phone, village in ((a, VILLAGE_A), (b, VILLAGE_B)):
        for site in sites if phone is a else reversed(sites):
            inspection = shared_inspection(phone, unit=village, site=str(site))
            phone.command(inspection, "inspection.submit")
    await asyncio.gather(sync(a), sync(b))
    seen = await day.world.pool.fetch("SELECT site, count(*) AS n, max(seen_at) AS newest FROM site_seen GROUP BY site")
    last = {row["site"]: row["seen_at"] for row in await day.world.pool.fetch("SELECT site, seen_at FROM site_last")}
    assert [row["n"] for row in seen] == [2] * 5
    assert {row["site"]: row["newest"] for row in seen} == last


async def test_an_upgrade_finds_what_was_seen_before_it(day: Day) -> None:
    """The migration fills its tables with what pushes would have written."""
    from storage.ledger import rebuild_ledger

    member, pool = await day.member(), day.world.pool
    sites = [shared_site(member, period_days=30, status=status) for status in ("active", "active", "closed")]
    await sync(member)
    for site in (sites[0], sites[0], sites[2]):
        await inspected(member, site)
    tables = ("site_watch", "site_seen", "site_last")

    async def held() -> list[list[tuple[Any, ...]]]:
        return [sorted(tuple(row) for row in await pool.fetch(f"SELECT * FROM {table}")) for table in tables]

    written = await held()
    assert [len(rows) for rows in written] == [2, 3, 2]
    await pool.execute("TRUNCATE site_watch, site_seen, site_last")
    migration = (ROOT / "storage" / "migrations" / "20261122000071_coverage.sql").read_text(encoding="utf-8")
    await pool.execute(migration[migration.index("END $$;") + len("END $$;") : migration.index("-- migrate:down")])
    assert await held() == written
    await pool.execute("TRUNCATE site_watch, site_seen, site_last")
    await rebuild_ledger(pool, COUNTY)
    assert await held() == written


async def test_coverage_of_a_hundred_thousand_sites(day: Day) -> None:
    """By default planner settings: pages by an index, in the time of what they show; the totals are one walk over narrow rows."""
    pool, lead, villages = day.world.pool, await day.lead(), [VILLAGE_A, VILLAGE_B]
    await pool.execute(
        """INSERT INTO record (county, id, kind, stream, seq, incarnation, version, crc, fields, body)
           SELECT $1, md5('s' || k)::uuid, 'site', CASE WHEN k % 2 = 0 THEN $2 ELSE $3 END, k, 1, 1, 0, '{}',
                  json_build_object('name', 'x', 'unit', 'u', 'subjects', json_build_array('noise'), 'period_days',
                                    CASE WHEN k % 4 < 2 THEN 30 END)
           FROM generate_series(1, 100000) k""",
        COUNTY, *(f"{village}.field" for village in villages),
    )  # fmt: skip
    await pool.execute("SELECT coverage_write($1, ARRAY(SELECT id FROM record WHERE kind = 'site'), '{}')", COUNTY)
    await pool.execute(
        """INSERT INTO site_last (county, site, seen_at)
           SELECT county, site, $2::timestamptz - (row_number() OVER (ORDER BY site)) % 40 * interval '1 day' FROM site_watch
           WHERE county = $1""",
        COUNTY, MORNING,
    )  # fmt: skip
    await pool.execute("ANALYZE record; ANALYZE site_watch; ANALYZE site_last")
    await started(day, lead, units=villages, subject="noise", period_days=7)
    path = f"/office/v1/coverage/{COUNTY}"
    first = await read(day.world, lead, path, covered="false")
    assert (first["with_period"], first["without_period"], len(first["rows"])) == (100_000, 0, 100)
    assert 40_000 < first["covered"] < 60_000
    later = await read(day.world, lead, path, covered="false", after=first["next"])
    assert later["with_period"] is None, "counted once"
    assert later["rows"][0]["site"] > first["rows"][-1]["site"] == first["next"]
    streams = [f"{village}.field" for village in villages]
    for after in (FIRST, uuid.UUID(int=2**127)):
        plan, blocks = await walked(pool, SQL_FETCH_STANDING, COUNTY, streams, "{}", "{}", TODAY, after, False, 101)
        assert "Seq Scan" not in plan and "Hash Join" not in plan, plan
        assert blocks < 4000
    _, blocks = await walked(pool, SQL_COUNT_STANDING, COUNTY, streams, "{}", "{}", TODAY)
    assert blocks < 6000, "one walk over narrow rows"


async def walked(pool: Pool, sql: str, *given: Any) -> tuple[str, int]:
    """The plan of a statement, and how many blocks it looked at: the same on whatever machine, however busy it is."""
    told = await pool.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *given)
    root = json.loads(told)[0]["Plan"]
    return told, root["Shared Hit Blocks"] + root["Shared Read Blocks"]
