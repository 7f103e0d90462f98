"""Children do their work, stay within their bounds, harm no neighbour, and end with their parent, by any signal."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psutil
import pytest

from storage.children import Bounds, ChildDied, Children, WorkFailed

PATIENCE_S = 30
BOUNDS = Bounds(memory_bytes=1024**3, seconds=PATIENCE_S)


class Seen(msgspec.Struct, frozen=True):
    size: int
    names: list[str]


def count(path: Path) -> Seen | None:
    return Seen(path.stat().st_size, [path.name]) if path.exists() else None


def process_id() -> int:
    return os.getpid()


def sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return True


def sleep_after_saying_who(path: Path) -> bool:
    path.write_text(str(os.getpid()))
    return sleep(PATIENCE_S)


def die() -> bool:
    os.kill(os.getpid(), signal.SIGKILL)
    return sleep(PATIENCE_S)


def die_after(seconds: float) -> bool:
    time.sleep(seconds)
    return die()


def eat(size: int) -> int:
    return len(bytearray(size))


def fail() -> bool:
    raise ZeroDivisionError("of the work's own")


def lie() -> int:
    return "no number"  # type: ignore[return-value]


def chatter() -> str:
    os.write(1, b"a library prints")
    return sys.stdin.read() + "kept apart"


def environment() -> list[str]:
    return sorted(os.environ)


def multiply() -> str:
    """What BLAS says after it was loaded under the limit."""
    import numpy as np

    return f"{int((np.ones((64, 64)) @ np.ones((64, 64))).sum())} {os.environ['OPENBLAS_NUM_THREADS']}"


@pytest.fixture
async def children() -> AsyncIterator[Children]:
    pool = Children(processes=2, bounds=BOUNDS)
    yield pool
    await pool.close()


def is_there(process: int) -> bool:
    """A zombie has ended."""
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE


def gone(*processes: int) -> bool:
    """Whether all have ended within some seconds."""
    ends = time.monotonic() + PATIENCE_S
    while any(is_there(each) for each in processes) and time.monotonic() < ends:
        time.sleep(0.05)
    return not any(is_there(each) for each in processes)


async def test_an_answer_is_read_as_the_work_announces_it(children: Children, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1234")
    assert await children.run(count, tmp_path / "a") == Seen(4, ["a"])
    assert await children.run(count, tmp_path / "b") is None
    with pytest.raises(msgspec.ValidationError):
        await children.run(lie)


async def test_a_child_is_used_again_and_replaced_in_time() -> None:
    children = Children(processes=1, bounds=msgspec.structs.replace(BOUNDS, tasks=2))
    first, again, another = [await children.run(process_id) for _ in range(3)]
    assert first == again != another
    await children.close()
    assert gone(first, another)


async def test_a_child_without_work_ends() -> None:
    children = Children(processes=1, bounds=msgspec.structs.replace(BOUNDS, idle_seconds=0.1))
    assert gone_later(await children.run(process_id)) is False
    assert await asyncio.to_thread(gone, await children.run(process_id))
    await children.close()


def gone_later(process: int) -> bool:
    return not psutil.pid_exists(process)


async def test_an_error_of_the_work_is_told_and_ends_nothing_else(children: Children) -> None:
    with pytest.raises(WorkFailed, match="ZeroDivisionError: of the work's own"):
        await children.run(fail)
    assert await children.run(sleep, 0)


async def test_too_much_memory_and_too_much_time_end_the_child_alone(children: Children) -> None:
    with pytest.raises(ChildDied, match="MemoryError"):
        await children.run(eat, 2 * 1024**3)
    children.bounds = msgspec.structs.replace(BOUNDS, seconds=0.5)
    with pytest.raises(ChildDied, match="TimeoutError"):
        await children.run(sleep, PATIENCE_S)
    children.bounds = BOUNDS
    assert await children.run(eat, 1024) == 1024


async def test_the_death_of_one_takes_no_other_and_says_that_it_was_not_alone(children: Children) -> None:
    working = asyncio.create_task(children.run(sleep, 2))
    await asyncio.sleep(0)
    with pytest.raises(ChildDied) as died:
        await children.run(die)
    assert not died.value.alone
    assert await working
    with pytest.raises(ChildDied) as died:
        await children.run(die)
    assert died.value.alone


async def test_who_asks_to_be_alone_waits_for_the_others_and_keeps_them_waiting(children: Children) -> None:
    working = asyncio.create_task(children.run(sleep, 0.5))
    await asyncio.sleep(0)
    lonely = asyncio.create_task(children.run(die_after, 0.5, alone=True))
    await asyncio.sleep(0)
    later = asyncio.create_task(children.run(sleep, 0))
    with pytest.raises(ChildDied) as died:
        await lonely
    assert died.value.alone
    assert await working
    assert await later


async def test_what_a_library_prints_or_reads_disturbs_no_answer(children: Children) -> None:
    assert await children.run(chatter) == "kept apart"


async def test_a_child_inherits_no_secret(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNLING_S3__SECRET_KEY", "secret")
    monkeypatch.setenv("DATABASE_URL", "postgres://u:secret@h/d")
    names = await children.run(environment)
    assert not [name for name in names if name.startswith(("XUNLING_", "DATABASE_URL"))]


async def test_blas_starts_under_the_limit_on_a_machine_of_many_cores(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "64")
    assert await children.run(multiply) == f"{64**3} 1"


PARENT = """
import asyncio, sys
from pathlib import Path
from storage.children import Children
from tests.storage.test_children import BOUNDS, process_id, sleep_after_saying_who

async def main():
    children = Children(processes=2, bounds=BOUNDS)
    working = asyncio.create_task(children.run(sleep_after_saying_who, Path(sys.argv[1])))
    print(await children.run(process_id), flush=True)
    await working

asyncio.run(main())
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_children_end_with_their_parent_whatever_ends_it(tmp_path: Path, sign: signal.Signals) -> None:
    told = tmp_path / "busy"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(told)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout is not None
    idle = int(parent.stdout.readline())
    ends = time.monotonic() + PATIENCE_S
    while not (told.exists() and told.read_text()) and time.monotonic() < ends:
        time.sleep(0.05)
    started = [each.pid for each in psutil.Process(parent.pid).children(recursive=True)]
    assert {idle, int(told.read_text())} <= set(started)
    parent.send_signal(sign)
    parent.wait(PATIENCE_S)
    assert gone(*started)
    parent.stdout.close()
