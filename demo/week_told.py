"""The week's account, from the server's tables: letters with their moments, the whistle, how each problem went, and who waits for what."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from contracts.ids import projection_id
from demo.monday import COLOURS, when
from demo.people import COUNTY, COUNTY_NAME, HOUSING
from demo.stage import Stage, short_name
from demo.tables import Record, Tables
from demo.wording import plain_table
from demo.wrapping import wrapped, wrapped_text

STYLES: Final = {"white": "bold", "yellow": "bold yellow", "red": "bold red"}
BECAUSE: Final = {"answered": "答复属实", "overturned": "证据晚到，推翻"}
STEPS: Final = {
    "problem.verify": "核实",
    "problem.assign": "交办",
    "problem.start": "整改",
    "problem.submit_fix": "提交",
    "problem.fix_on_spot": "当场整改",
    "problem.return": "退回",
    "problem.accept": "验收",
    "problem.close_out": "销号",
    "problem.rebound": "反弹",
    "problem.remind": "提醒",
    "problem.comment": "留言",
    "task.disclose": "暗访反馈",
}
WAITING: Final = {
    "reported": "待镇办核实",
    "assigned": "待整改",
    "rectifying": "整改中",
    "submitted": "待到场验收",
    "accepted": "待销号",
}
CASES: Final = ("overdue", "washing", "false", "rebound")


def show(stage: Stage, tables: Tables) -> None:
    _letters(stage, tables)
    _whistle(stage, tables)
    _problems(stage, tables)
    _mechanisms(stage, tables)


def failings(stage: Stage) -> list[str]:
    """What the week's mechanisms should have done and did not; empty: the week went as it must."""
    seen: dict[str, Any] = stage.observed.week
    draw, secret = seen["draw"], seen["secret"]
    wanted = {
        "停机补发 · issued after downtime": seen["caught_up"] == [("white", "10-24 09:00"), ("yellow", "10-25 10:00")],
        "晚到证据 · overturned": seen["overturned"] == ("lifted", "overturned"),
        "虚假整改 · returned": seen["returns"] == 1,
        "吹哨 · answered": seen["answered"],
        "迟签 · signed late": seen["signed_late"],
        "反弹 · rebound": (seen["rebound"]["state"], seen["rebound"]["rebounds"]) == ("rectifying", 1),
        "双随机核验 · verified": (draw["verified"][0], draw["tampered"][0], draw["tasks_sealed"]) == (0, 1, 0),
        "暗访 · secret": (secret["traces"], secret["before"], secret["after"]) == ([], 0, 1),
    }
    return [name for name, holds in wanted.items() if not holds]


def _unit(stage: Stage, code: str) -> str:
    return COUNTY_NAME if code == str(COUNTY) else short_name(stage.units[code].name)


def _letters(stage: Stage, tables: Tables) -> None:
    stage.teller.chapter("三色 · 每块牌子何时、为何、如何了结", "Letters: when, why, and how each ended")
    table = plain_table(
        ("到点时刻", "due moment"), ("牌", "letter"), ("给谁 · 何事", "to whom, about"), ("依据", "grounds"), ("了结", "ended")
    )
    for letter in sorted(tables.of_kind("supervision"), key=lambda one: str(one.body["issued_at"])):
        body, grounds = letter.body, letter.body["grounds"]
        facts = f"期限 {grounds['facts']['due_on']}" if grounds["fact"] == "overdue" else "前牌未答复"
        why = f"{grounds['rule']} v{grounds['version']}·{grounds['trigger']}，{facts}"
        ended = f"解除：{BECAUSE[body['lifted_because']]}" if body["state"] == "lifted" else f"等 {_unit(stage, body['unit'])} 答复"
        table.add_row(
            when(body["issued_at"]),
            Text(COLOURS[body["colour"]], STYLES[body["colour"]]),
            wrapped(f"{_unit(stage, body['unit'])} · {body['title']}", 24),
            wrapped(why, 24),
            wrapped(ended, 16),
        )
    stage.teller.show(table)


def _whistle(stage: Stage, tables: Tables) -> None:
    whistle = tables.records[str(stage.records["whistle"])].body
    stage.teller.chapter(f"吹哨 · {whistle['title']}", "The whistle: who came, when, with what")
    table = plain_table(
        ("部门", "bureau"), ("签收限", "sign by"), ("签收", "signed"), ("报到", "there at"), ("结果", "result"), ("评价", "rated")
    )
    for unit, told in whistle["summons"].items():
        answer = told.get("result") or f"退回：{told.get('legal_basis', '')}"
        arrived = when(told["reported_in_at"]) if "reported_in_at" in told else "·"
        due, signed = told.get("sign_due_at"), signed_at(stage, tables, unit)
        late = is_late(signed, due)
        shown = Text(f"{when(signed)}{' 迟' if late else ''}" if signed else "·", "bold red" if late else "")
        table.add_row(_unit(stage, unit), when(due) if due else "·", shown, arrived, wrapped(answer, 30), str(told.get("rating", "·")))
    stage.teller.show(table)


def signed_at(stage: Stage, tables: Tables, unit: str) -> str | None:
    """When a bureau signed for the whistle, on its own phone."""
    summons = tables.records[str(projection_id(stage.records["whistle"], unit))].body
    signed = [step for step in summons["steps"] if step["command"] == "summons.sign"]
    return str(signed[0].get("captured_at") or signed[0]["at"]) if signed else None


def is_late(at: str | None, due: str | None) -> bool:
    return at is not None and due is not None and datetime.fromisoformat(at) > datetime.fromisoformat(due)


def _problems(stage: Stage, tables: Tables) -> None:
    stage.teller.chapter("问题 · 一路怎么走、现在等谁", "Problems: their way, and whom they wait for")
    table = plain_table(("问题", "problem"), ("一路", "its way"), ("现在", "now"))
    records = [tables.records[str(stage.records[key])] for key in CASES] + visit_problems(stage, tables)
    for record in records:
        table.add_row(
            wrapped(f"{stage.place(record.body['unit'])} · {record.body['title']}", 22), wrapped(_way(record), 44), _now(stage, record)
        )
    stage.teller.show(table)
    others = [r for r in tables.of_kind("problem") if r not in records and r.body["state"] in WAITING]
    stage.teller.note(f"其余 {len(others)} 个问题照旧等镇办核实或在整改", f"{len(others)} other problems wait as before")


def visit_problems(stage: Stage, tables: Tables) -> list[Record]:
    """What the unannounced visit found."""
    visit = str(stage.records["secret_inspection"])
    return [one for one in tables.of_kind("problem") if one.body.get("inspection") == visit]


def _way(record: Record) -> str:
    words = [STEPS.get(str(step["command"]), str(step["command"])) for step in record.body["steps"]]
    return " → ".join(words)


def _now(stage: Stage, record: Record) -> Text:
    body = record.body
    state = body["state"]
    if state not in WAITING:
        return Text("已销号", "green")
    who = "、".join(_unit(stage, unit) for unit in body["leads"]) if state in ("assigned", "rectifying") else ""
    due = f"，限 {body['due_on']}" if who and body.get("due_on") else ""
    return Text(wrapped(f"{WAITING[state]} {who}{due}", 18), "yellow")


def _mechanisms(stage: Stage, tables: Tables) -> None:
    stage.teller.chapter("机制 · 这一周各做了什么", "What each mechanism did")
    seen: dict[str, Any] = stage.observed.week
    draw, secret = seen["draw"], seen["secret"]
    false = tables.records[str(stage.records["false"])].body
    due = tables.records[str(stage.records["whistle"])].body["summons"][HOUSING]["sign_due_at"]
    signed = signed_at(stage, tables, HOUSING)
    assert signed is not None
    lines = (
        (
            "迟签",
            f"住建局限 {when(due)} 签收，{when(signed)} 才签：照实记下；发布的三色规则没有这一条，所以没有牌",
            "housing signed after its time: it is on record; no published rule has a letter for it",
        ),
        ("停机补发", f"停机两天，恢复后补发 {len(seen['caught_up'])} 件，时刻分毫不差", "issued after downtime, at the exact moments"),
        ("晚到证据", f"一块白牌{BECAUSE[seen['overturned'][1]]}，记录还在", "one letter overturned, not erased"),
        ("虚假整改", f"退回 {false['returns']} 次，新照片再交，换人到场验收", "returned once, then accepted on the spot by another"),
        (
            "回头看",
            f"反弹 {seen['rebound']['rebounds']} 次，同一份档案 {len(seen['rebound']['steps'])} 步",
            "a rebound reopened the same record",
        ),
        (
            "双随机",
            f"抽中{'、'.join(draw['sites'])}；出发前 {draw['tasks_sealed']} 个任务外泄，出发后 {draw['tasks_departed']} 个下达；原件一致，改动的副本不一致",
            "the file verifies; the tampered copy does not",
        ),
        (
            "暗访",
            f"反馈前 {secret['searched']} 部手机 {len(secret['traces'])} 处痕迹；反馈后镇上看到 {secret['after']} 个问题",
            "no trace before disclosure, the whole finding after it",
        ),
    )
    table = Table.grid(padding=(0, 2, 0, 1))
    table.add_column(width=10)
    table.add_column()
    for title, zh, en in lines:
        table.add_row(Text(title, "bold"), wrapped_text(zh, en, stage.teller.console.width - 18))
    stage.teller.show(table)
