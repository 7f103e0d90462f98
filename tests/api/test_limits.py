"""Bodies, bombs, compression, rates and admission: everything that is bounded, at and past its bound."""

import asyncio
import gzip
import itertools
import json
import resource
import sys
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from litestar import Litestar

from api.admission import Admission
from api.middleware import choose_encoding, pack
from api.unpacking import unpacker
from contracts.people import Role
from contracts.problems import Problem, ProblemCode
from server.app import create_app
from server.settings import LimitSettings, Settings
from tests.api.office import HANBIN, VILLAGE, Clock, World, client_of
from tests.api.test_auth import problem_of
from tests.api.test_devices import exchange, exchange_body

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
PACKERS = {"gzip": lambda data: gzip.compress(data, mtime=0), "zstd": lambda data: zstd.compress(data)}
JSON = {"Content-Type": "application/json"}


async def post(client: httpx.AsyncClient, content: bytes, encoding: str | None = None) -> httpx.Response:
    headers = JSON | ({"Content-Encoding": encoding} if encoding else {})
    return await client.post("/auth/v1/refresh", content=content, headers=headers)


# ------------------------------------------------------------------------------------------------ request bodies


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "x-gzip", "ZSTD"])
async def test_a_packed_request_is_read(client: httpx.AsyncClient, encoding: str) -> None:
    body = PACKERS[encoding.lower().removeprefix("x-")](b'{"refresh": "' + b"x" * 40 + b'"}')
    assert problem_of(await post(client, body, encoding), 401)["code"] == "not_authenticated"


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, zstd", "nonsense"])
async def test_an_unknown_packing_is_refused(client: httpx.AsyncClient, encoding: str) -> None:
    refused = problem_of(await post(client, b"{}", encoding), 415)
    assert refused["code"] == "unsupported_encoding"
    assert refused["details"] == {"supported": ["zstd", "gzip"]}


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "nonsense", "tail", "plain"])
async def test_a_damaged_packing_is_malformed(client: httpx.AsyncClient, encoding: str, damage: str) -> None:
    whole = PACKERS[encoding](b'{"refresh": "' + bytes(range(97, 120)) * 20 + b'"}')
    body = {"cut": whole[:-7], "nonsense": b"\x00" * 50, "tail": whole + b"more", "plain": b'{"refresh": "x"}'}[damage]
    assert problem_of(await post(client, body, encoding), 400)["code"] == "malformed_request"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_bomb_of_200_mb_ends_at_the_bound(client: httpx.AsyncClient, encoding: str) -> None:
    """Neither memory nor time follows what it claims. The log-in takes 16 KiB, all other routes the global bound."""
    bomb = PACKERS[encoding](bytes(200 * MIB))
    assert len(bomb) < MIB
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = await post(client, bomb, encoding)
    assert problem_of(refused, 413)["code"] == "body_too_large"
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    assert grown_mib < 100, f"{grown_mib:.0f} MiB to refuse a bomb"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_bomb_for_the_exchange_ends_at_the_global_bound(world: World, encoding: str) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    bomb = PACKERS[encoding](bytes(200 * MIB))
    headers = someone.headers | JSON | {"Content-Encoding": encoding}
    refused = problem_of(await world.client.post("/sync/v1/exchange", content=bomb, headers=headers), 413)
    assert refused["code"] == "body_too_large"


def test_a_zstd_frame_that_asks_for_a_huge_window_is_refused() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.enable_long_distance_matching: 1}
    compressor = zstd.ZstdCompressor(options=options)
    frame = compressor.compress(b"x" * 1000) + compressor.flush()
    unpack = unpacker(b"zstd", MIB)
    assert unpack is not None
    with pytest.raises(Problem) as caught:
        unpack(frame, last=True)
    assert caught.value.code is ProblemCode.MALFORMED_REQUEST


@given(data=st.binary(max_size=5000), cuts=st.lists(st.integers(0, 5000), max_size=5), packing=st.sampled_from(["gzip", "zstd"]))
@hypothesis_settings(max_examples=200, deadline=None)
def test_unpacking_does_not_depend_on_how_the_body_is_cut(data: bytes, cuts: list[int], packing: str) -> None:
    packed = PACKERS[packing](data)
    edges = [0, *sorted(min(c, len(packed)) for c in cuts), len(packed)]
    chunks = [packed[a:b] for a, b in itertools.pairwise(edges)]
    unpack = unpacker(packing.encode(), len(data))
    assert unpack is not None
    got = b"".join(unpack(chunk, last=i == len(chunks) - 1) for i, chunk in enumerate(chunks))
    assert got == data


@given(data=st.binary(min_size=1, max_size=3000), packing=st.sampled_from(["gzip", "zstd"]))
@hypothesis_settings(max_examples=100, deadline=None)
def test_one_byte_past_the_bound_is_too_large(data: bytes, packing: str) -> None:
    unpack = unpacker(packing.encode(), len(data) - 1)
    assert unpack is not None
    with pytest.raises(Problem) as caught:
        unpack(PACKERS[packing](data), last=True)
    assert caught.value.code is ProblemCode.BODY_TOO_LARGE


@given(noise=st.binary(max_size=300), packing=st.sampled_from(["gzip", "zstd"]))
@hypothesis_settings(max_examples=300, deadline=None)
def test_noise_is_a_problem_and_never_a_crash(noise: bytes, packing: str) -> None:
    unpack = unpacker(packing.encode(), MIB)
    assert unpack is not None
    try:
        unpack(noise, last=True)
    except Problem as problem:
        assert problem.code is ProblemCode.MALFORMED_REQUEST


async def test_a_long_body_is_refused_by_its_length_alone(client: httpx.AsyncClient) -> None:
    async def nothing_is_read() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    headers = JSON | {"Content-Length": str(9 * MIB)}
    answer = await client.post("/auth/v1/refresh", content=nothing_is_read(), headers=headers)
    assert problem_of(answer, 413)["details"] == {"bytes_max": 8 * MIB}


async def test_a_body_that_hides_its_length_is_cut_off_too(world: World) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += MIB
            yield b"x" * MIB

    answer = await world.client.post("/sync/v1/exchange", content=endless(), headers=someone.headers | JSON)
    assert problem_of(answer, 413)["code"] == "body_too_large"
    assert sent <= 10 * MIB


async def test_a_login_body_is_small(client: httpx.AsyncClient) -> None:
    assert problem_of(await post(client, b" " * 17_000 + b"{}"), 413)["code"] == "body_too_large"


async def test_a_length_that_is_no_number_is_malformed(client: httpx.AsyncClient) -> None:
    for length in ("-1", "1e3", "", "٣"):
        answer = await client.post("/auth/v1/refresh", content=b"{}", headers=[(b"content-length", length.encode())])
        problem_of(answer, 400)


# ------------------------------------------------------------------------------------------------ responses


@pytest.mark.parametrize(("accepted", "chosen"), [
    ("gzip", "gzip"),
    ("gzip, zstd", "zstd"),
    ("zstd;q=0, gzip", "gzip"),
    ("gzip;q=0.0", None),
    ("gzip;q=0.001", "gzip"),
    ("*", "zstd"),
    ("*;q=0", None),
    ("br, deflate", None),
    ("", None),
    ("GZIP ; q=1", "gzip"),
])  # fmt: skip
def test_the_encoding_is_one_that_was_offered(accepted: str, chosen: str | None) -> None:
    assert choose_encoding(accepted) == chosen


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_answers_are_packed(world: World, encoding: str) -> None:
    someone = await world.person((Role.ADMIN, HANBIN))
    headers = someone.headers | {"Accept-Encoding": encoding}
    async with world.client.stream("GET", "/people/v1/units", headers=headers) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == encoding
    assert answer.headers["vary"] == "accept-encoding"
    assert int(answer.headers["content-length"]) == len(raw)
    unpacked = gzip.decompress(raw) if encoding == "gzip" else zstd.decompress(raw)
    assert len(json.loads(unpacked)["units"]) > 30
    assert len(raw) < len(unpacked) / 2


async def test_short_answers_and_those_nobody_wants_packed_stay_plain(world: World) -> None:
    someone = await world.person((Role.ADMIN, HANBIN))
    plain = await world.client.get("/people/v1/units", headers=someone.headers | {"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    short = await world.client.get("/health/live", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in short.headers


async def test_the_exchange_packs_its_own_frames_once(world: World) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    headers = someone.headers | {"Accept-Encoding": "gzip"}
    async with world.client.stream("POST", "/sync/v1/exchange", content=exchange_body(someone), headers=headers) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers.get_list("content-encoding") == ["gzip"]
    frames = zlib.decompress(raw, wbits=31).splitlines()
    assert json.loads(frames[0])["frame"] == "hello"
    assert json.loads(frames[-1])["frame"] == "end"


def test_packing_is_the_same_bytes_each_time() -> None:
    assert pack(b"x" * 1000, "gzip") == pack(b"x" * 1000, "gzip")


# ------------------------------------------------------------------------------------------------ rates


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"limits": LimitSettings(person_requests_per_minute=20)})


async def test_a_runaway_phone_is_told_to_wait_and_others_are_not(world: World) -> None:
    runaway, other = await world.person((Role.GRID_MEMBER, VILLAGE)), await world.person((Role.GRID_MEMBER, VILLAGE))
    statuses = [(await exchange(world, runaway)).status_code for _ in range(20)]
    refused = await exchange(world, runaway)
    assert statuses[:10] == [200] * 10
    assert problem_of(refused, 429)["code"] == "too_many_requests"
    assert 1 <= int(refused.headers["retry-after"]) <= 3
    assert (await exchange(world, other)).status_code == 200
    world.clock.forward(seconds=int(refused.headers["retry-after"]))
    assert (await exchange(world, runaway)).status_code == 200


async def test_the_limit_of_a_person_holds_across_processes(world: World, settings: Settings, clock: Clock) -> None:
    """Each process lets a little pass on its own word; what is beyond that is counted together."""
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    passed = 0
    for _ in range(3):
        process = create_app(settings, now=clock)
        async with process.lifespan(), client_of(process) as client:
            for _ in range(30):
                answer = await client.post("/sync/v1/exchange", content=exchange_body(someone), headers=someone.headers)
                passed += answer.status_code == 200
    assert 10 <= passed <= 10 + 3 * 4, "half a minute's worth together, and a quarter of that for each process"


async def test_a_phone_that_behaves_costs_no_statement(world: World) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    assert (await exchange(world, someone)).status_code == 200
    assert await world.pool.fetchval("SELECT count(*) FROM rate_bucket WHERE key LIKE 'person:%'") == 0


# ------------------------------------------------------------------------------------------------ admission


async def test_admission_is_bounded_and_the_rest_hear_it_at_once() -> None:
    gate = Admission(running_max=2, waiting_max=3)
    release, most = asyncio.Event(), 0

    async def work() -> str:
        nonlocal most
        try:
            async with gate.slot():
                most = max(most, gate.running)
                await release.wait()
                return "done"
        except Problem as problem:
            assert problem.retry_after_s is not None
            assert 1 <= problem.retry_after_s <= 60
            return problem.code.value

    calls = [asyncio.create_task(work()) for _ in range(10)]
    await asyncio.sleep(0.05)
    refused = [call for call in calls if call.done()]
    assert len(refused) == 5, "five hear it while the others are still at work or wait"
    release.set()
    answers = await asyncio.gather(*calls)
    assert answers.count("done") == 5
    assert answers.count("busy") == 5
    assert most == 2
    assert (gate.running, gate.waiting) == (0, 0)


async def test_who_waits_too_long_is_refused_and_leaves_the_queue() -> None:
    gate = Admission(running_max=1, waiting_max=1, wait_seconds_max=0.05)
    async with gate.slot():
        with pytest.raises(Problem) as caught:
            async with gate.slot():
                raise AssertionError("no place was free")
        assert caught.value.code is ProblemCode.BUSY
        assert gate.waiting == 0
    async with gate.slot():
        assert gate.running == 1


async def test_a_cancelled_wait_and_a_failing_task_give_their_place_back() -> None:
    gate = Admission(running_max=1, waiting_max=5)
    with pytest.raises(RuntimeError):
        async with gate.slot():
            raise RuntimeError
    async with gate.slot():
        waiter = asyncio.create_task(gate.slot().__aenter__())
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    assert (gate.running, gate.waiting) == (0, 0)
    async with asyncio.timeout(1), gate.slot():
        assert gate.running == 1


async def test_on_a_slow_day_fewer_may_wait() -> None:
    gate = Admission(running_max=1, waiting_max=100)
    gate.service_seconds = 1.0
    async with gate.slot():
        waiting = [asyncio.create_task(gate.slot().__aenter__()) for _ in range(10)]
        await asyncio.sleep(0.01)
        assert gate.waiting == 3, "the fourth would wait longer than three seconds"
        assert gate.refused == 7
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_those_sent_away_get_turns_one_after_the_other() -> None:
    gate = Admission(running_max=1, waiting_max=0)
    gate.service_seconds = 2.0
    told = []
    async with gate.slot():
        for _ in range(60):
            with pytest.raises(Problem) as caught:
                async with gate.slot():
                    raise AssertionError("nobody may wait")
            assert caught.value.retry_after_s is not None
            told.append(caught.value.retry_after_s)
    foreseen = told[:28]
    assert foreseen == sorted(foreseen)
    assert len(set(foreseen)) > 20, "they come spread, not all at once"
    assert foreseen[-1] > 35
    assert all(30 <= seconds <= 60 for seconds in told[30:]), "who cannot be foreseen asks again within a minute"


async def test_a_flood_of_exchanges_is_answered_honestly(world: World, app: Litestar) -> None:
    gate = Admission(running_max=1, waiting_max=2)
    object.__setattr__(app.state.resources, "exchanges", gate)
    people = [await world.person((Role.GRID_MEMBER, VILLAGE)) for _ in range(8)]
    async with gate.slot():
        calls = [asyncio.create_task(exchange(world, someone)) for someone in people]
        while gate.waiting + gate.refused < len(people):  # noqa: ASYNC110 - the gate has no event for it
            await asyncio.sleep(0.01)
    answers = await asyncio.gather(*calls)
    assert sorted(a.status_code for a in answers) == [200] * 2 + [503] * 6
    assert all("retry-after" in a.headers for a in answers if a.status_code == 503)
