"""A request as handlers get it."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.exceptions import SerializationException


class JsonRequest(Request[Any, Any, Any]):
    """Text that is no UTF-8 is no JSON: the decoder says so with an error of its own, which the framework would take for a fault of the server."""

    async def json(self) -> Any:
        try:
            return await super().json()
        except UnicodeDecodeError as error:
            raise SerializationException(str(error)) from error
