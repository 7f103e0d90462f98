"""The order of the week's scenes, which follow the patrol day: Friday to Thursday, in the same installation, with the same people."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Final

from demo.day import Chapter
from demo.evening import until_quiet
from demo.friday import FRIDAY, WEEKEND
from demo.midweek import THURSDAY, TUESDAY, WEDNESDAY
from demo.monday import MONDAY
from demo.stage import Stage

CHAPTERS: Final = (
    Chapter("10 月 23 日 周五 · 规则、交办、吹哨", "Friday: rules, deadlines, a whistle", FRIDAY),
    Chapter("周末 · 服务器不在，钟还在走", "The weekend: no server, and the clocks go on", WEEKEND),
    Chapter("10 月 26 日 周一 · 补发、追问、推翻", "Monday: what fell due, why, and what late evidence overturns", MONDAY),
    Chapter("10 月 27 日 周二 · 虚假整改、抽签", "Tuesday: a false fix, and a draw nobody can grind", TUESDAY),
    Chapter("10 月 28 日 周三 · 出发、验收、反馈", "Wednesday: departure, acceptance, disclosure", WEDNESDAY),
    Chapter("10 月 29 日 周四 · 反弹", "Thursday: a rebound, and a file that anybody verifies", THURSDAY),
)


async def play_week(stage: Stage) -> None:
    stage.today = date(2026, 10, 23)
    for chapter in CHAPTERS:
        stage.teller.chapter(chapter.zh, chapter.en)
        for scene in chapter.scenes:
            await scene(stage)
    await asyncio.to_thread(stage.installation.stop_worker)
    await until_quiet(stage)
