"""A phone, a scripted server and everything that can go wrong between them."""

import itertools
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from contracts.exchange import Limits
from phone.clock import SimulatedClock
from phone.exchange import Ended, Pacing
from phone.faults import CrashPoint, Fault, FaultyTransport, no_crash
from phone.phone import Phone, RecordView
from phone.store import MEMORY
from tests.phone.pretend_server import VILLAGE, PretendServer

UNIT = "610902001001"
NEXT_UNIT = "610902001002"


class Rig:
    """`plan` says what befalls each request; `slept` are the pauses a busy server caused."""

    def __init__(self, path: Path | str = MEMORY, **options: Any) -> None:
        self.server = PretendServer()
        self.path = path
        self.options: dict[str, Any] = {"mutations_max": 50, "limits": Limits(records=100), **options}
        self.plan: Callable[[httpx.Request], Fault] = lambda request: Fault()
        self.slept: list[float] = []
        self.now_ms = 1_790_000_000_000
        self.clock = SimulatedClock(lambda: self.now_ms)
        self.phone = self.open()

    def open(self, crash_point: CrashPoint = no_crash, **options: Any) -> Phone:
        transport = FaultyTransport(self.server.transport(), lambda request: self.plan(request))
        client = httpx.AsyncClient(transport=transport, base_url="http://server")
        pacing = Pacing(sleep=self._sleep, jitter=lambda: 0.5, patience_s=20)
        every = {"clock": self.clock, "pacing": pacing, **self.options, **options}
        self.phone = Phone(self.path, client, crash_point=crash_point, **every)
        return self.phone

    async def enrolled(self) -> "Rig":
        await self.phone.enrol("13800000001", "secret")
        return self

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def sync(self) -> None:
        """A sync that must succeed."""
        synced = await self.phone.sync()
        assert synced.ended is Ended.COMPLETE, synced

    def reopen(self, crash_point: CrashPoint = no_crash) -> Phone:
        """The phone is started again on the same store."""
        self.phone.close()
        return self.open(crash_point)

    def seen(self, record: uuid.UUID) -> RecordView:
        view = self.phone.view(record)
        assert view is not None
        return view

    def site(self, name: str = "工地", **fields: Any) -> uuid.UUID:
        return self.phone.create("site", None, {"unit": UNIT, "name": name, "subjects": [], **fields})

    def assert_never_repaired(self) -> None:
        """Nobody damaged this phone, so its digests were right all along: repair must not hide a mistake."""
        assert not any(request.buckets or request.repair for request in self.server.requests)

    def assert_agrees(self) -> None:
        """Promise 4: for every stream, the phone's copies are the server's records, and nothing else."""
        for name in self.server.scope:
            stream = self.server.stream(name)
            head = stream.head(610902)
            assert self.phone.digest(name) == (head.count, head.digest), name
        rows = self.phone.store.db.execute("SELECT record, stream FROM confirmed WHERE stream IS NOT NULL")
        held = {uuid.UUID(bytes=record): stream for record, stream in rows}
        assert held == {i: s for s in self.server.scope for i in self.server.stream(s).live}


def others_records(server: PretendServer, count: int, name: str = VILLAGE) -> list[uuid.UUID]:
    """Records that somebody else made."""
    made = []
    for k in itertools.islice(itertools.count(1), count):
        record = uuid.uuid5(uuid.NAMESPACE_OID, f"{name}/{k}")
        server.put(record, name, "site", {"unit": name.partition(".")[0], "name": f"site {k}", "subjects": []})
        made.append(record)
    return made
