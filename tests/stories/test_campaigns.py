"""路检路查 over HTTP: campaigns of the month are counted with their days, and a lost month warns once. Publicity activities."""

from datetime import UTC, date, datetime
from typing import Any

from contracts.ids import RecordId
from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from phone.phone import Phone
from storage.campaigns import warn_of_campaigns
from storage.reference import reference_of
from storage.units import load_units
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


async def month(day: Day, phone: Phone, which: str) -> Any:
    return await read(day.world, phone, "/office/v1/road-checks/6109", month=which)


async def warned(day: Day, on: date) -> int:
    known = reference_of(Places((await load_units(day.world.pool)).values()))
    return await warn_of_campaigns(day.world.pool, known, CITY, datetime(on.year, on.month, on.day, 2, tzinfo=UTC))


async def test_campaigns_are_counted_in_the_month_they_start_in(day: Day) -> None:
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
