"""HTTP as the phone needs it: compressed both ways, answers readable up to the byte where they were cut."""

from __future__ import annotations

import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

import httpx
import msgspec

from contracts.problems import ProblemCode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_T = TypeVar("_T")

_OURS: Final = frozenset(code.value for code in ProblemCode)
# What bytes that are not ours lead the decoders to.
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_BROKEN: Final = (zlib.error, zstd.ZstdError)
ACCEPTED: Final = "zstd, gzip"
_COMPRESS_FROM_BYTES: Final = 200  # below, a compressed body is hardly smaller


class OfflineError(Exception):
    """No answer, or the answer broke off. Ordinary life: everything stays here and is sent again."""


class StrangeAnswerError(OfflineError):
    """Somebody answered who is not the server: a portal's page, another encoding, JSON of another kind. As good as no answer."""


class RefusedError(Exception):
    """The server answered, and not with what was asked for. `code` is the problem's stable code (RFC 9457).

    wipe   the refusal is also the order to delete everything
    """

    def __init__(self, status: int, code: str, message: str, retry_after_s: float | None, *, wipe: bool = False) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.wipe = wipe

    @property
    def is_ours(self) -> bool:
        """Whether the server itself says so. A proxy's page, a portal or the photo store's own refusal ends nothing."""
        return self.code in _OURS


class Decompressor(Protocol):
    """The streaming part that zlib and zstd share."""

    def decompress(self, data: bytes, /) -> bytes: ...


class _Identity:
    def decompress(self, data: bytes, /) -> bytes:
        return data


class _ZstdFrames:
    """A response may be several zstd frames one after the other: a server may close one at each flush."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor()

    def decompress(self, data: bytes, /) -> bytes:
        out = self._frame.decompress(data)
        while self._frame.eof and self._frame.unused_data:
            rest = self._frame.unused_data
            self._frame = zstd.ZstdDecompressor()
            out += self._frame.decompress(rest)
        if self._frame.eof:
            self._frame = zstd.ZstdDecompressor()
        return out


def decompressor(encoding: str) -> Decompressor:
    """For a Content-Encoding. What has arrived is decoded at once, so a cut costs only the frame it hit."""
    match encoding.strip().lower():
        case "zstd":
            return _ZstdFrames()
        case "gzip":
            return zlib.decompressobj(wbits=31)
        case _:
            return _Identity()


class Lines:
    """Cuts a stream of bytes into complete lines; what follows the last newline is never handed out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line for line in whole if line.strip()]


def headers(token: str | None, body: bytes) -> tuple[dict[str, str], bytes]:
    """Request headers, and the body as it travels."""
    fields = {"Accept-Encoding": ACCEPTED, "Content-Type": "application/json"}
    if token:
        fields["Authorization"] = f"Bearer {token}"
    if len(body) < _COMPRESS_FROM_BYTES:
        return fields, body
    return fields | {"Content-Encoding": "zstd"}, zstd.compress(body)


@asynccontextmanager
async def open_lines(client: httpx.AsyncClient, path: str, token: str | None, body: bytes) -> AsyncIterator[AsyncIterator[list[bytes]]]:
    """POST; inside, the complete lines of the answer as they arrive. Raises RefusedError or OfflineError."""
    fields, content = headers(token, body)
    fields["Accept"] = "application/x-ndjson"
    try:
        async with client.stream("POST", path, headers=fields, content=content) as answer:
            if answer.status_code != httpx.codes.OK:
                raise await refusal(answer)
            yield _lines(answer)
    except (httpx.TransportError, *_BROKEN) as error:
        raise OfflineError(str(error)) from error


async def _lines(answer: httpx.Response) -> AsyncIterator[list[bytes]]:
    lines, unpack = Lines(), decompressor(answer.headers.get("Content-Encoding", ""))
    async for chunk in answer.aiter_raw():
        if whole := lines.feed(unpack.decompress(chunk)):
            yield whole


async def call(client: httpx.AsyncClient, method: str, path: str, token: str | None, send: Any, expect: type[_T]) -> _T:
    """One JSON request, answered by `expect`. Raises RefusedError or OfflineError."""
    fields, content = headers(token, b"" if send is None else msgspec.json.encode(send))
    try:
        async with client.stream(method, path, headers=fields, content=content) as answer:
            if not answer.is_success:
                raise await refusal(answer)
            return msgspec.json.decode(await _whole(answer), type=expect)
    except (httpx.TransportError, *_BROKEN) as error:
        raise OfflineError(str(error)) from error
    except _UNREADABLE as error:
        raise StrangeAnswerError(str(error)) from error


class _ProblemBody(msgspec.Struct):
    type: str = ""
    code: str = ""
    title: str = ""
    detail: str = ""
    details: dict[str, Any] = {}


async def refusal(answer: httpx.Response) -> RefusedError:
    """What a status that is not success means. A proxy's page instead of problem+json has the code `http_<status>`."""
    code, message, wipe = f"http_{answer.status_code}", "", False
    try:
        body = msgspec.json.decode(await _whole(answer), type=_ProblemBody)
        code = body.code or body.type.rstrip("/").rpartition("/")[2].rpartition(":")[2] or code
        message = body.title or body.detail
        wipe = body.details.get("wipe") is True
    except (*_UNREADABLE, *_BROKEN):
        pass
    after = answer.headers.get("Retry-After", "")
    return RefusedError(answer.status_code, code, message, float(after) if after.isascii() and after.isdecimal() else None, wipe=wipe)


async def _whole(answer: httpx.Response) -> bytes:
    unpack = decompressor(answer.headers.get("Content-Encoding", ""))
    return b"".join([unpack.decompress(chunk) async for chunk in answer.aiter_raw()])
