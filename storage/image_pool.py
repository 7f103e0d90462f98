"""Where pictures are decoded: processes of their own, few, limited in memory and time, replaced after some work.

A picture that kills its process or exceeds its time is reported as such; the pool mends itself.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Final, TypeVar

from contracts.problems import ProblemCode
from storage.looks import Look, StampLine

T = TypeVar("T")

MEMORY_BYTES_MAX: Final = 2 * 1024**3
SECONDS_MAX: Final = 120.0
PICTURES_PER_PROCESS: Final = 200
NICE: Final = 10


class DecoderDied(Exception):
    """The process that decoded this picture was killed or took too long."""


class ImagePool:
    """Decodes in at most `processes` processes; they start when first needed."""

    def __init__(self, *, processes: int, pixels_max: int, font: Path | None = None, seconds_max: float = SECONDS_MAX) -> None:
        self._processes: Final = processes
        self._pixels_max: Final = pixels_max
        self._font: Final = font
        self._seconds_max: Final = seconds_max
        self._turns: Final = asyncio.Semaphore(processes)  # waiting for a process is not the picture's time
        self._pool: ProcessPoolExecutor | None = None

    async def look_at(self, original: Path, folder: Path) -> Look | ProblemCode:
        """As storage.imaging.look_at. DecoderDied when the decoder did not survive it."""
        return await self._run(_look_at, original, folder, self._pixels_max)

    async def write_stamped(self, original: Path, out: Path, lines: Sequence[StampLine]) -> bool:
        """As storage.stamp.write_stamped."""
        return await self._run(_write_stamped, original, out, lines, self._font, self._pixels_max)

    def close(self) -> None:
        """End the processes, also one that is stuck."""
        pool, self._pool = self._pool, None
        if pool is not None:
            kill_processes(pool)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        async with self._turns:
            pool = self._pool = self._pool or make_pool(self._processes)
            try:
                async with asyncio.timeout(self._seconds_max):
                    return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)
            except (BrokenProcessPool, TimeoutError) as error:
                if self._pool is pool:
                    self.close()
                raise DecoderDied(type(error).__name__) from error


def make_pool(processes: int) -> ProcessPoolExecutor:
    """Spawned, not forked: the worker has threads and connections that must not be copied."""
    return ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=limit_process,
        max_tasks_per_child=PICTURES_PER_PROCESS,
    )


def kill_processes(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):  # noqa: SLF001 - `kill_workers` comes with Python 3.14
        process.kill()
    pool.shutdown(wait=False, cancel_futures=True)


def limit_process() -> None:
    """In the child: a decoder that wants more memory gets a MemoryError instead of the machine's last page.

    Pictures wait gladly for people: the server on the same machine goes first.
    """
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# The decoders are loaded in the child processes only.


def _look_at(original: Path, folder: Path, pixels_max: int) -> Look | ProblemCode:
    from storage.imaging import look_at

    return look_at(original, folder, pixels_max)


def _write_stamped(original: Path, out: Path, lines: Sequence[StampLine], font: Path | None, pixels_max: int) -> bool:
    from storage.stamp import write_stamped

    return write_stamped(original, out, lines, font, pixels_max)
