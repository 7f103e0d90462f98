"""A thousand phones come home: all at once, each with a day's work, each until it is done.

Four phones share a village, as in a county of Ankang; a phone hands in its mutations and then pulls until the server says that
nothing is left. A refusal (503, 429) is honoured as the reference phone honours it: `Retry-After` and a random share on top. A
connection that breaks is opened again and the same numbers are sent: whatever was committed before is answered again.
"""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import random
import time
from dataclasses import dataclass, field
from typing import Any, Final

import workload
from harness import Http, HttpError, cpu_seconds, peak_rss_mb, percentile, reset_peaks

from bench.installation import Installation
from bench.population import Phone, insert_counties, insert_phones
from bench.talk import APPLIED, Answer, Refused, Talk, cursor_at, pages

PHONES_PER_VILLAGE: Final = 4
MUTATIONS: Final = 20
COUNTY: Final = 780_001
EARLY: Final = 32  # phones that come before the others, so that no process meets the crowd with its first request
GIVE_UP_S: Final = 600.0


@dataclass
class Tally:
    """What the phones saw. Seconds; `home` is from the common start to the last answer of a phone."""

    answered: list[float] = field(default_factory=list)
    home: list[float] = field(default_factory=list)
    refused: int = 0
    broken: int = 0
    acknowledged: int = 0
    pulled: int = 0
    up: int = 0
    down: int = 0
    cpu_s: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Homecoming:
    """The whole of it."""

    phones: int
    seconds: float
    tally: Tally
    held: int  # records in the database afterwards
    server_cpu_s: float
    database_cpu_s: float
    server_rss_mb: float

    @property
    def lost(self) -> int:
        return self.tally.acknowledged - self.held

    def at(self, q: float) -> float:
        """Seconds that an exchange took, refusals not counted."""
        return percentile(self.tally.answered, q) or 0.0

    def home_at(self, q: float) -> float:
        return percentile(self.tally.home, q) or 0.0


def come_home(installation: Installation, phones: int) -> Homecoming:
    villages = max(1, phones // PHONES_PER_VILLAGE)
    county = installation.run(lambda conn: insert_counties(conn, 1, villages, first=COUNTY))[0]
    enrolled = installation.run(lambda conn: insert_phones(conn, county, phones, villages))
    early = installation.run(lambda conn: insert_phones(conn, county, EARLY, 1))
    installation.stop_server()  # it would learn of the new villages a moment late
    installation.start_server()
    asyncio.run(_warm(installation.port, early))
    installation.execute("CHECKPOINT")
    pids = installation.pids()
    for group in pids.values():
        reset_peaks(group)
    before = {name: cpu_seconds(group) for name, group in pids.items()}
    started = time.perf_counter()
    tally = in_a_process_of_its_own(installation.port, enrolled)
    seconds = time.perf_counter() - started
    if tally.error:
        raise HttpError(tally.error)
    used = {name: cpu_seconds(group) - before[name] for name, group in pids.items()}
    held = installation.value("SELECT count(*) FROM record WHERE county = $1 AND NOT deleted", county)
    return Homecoming(phones, seconds, tally, held, used["server"], used["db"], peak_rss_mb(pids["server"]))


def in_a_process_of_its_own(port: int, phones: list[Phone]) -> Tally:
    """So that the load's processor time is known apart, as in the harness."""
    context = mp.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_client, args=(port, phones, theirs))
    process.start()
    theirs.close()
    try:
        tally: Tally = ours.recv()
    except EOFError:
        tally = Tally(error="the client process died")
    process.join()
    return tally


def _client(port: int, phones: list[Phone], conn: Any) -> None:
    import uvloop

    tally = Tally()
    try:
        uvloop.run(_all(port, phones, tally))
    except Exception as error:
        tally.error = f"{type(error).__name__}: {error}"
    conn.send(tally)
    conn.close()


async def _warm(port: int, phones: list[Phone]) -> None:
    async def one(phone: Phone) -> None:
        http = Http(port)
        for _ in range(3):
            await Talk(http, phone).exchange()
        await http.close()

    await asyncio.gather(*(one(phone) for phone in phones))


async def _all(port: int, phones: list[Phone], tally: Tally) -> None:
    work = []
    for k, phone in enumerate(phones):
        talk = Talk(Http(port), phone)
        work.append((talk, [talk.create(r.id, r.body) for r in workload.device_records(600_000 + k, MUTATIONS)]))
    started, cpu = time.perf_counter(), time.process_time()
    async with asyncio.timeout(GIVE_UP_S):
        await asyncio.gather(*(_one(talk, mutations, started, tally) for talk, mutations in work))
    tally.cpu_s = time.process_time() - cpu


async def _one(talk: Talk, mutations: list[bytes], started: float, tally: Tally) -> None:
    """One phone, from its first exchange to its last."""
    cursor: dict[str, Any] = {}
    more = True
    try:
        while more:
            answer = await _patiently(talk, mutations, cursor, tally)
            applied = sum(line.count(APPLIED) for line in answer.frames if line.startswith(b'{"frame":"outcomes"'))
            if applied != len(mutations):
                raise HttpError(f"{applied} of {len(mutations)} mutations were applied")
            tally.acknowledged += applied
            mutations = []
            for page in pages(answer):
                tally.pulled += len(page["records"])
                cursor[page["stream"]] = page["cursor"]
            end = answer.frame(b"end")
            more = end is not None and end["more"]
    finally:
        await talk.http.close()
    tally.home.append(time.perf_counter() - started)


async def _patiently(talk: Talk, mutations: list[bytes], cursor: dict[str, Any], tally: Tally) -> Answer:
    """One exchange, however often the server asks to come later."""
    held = b",".join(cursor_at(stream, seq, incarnation)[1:-1] for stream, (incarnation, seq) in cursor.items())
    while True:
        begun = time.perf_counter()
        try:
            got = await talk.exchange(mutations, 1 if mutations else 0, cursor=b"{" + held + b"}")
        except (ConnectionError, asyncio.IncompleteReadError):
            tally.broken += 1
            await talk.http.close()
            await asyncio.sleep(random.uniform(0.5, 2.0))
            continue
        if isinstance(got, Refused):
            tally.refused += 1
            await asyncio.sleep(got.retry_after_s * (1 + random.random()))
            continue
        tally.answered.append(time.perf_counter() - begun)
        tally.up += got.up
        tally.down += got.down
        return got
