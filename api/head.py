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

        is_sent = False

        async def send_headers(message: Message) -> None:
            nonlocal is_sent
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                is_sent = True

        async def receive_until_sent() -> Any:
            """Said here, and not by the server: to what paces bodies, nobody hung up in the middle of one."""
            return {"type": "http.disconnect"} if is_sent else await receive()

        asked: Any = {**scope, "method": "GET"}
        try:
            await self.app(asked, receive_until_sent, send_headers)
        finally:
            if "path_template" in asked:  # what the log and the metrics call the route
                scope["path_template"] = asked["path_template"]  # type: ignore[typeddict-unknown-key]
