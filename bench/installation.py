"""An installation to be measured: our embedded PostgreSQL as it ships, and `python -m server serve` as in production.

Two settings differ from the defaults: no rate limit per device (a benchmark's device comes a thousand times a minute), and an
S3 address that nobody listens on, because no photo is sent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg

from server.embedded.postgres import EmbeddedPostgres
from server.migrate import migrate

ROOT: Final = Path(__file__).resolve().parent.parent
HOST: Final = "127.0.0.1"
START_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 15.0
DURABLE: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
T = TypeVar("T")


class Installation:
    """One database and its server processes, in one folder."""

    def __init__(self, folder: Path, *, workers: int = 1, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.workers = workers
        self.settings = settings or {}
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.port = 0
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> None:
        self.start_database()
        self.start_server()

    def start_database(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.postgres.start()
        migrate(self.dsn)
        for name, wanted in DURABLE.items():
            got = self.value(f"SHOW {name}")
            if got != wanted:
                raise RuntimeError(f"{name} is {got}, not {wanted}")

    def start_server(self) -> None:
        self.port = free_port()
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "XUNLING_DATA_DIR": str(self.folder / "data"),
            "XUNLING_PORT": str(self.port),
            "XUNLING_WORKERS": str(self.workers),
            "XUNLING_PG__DSN": self.dsn,
            "XUNLING_S3__ENDPOINT": f"http://{HOST}:9",
            "XUNLING_LIMITS__PERSON_REQUESTS_PER_MINUTE": "0",
            "XUNLING_AUTH__SECOND_FACTOR_REQUIRED": "false",
            **self.settings,
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "server", "serve"]
            self._server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
        self._wait_until_serving()

    def _wait_until_serving(self) -> None:
        assert self._server is not None
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self._server.poll() is None:
            try:
                socket.create_connection((HOST, self.port), 1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"the server did not start:\n{self.log.read_text()[-3000:]}")

    def stop_server(self) -> None:
        if self._server is None or self._server.poll() is not None:
            return
        self._server.send_signal(signal.SIGTERM)
        try:
            self._server.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()

    def stop(self) -> None:
        self.stop_server()
        self.postgres.stop()

    @property
    def dsn(self) -> str:
        return self.postgres.dsn()

    def pids(self) -> dict[str, list[int]]:
        """Roots of the process trees that serve."""
        assert self._server is not None
        database = self.postgres.pid
        assert database is not None
        return {"server": [self._server.pid], "db": [database]}

    def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """`work(connection)` on a connection of its own, from synchronous code."""

        async def go() -> T:
            conn = await asyncpg.connect(self.dsn)
            try:
                return await work(conn)
            finally:
                await conn.close()

        return asyncio.run(go())

    def value(self, sql: str, *args: Any) -> Any:
        return self.run(lambda conn: conn.fetchval(sql, *args))

    def execute(self, sql: str, *args: Any) -> None:
        self.run(lambda conn: conn.execute(sql, *args))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
