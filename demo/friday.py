"""Friday 23 October: rules are published, a whistle is blown, problems are assigned with deadlines, a visit is sent that nobody hears of."""

from __future__ import annotations

import asyncio
import time
from datetime import date
from pathlib import Path
from typing import Any, Final

from contracts.ids import problem_id, projection_id
from demo.casework import assigned, body_of, fixed, in_reach, pictures_noted, place_of, problem_at, spot
from demo.hands import Hand
from demo.morning import SITES
from demo.office import Office, own_password
from demo.people import COUNTY, COUNTY_NAME, ENVIRONMENT, HONGYAN, HOUSING, NEWCOMERS, QINLING_OFFICE, WATER, XIGOU
from demo.radio import Signal
from demo.stage import Stage
from storage.units import CHECK_SECONDS

RULES: Final[dict[str, dict[str, Any]]] = {
    "whistle": {"sign": {"hours": 2}, "report_in": {"working_days": 1}, "result": {"working_days": 2}},
    "colours": {
        "triggers": [
            {"key": "overdue", "colour": "white", "fact": "overdue", "after": {"hours": 9}, "answer_within": {"hours": 24}},
            {"key": "silent", "colour": "yellow", "fact": "unanswered", "after": {"hours": 1}, "answer_within": {"hours": 48}},
            {"key": "still_silent", "colour": "red", "fact": "unanswered", "after": {"hours": 1}},
        ]
    },
    "reminders": {"before": [{"hours": 24}]},
    "look_back": {"after": {"hours": 48}},
}
WHISTLE: Final = "吹哨·西沟村集镇雨污混排"


async def rules_and_people(stage: Stage) -> None:
    """What no source states is published as a dated version; then eight more phones."""
    stage.at("08:20")
    await stage.office.log_in()
    now = stage.installation.time.now()
    for name, body in RULES.items():
        await stage.office.post(
            "/office/v1/rules", {"county": COUNTY, "name": name, "starts": now.isoformat(), "body": body, "note": "演示"}
        )
    published = time.monotonic()
    stage.tell_office(
        f"发布 {len(RULES)} 条规则的第 1 版：吹哨时限、三色、提醒、回头看。规则发布前没有任何时限（来源没有规定的，不替人规定）",
        "four rules are published; without a rule nothing is due",
        where=COUNTY_NAME,
    )
    stage.at("08:30")
    folder = Path(stage.installation.folder) / "phones"
    for key, member in NEWCOMERS.items():
        person = stage.persons[key] = await stage.office.create(member, now)
        hand = stage.hands[key] = Hand(member, folder, stage.installation.url, stage.installation.time, stage.notebook)
        hand.radio.signal = Signal.NONE
        await _enrolled(hand, str(person["password"]))
    for key in ("lu", "han"):
        member = stage.hands[key].member
        stage.desks[key] = Office(stage.installation.url, member.number, member.name)
        await stage.desks[key].log_in(own_password(member))
    await asyncio.sleep(max(0.0, CHECK_SECONDS + 0.2 - (time.monotonic() - published)))  # the server knows the rules by then
    stage.installation.start_worker(by_story=True)
    stage.tell_office(
        f"生态环境、住建、水利三局和审计再加 {len(NEWCOMERS)} 部手机",
        f"{len(NEWCOMERS)} more phones: bureaus and an auditor",
        where=COUNTY_NAME,
    )


async def _enrolled(hand: Hand, password: str) -> None:
    hand.radio.signal = Signal.GOOD
    await hand.phone.enrol(hand.member.number, password, f"{hand.name}的手机", new_password=own_password(hand.member))
    hand.radio.signal = Signal.NONE
    await hand.sync_fully(Signal.GOOD)


async def assigned_with_deadlines(stage: Stage) -> None:
    stage.at("09:10")
    gao, qin, shi, jiang = (stage.hands[key] for key in ("gao", "qin", "shi", "jiang"))
    await assigned(stage, "inn", "discharge_clean", ENVIRONMENT, "2026-10-23", "overdue")
    await assigned(stage, "bridge", "washing", HOUSING, "2026-10-25", "washing")
    await assigned(stage, "bridge", "covering", HOUSING, "2026-10-28", "false")
    await in_reach(qin, shi, jiang)
    stage.tell(
        gao,
        "三个问题交办、各有期限：农家乐厨房直排（环境局，今天）、工地冲洗台（住建局，周日）、裸土覆盖（住建局，下周三）",
        "assigns three problems, each with a deadline: today, Sunday, Wednesday",
        Signal.GOOD,
    )


async def outfall_fixed(stage: Stage) -> None:
    """Thursday's black water: fixed on Friday and accepted on the spot by somebody else; what becomes of it is Thursday's story."""
    stage.at("11:00")
    gao, qin, ding = (stage.hands[key] for key in ("gao", "qin", "ding"))
    problem = stage.records["rebound"] = problem_id(stage.records["outfall"], "no_abnormality")
    fixed(qin, problem, "outfall", "outfall", "暗管已封堵", "豆腐坊废水接入收集池")
    stage.tell(qin, "付家河 3 号排口：封堵暗管，拍照，离线提交", "outfall no. 3: the pipe is plugged, a photo, submitted offline")
    await in_reach(qin, ding)
    stage.at("15:00")
    check = {"position": spot("outfall"), "note": "水色正常"}
    ding.command(problem, "问题·3 号排口异常", "problem.accept", args=check, shows={"state": "accepted"})
    await in_reach(ding, gao)
    await pictures_noted(stage)
    gao.command(problem, "问题·3 号排口异常", "problem.close_out", shows={"state": "closed_out"})
    await in_reach(gao)
    stage.tell(
        ding,
        "到现场看过才验收（提交的人不能验收），高建国销号；48 小时后回头看",
        "accepts on the spot, for who submits does not accept; Gao closes it out; look-back in 48 hours",
        Signal.GOOD,
    )


async def whistle_blown(stage: Stage) -> None:
    stage.at("15:20")
    gao, fan = stage.hands["gao"], stage.hands["fan"]
    problem = problem_at(fan, stage, "drain", "traced")
    body = {
        "unit": XIGOU,
        "title": "西沟村集镇雨污混排，管线走向不明",
        "text": "老粮站后排口，晴天也出水，村里查不清",
        "problem": str(problem),
        "position": spot("drain"),
    }
    whistle = stage.records["whistle"] = fan.create("whistle", WHISTLE, body)
    stage.tell(fan, "查不清管线，村里管不了：在手机上提请吹哨", "cannot trace the pipe: asks the township to blow the whistle")
    await in_reach(fan, gao)
    stage.at("15:40")
    gao.command(whistle, WHISTLE, "whistle.blow", {"called": [ENVIRONMENT, WATER]}, shows={"state": "blown"})
    await in_reach(gao)
    stage.tell(
        gao,
        "镇办吹哨，叫环境局、水利局报到：2 小时内签收，1 个工作日到场，2 个工作日反馈",
        "the township blows: two bureaus are called, with clocks",
        Signal.GOOD,
        mark="cyan",
    )


async def whistle_answered(stage: Stage) -> None:
    """One signs and reports in where there is no signal; the other gives it back, once, with a legal basis."""
    whistle = stage.records["whistle"]
    stage.at("16:10")
    qin, liu, gao = (stage.hands[key] for key in ("qin", "liu", "gao"))
    await in_reach(qin, liu)
    summons = projection_id(whistle, ENVIRONMENT)
    qin.command(summons, "报到·环境局", "summons.sign", shows={"state": "signed"})
    await in_reach(qin)
    basis = "集镇污水管网建设管理属住建部门职责，依据“三定”规定退回"
    liu.command(projection_id(whistle, WATER), "报到·水利局", "summons.refuse", {"legal_basis": basis}, shows={"state": "refused"})
    await in_reach(liu, gao)
    stage.tell(liu, "退回：写明依据，只许一次", "gives it back with a legal basis; possible once", Signal.GOOD, mark="yellow")
    stage.at("16:40")
    args = {"unit": WATER, "to": HOUSING, "reason": "依据成立，集镇管网归住建"}
    gao.command(whistle, WHISTLE, "whistle.reroute", args=args)
    await in_reach(gao, stage.hands["tang"])
    stage.tell(gao, "依据成立，改叫住建局", "a good reason: housing is called instead", Signal.GOOD)
    stage.at("17:30")
    qin.command(summons, "报到·环境局", "summons.report_in", args={"position": spot("drain")}, shows={"state": "reported_in"})
    stage.tell(
        qin,
        "到西沟村排口报到，没有信号：时间和位置先记在手机里",
        "reports in at the outfall, without signal; time and place are on her phone",
    )
    stage.at("18:20")
    await in_reach(qin, gao)
    told = body_of(gao, whistle)["summons"][ENVIRONMENT]
    stage.observed.week["reported_in_at"] = told["reported_in_at"]


async def a_secret_visit(stage: Stage) -> None:
    """It lives with whoever sends it. Nothing of it reaches the township, the village or another bureau."""
    stage.at("18:40")
    lu, bai = stage.hands["lu"], stage.hands["bai"]
    place = {**spot("homestay"), "note": "不打招呼，直奔现场"}
    target = {
        "unit": HONGYAN,
        "site": str(stage.sites["homestay"]),
        "name": SITES["homestay"][0],
        "address": "",
        "position": {key: place[key] for key in ("lat", "lng", "accuracy_m")},
        "note": place["note"],
    }
    body = {"title": "四不两直：红岩民宿", "unit": QINLING_OFFICE, "secret": True, "visit_mode": "four_no_two_direct", "targets": [target]}
    stage.records["secret_task"] = lu.create("task", "任务·四不两直", body)
    await in_reach(lu, bai)
    stage.tell(
        lu,
        "派区秦岭办白露周六暗访红岩民宿；镇、村、其他局的手机上什么都没有，连数字都不变",
        "sends an unannounced visit; the inspected side has no trace of it, not even a count",
        Signal.GOOD,
        mark="magenta",
    )


async def power_cut(stage: Stage) -> None:
    stage.at("19:10")
    installation = stage.installation
    pids = [installation.kill_worker(), installation.kill_server(), await asyncio.to_thread(installation.kill_postgres)]
    stage.observed.week["killed"] = pids
    stage.tell_server(
        f"机房停电：服务器、后台作业、PostgreSQL 全部 kill -9（pid {'、'.join(map(str, pids))}），周末无人值班",
        "power cut: server, worker and PostgreSQL are killed for the weekend",
        mark="red",
    )


async def weekend(stage: Stage) -> None:
    stage.today = date(2026, 10, 24)
    stage.at("10:30")
    bai, shi = stage.hands["bai"], stage.hands["shi"]
    task = stage.records["secret_task"]
    bai.command(task, "任务·四不两直", "task.start", shows={"state": "started"})
    checklist = {"slug": "farmhouse_inn", "jurisdiction": "ankang", "version": 1}
    body = {
        "unit": QINLING_OFFICE,
        "subject": "farmhouse_inn",
        "checklist": checklist,
        "site": str(stage.sites["homestay"]),
        "task": str(task),
        "visit_mode": "four_no_two_direct",
        "position": spot("homestay"),
        "answers": {"discharge_clean": {"value": "no", "note": "化粪池外溢，直接入沟"}},
    }
    visit = stage.records["secret_inspection"] = bai.create("inspection", "暗访·红岩小院民宿", body)
    bai.take_photo(visit, "inn", "化粪池外溢", place_of("homestay"), item="discharge_clean")
    bai.command(visit, "暗访·红岩小院民宿", "inspection.submit", shows={"state": "submitted"})
    bai.command(task, "任务·四不两直", "task.finish", {"result": "化粪池外溢，已取证"}, shows={"state": "finished"})
    stage.tell(bai, "周六暗访：化粪池外溢，拍照取证，全在手机里", "Saturday, unannounced: sewage overflows; all on the phone")
    stage.today = date(2026, 10, 25)
    stage.at("16:30")
    fixed(shi, stage.records["washing"], "bridge", "dust", "冲洗台已装好", "出口冲洗台装好，通水试过")
    stage.tell(
        shi,
        "周日期限前装好冲洗台，拍照提交；没有信号，服务器也不在",
        "Sunday, in time: fixed, photographed, submitted; no signal and no server",
    )


FRIDAY: Final = (
    rules_and_people,
    assigned_with_deadlines,
    outfall_fixed,
    whistle_blown,
    whistle_answered,
    a_secret_visit,
    power_cut,
)
WEEKEND: Final = (weekend,)
