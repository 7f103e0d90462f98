"""06:30 to 08:00: accounts, the ledger of sites, everybody's first sync in the township's yard. Then the signal ends."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from contracts.ids import RecordId
from demo.hands import Hand
from demo.office import own_password
from demo.people import BAIYAN, CHAIHE, CIKOU, ERLANG, FOYEYAN, HONGYAN, TIECHI, TOWNSHIP_NAME, WANGMANG, XIGOU, YINGPANYA
from demo.radio import Signal
from demo.stage import Stage, near

# short name -> (name, village, checklist, spot); all invented
SITES: Final = {
    "bridge": ("柴河便民桥工地", CHAIHE, "construction_dust", 1),
    "outfall": ("茨口村付家河左岸 3 号排口", CIKOU, "river_outfall", 2),
    "drain": ("西沟村集镇雨污混排口", XIGOU, "river_outfall", 3),
    "slope": ("营盘垭大坪坡耕地", YINGPANYA, "open_burning", 4),
    "maize": ("王莽村河坝玉米地", WANGMANG, "open_burning", 5),
    "inn": ("云上人家农家乐", FOYEYAN, "farmhouse_inn", 6),
    "closed_inn": ("望牛山庄", FOYEYAN, "farmhouse_inn", 7),
    "homestay": ("红岩小院民宿", HONGYAN, "farmhouse_inn", 8),
    "road": ("铁尺村通村路拓宽工地", TIECHI, "construction_dust", 9),
    "terrace": ("二郎村梯田", ERLANG, "open_burning", 10),
    "quarter": ("白岩村安置点工地", BAIYAN, "construction_dust", 11),
}
VISIT_KINDS: Final = {
    "construction_dust": "施工扬尘检查",
    "river_outfall": "排污口检查",
    "open_burning": "禁烧巡查",
    "farmhouse_inn": "农家乐检查",
}


def inspection_of(stage: Stage, site: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """(what people call it, body) of a visit of a site."""
    name, unit, slug, spot = SITES[site]
    checklist = {"slug": slug, "jurisdiction": "ankang", "version": 1}
    body = {"unit": unit, "subject": slug, "checklist": checklist, "site": str(stage.sites[site]), "position": near(spot), **more}
    return f"{VISIT_KINDS[slug]}·{name}", {key: _plain(value) for key, value in body.items()}


def _plain(value: Any) -> Any:
    fields = getattr(value, "__struct_fields__", None)
    return {name: getattr(value, name) for name in fields if getattr(value, name) is not None} if fields else value


async def everybody_enrols(stage: Stage) -> None:
    """Phone number and password, once; the phone keeps tokens, not the password."""
    stage.at("07:10")
    for hand in stage.all_hands():
        password = str(stage.persons[hand.member.key]["password"])
        await hand.phone.enrol(hand.member.number, password, f"{hand.name}的手机", new_password=own_password(hand.member))
    stage.tell_office(
        f"{len(stage.hands)} 部手机用手机号和密码登记；每部有自己的本地库（一个 SQLite 文件）",
        f"{len(stage.hands)} phones enrol; each is an offline client with a store of its own",
        where=TOWNSHIP_NAME,
    )


async def the_ledger(stage: Stage) -> None:
    """The township's clerk enters the sites and a task on her own phone; it is the same path for all."""
    stage.at("07:20")
    ding = stage.hands["ding"]
    for key, (name, unit, slug, spot) in SITES.items():
        body = {"name": name, "unit": unit, "subjects": [slug], "position": _plain(near(spot, 30.0))}
        stage.sites[key] = ding.create("site", f"监管对象·{name}", body)
    task = {
        "title": "复查白岩安置点工地覆盖",
        "unit": BAIYAN,
        "subject": "construction_dust",
        "sites": [str(stage.sites["quarter"])],
        "due_on": "2026-10-23",
    }
    stage.records["task"] = ding.create("task", "任务·复查白岩安置点", task)
    await ding.sync_fully(Signal.GOOD)
    stage.tell(
        ding,
        f"录入 {len(SITES)} 个监管对象（扬尘、秸秆、排污口、农家乐四类）和一项任务，同步",
        f"enters {len(SITES)} sites of four subjects and a task, and syncs",
        Signal.GOOD,
    )


async def first_sync(stage: Stage) -> None:
    """What each phone gets: its own village, the checklists of the county, nothing else."""
    stage.at("07:30")
    await asyncio.gather(*(hand.sync_fully(Signal.GOOD) for hand in stage.all_hands()))
    shen = stage.hands["shen"]
    checklists = len(shen.phone.records("checklist"))
    stage.tell_office(
        f"镇政府院坝，人人同步：每人只收到本村的监管对象，加全区 {checklists} 份检查清单",
        f"first sync in the yard: own village only, and the county's {checklists} checklists",
        where=TOWNSHIP_NAME,
    )


async def opened_together(stage: Stage) -> None:
    """One shared inspection, on two phones, before the signal ends; and a task accepted."""
    stage.at("07:45")
    shen, luo, peng = stage.hands["shen"], stage.hands["luo"], stage.hands["peng"]
    what, body = inspection_of(stage, "bridge")
    stage.records["bridge"] = shen.create("inspection", what, body)
    peng.command(stage.records["task"], "任务·复查白岩安置点", "task.accept", shows={"state": "accepted"})
    for hand in (shen, luo, peng):
        await hand.sync_fully(Signal.GOOD)
    stage.tell(
        shen, "开一份共用检查单（柴河便民桥工地），罗桂香的手机也收到", "opens one shared inspection; Luo's phone has it too", Signal.GOOD
    )


async def the_signal_ends(stage: Stage) -> None:
    stage.at("08:00")
    for hand in stage.in_the_field():
        hand.radio.signal = Signal.NONE
    stage.tell_office(
        f"{len(stage.in_the_field())} 人进山。从这里起没有信号，全部工作只在手机里",
        f"{len(stage.in_the_field())} people leave for the hills. From here on all work is on the phones alone",
        where=TOWNSHIP_NAME,
    )


def visited(hand: Hand, stage: Stage, site: str, answers: dict[str, Any], **more: Any) -> RecordId:
    """A visit from arrival to submission, all offline."""
    what, body = inspection_of(stage, site, answers=answers, **more)
    record = hand.create("inspection", what, body)
    hand.command(record, what, "inspection.submit", shows={"state": "submitted"})
    return record


MORNING: Final = (everybody_enrols, the_ledger, first_sync, opened_together, the_signal_ends)
