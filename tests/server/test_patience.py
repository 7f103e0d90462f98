"""Half-sent requests end, and a client that hangs up is no error (M11, L3)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import structlog
import uvicorn
from litestar import Litestar

from api import pace
from contracts.people import Role
from server import patience
from server.embedded.ports import free_ports
from server.serving import configuration
from server.settings import Settings
from tests.api.conftest import app, client, clock, world  # noqa: F401 - fixtures
from tests.api.office import VILLAGE, World

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS_MAX", 0.5)
    monkeypatch.setattr(pace, "SILENCE_S_MAX", 0.5)
    monkeypatch.setattr(pace, "GRACE_S", 0.2)


@asynccontextmanager
async def served(app: Litestar, settings: Settings) -> AsyncIterator[int]:  # noqa: F811
    """The app as it is served, behind real sockets; its lifespan is the fixture's."""
    port = free_ports(1)[0]
    config = configuration(settings.model_copy(update={"port": port}), app)
    config.lifespan = "off"
    server = uvicorn.Server(config)
    with server.capture_signals():
        task = asyncio.create_task(server._serve())
        while not server.started:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.01)
        yield port
        server.should_exit = True
        await task


async def spoken(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """What is answered until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = bytearray()

    async def listen() -> None:
        with suppress(ConnectionError):
            while part := await reader.read(65536):
                answer.extend(part)

    listening = asyncio.create_task(listen())
    for part in parts:
        if not listening.done():
            with suppress(ConnectionError):
                writer.write(part)
                await writer.drain()
        await asyncio.sleep(pause_s)
    async with asyncio.timeout(30):
        await listening
    writer.close()
    return bytes(answer)


HEAD = b"POST /auth/v1/refresh HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


async def test_half_a_head_is_not_waited_for(app: Litestar, settings: Settings) -> None:  # noqa: F811
    async with served(app, settings) as port:
        for parts in ((), (b"GET /health/live HT",), (HEAD,), (b"\r\n",)):
            assert (await spoken(port, *parts)).startswith(b"HTTP/1.1 408")
        drop = [b"GET /health/live HTTP/1.1\r\n", *(b"x-%d: y\r\n" % k for k in range(30))]
        assert (await spoken(port, *drop, pause_s=0.05)).startswith(b"HTTP/1.1 408")


async def test_a_whole_request_is_answered_and_the_next_one_has_its_own_time(app: Litestar, settings: Settings) -> None:  # noqa: F811
    async with served(app, settings) as port:
        ask = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
        answer = await spoken(port, ask, ask, ask + b"GET /hea", pause_s=0.1)
        assert answer.count(b"HTTP/1.1 200") == 3


async def test_a_head_without_end_is_refused(app: Litestar, settings: Settings) -> None:  # noqa: F811
    async with served(app, settings) as port:
        answer = await spoken(port, b"GET /health/live HTTP/1.1\r\n", *(b"x-%d: %s\r\n" % (k, b"y" * 8000) for k in range(20)))
        assert answer.startswith(b"HTTP/1.1 431") or answer == b""


async def test_a_body_that_stops_or_crawls_is_not_waited_for(app: Litestar, settings: Settings) -> None:  # noqa: F811
    async with served(app, settings) as port:
        half = HEAD + b"content-length: 5000\r\n\r\n{"
        stopped = await spoken(port, half)
        crawled = await spoken(port, half, *[b" "] * 12, pause_s=0.1)
        for answer in (stopped, crawled):
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408")
            assert json.loads(body)["code"] == "too_slow"


async def test_a_client_that_hangs_up_is_no_error(
    app: Litestar,  # noqa: F811
    settings: Settings,
    world: World,  # noqa: F811
) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    path = b"POST /sync/v1/exchange HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\nauthorization: Bearer %s\r\n\r\n{"
    with structlog.testing.capture_logs() as logs:
        async with served(app, settings) as port:
            for half in (path % someone.access.encode(), HEAD + b"content-length: 5000\r\n\r\n{"):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(half)
                await writer.drain()
                await asyncio.sleep(0.1)
                writer.close()
            async with asyncio.timeout(30):
                while len(gone(logs)) < 2:  # noqa: ASYNC110 - a log has no event for it
                    await asyncio.sleep(0.02)
    assert not [entry for entry in logs if entry["log_level"] in ("error", "critical")]


def gone(logs: list[Any]) -> list[Any]:
    return [entry for entry in logs if entry["event"] == "client_gone"]
