"""Letters to units and roles: each unit its copy, each person their own signature, and the list of who has not signed."""

import uuid
from typing import Any

from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from phone.phone import Phone
from tests.api.casework import call, read
from tests.stories.day import Day, body, result, sync
from tests.world import TOWNSHIP, VILLAGE_A, VILLAGE_B

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
