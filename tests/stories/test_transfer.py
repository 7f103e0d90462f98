"""A site that lies across the county border: it moves, what was made without knowing it follows, and nothing is lost."""

from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from storage.audit import audit
from tests.carrying import OTHER_TOWNSHIP, OTHER_VILLAGE, carry_all
from tests.stories.day import OK, OVERLAP, SITE, Day, agreed, body, found, hidden, only_conflict, result, shared_site, sync
from tests.stories.test_problem import assigned
from tests.world import COUNTY

FORWARDED = Reason.FORWARDED.value


async def test_a_site_given_to_another_county_leaves_one_village_and_arrives_in_the_other(day: Day) -> None:
    a, lead = await day.member("甲"), await day.lead()
    c = await day.member("丙", OTHER_VILLAGE)
    site = shared_site(a, note="河对岸")
    await sync(a, lead, c)
    given = lead.edit(site, {"unit": OTHER_VILLAGE})
    await sync(lead)
    assert result(lead, given) == (Outcome.APPLIED, OK)
    await carry_all(day.world)
    await sync(a, lead, c)
    assert hidden(a, site)
    assert hidden(lead, site)
    assert body(c, site) == {**SITE, "note": "河对岸", "unit": OTHER_VILLAGE}
    agreed(a, await day.member("甲二"))


async def test_what_was_made_without_knowing_of_the_move_follows_in_its_order(day: Day) -> None:
    """Promises 3 and 7, across counties: two edits of one field, a comment and a photo, all offline."""
    a, lead = await day.member("甲"), await day.lead()
    c = await day.member("丙", OTHER_VILLAGE)
    site = shared_site(a)
    await sync(a, lead, c)
    lead.edit(site, {"unit": OTHER_VILLAGE})
    first = a.edit(site, {"note": "一"})
    second = a.edit(site, {"note": "二", "address": "江北"})
    photo = a.add_photo(site, b"bytes that come later", caption="围挡")
    third = a.edit(photo, {"caption": "围挡破损"})
    await sync(lead, a)
    assert [result(a, made) for made in (first, second, third)] == [(Outcome.APPLIED, FORWARDED)] * 3
    await carry_all(day.world)
    await sync(c, a)
    assert (body(c, site)["note"], body(c, site)["address"]) == ("二", "江北")
    assert body(c, photo)["caption"] == "围挡破损"
    assert hidden(a, site)
    assert a.unsent() == 0
    assert c.conflicts() == []


async def test_a_late_edit_meets_another_one_there_and_both_values_are_shown(day: Day) -> None:
    """Promise 2: the value that lost waits on the other county's desk, with the person who entered it."""
    a, lead = await day.member("甲"), await day.lead()
    c = await day.member("丙", OTHER_VILLAGE)
    there = await day.world.phone(await day.world.person("丙镇", (Role.TOWNSHIP_LEAD, OTHER_TOWNSHIP)))
    site = shared_site(a, note="旧")
    for k in range(4):  # versions here are higher than they will be there
        a.edit(site, {"address": f"江北 {k} 号"})
        await sync(a)
    await sync(lead)
    lead.edit(site, {"unit": OTHER_VILLAGE})
    await sync(lead)
    await carry_all(day.world)
    await sync(c)
    c.edit(site, {"note": "丙村看过"})
    await sync(c)
    a.edit(site, {"note": "甲村看过"})
    await sync(a)
    await carry_all(day.world)
    await sync(there)
    conflict = only_conflict(there).body
    assert {conflict["kept"], conflict["lost"]} == {"甲村看过", "丙村看过"}
    assert conflict["person"] == str(a.account.person)
    assert conflict["why"] == OVERLAP


async def test_whoever_gives_it_away_has_not_seen_what_others_wrote_before(day: Day) -> None:
    """The copy has what a colleague wrote; the giver, offline since before that, writes the same field after giving it away."""
    a, lead = await day.member("甲"), await day.lead()
    there = await day.world.phone(await day.world.person("丙镇", (Role.TOWNSHIP_LEAD, OTHER_TOWNSHIP)))
    site = shared_site(a, note="旧")
    await sync(a, lead)
    a.edit(site, {"note": "甲写的"})
    await sync(a)
    lead.edit(site, {"unit": OTHER_VILLAGE})
    lead.edit(site, {"note": "镇长写的"})
    await sync(lead)
    await carry_all(day.world)
    await sync(there)
    conflict = only_conflict(there).body
    assert {conflict["kept"], conflict["lost"]} == {"甲写的", "镇长写的"}


async def test_it_comes_back_and_what_waited_on_the_way_finds_it(day: Day) -> None:
    a, lead = await day.member("甲"), await day.lead()
    there = await day.world.phone(await day.world.person("丙镇", (Role.TOWNSHIP_LEAD, OTHER_TOWNSHIP)))
    site = shared_site(a)
    photo = a.add_photo(site, b"one picture")
    await sync(a, lead)
    lead.edit(site, {"unit": OTHER_VILLAGE})
    a.edit(site, {"note": "在路上"})
    await sync(lead)
    await carry_all(day.world)
    await sync(there)
    there.edit(site, {"unit": SITE["unit"]})
    await sync(there, a)  # the late edit is forwarded to a county that has given the site back already
    await carry_all(day.world)
    await sync(a, lead, there)
    assert body(a, site) == {**SITE, "note": "在路上"}
    assert not hidden(a, photo)
    assert hidden(there, site)
    agreed(a, await day.member("甲二"))


async def test_a_grid_member_proposes_a_move_and_the_office_decides(day: Day) -> None:
    """Giving a record away is for the office: the edit waits on its desk, and what was built on it waits behind it."""
    a, c = await day.member("甲"), await day.member("丙", OTHER_VILLAGE)
    lead = await day.lead()
    site = shared_site(a)
    await sync(a)
    proposed = a.edit(site, {"unit": OTHER_VILLAGE})
    after = a.edit(site, {"note": "在界河那边"})
    await sync(a)
    assert result(a, proposed) == (Outcome.QUARANTINED, Reason.NOT_YOUR_ROLE.value)
    assert result(a, after) == (Outcome.DEFERRED, Reason.WAITS_FOR.value)
    token = lead.store.db.execute("SELECT value FROM meta WHERE name = 'access'").fetchone()[0]
    path = f"/office/v1/held/{COUNTY}/{a.account.device}/{found(a, proposed).n}/release"
    answer = await day.world.client.post(path, headers={"Authorization": f"Bearer {token}"}, json={"note": "属实"})
    assert answer.status_code == 200, answer.text
    await carry_all(day.world)
    await sync(c, a)
    assert body(c, site)["note"] == "在界河那边"
    assert hidden(a, site)


async def test_a_fix_that_a_department_made_offline_follows_the_problem_it_was_assigned(day: Day) -> None:
    """The department holds a projection, which does not exist there: its photo and its command go after the problem itself."""
    case = await assigned(day)
    there = await day.world.phone(await day.world.person("丙镇", (Role.TOWNSHIP_LEAD, OTHER_TOWNSHIP)))
    case.lead.edit(case.problem, {"unit": OTHER_VILLAGE})
    await sync(case.lead)
    photo = case.handler.add_photo(case.assignment, b"after", purpose="after")
    started = case.handler.command(case.assignment, "problem.start")
    submitted = case.handler.command(case.assignment, "problem.submit_fix", args={"photos": [str(photo)], "note": "已整改"})
    await sync(case.handler)
    assert [result(case.handler, made) for made in (started, submitted)] == [(Outcome.APPLIED, FORWARDED)] * 2
    assert hidden(case.handler, case.assignment)
    await carry_all(day.world)
    await sync(there)
    assert body(there, case.problem)["state"] == "submitted"
    assert [view.id for view in there.children(case.problem)] == [photo]
    async for report in audit(day.world.pool):
        assert report.differences == []
