"""线索移交、案件移送: a record of its own beside the problem, which only supervisors see; it closes nothing."""

from uuid import uuid4

import pytest

from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from phone.phone import Phone
from storage.office_push import draft, system_push
from tests.stories.day import Day, body, result, seen, sync
from tests.stories.test_problem import assigned
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP


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
