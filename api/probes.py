"""Asking a part of the installation how it is, without waiting for one that hangs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

PART_SECONDS_MAX: Final = 2.0  # the whole answer comes within three seconds
FORGOTTEN_SECONDS: Final = 30.0  # a question that hangs for longer is asked anew, on another connection
S3_WRITE_SECONDS: Final = 60.0
SILENT: Final = "unreachable"


class Probe:
    """Asks one part, once at a time. A part that hangs keeps one question waiting, not every caller."""

    def __init__(self) -> None:
        self._asked_at = -FORGOTTEN_SECONDS
        self._question: asyncio.Task[str] | None = None

    async def answer(self, ask: Callable[[], Coroutine[Any, Any, str]]) -> str:
        """What `ask` says, or that it says nothing, within `PART_SECONDS_MAX`."""
        now = time.monotonic()
        if self._question is None or self._question.done() or now - self._asked_at > FORGOTTEN_SECONDS:
            if self._question is not None:
                self._question.cancel()
            self._question, self._asked_at = asyncio.create_task(ask()), now
        question = self._question
        await asyncio.wait({question}, timeout=PART_SECONDS_MAX)  # not wait_for: that waits until what hangs has been cancelled
        return question.result() if question.done() and not question.cancelled() else SILENT


class Probes:
    """One for each part that `ready` asks. `written_at`: monotonic time at which S3 last took an object."""

    def __init__(self) -> None:
        self.database = Probe()
        self.photos = Probe()
        self.written_at = -S3_WRITE_SECONDS
