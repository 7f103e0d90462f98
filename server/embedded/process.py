"""Processes that outlive a terminal's Ctrl-C and end with us, found again by pid file, and never confused with a stranger's.

The kernel (Linux) sends a child a signal of our choice when we are gone, also when we were killed. Elsewhere the next start finds it.
A pid alone proves nothing: it is reused. A process is ours when it also started when we noted and runs the program we
started with our folder on its command line.
"""

import contextlib
import ctypes
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import psutil

from server.embedded.account import Account

# psutil derives a start time from boot time and clock ticks: two readings of one process may differ by a tick.
START_DRIFT_SECONDS_MAX = 2.0


# Children we have not seen end. Someone must collect them, or they stay as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@functools.cache
def _starter() -> ThreadPoolExecutor:
    """One thread for all starts. The kernel ties a child to the thread that made it: this one lasts as long as our process."""
    return ThreadPoolExecutor(1, thread_name_prefix="starts-children")


def spawn(
    command: Sequence[str | Path],
    *,
    account: Account,
    log: Path,
    folder: Path,
    environment: Mapping[str, str],
    dies_by: signal.Signals | None,
) -> psutil.Process:
    """Start a program in a session of its own; what it prints goes to `log` (appended). `dies_by`: see `start_child`."""
    with log.open("ab") as output:
        child = start_child(
            command,
            dies_by=dies_by,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(environment),
            **account.popen_arguments(),
        )
    _children[child.pid] = child
    return psutil.Process(child.pid)


def start_child(command: Sequence[str | Path], *, dies_by: signal.Signals | None, **options: Any) -> subprocess.Popen[Any]:
    """Popen, in a session of its own and without input. `dies_by`: what the child gets when we have ended, however; None: it outlives us."""
    words = [str(part) for part in command]
    tied = functools.partial(end_with_parent, dies_by, os.getpid()) if dies_by is not None and _libc is not None else None

    def start() -> subprocess.Popen[Any]:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=tied, **options)  # noqa: PLW1509 - one system call, no lock

    return _starter().submit(start).result()


def end_with_parent(sign: signal.Signals, parent: int) -> None:
    """In a child: ask the kernel for a signal at the parent's end. Of an end before now it says nothing: then there is nothing to do here."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, int(sign))
        if os.getppid() != parent:
            os._exit(1)


def write_pid_file(path: Path, process: psutil.Process) -> None:
    """Note a process we started: pid and start time in seconds since 1970."""
    path.write_text(json.dumps({"pid": process.pid, "started": process.create_time()}))


def read_pid_file(path: Path, marker: str) -> psutil.Process | None:
    """The process of a pid file, or None when it is gone, is another one, or the file is damaged."""
    try:
        noted = json.loads(path.read_text())
        process = psutil.Process(noted["pid"])
        is_same = abs(process.create_time() - noted["started"]) < START_DRIFT_SECONDS_MAX
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return process if is_same and runs(process, marker) else None


def runs(process: psutil.Process, marker: str) -> bool:
    """Whether a live process has `marker` as a part of its command line."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and any(marker in part for part in process.cmdline())
    except psutil.Error:
        return False


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs. Our own dead child is collected; a stranger's counts as dead once all of its threads are.

    A killed process shows as a zombie while threads of it still hold its ports.
    """
    reap(process.pid)
    try:
        return process.is_running() and not (process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1)
    except psutil.NoSuchProcess:
        return False


def reap(pid: int) -> None:
    """Collect a dead child of ours; nothing when it lives or is not our child."""
    if (child := _children.get(pid)) and child.poll() is not None:
        del _children[pid]


def collect() -> None:
    """Collect every dead child of ours."""
    for pid in list(_children):
        reap(pid)


def stop(process: psutil.Process, *, gentle: signal.Signals, grace_seconds: float, last: signal.Signals) -> bool:
    """Ask with `gentle`, wait, then force with `last`. True when it went without force."""
    send(process, gentle)
    if wait_gone(process, grace_seconds):
        return True
    send(process, last)
    if not wait_gone(process, 5):
        send(process, signal.SIGKILL)
        wait_gone(process, 5)
    return False


def send(process: psutil.Process, sign: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(sign)


def wait_gone(process: psutil.Process, seconds_max: float) -> bool:
    """Wait until a process has ended; False when it has not by then."""
    deadline = time.monotonic() + seconds_max
    while is_alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""
