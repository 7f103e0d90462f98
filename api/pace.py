"""How long a body may take: a phone behind a mountain is slow, but it sends something; who sends nothing, or a byte now and then, holds a place."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import structlog
from litestar import Request, Response
from litestar.types import ASGIApp, Receive, Scope, Send

from contracts.problems import Problem, ProblemCode

SILENCE_S_MAX: Final = 60.0  # between two pieces
GRACE_S: Final = 60.0  # a radio that has to wake up; after that the pace counts
BYTES_PER_SECOND_MIN: Final = 200  # on average: a fifth of the slowest GPRS
CLIENT_GONE: Final = 499  # what nginx writes into its log; nobody is there to read it

log = structlog.get_logger("xunling.http")


class ClientGone(Exception):
    """The other end hung up in the middle of its request: nobody waits for an answer, and nothing is wrong here."""


class BodyPace:
    """Problem(too_slow) while the body is read; ClientGone when it never ends."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.monotonic()
        arrived, is_whole = 0, False

        async def receive_in_time() -> Any:
            nonlocal arrived, is_whole
            if is_whole:  # from here on it is only asked whether the client is still there
                return await receive()
            try:
                async with asyncio.timeout(SILENCE_S_MAX):
                    message: Any = await receive()
            except TimeoutError:
                raise Problem(ProblemCode.TOO_SLOW) from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            if message["type"] == "http.request":
                arrived += len(message["body"])
                is_whole = not message.get("more_body", False)
                seconds = time.monotonic() - begun
                if not is_whole and seconds > GRACE_S and arrived < seconds * BYTES_PER_SECOND_MIN:
                    raise Problem(ProblemCode.TOO_SLOW)
            return message

        await self.app(scope, receive_in_time, send)


def handle_client_gone(_request: Request[Any, Any, Any], _gone: ClientGone) -> Response[bytes]:
    log.info("client_gone")
    return Response(b"", status_code=CLIENT_GONE, media_type="text/plain")
