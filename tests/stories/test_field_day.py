"""The eleven conflicts of a field day: what two people do without seeing each other, and what comes of it."""

from msgspec.structs import replace

from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from phone.clock import SimulatedClock
from tests.stories.day import (
    DUST,
    OK,
    OVERLAP,
    PLACE,
    TASK,
    Day,
    agreed,
    answer,
    body,
    found,
    hidden,
    only_conflict,
    result,
    seen,
    shared_inspection,
    shared_site,
    sync,
)
from tests.world import COUNTY, VILLAGE_A, VILLAGE_B


async def test_a_site_made_offline_reaches_a_colleague(day: Day) -> None:
    """Promise 1."""
    a, b = await day.two()
    site = shared_site(a)
    await sync(a, b)
    assert body(b, site)["name"] == "工地一"
    agreed(a, b)


# ---------------------------------------------------------------------------------------------- 1 to 4: who wrote what


async def test_the_same_item_of_one_shared_inspection_by_two_people(day: Day) -> None:
    """Promise 8. Both values stay visible: the later commit in the record, the other before the township's supervisor."""
    a, b = await day.two()
    lead = await day.lead()
    visit = shared_inspection(a)
    await sync(a, b)
    by_a = a.edit(visit, {"answers.sprinkling": {"value": "yes"}})
    by_b = b.edit(visit, {"answers.sprinkling": {"value": "no"}})
    await sync(a, b, a, lead)
    assert result(a, by_a) == (Outcome.APPLIED, OK)
    assert result(b, by_b) == (Outcome.CONFLICT, OVERLAP)
    assert answer(a, visit, "sprinkling") == answer(b, visit, "sprinkling") == {"value": "no"}
    conflict = only_conflict(lead).body
    assert (conflict["record"], conflict["field"]) == (str(visit), "answers.sprinkling")
    assert (conflict["kept"], conflict["lost"]) == ({"value": "no"}, {"value": "yes"})
    assert conflict["kept_by"] == [str(b.account.device), found(b, by_b).n]
    assert conflict["lost_by"] == [str(a.account.device), found(a, by_a).n]
    agreed(a, b)


async def test_different_items_of_one_shared_inspection_merge_silently(day: Day) -> None:
    """Promise 4."""
    a, b = await day.two()
    lead = await day.lead()
    visit = shared_inspection(a)
    await sync(a, b)
    by_a = a.edit(visit, {"answers.sprinkling": {"value": "yes"}, "note": "东侧已看"})
    by_b = b.edit(visit, {"answers.covering": {"value": "no"}})
    await sync(b, a, b, lead)
    assert result(b, by_b) == (Outcome.APPLIED, OK)
    assert result(a, by_a) == (Outcome.MERGED, OK)
    assert body(a, visit)["answers"] == {"sprinkling": {"value": "yes"}, "covering": {"value": "no"}}
    assert body(b, visit)["note"] == "东侧已看"
    assert lead.conflicts() == []
    agreed(a, b)


async def test_two_inspections_of_one_site_are_both_kept(day: Day) -> None:
    """Promise 3."""
    a, b = await day.two()
    site = shared_site(a)
    await sync(a, b)
    by_a = shared_inspection(a, site=str(site), answers={"sprinkling": {"value": "yes"}})
    by_b = shared_inspection(b, site=str(site), answers={"sprinkling": {"value": "no"}})
    await sync(a, b, a)
    for phone in (a, b):
        assert {view.id for view in phone.records("inspection")} == {by_a, by_b}
        assert answer(phone, by_a, "sprinkling") == {"value": "yes"}
        assert answer(phone, by_b, "sprinkling") == {"value": "no"}
    agreed(a, b)


async def test_a_position_moves_as_a_whole(day: Day) -> None:
    """Promise 8. Latitude, longitude and accuracy of two people are never mixed."""
    a, b = await day.two()
    lead = await day.lead()
    site = shared_site(a, position=PLACE)
    await sync(a, b)
    near, far = {**PLACE, "lat": 32.7001, "accuracy_m": 3.0}, {**PLACE, "lng": 109.0911, "accuracy_m": 40.0}
    a.edit(site, {"position": near})
    by_b = b.edit(site, {"position": far})
    await sync(a, b, a, lead)
    assert body(a, site)["position"] == body(b, site)["position"] == far
    assert result(b, by_b) == (Outcome.CONFLICT, OVERLAP)
    assert only_conflict(lead).body["lost"] == near


async def test_part_of_a_position_cannot_be_edited(day: Day) -> None:
    """Promise 3. An app that sends half a position is held, and nothing of the site changes."""
    a = await day.member()
    site = shared_site(a, position=PLACE)
    await sync(a)
    half = a.edit(site, {"position.lat": 1.0})
    await sync(a)
    assert result(a, half) == (Outcome.QUARANTINED, Reason.MALFORMED.value)
    b = await day.member("乙")
    await sync(b)
    assert body(b, site)["position"] == PLACE


# ---------------------------------------------------------------------------------------------- 5 and 6: states


async def test_finished_work_beats_a_cancellation(day: Day) -> None:
    """Promise 3."""
    a = await day.member()
    lead = await day.lead()
    task = lead.create("task", COUNTY, TASK)
    await sync(lead, a)
    lead.command(task, "task.cancel", {"cancel_reason": "改期"})
    finish = a.command(task, "task.finish", {"result": "三处裸土已覆盖"})
    await sync(lead, a, lead)
    assert result(a, finish) == (Outcome.MERGED, Reason.LATE.value)
    for phone in (a, lead):
        assert body(phone, task)["state"] == "finished"
        assert body(phone, task)["result"] == "三处裸土已覆盖"
        assert body(phone, task)["cancel_reason"] == "改期"


async def test_a_cancellation_after_finished_work_is_refused_with_what_would_be_allowed(day: Day) -> None:
    """Promise 3. The reason the office typed stays in the record's history."""
    a = await day.member()
    lead = await day.lead()
    task = lead.create("task", COUNTY, TASK)
    await sync(lead, a)
    a.command(task, "task.finish", {"result": "已整改"})
    cancel = lead.command(task, "task.cancel", {"cancel_reason": "重复安排"})
    await sync(a, lead)
    assert result(lead, cancel) == (Outcome.REJECTED, Reason.NOT_ALLOWED_NOW.value)
    assert found(lead, cancel).detail == {"state": "finished", "allowed": {}}
    assert body(lead, task)["state"] == "finished"
    assert await day.journal_raw("重复安排") == 1


async def test_a_comment_and_a_photo_reach_a_record_that_moved_on(day: Day) -> None:
    """Promise 3. The office finished the task while evidence was under way."""
    a = await day.member()
    lead = await day.lead()
    task = lead.create("task", COUNTY, TASK)
    await sync(lead, a)
    lead.command(task, "task.finish", {"result": "电话核实"})
    comment = a.edit(task, {"comments": [{"id": "c1", "text": "现场还有一处"}]})
    photo = a.add_photo(task, b"\xff\xd8 bytes of a picture")
    await sync(lead, a, lead)
    assert result(a, comment) == (Outcome.MERGED, OK)
    assert body(lead, task)["state"] == "finished"
    assert [c["text"] for c in body(lead, task)["comments"]] == ["现场还有一处"]
    assert seen(lead, photo).parent == task


async def test_evidence_brings_back_what_the_office_deleted(day: Day) -> None:
    """Promise 3. Field work outlives an office deletion, with all that hangs below it, and the supervisor decides."""
    a = await day.member()
    lead = await day.lead()
    site = shared_site(a)
    old = a.add_photo(site, b"\xff\xd8 the first picture")
    await sync(a, lead)
    lead.delete(site)
    new = a.add_photo(site, b"\xff\xd8 the second picture")
    await sync(lead)
    assert hidden(lead, old)
    await sync(a, lead)
    assert not seen(lead, site).deleted
    assert {view.id for view in lead.children(site)} == {old, new}
    assert only_conflict(lead).body["why"] == Reason.EDIT_AGAINST_DELETE.value
    agreed(a)


# ---------------------------------------------------------------------------------------------- 7: delete against edit


async def test_an_edit_that_did_not_know_of_the_deletion_survives_it(day: Day) -> None:
    """Promise 3. The deletion came first."""
    a = await day.member()
    lead = await day.lead()
    site = shared_site(a)
    await sync(a, lead)
    lead.delete(site)
    edit = a.edit(site, {"note": "仍在施工"})
    await sync(lead, a, lead)
    assert result(a, edit) == (Outcome.CONFLICT, Reason.EDIT_AGAINST_DELETE.value)
    assert body(lead, site)["note"] == body(a, site)["note"] == "仍在施工"
    conflict = only_conflict(lead).body
    assert (conflict["field"], conflict["lost"]) == ("-", "delete")


async def test_a_deletion_that_did_not_know_of_the_edit_waits_for_a_decision(day: Day) -> None:
    """Promise 3. The edit came first; settled as `lost`, the deletion happens after all."""
    a = await day.member()
    lead = await day.lead()
    site = shared_site(a)
    await sync(a, lead)
    a.edit(site, {"note": "仍在施工"})
    deletion = lead.delete(site)
    await sync(a, lead)
    assert result(lead, deletion) == (Outcome.CONFLICT, Reason.EDIT_AGAINST_DELETE.value)
    assert body(lead, site)["note"] == "仍在施工"
    lead.command(only_conflict(lead).id, "conflict.settle", args={"choice": "lost"})
    await sync(lead, a)
    assert hidden(a, site)
    assert hidden(lead, site)


async def test_a_deletion_takes_the_children_along(day: Day) -> None:
    """Promise 4."""
    a = await day.member()
    lead = await day.lead()
    site = shared_site(a)
    photo = a.add_photo(site, b"\xff\xd8 a picture")
    await sync(a, lead)
    lead.delete(site)
    await sync(lead, a)
    for phone in (a, lead):
        assert hidden(phone, site)
        assert hidden(phone, photo)
    agreed(a)


async def test_an_edit_of_what_one_knows_to_be_deleted_is_refused(day: Day) -> None:
    a = await day.member()
    lead = await day.lead()
    site = shared_site(a)
    await sync(a, lead)
    before = seen(lead, site)
    lead.delete(site)
    await sync(lead)
    edit = lead.edit(site, {"note": "改主意了"}, seen=before)
    await sync(lead)
    assert result(lead, edit) == (Outcome.REJECTED, Reason.RECORD_DELETED.value)
    assert await day.journal_raw("改主意了") == 1


# ---------------------------------------------------------------------------------------------- 8: old versions


async def test_an_inspection_keeps_the_checklist_version_it_was_filled_with(day: Day) -> None:
    """Promise 3. A version this server does not know is accepted, too, and flagged: every published version counts."""
    a = await day.member()
    lead = await day.lead()
    old = shared_inspection(a, answers={"sprinkling": {"value": "no"}})
    foreign = shared_inspection(a, checklist={**DUST, "version": 77}, answers={"x1": {"value": "no"}})
    submits = [a.command(visit, "inspection.submit") for visit in (old, foreign)]
    await sync(a, lead)
    assert body(lead, old)["checklist"]["version"] == 1
    assert body(lead, foreign)["checklist"]["version"] == 77
    assert body(lead, foreign)["state"] == "submitted"
    assert found(a, submits[1]).detail == {"checklist": Reason.UNKNOWN_CHECKLIST.value}
    assert [problem.body["item"] for problem in lead.records("problem")] == ["sprinkling"]


# ---------------------------------------------------------------------------------------------- 9: moved


async def test_an_edit_follows_a_site_that_was_moved_to_another_village_meanwhile(day: Day) -> None:
    """Promises 3 and 6. At capture the site was in the author's village; then it leaves their phone, edit and photo with it."""
    a = await day.member()
    there = await day.member("乙村网格员", VILLAGE_B)
    lead = await day.lead()
    site = shared_site(a)
    await sync(a, lead)
    lead.edit(site, {"unit": VILLAGE_B})
    edit = a.edit(site, {"note": "围挡缺口十米"})
    photo = a.add_photo(site, b"\xff\xd8 a picture")
    await sync(lead, a, there)
    assert result(a, edit)[0] is Outcome.MERGED
    assert body(there, site)["note"] == "围挡缺口十米"
    assert seen(there, photo).parent == site
    assert hidden(a, site)
    assert hidden(a, photo)
    agreed(a)
    agreed(there)


async def test_an_edit_made_after_seeing_the_move_is_not_ones_own_any_more(day: Day) -> None:
    """Promise 6. Having been there once is no duty: whoever saw the record leave cannot go on editing it."""
    a = await day.member()
    lead = await day.lead()
    site = shared_site(a)
    await sync(a, lead)
    before = seen(a, site)
    lead.edit(site, {"unit": VILLAGE_B})
    await sync(lead, a)
    after = seen(lead, site)
    late = a.edit(site, {"note": "我还想改"}, seen=replace(before, base=after.base))
    await sync(a)
    assert result(a, late) == (Outcome.QUARANTINED, Reason.NO_DUTY.value)


async def test_photos_follow_their_site_when_it_moves(day: Day) -> None:
    """Promise 6."""
    a = await day.member()
    there = await day.member("乙村网格员", VILLAGE_B)
    lead = await day.lead()
    site = shared_site(a)
    photo = a.add_photo(site, b"\xff\xd8 a picture")
    await sync(a, lead)
    lead.edit(site, {"unit": VILLAGE_B})
    await sync(lead, there, a)
    assert seen(there, photo).parent == site
    assert hidden(a, site)
    assert hidden(a, photo)
    agreed(a)
    agreed(there)
    agreed(lead)


# ---------------------------------------------------------------------------------------------- 10: wrong clocks


async def test_a_clock_wrong_by_two_days_changes_nothing(day: Day) -> None:
    """Promise 8. Edits made one after the other give the later one, whatever the clocks say."""
    two_days = 2 * 24 * 3600 * 1000
    ahead = await day.member("甲", clock=SimulatedClock(lambda: int(day.world.time.timestamp() * 1000), offset_ms=two_days))
    behind = await day.member("乙", clock=SimulatedClock(lambda: int(day.world.time.timestamp() * 1000), offset_ms=-two_days))
    lead = await day.lead()
    site = shared_site(ahead)
    first = ahead.edit(site, {"note": "上午的说法"})
    await sync(ahead, behind)
    day.at(60)
    second = behind.edit(site, {"note": "下午的说法"})
    await sync(behind, ahead, lead)
    assert result(ahead, first) == result(behind, second) == (Outcome.APPLIED, OK)
    assert body(ahead, site)["note"] == body(lead, site)["note"] == "下午的说法"
    assert lead.conflicts() == []


async def test_capture_is_known_to_the_minute_whatever_the_wall_clock_says(day: Day) -> None:
    """Promise 8. In one clock session elapsed time is exact."""
    a = await day.member("甲", clock=SimulatedClock(lambda: int(day.world.time.timestamp() * 1000), offset_ms=-172_800_000))
    await sync(a)
    day.at(90)
    shared_site(a)
    day.at(600)
    await sync(a)
    row = await day.world.pool.fetchrow("SELECT captured_from, captured_to FROM journal WHERE what = 'mutation'")
    day.at(90)
    assert (row["captured_from"], row["captured_to"]) == (day.world.time, day.world.time)


# ---------------------------------------------------------------------------------------------- 11: the same thing twice


async def test_the_same_problem_reported_from_two_phones_is_kept_twice_and_linked(day: Day) -> None:
    """Promise 3. Suspected duplicates name each other; a person decides."""
    a, b = await day.two()
    report = {"unit": VILLAGE_A, "subject": "open_burning", "source": "patrol", "title": "田边焚烧秸秆"}
    near = {**PLACE, "lat": PLACE["lat"] + 0.0003}  # 33 m
    by_a = a.create("problem", COUNTY, {**report, "position": PLACE})
    by_b = b.create("problem", COUNTY, {**report, "position": near})
    elsewhere = b.create("problem", COUNTY, {**report, "position": {**PLACE, "lat": PLACE["lat"] + 0.01}})
    await sync(a, b, a)
    for phone in (a, b):
        assert body(phone, by_a)["suspected_duplicates"] == [str(by_b)]
        assert body(phone, by_b)["suspected_duplicates"] == [str(by_a)]
        assert not body(phone, elsewhere).get("suspected_duplicates")
    agreed(a, b)


# ---------------------------------------------------------------------------------------------- 12: one account, two phones


async def test_one_account_on_two_phones_is_two_devices(day: Day) -> None:
    """Promises 2 and 4. Neither phone's numbers disturb the other's; what one person typed twice is still a conflict."""
    person = await day.world.person("甲", (Role.GRID_MEMBER, VILLAGE_A))
    first, second = await day.world.phone(person), await day.world.phone(person)
    lead = await day.lead()
    site = shared_site(first)
    await sync(first, second)
    first.edit(site, {"contact": "张三", "contact_phone": "13900000001"})
    second.edit(site, {"contact": "李四", "note": "第二台手机"})
    await sync(first, second, first, lead)
    for phone in (first, second):
        assert body(phone, site)["contact"] == "李四"
        assert body(phone, site)["contact_phone"] == "13900000001"
        assert body(phone, site)["note"] == "第二台手机"
    assert only_conflict(lead).body["lost"] == "张三"
    agreed(first, second)
