"""Turns of those who import: workbooks are read one at a time in a bounded child, and one of an account.

Log-ins wait for none of it: nothing here uses the threads that check passwords.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from api.admission import Admission
from api.workbooks import WorkbookRead, fault, read_workbook, write_template
from contracts.ids import PersonId
from contracts.problems import Problem, ProblemCode
from storage.children import Bounds, ChildDied, Children

T = TypeVar("T")

# A full workbook takes a second or two of a free processor and 200 MiB.
BOUNDS: Final = Bounds(memory_bytes=1024**3, seconds=30, tasks=50, idle_seconds=60)
WAITING_MAX: Final = 8
RETRY_S: Final = 5


class ImportQueue:
    """`async with queue.turn(person):` around an import; `read` and `template` wait for the child."""

    def __init__(self, bounds: Bounds = BOUNDS) -> None:
        self._children = Children(processes=1, bounds=bounds)
        self._gate = Admission(running_max=1, waiting_max=WAITING_MAX, wait_seconds_max=bounds.seconds)
        self._importing: set[PersonId] = set()

    @asynccontextmanager
    async def turn(self, person: PersonId) -> AsyncIterator[None]:
        """Problem(too_many_requests) while another import of this account is under way."""
        if person in self._importing:
            raise Problem(ProblemCode.TOO_MANY_REQUESTS, "您的上一份表格还在处理，请等它完成后再提交", retry_after_s=RETRY_S)
        self._importing.add(person)
        try:
            yield
        finally:
            self._importing.discard(person)

    async def read(self, data: bytes, subject: str) -> WorkbookRead:
        """As api.workbooks.read_workbook; a file that its child did not survive has a fault that says so. Problem(busy)."""
        try:
            return await self._run(read_workbook, data, subject)
        except ChildDied:
            return WorkbookRead({}, [fault(None, 0, "", "too_costly")])

    async def template(self, subject: str, codes: dict[str, list[tuple[str, str]]]) -> bytes:
        """As api.workbooks.write_template. Problem(busy)."""
        return await self._run(write_template, subject, codes)

    async def close(self) -> None:
        await self._children.close()

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            async with self._gate.slot():
                return await self._children.run(work, *arguments)
        except Problem as problem:
            raise Problem(problem.code, "正在处理其他人的表格，请按提示的时间稍后再试", retry_after_s=problem.retry_after_s) from None
