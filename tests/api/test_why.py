"""督办依据: "why is this red?", asked over HTTP."""

from datetime import timedelta
from typing import Any

from contracts.people import Role
from storage.reference import reference_of
from storage.rules import load_rules
from storage.timers import run_timers
from storage.units import load_units
from sync.places import Places
from tests.api.casework import Office, call, command, read
from tests.world import COUNTY, DEPARTMENT, MORNING

BODY = {
    "triggers": [
        {"key": "overdue", "colour": "white", "fact": "overdue", "after": {"hours": 24}, "answer_within": {"working_days": 1}},
        {"key": "silent", "colour": "yellow", "fact": "unanswered", "after": {"hours": 1}},
    ]
}


async def why(office: Office, letter: str) -> list[dict[str, Any]]:
    told = await read(office.world, office.supervisor, f"/office/v1/supervisions/{COUNTY}/{letter}/why")
    letters: list[dict[str, Any]] = told["letters"]
    return letters


async def test_a_yellow_letter_tells_its_rule_its_facts_and_its_moments(office: Office) -> None:
    published = {"county": COUNTY, "name": "colours", "starts": MORNING.isoformat(), "body": BODY}
    assert (await call(office.world, office.supervisor, "POST", "/office/v1/rules", json=published)).status_code == 201
    await office.assign(await office.problem("工地未洒水"))
    pool = office.world.pool
    known = reference_of(Places((await load_units(pool)).values()), await load_rules(pool))
    assert await run_timers(pool, known, COUNTY, MORNING + timedelta(days=20)) == 2
    yellow = str(await pool.fetchval("SELECT id FROM record WHERE kind = 'supervision' AND body::text LIKE '%silent%'"))
    lift = command("supervision", yellow, "supervision.lift", {"lifted_because": [None, "mistaken"]})  # type: ignore[arg-type]
    office.world.at(30)
    await office.done(office.supervisor, lift)
    white, told = await why(office, yellow)
    assert white["sentences"] == [
        "2026年12月3日00:00，汉滨区向区住建局发出白色督办单：工地未洒水。",
        "依据三色督办规则第1版（自2026年11月20日09:00起施行），触发条件“overdue”：问题逾期未整改。",
        "事实：整改期限2026-12-01已过，当时没有整改提交，也未中止或延期。",
        "自2026年12月2日00:00起算，持续满24小时，2026年12月3日00:00达到发出条件。",
        "须于2026年12月5日00:00前答复。",
    ]
    assert told["sentences"][2:] == [
        "事实：白色督办单答复时限2026年12月5日00:00已过，当时没有答复，督办事项也未办结。",
        "自2026年12月5日00:00起算，持续满1小时，2026年12月5日01:00达到发出条件。",
        "2026年11月20日09:30解除：发出有误。",
    ]
    assert (told["rule"]["version"], told["rule"]["body"]) == (1, BODY)
    assert told["grounds"]["facts"]["previous"] == white["id"]


async def test_a_letter_by_hand_tells_the_reason_and_is_for_those_who_may_see_it(office: Office) -> None:
    problem = await office.problem("工地未洒水")
    letter = await office.supervise(problem, "red", unit=DEPARTMENT)
    (told,) = await why(office, str(letter))
    assert told["sentences"] == ["2026年11月20日09:00，汉滨区向区住建局发出红色督办单：督办。", "由人工发出，理由：长期未整改。"]
    assert told["rule"] is None
    stranger = await office.world.phone(await office.world.person("汉阴督办", (Role.COUNTY_SUPERVISOR, "610921")))
    path = f"/office/v1/supervisions/{COUNTY}/{{}}/why"
    for phone, record in ((stranger, letter), (office.member, letter), (office.supervisor, problem)):
        refused = await call(office.world, phone, "GET", path.format(record))
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
