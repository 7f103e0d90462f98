"""The two systems of our own benchmark: Xunling, and the bare four-table transaction that it is compared with."""

from __future__ import annotations

from limit_postgres import LimitPostgres, Shared
from peer_xunling import READERS, Xunling

from bench.population import insert_phones
from bench.records import generate_records


class Ours(Xunling):
    """As beside the peers; what is large is made inside the database, because 2 million records would take minutes to send."""

    def generate(self, name: str, model: str, count: int) -> None:
        county = self.places[name] = self.unused.pop(0)

        async def load(conn) -> None:
            self.phones[name] = await insert_phones(conn, county, READERS, 1)
            await generate_records(conn, self.phones[name][0], self.phones[model][0], count)

        self.installation.run(load)


class Bare(LimitPostgres):
    """Raw asyncpg, four tables, fsync at commit; no HTTP, no authentication, no journal."""

    def __init__(self) -> None:
        super().__init__("4table", Shared())
        self.name = "bare"
        self.phases = ("push", "pull-small", "bootstrap")
