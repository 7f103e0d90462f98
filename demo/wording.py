"""How fields, values and moments are called in the account: by the words declared in contracts/, as the apps call them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from rich import box
from rich.table import Table

from contracts.checklist import load_checklists
from contracts.kinds import KINDS
from contracts.meta import field_rules
from demo.hands import Hand
from demo.hours import ANKANG
from demo.stage import Stage

YES_NO: Final = {"yes": "是", "no": "否", "na": "不适用"}


def field_name(kind: str, name: str, body: dict[str, Any]) -> str:
    """ "覆盖100%" for `answers.covering` of a dust inspection; "位置" for a site's position."""
    if name == "-":
        return "删除"
    head, dot, item = name.partition(".")
    if dot and (ref := body.get("checklist")):
        checklist = load_checklists()[f"{ref['slug']}.{ref['jurisdiction']}", ref["version"]]
        return next((one.text.zh for one in checklist.items if one.key == item), item)
    rules = field_rules(KINDS[kind].body)
    return rules[head].label if head in rules else name


def value_text(value: Any) -> str:
    """What a person would say: 否（洒水车坏了）; 32.93377, 109.15571 ±9 m."""
    match value:
        case None:
            return "（在册）"
        case "delete":
            return "删除"
        case {"value": answer, **more}:
            note = more.get("note")
            return f"{YES_NO.get(str(answer), str(answer))}{f'（{note}）' if note else ''}"
        case {"lat": lat, "lng": lng, **more}:
            return f"{lat:.5f}, {lng:.5f} ±{more.get('accuracy_m', 0):.0f} m"
        case list():
            return "、".join(map(str, value))
        case str():
            return value
        case _:
            return json.dumps(value, ensure_ascii=False)


def clock(moment: datetime) -> str:
    return moment.astimezone(ANKANG).strftime("%m-%d %H:%M")


def writers(stage: Stage) -> dict[str, Hand]:
    """Device id -> whose phone it is."""
    return {str(hand.phone.account.device): hand for hand in stage.hands.values()}


def desk_of(stage: Stage, record: str) -> str:
    """On whose phones it waits, nearest first: computed from the phones' stores."""
    return "、".join(hand.name for hand in stage.all_hands() if any(str(view.id) == record for view in hand.phone.conflicts()))


def plain_table(*columns: tuple[str, str], numbers: int = 0) -> Table:
    """Columns as (Chinese, English); the last `numbers` are right-aligned."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1))
    for place, (zh, en) in enumerate(columns):
        is_number = place >= len(columns) - numbers
        table.add_column(
            f"{zh}\n[dim not bold]{en}[/]",
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=is_number or (place == 0 and numbers > 1),
        )
    return table
