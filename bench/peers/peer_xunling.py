"""Xunling itself: `python -m server serve` on its embedded PostgreSQL, stock settings, real tokens, real mutations; with one
server process (`xunling`) and with two (`xunling-2`).

Push: one exchange with 25 creations of inspections, zstd both ways; a record counts as accepted when its outcome says
`applied`. Every device of the workload is a phone of its own with person, duty and token. Pull: one exchange with a cursor.
Bootstrap: exchanges from an empty cursor until the server says that nothing is left. The workload's JSON members are kept whole
in the inspection's body beside its own required fields.
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import workload  # noqa: E402
from harness import Adapter, Device, Http, HttpError, Page, Sent  # noqa: E402

from bench.installation import Installation  # noqa: E402
from bench.population import Phone, insert_counties, insert_phones  # noqa: E402
from bench.records import copy_records  # noqa: E402
from bench.talk import APPLIED, Answer, Refused, Talk, cursor_at, pages  # noqa: E402

DATASETS = ("boot", "small", "large")
PUSH_PLACES = 12  # counties for push phases: repeats, and the attempts that are made again on a noisy machine
READERS = 16
PUSHERS = 1000  # the workload's devices are numbered below this
NOTHING_DOWN = b'{"records":0,"bytes":0}'


class XunlingPusher(Device):
    """Several phones in turn over one connection; each keeps its numbers and its receipt."""

    def __init__(self, http: Http, phones: list[Phone]):
        self.http = http
        self.phones = phones
        self.talks: dict[int, Talk] = {}
        self.pending: tuple[str, int, list[bytes]] | None = None  # what a refused batch is sent again as

    async def push(self, device: int, records: list[workload.Record]) -> Sent:
        talk = self.talks.get(device)
        if talk is None:
            talk = self.talks[device] = Talk(self.http, self.phones[device])
        key = records[0].id
        if self.pending is None or self.pending[0] != key:
            first_n = talk.n_made + 1
            self.pending = (key, first_n, [talk.create(r.id, r.body) for r in records])
        _, first_n, mutations = self.pending
        answer = await talk.exchange(mutations, first_n, limits=NOTHING_DOWN)
        if isinstance(answer, Refused):
            return Sent(0, 0, 0)
        applied = sum(line.count(APPLIED) for line in answer.frames)
        return Sent(applied, answer.up, answer.down)

    async def close(self) -> None:
        await self.http.close()


class XunlingReader(Device):
    def __init__(self, http: Http, phone: Phone):
        self.http = http
        self.talk = Talk(http, phone)

    async def _exchange(self, cursor: bytes) -> Answer:
        answer = await self.talk.exchange(cursor=cursor)
        if isinstance(answer, Refused):
            raise HttpError(f"a pull was refused: {answer.status}")
        return answer

    async def pull(self, cursor, verify: bool = False) -> Page:
        answer = await self._exchange(cursor)
        records = sum(len(page["records"]) for page in pages(answer)) if verify else 0
        return Page(records, cursor, answer.down, answer.up)

    async def bootstrap(self) -> Page:
        cursor, more = b"{}", True
        total = Page(0, cursor, 0)
        while more:
            answer = await self._exchange(cursor)
            for page in pages(answer):
                total.records += len(page["records"])
                cursor = cursor_at(page["stream"], page["cursor"][1], page["cursor"][0])
            total.up += answer.up
            total.down += answer.down
            end = answer.frame(b"end")
            more = end is not None and end["more"]
        return total

    async def close(self) -> None:
        await self.http.close()


class Xunling(Adapter):
    client_procs = 1

    def __init__(self, workers: int = 1, name: str = "xunling") -> None:
        self.workers = workers
        self.name = name
        self.installation: Installation | None = None
        self.places: dict[str, int] = {}  # data set or push run -> county
        self.phones: dict[str, list[Phone]] = {}
        self.unused: list[int] = []
        self.turn = count()

    def start(self, run_dir: Path) -> None:
        self.installation = Installation(run_dir, workers=self.workers)
        self.installation.start()
        places = len(DATASETS) + PUSH_PLACES
        self.unused = self.installation.run(lambda conn: insert_counties(conn, places, workload.TOWNSHIPS))

    def stop(self) -> None:
        if self.installation is not None:
            self.installation.stop()

    def pids(self) -> dict[str, list[int]]:
        return self.installation.pids()

    def settle(self) -> None:
        self.installation.execute("CHECKPOINT")

    def seed(self, name: str, records: list[workload.Record]) -> None:
        county = self.places[name] = self.unused.pop(0)

        async def load(conn) -> None:
            self.phones[name] = await insert_phones(conn, county, READERS, 1)
            await copy_records(conn, self.phones[name][0], ((r.id, r.body) for r in records))

        self.installation.run(load)

    def delta_cursor(self, name: str, last: int) -> bytes:
        home = self.phones[name][0]
        seq = self.installation.value("SELECT seq FROM stream_head WHERE county = $1 AND stream = $2", home.county, home.stream)
        return cursor_at(home.stream, seq - last)

    def begin_push(self, run: str) -> None:
        county = self.places[run] = self.unused.pop(0)
        self.phones[run] = self.installation.run(lambda conn: insert_phones(conn, county, PUSHERS, workload.TOWNSHIPS))

    def count_pushed(self, run: str) -> int:
        """Records, journal entries and heads must say the same."""
        county = self.places[run]
        records = self.installation.value("SELECT count(*) FROM record WHERE county = $1 AND NOT deleted", county)
        journal = self.installation.value("SELECT count(*) FROM journal WHERE county = $1", county)
        heads = self.installation.value("SELECT coalesce(sum(seq), 0)::bigint FROM stream_head WHERE county = $1", county)
        if not records == journal == heads:
            raise RuntimeError(f"{records} records, {journal} journal entries, heads sum to {heads}")
        return records

    async def connect(self, target: str) -> Device:
        http = Http(self.installation.port)
        phones = self.phones[target]
        if target in DATASETS:
            return XunlingReader(http, phones[next(self.turn) % len(phones)])
        return XunlingPusher(http, phones)


def systems() -> list[Adapter]:
    return [Xunling(), Xunling(workers=2, name="xunling-2")]
