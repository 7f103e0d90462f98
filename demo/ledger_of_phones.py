"""What each phone sent and what became of it, from the phone's own store."""

from __future__ import annotations

from collections import Counter

from rich.table import Table
from rich.text import Text

from demo.hands import Hand
from demo.stage import Stage
from demo.tables import HELD, Tables
from demo.wording import plain_table


def show(stage: Stage, tables: Tables) -> None:
    stage.teller.chapter("账本 · 每部手机交了什么", "The account: what each phone sent")
    table = plain_table(
        ("谁 · 哪里", "who, where"),
        ("填写", "made"),
        ("入库", "kept"),
        ("合并", "merged"),
        ("冲突", "confl."),
        ("待定", "held"),
        ("照片", "photos"),
        ("KiB", "sent"),
        ("断线", "cuts"),
        numbers=8,
    )
    sums: Counter[str] = Counter()
    for hand in stage.all_hands():
        _row(table, stage, hand, sums)
    table.add_section()
    table.add_row("合计 all", *(str(sums[name]) for name in COLUMNS), style="bold")
    stage.teller.show(table)
    made, journaled = sums["made"], sum(1 for e in tables.journal if e.what == "mutation" and e.device in _devices(stage))
    stage.teller.note(
        f"手机上 {made} 次操作，服务器日志里 {journaled} 条", f"{made} mutations made on phones, {journaled} in the server's journal"
    )


COLUMNS = ("made", "applied", "merged", "conflict", "held", "photos", "sent", "cuts")


def _row(table: Table, stage: Stage, hand: Hand, sums: Counter[str]) -> None:
    counts = counts_of(hand)
    sums.update(counts)
    values = [str(counts[name]) if counts[name] else "·" for name in COLUMNS]
    styles = {"conflict": "yellow", "held": "yellow"}
    cells = [Text(value, styles.get(name, "") if value != "·" else "dim") for name, value in zip(COLUMNS, values, strict=True)]
    table.add_row(Text.assemble(hand.name, (f" {stage.place(hand.member.unit)}", "dim")), *cells)


def counts_of(hand: Hand) -> Counter[str]:
    """From the store: every own mutation is still in it, with what the server said."""
    rows = hand.phone.store.db.execute("SELECT coalesce(outcome, 'unsent'), count(*) FROM mutation GROUP BY 1").fetchall()
    outcomes = dict(rows)
    traffic = hand.radio.traffic
    return Counter(
        made=sum(outcomes.values()),
        applied=outcomes.get("applied", 0),
        merged=outcomes.get("merged", 0),
        conflict=outcomes.get("conflict", 0),
        held=sum(outcomes.get(name, 0) for name in HELD),
        photos=len(hand.phone.photos()),
        sent=traffic.up_bytes // 1024,
        cuts=traffic.failures,
    )


def _devices(stage: Stage) -> set[str]:
    return {str(hand.phone.account.device) for hand in stage.hands.values()}
