"""Work on files from outside, in processes of its own: few, bounded in memory and time, and gone when their parent is.

    children = Children(processes=2, bounds=Bounds(memory_bytes=2 * 1024**3, seconds=120))
    found = await children.run(look_at, path, ...)      # a function of some module, and arguments that can be pickled
    await children.close()

A child does one task at a time, so what kills it harms no other task. It inherits neither connections nor secrets. It is
replaced after some tasks, and ended when there was nothing to do for some time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, get_type_hints

import msgspec

from storage import child as child_side

T = TypeVar("T")

ANSWER_BYTES_MAX: Final = 64 * 1024**2
SECRETS: Final = ("XUNLING_", "DATABASE_URL", "PG", "AWS_")  # beginnings of names in the environment
# One thread: BLAS reserves memory for each core, which exceeds the limit on a large machine; and children are many already.
THREADS: Final = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
BOOT: Final = (
    "import json, sys; path, parent, memory = json.loads(sys.argv[1]); sys.path[:] = path; "
    "from storage.child import serve; serve(parent, memory)"
)


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """`tasks`: after so many a child is replaced. `idle_seconds`: without a task for so long it ends."""

    memory_bytes: int
    seconds: float
    tasks: int = 200
    idle_seconds: float = 60


class ChildDied(Exception):
    """It was killed, took too long, or needed more memory than it may have. `alone`: no other task ran meanwhile."""

    def __init__(self, why: str, *, alone: bool) -> None:
        super().__init__(why)
        self.alone = alone


class WorkFailed(Exception):
    """The work raised an error of its own. The text is the child's traceback."""


class Children:
    """At most `processes` children; each starts when it is first needed. Of one event loop."""

    def __init__(self, *, processes: int, bounds: Bounds) -> None:
        self.bounds = bounds
        self._processes: Final = processes
        self._turns: Final = asyncio.Semaphore(processes)
        self._all_turns: Final = asyncio.Lock()
        self._idle: Final[list[_Child]] = []
        self._running: Final[set[_Turn]] = set()

    async def run(self, work: Callable[..., T], *arguments: Any, alone: bool = False) -> T:
        """What `work` returns, read by its return annotation. `alone`: while no other task of these children runs.

        Raises ChildDied, WorkFailed; msgspec.ValidationError when the answer has another shape. Waiting for a turn is not
        counted as the task's time.
        """
        async with self._turn(self._processes if alone else 1) as turn:
            return await self._run(turn, work, arguments)

    async def close(self) -> None:
        """End all children. What still runs ends with ChildDied."""
        for each in [*self._idle, *(turn.child for turn in self._running if turn.child)]:
            await each.end()
        self._idle.clear()

    async def _run(self, turn: _Turn, work: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        each = turn.child = self._idle.pop() if self._idle else _Child(self.bounds.memory_bytes)
        task = pickle.dumps((work.__module__, work.__qualname__, arguments))
        try:
            async with asyncio.timeout(self.bounds.seconds):
                answer = await each.answer(task)
        except (TimeoutError, EOFError, ConnectionError) as error:
            await each.end()
            raise ChildDied(type(error).__name__, alone=turn.is_alone) from error
        except BaseException:
            await each.end()
            raise
        if answer[:1] != child_side.DONE or each.tasks >= self.bounds.tasks:
            await each.end()
        else:
            self._keep(each)
        if answer[:1] == child_side.NO_MEMORY:
            raise ChildDied("MemoryError", alone=True)  # its own limit, even if others run
        if answer[:1] != child_side.DONE:
            raise WorkFailed(answer[1:].decode("utf-8", "replace"))
        return msgspec.msgpack.decode(answer[1:], type=return_type(work))

    def _keep(self, each: _Child) -> None:
        self._idle.append(each)
        tasks = each.tasks
        asyncio.get_running_loop().call_later(self.bounds.idle_seconds, self._retire, each, tasks)

    def _retire(self, each: _Child, tasks: int) -> None:
        """End a child that has had nothing to do since `tasks`: a closed pipe ends it."""
        if each in self._idle and each.tasks == tasks:
            self._idle.remove(each)
            each.dismiss()

    @asynccontextmanager
    async def _turn(self, count: int) -> AsyncIterator[_Turn]:
        turn = _Turn()
        async with contextlib.AsyncExitStack() as stack:
            if count > 1:
                await stack.enter_async_context(self._all_turns)
            for _ in range(count):
                await stack.enter_async_context(self._turns)
            self._running.add(turn)
            if len(self._running) > 1:
                for each in self._running:
                    each.is_alone = False
            try:
                yield turn
            finally:
                self._running.discard(turn)


class _Turn:
    def __init__(self) -> None:
        self.is_alone = True
        self.child: _Child | None = None


class _Child:
    """One process, started with its first task."""

    def __init__(self, memory_bytes: int) -> None:
        self.tasks = 0
        self._memory_bytes: Final = memory_bytes
        self._process: Process | None = None

    async def answer(self, task: bytes) -> bytes:
        """First byte: how it ended. EOFError or ConnectionError when the child is gone."""
        self.tasks += 1
        process = self._process = self._process or await start(self._memory_bytes)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(len(task).to_bytes(child_side.LENGTH_BYTES) + task)
        await process.stdin.drain()
        size = int.from_bytes(await process.stdout.readexactly(child_side.LENGTH_BYTES))
        if size > ANSWER_BYTES_MAX:
            raise EOFError(f"an answer of {size} bytes")
        return await process.stdout.readexactly(size)

    def dismiss(self) -> None:
        """Let it end by itself."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def end(self) -> None:
        """Kill it, and wait until it is gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self.dismiss()
            await self._process.wait()


async def start(memory_bytes: int) -> Process:
    """A child of this thread: Linux ends it with the thread that started it, which is the event loop's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SECRETS)} | THREADS
    said = json.dumps([sys.path, os.getpid(), memory_bytes])
    return await asyncio.create_subprocess_exec(sys.executable, "-c", BOOT, said, stdin=PIPE, stdout=PIPE, env=environment)


@functools.cache
def return_type(work: Callable[..., Any]) -> Any:
    return get_type_hints(work)["return"]
