"""Around everything: request id, log line, metrics and security headers; request decompression; response compression.

These stand outside Litestar's router, so that also a 404 has an id, headers and a place in the metrics. Nothing here reads a
whole body: requests are unpacked chunk by chunk against a bound, and only answers that are ready in one piece are packed.
"""

from __future__ import annotations

import gzip
import re
import sys
import time
from typing import Any, Final

import structlog
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from api.metrics import Metrics
from api.problems import render_problem
from api.proxies import TrustedProxies
from api.security import PROGRAM_HEADERS, PROGRAM_MEDIA, SECURITY_HEADERS, STRICT_TRANSPORT
from api.unpacking import unpacker
from contracts.problems import Problem, ProblemCode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
PACK_BYTES_MIN: Final = 400  # below, the headers cost more than is saved
PACKABLE: Final = (b"application/json", b"application/problem+json", b"application/vnd.oai.openapi", b"text/html", b"text/plain")
GZIP_LEVEL: Final = 5
ZSTD_LEVEL: Final = 3

log = structlog.get_logger("xunling.http")


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    return dict(scope["headers"])


class RequestContext:
    """Outermost: who asks from where under which id; one log line and the metrics at the end."""

    def __init__(self, app: ASGIApp, *, proxies: TrustedProxies, metrics: Metrics, always_https: bool) -> None:
        self.app = app
        self.proxies = proxies
        self.metrics = metrics
        self.always_https = always_https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        trusted, source = self.proxies.source(scope.get("client"), headers)
        request_id = _request_id(headers, trusted=trusted)
        secure = self.always_https or (trusted and headers.get(b"x-forwarded-proto") == b"https")
        scope.setdefault("state", {}).update(request_id=request_id, source=source)
        started, status = time.perf_counter(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, request_id, secure=secure)
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            method = str(scope.get("method", ""))
            route = str(scope.get("path_template") or "unmatched")
            self.metrics.count_request(method, route, status, seconds)
            log.info("request", method=method, route=route, status=status, ms=round(seconds * 1000, 1), source=source)
            structlog.contextvars.clear_contextvars()


def _request_id(headers: dict[bytes, bytes], *, trusted: bool) -> str:
    """A trusted proxy's id, so that its log and ours meet; from anybody else it would be a way to forge log lines."""
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if trusted and REQUEST_ID.fullmatch(given) else uuid7().hex


def _add_headers(message: HTTPResponseStartEvent, request_id: str, *, secure: bool) -> None:
    present = {name.lower(): value for name, value in message["headers"]}
    wanted = PROGRAM_HEADERS if present.get(b"content-type") == PROGRAM_MEDIA else SECURITY_HEADERS
    added = [(name, value) for name, value in wanted if name not in present]
    if secure:
        added.append(STRICT_TRANSPORT)
    message["headers"] = [*message["headers"], *added, (b"x-request-id", request_id.encode())]


class RequestDecompression:
    """Unpacks zstd and gzip request bodies while they arrive; what grows beyond the bound is 413."""

    def __init__(self, app: ASGIApp, *, packed_bytes_max: int, unpacked_bytes_max: int) -> None:
        self.app = app
        self.packed_bytes_max = packed_bytes_max
        self.unpacked_bytes_max = unpacked_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        try:
            self._check_length(headers)
            unpack = unpacker(encoding, self.unpacked_bytes_max)
        except Problem as problem:
            await _answer(problem, scope, send)
            return
        if unpack is not None:
            scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in (b"content-encoding", b"content-length")]
            scope.setdefault("state", {})["unpacked"] = encoding.decode()
        arrived = 0

        async def receive_unpacked() -> Any:
            nonlocal arrived
            message = await receive()
            if message["type"] != "http.request":
                return message
            arrived += len(message["body"])
            if arrived > self.packed_bytes_max:
                raise Problem(ProblemCode.BODY_TOO_LARGE, bytes_max=self.packed_bytes_max)
            if unpack is None:
                return message
            last = not message.get("more_body", False)
            return {**message, "body": unpack(message["body"], last=last)}

        await self.app(scope, receive_unpacked, send)

    def _check_length(self, headers: dict[bytes, bytes]) -> None:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            raise Problem(ProblemCode.MALFORMED_REQUEST)
        if int(length) > self.packed_bytes_max:
            raise Problem(ProblemCode.BODY_TOO_LARGE, bytes_max=self.packed_bytes_max)


async def _answer(problem: Problem, scope: Scope, send: Send) -> None:
    """Answer before Litestar has seen the request."""
    response = render_problem(problem, str(scope.get("state", {}).get("request_id", "")))
    headers = [(name.lower().encode(), str(value).encode()) for name, value in response.headers.items()]
    headers += [(b"content-type", b"application/problem+json"), (b"content-length", str(len(response.content)).encode())]
    await send({"type": "http.response.start", "status": response.status_code or 500, "headers": headers})
    await send({"type": "http.response.body", "body": response.content, "more_body": False})


class ResponseCompression:
    """Packs answers that are ready in one piece. Streams, and what is encoded already, pass untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        encoding = choose_encoding(headers_of(scope).get(b"accept-encoding", b"").decode("latin-1"))
        held: HTTPResponseStartEvent | None = None

        async def send_packed(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_packable(message):
                held = message
                return
            if held is not None and message["type"] == "http.response.body":
                start, held = held, None
                whole = not message.get("more_body", False)
                if whole and encoding and len(message["body"]) >= PACK_BYTES_MIN:
                    message = {**message, "body": pack(message["body"], encoding)}
                    _note_encoding(start, encoding, len(message["body"]))
                await send(start)
            await send(message)

        await self.app(scope, receive, send_packed)


def _is_packable(message: HTTPResponseStartEvent) -> bool:
    headers = dict(message["headers"])
    return b"content-encoding" not in headers and headers.get(b"content-type", b"").startswith(PACKABLE)


def _note_encoding(message: HTTPResponseStartEvent, encoding: str, size: int) -> None:
    kept = [(name, value) for name, value in message["headers"] if name != b"content-length"]
    added = [(b"content-encoding", encoding.encode()), (b"content-length", str(size).encode()), (b"vary", b"accept-encoding")]
    message["headers"] = [*kept, *added]


def choose_encoding(accepted: str) -> str | None:
    """zstd before gzip before nothing, of what `Accept-Encoding` allows (RFC 9110 12.5.3)."""
    allowed: dict[str, bool] = {}
    for part in accepted.split(","):
        name, _, parameters = part.partition(";")
        weight = parameters.strip().removeprefix("q=").strip() if parameters else "1"
        allowed[name.strip().lower()] = weight.strip("0.") != ""
    return next((name for name in ("zstd", "gzip") if allowed.get(name, allowed.get("*", False))), None)


def pack(body: bytes, encoding: str) -> bytes:
    return zstd.compress(body, ZSTD_LEVEL) if encoding == "zstd" else gzip.compress(body, GZIP_LEVEL, mtime=0)
