"""Tuesday to Thursday: a false fix goes back, a visit is disclosed, and the look-back finds that the black water has returned."""

from __future__ import annotations

from datetime import date
from typing import Final

from demo.casework import body_of, called, fixed, in_reach, pictures_noted, place_of, spot
from demo.drawing import committed_and_drawn, departed, disclosed_and_verified
from demo.morning import SITES
from demo.radio import Signal
from demo.stage import Stage

WHAT: Final = called("bridge")


async def false_fix(stage: Stage) -> None:
    """A photo that shows a covered heap is not a covered heap."""
    stage.today = date(2026, 10, 27)
    stage.at("08:40")
    jiang, gao, shen, ding = (stage.hands[key] for key in ("jiang", "gao", "shen", "ding"))
    problem = stage.records["false"]
    fixed(jiang, problem, "bridge", "dust", "裸土已覆盖", "已全部覆盖")
    await in_reach(jiang)
    stage.tell(jiang, "提交裸土覆盖整改，附一张照片", "submits the covering of bare soil, with a photo", Signal.GOOD)
    stage.at("09:30")
    await in_reach(shen, gao)
    shen.command(problem, WHAT, "problem.comment", args={"note": "路过看了，土堆还露着，照片是西侧的"})
    await in_reach(shen, gao)
    args = {"reason": "false", "note": "东侧土堆仍裸露，照片不是此处"}
    gao.command(problem, WHAT, "problem.return", args=args, shows={"state": "rectifying"})
    await in_reach(gao, jiang, ding)
    stage.observed.week["returns"] = body_of(gao, problem)["returns"]
    stage.tell(
        gao,
        f"网格员路过一看，土还露着：按「虚假整改」退回，计 {stage.observed.week['returns']} 次；同一张照片不能再用",
        "returned as false, and counted; the same photo does not serve again",
        Signal.GOOD,
        mark="yellow",
    )


async def overdue_accepted(stage: Stage) -> None:
    stage.at("15:00")
    ding, gao = stage.hands["ding"], stage.hands["gao"]
    await in_reach(ding)
    check = {"position": spot("inn"), "note": "厨房污水已接入"}
    ding.command(stage.records["overdue"], called("inn"), "problem.accept", args=check, shows={"state": "accepted"})
    await in_reach(ding, gao)
    await pictures_noted(stage)
    gao.command(stage.records["overdue"], called("inn"), "problem.close_out", shows={"state": "closed_out"})
    await in_reach(gao)
    stage.tell(
        ding, "农家乐到场验收；高建国销号。两块牌子的来龙去脉都留着", "the inn is accepted and closed out; its letters stay", Signal.GOOD
    )


async def fixed_again(stage: Stage) -> None:
    stage.at("14:00")
    shi, ding, gao = (stage.hands[key] for key in ("shi", "ding", "gao"))
    problem = stage.records["false"]
    await in_reach(shi)
    fixed(shi, problem, "bridge", "dust", "东侧土堆覆盖网", "东侧 40 方全部覆盖，四角压实")
    await in_reach(shi, ding)
    stage.tell(shi, "重新整改，新照片", "fixed again, with a new photo", Signal.GOOD)
    stage.at("16:20")
    ding.command(problem, WHAT, "problem.accept", args={"position": spot("bridge"), "note": "四角压实"}, shows={"state": "accepted"})
    stage.tell(ding, "另一个人到现场验收，位置记下（没有信号）", "somebody else accepts on the spot, offline; the place is kept")
    await in_reach(ding, gao)
    await pictures_noted(stage)
    gao.command(problem, WHAT, "problem.close_out", shows={"state": "closed_out"})
    await in_reach(gao)
    stage.tell(gao, "销号", "closed out", Signal.GOOD)


async def visit_disclosed(stage: Stage) -> None:
    stage.at("17:00")
    lu, gao, he, bai = (stage.hands[key] for key in ("lu", "gao", "he", "bai"))
    task = stage.records["secret_task"]
    lu.command(task, "任务·四不两直", "task.disclose", args={"note": "已向镇村反馈"})
    await in_reach(lu, gao, he, bai)
    visit = str(stage.records["secret_inspection"])
    shown = [one for one in gao.phone.records("problem") if one.body.get("inspection") == visit]
    stage.observed.week["secret"]["after"] = len(shown)
    stage.tell(
        lu,
        f"暗访反馈：发现变成红岩村的问题，连照片和经过一起到镇、村手机上（{len(shown)} 个）",
        "disclosed: the finding becomes the village's problem, with photo and history",
        Signal.GOOD,
        mark="magenta",
    )


async def rebound(stage: Stage) -> None:
    """The task was made when its 48 hours were over; what it finds reopens the same record."""
    stage.today = date(2026, 10, 29)
    stage.at("09:20")
    wang, gao, qin = (stage.hands[key] for key in ("wang", "gao", "qin"))
    problem = stage.records["rebound"]
    await in_reach(wang)
    task = next(one for one in wang.phone.records("task") if str(one.body["title"]).startswith("回头看"))
    wang.take_photo(problem, "outfall", "回头看：又见黑水", place_of("outfall"))
    wang.command(problem, "问题·3 号排口异常", "problem.comment", args={"note": "封堵处渗漏，水又发黑"})
    wang.command(task.id, "任务·回头看", "task.finish", {"result": "反弹：封堵处渗漏"}, shows={"state": "finished"})
    stage.tell(
        wang, f"「{task.body['title']}」：封堵处渗漏，水又黑了，拍照", "the look-back finds black water again, a photo", mark="yellow"
    )
    stage.at("11:00")
    await in_reach(wang, gao)
    again = {"due_on": "2026-11-03"}
    gao.command(problem, "问题·3 号排口异常", "problem.rebound", again, args={"reason": "rebound"}, shows={"state": "rectifying"})
    await in_reach(gao, qin)
    seen = body_of(gao, problem)
    stage.observed.week["rebound"] = {"state": seen["state"], "rebounds": seen["rebounds"], "steps": [s["command"] for s in seen["steps"]]}
    stage.tell(
        gao,
        f"认定反弹：还是同一个问题、同一份档案（{len(seen['steps'])} 步经过都在），限 11 月 3 日（{SITES['outfall'][0]}）",
        "a rebound: the same record reopens with its whole history",
        Signal.GOOD,
        mark="red",
    )


async def tuesday_draw(stage: Stage) -> None:
    await committed_and_drawn(stage)


async def wednesday_departure(stage: Stage) -> None:
    stage.today = date(2026, 10, 28)
    await departed(stage)


TUESDAY: Final = (false_fix, tuesday_draw, overdue_accepted)
WEDNESDAY: Final = (wednesday_departure, fixed_again, visit_disclosed)
THURSDAY: Final = (rebound, disclosed_and_verified)
