"""路检路查 over HTTP: campaigns of the month are counted with their days, and a lost month warns once. Publicity activities."""

from datetime import UTC, date, datetime
from typing import Any

from contracts.ids import RecordId
from contracts.outcomes import Outcome, Reason
from contracts.people import Level, Role, Unit
from phone.phone import Phone
from storage.campaigns import MET_LATE, warn_of_campaigns
from storage.reference import reference_of
from storage.units import load_units, upsert_units
from sync.places import Places
from tests.api.casework import call, read
from tests.stories.day import PLACE, Day, body, result, sync
from tests.world import COUNTY, VILLAGE_A

CITY = 610900
APPLIED = (Outcome.APPLIED, "ok")


async def city(day: Day) -> Phone:
    return await day.world.phone(await day.world.person("市督办", (Role.CITY_SUPERVISOR, "6109")))


async def planned(phone: Phone, first: str, last: str) -> RecordId:
    values = {"unit": "6109", "title": "路检路查", "departments": ["市生态环境局", "市公安局"], "starts_on": first, "ends_on": last}
    campaign = phone.create("campaign", CITY, values)
    await sync(phone)
    return campaign


async def bureau(day: Day, slug: str, name: str) -> Phone:
    code = f"6109-{slug}"
    async with day.world.pool.acquire() as conn:
        await upsert_units(conn, [Unit(code=code, county=CITY, parent="6109", level=Level.DEPARTMENT, name=name)])
    day.world.app.state.resources.units._checked = float("-inf")
    return await day.world.phone(await day.world.person(name, (Role.DEPARTMENT_STAFF, code)))


def on(day: Day, moment: date) -> None:
    day.world.time = datetime(moment.year, moment.month, moment.day, 2, tzinfo=UTC)


async def month(day: Day, phone: Phone, which: str) -> Any:
    return await read(day.world, phone, "/office/v1/road-checks/6109", month=which)


async def warned(day: Day, on: date) -> int:
    known = reference_of(Places((await load_units(day.world.pool)).values()))
    return await warn_of_campaigns(day.world.pool, known, CITY, datetime(on.year, on.month, on.day, 2, tzinfo=UTC))


async def test_campaigns_are_counted_in_the_month_they_start_in(day: Day) -> None:
    on(day, date(2026, 12, 1))
    phone = await city(day)
    for first, last in (("2026-11-03", "2026-11-04"), ("2026-11-30", "2026-12-01"), ("2026-11-10", "2026-11-10")):
        campaign = await planned(phone, first, last)
        done = phone.command(campaign, "campaign.finish", {"result": "查处冒黑烟车辆"})
        await sync(phone)
        assert result(phone, done) == APPLIED
    november = await month(day, phone, "2026-11")
    assert (november["held"], november["days"], november["too_short"], november["is_met"]) == (2, 4, 1, True)
    assert november["source"] == "每月不少于2次，每次不少于2天"
    assert (await month(day, phone, "2026-12"))["held"] == 0


async def test_bureaus_enter_their_own_and_a_joint_action_counts_once(day: Day) -> None:
    """A handler may write in the own bureau only: what both entered of the same days is one campaign of the city."""
    on(day, date(2026, 11, 20))
    env, police = await bureau(day, "env_bureau", "市生态环境局"), await bureau(day, "police_bureau", "市公安局")
    for phone, unit, first, last in ((env, "env_bureau", 3, 4), (police, "police_bureau", 3, 4), (police, "police_bureau", 16, 18)):
        days = {"starts_on": f"2026-11-{first:02}", "ends_on": f"2026-11-{last:02}"}
        values = {"unit": f"6109-{unit}", "title": "路检路查"} | days
        campaign = phone.create("campaign", CITY, values)
        done = phone.command(campaign, "campaign.finish")
        await sync(phone)
        assert result(phone, done) == APPLIED
    november = await month(day, await city(day), "2026-11")
    assert (november["held"], november["days"], november["is_met"]) == (2, 5, True)


async def test_a_campaign_is_not_held_before_its_last_day(day: Day) -> None:
    on(day, date(2026, 11, 20))
    phone = await city(day)
    campaign = await planned(phone, "2026-11-20", "2026-11-21")
    early = phone.command(campaign, "campaign.finish")
    await sync(phone)
    assert result(phone, early) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    on(day, date(2026, 11, 21))
    done = phone.command(campaign, "campaign.finish")
    await sync(phone)
    assert result(phone, done) == APPLIED


async def test_a_warning_that_late_reports_overturn_is_withdrawn_with_the_reason(day: Day) -> None:
    on(day, date(2026, 11, 30))
    phone = await city(day)
    campaigns = [await planned(phone, "2026-11-03", "2026-11-04"), await planned(phone, "2026-11-10", "2026-11-11")]
    assert await warned(day, date(2026, 11, 30)) == 1
    for campaign in campaigns:
        phone.command(campaign, "campaign.finish")
    await sync(phone)
    assert await warned(day, date(2026, 11, 30)) == 0
    assert await warned(day, date(2026, 11, 30)) == 0
    await sync(phone)
    (notice,) = phone.records("notice")
    assert (notice.body["state"], notice.body["steps"][-1]["args"]["reason"]) == ("withdrawn", MET_LATE)


async def test_months_lost_in_a_long_downtime_are_warned_of_too(day: Day) -> None:
    phone = await city(day)
    await planned(phone, "2026-07-30", "2026-07-31")
    assert await warned(day, date(2026, 11, 2)) == 4
    assert await warned(day, date(2026, 11, 2)) == 0


async def test_a_lost_month_warns_once_and_not_before(day: Day) -> None:
    phone = await city(day)
    await planned(phone, "2026-10-01", "2026-10-02")
    assert [await warned(day, date(2026, 11, d)) for d in (1, 28, 29, 30)] == [1, 0, 1, 0], "October was lost before, November on the 29th"
    await sync(phone)
    assert sorted(n.body["title"] for n in phone.records("notice")) == [
        "2026年10月路检路查已无法达到2次",
        "2026年11月路检路查已无法达到2次",
    ]
    assert await warned(day, date(2026, 12, 1)) == 0


async def test_a_campaign_that_ends_before_it_starts_is_not_held(day: Day) -> None:
    phone = await city(day)
    campaign = await planned(phone, "2026-11-04", "2026-11-03")
    done = phone.command(campaign, "campaign.finish")
    await sync(phone)
    assert result(phone, done) == (Outcome.REJECTED, Reason.INCOMPLETE.value)


async def test_the_month_is_shown_within_duties_only(day: Day) -> None:
    lead = await day.lead()
    answer = await call(day.world, lead, "GET", "/office/v1/road-checks/6109", params={"month": "2026-11"})
    assert answer.status_code == 404
    answer = await call(day.world, await city(day), "GET", "/office/v1/road-checks/6109", params={"month": "2026-13"})
    assert answer.status_code == 422


async def test_a_publicity_activity_has_date_place_people_and_photo(day: Day) -> None:
    member, lead = await day.member(), await day.lead()
    values = {"unit": VILLAGE_A, "title": "秸秆禁烧宣传", "held_on": "2026-11-20", "place": "村委会", "position": PLACE, "reached": 60}
    activity = member.create("activity", COUNTY, values | {"organisers": [str(member.account.person)]})
    photo = member.add_photo(activity, b"\xff\xd8 village square")
    await sync(member, lead)
    shown = body(lead, activity)
    assert (shown["held_on"], shown["place"], shown["reached"]) == ("2026-11-20", "村委会", 60)
    assert [p.id for p in lead.children(activity)] == [photo]
