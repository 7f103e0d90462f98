"""What a console writes has something to read for a title, and names what is there: or it is told at once, and nothing is written.

A phone's work is never lost for such a reason: what it makes is taken, and only the command that would make it official is refused.
"""

import uuid
from typing import Any

import httpx
import pytest

from contracts.mutation import MUTATION_BYTES_MAX
from contracts.outcomes import Outcome
from contracts.people import Role
from phone.phone import Phone
from storage.office_push import draft, system_push
from storage.units import UnitsCache
from tests.api.casework import Office, call, command, create, read
from tests.stories.day import result
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A, VILLAGE_B

BLANK = ["", " ", "\u3000", "\n\t", "\u200b"]
CONTROLLED = ["一行\n两行", "响\x07铃", "竖\u2028排"]
MADE: dict[str, dict[str, Any]] = {
    "problem": {"unit": VILLAGE_A, "subject": "construction_dust"},
    "task": {"unit": VILLAGE_A},
    "whistle": {"unit": TOWNSHIP},
    "notice": {"unit": VILLAGE_A, "sent_by_unit": TOWNSHIP},
    "plan": {"unit": TOWNSHIP},
    "supervision": {"unit": TOWNSHIP, "colour": "white", "issued_by_unit": str(COUNTY)},
    "transfer": {"unit": str(COUNTY), "flow": "criminal_case", "receiver": "public_security_bureau"},
    "site": {"unit": VILLAGE_A, "subjects": ["construction_dust"]},
    "campaign": {"unit": str(COUNTY), "starts_on": "2026-11-20", "ends_on": "2026-11-21"},
    "activity": {"unit": VILLAGE_A, "held_on": "2026-11-20"},
}
BY_COUNTY = {"supervision", "transfer", "campaign"}


async def write(office: Office, phone: Phone, *mutations: dict[str, Any]) -> httpx.Response:
    return await call(office.world, phone, "POST", "/office/v1/mutations", json={"county": COUNTY, "mutations": list(mutations)})


def refused(answer: httpx.Response, reason: str) -> Any:
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_value"), answer.text
    (fault,) = answer.json()["details"]["faults"]
    assert fault["reason"] == reason
    assert any("\u4e00" <= c <= "\u9fff" for c in fault["text"])
    assert fault["text"] in answer.json()["detail"]
    return fault


def called(kind: str, name: str) -> dict[str, Any]:
    return MADE[kind] | {"name" if kind == "site" else "title": name}


async def records(office: Office) -> int:
    return int(await office.world.pool.fetchval("SELECT count(*) FROM record"))


# ------------------------------------------------------------------------------------------------ titles


@pytest.mark.parametrize("kind", sorted(MADE))
async def test_a_console_calls_everything_something(office: Office, kind: str) -> None:
    before = await records(office)
    author = office.supervisor if kind in BY_COUNTY else office.lead
    for name in BLANK:
        fault = refused(
            await write(office, author, create(kind, uuid.uuid4(), called(kind, name))), "untitled" if name != "\n\t" else "unprintable"
        )
        assert fault["detail"]["field"] == ("name" if kind == "site" else "title")
    for name in CONTROLLED:
        refused(await write(office, author, create(kind, uuid.uuid4(), called(kind, name))), "unprintable")
    assert await records(office) == before, "nothing was written"
    record = uuid.uuid4()
    await office.done(author, create(kind, record, called(kind, "有名")))
    if kind != "notice":  # whose words stay those that were signed for
        field = "name" if kind == "site" else "title"
        refused(await write(office, author, command(kind, record, "edit", {field: ["有名", " "]})), "untitled")


async def test_a_problem_without_a_title_stays_a_phones_draft_until_it_has_one(office: Office) -> None:
    phone = office.member
    problem = phone.create("problem", COUNTY, {"title": "", "unit": VILLAGE_A, "subject": "construction_dust"})
    early = phone.command(problem, "problem.report")
    await phone.sync()
    assert result(phone, early) == (Outcome.REJECTED, "untitled")
    assert phone.refused()[0].detail["allowed"], "and what would be allowed"
    phone.edit(problem, {"title": "裸土未覆盖"})
    late = phone.command(problem, "problem.report")
    await phone.sync()
    assert result(phone, late) == (Outcome.APPLIED, "ok")
    wiped = phone.edit(problem, {"title": "\u3000"})
    await phone.sync()
    assert result(phone, wiped) == (Outcome.REJECTED, "untitled"), "what is official keeps a title"


async def test_a_phones_site_without_a_name_is_taken_because_work_hangs_on_it(office: Office) -> None:
    site = office.member.create("site", COUNTY, {"name": " ", "unit": VILLAGE_A, "subjects": ["construction_dust"]})
    await office.member.sync()
    assert await office.world.pool.fetchval("SELECT kind FROM record WHERE id = $1", site) == "site"


async def test_letters_and_draws_are_titled(office: Office) -> None:
    for title in (" ", "一\n二"):
        letter = {"letter": str(uuid.uuid4()), "from_unit": TOWNSHIP, "units": [VILLAGE_A], "title": title}
        answer = await call(office.world, office.lead, "POST", "/office/v1/letters", json=letter)
        assert (answer.status_code, answer.json()["details"]["faults"][0]["code"]) == (422, "not_one_line"), answer.text


# ------------------------------------------------------------------------------------------------ what is named


async def named(office: Office) -> dict[str, str]:
    """Ids that the township must not find out about, and one of nothing."""
    other = await office.world.phone(await office.world.person("汉阴", (Role.COUNTY_SUPERVISOR, "610921")))
    elsewhere, case, visit = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    abroad = create("problem", elsewhere, {"title": "外县", "unit": "610921100001", "subject": "noise"})
    assert await office.do(other, abroad, county=610921) == ["applied"]
    await office.done(office.supervisor, create("transfer", case, called("transfer", "线索")))
    target = {"unit": VILLAGE_A, "name": "工地"}
    secret = {"title": "暗访", "unit": str(COUNTY), "visit_mode": "secret_visit", "secret": True, "targets": [target]}
    await office.done(office.supervisor, create("task", visit, secret))
    return {"nothing": str(uuid.uuid4()), "of another county": str(elsewhere), "a case": str(case), "an unannounced visit": str(visit)}


async def test_an_id_of_nothing_and_of_what_is_hidden_have_one_answer(office: Office) -> None:
    before, ids = await records(office), await named(office)
    answers: dict[str, set[str]] = {}
    for name, record in ids.items():
        for kind, field in (("notice", "subject_record"), ("whistle", "problem"), ("activity", "subject_record")):
            answer = await write(office, office.lead, create(kind, uuid.uuid4(), called(kind, "有名") | {field: record}))
            fault = refused(answer, "record_missing")
            answers.setdefault(name, set()).add(answer.json()["detail"])
            assert fault["detail"] == {"record": record}
        letter = {"letter": str(uuid.uuid4()), "from_unit": TOWNSHIP, "units": [VILLAGE_A], "title": "函", "subject_record": record}
        answer = await call(office.world, office.lead, "POST", "/office/v1/letters", json=letter)
        assert answer.status_code == 422, answer.text
        answers[name].add(answer.json()["detail"])
    assert len({frozenset(said) for said in answers.values()}) == 1, answers
    assert await records(office) == before + 3, "only what was there to be named"


async def test_a_supervisor_is_told_of_ids_of_nothing_and_names_what_is_there(office: Office) -> None:
    problem = await office.problem("裸土", VILLAGE_B)
    for kind, field in (("supervision", "subject_record"), ("transfer", "problem"), ("transfer", "whistle")):
        refused(
            await write(office, office.supervisor, create(kind, uuid.uuid4(), called(kind, "有名") | {field: str(uuid.uuid4())})),
            "record_missing",
        )
    for kind, field in (("supervision", "subject_record"), ("transfer", "problem")):
        await office.done(office.supervisor, create(kind, uuid.uuid4(), called(kind, "有名") | {field: str(problem)}))


async def test_a_department_names_the_problem_that_it_was_assigned(office: Office) -> None:
    problem, other = await office.problem("裸土"), await office.problem("另一")
    await office.assign(problem)
    clue = {"unit": DEPARTMENT, "flow": "enforcement_info", "receiver": "forestry_bureau", "title": "执法信息"}
    await office.done(office.handler, create("transfer", uuid.uuid4(), clue | {"problem": str(problem)}))
    refused(await write(office, office.handler, create("transfer", uuid.uuid4(), clue | {"problem": str(other)})), "record_missing")


async def test_a_phone_may_name_what_is_on_its_way(office: Office) -> None:
    made = office.member.create("activity", COUNTY, called("activity", "宣传") | {"subject_record": str(uuid.uuid4())})
    await office.member.sync()
    assert await office.world.pool.fetchval("SELECT kind FROM record WHERE id = $1", made) == "activity"


async def test_work_is_given_to_somebody_who_has_a_duty_here(office: Office) -> None:
    here = await office.world.person("甲", (Role.GRID_MEMBER, VILLAGE_A))
    abroad = await office.world.person("外县", (Role.GRID_MEMBER, "610921100001"))
    texts = set()
    for nobody in (str(uuid.uuid4()), str(abroad.id)):
        fault = refused(
            await write(office, office.lead, create("task", uuid.uuid4(), called("task", "巡查") | {"assignee": nobody})), "unknown_person"
        )
        texts.add(fault["text"])
    assert len(texts) == 1, "whether there is such a person elsewhere is not told"
    task, made = uuid.uuid4(), uuid.uuid4()
    wanted = create("task", task, called("task", "巡查") | {"assignee": str(here.id)})
    await office.done(office.lead, wanted)
    again = command("task", task, "task.reassign", {"assignee": [str(here.id), str(made)]}, reason="换人")
    refused(await write(office, office.lead, again), "unknown_person")
    await office.world.pool.execute("UPDATE duty SET ends = $2 WHERE person = $1", here.id, office.world.time)
    assert (await write(office, office.lead, wanted)).status_code == 200, "what was written has the answer that it had"
    assert (await read(office.world, office.lead, "/office/v1/ledgers/tasks"))["rows"][0]["title"] == "巡查"


# ------------------------------------------------------------------------------------------------ what is deleted


async def test_a_console_that_has_not_seen_a_deletion_does_not_undo_it(office: Office) -> None:
    """It names no version: it means the record as it is now, and is there to be told. A phone's work brings the record back."""
    site = await office.site("工地")
    await office.member.sync()
    await office.done(office.supervisor, {"id": str(uuid.uuid4()), "kind": "site", "record": str(site), "op": "delete", "base": [1, 1]})
    edit = command("site", site, "edit", {"note": ["", "补充"]})
    answer = (await write(office, office.lead, edit)).json()["outcomes"][0]
    assert (answer["outcome"], answer["reason"]) == ("rejected", "record_deleted")
    assert await office.world.pool.fetchval("SELECT deleted FROM record WHERE id = $1", site)
    seen = command("site", site, "edit", {"note": ["", "补充"]}) | {"base": [1, 1]}
    assert (await write(office, office.lead, seen)).json()["outcomes"][0]["outcome"] == "conflict", "what was on the screen before it went"


async def test_a_timer_does_not_bring_back_what_was_deleted(office: Office) -> None:
    task = uuid.uuid4()
    await office.done(office.lead, create("task", task, called("task", "巡查")))
    await office.done(office.lead, {"id": str(uuid.uuid4()), "kind": "task", "record": str(task), "op": "delete", "base": [1, 1]})
    reference = await UnitsCache(office.world.pool).reference()
    lapse = draft(
        kind="task",
        record=task,
        op="task.lapse",
        now=office.world.time,
        mutation=uuid.uuid4(),
        fields={"cancel_reason": ("", "计划已调整")},
    )
    pushed = await system_push(office.world.pool, reference, COUNTY, [lapse], office.world.time)
    assert pushed.outcomes[0].reason.value == "record_deleted"
    assert await office.world.pool.fetchval("SELECT deleted FROM record WHERE id = $1", task)


async def test_a_mutation_larger_than_a_phones_is_refused_whole(office: Office) -> None:
    problem, small, site = await office.problem("p"), uuid.uuid4(), uuid.uuid4()
    entries = "SELECT count(*) FROM journal"
    before = await office.world.pool.fetchval(entries)
    good = create("problem", small, {"unit": VILLAGE_A, "subject": "construction_dust", "title": "好"})
    for large in (
        command("problem", problem, "problem.penalize", measure="fine", note="x" * MUTATION_BYTES_MAX),
        command("problem", problem, "problem.comment", text="字" * (MUTATION_BYTES_MAX // 3)),
        command("problem", problem, "edit", {"description": ["x" * MUTATION_BYTES_MAX, "y"]}),
        create("site", site, {"unit": VILLAGE_A, "name": "x" * MUTATION_BYTES_MAX}),
    ):
        answer = await write(office, office.lead, good, large)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        (fault,) = answer.json()["details"]["faults"]
        assert (fault["index"], fault["id"], fault["reason"]) == (1, large["id"], "too_large")
        assert (fault["detail"]["bytes_max"], fault["detail"]["bytes"] > MUTATION_BYTES_MAX) == (MUTATION_BYTES_MAX, True)
        assert f"第2项：内容过大，每项最多{MUTATION_BYTES_MAX}字节" in answer.json()["detail"]
    assert await office.world.pool.fetchval(entries) == before
    just = command("problem", problem, "problem.comment", text="x" * (MUTATION_BYTES_MAX - 1000))
    await office.done(office.lead, good, just)
