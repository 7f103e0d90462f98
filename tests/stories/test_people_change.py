"""Duties begin and end, phones are lost, apps are older or newer than the server: the work stays."""

from datetime import timedelta
from uuid import uuid4

from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from phone.exchange import Ended
from phone.phone import Phone
from phone.store import fetch_meta
from tests.stories.day import SITE, Day, agreed, body, hidden, result, seen, shared_site, sync
from tests.world import COUNTY, MORNING, VILLAGE_A, VILLAGE_B, Person


async def _someone(day: Day) -> tuple[Person, Phone]:
    person = await day.world.person("甲", (Role.GRID_MEMBER, VILLAGE_A))
    return person, await day.world.phone(person)


async def _end_duty(day: Day, person: Person, minutes: float) -> None:
    ends = MORNING + timedelta(minutes=minutes)
    await day.world.pool.execute("UPDATE duty SET ends = $2 WHERE person = $1", person.id, ends)


# ---------------------------------------------------------------------------------------------- duties


async def test_work_done_before_the_duty_ended_is_accepted_after_it(day: Day) -> None:
    """Promise 3. Judged by the moment of capture, not of arrival."""
    person, a = await _someone(day)
    lead = await day.lead()
    await sync(a)
    day.at(60)
    site = shared_site(a)
    await _end_duty(day, person, 120)
    day.at(240)
    assert (await a.sync()).ended is Ended.COMPLETE
    await sync(lead)
    assert body(lead, site)["name"] == SITE["name"]


async def test_work_done_after_the_duty_ended_waits_for_the_desk(day: Day) -> None:
    """Promises 3 and 6. It is quarantined, and its author learns how it ended although they have no duty any more."""
    person, a = await _someone(day)
    await sync(a)
    await _end_duty(day, person, 30)
    day.at(60)
    shared_site(a)
    day.at(90)
    await sync(a)
    (waiting,) = a.waiting()
    assert (waiting.outcome, waiting.reason) == (Outcome.QUARANTINED, Reason.NO_DUTY.value)
    lead = await day.lead()
    await _decide(day, lead, "release")
    await sync(a, lead)
    assert a.waiting() == []
    assert [view.body["name"] for view in lead.records("site")] == [SITE["name"]]


async def test_work_before_a_reboot_is_dated_by_the_session_of_an_earlier_exchange(day: Day) -> None:
    """Promise 8. The morning's exchange knew that session, so the hour is exact, and within the duty."""
    person, a = await _someone(day)
    lead = await day.lead()
    shared_site(a, name="早上")
    await sync(a)
    day.at(20)
    site = shared_site(a)
    a.clock.reboot()  # type: ignore[attr-defined]
    await _end_duty(day, person, 30)
    day.at(60)
    await sync(a, lead)
    row = await day.world.pool.fetchrow("SELECT detail, captured_from, captured_to FROM journal WHERE record = $1", site)
    assert row["detail"] is None
    assert row["captured_from"] == row["captured_to"] == MORNING + timedelta(minutes=20)


async def test_work_after_a_reboot_without_any_contact_is_accepted_and_flagged(day: Day) -> None:
    """Promise 8. Neither session was ever seen by the server but the present one."""
    person, a = await _someone(day)
    lead = await day.lead()
    await sync(a)
    a.clock.reboot()  # type: ignore[attr-defined]
    day.at(20)
    site = shared_site(a)
    a.clock.reboot()  # type: ignore[attr-defined]
    await _end_duty(day, person, 30)
    day.at(60)
    await sync(a, lead)
    assert body(lead, site)["name"] == SITE["name"]
    detail = await day.world.pool.fetchval("SELECT detail::text FROM journal WHERE record = $1", site)
    assert detail == '{"duty":"partial"}'


async def test_after_a_reboot_around_the_end_own_work_is_taken_and_what_others_made_waits(day: Day) -> None:
    """Promises 3 and 8. Nobody knows whether it was before noon: own inspections and photos do not wait, others' records do."""
    person, a = await _someone(day)
    lead = await day.lead()
    theirs = shared_site(lead, name="别人的")
    await sync(lead, a)
    a.clock.reboot()  # type: ignore[attr-defined]
    day.at(20)
    mine = shared_site(a)
    a.edit(mine, {"note": "东侧"})
    photo = a.add_photo(theirs, b"\xff\xd8 a picture")
    edit = a.edit(theirs, {"note": "改别人的"})
    a.clock.reboot()  # type: ignore[attr-defined]
    await _end_duty(day, person, 30)
    day.at(60)
    await sync(a, lead)
    assert body(lead, mine)["note"] == "东侧"
    assert body(lead, photo)["parent"] == str(theirs)
    assert result(a, edit) == (Outcome.QUARANTINED, Reason.DUTY_UNCERTAIN.value)
    assert body(lead, theirs).get("note") != "改别人的"
    await _decide(day, lead, "release")
    await sync(lead)
    assert body(lead, theirs)["note"] == "改别人的"


async def test_a_phone_that_was_enrolled_after_the_duty_ended_has_nothing_of_its_time(day: Day) -> None:
    """A new store and an unknown session: capture is not before the enrolment, however early the phone says it was."""
    person, a = await _someone(day)
    lead = await day.lead()
    theirs = shared_site(lead, name="别人的")
    await sync(lead, a)
    await _end_duty(day, person, 30)
    day.at(60)
    late = await day.world.phone(person)
    mine = shared_site(late, name="新机上写的")
    late.clock.reboot()  # type: ignore[attr-defined]
    day.at(90)
    await sync(late)
    assert [(one.outcome, one.reason) for one in late.waiting()] == [(Outcome.QUARANTINED, Reason.NO_DUTY.value)]
    await sync(lead)
    assert lead.view(mine) is None
    assert body(lead, theirs)["name"] == "别人的"


async def test_logging_in_again_leaves_what_was_captured_before_on_the_same_store(day: Day) -> None:
    """Promise 3. What counts is when the store was enrolled first, not its last log-in."""
    person, a = await _someone(day)
    lead = await day.lead()
    await sync(a)
    day.at(20)
    site = shared_site(a)
    await _end_duty(day, person, 30)
    day.at(60)
    await a.account.enrol(person.number, "correct horse", person.name)
    await sync(a, lead)
    row = await day.world.pool.fetchrow("SELECT detail, captured_from, captured_to FROM journal WHERE record = $1", site)
    assert tuple(row) == (None, MORNING + timedelta(minutes=20), MORNING + timedelta(minutes=20))


async def test_a_reassignment_at_noon_delivers_the_mornings_work_before_the_village_is_left(day: Day) -> None:
    """Promise 6. The old village goes with a barrier: own work first, then its records; the new village comes."""
    person, a = await _someone(day)
    colleague = await day.member("乙")
    there = await day.member("丙", VILLAGE_B)
    elsewhere = shared_site(there, name="乙村工地", unit=VILLAGE_B)
    await sync(a, colleague, there)
    day.at(60)
    site = shared_site(a)
    day.at(180)
    await _end_duty(day, person, 120)
    await day.world.duty(person, Role.GRID_MEMBER, VILLAGE_B, MORNING + timedelta(minutes=120))
    await sync(a, colleague)
    assert body(colleague, site)["name"] == SITE["name"]
    assert hidden(a, site)
    assert body(a, elsewhere)["name"] == "乙村工地"
    assert not any(stream.name.startswith(VILLAGE_A) for stream in a.streams())
    agreed(a, there)


async def test_a_device_receives_only_what_its_person_may_see(day: Day) -> None:
    """Promise 6."""
    a = await day.member("甲")
    there = await day.member("丙", VILLAGE_B)
    ours, theirs = shared_site(a), shared_site(there, unit=VILLAGE_B)
    await sync(a, there, a, there)
    assert a.view(theirs) is None
    assert there.view(ours) is None


async def test_a_role_that_may_not_is_told_who_may(day: Day) -> None:
    a = await day.member()
    site = shared_site(a)
    await sync(a)
    deletion = a.delete(site)
    await sync(a)
    assert result(a, deletion) == (Outcome.REJECTED, Reason.NOT_YOUR_ROLE.value)
    pending = a.find(deletion)
    assert pending is not None
    assert pending.detail is not None
    assert "township_lead" in pending.detail["by"]
    assert not seen(a, site).deleted


# ---------------------------------------------------------------------------------------------- lost phones


async def test_a_lost_phone_hands_in_its_work_and_deletes_itself(day: Day) -> None:
    """Promises 3 and 6. Everything goes to quarantine; no record is told to it; then nothing is left on it."""
    _, a = await _someone(day)
    b = await day.member("乙")
    before = shared_site(b, name="别人的")
    await sync(b, a)
    mine = shared_site(a, name="丢机前写的")
    await day.world.pool.execute("UPDATE device SET wiped_at = $2 WHERE id = $1", a.account.device, day.world.time)
    ended = (await a.sync()).ended
    assert ended is Ended.WIPED
    assert a.view(before) is None
    assert a.view(mine) is None
    assert await day.journal_raw("丢机前写的") == 1
    assert await day.held() == [("quarantined", "device_wiped")]


# ---------------------------------------------------------------------------------------------- app versions


async def test_an_app_too_new_is_told_so_and_its_work_is_kept(day: Day) -> None:
    """Promise 3."""
    await _foreign_app(day, 99, Reason.CONTRACT_TOO_NEW)


async def test_an_app_too_old_is_told_so_and_its_work_is_kept(day: Day) -> None:
    """Promise 3."""
    await _foreign_app(day, 0, Reason.CONTRACT_TOO_OLD)


async def _foreign_app(day: Day, contract: int, reason: Reason) -> None:
    a = await day.member("甲", contract=contract)
    lead = await day.lead()
    site = shared_site(a, name="别的版本写的")
    photo = a.add_photo(site, b"\xff\xd8 a picture")
    synced = await a.sync()
    assert synced.problem == reason.value
    assert synced.unsent == 0
    assert await day.journal_raw("别的版本写的") == 1
    assert {r for _, r in await day.held()} <= {reason.value, Reason.WAITS_FOR.value}
    assert await day.world.pool.fetchval("SELECT photo FROM blob_announcement") == photo  # its bytes may come
    await _decide(day, lead, "release")
    await sync(lead)
    assert body(lead, site)["name"] == "别的版本写的"


async def _decide(day: Day, lead: Phone, action: str) -> None:
    """The office settles every held mutation, over HTTP, in the order it was made."""
    token = fetch_meta(lead.store.db, "access")
    headers = {"authorization": f"Bearer {token}"}
    client = day.world.client
    page = await client.get("/office/v1/held", headers=headers, params={"county": COUNTY})
    assert page.status_code == 200, page.text
    for item in page.json()["items"]:
        path = f"/office/v1/held/{item['county']}/{item['device']}/{item['n']}/{action}"
        answer = await client.post(path, headers=headers, json={"note": "核实无误"})
        assert answer.status_code == 200, (path, answer.text)


# ---------------------------------------------------------------------------------------------- other counties


async def test_work_for_a_county_this_server_does_not_have_stays_on_the_phone(day: Day) -> None:
    """Promise 1. It is not acknowledged, and it blocks nothing of the other counties."""
    a = await day.member()
    a.create("site", 999999, {**SITE, "unit": "999999001001"})
    here = shared_site(a)
    synced = await a.sync()
    assert synced.ended is Ended.STALLED
    assert synced.unsent == 1
    assert not seen(a, here).unsent


async def test_a_unit_of_another_county_is_held(day: Day) -> None:
    """Promise 3."""
    a = await day.member()
    a.create("site", COUNTY, {**SITE, "unit": "610921100001"})
    await sync(a)
    assert await day.held() == [("quarantined", "wrong_county")]


async def test_a_mistyped_unit_makes_no_stream(day: Day) -> None:
    """Promise 3. The work is on the desk; the place that does not exist stays nowhere."""
    member = await day.member()
    member.create("site", COUNTY, SITE | {"unit": "nowhere"})
    await member.sync()
    assert await day.held() == [("quarantined", Reason.UNKNOWN_UNIT.value)]
    assert await day.world.pool.fetchval("SELECT count(*) FROM stream_head WHERE stream LIKE 'nowhere%'") == 0


async def test_both_copies_of_a_cloned_phone_still_hand_in_what_they_hold(day: Day) -> None:
    """Promise 3. The numbers are spent, so it goes to the desk; nothing comes down, and a new store must be enrolled."""
    person, a = await _someone(day)
    await sync(a)
    copy = await day.world.phone(person)
    with copy.store.transaction("cloned") as db:
        for name, value in a.store.db.execute("SELECT name, value FROM meta"):
            db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))
    shared_site(a, name="原机一")
    shared_site(copy, name="副本一")
    await a.sync()
    await copy.sync()
    for name, number in (("原机二", 2), ("原机三", 3)):
        raw = {"id": str(uuid4()), "n": number, "kind": "site", "record": str(uuid4()), "op": "create", "contract": 1}
        raw |= {"at": {"wall_ms": 1, "mono_ms": 1, "session": "s"}, "body": SITE | {"name": name}}
        part = {"n_made": number, "n_oldest_held": number, "first_n": number, "mutations": [raw]}
        request = {"device": str(a.account.device), "contract": 1, "clock": raw["at"], "counties": {str(COUNTY): part}}
        token = a.store.db.execute("SELECT value FROM meta WHERE name = 'access'").fetchone()[0]
        answer = await day.world.client.post("/sync/v1/exchange", json=request, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        assert '"frame":"page"' not in answer.text
        assert "device_cloned" in answer.text
    held = [text for text in ("副本一", "原机二", "原机三") if await day.journal_raw(text) == 1]
    assert held == ["副本一", "原机二", "原机三"]
    me = await day.world.client.get("/people/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert (me.status_code, me.json()["code"]) == (403, "device_revoked")
