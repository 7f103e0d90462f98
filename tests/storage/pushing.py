"""Pushes without HTTP: a county's reference data in a database, and parts of devices handed to `storage.push`."""

import asyncio
from collections.abc import Sequence

import msgspec

from contracts.exchange import CountyPart
from contracts.mutation import Capture, Mutation
from contracts.people import Role
from storage.pool import Pool
from storage.pull import fetch_heads, fetch_pages
from storage.push import Pushed, PushRequest, push
from storage.reference import Reference, reference_of
from storage.units import upsert_counties, upsert_units
from sync.decision import Sender
from tests.builders import PLACES, a_sender
from tests.county import COUNTY, MORNING, UNITS

CLOCK = Capture(wall_ms=0, mono_ms=0, session="s")


async def load_county(pool: Pool) -> Reference:
    async with pool.acquire() as conn:
        await upsert_counties(conn, {610900: "安康市", COUNTY: "汉滨区", 610921: "汉阴县"})
        await upsert_units(conn, UNITS)
    return reference_of(PLACES)


def a_part(mutations: Sequence[Mutation]) -> CountyPart:
    raws = [msgspec.Raw(msgspec.json.encode(m)) for m in mutations]
    n_made = mutations[-1].n if mutations else 0
    return CountyPart(
        n_made=n_made, n_oldest_held=mutations[0].n if mutations else 0, first_n=mutations[0].n if mutations else 0, mutations=raws
    )


def a_request(mutations: Sequence[Mutation], device: int = 1, sender: Sender | None = None) -> PushRequest:
    return PushRequest(county=COUNTY, sender=sender or a_sender(device), part=a_part(mutations), clock=CLOCK, received_at=MORNING)


async def hand_in(pool: Pool, reference: Reference, mutations: Sequence[Mutation], device: int = 1) -> Pushed:
    """By a device whose person may do everything in the whole county."""
    sender = a_sender(device, Role.COUNTY_SUPERVISOR, str(COUNTY))
    return await push(pool, reference, a_request(mutations, device, sender))


class Reader:
    """Follows streams by pages of a few records, as a phone does: what it holds is built from pages alone."""

    def __init__(self, pool: Pool, streams: Sequence[str], limit: int) -> None:
        self.pool = pool
        self.cursor = dict.fromkeys(streams, 0)
        self.limit = limit
        self.held: dict[str, dict[str, tuple[int, int]]] = {stream: {} for stream in streams}
        self.seqs: dict[str, list[int]] = {stream: [] for stream in streams}

    async def read_once(self) -> int:
        """One page of each stream; how many changes there were."""
        found = 0
        for page in await fetch_pages(self.pool, COUNTY, self.cursor, self.limit):
            records = msgspec.json.decode(b"[%s]" % page.records)
            markers = msgspec.json.decode(b"[%s]" % page.markers)
            assert [r["seq"] for r in records] == sorted(r["seq"] for r in records)
            assert all(self.cursor[page.stream] < c["seq"] <= page.seq for c in (*records, *markers))
            for marker in markers:
                if self.held[page.stream].get(marker["id"], (9, 0)) <= tuple(marker["v"]):
                    del self.held[page.stream][marker["id"]]
            for record in records:
                self.held[page.stream][record["id"]] = tuple(record["v"])
            self.seqs[page.stream] += [c["seq"] for c in (*records, *markers)]
            self.cursor[page.stream] = page.seq
            found += page.size
        return found

    async def read_all(self) -> None:
        while await self.read_once():
            pass

    async def follow(self, until: asyncio.Event) -> None:
        while not until.is_set():
            await self.read_once()
            await asyncio.sleep(0)
        await self.read_all()


SQL_LIVE = "SELECT id::text, incarnation, version FROM record WHERE county = $1 AND stream = $2 AND NOT deleted"
SQL_SUMS = "SELECT count(*), coalesce(sum(crc), 0)::bigint % 4294967296 FROM record WHERE county = $1 AND stream = $2 AND NOT deleted"


async def assert_true(pool: Pool, *readers: Reader) -> None:
    """Promises 4 and 5: every head's count and digest equal a recomputation; readers hold exactly what is live."""
    heads = await fetch_heads(pool, COUNTY, [r[0] for r in await pool.fetch("SELECT stream FROM stream_head WHERE county = $1", COUNTY)])
    for stream, head in heads.items():
        assert tuple(await pool.fetchrow(SQL_SUMS, COUNTY, stream)) == (head.count, head.digest), stream
    for reader in readers:
        for stream, held in reader.held.items():
            live = {r[0]: (r[1], r[2]) for r in await pool.fetch(SQL_LIVE, COUNTY, stream)}
            assert held == live, stream
