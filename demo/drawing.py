"""A random draw that nobody can grind: committed, seeded by a second party, sealed until departure, disclosed, verified by a stranger."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, Final

from demo.casework import in_reach
from demo.installation import ROOT
from demo.morning import SITES
from demo.notebook import at_desk
from demo.people import COUNTY, COUNTY_NAME, ENVIRONMENT, HOUSING
from demo.stage import Stage

TITLE: Final = "十月扬尘、排污联合双随机"
NONCE: Final = "3-6-2-5-1-4-4-2-6-1-3-5-2-2-6-4"  # sixteen throws of a die
POOL: Final = {"bridge": 4, "outfall": 3, "drain": 3, "inn": 2, "homestay": 2, "road": 1, "quarter": 1}
INSPECTORS: Final = {"qin": ENVIRONMENT, "kang": ENVIRONMENT, "shi": HOUSING, "jiang": HOUSING}
WHAT: Final = "抽查·联合双随机"


def path_of(stage: Stage, act: str = "") -> str:
    return f"/office/v1/draws/{COUNTY}/{stage.records['draw']}{'/' + act if act else ''}"


async def committed_and_drawn(stage: Stage) -> None:
    stage.at("10:00")
    lu, han = stage.desks["lu"], stage.desks["han"]
    await lu.log_in()
    await han.log_in()
    draw = stage.records["draw"] = uuid.uuid4()
    stage.notebook.note(at_desk("lu"), stage.installation.time.ms, str(draw), WHAT, "draw", "create", {"title": TITLE})
    await lu.post("/office/v1/draws", _wanted(stage))
    commitment = str((await lu.post(path_of(stage, "commit"), {}))["commitment"])
    stage.observed.week["draw"] = {"commitment": commitment}
    stage.tell_office(
        f"备好 {len(POOL)} 家对象（带权重）、{len(INSPECTORS)} 名检查员、回避一对，连同一个秘密一起承诺，公示哈希 {commitment[:16]}…",
        "pool, weights, exclusions and a secret are committed to; the hash is public",
        who=lu.name,
        where=COUNTY_NAME,
    )
    stage.at("10:20")
    args = {"nonce": NONCE, "commitment": commitment}
    stage.notebook.note(at_desk("han"), stage.installation.time.ms, str(draw), WHAT, "draw", "draw.seed", {"nonce": NONCE})
    await han.post(path_of(stage, "nonce"), args)
    stage.tell_office(f"审计掷骰子十六次：{NONCE}", "the second party throws a die sixteen times", who=han.name, where=COUNTY_NAME)
    stage.at("10:25")
    await lu.post(path_of(stage, "draw"), {})
    inspectors = [stage.hands[key] for key in INSPECTORS]
    await in_reach(*inspectors)
    seen: dict[str, Any] = stage.observed.week["draw"]
    seen["tasks_sealed"] = sum(len(hand.phone.records("task")) for hand in inspectors)
    stage.tell_office(
        "抽取。名单封存：检查员自己的手机上也还没有任务", "drawn and sealed: not even the inspectors know", who=lu.name, where=COUNTY_NAME
    )


def _wanted(stage: Stage) -> dict[str, Any]:
    person = {key: str(stage.persons[key]["id"]) for key in INSPECTORS}
    return {
        "draw": str(stage.records["draw"]),
        "unit": str(COUNTY),
        "title": TITLE,
        "sites": [{"id": str(stage.sites[key]), "county": COUNTY, "weight": weight, "why": "风险等级"} for key, weight in POOL.items()],
        "inspectors": [{"id": person[key], "unit": unit} for key, unit in INSPECTORS.items()],
        "exclusions": [{"reason": "conflict_of_interest", "site": str(stage.sites["bridge"]), "inspector": person["jiang"]}],
        "rules": {"sites": 2, "team_size": 2, "visits_max": 1, "departments": [ENVIRONMENT, HOUSING]},
    }


async def departed(stage: Stage) -> None:
    stage.at("08:30")
    lu = stage.desks["lu"]
    await lu.log_in()
    await lu.post(path_of(stage, "depart"), {"due_on": "2026-10-30", "note": "双随机，不提前通知"})
    inspectors = [stage.hands[key] for key in INSPECTORS]
    await in_reach(*inspectors)
    count = stage.observed.week["draw"]["tasks_departed"] = len({one.id for hand in inspectors for one in hand.phone.records("task")})
    stage.tell_office(
        f"出发：{count} 个任务这时才到检查员手机上", f"departed: {count} tasks reach the inspectors now", who=lu.name, where=COUNTY_NAME
    )


async def disclosed_and_verified(stage: Stage) -> None:
    """The public file, checked by a program of its own without database; then a copy in which one weight was changed."""
    stage.at("16:00")
    lu, seen = stage.desks["lu"], stage.observed.week["draw"]
    await lu.log_in()
    await lu.post(path_of(stage, "disclose"), {})
    content = await stage.office.download(f"/public/v1/draws/{seen['commitment']}/file")
    folder = Path(stage.installation.folder)
    file, copy = folder / "draw.json", folder / "draw-tampered.json"
    file.write_bytes(content)
    drawn = json.loads(content)
    names = {str(stage.sites[key]): name for key, (name, *_) in SITES.items()}
    seen["sites"] = [names[visit["site"]] for visit in drawn["result"]["visits"]]
    drawn["plan"]["sites"][0]["weight"] += 1
    copy.write_text(json.dumps(drawn, ensure_ascii=False))
    seen["verified"] = await asyncio.to_thread(_verify, file, seen["commitment"])
    seen["tampered"] = await asyncio.to_thread(_verify, copy, seen["commitment"])
    stage.tell_office(
        f"公开：抽中{'、'.join(seen['sites'])}。xunling draw verify：{seen['verified'][1]}（状态 {seen['verified'][0]}）",
        "disclosed; anybody recomputes it from the file alone",
        who=lu.name,
        where=COUNTY_NAME,
        mark="green",
    )
    stage.tell_office(
        f"有人把文件里一家的权重加 1：{seen['tampered'][1]}（状态 {seen['tampered'][0]}）：{seen['tampered'][2]}",
        "a copy with one weight changed does not verify, and the message names it",
        who="某人",
        mark="red",
    )


def _verify(file: Path, commitment: str) -> tuple[int, str, str]:
    """(status, first line, what differs) of `xunling draw verify`, far from the database: no settings, another process."""
    command = [sys.executable, "-m", "server", "draw", "verify", str(file), "--commitment", commitment]
    told = subprocess.run(
        command, cwd=file.parent, env={"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}, capture_output=True, encoding="utf-8", check=False
    )
    lines = [line.strip() for line in told.stdout.splitlines() if line.strip()] or [told.stderr.strip()]
    return told.returncode, lines[0], next((line for line in lines[1:] if "differs" in line), "")
