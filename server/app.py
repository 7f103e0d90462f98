"""`create_app(settings)`: the application, readable top to bottom."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from litestar import Litestar
from litestar.middleware import DefineMiddleware

from api.auth import Authenticate
from api.dependencies import DEPENDENCIES
from api.docs import openapi_config
from api.documented import ProblemResponses
from api.head import HeadAsGet
from api.metrics import FOLDER_VARIABLE, Metrics
from api.middleware import RequestContext, RequestDecompression, ResponseCompression
from api.pace import BodyPace
from api.problems import EXCEPTION_HANDLERS
from api.proxies import TrustedProxies
from api.requests import JsonRequest
from api.routes import ROUTES
from api.turns import TakeTurns
from server.resources import open_resources
from server.settings import Settings
from server.tracing import traced

BODY_BYTES_MAX = 64 * 1024  # of a route that does not say otherwise


def create_app(settings: Settings, *, now: Callable[[], datetime] | None = None) -> Litestar:
    """The app for these settings. `now`: the server's clock, for tests that own time."""
    folder = os.environ.get(FOLDER_VARIABLE)
    metrics = Metrics(Path(folder) if folder else None)

    @asynccontextmanager
    async def resources(app: Litestar) -> AsyncIterator[None]:
        async with open_resources(settings, metrics, now) as opened:
            app.state.resources = opened
            yield

    app = Litestar(
        ROUTES,
        lifespan=[resources],
        request_class=JsonRequest,
        dependencies=DEPENDENCIES,
        middleware=[DefineMiddleware(Authenticate, exclude_from_auth_key="public"), TakeTurns()],
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=openapi_config(settings.public_url),
        plugins=[ProblemResponses()],
        logging_config=None,
        debug=False,
    )
    _surround(app, settings, metrics)
    return app


def _surround(app: Litestar, settings: Settings, metrics: Metrics) -> None:
    """Put what concerns every request, also one that no route serves, around Litestar's router; the last is outermost."""
    inner = ResponseCompression(HeadAsGet(app.asgi_handler))
    unpacked = RequestDecompression(
        inner,
        packed_bytes_max=settings.limits.body_bytes_max,
        unpacked_bytes_max=settings.limits.decompressed_bytes_max,
    )
    outer = RequestContext(
        BodyPace(unpacked),
        proxies=TrustedProxies(settings.trusted_proxies),
        metrics=metrics,
        always_https=settings.public_url.startswith("https://"),
    )
    app.asgi_handler = traced(outer, settings.observe.otlp_endpoint)
