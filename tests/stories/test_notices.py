"""Letters to units and roles: each unit its copy, each person their own signature, and the list of who has not signed."""

import uuid
from datetime import timedelta
from typing import Any

from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from phone.phone import Phone
from tests.api.casework import call, read
from tests.stories.day import Day, body, result, sync
from tests.world import COUNTY, MORNING, TOWNSHIP, VILLAGE_A, VILLAGE_B

APPLIED = (Outcome.APPLIED, "ok")


async def send(day: Day, phone: Phone, units: list[str], *, letter: uuid.UUID | None = None, **more: Any) -> Any:
    data = {"letter": str(letter or uuid.uuid4()), "from_unit": TOWNSHIP, "units": units, "title": "关于禁烧的通知"} | more
    return await call(day.world, phone, "POST", "/office/v1/letters", json=data)


def names(people: list[dict[str, Any]]) -> list[str]:
    return sorted(p["name"] for p in people)


async def test_the_list_says_who_has_not_signed(day: Day) -> None:
    lead, letter = await day.lead(), uuid.uuid4()
    a, b = await day.member("甲"), await day.member("乙", VILLAGE_B)
    await day.member("丙")  # has never switched the phone on
    sent = await send(day, lead, [VILLAGE_A, VILLAGE_B], letter=letter, needs_acknowledgement=True)
    assert [row["outcome"] for row in sent.json()] == ["applied", "applied"]
    await sync(a, b)
    (notice,) = a.records("notice")
    signed = a.command(notice.id, "notice.acknowledge")
    await sync(a)
    assert result(a, signed) == APPLIED
    copies = {c["unit"]: c for c in (await read(day.world, lead, f"/office/v1/letters/{letter}"))["copies"]}
    assert (names(copies[VILLAGE_A]["acknowledged"]), names(copies[VILLAGE_A]["missing"])) == (["甲"], ["丙"])
    assert (names(copies[VILLAGE_B]["acknowledged"]), names(copies[VILLAGE_B]["missing"])) == ([], ["乙"])


async def test_nobody_signs_for_another(day: Day) -> None:
    lead, a = await day.lead(), await day.member("甲")
    await send(day, lead, [VILLAGE_A], needs_acknowledgement=True)
    await sync(a, lead)
    (notice,) = a.records("notice")
    for_another = a.edit(notice.id, {"acknowledged_by": [str(uuid.uuid4())]})
    from_above = lead.command(notice.id, "notice.acknowledge")
    await sync(a, lead)
    assert result(a, for_another) in ((Outcome.REJECTED, Reason.READ_ONLY_FIELD.value), (Outcome.REJECTED, Reason.NOT_YOUR_ROLE.value))
    assert result(lead, from_above) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    assert body(a, notice.id)["acknowledged_by"] == []


async def test_two_sign_offline_and_both_count(day: Day) -> None:
    lead, letter = await day.lead(), uuid.uuid4()
    a, b = await day.two()
    await send(day, lead, [VILLAGE_A], letter=letter, needs_acknowledgement=True)
    await sync(a, b)
    for phone in (a, b):
        phone.command(phone.records("notice")[0].id, "notice.acknowledge")
    await sync(b, a)
    (copy,) = (await read(day.world, lead, f"/office/v1/letters/{letter}"))["copies"]
    assert (names(copy["acknowledged"]), copy["missing"]) == (["乙", "甲"], [])


async def test_who_leaves_has_signed_and_who_comes_is_asked(day: Day) -> None:
    lead, letter = await day.lead(), uuid.uuid4()
    leaver = await day.world.person("走的人", (Role.GRID_MEMBER, VILLAGE_A))
    phone = await day.world.phone(leaver)
    await send(day, lead, [VILLAGE_A], letter=letter, needs_acknowledgement=True, acknowledge_by=(MORNING + timedelta(hours=1)).isoformat())
    await sync(phone)
    day.at(30)
    signed = phone.command(phone.records("notice")[0].id, "notice.acknowledge")  # without signal
    day.at(60)
    await day.world.pool.execute("UPDATE duty SET ends = $2 WHERE person = $1", leaver.id, day.world.time)
    newcomer = await day.world.person("来的人")
    await day.world.duty(newcomer, Role.GRID_MEMBER, VILLAGE_A, day.world.time)
    day.at(90)
    await sync(phone, lead)
    assert result(phone, signed)[0] is Outcome.APPLIED
    (copy,) = (await read(day.world, lead, f"/office/v1/letters/{letter}"))["copies"]
    assert (names(copy["acknowledged"]), names(copy["missing"])) == (["走的人"], ["来的人"])


async def test_a_signature_says_when_and_whether_it_was_late(day: Day) -> None:
    lead, letter = await day.lead(), uuid.uuid4()
    a, b = await day.two()
    await send(
        day, lead, [VILLAGE_A], letter=letter, needs_acknowledgement=True, acknowledge_by=(MORNING + timedelta(minutes=20)).isoformat()
    )
    await sync(a, b)
    day.at(10)
    a.command(a.records("notice")[0].id, "notice.acknowledge")
    day.at(25)
    b.command(b.records("notice")[0].id, "notice.acknowledge")
    await sync(b, a, lead)
    (copy,) = (await read(day.world, lead, f"/office/v1/letters/{letter}"))["copies"]
    assert [(p["name"], p["signed_at"], p["late"]) for p in copy["acknowledged"]] == [
        ("甲", (MORNING + timedelta(minutes=10)).isoformat().replace("+00:00", "Z"), False),
        ("乙", (MORNING + timedelta(minutes=25)).isoformat().replace("+00:00", "Z"), True),
    ]


async def test_an_ended_duty_signs_for_nothing(day: Day) -> None:
    """Moved up to the township: over the village by duty, and not of it any more."""
    lead, letter = await day.lead(), uuid.uuid4()
    person = await day.world.person("调走的人", (Role.TOWNSHIP_STAFF, TOWNSHIP))
    await day.world.duty(person, Role.GRID_MEMBER, VILLAGE_A, MORNING - timedelta(days=90), MORNING - timedelta(days=30))
    phone = await day.world.phone(person)
    await send(day, lead, [VILLAGE_A], letter=letter, needs_acknowledgement=True)
    await sync(phone)
    signed = phone.command(phone.records("notice")[0].id, "notice.acknowledge")
    await sync(phone)
    assert result(phone, signed) == (Outcome.REJECTED, Reason.INCOMPLETE.value)


async def test_only_the_sender_takes_a_letter_back_and_nobody_rewrites_it(day: Day) -> None:
    county = await day.world.phone(await day.world.person("县督办", (Role.COUNTY_SUPERVISOR, str(COUNTY))))
    lead = await day.lead()
    sent = await send(day, county, [TOWNSHIP], from_unit=str(COUNTY), needs_acknowledgement=True, text="限期整改")
    assert [row["outcome"] for row in sent.json()] == ["applied"]
    await sync(lead, county)
    (notice,) = lead.records("notice")
    attempts = [
        lead.command(notice.id, "notice.withdraw", args={"reason": "不想要"}),
        lead.edit(notice.id, {"text": "无需整改"}),
        lead.delete(notice.id),
    ]
    await sync(lead)
    assert [result(lead, one)[0] for one in attempts] == [Outcome.REJECTED] * 3
    rewritten = county.edit(notice.id, {"text": "另一个期限"})
    await sync(county)
    assert result(county, rewritten)[0] is Outcome.REJECTED
    assert (body(county, notice.id)["text"], body(county, notice.id)["state"]) == ("限期整改", "published")
    taken_back = county.command(notice.id, "notice.withdraw", args={"reason": "文号有误"})
    await sync(county)
    assert result(county, taken_back) == APPLIED


async def test_nobody_sends_in_the_name_of_another_unit(day: Day) -> None:
    lead = await day.lead()
    lead.create("notice", COUNTY, {"unit": VILLAGE_A, "title": "县里来函", "sent_by_unit": str(COUNTY)})
    await sync(lead)
    assert await day.world.pool.fetchval("SELECT count(*) FROM record WHERE kind = 'notice'") == 0


async def test_a_notice_withdrawn_before_it_was_read_is_still_signed_for_and_waits_for_nobody(day: Day) -> None:
    lead, member, letter = await day.lead(), await day.member("甲"), uuid.uuid4()
    await day.member("乙")
    await send(day, lead, [VILLAGE_A], letter=letter, needs_acknowledgement=True)
    await sync(member, lead)
    (notice,) = member.records("notice")
    signed = member.command(notice.id, "notice.acknowledge")
    lead.command(notice.id, "notice.withdraw", args={"reason": "文号有误"})
    await sync(lead, member)
    assert result(member, signed)[0] in (Outcome.APPLIED, Outcome.MERGED)
    (copy,) = (await read(day.world, lead, f"/office/v1/letters/{letter}"))["copies"]
    assert (copy["state"], names(copy["acknowledged"]), copy["missing"]) == ("withdrawn", ["甲"], [])


async def test_the_ledger_shows_letters_that_nobody_signed_for(day: Day) -> None:
    lead, member, letter = await day.lead(), await day.member("甲"), uuid.uuid4()
    until = (MORNING + timedelta(minutes=10)).isoformat()
    await send(day, lead, [VILLAGE_A, VILLAGE_B], letter=letter, needs_acknowledgement=True, acknowledge_by=until)
    await send(day, lead, [VILLAGE_A], title="只供参考")

    async def units(**wanted: str) -> list[str]:
        page = await read(day.world, lead, "/office/v1/ledgers/notices", **wanted)
        return sorted(row["unit"] for row in page["rows"])

    assert await units(is_open="true") == await units(letter=str(letter)) == [VILLAGE_A, VILLAGE_B]
    await sync(member)
    member.command(next(n.id for n in member.records("notice") if n.body.get("letter") == str(letter)), "notice.acknowledge")
    await sync(member)
    day.at(15)
    await sync(lead)
    assert await units(overdue="true") == [VILLAGE_B]


async def test_a_letter_stands_in_the_story_of_what_it_is_about(day: Day) -> None:
    lead, member = await day.lead(), await day.member("甲")
    problem = member.create("problem", COUNTY, {"unit": VILLAGE_A, "subject": "construction_dust", "title": "渣土"})
    await sync(member)
    await send(day, lead, [VILLAGE_A], subject_record=str(problem), category="reminder", title="提醒函")
    story = await read(day.world, lead, f"/office/v1/records/{COUNTY}/{problem}")
    assert [one["body"]["title"] for one in story["notices"]] == ["提醒函"]


async def test_a_letter_asks_nobody_to_sign_who_cannot(day: Day) -> None:
    lead = await day.lead()
    assert (await send(day, lead, [VILLAGE_A], needs_acknowledgement=True, roles=["auditor"])).status_code == 422


async def test_a_letter_to_a_role_is_signed_by_that_role(day: Day) -> None:
    lead, letter = await day.lead(), uuid.uuid4()
    member = await day.member("网格员")
    head = await day.world.phone(await day.world.person("村支书", (Role.VILLAGE_LEAD, VILLAGE_A)))
    await send(day, lead, [VILLAGE_A], letter=letter, needs_acknowledgement=True, roles=["village_lead"])
    await sync(member, head)
    (notice,) = member.records("notice")
    wrong = member.command(notice.id, "notice.acknowledge")
    head.command(notice.id, "notice.acknowledge")
    await sync(member, head)
    assert result(member, wrong) == (Outcome.REJECTED, Reason.INCOMPLETE.value)
    (copy,) = (await read(day.world, lead, f"/office/v1/letters/{letter}"))["copies"]
    assert (names(copy["acknowledged"]), copy["missing"]) == (["村支书"], [])


async def test_a_repeated_letter_is_one_letter(day: Day) -> None:
    lead, letter = await day.lead(), uuid.uuid4()
    member = await day.member()
    for _ in range(2):
        assert (await send(day, lead, [VILLAGE_A], letter=letter)).status_code == 200
    await sync(member)
    assert len(member.records("notice")) == 1
    assert (await send(day, lead, [VILLAGE_A], letter=letter, text="另一个内容")).status_code == 409


async def test_a_withdrawn_notice_stays_readable_with_the_reason(day: Day) -> None:
    lead, member = await day.lead(), await day.member()
    await send(day, lead, [VILLAGE_A])
    await sync(lead, member)
    (notice,) = lead.records("notice")
    lead.command(notice.id, "notice.withdraw", args={"reason": "文号有误"})
    await sync(lead, member)
    assert body(member, notice.id)["state"] == "withdrawn"
    assert body(member, notice.id)["steps"][-1]["args"] == {"reason": "文号有误"}


async def test_letters_go_and_are_seen_within_duties_only(day: Day) -> None:
    lead, member, letter = await day.lead(), await day.member(), uuid.uuid4()
    stranger = await day.world.phone(await day.world.person("外县", (Role.TOWNSHIP_LEAD, "610921100")))
    assert (await send(day, lead, ["610921100"])).status_code == 403
    assert (await send(day, member, [VILLAGE_A])).status_code == 403
    await send(day, lead, [VILLAGE_A], letter=letter)
    for phone in (stranger, member):
        assert (await call(day.world, phone, "GET", f"/office/v1/letters/{letter}")).status_code == 404
