"""Where the simulation happens: a durable PostgreSQL to kill, server processes to kill, one time for all, old backups."""

import asyncio
import contextlib
import hashlib
import multiprocessing
import time
from collections.abc import Sequence
from functools import cached_property
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import asyncpg
import boto3
import httpx
from botocore.config import Config
from pydantic import SecretStr

from server.embedded.ports import free_ports
from server.embedded.postgres import EmbeddedPostgres
from server.settings import AuthSettings, LimitSettings, LogSettings, PgSettings, S3Settings, Settings
from tests.simulator.handset import NO_TLS
from tests.simulator.plants import plant_in_database
from tests.simulator.server_process import SharedTime, run_server
from tests.simulator.worker_process import run_timers

READY_SECONDS_MAX = 30.0
TOKEN_DAYS = 20  # shorter than the weeks that pass at once: everybody logs in again after them
PRELOADED = ["tests.simulator.server_process", "tests.simulator.worker_process", "tests.simulator.warm"]
_processes = multiprocessing.get_context("forkserver")


class Installation:
    """One database of a cluster, and the server on it."""

    def __init__(
        self, cluster: EmbeddedPostgres, template: str, name: str, folder: Path, *, s3: S3Settings | None, plant: str | None
    ) -> None:
        _processes.set_forkserver_preload(PRELOADED)
        folder.mkdir(parents=True, exist_ok=True)
        self.cluster = cluster
        self.database = name
        self.folder = folder
        self.log = folder / "server.log"
        self.time = SharedTime(folder / "time")
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._template = template
        self._s3 = s3 or S3Settings()
        self.has_photos = s3 is not None
        self._plant = plant
        self._server: ForkServerProcess | None = None
        self._backups = 0

    # ------------------------------------------------------------------------------------------ life

    async def open(self) -> None:
        await self._administer(f"CREATE DATABASE {self.database} TEMPLATE {self._template}")
        for statement in await plant_in_database(self._plant, self.sql):
            await self.sql(statement)
        if self.has_photos:
            await asyncio.to_thread(self._bucket.create)

    async def close(self) -> None:
        await self.kill_server()
        if self.cluster.pid is None:
            await self.start_postgres()
        for name in [self.database, *(f"{self.database}_b{i}" for i in range(1, self._backups + 1))]:
            await self._administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def start_server(self) -> None:
        """A new process; returns when it answers."""
        arguments = (self.settings(), self.time.path, self.log, self._plant)
        server = _processes.Process(target=run_server, args=arguments, daemon=True)
        server.start()
        self._server = server
        until = time.monotonic() + READY_SECONDS_MAX
        async with httpx.AsyncClient(base_url=self.url, verify=NO_TLS) as client:
            while time.monotonic() < until:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get("/health/live")).is_success:
                        return
                if not server.is_alive():
                    break
                await asyncio.sleep(0.02)
        raise RuntimeError(f"the server did not start; see {self.log}:\n{self.log.read_text()[-3000:]}")

    async def run_timers(self, *, behind_ms: int = 0, kill_after_s: float | None = None) -> bool:
        """A worker that goes once round its timers, or is killed on the way; returns whether it was killed."""
        arguments = (self.settings(), self.time.path, self.log, self._plant, behind_ms, self.has_photos)
        worker = _processes.Process(target=run_timers, args=arguments, daemon=True)
        worker.start()
        await asyncio.to_thread(worker.join, kill_after_s)
        if worker.is_alive():
            worker.kill()
            await asyncio.to_thread(worker.join)
            return True
        if worker.exitcode:
            raise RuntimeError(f"the worker failed; see {self.log}:\n{self.log.read_text()[-3000:]}")
        return False

    def last_words(self) -> list[str]:
        """The end of the server's log."""
        return self.log.read_text(errors="replace").splitlines()[-20:] if self.log.exists() else []

    async def kill_server(self) -> None:
        """kill -9, whatever it is doing."""
        if self._server is not None:
            self._server.kill()
            await asyncio.to_thread(self._server.join)
            self._server = None

    async def kill_postgres(self) -> None:
        """kill -9 of the postmaster: nothing is flushed that was not durable."""
        await asyncio.to_thread(self.cluster.kill)

    async def start_postgres(self) -> None:
        """Also stops what is left of a killed one; the data and the address stay."""
        await asyncio.to_thread(self.cluster.start)

    # ------------------------------------------------------------------------------------------ backups

    async def back_up(self) -> str:
        """A copy of the database as it stands. The server is killed for it: a template must have no sessions."""
        await self.kill_server()
        self._backups += 1
        name = f"{self.database}_b{self._backups}"
        await self._without_sessions(self.database)
        await self._administer(f"CREATE DATABASE {name} TEMPLATE {self.database}")
        await self.start_server()
        return name

    async def restore(self, backup: str) -> None:
        """The database is what it was at the backup. Nothing tells the server."""
        await self.kill_server()
        await self._administer(f"DROP DATABASE {self.database} WITH (FORCE)")
        await self._administer(f"CREATE DATABASE {self.database} TEMPLATE {backup}")
        # A copied sequence believes that its next 32 numbers are in the log already; a kill would give them out again.
        await self._administer("CHECKPOINT")
        await self.start_server()

    async def _without_sessions(self, database: str) -> None:
        """The sessions of a killed process end by themselves, but not at once."""
        for _ in range(200):
            if not await self._administer("SELECT 1 FROM pg_stat_activity WHERE datname = $1", database):
                return
            await asyncio.sleep(0.02)
        raise RuntimeError(f"{database} still has sessions")

    # ------------------------------------------------------------------------------------------ SQL

    async def sql(self, statement: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        return await _fetched(self.cluster.dsn(self.database), statement, arguments)

    async def _administer(self, statement: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        return await _fetched(self.cluster.dsn("postgres"), statement, arguments)

    # ------------------------------------------------------------------------------------------ photos

    @cached_property
    def _bucket(self) -> Any:
        s3, config = self._s3, Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30)
        keys = {"aws_access_key_id": s3.access_key.get_secret_value(), "aws_secret_access_key": s3.secret_key.get_secret_value()}
        resource = boto3.resource("s3", endpoint_url=s3.endpoint, region_name=s3.region, config=config, **keys)
        return resource.Bucket(s3.bucket)

    async def photos(self) -> set[str]:
        """SHA-256 of every object's bytes, computed here and now."""
        return await asyncio.to_thread(self._hashes) if self.has_photos else set()

    def _hashes(self) -> set[str]:
        return {hashlib.sha256(one.get()["Body"].read()).hexdigest() for one in self._bucket.objects.all()}

    def settings(self) -> Settings:
        """Small pages and batches, and tokens that end in a winter, so that a short day meets every limit; no rate limit, for hours
        pass in seconds.
        """
        return Settings(
            data_dir=self.folder / "data",
            port=self.port,
            pg=PgSettings(dsn=SecretStr(self.cluster.dsn(self.database)), pool_size_max=8),
            s3=self._s3,
            limits=LimitSettings(page_records_max=5, mutations_per_exchange_max=50, person_requests_per_minute=0, person_bytes_per_day=0),
            auth=AuthSettings(
                argon2_memory_kib=8,
                argon2_rounds=1,
                device_days=TOKEN_DAYS,
                login_tries_per_account=1000,
                login_tries_per_source=100_000,
                second_factor_required=False,
            ),
            log=LogSettings(level="warning"),
        )


async def _fetched(dsn: str, statement: str, arguments: Sequence[Any]) -> Sequence[asyncpg.Record]:
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.fetch(statement, *arguments)
    finally:
        await conn.close()
