"""线索移交、案件移送: a record of its own beside the problem, which only supervisors see; it closes nothing."""

from typing import Any
from uuid import uuid4

import pytest

from contracts.ids import RecordId, projection_id
from contracts.outcomes import Outcome, Reason
from contracts.people import Level, Role, Unit
from phone.phone import Phone
from storage.office_push import draft, system_push
from storage.units import upsert_units
from tests.api.casework import read
from tests.stories.day import Day, body, result, seen, sync
from tests.stories.test_problem import assigned
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP

WATER = "610902-water_bureau"


async def supervisor_of(day: Day) -> Phone:
    return await day.world.phone(await day.world.person("县督办", (Role.COUNTY_SUPERVISOR, "610902")))


@pytest.mark.parametrize("flow", ["accountability_clue", "criminal_case", "public_interest_litigation", "enforcement_info"])
async def test_a_transfer_goes_its_way_and_the_problem_stays_what_it_was(day: Day, flow: str) -> None:
    case = await assigned(day)
    supervisor = await supervisor_of(day)
    clue = {"unit": "610902", "flow": flow, "receiver": "discipline_commission", "title": "线索甲", "problem": str(case.problem)}
    transfer = supervisor.create("transfer", COUNTY, clue)
    for op, values in (
        ("transfer.approve", None),
        ("transfer.send", None),
        ("transfer.receive", {"receipt_number": "安纪 2026-7"}),
        ("transfer.return_result", {"result": "已立案"}),
    ):
        made = supervisor.command(transfer, op, values)
        await sync(supervisor)
        assert result(supervisor, made) == (Outcome.APPLIED, "ok")
    assert body(supervisor, transfer)["state"] == "result_returned"
    await case.all_sync()
    assert case.state == "assigned"


async def test_township_department_and_village_never_see_a_clue(day: Day) -> None:
    case = await assigned(day)
    supervisor = await supervisor_of(day)
    clue = {"unit": TOWNSHIP, "flow": "accountability_clue", "receiver": "discipline_commission", "title": "失职线索"}
    supervisor.create("transfer", COUNTY, clue | {"problem": str(case.problem)})
    await sync(supervisor)
    await case.all_sync()
    for phone in (case.member, case.lead, case.handler):
        assert phone.records("transfer") == []
        assert not any(stream.name.endswith(".case") for stream in phone.streams())


async def test_a_township_does_not_make_one(day: Day) -> None:
    lead = await day.lead()
    clue = {"unit": TOWNSHIP, "flow": "criminal_case", "receiver": "public_security_bureau", "title": "不该有"}
    transfer = lead.create("transfer", COUNTY, clue)
    await sync(lead)
    assert [(p.outcome, p.reason) for p in lead.refused()] == [(Outcome.REJECTED, Reason.NOT_YOUR_ROLE.value)]
    assert await day.world.pool.fetchval("SELECT count(*) FROM record WHERE id = $1", transfer) == 0


async def test_a_step_out_of_order_is_refused_with_what_is_allowed(day: Day) -> None:
    supervisor = await supervisor_of(day)
    clue = {"unit": "610902", "flow": "criminal_case", "receiver": "public_security_bureau", "title": "线索"}
    transfer = supervisor.create("transfer", COUNTY, clue)
    made = supervisor.command(transfer, "transfer.send")
    await sync(supervisor)
    assert result(supervisor, made) == (Outcome.REJECTED, Reason.NOT_ALLOWED_NOW.value)
    detail = supervisor.refused()[0].detail
    assert detail["state"] == "proposed"
    assert set(detail["allowed"]) == {"transfer.approve", "transfer.decline", "transfer.comment"}


async def test_what_few_may_see_is_not_archived_where_more_may(day: Day) -> None:
    """An archive has more readers than a clue: whatever its age, it stays where it is."""
    supervisor = await supervisor_of(day)
    clue = {"unit": "610902", "flow": "criminal_case", "receiver": "public_security_bureau", "title": "线索"}
    transfer = supervisor.create("transfer", COUNTY, clue)
    await sync(supervisor)
    reference = await day.world.app.state.resources.units.reference()
    base = seen(supervisor, transfer).version
    archive = draft(kind="transfer", record=transfer, op="record.archive", now=day.world.time, mutation=uuid4(), base=base)
    done = await system_push(day.world.pool, reference, COUNTY, [archive], day.world.time)
    assert done.outcomes[0].outcome is Outcome.REJECTED
    await sync(supervisor)
    assert body(supervisor, transfer)["title"] == "线索"


@pytest.mark.parametrize("flow", ["accountability_clue", "criminal_case", "public_interest_litigation"])
async def test_a_department_has_nothing_to_do_with_the_three_flows_of_supervisors(day: Day, flow: str) -> None:
    lead = await day.world.phone(await day.world.person("局长", (Role.DEPARTMENT_LEAD, DEPARTMENT)))
    made = lead.create("transfer", COUNTY, {"unit": DEPARTMENT, "flow": flow, "receiver": "public_security_bureau", "title": "越权"})
    await sync(lead)
    (refused,) = lead.refused()
    assert (refused.reason, refused.detail["by"]) == (Reason.NOT_YOUR_ROLE.value, ["city_supervisor", "county_supervisor"])
    assert await day.world.pool.fetchval("SELECT count(*) FROM record WHERE id = $1", made) == 0


async def test_enforcement_information_is_a_departments_own_and_its_offices(day: Day) -> None:
    lead = await day.world.phone(await day.world.person("局长", (Role.DEPARTMENT_LEAD, DEPARTMENT)))
    staff = await day.world.phone(await day.world.person("经办", (Role.DEPARTMENT_STAFF, DEPARTMENT)))
    member, township, supervisor = await day.member(), await day.lead(), await supervisor_of(day)
    info = {"unit": DEPARTMENT, "flow": "enforcement_info", "receiver": "forestry_bureau", "title": "执法信息"}
    transfer = staff.create("transfer", COUNTY, info)
    await sync(staff, lead)
    for op in ("transfer.approve", "transfer.send"):
        made = lead.command(transfer, op)
        await sync(lead)
        assert result(lead, made) == (Outcome.APPLIED, "ok")
    await sync(staff, supervisor, member, township)
    assert body(staff, transfer)["state"] == body(supervisor, transfer)["state"] == "sent"
    assert member.records("transfer") == township.records("transfer") == []


class Between:
    """Enforcement information of the housing bureau for the water bureau, which it was sent to."""

    def __init__(self, sender: Phone, receiver: Phone, handler: Phone, transfer: RecordId) -> None:
        self.sender, self.receiver, self.handler, self.transfer = sender, receiver, handler, transfer
        self.handover = projection_id(transfer, WATER)

    async def does(self, phone: Phone, record: RecordId, op: str, values: dict[str, str] | None = None, **args: str) -> tuple[Any, Any]:
        made = phone.command(record, op, values, args=args)
        await sync(phone)
        await sync(self.sender, self.receiver, self.handler)
        return result(phone, made)


async def between(day: Day, receiver: str = "water_bureau", **more: str) -> Between:
    async with day.world.pool.acquire() as conn:
        await upsert_units(conn, [Unit(code=WATER, county=COUNTY, parent="610902", level=Level.DEPARTMENT, name="区水利局")])
    sender = await day.world.phone(await day.world.person("住建局长", (Role.DEPARTMENT_LEAD, DEPARTMENT)))
    water = await day.world.phone(await day.world.person("水利局长", (Role.DEPARTMENT_LEAD, WATER)))
    handler = await day.world.phone(await day.world.person("水利经办", (Role.DEPARTMENT_STAFF, WATER)))
    info = {"unit": DEPARTMENT, "flow": "enforcement_info", "receiver": receiver, "title": "擅自改变河道", "text": "见附照"} | more
    transfer = sender.create("transfer", COUNTY, info)
    sender.add_photo(transfer, b"river", purpose="evidence")
    sender.command(transfer, "transfer.approve", args={"note": "内部意见"})
    await sync(sender, water, handler)
    assert water.records("handover") == [], "what was not sent is the sender's alone"
    return Between(sender, water, handler, transfer)


async def test_enforcement_information_reaches_the_department_it_is_for_which_signs_and_answers(day: Day) -> None:
    case = await between(day)
    assert await case.does(case.sender, case.transfer, "transfer.send") == (Outcome.APPLIED, "ok")
    shown = body(case.handler, case.handover)
    assert (shown["title"], shown["state"], shown["transfer_unit_name"]) == ("擅自改变河道", "sent", "区住建局")
    assert [p.body["mirror_of"] for p in case.handler.children(case.handover)] == [str(p.id) for p in case.sender.children(case.transfer)]
    assert "内部意见" not in str(shown)
    offline = case.handler.command(case.handover, "transfer.receive", {"receipt_number": "水执 2026-3"})
    answer = case.handler.command(case.handover, "transfer.return_result", {"result": "已立案查处"})
    case.handler.add_photo(case.handover, b"restored", purpose="after")
    await sync(case.handler, case.sender, case.receiver)
    assert {result(case.handler, made) for made in (offline, answer)} == {(Outcome.APPLIED, "ok")}
    told = body(case.sender, case.transfer)
    assert (told["state"], told["receipt_number"], told["result"]) == ("result_returned", "水执 2026-3", "已立案查处")
    assert len(case.sender.children(case.transfer)) == 2, "what the receiver photographed is beside the transfer"
    assert body(case.receiver, case.handover) | {"steps": []} == body(case.handler, case.handover) | {"steps": []}
    assert [step["command"] for step in body(case.receiver, case.handover)["steps"]] == [
        "transfer.send",
        "transfer.receive",
        "transfer.return_result",
    ]


async def test_nobody_else_sees_it_and_nobody_signs_for_the_receiver(day: Day) -> None:
    case, member, township = await between(day), await day.member(), await day.lead()
    await case.does(case.sender, case.transfer, "transfer.send")
    assert await case.does(case.sender, case.transfer, "transfer.receive", {"receipt_number": "自签"}) == (
        Outcome.REJECTED,
        Reason.NOT_YOUR_ROLE.value,
    )
    detail = case.sender.refused()[0].detail
    assert (detail["by"], detail["units"]) == (["department_lead", "department_staff"], [WATER])
    await sync(member, township)
    for phone in (member, township):
        assert phone.records("handover") == phone.records("transfer") == phone.records("photo") == []
    assert case.receiver.records("transfer") == []
    supervisor = await supervisor_of(day)
    await sync(supervisor)
    assert await case.does(supervisor, case.transfer, "transfer.receive", {"receipt_number": "纸质回执 9"}) == (Outcome.APPLIED, "ok")
    assert body(case.handler, case.handover)["receipt_number"] == "纸质回执 9", "what came on paper, a supervisor notes down"


@pytest.mark.parametrize("receiver", ["procuratorate", TOWNSHIP, DEPARTMENT, "610921"])
async def test_an_organ_that_is_no_department_of_the_county_is_noted_down_for_by_the_sender(day: Day, receiver: str) -> None:
    case = await between(day, receiver)
    for op, values in (("send", None), ("receive", {"receipt_number": "7"}), ("return_result", {"result": "已办"})):
        assert await case.does(case.sender, case.transfer, f"transfer.{op}", values) == (Outcome.APPLIED, "ok")
    assert body(case.sender, case.transfer).get("receiver_unit") is None
    assert await day.world.pool.fetchval("SELECT count(*) FROM record WHERE kind = 'handover'") == 0


async def test_a_clue_for_supervisors_reaches_no_department_that_has_the_name_of_its_receiver(day: Day) -> None:
    case, supervisor = await between(day), await supervisor_of(day)
    clue = supervisor.create("transfer", COUNTY, {"unit": "610902", "flow": "criminal_case", "receiver": WATER, "title": "线索"})
    for op in ("transfer.approve", "transfer.send"):
        supervisor.command(clue, op)
    await sync(supervisor, case.receiver, case.handler)
    assert body(supervisor, clue)["state"] == "sent"
    assert case.receiver.records("handover") == case.handler.records("handover") == []


async def test_a_story_tells_the_sender_what_the_receiver_did_and_the_receiver_nothing_from_before(day: Day) -> None:
    case = await between(day)
    await case.does(case.sender, case.transfer, "transfer.send")
    await case.does(case.handler, case.handover, "transfer.receive", {"receipt_number": "水执 2026-3"})
    told = await read(day.world, case.sender, f"/office/v1/records/{COUNTY}/{case.transfer}")
    assert [entry["op"] for entry in told["entries"] if entry["what"] == "mutation"][-1] == "transfer.receive"
    theirs = await read(day.world, case.receiver, f"/office/v1/records/{COUNTY}/{case.handover}")
    assert "内部意见" not in str(theirs)
    assert len(theirs["photos"]) == 1


async def test_what_is_disputed_or_held_of_a_clue_lies_before_supervisors_alone(day: Day) -> None:
    one, two, township = await supervisor_of(day), await supervisor_of(day), await day.lead()
    auditor = await day.world.phone(await day.world.person("审计", (Role.AUDITOR, "610902")))
    clue = {"unit": TOWNSHIP, "flow": "criminal_case", "receiver": "public_security_bureau", "title": "机密甲"}
    transfer = one.create("transfer", COUNTY, clue)
    await sync(one, two)
    for phone, title in ((one, "机密乙"), (two, "机密丙")):
        phone.edit(transfer, {"title": title})
    one.create("transfer", COUNTY, clue | {"flow": "no such flow", "title": "机密丁"})
    await sync(one, two)
    await sync(one, two, township, auditor)
    assert [c.body["field"] for c in two.records("conflict")] == ["title"]
    for phone in (township, auditor):
        assert phone.records("conflict") == []
        token = phone.store.db.execute("SELECT value FROM meta WHERE name = 'access'").fetchone()[0]
        for path in ("conflicts", "held"):
            answer = await day.world.client.get(
                f"/office/v1/{path}", params={"county": COUNTY}, headers={"Authorization": f"Bearer {token}"}
            )
            assert "机密" not in answer.text
    token = one.store.db.execute("SELECT value FROM meta WHERE name = 'access'").fetchone()[0]
    for path in ("conflicts", "held"):
        answer = await day.world.client.get(f"/office/v1/{path}", params={"county": COUNTY}, headers={"Authorization": f"Bearer {token}"})
        assert "机密" in answer.text, "whoever may read the clue settles it"
