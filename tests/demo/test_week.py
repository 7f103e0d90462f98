"""The week after the demo day, played once: what each mechanism did, and that nothing typed was lost."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.house.tree import ROOT

WEEK_SECONDS_MAX = 420
STORY_CELLS, TABLE_CELLS = 25, 12  # where the sentences of an event begin, and those of the table of mechanisms


@pytest.fixture(scope="module")
def week() -> Iterator[tuple[subprocess.CompletedProcess[str], Path]]:
    with tempfile.TemporaryDirectory(prefix="xunling-week-") as name:
        folder = Path(name) / "week"
        command = [sys.executable, "-m", "demo", "--plain", "--week", "--folder", str(folder)]
        yield (
            subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | {"COLUMNS": "104"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                timeout=WEEK_SECONDS_MAX,
                check=False,
            ),
            folder,
        )


def told(text: str) -> str:
    """Without the line breaks and columns of a terminal."""
    return "".join(text.split())


@pytest.mark.slow
def test_a_week_ends_with_nothing_lost(week: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    ended, _ = week
    assert ended.returncode == 0, ended.stdout
    assert "Nothing was lost: 24 phones" in ended.stdout
    assert "✗" not in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "停机期间到点的补发 2 件，时刻是到点的时刻，不是现在：白牌 10-24 09:00，黄牌 10-25 10:00",
        "规则 colours 第 1 版「silent」条：白牌（10-24 09:00，期限 2026-10-23 已过）答复截止 10-25 09:00，无人答复，10-25 10:00 升黄",
        "工地冲洗台周日到期，没有整改记录：10-26 09:00 发白牌",
        "一块白牌证据晚到，推翻，记录还在",
        "住建局本该 10-23 18:40 前签收（周五改叫，2 小时）：迟了",
        "住建局限 10-23 18:40 签收，10-26 14:30 才签",
        "按「虚假整改」退回，计 1 次",
        "吹哨自动转为「已答复」，镇办可以确认",
        "一致 · VERIFIED（状态 0）",
        "不一致 · DOES NOT VERIFY（状态 1）",
        "sites: differs from what was committed",
        "出发前 0 个任务外泄，出发后 4 个下达",
        "反弹 1 次，同一份档案",
        "翻遍其余 22 部手机的全部数据：暗访的痕迹 0 处",
        "反馈后镇上看到 1 个问题",
    ],
)
def test_the_account_tells_what_each_mechanism_did(week: tuple[subprocess.CompletedProcess[str], Path], words: str) -> None:
    assert any(told(words) in story(week[0].stdout, cells) for cells in (STORY_CELLS, TABLE_CELLS))


def story(text: str, cells: int) -> str:
    """The last column alone, which begins after so many cells: a sentence may be broken over lines, beside a name or a place."""
    return told("".join(after(line, cells) for line in text.splitlines()))


def after(line: str, cells: int) -> str:
    return next((line[k:] for k in range(len(line)) if cell_len(line[:k]) >= cells), "")


@pytest.mark.slow
def test_the_disclosed_file_names_what_was_drawn(week: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    file = json.loads((week[1] / "draw.json").read_bytes())
    assert len(file["result"]["visits"]) == 2
    assert file["nonce_at"] <= file["drawn_at"] <= file["departed_at"] <= file["disclosed_at"]
