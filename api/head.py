"""HEAD wherever there is GET (RFC 9110 9.3.2): the same answer without its body, also where the body would never end."""

from __future__ import annotations

from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """Litestar serves only the methods that a handler names. To the app a HEAD is a GET whose caller hangs up after the headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})  # from now on `receive` says: hung up

        asked: Any = {**scope, "method": "GET"}
        try:
            await self.app(asked, receive, send_headers)
        finally:
            if "path_template" in asked:  # what the log and the metrics call the route
                scope["path_template"] = asked["path_template"]  # type: ignore[typeddict-unknown-key]
