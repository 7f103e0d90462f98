"""Monday 26 October: everything starts again, the timers catch up to the minute, and evidence that comes late is heard."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from typing import Any, Final

from contracts.ids import projection_id
from demo.casework import body_of, fixed, in_reach, letters_on, spot, timers_struck
from demo.hands import Hand
from demo.hours import day_text
from demo.people import COUNTY, COUNTY_NAME, ENVIRONMENT, HOUSING
from demo.radio import Signal
from demo.stage import Stage

COLOURS: Final = {"white": "白", "yellow": "黄", "red": "红"}


def when(text: str) -> str:
    """ "10-24 09:00", in Ankang, of a moment as records write it."""
    return day_text(datetime.fromisoformat(text).timestamp() * 1000)


async def power_back(stage: Stage) -> None:
    stage.today = date(2026, 10, 26)
    stage.at("08:00")
    installation = stage.installation
    await asyncio.to_thread(installation.postgres.start)
    await asyncio.to_thread(installation.start_server)
    installation.start_worker(by_story=True)
    await timers_struck(stage)
    lu = stage.hands["lu"]
    await in_reach(lu)
    caught_up = [(str(one.body["colour"]), when(str(one.body["issued_at"]))) for one in letters_on(lu)]
    stage.observed.week["caught_up"] = caught_up
    listed = "，".join(f"{COLOURS[colour]}牌 {moment}" for colour, moment in caught_up)
    stage.tell_server(
        f"来电重启。停机期间到点的补发 {len(caught_up)} 件，时刻是到点的时刻，不是现在：{listed}",
        "everything starts again; what fell due meanwhile is issued, dated to the minute it was due",
        mark="green",
    )


async def why_is_it_yellow(stage: Stage) -> None:
    """The supervisor asks; rule version, facts and moments answer."""
    stage.at("08:20")
    lu, desk = stage.hands["lu"], stage.desks["lu"]
    await desk.log_in()
    story = await desk.get(f"/office/v1/records/{COUNTY}/{stage.records['overdue']}")
    letters = {one["id"]: one["body"] for one in story["supervisions"]}
    yellow = next(one for one in letters.values() if one["colour"] == "yellow")
    white, grounds = letters[yellow["previous"]], yellow["grounds"]
    stage.observed.week["why"] = grounds
    stage.tell_office(
        f"问「为什么是黄牌」。答：规则 {grounds['rule']} 第 {grounds['version']} 版「{grounds['trigger']}」条："
        f"白牌（{when(white['issued_at'])}，期限 {white['grounds']['facts']['due_on']} 已过）答复截止 {when(grounds['since'])}，无人答复，"
        f"{when(grounds['due_moment'])} 升黄",
        "why is this yellow? rule version, facts and moments answer: the white letter was not answered by its time",
        who=lu.name,
        where=COUNTY_NAME,
        mark="yellow",
    )


async def late_evidence(stage: Stage) -> None:
    """The fix was made on Sunday, in time; the letter was right for what was known on Monday at nine."""
    stage.at("09:05")
    await timers_struck(stage)
    shi, lu = stage.hands["shi"], stage.hands["lu"]
    await in_reach(lu)
    about = str(stage.records["washing"])
    letter = next(one for one in letters_on(lu) if one.body["subject_record"] == about)
    stage.tell_server(
        f"工地冲洗台周日到期，没有整改记录：{when(letter.body['issued_at'])} 发白牌", "the washing bay is overdue: a white letter at nine"
    )
    stage.at("10:30")
    await in_reach(shi)
    await timers_struck(stage)
    await in_reach(lu)
    seen = body_of(lu, letter.id)
    stage.observed.week["overturned"] = (seen["state"], seen["lifted_because"])
    stage.tell(
        shi,
        "手机有了信号：周日 16:30 的整改这时才到。白牌按采集时间推翻：解除，注明「证据晚到」，不抹掉",
        "his phone finds signal: fixed on Sunday at 16:30; the letter is overturned and lifted, not erased",
        Signal.GOOD,
        mark="green",
    )


async def letters_answered(stage: Stage) -> None:
    stage.at("11:00")
    yuan, qin, lu = (stage.hands[key] for key in ("yuan", "qin", "lu"))
    await in_reach(yuan)
    about = str(stage.records["overdue"])
    letters = [one for one in letters_on(yuan) if one.body["subject_record"] == about]
    for one in letters:
        answer = "今日进场改造化粪池，明日完工" if one.body["colour"] == "yellow" else "周末未及时处理，已说明原因"
        what = f"督办单·{COLOURS[str(one.body['colour'])]}"
        yuan.command(one.id, what, "supervision.acknowledge", shows={"state": "acknowledged"})
        yuan.command(one.id, what, "supervision.answer", {"answer": answer}, shows={"state": "answered"})
    stage.tell(yuan, "下乡路上在手机里签收并答复白、黄两牌", "answers both letters on her phone, on the road")
    await in_reach(yuan)
    fixed(qin, stage.records["overdue"], "inn", "inn", "化粪池已改造", "厨房污水接入化粪池，外排口封堵")
    await in_reach(qin, lu)
    for one in letters:
        what = f"督办单·{COLOURS[str(one.body['colour'])]}"
        lu.command(one.id, what, "supervision.lift", {"lifted_because": "answered"}, shows={"state": "lifted"})
    await in_reach(lu)
    stage.tell(lu, "答复属实，解除；红牌不再到来", "the answers hold: lifted; red never comes", Signal.GOOD)


async def the_visitor_comes_home(stage: Stage) -> None:
    """Everything the inspected side has is searched: phones whole, every table."""
    stage.at("11:30")
    lu, bai = stage.hands["lu"], stage.hands["bai"]
    await in_reach(bai, lu)
    others = [hand for hand in stage.all_hands() if hand not in (lu, bai)]
    await in_reach(*others)
    records = [stage.records["secret_task"], stage.records["secret_inspection"]]
    traces = [hand.name for hand in others if _knows(hand, ["四不两直", "化粪池外溢", *map(str, records)], [one.bytes for one in records])]
    stage.observed.week["secret"] = {
        "searched": len(others),
        "traces": traces,
        "before": len(_problems_of_visit(stage, stage.hands["gao"])),
    }
    stage.tell_office(
        f"白露回来交活。翻遍其余 {len(others)} 部手机的全部数据：暗访的痕迹 {len(traces)} 处",
        f"the visitor hands in; {len(others)} other phones are searched, every table: {len(traces)} traces",
        where=COUNTY_NAME,
        mark="magenta",
    )


def _knows(hand: Hand, words: list[str], ids: list[bytes]) -> bool:
    db = hand.phone.store.db
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    cells = [cell for table in tables for row in db.execute(f"SELECT * FROM {table}") for cell in tuple(row)]  # noqa: S608 - names of its own
    return any(_holds(cell, words, ids) for cell in cells)


def _holds(cell: Any, words: list[str], ids: list[bytes]) -> bool:
    if isinstance(cell, bytes):
        return any(one in cell for one in ids) or any(word.encode() in cell for word in words)
    return isinstance(cell, str) and any(word in cell for word in words)


def _problems_of_visit(stage: Stage, hand: Hand) -> list[Any]:
    return [one for one in hand.phone.records("problem") if one.body.get("inspection") == str(stage.records["secret_inspection"])]


async def whistle_resolved(stage: Stage) -> None:
    stage.at("14:30")
    qin, tang, gao = (stage.hands[key] for key in ("qin", "tang", "gao"))
    whistle = stage.records["whistle"]
    of_env, of_housing = projection_id(whistle, ENVIRONMENT), projection_id(whistle, HOUSING)
    tang.command(of_housing, "报到·住建局", "summons.sign", shows={"state": "signed"})
    tang.command(of_housing, "报到·住建局", "summons.report_in", args={"position": spot("drain")}, shows={"state": "reported_in"})
    done = {"result": "雨污管错接一处，已改接，周内回填"}
    tang.command(of_housing, "报到·住建局", "summons.result", done, shows={"state": "resulted"})
    qin.command(of_env, "报到·环境局", "summons.result", {"result": "溯源完成：粮站后 12 户错接，水样已送检"}, shows={"state": "resulted"})
    stage.tell(tang, "到场、改接错接管，签收、报到、结果一并记在手机里", "signs, reports in, mends the pipe: all on his phone first")
    await in_reach(tang, qin, gao)
    seen = body_of(gao, whistle)
    due = seen["summons"][HOUSING]["sign_due_at"]
    stage.observed.week["signed_late"] = datetime.fromisoformat(due) < stage.installation.time.now()
    stage.tell_server(
        f"住建局本该 {when(due)} 前签收（周五改叫，2 小时）：迟了，过程里照实记着；没有规则为迟签发牌，就不发",
        "housing should have signed by then: late, and on record; no rule has a letter for it",
        mark="yellow",
    )
    answered = stage.observed.week["answered"] = seen["state"] == "answered"
    stage.tell_server(
        f"该到的都到了、都有结果：吹哨自动转为「{'已答复' if answered else '？'}」，镇办可以确认",
        "all required bureaus are in with a result: the whistle is answered",
    )


async def whistle_closed(stage: Stage) -> None:
    stage.at("17:00")
    gao, fan = stage.hands["gao"], stage.hands["fan"]
    whistle = stage.records["whistle"]
    what = "吹哨·西沟村集镇雨污混排"
    for unit, rating in ((ENVIRONMENT, 5), (HOUSING, 4)):
        gao.command(whistle, what, "whistle.confirm", args={"unit": unit, "rating": rating})
    gao.command(whistle, what, "whistle.feed_back", args={"to": fan.name, "note": "错接管已改，请继续看晴天还出不出水"})
    gao.command(whistle, what, "whistle.close", shows={"state": "closed"})
    await in_reach(gao, fan)
    stage.tell(gao, "逐个确认、评价（环境局 5、住建局 4），反馈给范长庚，关闭", "confirms and rates each, feeds back, closes", Signal.GOOD)


MONDAY: Final = (power_back, why_is_it_yellow, late_evidence, letters_answered, the_visitor_comes_home, whistle_resolved, whistle_closed)
