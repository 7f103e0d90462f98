"""Streaming decompression against a bound: neither time nor memory follows what a bomb claims."""

from __future__ import annotations

import sys
import zlib
from typing import Final, Protocol

from contracts.problems import Problem, ProblemCode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

WINDOW_LOG_MAX: Final = 23  # 8 MiB, what RFC 9659 asks of every HTTP client: a frame may not ask for more memory
STEP_BYTES: Final = 256 * 1024


class Unpack(Protocol):
    def __call__(self, chunk: bytes, *, last: bool) -> bytes: ...


def unpacker(encoding: bytes, unpacked_bytes_max: int) -> Unpack | None:
    """The unpacker of a `Content-Encoding`; None for identity. Problem for what is not supported (RFC 9110: 415)."""
    match encoding:
        case b"identity" | b"":
            return None
        case b"gzip" | b"x-gzip":
            return Unpacker(GzipStream(), unpacked_bytes_max)
        case b"zstd":
            return Unpacker(ZstdStream(), unpacked_bytes_max)
        case _:
            raise Problem(ProblemCode.UNSUPPORTED_ENCODING, supported=["zstd", "gzip"])


class Stream(Protocol):
    """What both libraries have in common. `read` unpacks at most `size` bytes; `eof` is the end of the frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def hungry(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...

    def read(self, chunk: bytes, size: int) -> bytes: ...


class Unpacker:
    """One body. A cut, damaged or over-long stream is a Problem, never a partial body."""

    def __init__(self, stream: Stream, bytes_max: int) -> None:
        self._stream = stream
        self._left = bytes_max
        self._bytes_max = bytes_max

    def __call__(self, chunk: bytes, *, last: bool) -> bytes:
        parts: list[bytes] = []
        try:
            while (chunk and not self._stream.eof) or not (self._stream.hungry or self._stream.eof):
                part = self._stream.read(chunk, min(STEP_BYTES, self._left + 1))
                chunk = b""
                self._left -= len(part)
                if self._left < 0:
                    raise Problem(ProblemCode.BODY_TOO_LARGE, bytes_max=self._bytes_max)
                parts.append(part)
        except (zlib.error, zstd.ZstdError) as error:
            raise Problem(ProblemCode.MALFORMED_REQUEST, "内容与所声明的压缩方式不符，请重新发送") from error
        if chunk or self._stream.unused_data:
            raise Problem(ProblemCode.MALFORMED_REQUEST, "压缩内容之后还有多余内容，请重新发送")
        if last and not self._stream.eof:
            raise Problem(ProblemCode.MALFORMED_REQUEST, "压缩内容不完整，请重新发送")
        return b"".join(parts)


class GzipStream:
    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._hungry = True

    @property
    def eof(self) -> bool:
        return self._decompressor.eof

    @property
    def hungry(self) -> bool:
        return self._hungry

    @property
    def unused_data(self) -> bytes:
        return self._decompressor.unused_data

    def read(self, chunk: bytes, size: int) -> bytes:
        part = self._decompressor.decompress(self._decompressor.unconsumed_tail + chunk, size)
        # output that filled the size may have more behind it, even with no input left
        self._hungry = not self._decompressor.unconsumed_tail and len(part) < size
        return part


class ZstdStream:
    def __init__(self) -> None:
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX}
        self._decompressor = zstd.ZstdDecompressor(options=options)

    @property
    def eof(self) -> bool:
        return self._decompressor.eof

    @property
    def hungry(self) -> bool:
        return self._decompressor.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._decompressor.unused_data

    def read(self, chunk: bytes, size: int) -> bytes:
        return self._decompressor.decompress(chunk, size)
