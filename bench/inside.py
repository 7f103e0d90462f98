"""Where the app's time goes: one phone after the other inside this process, with a stopwatch around each step.

Processor time of this process, so that neighbours on the machine matter little; waiting for PostgreSQL is told apart by the
wall clock. No HTTP server is in it (uvicorn's share is in the main measurement). The stopwatches cost about a microsecond
each; steps inside other steps are subtracted from them.
"""

from __future__ import annotations

import asyncio
import inspect
import pkgutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

import msgspec
import structlog
import uvloop
import workload
from pydantic import SecretStr

from bench.installation import Installation
from bench.population import Phone, insert_counties, insert_phones
from bench.records import copy_records
from bench.talk import Answer, Talk, cursor_at
from server.app import create_app
from server.serving import spare_collector
from server.settings import LimitSettings, LogSettings, PgSettings, S3Settings, Settings

CLIENT: Final = "client"  # what the load itself costs is not the app's
# (module or class, name there, step). Patched where it is used, because names are imported.
STEPS: Final = (
    ("api.middleware.RequestDecompression._check_length", "http: middleware"),
    ("api.unpacking.Unpacker.__call__", "unpack request"),
    ("api.auth.fetch_caller", "database: caller"),
    ("api.exchange.decode_request", "decode request"),
    ("storage.push.take_in", "decode mutations"),
    ("storage.push.reach_of", "decode mutations"),
    ("storage.push.lock_state", "database: lock and read"),
    ("storage.push.dated", "date mutations"),
    ("storage.push.plan_push", "plan"),
    ("storage.push.write_plan", "database: write"),
    ("storage.push_state.write_arguments", "make rows"),
    ("asyncpg.transaction.Transaction.start", "database: begin"),
    ("asyncpg.transaction.Transaction._Transaction__commit", "database: commit"),
    ("api.signing.Signer.has_signed", "receipt: check"),
    ("api.signing.Signer.sign_receipt", "receipt: sign"),
    ("api.exchange.outcomes_digest", "receipt: digest"),
    ("api.exchange.fetch_contact", "database: contact"),
    ("api.exchange.fetch_heads", "database: heads"),
    ("api.exchange.fetch_pages", "database: pages"),
    ("api.exchange.fetch_wanted_of_device", "database: wanted photos"),
    ("api.exchange.page_line", "encode answer"),
    ("api.exchange._line", "encode answer"),
    ("api.frames.packed", "pack answer"),
    ("api.metrics.Metrics.count_request", "metrics"),
    ("structlog.stdlib.BoundLogger.info", "log line"),
    ("bench.talk.request_bytes", CLIENT),
    ("bench.talk.unpacked", CLIENT),
)
REST: Final = "http, routing, all else"


class Stopwatches:
    """step -> (processor seconds, wall seconds), without what inner steps took."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = defaultdict(float)
        self.wall: dict[str, float] = defaultdict(float)
        self._inner: list[list[float]] = [[0.0, 0.0]]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._inner.append([0.0, 0.0])
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            yield
        finally:
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            inner_cpu, inner_wall = self._inner.pop()
            self.cpu[name] += cpu - inner_cpu
            self.wall[name] += wall - inner_wall
            self._inner[-1][0] += cpu
            self._inner[-1][1] += wall

    def around(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """`function` with a stopwatch; what it awaits counts too, and a generator is run to its end."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.step(name):
                found = function(*args, **kwargs)
                if inspect.isgenerator(found):
                    return list(found)
            return self._awaited(found, name) if inspect.isawaitable(found) else found

        return timed

    async def _awaited(self, found: Any, name: str) -> Any:
        with self.step(name):
            return await found


class TimedDecoder:
    def __init__(self, decoder: msgspec.json.Decoder[Any], watches: Stopwatches, name: str) -> None:
        self.decode = watches.around(decoder.decode, name)


@contextmanager
def watched(watches: Stopwatches) -> Iterator[None]:
    """Every step of `STEPS` is timed inside the block."""
    with ExitStack() as stack:
        for place, name in STEPS:
            found = pkgutil.resolve_name(place)
            timed = TimedDecoder(found, watches, name) if isinstance(found, msgspec.json.Decoder) else watches.around(found, name)
            stack.enter_context(mock.patch(place, timed))
        yield


class InProcess:
    """In place of `harness.Http`: hands the request to the app in this process."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def request(self, method: str, path: str, body: bytes = b"", extra: bytes = b"") -> Any:
        from harness import Response

        headers = [(n.strip().lower(), v.strip()) for n, _, v in (line.partition(b":") for line in extra.split(b"\r\n") if line)]
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "scheme": "http",
            "root_path": "",
        }
        sent: list[Any] = []
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            return waiting.pop(0) if waiting else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        head = b"HTTP/1.1 \r\n" + b"\r\n".join(n + b": " + v for n, v in sent[0]["headers"]) + b"\r\n\r\n"
        return Response(sent[0]["status"], head, b"".join(m.get("body", b"") for m in sent[1:]), len(body), 0)


def settings_for(installation: Installation) -> Settings:
    return Settings(
        data_dir=installation.folder / "inside",
        pg=PgSettings(dsn=SecretStr(installation.dsn)),
        s3=S3Settings(endpoint="http://127.0.0.1:9"),
        limits=LimitSettings(person_requests_per_minute=0, person_bytes_per_day=0),
    )


def measure(installation: Installation, exchanges: int) -> dict[str, Any]:
    """{"push": table, "pull": table}; a table is {step: (processor us, wall us) per exchange}, "" for the whole."""
    from server.logs import configure_logs

    log = (installation.folder / "inside.log").open("a")
    try:
        with mock.patch("sys.stderr", log):
            configure_logs(LogSettings())
            return uvloop.run(_measure(installation, exchanges))  # as the server does
    finally:
        structlog.reset_defaults()
        log.close()


async def _measure(installation: Installation, exchanges: int) -> dict[str, Any]:
    import asyncpg

    conn = await asyncpg.connect(installation.dsn)
    push_county, pull_county = (await insert_counties(conn, 2, workload.TOWNSHIPS, first=790_001))[:2]
    pushers = await insert_phones(conn, push_county, 8, workload.TOWNSHIPS)
    reader = (await insert_phones(conn, pull_county, 1, 1))[0]
    records = workload.dataset_records("small", 2_000)
    await copy_records(conn, reader, ((r.id, r.body) for r in records))
    await conn.close()
    app = create_app(settings_for(installation))
    async with app.lifespan():
        spare_collector()  # as the server does
        http = InProcess(app)
        return {
            "push": await _push(http, pushers, exchanges),
            "pull": await _pull(http, reader, len(records), exchanges),
        }


async def _push(http: InProcess, phones: list[Phone], exchanges: int) -> dict[str, tuple[float, float]]:
    talks = [Talk(http, phone) for phone in phones]  # type: ignore[arg-type]
    ready = []
    for k in range(exchanges + len(talks)):
        talk = talks[k % len(talks)]
        first_n = talk.n_made + 1
        ready.append((talk, first_n, [talk.create(r.id, r.body) for r in workload.device_records(500_000 + k, 25)]))

    async def one(k: int) -> None:
        talk, first_n, mutations = ready[k]
        answer = await talk.exchange(mutations, first_n, limits=b'{"records":0,"bytes":0}')
        assert isinstance(answer, Answer)
        assert sum(line.count(b'"outcome":"applied"') for line in answer.frames) == len(mutations)

    for k in range(len(talks)):
        await one(k)
    return await _timed(lambda k: one(k + len(talks)), exchanges)


async def _pull(http: InProcess, phone: Phone, seq: int, exchanges: int) -> dict[str, tuple[float, float]]:
    talk = Talk(http, phone)  # type: ignore[arg-type]
    cursor = cursor_at(phone.stream, seq - 200)

    async def one(_k: int) -> None:
        assert isinstance(await talk.exchange(cursor=cursor), Answer)

    for k in range(5):
        await one(k)
    return await _timed(one, exchanges)


async def _timed(one: Callable[[int], Any], exchanges: int) -> dict[str, tuple[float, float]]:
    watches = Stopwatches()
    calls = watches.around(one, REST)
    with watched(watches):
        for k in range(exchanges):
            await calls(k)
    for of in (watches.cpu, watches.wall):
        of.pop(CLIENT, None)
    table = {name: (watches.cpu[name] / exchanges * 1e6, watches.wall[name] / exchanges * 1e6) for name in watches.cpu}
    table[""] = (sum(cpu for cpu, _ in table.values()), sum(wall for _, wall in table.values()))
    return table


if __name__ == "__main__":
    import sys
    import tempfile

    from bench.report import step_lines

    with tempfile.TemporaryDirectory(prefix="xunling-bench-") as name:
        place = Installation(Path(name))
        place.start_database()
        try:
            for what, got in measure(place, int(sys.argv[1]) if len(sys.argv) > 1 else 300).items():
                print(what, *step_lines(got), sep="\n")
        finally:
            place.stop()
