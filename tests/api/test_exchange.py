"""The one exchange over HTTP: what is refused, how frames travel, and where an answer stops."""

import json
import sys
import uuid
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from api.frames import encoding_for, packed
from api.unpacking import unpacker
from contracts.exchange import EXCHANGE_PATH, NUMBER_MAX, CountyPart, Frame, Limits
from contracts.mutation import CREATE, EDIT, Capture, Mutation
from contracts.people import Role
from server.app import create_app
from server.embedded.postgres import EmbeddedPostgres
from server.settings import LimitSettings, PgSettings, Settings
from tests.api.office import OTHER_COUNTY, TOWNSHIP, VILLAGE, Clock, Someone, World, client_of
from tests.builders import BODIES, a_mutation, an_id

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HANBIN = 610902
CLOCK = Capture(wall_ms=0, mono_ms=0, session="s")
FRAME = msgspec.json.Decoder(Frame)


@pytest.fixture
async def member(world: World) -> Someone:
    return await world.person((Role.GRID_MEMBER, VILLAGE))


@asynccontextmanager
async def running(settings: Settings, clock: Clock) -> AsyncIterator[World]:
    """The app with other settings."""
    app = create_app(settings, now=clock)
    async with app.lifespan(), client_of(app) as client:
        world = World(app.state.resources.pool, client, clock)
        await world.load_places()
        yield world


def a_part(*mutations: Mutation, first_n: int | None = None) -> CountyPart:
    raws = [msgspec.Raw(msgspec.json.encode(m)) for m in mutations]
    n = mutations[0].n if mutations else 0
    return CountyPart(
        n_made=mutations[-1].n if mutations else 0, n_oldest_held=n, first_n=n if first_n is None else first_n, mutations=raws
    )


def a_site(n: int, unit: str = VILLAGE, **fields: Any) -> Mutation:
    return a_mutation(n, an_id(n), "site", CREATE, body={**BODIES["site"], "unit": unit, **fields})


def a_request(someone: Someone, part: CountyPart | None = None, **given: Any) -> bytes:
    message = {"device": someone.device, "contract": 1, "clock": CLOCK, "counties": {HANBIN: part} if part else {}, **given}
    return msgspec.json.encode(message)


async def post(world: World, someone: Someone, body: bytes, **headers: str) -> httpx.Response:
    return await world.client.post(EXCHANGE_PATH, content=body, headers={**someone.headers, "accept-encoding": "identity", **headers})


def frames_of(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    return [FRAME.decode(line) for line in answer.content.splitlines()]


def named(frames: list[Any], name: str) -> list[Any]:
    return [frame for frame in frames if type(frame).__name__ == name]


async def exchanged(world: World, someone: Someone, part: CountyPart | None = None, **given: Any) -> list[Any]:
    return frames_of(await post(world, someone, a_request(someone, part, **given)))


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"].startswith("application/problem+json")
    return answer.status_code, answer.json()["type"].rpartition("/")[2].rpartition(":")[2]


# ---------------------------------------------------------------------------------------------- refused as a whole


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: b"",
        lambda body: body[:-1],
        lambda body: b"\xff" + body,
        lambda body: body.replace(b'"contract":1', b'"contract":"one"'),
        lambda body: body.replace(b'"counties":{', b'"counties":{"here":'),
        lambda body: body.replace(b'"first_n":1', b'"first_n":0'),
        lambda body: body.replace(b'"first_n":1', b'"first_n":-1'),
        lambda body: body.replace(b'"first_n":1', b'"first_n":%d' % 2**53),
        lambda body: body.replace(b'"first_n":1', b'"first_n":%d' % NUMBER_MAX),
        lambda body: body.replace(b'"n_made":1', b'"n_made":%d' % (NUMBER_MAX + 1)),
    ],
    ids=["empty", "cut", "not UTF-8", "wrong type", "no county", "number 0", "negative number", "no number", "the last number", "made"],
)
async def test_a_malformed_request_is_refused_and_nothing_is_taken(world: World, member: Someone, damage: Any) -> None:
    answer = await post(world, member, damage(a_request(member, a_part(a_site(1)))))
    assert problem(answer) == (400, "malformed_request")
    assert await world.pool.fetchval("SELECT count(*) FROM journal") == 0


async def test_a_token_speaks_for_its_own_device_only(world: World, member: Someone) -> None:
    other = await world.person((Role.GRID_MEMBER, VILLAGE))
    answer = await post(world, member, a_request(other, a_part(a_site(1))))
    assert problem(answer) == (409, "device_mismatch")


async def test_without_a_token_nothing_is_taken(world: World, member: Someone) -> None:
    answer = await world.client.post(EXCHANGE_PATH, content=a_request(member, a_part(a_site(1))))
    assert problem(answer) == (401, "not_authenticated")


async def test_too_large_a_body_is_refused_before_it_is_read(settings: Settings, clock: Clock) -> None:
    small = settings.model_copy(update={"limits": LimitSettings(body_bytes_max=64 * 1024, decompressed_bytes_max=64 * 1024)})
    async with running(small, clock) as world:
        someone = await world.person((Role.GRID_MEMBER, VILLAGE))
        big = a_request(someone, a_part(a_site(1, note="长" * 30_000)))
        assert problem(await post(world, someone, big)) == (413, "body_too_large")
        bomb = zstd.compress(a_request(someone, a_part(a_site(1, note="长" * 3_000_000))))
        assert len(bomb) < 64 * 1024
        assert problem(await post(world, someone, bomb, **{"content-encoding": "zstd"})) == (413, "body_too_large")


async def test_too_many_mutations_are_refused_so_that_the_phone_sends_fewer(settings: Settings, clock: Clock) -> None:
    small = settings.model_copy(update={"limits": LimitSettings(mutations_per_exchange_max=3)})
    async with running(small, clock) as world:
        someone = await world.person((Role.GRID_MEMBER, VILLAGE))
        part = a_part(*(a_site(n) for n in range(1, 5)))
        assert problem(await post(world, someone, a_request(someone, part))) == (413, "body_too_large")
        beside = a_request(someone, None, counties={HANBIN: a_part(a_site(1)), int(OTHER_COUNTY): part})
        assert problem(await post(world, someone, beside)) == (413, "body_too_large")
        assert await world.pool.fetchval("SELECT count(*) FROM journal") == 0
        (outcomes,) = named(await exchanged(world, someone, a_part(a_site(1), a_site(2), a_site(3))), "Outcomes")
        assert outcomes.n_high == 3


async def test_one_mutation_that_is_too_large_is_kept_whole_and_shown(settings: Settings, clock: Clock) -> None:
    """Promise 3. It is not a reason to refuse the others."""
    small = settings.model_copy(update={"limits": LimitSettings(mutation_bytes_max=1024)})
    async with running(small, clock) as world:
        someone = await world.person((Role.GRID_MEMBER, VILLAGE))
        part = a_part(a_site(1), a_site(2, note="长" * 2000), a_site(3))
        (outcomes,) = named(await exchanged(world, someone, part), "Outcomes")
        assert [o.outcome.value for o in outcomes.outcomes] == ["applied", "quarantined", "applied"]
        assert outcomes.outcomes[1].reason.value == "too_large"
        assert await world.pool.fetchval("SELECT length(raw) FROM journal WHERE n = 2 AND entry = 0") > 6000


# ---------------------------------------------------------------------------------------------- how frames travel


@pytest.mark.parametrize(
    ("accept", "used"), [("zstd, gzip", "zstd"), ("gzip", "gzip"), ("br", None), ("", None), ("gzip;q=0.5, ZSTD", "zstd")]
)
async def test_frames_are_packed_as_the_phone_can_unpack_them(world: World, member: Someone, accept: str, used: str | None) -> None:
    body = a_request(member, a_part(a_site(1)))
    plain = [type(f).__name__ for f in frames_of(await post(world, member, body))]
    async with world.client.stream("POST", EXCHANGE_PATH, content=body, headers={**member.headers, "accept-encoding": accept}) as answer:
        assert answer.headers.get("content-encoding") == used
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["content-type"] == "application/x-ndjson"
    unpack = unpacker((used or "").encode(), 2**20)
    content = raw if unpack is None else unpack(raw, last=True)
    assert [type(FRAME.decode(line)).__name__ for line in content.splitlines()] == plain


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "identity"])
async def test_a_request_may_be_packed(world: World, member: Someone, encoding: str) -> None:
    body = a_request(member, a_part(a_site(1)))
    packers = {"zstd": zstd.compress, "gzip": lambda b: zlib.compress(b, wbits=31), "identity": lambda b: b}
    frames = frames_of(await post(world, member, packers[encoding](body), **{"content-encoding": encoding}))
    assert [o.outcome.value for o in named(frames, "Outcomes")[0].outcomes] == ["applied"]


def test_an_encoding_is_chosen_by_what_is_offered() -> None:
    assert [encoding_for(a) for a in ("", "*", "deflate, br", "gzip", "br, zstd;q=1.0")] == ["", "", "", "gzip", "zstd"]


LINES = st.lists(st.integers(0, 3000).map(lambda size: json.dumps({"frame": "x", "fill": f"{size}/" * size}).encode() + b"\n"), max_size=6)


@settings(max_examples=60, deadline=None)
@given(LINES, st.sampled_from(["zstd", "gzip", ""]), st.data())
def test_a_stream_cut_anywhere_gives_whole_frames(frames: list[bytes], encoding: str, data: st.DataObject) -> None:
    """Promise 5. What arrived unpacks to the frames' own beginning; a whole line in it is a whole frame."""
    stream = b"".join(packed(frames, encoding))
    cut = data.draw(st.integers(0, len(stream)))
    arrived = b"".join(_unpacked(stream[:cut], encoding))
    assert b"".join(frames).startswith(arrived)
    if cut == len(stream):
        assert arrived == b"".join(frames)
    whole = arrived.split(b"\n")[:-1]
    assert [line + b"\n" for line in whole] == frames[: len(whole)]


def _unpacked(cut: bytes, encoding: str) -> Iterator[bytes]:
    if encoding == "zstd":
        yield zstd.ZstdDecompressor().decompress(cut)
    elif encoding == "gzip":
        yield zlib.decompressobj(wbits=31).decompress(cut)
    else:
        yield cut


# ---------------------------------------------------------------------------------------------- what frames say


async def test_the_order_of_frames_is_fixed(world: World, member: Someone) -> None:
    frames = await exchanged(world, member, a_part(a_site(1), a_site(2)))
    assert [type(f).__name__ for f in frames] == ["Hello", "Outcomes", "Scope", "Page", "End"]
    hello, outcomes, scope, page, end = frames
    assert (hello.contract_min, hello.contract_max, hello.problem, hello.wipe) == (1, 1, None, False)
    assert (outcomes.county, outcomes.n_high, outcomes.receipt.n) == (HANBIN, 2, 2)
    assert outcomes.receipt.device == member.device
    assert list(scope.streams) == [f"{VILLAGE}.field"]
    assert (page.stream, page.cursor, page.last, page.replace) == (f"{VILLAGE}.field", (1, 2), True, True)
    assert page.head == scope.streams[page.stream]
    assert end.more is False


async def test_an_answer_stops_at_the_phones_limit_and_says_that_there_is_more(world: World, member: Someone) -> None:
    """Promise 5. Going on from the cursor each time gives every record once, in the order of seq."""
    lead = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP))
    for first in (1, 101):
        await exchanged(world, member, a_part(*(a_site(n) for n in range(first, first + 100))))
    seqs: list[int] = []
    cursor: dict[str, Any] = {}
    replacing: list[str] = []
    for _ in range(40):
        frames = await exchanged(world, lead, cursor=cursor, replacing=replacing, limits=Limits(records=30))
        sent = [r.seq for page in named(frames, "Page") for r in page.records]
        assert len(sent) <= 30
        seqs += sent
        cursor |= {page.stream: page.cursor for page in named(frames, "Page")}
        replacing = [page.stream for page in named(frames, "Page") if page.replace and not page.last]
        if not frames[-1].more:
            break
    assert seqs == list(range(1, 201))


async def test_the_byte_limit_stops_after_the_page_that_passes_it(settings: Settings, clock: Clock) -> None:
    paged = settings.model_copy(update={"limits": LimitSettings(page_records_max=5)})
    async with running(paged, clock) as world:
        someone = await world.person((Role.GRID_MEMBER, VILLAGE))
        await exchanged(world, someone, a_part(*(a_site(n) for n in range(1, 31))), limits=Limits(records=0))
        frames = await exchanged(world, someone, limits=Limits(bytes=1))
        assert [len(page.records) for page in named(frames, "Page")] == [1]  # a page has one record at least
        assert frames[-1].more is True


async def test_a_phone_that_wants_nothing_back_is_given_nothing(world: World, member: Someone) -> None:
    frames = await exchanged(world, member, a_part(a_site(1)), limits=Limits(records=0))
    assert named(frames, "Page") == []
    assert frames[-1].more is True


async def test_buckets_and_repair_are_of_one_snapshot(world: World, member: Someone) -> None:
    """Promise 4."""
    await exchanged(world, member, a_part(*(a_site(n) for n in range(1, 41))))
    stream = f"{VILLAGE}.field"
    (buckets,) = named(await exchanged(world, member, buckets=[stream, "nowhere.field"]), "Buckets")
    assert sum(buckets.sums) % 2**32 == buckets.head.digest
    wanted = [b for b, total in enumerate(buckets.sums) if total][:3]
    (repair,) = named(await exchanged(world, member, repair={stream: wanted, "nowhere.field": [1]}), "Repair")
    assert {r.id.int & 0xFF for r in repair.records} == set(wanted)
    assert repair.head == buckets.head


async def test_streams_out_of_scope_are_to_be_left_and_never_sent(world: World, member: Someone) -> None:
    """Promise 6. Also when the phone asks for them by name."""
    lead = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP))
    await exchanged(world, lead, a_part(a_site(1, unit=TOWNSHIP)))
    foreign = f"{TOWNSHIP}.field"
    frames = await exchanged(world, member, cursor={foreign: (1, 0)}, buckets=[foreign], repair={foreign: list(range(256))})
    assert named(frames, "Scope")[0].drop == [foreign]
    assert named(frames, "Page") == named(frames, "Buckets") == named(frames, "Repair") == []


async def test_a_county_that_is_not_here_is_not_acknowledged(world: World, member: Someone) -> None:
    """Promise 1. No receipt without a place to keep it."""
    body = a_request(member, None, counties={999999: a_part(a_site(1)), HANBIN: a_part(a_site(1))})
    (outcomes,) = named(frames_of(await post(world, member, body)), "Outcomes")
    assert outcomes.county == HANBIN


async def test_counties_are_numbered_and_receipted_apart(world: World) -> None:
    """Promise 2."""
    someone = await world.person((Role.COUNTY_SUPERVISOR, str(HANBIN)), (Role.COUNTY_SUPERVISOR, OTHER_COUNTY))
    one = a_site(1)
    other = a_mutation(1, uuid.uuid4(), "site", CREATE, body={**BODIES["site"], "unit": OTHER_COUNTY})
    both = {
        HANBIN: a_part(one, a_mutation(2, an_id(1), "site", EDIT, base=one.id, fields={"note": ("", "x")})),
        int(OTHER_COUNTY): a_part(other),
    }
    found = {o.county: o for o in named(await exchanged(world, someone, counties=both), "Outcomes")}
    assert {county: (o.n_high, [r.outcome.value for r in o.outcomes]) for county, o in found.items()} == {
        HANBIN: (2, ["applied", "applied"]),
        int(OTHER_COUNTY): (1, ["applied"]),
    }


# ---------------------------------------------------------------------------------------------- honest refusals


async def test_a_full_server_says_when_to_come_back(settings: Settings, clock: Clock) -> None:
    """Nothing is taken, nothing is lost; with the next free place the same request is served."""
    narrow = settings.model_copy(update={"limits": LimitSettings(exchanges_at_once_max=1, exchanges_waiting_max=0)})
    async with running(narrow, clock) as world:
        someone = await world.person((Role.GRID_MEMBER, VILLAGE))
        gate = world.client._transport.app.state.resources.exchanges  # type: ignore[attr-defined]
        body = a_request(someone, a_part(a_site(1)))
        async with gate.slot():
            answer = await post(world, someone, body)
        assert problem(answer) == (503, "busy")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert await world.pool.fetchval("SELECT count(*) FROM journal") == 0
        assert named(frames_of(await post(world, someone, body)), "Outcomes")[0].n_high == 1
        seen = (await world.client.get("/metrics")).text
        assert "xunling_exchanges_refused_total 1.0" in seen
        for part in ("whole", "push", "pull"):
            assert f'xunling_exchange_seconds_count{{part="{part}"}} 1.0' in seen


@pytest.mark.slow
async def test_while_postgresql_is_down_phones_are_told_to_come_back(
    settings: Settings, private_cluster: EmbeddedPostgres, clock: Clock
) -> None:
    """Promise 1. Nothing is acknowledged that is not stored; when it is back, the same request is served."""
    own = settings.model_copy(update={"pg": PgSettings(dsn=SecretStr(private_cluster.dsn()), pool_size_min=0)})
    async with running(own, clock) as world:
        someone = await world.person((Role.GRID_MEMBER, VILLAGE))
        body = a_request(someone, a_part(a_site(1)))
        private_cluster.kill()
        answer = await post(world, someone, body)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        private_cluster.start()
        for _ in range(5):
            answer = await post(world, someone, body)
            if answer.status_code == 200:
                break
        assert [o.outcome.value for o in named(frames_of(answer), "Outcomes")[0].outcomes] == ["applied"]
