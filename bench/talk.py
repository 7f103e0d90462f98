"""One phone's talk with the server, cheap enough not to be what is measured: real exchanges, bytes counted on the socket.

Requests are what the reference phone (`phone/`) sends, put together from ready-made bytes; of an answer no more is read than
is needed to know that it is whole and what it says.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from harness import Http, HttpError, Response

from bench.population import Phone
from contracts.exchange import EXCHANGE_PATH

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KIND: Final = "inspection"
CHECKLIST: Final = b'{"slug":"construction_dust","jurisdiction":"ankang","version":1}'
APPLIED: Final = b'"outcome":"applied"'
_frame: Final = msgspec.json.Decoder()


class Answer(NamedTuple):
    """A whole answer. `frames`: its JSON lines."""

    frames: list[bytes]
    up: int
    down: int

    def frame(self, name: bytes) -> dict[str, Any] | None:
        mark = b'{"frame":"%s"' % name
        return next((_frame.decode(line) for line in self.frames if line.startswith(mark)), None)


class Refused(NamedTuple):
    """503 or 429: come again after so many seconds."""

    status: int
    retry_after_s: float


class Talk:
    """One phone's connection and what it remembers: its numbers, its receipt, its cursors."""

    def __init__(self, http: Http, phone: Phone) -> None:
        self.http = http
        self.phone = phone
        self.n_made = 0
        self.receipt = b"null"
        self.session = uuid.uuid4().hex[:12]
        self._headers = (
            b"Authorization: Bearer %s\r\nAccept-Encoding: zstd, gzip\r\nAccept: application/x-ndjson\r\nContent-Encoding: zstd\r\n"
            % phone.token.encode()
        )

    def create(self, record: str, body: bytes) -> bytes:
        """The mutation that creates an inspection with this body; takes a number."""
        self.n_made += 1
        return (
            b'{"id":"%s","n":%d,"kind":"inspection","record":"%s","op":"create","at":%s,"contract":1,"app":"1.0.0","base":null,"body":%s}'
            % (str(uuid.uuid4()).encode(), self.n_made, record.encode(), self.clock(), inspection_body(self.phone.unit, body))
        )

    def clock(self) -> bytes:
        return b'{"wall_ms":%d,"mono_ms":%d,"session":"%s"}' % (time.time() * 1000, time.monotonic() * 1000, self.session.encode())

    async def exchange(
        self,
        mutations: Sequence[bytes] = (),
        first_n: int = 0,
        *,
        cursor: bytes = b"{}",
        limits: bytes = b'{"records":2000,"bytes":4194304}',
    ) -> Answer | Refused:
        """One exchange. HttpError for anything but an answer or an honest refusal."""
        body = request_bytes(self, mutations, first_n, cursor, limits)
        reply = await self.http.request("POST", EXCHANGE_PATH, body, self._headers)
        if reply.status in (503, 429):
            return Refused(reply.status, float(reply.header("retry-after") or 0))
        if reply.status != 200:
            raise HttpError(f"exchange: {reply.status} {unpacked(reply)[:500]!r}")
        frames = unpacked(reply).splitlines()
        if not frames or not frames[-1].startswith(b'{"frame":"end"'):
            raise HttpError("exchange: the answer has no end")
        answer = Answer(frames, reply.up, reply.down)
        self._keep_receipt(answer)
        return answer

    def _keep_receipt(self, answer: Answer) -> None:
        for line in answer.frames:
            if line.startswith(b'{"frame":"outcomes"'):
                start = line.index(b'"receipt":{') + 10
                self.receipt = line[start : line.index(b"}", start) + 1]


def request_bytes(talk: Talk, mutations: Sequence[bytes], first_n: int, cursor: bytes, limits: bytes) -> bytes:
    """The request as it travels, packed."""
    body = (
        b'{"device":"%s","contract":1,"clock":%s,"counties":{"%d":{"n_made":%d,"n_oldest_held":%d,"first_n":%d,'
        b'"mutations":[%s],"receipt":%s}},"cursor":%s,"replacing":[],"limits":%s,"buckets":[],"repair":{}}'
        % (
            str(talk.phone.device).encode(),
            talk.clock(),
            talk.phone.county,
            talk.n_made,
            first_n,
            first_n,
            b",".join(mutations),
            talk.receipt,
            cursor,
            limits,
        )
    )
    return zstd.compress(body, 3)


def inspection_body(unit: str, members: bytes) -> bytes:
    """The required fields of an inspection, then the workload's own members: unknown fields are kept by contract."""
    return b'{"unit":"%s","subject":"construction_dust","checklist":%s,%s' % (unit.encode(), CHECKLIST, members[1:])


def unpacked(reply: Response) -> bytes:
    if reply.header("content-encoding") == "zstd":
        decompressor = zstd.ZstdDecompressor()
        return decompressor.decompress(reply.body)
    return reply.data()


def cursor_at(stream: str, seq: int, incarnation: int = 1) -> bytes:
    return b'{"%s":[%d,%d]}' % (stream.encode(), incarnation, seq)


def pages(answer: Answer) -> list[dict[str, Any]]:
    return [_frame.decode(line) for line in answer.frames if line.startswith(b'{"frame":"page"')]
