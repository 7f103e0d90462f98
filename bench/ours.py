"""The two systems of our own benchmark: Xunling, and the bare four-table transaction that it is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
from limit_postgres import DATABASE, TABLES, LimitPostgres, Shared
from peer_xunling import READERS, Xunling
from pgcluster import Cluster

from bench.population import insert_phones
from bench.records import generate_records
from server.embedded.postgres import EmbeddedPostgres


class Ours(Xunling):
    """As beside the peers; what is large is made inside the database, because 2 million records would take minutes to send."""

    def generate(self, name: str, model: str, count: int) -> None:
        county = self.places[name] = self.unused.pop(0)

        async def load(conn: Any) -> None:
            self.phones[name] = await insert_phones(conn, county, READERS, 1)
            await generate_records(conn, self.phones[name][0], self.phones[model][0], count)

        self.installation.run(load)


class SameCluster(Cluster):
    """The same PostgreSQL, with the same settings, as the one below Xunling."""

    def start(self) -> None:
        self.server = EmbeddedPostgres(self.folder)
        self.server.start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()

    @property
    def pid(self) -> int:
        assert self.server is not None
        pid = self.server.pid
        assert pid is not None
        return pid

    async def connect(self, database: str = "postgres") -> Any:
        assert self.server is not None
        return await asyncpg.connect(self.server.dsn(database))


class Bare(LimitPostgres):
    """Raw asyncpg, four tables, fsync at commit; no HTTP, no authentication, no journal."""

    def __init__(self) -> None:
        super().__init__("4table", Shared())
        self.name = "bare"
        self.phases = ("push", "pull-small", "bootstrap")

    def start(self, run_dir: Path) -> None:
        self.shared.users += 1
        self.shared.cluster = SameCluster(run_dir)
        self.cluster.start()
        self.cluster.execute(f"CREATE DATABASE {DATABASE}")
        self.cluster.execute(f"CREATE SCHEMA data; {TABLES.format(s='data', towns=10)}", DATABASE)
