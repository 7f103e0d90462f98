"""Many problems are assigned at once, and each has an answer of its own."""

import uuid
from typing import Any

import httpx
import pytest

from contracts.ids import projection_id
from contracts.outcomes import TEXT_ZH, Reason
from contracts.people import Role
from phone.phone import Phone
from tests.api.casework import Office, call, command
from tests.stories.day import body
from tests.world import COUNTY, DEPARTMENT

PATH = "/office/v1/problems/assign"


async def assign(office: Office, phone: Phone, problems: list[Any], **more: Any) -> httpx.Response:
    wanted = {
        "id": str(uuid.uuid4()),
        "county": COUNTY,
        "problems": [problem if isinstance(problem, dict) else {"problem": str(problem)} for problem in problems],
        "leads": [DEPARTMENT],
        "due_on": "2026-12-01",
        **more,
    }
    return await call(office.world, phone, "POST", PATH, json=wanted)


def ends(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    return [row["fault"] or (row["outcome"]["outcome"], row["outcome"].get("reason", "ok")) for row in answer.json()["rows"]]


async def test_none_is_lost_by_anothers_refusal(office: Office) -> None:
    good = [await office.problem(f"p{k}") for k in range(3)]
    untrue = await office.problem("误报")
    await office.done(office.lead, command("problem", untrue, "problem.not_true", reason="误报"))
    site = await office.site("工地")
    answer = await assign(office, office.lead, [good[0], untrue, good[1], site, uuid.uuid4(), good[2]])
    applied = ("applied", "ok")
    assert ends(answer) == [applied, ("rejected", "not_allowed_now"), applied, "not_found", "not_found", applied]
    assert answer.json()["applied"] == 3
    assert sorted(await office.titles(office.lead, state="assigned")) == ["p0", "p1", "p2"]
    await office.handler.sync()
    assert [body(office.handler, projection_id(problem, DEPARTMENT))["due_on"] for problem in good] == ["2026-12-01"] * 3


async def test_the_same_request_again_changes_nothing(office: Office) -> None:
    problems = [await office.problem(f"p{k}") for k in range(2)]
    request = str(uuid.uuid4())
    first = await assign(office, office.lead, problems, id=request)
    versions = await office.world.pool.fetch("SELECT id, version FROM record ORDER BY id")
    again = await assign(office, office.lead, problems, id=request)
    assert [kind for kind, _ in ends(first)] == [kind for kind, _ in ends(again)] == ["applied", "applied"]
    assert await office.world.pool.fetch("SELECT id, version FROM record ORDER BY id") == versions


async def test_more_than_one_transaction_holds(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.bulk.BATCH", 2)
    problems = [await office.problem(f"p{k}") for k in range(5)]
    assert ends(await assign(office, office.lead, problems)) == [("applied", "ok")] * 5


async def test_if_the_server_fails_at_one_the_others_are_assigned(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    from api import bulk

    problems = [await office.problem(f"p{k}") for k in range(3)]
    whole = bulk.office_push

    async def failing(*args: Any, **options: Any) -> Any:
        if any(one.record == problems[1] for one in args[4]):
            raise ZeroDivisionError
        return await whole(*args, **options)

    monkeypatch.setattr(bulk, "office_push", failing)
    assert ends(await assign(office, office.lead, problems)) == [("applied", "ok"), "internal", ("applied", "ok")]


async def test_a_problem_that_moved_on_meanwhile_is_judged_by_what_was_on_the_screen(office: Office) -> None:
    problem = await office.problem("p")
    rows = (await call(office.world, office.lead, "GET", "/office/v1/ledgers/problems")).json()["rows"]
    await office.done(office.supervisor, command("problem", problem, "problem.not_true", reason="误报"))
    shown = {"problem": str(problem), "base": rows[0]["v"]}
    assert ends(await assign(office, office.lead, [shown]))[0][0] == "rejected"


async def test_it_is_for_the_office_of_these_problems(office: Office) -> None:
    problem = await office.problem("p")
    refused = await assign(office, office.member, [problem])
    assert ends(refused) == [("rejected", "not_your_role")]
    assert refused.json()["rows"][0]["outcome"]["message"] == TEXT_ZH[Reason.NOT_YOUR_ROLE]
    assert ends(await assign(office, office.handler, [problem])) == ["not_found"]
    other = await office.world.phone(await office.world.person("汉阴", (Role.COUNTY_SUPERVISOR, "610921")))
    assert ends(await assign(office, other, [problem])) == ["not_found"]


async def test_what_makes_no_sense_is_refused_before_anything_is_written(office: Office) -> None:
    problem = await office.problem("p")
    for wrong in ({"leads": []}, {"due_on": "bald"}, {"county": "x"}, {"leads": ["a", "b", "c"]}):
        answer = await assign(office, office.lead, [problem], **wrong)
        assert answer.status_code in (400, 422), wrong
