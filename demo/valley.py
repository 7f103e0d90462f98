"""08:40 to 11:10: what twelve people see and type without signal, while the office goes on working."""

from __future__ import annotations

from typing import Final

from demo.morning import SITES, visited
from demo.people import YINGPANYA
from demo.radio import Signal
from demo.stage import Stage, near

BRIDGE: Final = "施工扬尘检查·柴河便民桥工地"
BRIDGE_SITE: Final = "监管对象·柴河便民桥工地"

CHAIN: Final = {
    "responsible_party": {"value": "茨口村委会"},
    "chain_discharger": {"value": "茨口豆腐坊"},
    "chain_outfall": {"value": "付家河左岸 3 号"},
    "chain_pipeline": {"value": "DN200 暗管"},
    "chain_source": {"value": "豆腐坊废水"},
}


async def two_on_one_site(stage: Stage) -> None:
    """One shared inspection and one site, two phones, neither hears of the other."""
    stage.at("08:40")
    shen, luo = stage.hands["shen"], stage.hands["luo"]
    visit, site = stage.records["bridge"], stage.sites["bridge"]
    covering = {"value": "no", "note": "东侧土堆约 40 方未覆盖"}
    stage.mutations["shen_answers"] = shen.edit(visit, BRIDGE, {"answers.sprinkling": {"value": "yes"}, "answers.covering": covering})  # type: ignore[assignment]
    shen.take_photo(visit, "dust", "东侧裸土", near(1), item="covering")
    shen.edit(site, BRIDGE_SITE, {"contact": "项目经理许师傅", "position": {"lat": 32.934121, "lng": 109.156004, "accuracy_m": 4.0}})
    shen.edit(visit, BRIDGE, {"note": "上午八点四十到场，雾炮已开"})
    stage.tell(
        shen,
        "桥头工地：洒水「是」，覆盖「否」（土堆未盖），拍照；把工地定位改到桥头",
        "sprinkling yes, covering no, a photo; moves the site's position",
    )
    stage.at("08:55")
    washing = {"value": "no", "note": "出口无冲洗台，带泥上路"}
    values = {
        "answers.washing": washing,
        "answers.enclosure": {"value": "yes"},
        "answers.sprinkling": {"value": "no", "note": "洒水车坏了"},
    }
    stage.mutations["luo_answers"] = luo.edit(visit, BRIDGE, values)  # type: ignore[assignment]
    luo.take_photo(visit, "dust", "出口带泥", near(1), item="washing")
    luo.edit(
        site,
        BRIDGE_SITE,
        {"contact_phone": "13909150000", "tags": ["夜间施工"], "position": {"lat": 32.93377, "lng": 109.15571, "accuracy_m": 9.0}},
    )
    luo.command(visit, BRIDGE, "inspection.submit", shows={"state": "submitted"})
    stage.tell(
        luo,
        "同一工地、同一检查单：洒水「否」（洒水车坏了），冲洗「否」；也改了定位",
        "same site, same sheet: sprinkling NO, washing no; moves the position too",
        mark="yellow",
    )


async def two_visits_of_one_outfall(stage: Stage) -> None:
    """Two inspections of one site are two records; the two problems name each other."""
    stage.at("09:10")
    wang, chen = stage.hands["wang"], stage.hands["chen"]
    answers = {**CHAIN, "no_abnormality": {"value": "no", "note": "水色发黑，有泡沫"}}
    visit = visited(wang, stage, "outfall", answers)
    stage.records["outfall"] = visit
    wang.take_photo(visit, "outfall", "排口黑水", near(2), item="no_abnormality")
    stage.tell(wang, "付家河 3 号排口：水色发黑、有泡沫，拍照，提交", "outfall no. 3: black water and foam, a photo, submitted")
    stage.at("09:25")
    answers = {**CHAIN, "no_abnormality": {"value": "no", "note": "早上路过有臭味"}, "sign_notice": {"value": "no", "note": "公告牌倒了"}}
    other = visited(chen, stage, "outfall", answers)
    chen.take_photo(other, "outfall", "倒下的公告牌", near(2), item="sign_notice")
    stage.tell(
        chen, "不知道王德厚来过，自己又查了一遍：有臭味，公告牌倒了", "does not know of Wang's visit; makes her own: both will be kept"
    )


async def a_wrong_clock(stage: Stage) -> None:
    """His phone believes it is Saturday."""
    stage.at("09:50")
    tan = stage.hands["tan"]
    answers = {
        "no_straw_burning": {"value": "yes"},
        "no_burn_scar": {"value": "no", "note": "地边有两处旧灰堆"},
        "straw_destination": {"value": "untreated"},
    }
    visit = visited(tan, stage, "maize", answers)
    stage.records["maize"] = visit
    tan.take_photo(visit, "straw", "旧灰堆", near(5), item="no_burn_scar")
    tan.take_photo(visit, "straw", "未处理秸秆", near(5), item="straw_destination")
    stage.tell(
        tan,
        "手机日期快了两天（显示 10 月 24 日）。照常检查、拍照：有焚烧痕迹",
        "his phone is two days fast; he inspects all the same: burn scars",
        mark="yellow",
    )


async def fixed_on_the_spot(stage: Stage) -> None:
    """Put out at once, and entered all the same, with both photos."""
    stage.at("10:20")
    ma, place = stage.hands["ma"], near(4)
    answers = {
        "no_straw_burning": {"value": "no", "note": "坡上两堆秸秆正在烧"},
        "burnt_area": {"value": 0.3},
        "grid_duty": {"value": "yes"},
    }
    visit = visited(ma, stage, "slope", answers)
    ma.take_photo(visit, "straw", "正在焚烧", place, item="no_straw_burning")
    body = {
        "unit": YINGPANYA,
        "subject": "open_burning",
        "site": str(stage.sites["slope"]),
        "title": "村民就地焚烧秸秆，现场扑灭",
        "description": "两堆约三分地，已劝导并浇灭",
    }
    problem = ma.create("problem", "问题·现场扑灭秸秆火", body)
    ma.take_photo(problem, "straw", "扑灭前", place, purpose="before")
    ma.take_photo(problem, "straw", "扑灭后", place, purpose="after")
    ma.command(problem, "问题·现场扑灭秸秆火", "problem.fix_on_spot", shows={"state": "submitted"})
    stage.tell(
        ma,
        "坡地两堆秸秆在烧：拍照、浇灭、再拍照；当场整改也要入台账",
        "two fires: photo, put out, photo again; fixed on the spot is an entry all the same",
    )


async def struck_off_in_the_office(stage: Stage) -> None:
    """The clerk hears that the inn has closed; the man on the spot sees that it has not."""
    stage.at("10:30")
    ding, xie = stage.hands["ding"], stage.hands["xie"]
    ding.delete(stage.sites["closed_inn"], f"监管对象·{SITES['closed_inn'][0]}")
    await ding.sync_fully(Signal.GOOD)
    stage.tell(ding, "听说望牛山庄停业，从台账删除", "has heard that the inn 望牛山庄 closed: deletes it from the ledger", Signal.GOOD)
    stage.at("10:55")
    xie.edit(
        stage.sites["closed_inn"],
        f"监管对象·{SITES['closed_inn'][0]}",
        {"note": "老板换人，国庆起重新开业，8 间房", "contact": "新老板刘姐"},
    )
    answers = {
        "protection_zone": {"value": "general"},
        "discharge_clean": {"value": "no", "note": "厨房污水直排水沟"},
        "river_clear": {"value": "yes"},
        "outcome": {"value": "upgrade"},
    }
    visit = visited(xie, stage, "inn", answers)
    xie.take_photo(visit, "inn", "厨房直排", near(6), item="discharge_clean")
    xie.take_photo(visit, "inn", "云上人家全景", near(6))
    stage.tell(
        xie,
        "到现场一看：望牛山庄换了老板又开业，补记；隔壁云上人家污水直排",
        "finds it open again and edits it, unaware; next door: kitchen sewage into the ditch",
        mark="yellow",
    )


async def cancelled_but_finished(stage: Stage) -> None:
    """The lead cancels what has already been walked to."""
    stage.at("11:00")
    gao, peng, task = stage.hands["gao"], stage.hands["peng"], stage.records["task"]
    gao.command(task, "任务·复查白岩安置点", "task.cancel", {"cancel_reason": "住建局下午统一复查"}, shows={"state": "cancelled"})
    await gao.sync_fully(Signal.GOOD)
    stage.tell(gao, "取消白岩复查任务（住建局下午统一去）", "cancels the task at Baiyan", Signal.GOOD)
    stage.at("11:10")
    answers = {"covering": {"value": "yes"}, "site_listed": {"value": "yes"}, "covering_share": {"value": 100}}
    visit = visited(peng, stage, "quarter", answers, task=str(task))
    peng.take_photo(visit, "dust", "已全部覆盖", near(11), item="covering")
    peng.command(task, "任务·复查白岩安置点", "task.finish", {"result": "土堆已全部覆盖，拍照为证"}, shows={"state": "finished"})
    stage.tell(peng, "不知已取消，走了七里路把活干完：任务完成", "does not know, has walked there and finished it")


VALLEY: Final = (
    two_on_one_site,
    two_visits_of_one_outfall,
    a_wrong_clock,
    fixed_on_the_spot,
    struck_off_in_the_office,
    cancelled_but_finished,
)
