"""The child's side of storage/children.py: read a task, do it, answer; end with the parent in any case.

Imports nothing of the product but the work itself, so that a child starts fast and stays small. Files from outside are read
here: the answer is data of a fixed shape (msgpack), so that a decoder that was taken over cannot make the parent run anything.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import pickle
import queue
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, Final

import msgspec

LENGTH_BYTES: Final = 8
DONE, FAILED, NO_MEMORY = b"d", b"f", b"m"  # first byte of an answer
NICE: Final = 10
PR_SET_PDEATHSIG: Final = 1


def serve(parent: int, memory_bytes_max: int) -> None:
    """Do tasks until standard input ends. `parent`: id of the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides: it finishes what is under way, then closes the pipe
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tie_to(parent)
    limit(memory_bytes_max)
    tasks, answers = taken_over_pipes()
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=read_tasks, args=(tasks, waiting), daemon=True).start()
    while True:
        answer = answered(waiting.get())
        answers.write(len(answer).to_bytes(LENGTH_BYTES) + answer)
        answers.flush()


def tie_to(parent: int) -> None:
    """Linux kills this process with its parent, even while a decoder holds the interpreter. Elsewhere `read_tasks` ends it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it was asked for
        os._exit(1)


def limit(memory_bytes_max: int) -> None:
    """Work that wants more memory gets a MemoryError instead of the machine's last page. The server goes first."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes_max, memory_bytes_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def taken_over_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output for ourselves: what a library prints goes to the log, and reading it gives nothing."""
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return tasks, answers


def read_tasks(tasks: BinaryIO, waiting: queue.SimpleQueue[bytes]) -> None:
    """Put each task into the queue; end the process when there will be no more, also in the middle of one."""
    while length := tasks.read(LENGTH_BYTES):
        waiting.put(tasks.read(int.from_bytes(length)))
    os._exit(0)


def answered(task: bytes) -> bytes:
    """The answer to one pickled (module, function, arguments)."""
    try:
        module, name, arguments = pickle.loads(task)  # noqa: S301 - from the parent
        work: Callable[..., Any] = functools.reduce(getattr, name.split("."), importlib.import_module(module))
        return DONE + msgspec.msgpack.encode(work(*arguments))
    except MemoryError:
        return NO_MEMORY
    except Exception:  # noqa: BLE001 - the parent raises it
        return FAILED + traceback.format_exc().encode("utf-8", "replace")
