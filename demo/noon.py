"""11:20 to 16:30: a reassignment that one phone does not hear of, an answer that gets lost, a battery that ends."""

from __future__ import annotations

import asyncio
from typing import Final

from contracts.people import Role
from demo.morning import visited
from demo.people import ERLANG, TIECHI
from demo.radio import Signal
from demo.stage import Stage, near
from phone.exchange import Ended
from phone.faults import Killed

PIECES_BEFORE_DEATH: Final = 3
UPLOADS_MAX: Final = 20


async def before_noon(stage: Stage) -> None:
    stage.at("11:20")
    zhou, dai = stage.hands["zhou"], stage.hands["dai"]
    visit = visited(zhou, stage, "road", {"sprinkling": {"value": "no", "note": "路面扬尘大"}, "hardening": {"value": "yes"}})
    zhou.take_photo(visit, "dust", "路面扬尘", near(9), item="sprinkling")
    stage.tell(zhou, "铁尺村修路工地：未洒水，拍照", "road works at Tiechi: no sprinkling, a photo")
    visit = visited(dai, stage, "terrace", {"no_straw_burning": {"value": "yes"}, "straw_destination": {"value": "feed"}})
    dai.take_photo(visit, "straw", "秸秆打捆", near(10))
    stage.tell(dai, "二郎村梯田：无焚烧，秸秆打捆作饲料", "Erlang: no burning, the straw becomes feed")


async def reassigned(stage: Stage) -> None:
    """The office knows at once; his phone does not."""
    stage.at("12:00")
    zhou = stage.persons["zhou"]
    await stage.office.reassign(zhou["id"], zhou["duties"][0]["id"], Role.GRID_MEMBER, ERLANG)
    stage.tell_office(
        "周家顺从中午起调往二郎村；他在山里，不知道",
        "Zhou is moved to Erlang as of noon. He is in the hills and does not know",
        mark="yellow",
    )
    stage.at("14:10")
    hand = stage.hands["zhou"]
    visit = visited(hand, stage, "road", {"covering": {"value": "no", "note": "下午两点，土方外运未盖篷布"}})
    stage.records["after_noon"] = visit
    hand.take_photo(visit, "dust", "渣土车未盖篷布", near(9), item="covering")
    stage.tell(hand, "还在铁尺村查：渣土车没盖篷布，拍照（此时他已不管铁尺村）", "still inspects Tiechi, which is his no more")


async def the_village_leaves_his_phone(stage: Stage) -> None:
    """Own work first, then its receipt, and only then the old village's records go."""
    stage.at("14:40")
    hand, seen = stage.hands["zhou"], stage.observed.reassigned
    seen["before"] = _held_of(stage, TIECHI)
    await hand.sync_fully(Signal.ONE_BAR)
    seen["after"] = _held_of(stage, TIECHI)
    seen["new"] = _held_of(stage, ERLANG)
    waiting = len(hand.phone.waiting())
    stage.tell(
        hand,
        f"垭口一格信号：先交活，再换村。上午的入库，下午的 {waiting} 条待核定；铁尺村 {seen['before']} 条记录离开手机，收到二郎村 {seen['new']} 条",
        f"one bar: hands in first; the morning counts, {waiting} of the afternoon wait for a desk; Tiechi leaves the phone, Erlang comes",
        Signal.ONE_BAR,
    )
    hand.edit(stage.sites["terrace"], "监管对象·二郎村梯田", {"note": "已到岗，与戴春兰交接"})


def _held_of(stage: Stage, unit: str) -> int:
    """Copies of a village's records on Zhou's phone."""
    phone = stage.hands["zhou"].phone
    return sum(phone.digest(stream.name)[0] for stream in phone.streams() if stream.name == f"{unit}.field")


async def a_lost_answer(stage: Stage) -> None:
    """Committed, answered, never heard; sent again."""
    stage.at("15:20")
    fan = stage.hands["fan"]
    answers = {
        "traced": {"value": "no", "note": "管线走向不明"},
        "outfall_type": {"value": "mixed_rain_sewage"},
        "sampled": {"value": "pending"},
    }
    visit = visited(fan, stage, "drain", answers)
    fan.take_photo(visit, "outfall", "雨污混排", near(3))
    fan.edit(stage.sites["drain"], "监管对象·西沟村集镇雨污混排口", {"address": "集镇老粮站后 20 米"})
    fan.radio.lose_answers = 1
    synced = await fan.sync(Signal.GOOD)
    assert synced.ended is Ended.OFFLINE
    stage.observed.lost_answer = fan.radio.lost[0]
    stage.tell(
        fan,
        f"交了 {len(fan.radio.lost[0].outcomes)} 条，服务器已入库，回执在半路丢了。手机什么都没删",
        "the server committed; its answer was lost on the way. The phone deletes nothing",
        Signal.ONE_BAR,
        mark="yellow",
    )
    stage.at("15:40")
    await fan.sync_fully(Signal.ONE_BAR)
    again = [
        fan.phone.store.db.execute("SELECT outcome FROM mutation WHERE n = ?", (o["n"],)).fetchone() for o in fan.radio.lost[0].outcomes
    ]
    stage.observed.answered_again = [(o["n"], row[0]) for o, row in zip(fan.radio.lost[0].outcomes, again, strict=True)]
    stage.tell(fan, "再交一次：服务器认得，给出同样的答复，一条也没重复", "hands in again: the same answers, nothing twice", Signal.ONE_BAR)


async def a_killed_upload(stage: Stage) -> None:
    """A large photo goes in pieces; the battery ends after three; the rest goes after charging."""
    stage.at("15:50")
    he, seen = stage.hands["he"], stage.observed.killed_upload
    answers = {
        "protection_zone": {"value": "key"},
        "forest_clear": {"value": "no", "note": "屋后平台压占林地约 60 平方米"},
        "business_regular": {"value": "yes"},
        "outcome": {"value": "shut_down"},
    }
    visit = visited(he, stage, "homestay", answers)
    he.take_photo(visit, "inn", "屋后平台（全景大图）", near(8), item="forest_clear", large=True)
    await he.sync_fully(Signal.ONE_BAR)
    he.radio.die_after_puts = PIECES_BEFORE_DEATH
    seen["size"] = stage.notebook.photos_of("he")[0].bytes
    while "before" not in seen:
        try:
            await he.upload(Signal.ONE_BAR)
        except Killed:
            seen["before"] = he.radio.traffic.photo_bytes
    kib = seen["size"] // 1024
    stage.tell(
        he,
        f"{kib} KiB 的大图传了 {seen['before'] // 1024} KiB，手机没电关机",
        f"a photo of {kib} KiB: dead battery after {seen['before'] // 1024} KiB",
        Signal.ONE_BAR,
        mark="yellow",
    )
    stage.at("16:20")
    he.reopen()
    for _ in range(UPLOADS_MAX):
        uploaded = await he.upload(Signal.ONE_BAR)
        if uploaded.ended is Ended.COMPLETE:
            break
        await asyncio.sleep(0.1)
    seen["after"] = he.radio.traffic.photo_bytes - seen["before"]
    stage.tell(
        he,
        f"充上电接着传，只补 {seen['after'] // 1024} KiB；验过回执才可删照片",
        f"charged again: only the missing {seen['after'] // 1024} KiB travel; verified receipt",
        Signal.ONE_BAR,
    )


NOON: Final = (before_noon, reassigned, the_village_leaves_his_phone, a_lost_answer, a_killed_upload)
