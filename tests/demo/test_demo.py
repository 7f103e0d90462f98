"""The demo day as a stranger sees it: it ends well, it notices what is missing, it leaves nothing running."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from server.embedded.seaweed import leftover_sockets
from tests.house.tree import ROOT

DAY_SECONDS_MAX = 180


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "demo", "--plain", "--folder", str(folder), *options]


def environment() -> dict[str, str]:
    """With what would lead another program to somebody's database."""
    misleading = {"XUNLING_PG__DSN": "postgresql://nobody@127.0.0.1:1/none", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    return os.environ | misleading | {"COLUMNS": "100", "PYTHONIOENCODING": "ascii"}


def played(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *options),
        cwd=ROOT,
        env=environment() | {"TMPDIR": str(folder.parent / "tmp")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=DAY_SECONDS_MAX,
        check=False,
    )


def running(folder: Path) -> list[str]:
    """Command lines of processes that work in this folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or [])
        if str(folder) in words and process.info["status"] != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
            found.append(words)
    return found


def made_folder() -> Iterator[Path]:
    """Not pytest's: whoever starts pytest next closes its root to the user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="xunling-demo-") as name:
        (Path(name) / "tmp").mkdir()
        yield Path(name) / "day"


folder = pytest.fixture(made_folder)
folder_of_day = pytest.fixture(scope="module")(made_folder)


@pytest.fixture(scope="module")
def day(folder_of_day: Path) -> tuple[subprocess.CompletedProcess[str], Path]:
    return played(folder_of_day), folder_of_day


@pytest.mark.slow
def test_a_day_ends_with_nothing_lost_and_nothing_left_running(day: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    ended, folder = day
    assert ended.returncode == 0, ended.stdout
    assert "Nothing was lost: 16 phones" in ended.stdout
    assert "✗" not in ended.stdout
    assert "\x1b" not in ended.stdout
    assert running(folder) == []
    assert list((folder.parent / "tmp").iterdir()) == [], "no file outside the demo's own folder"
    ports = json.loads((folder / "s3" / "ports.json").read_text()).values()
    assert [path for port in ports for path in leftover_sockets(port)] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "told",
    [
        "服务器进程被杀",
        "PostgreSQL 也被杀",
        "重交后的答复完全相同",
        "重复传送 0 字节",
        "手机说 10-24 09:50，服务器判定采集于 10-22 09:50",
        "铁尺村 1 条记录已从手机移除（剩 0）",
        "任务状态 finished",
        "望牛山庄仍在册",
        "采集时已无此村职责",
        "✓ 高建国已定",
        "3 个冲突",
    ],
)
def test_the_account_tells_how_each_mishap_ended(day: tuple[subprocess.CompletedProcess[str], Path], told: str) -> None:
    assert told in day[0].stdout


@pytest.mark.slow
def test_a_value_that_is_deleted_is_missed_and_named(folder: Path) -> None:
    ended = played(folder, "--tamper")
    assert ended.returncode == 1, ended.stdout
    assert "values missing: 1" in ended.stdout
    told = ended.stdout.replace("\n", "").replace(" ", "")
    assert '王德厚·排污口检查·茨口村付家河左岸3号排口·answers.no_abnormality={"value":"no","note":"水色发黑，有泡沫"}' in told
    assert "itsbodyisnotwhatthejournalmakesofit" in told
    assert running(folder) == []


def broken_off(folder: Path, sign: signal.Signals, *, at: str) -> tuple[int, str]:
    """(status, what was said afterwards) of a demo that gets a signal when it has told of this hour."""
    with subprocess.Popen(command(folder), cwd=ROOT, env=environment() | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE) as demo:
        assert demo.stdout is not None
        assert any(at in line.decode() for line in demo.stdout)
        demo.send_signal(sign)
        rest = demo.stdout.read().decode()
        return demo.wait(60), rest


@pytest.mark.slow
def test_a_demo_that_is_interrupted_stops_everything(folder: Path) -> None:
    status, said = broken_off(folder, signal.SIGINT, at="08:40")
    assert (status, "nothing is left running" in said) == (130, True), said
    assert running(folder) == []


@pytest.mark.slow
def test_what_a_killed_demo_started_ends_with_it(folder: Path) -> None:
    """Server and worker notice that they are alone; PostgreSQL and S3 are told by the kernel. The next demo begins at once all the same."""
    broken_off(folder, signal.SIGKILL, at="07:20")
    until = time.monotonic() + 30
    while running(folder) and time.monotonic() < until:
        time.sleep(0.1)
    assert running(folder) == []
    broken_off(folder, signal.SIGKILL, at="07:20")
    assert broken_off(folder, signal.SIGTERM, at="07:20")[0] == 130
    assert running(folder) == []


@pytest.mark.slow
def test_two_demos_do_not_share_a_folder(folder: Path) -> None:
    with subprocess.Popen(command(folder), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL) as first:
        until = time.monotonic() + 30
        while not (folder / "lock").exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        second = played(folder)
        first.send_signal(signal.SIGINT)
        first.wait(60)
    assert second.returncode == 1
    assert "already runs on this data folder" in second.stdout
    assert running(folder) == []
