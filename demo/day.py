"""The order of the scenes. `build` prepares a stage; `play` plays it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from contracts.ids import UnitCode
from contracts.people import Unit
from demo.evening import EVENING
from demo.hands import Hand
from demo.installation import Installation
from demo.morning import MORNING
from demo.noon import NOON
from demo.notebook import Notebook
from demo.office import Office, insert_admin
from demo.people import CAST
from demo.stage import Stage
from demo.telling import Teller
from demo.valley import VALLEY
from storage.pool import open_pool
from storage.units import load_units

Scene = Callable[[Stage], Awaitable[None]]
FAST_CLOCK: Final = {"tan": 2}  # days ahead


class Chapter(NamedTuple):
    zh: str
    en: str
    scenes: Sequence[Scene]


CHAPTERS: Final = (
    Chapter("清晨 · 镇政府院坝", "Morning, in the township's yard", MORNING),
    Chapter("上午 · 山谷，无信号", "Forenoon, in the valley, no signal", VALLEY),
    Chapter("午后 · 调岗、丢回执、没电", "Afternoon: everything goes wrong", NOON),
    Chapter("傍晚 · 下山", "Evening: everybody comes home", EVENING),
)


async def build(installation: Installation, teller: Teller) -> Stage:
    """People by the office's HTTP API, phones as files; nobody has logged in yet."""
    async with await open_pool(installation.dsn, size_min=0, size_max=1) as pool, pool.acquire() as conn:
        units: dict[UnitCode, Unit] = await load_units(conn)
    installation.time.set("07:00")
    now = installation.time.now()
    office = Office(installation.url)
    await office.log_in(await insert_admin(installation.dsn, now))
    notebook, folder = Notebook(), Path(installation.folder) / "phones"
    folder.mkdir()
    hands = {
        key: Hand(member, folder, installation.url, installation.time, notebook, days_ahead=FAST_CLOCK.get(key, 0))
        for key, member in CAST.items()
    }
    persons = {key: await office.create(member, now) for key, member in CAST.items()}
    return Stage(installation=installation, teller=teller, office=office, hands=hands, units=units, notebook=notebook, persons=persons)


async def play(stage: Stage) -> None:
    for chapter in CHAPTERS:
        stage.teller.chapter(chapter.zh, chapter.en)
        for scene in chapter.scenes:
            await scene(stage)


async def close(stage: Stage) -> None:
    for desk in (stage.office, *stage.desks.values()):
        await desk.close()
    for hand in stage.all_hands():
        await hand.close()
