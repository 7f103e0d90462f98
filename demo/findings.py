"""What merged, what waits for whom, where the problems went, and what came of everything that went wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.table import Table
from rich.text import Text

from contracts.people import Role
from demo.people import COUNTY, COUNTY_NAME
from demo.stage import Stage
from demo.tables import HELD, Entry, Record, Tables
from demo.wording import clock, desk_of, field_name, plain_table, value_text, writers
from demo.wrapping import wrapped, wrapped_text


def show(stage: Stage, tables: Tables) -> None:
    what_merged(stage, tables)
    what_waits(stage, tables)
    where_problems_went(stage, tables)
    what_went_wrong(stage, tables)


# ------------------------------------------------------------------------------------------------ merged


def what_merged(stage: Stage, tables: Tables) -> None:
    """Field by field, who wrote what of the one sheet that two people filled in."""
    stage.teller.chapter("合并 · 两人同填一份检查单", "Merged: two people, one sheet")
    record = tables.records[str(stage.records["bridge"])]
    table = plain_table(("检查项", "item"), ("结果", "in the record now"), ("谁填的", "by"))
    by, known = writers(stage), record.fields
    conflicts = {row.body["field"]: row.body for row in _conflicts(tables) if row.body["record"] == record.id}
    for item, answer in record.body["answers"].items():
        name = f"answers.{item}"
        writer = known.get(name, known.get("*", [0, 0, "", 0]))
        hand = by.get(str(writer[2]))
        lost = f"  ← 另一值「{value_text(conflicts[name]['lost'])}」" if name in conflicts else ""
        author = hand.name if hand else "核定"
        table.add_row(field_name("inspection", name, record.body), Text.assemble(value_text(answer), (lost, "yellow")), author)
    table.add_row(field_name("inspection", "note", record.body), value_text(record.body["note"]), stage.hands["shen"].name)
    site = tables.records[str(stage.sites["bridge"])]
    for name in ("contact", "contact_phone", "tags"):
        hand = by.get(str(site.fields[name][2]))
        table.add_row(
            Text.assemble(("工地 ", "dim"), field_name("site", name, site.body)), value_text(site.body[name]), hand.name if hand else ""
        )
    stage.teller.show(table)


# ------------------------------------------------------------------------------------------------ waiting


def _conflicts(tables: Tables) -> list[Record]:
    return tables.of_kind("conflict")


def what_waits(stage: Stage, tables: Tables) -> None:
    stage.teller.chapter("待定 · 什么在等谁", "Waiting: what, and for whom")
    table = plain_table(("什么", "what"), ("现值", "kept"), ("另一值", "the other value"), ("等谁", "waits for"))
    by, cells = writers(stage), (stage.teller.console.width - 9) // 4
    for row in _conflicts(tables):
        body = row.body
        source = tables.records[body["record"]]
        title = f"{source.body.get('name') or body['record_title']}·{field_name(body['record_kind'], body['field'], source.body)}"
        waits = desk_of(stage, row.id) if body["state"] == "open" else f"✓ {_person(stage, body['settled_by'])}已定"
        style = "green" if body["state"] != "open" else "yellow"
        what = wrapped(_titled(stage, source, title), cells)
        table.add_row(what, _by(by, body, "kept", cells), _by(by, body, "lost", cells), Text(wrapped(waits, cells), style))
    for device, entries in _held_by_device(tables).items():
        table.add_row(*_held_row(stage, tables, by[device].name, entries, cells))
    stage.teller.show(table)


def _titled(stage: Stage, source: Record, title: str) -> str:
    """An inspection has no name of its own: its site's."""
    if source.kind != "inspection":
        return title
    names = {str(record): key for key, record in stage.sites.items()}
    site = stage.hands["ding"].what[stage.sites[names[source.body["site"]]]]
    return f"{site.partition('·')[2]}·{title.partition('·')[2]}"


def _by(by: dict[str, Any], body: dict[str, Any], which: str, cells: int) -> Text:
    hand = by.get(str((body.get(f"{which}_by") or [""])[0]))
    return Text.assemble(wrapped(value_text(body[which]), cells), (f"\n{hand.name}" if hand else "", "dim"))


def _person(stage: Stage, person: str) -> str:
    return next((hand.name for key, hand in stage.hands.items() if stage.persons[key]["id"] == person), "")


OFFICE = (Role.TOWNSHIP_STAFF, Role.TOWNSHIP_LEAD, Role.COUNTY_SUPERVISOR)
REASONS = {"no_duty": "采集时已无此村职责", "waits_for": "随前一项"}
OPERATIONS = {"create": "新建", "edit": "修改", "inspection.submit": "提交"}
KIND_NAMES = {"inspection": "检查", "photo": "照片", "site": "监管对象"}


def _held_by_device(tables: Tables) -> dict[str, list[Entry]]:
    """The open items of the desk, as they came."""
    held: dict[str, list[Entry]] = defaultdict(list)
    for entry in tables.journal:
        if entry.what == "mutation" and tables.last[entry.device, entry.n].outcome in HELD and tables.held[entry.device, entry.n][1]:
            held[entry.device].append(entry)
    return held


def _held_row(stage: Stage, tables: Tables, name: str, entries: list[Entry], cells: int) -> tuple[Any, ...]:
    raws = [entry.raw for entry in entries if entry.raw is not None]
    what = "、".join(_act(raw) for raw in raws)
    reason = REASONS.get(entries[0].reason, entries[0].reason)
    at = clock(datetime.fromtimestamp(raws[0]["at"]["wall_ms"] / 1000, UTC))
    unit = tables.held[entries[0].device, entries[0].n][0]
    return (
        wrapped(f"{name}：{what}", cells),
        Text(wrapped(reason, cells), "yellow"),
        Text(wrapped(f"{len(raws)} 条原样保存，采集于 {at}", cells), "dim"),
        Text(wrapped(_deciders(stage, unit), cells), "yellow"),
    )


def _act(raw: dict[str, Any]) -> str:
    return f"{OPERATIONS.get(raw['op'], raw['op'])}{KIND_NAMES.get(raw['kind'], raw['kind'])}"


def _deciders(stage: Stage, unit: str) -> str:
    """Whose desk it is: office duties at the unit or above it."""
    return "、".join(hand.name for hand in stage.all_hands() if hand.member.role in OFFICE and unit.startswith(hand.member.unit))


# ------------------------------------------------------------------------------------------------ problems


def where_problems_went(stage: Stage, tables: Tables) -> None:
    """Every `no` opened a problem; the responsibility table says who gets it first."""
    stage.teller.chapter("问题 · 一个「否」开一个问题，派给谁", "Problems, and who gets them")
    by_departments: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    problems = sorted(tables.of_kind("problem"), key=lambda one: (one.stream, one.id))
    doubles = sum(bool(problem.body.get("suspected_duplicates")) for problem in problems)
    for problem in problems:  # what two share stands once, under both of them
        names = "、".join(_department(stage, one) for one in problem.body.get("departments") or ["-"])
        by_departments[names][problem.body["unit"]].append(problem.body["title"])
    table = plain_table(("派给", "goes to"), ("件", "n"), ("哪里、哪一项没有达到", "where, and which item failed"))
    for names, places in sorted(by_departments.items(), key=lambda pair: -_count(pair[1])):
        listed = "\n".join(f"{stage.place(unit)}：{_counted(titles)}" for unit, titles in places.items())
        table.add_row(wrapped(names, 22), str(_count(places)), wrapped(listed, stage.teller.console.width - 36))
    table.add_section()
    table.add_row("合计 all", str(len(problems)), "", style="bold")
    stage.teller.show(table)
    stage.teller.note(
        f"{doubles} 个问题疑似重复（两人分别查了同一排口），互相指明，都保留", f"{doubles} suspected duplicates: linked, both kept"
    )


def _count(places: dict[str, list[str]]) -> int:
    return sum(len(titles) for titles in places.values())


def _counted(titles: list[str]) -> str:
    return "；".join(f"{title}（{n} 起）" if n > 1 else title for title, n in Counter(titles).items())


def _department(stage: Stage, identifier: str) -> str:
    known = {"county": f"{COUNTY_NAME}政府", "township": "镇办", "-": "现场已整改"}
    unit = stage.units.get(f"{COUNTY}-{identifier}")
    return known.get(identifier) or (unit.name.removeprefix(COUNTY_NAME) if unit else identifier)


# ------------------------------------------------------------------------------------------------ mishaps


def what_went_wrong(stage: Stage, tables: Tables) -> None:
    stage.teller.chapter("出过的事 · 各自的结局", "What went wrong, and what came of it")
    lines = (
        _lost_answer(stage),
        _killed_upload(stage),
        _killed_server(stage),
        _wrong_clock(stage, tables),
        _reassigned(stage),
        *_late(stage, tables),
    )
    table = Table.grid(padding=(0, 2, 0, 1))
    table.add_column(width=10)
    table.add_column()
    for title, zh, en in lines:
        table.add_row(Text(title, "bold"), wrapped_text(zh, en, stage.teller.console.width - 18))
    stage.teller.show(table)


def _lost_answer(stage: Stage) -> tuple[str, str, str]:
    seen = stage.observed
    assert seen.lost_answer is not None
    first = [(o["n"], o["outcome"]) for o in seen.lost_answer.outcomes]
    same = first == seen.answered_again
    word = "完全相同" if same else f"不同：{first} ≠ {seen.answered_again}"
    return (
        "丢失的回执",
        f"第一次答复 {len(first)} 条，重交后的答复{word}；日志里每个序号只有一次",
        "the lost answer and the repeated one are the same",
    )


def _killed_upload(stage: Stage) -> tuple[str, str, str]:
    seen = stage.observed.killed_upload
    total = seen["before"] + seen["after"]
    again = total - seen["size"]
    zh = f"{seen['size']} 字节的照片：断前 {seen['before']}，续传 {seen['after']}，重复传送 {again} 字节"
    return "断掉的照片", zh, f"resumed; {again} bytes were sent twice"


def _killed_server(stage: Stage) -> tuple[str, str, str]:
    seen = stage.observed
    left = f"还有 {seen.at_kill['unsent']} 条表单、{seen.at_kill['photo_bytes_left'] // 1024} KiB 照片在手机上"
    zh = f"服务器和 PostgreSQL（pid {seen.server_pids[0]}、{seen.postgres_pids[0]}）被杀时{left}；{seen.seconds_away:.1f} 秒后恢复，手机各自重试"
    return "kill -9", zh, f"server and PostgreSQL were killed in the middle; {seen.seconds_away:.1f} s later the phones went on"


def _wrong_clock(stage: Stage, tables: Tables) -> tuple[str, str, str]:
    """The phone's word against the server's judgement, from the journal."""
    entry = next(e for e in tables.by_record[str(stage.records["maize"])] if e.op == "create")
    assert entry.raw is not None
    assert entry.captured is not None
    said = clock(datetime.fromtimestamp(entry.raw["at"]["wall_ms"] / 1000, UTC))
    start, end = entry.captured
    is_known = end - start < timedelta(minutes=1)  # but for the drift of a quartz
    judged = clock(start + (end - start) / 2) if is_known else f"{clock(start)} 至 {clock(end)}"
    return (
        "错的时钟",
        f"手机说 {said}，服务器判定采集于 {judged}（同一时钟段内只信间隔，不信日期）",
        f"the phone said {said}; captured, as judged: {judged}",
    )


def _reassigned(stage: Stage) -> tuple[str, str, str]:
    seen, zhou = stage.observed.reassigned, stage.hands["zhou"]
    zh = f"{zhou.name}：铁尺村 {seen['before']} 条记录已从手机移除（剩 {seen['after']}），收到二郎村 {seen['new']} 条；中午前的检查有效，之后的待核定"
    return "中午调岗", zh, f"what was of the old village ({seen['before']}) left the phone after its own work was receipted"


def _late(stage: Stage, tables: Tables) -> list[tuple[str, str, str]]:
    task = tables.records[str(stage.records["task"])].body
    inn = tables.records[str(stage.sites["closed_inn"])]
    return [
        (
            "取消与完成",
            f"任务状态 {task['state']}：干完的活胜过取消；取消理由「{task['cancel_reason']}」也留着",
            "finished work beats a cancellation; both are kept",
        ),
        (
            "删除对修改",
            f"望牛山庄{'已删' if inn.deleted else '仍在册'}：现场的修改保留，删除成为待定冲突",
            "the edit survives, the deletion waits as a conflict",
        ),
    ]
