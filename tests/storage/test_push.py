"""A push on a real database: whole or not at all, known again, and failure kept to itself."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from contracts.problems import Problem, ProblemCode
from server.embedded.postgres import EmbeddedPostgres
from storage import push as pushing
from storage.pool import Pool, infrastructure_problem, open_pool
from storage.push import push
from sync import plan as planning
from tests.builders import a_creation, a_deletion, a_sender, an_edit, an_id
from tests.county import COUNTY, VILLAGE_A, VILLAGE_B
from tests.storage.pushing import Reader, a_request, assert_true, hand_in, load_county

FIELD_A = f"{VILLAGE_A}.field"


async def rows(pool: Pool) -> dict[str, int]:
    return {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in ("record", "journal", "marker", "held")}


# ---------------------------------------------------------------------------------------------- whole or not at all


@pytest.mark.parametrize("after_writing", [False, True], ids=["before the write", "before the commit"])
async def test_a_push_killed_between_its_statements_leaves_nothing(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, after_writing: bool
) -> None:
    """Promises 1 and 2. Nothing was acknowledged, nothing is written, and the repetition is as if it had been the first."""
    reference = await load_county(pool)
    write, kills = pushing.write_plan, [1]

    async def killed(conn: Any, *arguments: Any) -> None:
        if after_writing:
            await write(conn, *arguments)
        if kills:
            kills.pop()
            await pool.execute("SELECT pg_terminate_backend($1)", conn.get_server_pid())
            await asyncio.sleep(0.1)
        if not after_writing:
            await write(conn, *arguments)

    monkeypatch.setattr(pushing, "write_plan", killed)
    mutations = [a_creation(1, an_id(1)), a_creation(2, an_id(2))]
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)) as failed:
        await hand_in(pool, reference, mutations)
    assert infrastructure_problem(failed.value) is not None
    assert await rows(pool) == {"record": 0, "journal": 0, "marker": 0, "held": 0}
    done = await hand_in(pool, reference, mutations)
    assert [o.outcome for o in done.outcomes] == [Outcome.APPLIED] * 2
    await assert_true(pool)


@pytest.mark.slow
async def test_what_was_acknowledged_survives_a_kill_of_postgresql(private_cluster: EmbeddedPostgres) -> None:
    """Promise 1. Eight devices push one after the other while PostgreSQL is killed with -9 under them."""
    pool = await open_pool(private_cluster.dsn(), size_min=0)
    reference = await load_county(pool)
    acknowledged: list[tuple[int, int]] = []
    enough = asyncio.Event()

    async def keep_pushing(device: int) -> None:
        for n in range(1, 400):
            try:
                done = await hand_in(pool, reference, [a_creation(n, an_id(device * 1000 + n))], device)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, Problem):
                return
            acknowledged.extend((device, o.n) for o in done.outcomes)
            if len(acknowledged) >= 100:
                enough.set()

    writers = [asyncio.create_task(keep_pushing(device)) for device in range(1, 9)]
    await enough.wait()
    await asyncio.to_thread(private_cluster.kill)
    await asyncio.gather(*writers)
    pool.terminate()
    await asyncio.to_thread(private_cluster.start)
    pool = await open_pool(private_cluster.dsn(), size_min=0)
    kept = {(r["device"], r["n"]) for r in await pool.fetch("SELECT device, n FROM journal WHERE what = 'mutation'")}
    assert len(acknowledged) >= 100
    assert {(an_id(device), n) for device, n in acknowledged} <= kept
    await assert_true(pool)
    pool.terminate()


# ---------------------------------------------------------------------------------------------- failure is isolated


async def test_a_mutation_that_makes_the_server_fail_is_deferred_alone(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 3. The others of its batch go through, those that build on it wait, and its bytes are kept with the error."""
    reference = await load_county(pool)
    monkeypatch.setattr(planning, "plan_write", _failing_at(planning.plan_write, an_id(2)))
    batch = [a_creation(1, an_id(1)), a_creation(2, an_id(2)), an_edit(3, an_id(2), (1, 1), note=(None, "x")), a_creation(4, an_id(3))]
    done = await hand_in(pool, reference, batch)
    assert [(o.outcome, o.reason) for o in done.outcomes] == [
        (Outcome.APPLIED, Reason.OK),
        (Outcome.DEFERRED, Reason.SERVER_FAILED),
        (Outcome.DEFERRED, Reason.WAITS_FOR),
        (Outcome.APPLIED, Reason.OK),
    ]
    assert "a bug of ours" in await pool.fetchval("SELECT detail::text FROM held WHERE n = 2")
    assert await pool.fetchval("SELECT raw FROM journal WHERE n = 2 AND entry = 0") == bytes(a_request(batch).part.mutations[1])
    again = await hand_in(pool, reference, batch)
    assert again.outcomes == done.outcomes
    await assert_true(pool)


async def test_a_failure_takes_no_more_places_than_there_are(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was let through one by one before the desk was full is answered; the rest waits on the phone."""
    reference = await load_county(pool)
    monkeypatch.setattr(planning, "plan_write", _failing_at(planning.plan_write, an_id(2)))
    batch = [a_creation(1, an_id(1)), a_creation(2, an_id(2)), an_edit(3, an_id(2), (1, 1), note=(None, "x")), a_creation(4, an_id(3))]
    sender = a_sender(1, Role.COUNTY_SUPERVISOR, str(COUNTY))
    done = await push(pool, reference, replace(a_request(batch, sender=sender), held_max=1))
    assert [(o.n, o.outcome) for o in done.outcomes] == [(1, Outcome.APPLIED), (2, Outcome.DEFERRED)]
    assert (done.desk_full, done.n_high) == (True, 2)
    assert [row["n"] for row in await pool.fetch("SELECT n FROM journal WHERE what = 'mutation' ORDER BY n")] == [1, 2]
    assert await pool.fetchval("SELECT count(*) FROM held") == 1
    await assert_true(pool)


def _failing_at(plan_write: Callable[..., Any], record: Any) -> Callable[..., Any]:
    def fails(mutation: Any, *rest: Any) -> Any:
        if mutation.record == record:
            raise ZeroDivisionError("a bug of ours")
        return plan_write(mutation, *rest)

    return fails


@pytest.mark.parametrize(
    "error",
    [
        Problem(ProblemCode.BUSY, retry_after_s=1),
        asyncpg.CannotConnectNowError("57P03"),
        asyncpg.DiskFullError("53100"),
        ConnectionResetError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_fault_of_the_infrastructure_defers_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Promise 3. The phone comes again; its work is not put on a desk because the server was busy."""
    reference = await load_county(pool)

    async def failing(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(pushing, "lock_state", failing)
        with pytest.raises(type(error)):
            await hand_in(pool, reference, [a_creation(1, an_id(1))])
    assert await rows(pool) == {"record": 0, "journal": 0, "marker": 0, "held": 0}


# ---------------------------------------------------------------------------------------------- known again


async def test_a_repeated_push_gives_the_same_answers_and_writes_nothing(pool: Pool) -> None:
    """Promise 2. Also for what was refused, held, disputed or found to be so already."""
    reference = await load_county(pool)
    site = an_id(1)
    await hand_in(pool, reference, [a_creation(1, site)], device=2)
    batch = [
        an_edit(1, site, (1, 0), name=("x", "另一个")),  # disputed
        an_edit(2, site, (1, 9), name=("另一个", "另一个")),  # already so
        an_edit(3, an_id(77), (1, 1), name=(None, "无")),  # missing: held
        an_edit(4, an_id(77), (1, 1), name=(None, "仍无")),  # waits
        a_creation(5, an_id(5), state="x"),  # an unknown field
        a_creation(6, an_id(6), "task", state="finished"),  # refused
        a_deletion(7, site, (1, 0)),  # disputed
    ]
    first = await hand_in(pool, reference, batch)
    before = await rows(pool)
    again = await hand_in(pool, reference, batch)
    assert again.outcomes == first.outcomes
    assert await rows(pool) == before
    for k in range(len(batch)):
        assert (await hand_in(pool, reference, batch[k : k + 1])).outcomes == first.outcomes[k : k + 1]
    assert await rows(pool) == before
    await assert_true(pool)


async def test_the_same_number_with_another_mutation_is_kept_under_an_identity_of_its_own(pool: Pool) -> None:
    """Promises 2 and 3. Also when neither of the two clones' messages has a readable id."""
    reference = await load_county(pool)
    await hand_in(pool, reference, [a_creation(1, an_id(1)), a_creation(2, an_id(2))])
    other = a_creation(1, an_id(3), name="副本")
    done = await hand_in(pool, reference, [other])
    assert [(o.outcome, o.reason) for o in done.outcomes] == [(Outcome.QUARANTINED, Reason.DEVICE_CLONED)]
    assert done.cloned
    unreadable = a_request([other, a_creation(2, an_id(4))])
    part = msgspec.structs.replace(unreadable.part, mutations=[msgspec.Raw(b"17"), msgspec.Raw(b"18")])
    await push(pool, reference, msgspec.structs.replace(unreadable, part=part))
    kept = {bytes(r[0]) for r in await pool.fetch("SELECT raw FROM journal WHERE reason = 'device_cloned'")}
    assert kept == {msgspec.json.encode(other), b"17", b"18"}


async def test_two_devices_with_one_mutation_id_may_both_conflict(pool: Pool) -> None:
    """Promises 2 and 3. An app that makes ids badly: each conflict is shown beside its own record, and nothing is deferred."""
    reference = await load_county(pool)
    records = [an_id(1), an_id(2)]
    await hand_in(pool, reference, [a_creation(k + 1, record) for k, record in enumerate(records)], 1)
    await hand_in(pool, reference, [an_edit(k + 3, record, (1, 1), note=(None, "甲")) for k, record in enumerate(records)], 1)
    same = uuid.uuid4()
    for device, record in zip((2, 3), records, strict=True):
        edit = msgspec.structs.replace(an_edit(1, record, (1, 1), note=(None, "乙")), id=same)
        (outcome,) = (await hand_in(pool, reference, [edit], device)).outcomes
        assert (outcome.outcome, outcome.reason) == (Outcome.CONFLICT, Reason.OVERLAP)
    shown = await pool.fetch("SELECT body ->> 'record' AS record FROM record WHERE kind = 'conflict'")
    assert {row["record"] for row in shown} == {str(record) for record in records}
    await assert_true(pool)


# ---------------------------------------------------------------------------------------------- planned on another state


async def test_two_creations_of_one_record_in_different_villages_become_one_record(pool: Pool) -> None:
    """Promises 2 and 3. Neither can lock what is not there; whoever is second plans again and finds it."""
    reference = await load_county(pool)
    for k in range(12):
        record = an_id(100 + k)
        one = a_creation(1 + k, record, name="甲", unit=VILLAGE_A)
        two = a_creation(1 + k, record, name="乙", unit=VILLAGE_B)
        first, second = await asyncio.gather(hand_in(pool, reference, [one], 1), hand_in(pool, reference, [two], 2))
        assert {first.outcomes[0].outcome, second.outcomes[0].outcome} == {Outcome.APPLIED, Outcome.CONFLICT}
    assert await pool.fetchval("SELECT count(*) FROM record WHERE kind = 'site'") == 12
    await assert_true(pool)


async def test_a_record_that_changed_since_it_was_read_is_planned_again(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 3. The write names the version it was planned on; another one in the database raises XL001, not a lost edit."""
    reference = await load_county(pool)
    await hand_in(pool, reference, [a_creation(1, an_id(1))])
    fetch, tries = pushing.fetch_view, []

    async def stale(*arguments: Any) -> Any:
        view = await fetch(*arguments)
        tries.append(view)
        if len(tries) == 1:
            old = view.records[an_id(1)]
            return msgspec.structs.replace(view, records={an_id(1): msgspec.structs.replace(old, planned_on=(1, 7))})
        return view

    monkeypatch.setattr(pushing, "fetch_view", stale)
    done = await hand_in(pool, reference, [an_edit(1, an_id(1), (1, 1), note=(None, "二"))], device=2)
    assert len(tries) == 2
    assert [o.outcome for o in done.outcomes] == [Outcome.APPLIED]
    await assert_true(pool)


# ---------------------------------------------------------------------------------------------- markers


async def test_a_record_brought_back_and_deleted_again_in_one_push_is_still_told_to_have_left(pool: Pool) -> None:
    """Promises 4 and 5. A phone that was away all the time must drop its copy."""
    reference = await load_county(pool)
    reader = Reader(pool, [FIELD_A], 10)
    await hand_in(pool, reference, [a_creation(1, an_id(1))])
    await reader.read_all()
    await hand_in(pool, reference, [a_deletion(2, an_id(1), (1, 1))])
    back = an_edit(1, an_id(1), (1, 1), note=(None, "仍在"))
    done = await hand_in(pool, reference, [back, a_deletion(2, an_id(1), back.id)], device=2)
    assert [o.outcome for o in done.outcomes] == [Outcome.CONFLICT, Outcome.APPLIED]
    await reader.read_all()
    assert reader.held == {FIELD_A: {}}
    await assert_true(pool, reader)


async def test_a_record_that_comes_back_to_a_stream_has_no_marker_there(pool: Pool) -> None:
    """Promise 4."""
    reference = await load_county(pool)
    reader = Reader(pool, [FIELD_A, f"{VILLAGE_B}.field"], 1)
    await hand_in(pool, reference, [a_creation(1, an_id(1))])
    for n, (old, new) in enumerate([(VILLAGE_A, VILLAGE_B), (VILLAGE_B, VILLAGE_A)] * 2, start=2):
        await hand_in(pool, reference, [an_edit(n, an_id(1), (1, n - 1), unit=(old, new))])
        await reader.read_all()
        await assert_true(pool, reader)
    markers = await pool.fetch("SELECT stream FROM marker WHERE county = $1", COUNTY)
    assert [r["stream"] for r in markers] == [f"{VILLAGE_B}.field"]


NOT_STORABLE = [rb"\u0000", rb"a\u0000b", rb"\\\u0000", rb"\ud800", rb"\udc00x", b"\x00", b"\xed\xa0\x80", b"\xff"]


@pytest.mark.parametrize("member", [b"id", b"kind", b"record", b"op", b"unknown"])
async def test_no_character_in_an_unreadable_mutation_stops_a_push(pool: Pool, member: bytes) -> None:
    """PostgreSQL stores neither NUL nor half a surrogate: what cannot be read is held, and what follows is taken."""
    reference = await load_county(pool)
    request = a_request([a_creation(n, an_id(n)) for n in range(1, len(NOT_STORABLE) + 2)])
    broken = [msgspec.Raw(b'{"n":%d,"%s":"%s"}' % (k + 1, member, text)) for k, text in enumerate(NOT_STORABLE)]
    part = msgspec.structs.replace(request.part, mutations=[*broken, request.part.mutations[-1]])
    pushed = await push(pool, reference, msgspec.structs.replace(request, part=part))
    assert {outcome.reason for outcome in pushed.outcomes[:-1]} == {Reason.MALFORMED}
    assert pushed.n_high == len(NOT_STORABLE) + 1
