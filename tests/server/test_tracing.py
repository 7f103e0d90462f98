"""Traces, against a collector that really listens."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from litestar import Litestar

from server.app import create_app
from server.settings import ObserveSettings, Settings

pytestmark = pytest.mark.anyio
asgi = pytest.importorskip("opentelemetry.instrumentation.asgi")


class Collector(HTTPServer):
    """Takes OTLP over HTTP and keeps the bodies."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.bodies: list[bytes] = []


class Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Collector)
        self.server.bodies.append(body)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def flush(app: Litestar) -> None:
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor

    middleware = app.asgi_handler
    middleware.tracer.span_processor.force_flush()  # type: ignore[attr-defined]
    AsyncPGInstrumentor().uninstrument()


async def test_a_request_is_traced_under_its_route_and_without_its_secrets(settings: Settings, collector: Collector) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_port}/v1/traces"
    app = create_app(settings.model_copy(update={"observe": ObserveSettings(otlp_endpoint=endpoint)}))
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        headers = {"Authorization": "Bearer a-secret-token"}
        answer = await client.get("/people/v1/persons/01a20171-ab96-7521-ab4c-f26d8d2233e0", headers=headers)
        assert answer.status_code == 401
        flush(app)
    sent = b"".join(collector.bodies)
    assert b"GET /people/v1/persons/{person_id}" in sent
    assert b"FROM token t JOIN device" in sent, "statements are spans too"
    assert b"a-secret-token" not in sent
