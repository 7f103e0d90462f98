"""`create_app(settings)`: the application, readable top to bottom."""

from litestar import Litestar, get
from litestar.openapi import OpenAPIConfig

from server.settings import Settings


@get("/health", summary="Is the server up?", sync_to_thread=False)
def health() -> dict[str, str]:
    return {"status": "ok"}


def create_app(settings: Settings) -> Litestar:
    return Litestar([health], openapi_config=OpenAPIConfig(title="巡岭 Xunling", version="1"), debug=False, logging_config=None)
