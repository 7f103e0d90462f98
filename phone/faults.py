"""Where a phone can be killed and how a connection can fail, so that tests and the simulator can do both.

A product build passes nothing: `no_crash` is the default and costs one call at each durable step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from enum import Enum
from typing import Final

import httpx
import msgspec

CrashPoint = Callable[[str], None]


def no_crash(name: str) -> None:
    """The ordinary phone goes on."""


class Killed(BaseException):
    """Raised by a test's crash point. Not an Exception: nothing on the way may survive it by catching errors."""


class CrashAt:
    """Kills at the k-th crash point passed (counting from 0). `passed` lists the names met, for a test's report."""

    def __init__(self, k: int) -> None:
        self._k: Final = k
        self.passed: list[str] = []

    def __call__(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) - 1 == self._k:
            raise Killed(name)


class Loss(Enum):
    """What happens to one request."""

    NONE = "none"
    REQUEST = "request"  # never arrives
    ANSWER = "answer"  # arrives and is done; the answer is lost
    TWICE = "twice"  # arrives twice; the second answer is the one that comes back
    CUT = "cut"  # the answer stops after `cut_after_bytes`, mostly in the middle of a frame


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    loss: Loss = Loss.NONE
    cut_after_bytes: int = 0


class FaultyTransport(httpx.AsyncBaseTransport):
    """Wraps a real transport; `plan(request)` says what befalls each request."""

    def __init__(self, inner: httpx.AsyncBaseTransport, plan: Callable[[httpx.Request], Fault]) -> None:
        self._inner = inner
        self._plan = plan

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fault = self._plan(request)
        if fault.loss is Loss.REQUEST:
            raise httpx.ConnectError("no signal", request=request)
        if fault.loss is Loss.TWICE:
            await _drained(await self._inner.handle_async_request(request))
        answer = await self._inner.handle_async_request(request)
        if fault.loss is Loss.ANSWER:
            await _drained(answer)
            raise httpx.ReadTimeout("the answer was lost", request=request)
        if fault.loss is Loss.CUT:
            cut = _CutStream(answer, fault.cut_after_bytes)
            return httpx.Response(answer.status_code, headers=answer.headers, stream=cut, request=request)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


class _CutStream(httpx.AsyncByteStream):
    def __init__(self, answer: httpx.Response, left: int) -> None:
        self._answer = answer
        self._left = left

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream = self._answer.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        async for chunk in stream:
            if len(chunk) > self._left:
                yield chunk[: self._left]
                break
            self._left -= len(chunk)
            yield chunk
        else:
            return
        raise httpx.ReadError("the signal broke off")

    async def aclose(self) -> None:
        await self._answer.aclose()


async def _drained(answer: httpx.Response) -> None:
    stream = answer.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    async for _ in stream:
        pass
    await answer.aclose()
