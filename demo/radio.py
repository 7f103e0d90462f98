"""What is between a phone and the server: no signal, one bar, or a good line. Counts what travels, and can lose an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any, Final

import httpx

from contracts.exchange import EXCHANGE_PATH
from phone.faults import Killed
from phone.wire import Lines, decompressor

BAR_BYTES_PER_SECOND: Final = 600_000  # faster than a mountain: the whole demo must fit in a minute
BAR_DROPS: Final = 0.12  # of the requests
BAR_DELAY_S: Final = 0.04


class Signal(Enum):
    NONE = "无信号"
    ONE_BAR = "一格"
    GOOD = "满格"


@dataclass
class Traffic:
    """Bytes as they travelled (bodies, compressed), and what went wrong on the way."""

    requests: int = 0
    exchanges: int = 0
    up_bytes: int = 0
    down_bytes: int = 0
    photo_bytes: int = 0
    failures: int = 0


@dataclass
class LostAnswer:
    """What the server had answered when the signal broke: the outcomes that never came."""

    outcomes: list[dict[str, Any]] = field(default_factory=list)


class Radio(httpx.AsyncBaseTransport):
    """`lose_answers`: of so many exchanges to come the request arrives and the answer does not.

    `die_after_puts`: the battery ends when so many pieces of photos have been sent.
    """

    def __init__(self, seed: str) -> None:
        self.signal = Signal.GOOD
        self.traffic = Traffic()
        self.lose_answers = 0
        self.lost: list[LostAnswer] = []
        self.die_after_puts: int | None = None
        self.sent: Callable[[int], None] = lambda _bytes: None
        self._line = httpx.AsyncHTTPTransport()
        self._random = Random(seed)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._meet_the_hills(request)
        await self._travel(request)
        answer = await self._passed_on(request)
        if request.url.path == EXCHANGE_PATH:
            self.traffic.exchanges += 1
            if self.lose_answers > 0 and answer.is_success:
                self.lose_answers -= 1
                self.lost.append(LostAnswer(await _outcomes_of(answer)))
                self.traffic.failures += 1
                raise httpx.ReadTimeout("the answer was lost", request=request)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=_Counted(answer, self.traffic), request=request)

    def _meet_the_hills(self, request: httpx.Request) -> None:
        unlucky = self.signal is Signal.ONE_BAR and self._random.random() < BAR_DROPS
        if self.signal is Signal.NONE or unlucky:
            self.traffic.failures += 1
            raise httpx.ConnectError("no signal", request=request)

    async def _travel(self, request: httpx.Request) -> None:
        size = len(await request.aread())
        if self.signal is Signal.ONE_BAR:
            await asyncio.sleep(BAR_DELAY_S + size / BAR_BYTES_PER_SECOND)
        if request.method == "PUT":
            if self.die_after_puts == 0:
                self.die_after_puts = None
                raise Killed("the battery is empty")
            if self.die_after_puts is not None:
                self.die_after_puts -= 1

    async def _passed_on(self, request: httpx.Request) -> httpx.Response:
        self.traffic.requests += 1
        self.traffic.up_bytes += len(request.content)
        try:
            answer = await self._line.handle_async_request(request)
        except httpx.TransportError:
            self.traffic.failures += 1
            raise
        if request.method == "PUT" and answer.is_success:
            self.traffic.photo_bytes += len(request.content)
            self.sent(len(request.content))
        return answer

    async def aclose(self) -> None:
        await self._line.aclose()


class _Counted(httpx.AsyncByteStream):
    def __init__(self, answer: httpx.Response, traffic: Traffic) -> None:
        self._answer = answer
        self._traffic = traffic

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in _raw(self._answer):
            self._traffic.down_bytes += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        await self._answer.aclose()


async def _raw(answer: httpx.Response) -> AsyncIterator[bytes]:
    stream = answer.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    async for chunk in stream:
        yield chunk


async def _outcomes_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """The outcome lines of a whole exchange answer, which nobody else will ever read."""
    unpack, lines = decompressor(answer.headers.get("Content-Encoding", "")), Lines()
    frames = [json.loads(line) for chunk in [c async for c in _raw(answer)] for line in lines.feed(unpack.decompress(chunk))]
    await answer.aclose()
    return [outcome for frame in frames if frame["frame"] == "outcomes" for outcome in frame["outcomes"]]
