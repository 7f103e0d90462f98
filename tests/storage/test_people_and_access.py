"""SQL truths of people, tokens, limits and the audit log."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from contracts.access import Action, DeviceIn
from contracts.caller import Caller
from contracts.people import Duty, Level, Role, Unit
from contracts.problems import ProblemCode
from server.embedded import EmbeddedPostgres
from storage.access import SQL_FETCH_CALLER, fetch_caller
from storage.audit_log import DETAIL_BYTES_MAX, SQL_FETCH_AUDIT, AuditFilter, Note, Origin, fetch_entries, insert_note
from storage.devices import enrol, spend_allowance
from storage.people import correct_person, insert_duty, insert_person
from storage.pool import transaction
from storage.rate_limit import Rate, bucket_key, forget, give_back, purge_buckets, take
from storage.tokens import Lifetimes, Pair, Refused, hash_token, purge_tokens, rotate
from storage.units import UnitsCache, fetch_units_version, insert_unit, load_units, upsert_units

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 6, 1, 8, 0, tzinfo=UTC)
LIFETIMES = Lifetimes(access=timedelta(hours=1), phone=timedelta(days=90), console=timedelta(hours=12))
MONTH = timedelta(days=30)


def unit(code: str, parent: str | None = None, level: Level = Level.VILLAGE, county: int = 610902) -> Unit:
    return Unit(code=code, county=county, parent=parent, level=level, name=code)


async def person_with_duties(pool: asyncpg.Pool, *units: str) -> uuid.UUID:
    person = uuid7()
    async with transaction(pool) as conn:
        await upsert_units(conn, [unit(code) for code in units])
        await insert_person(conn, person, "某人", f"1{person.int % 10**10:010d}", "x", NOW)
        for code in units:
            await insert_duty(conn, uuid7(), Duty(person=person, role=Role.GRID_MEMBER, unit=code, starts=NOW))
    return person


async def enrolled(pool: asyncpg.Pool, person: uuid.UUID) -> Pair:
    async with transaction(pool) as conn:
        pair = await enrol(conn, person, DeviceIn(id=uuid7()), NOW, LIFETIMES)
    assert isinstance(pair, Pair)
    return pair


async def test_one_query_finds_person_device_and_all_duties(pool: asyncpg.Pool) -> None:
    person = await person_with_duties(pool, "610902101001", "610902101002")
    pair = await enrolled(pool, person)
    await pool.execute("UPDATE duty SET ends = $2 WHERE person = $1 AND unit = '610902101001'", person, NOW + timedelta(microseconds=5))
    caller = await fetch_caller(pool, hash_token(pair.access), NOW)
    assert isinstance(caller, Caller)
    assert (caller.person, caller.device, caller.wiped) == (person, pair.device, False)
    assert {(d.unit, d.starts, d.ends) for d in caller.duties} == {
        ("610902101001", NOW, NOW + timedelta(microseconds=5)),
        ("610902101002", NOW, None),
    }


async def test_a_person_without_duties_is_still_somebody(pool: asyncpg.Pool) -> None:
    pair = await enrolled(pool, await person_with_duties(pool))
    caller = await fetch_caller(pool, hash_token(pair.access), NOW)
    assert isinstance(caller, Caller)
    assert caller.duties == ()


async def test_who_asks_is_found_by_index_among_many_tokens(pool: asyncpg.Pool) -> None:
    """100,000 tokens and 10,000 duties, ANALYZE, default planner settings: no sequential scan."""
    await pool.execute("INSERT INTO unit VALUES ('610902101001', 610902, NULL, 'village', 'x')")
    await pool.execute(
        "INSERT INTO person (id, name, phone, password_hash) SELECT gen_random_uuid(), 'x', n::text, 'x' FROM generate_series(1, 10000) n"
    )
    await pool.execute(
        "INSERT INTO device (id, person, kind) SELECT overlay(gen_random_uuid()::text placing '7' from 15)::uuid, id, 'phone' FROM person"
    )
    await pool.execute(
        "INSERT INTO duty (id, person, role, unit, starts) SELECT gen_random_uuid(), id, 'grid_member', '610902101001', now() FROM person"
    )
    await pool.execute(
        "INSERT INTO token (hash, device, family, purpose, issued_at, expires_at) "
        "SELECT sha256(n::text::bytea), (SELECT id FROM device LIMIT 1), gen_random_uuid(), 'access', now(), now() FROM generate_series(1, 100000) n"
    )
    for table in ("token", "device", "person", "duty"):
        await pool.execute(f"ANALYZE {table}")
    plan = "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {SQL_FETCH_CALLER}", b"x" * 32))
    assert "Seq Scan" not in plan, plan


async def test_the_page_of_an_audit_log_does_not_depend_on_its_length(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "INSERT INTO audit_log (county, id, at, unit, action) "
        "SELECT 610902 + n % 3, gen_random_uuid(), now(), '610902101001', 'enrolled' FROM generate_series(1, 60000) n"
    )
    await pool.execute("ANALYZE audit_log")
    arguments = AuditFilter(counties=[610902, 610903], units=["610902101001"]).arguments(50)
    plan = "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {SQL_FETCH_AUDIT}", *arguments))
    assert "Seq Scan on audit_log" not in plan, plan
    assert "audit_log_pkey" in plan, plan


# ------------------------------------------------------------------------------------------------ tokens


async def test_purging_keeps_what_is_in_use_and_what_still_unmasks_a_copy(pool: asyncpg.Pool) -> None:
    person = await person_with_duties(pool, "610902101001")
    first = await enrolled(pool, person)
    async with transaction(pool) as conn:
        second = await rotate(conn, first.refresh, NOW, LIFETIMES, MONTH)
        assert isinstance(second, Pair)
        assert isinstance(await rotate(conn, second.refresh, NOW, LIFETIMES, MONTH), Pair)
    assert await purge_tokens(pool, NOW + timedelta(hours=2)) == 0
    assert await purge_tokens(pool, NOW + timedelta(days=3)) == 2, "the access tokens of the last two pairs"
    assert await purge_tokens(pool, NOW + timedelta(days=31)) == 1, "the spent refresh token, after its thirty days"
    assert await purge_tokens(pool, NOW + timedelta(days=92)) == 2


async def test_rotations_in_parallel_never_deadlock_or_fork(pool: asyncpg.Pool) -> None:
    pair = await enrolled(pool, await person_with_duties(pool, "610902101001"))

    async def one(token: str) -> object:
        async with transaction(pool) as conn:
            return await rotate(conn, token, NOW, LIFETIMES, MONTH)

    tokens = [pair.refresh]
    for _ in range(5):
        siblings = [p for p in await asyncio.gather(*(one(t) for t in tokens * 4)) if isinstance(p, Pair)]
        assert siblings
        tokens = [siblings[0].refresh]
    live = await pool.fetchval("SELECT count(*) FROM token WHERE purpose = 'refresh' AND spent_at IS NULL")
    assert live <= 2, "the one that was used last and its successor"


async def test_an_unknown_refresh_token_is_refused(pool: asyncpg.Pool) -> None:
    async with transaction(pool) as conn:
        assert await rotate(conn, "nonsense", NOW, LIFETIMES, MONTH) == Refused(ProblemCode.NOT_AUTHENTICATED)


async def test_two_people_who_enrol_one_device_id_at_once(pool: asyncpg.Pool) -> None:
    one, other, device = await person_with_duties(pool), await person_with_duties(pool), DeviceIn(id=uuid7())

    async def attempt(person: uuid.UUID) -> object:
        async with transaction(pool) as conn:
            return await enrol(conn, person, device, NOW, LIFETIMES)

    answers = await asyncio.gather(attempt(one), attempt(other))
    assert sorted(isinstance(a, Pair) for a in answers) == [False, True]
    assert ProblemCode.DEVICE_MISMATCH in answers


async def test_a_wiped_phones_bytes_are_counted_exactly_under_load(pool: asyncpg.Pool) -> None:
    device = uuid7()
    allowed = await asyncio.gather(*(spend_allowance(pool, device, 10, 200) for _ in range(50)))
    assert sum(allowed) == 20
    assert await pool.fetchval("SELECT bytes FROM wipe_allowance WHERE device = $1", device) == 500


# ------------------------------------------------------------------------------------------------ buckets

RATE = Rate(capacity=3, per_second=0.1)


async def test_a_bucket_empties_and_fills_again(pool: asyncpg.Pool) -> None:
    assert [await take(pool, "k", RATE, NOW) for _ in range(4)] == [None, None, None, 10]
    assert await take(pool, "k", RATE, NOW + timedelta(seconds=9.5)) == 1
    assert await take(pool, "k", RATE, NOW + timedelta(seconds=10)) is None
    assert await take(pool, "k", RATE, NOW + timedelta(seconds=11)) == 9
    later = NOW + timedelta(days=1)
    assert [await take(pool, "k", RATE, later) for _ in range(4)] == [None, None, None, 10], "never more than full"


async def test_refused_tries_cost_nothing_and_other_keys_are_untouched(pool: asyncpg.Pool) -> None:
    for _ in range(50):
        await take(pool, "k", RATE, NOW)
    assert await take(pool, "other", RATE, NOW) is None
    assert await take(pool, "k", RATE, NOW + timedelta(seconds=10)) is None


async def test_many_at_once_take_exactly_what_is_there(pool: asyncpg.Pool) -> None:
    answers = await asyncio.gather(*(take(pool, "k", Rate(capacity=7, per_second=0.001), NOW) for _ in range(60)))
    assert answers.count(None) == 7


async def test_a_clock_that_jumps_back_gives_nothing_away(pool: asyncpg.Pool) -> None:
    for _ in range(3):
        await take(pool, "k", RATE, NOW)
    for minutes in (60, 30, 0):
        assert await take(pool, "k", RATE, NOW - timedelta(minutes=minutes)) is not None
    assert await take(pool, "k", RATE, NOW + timedelta(seconds=5)) == 5


async def test_a_bucket_is_given_back_forgotten_and_purged(pool: asyncpg.Pool) -> None:
    for _ in range(3):
        await take(pool, "k", RATE, NOW)
    await give_back(pool, "k")
    assert await take(pool, "k", RATE, NOW) is None
    await forget(pool, "k")
    assert await take(pool, "k", RATE, NOW) is None
    assert await purge_buckets(pool, NOW + timedelta(days=1)) == 0
    assert await purge_buckets(pool, NOW + timedelta(days=3)) == 1


def test_keys_show_neither_numbers_nor_addresses() -> None:
    assert "13800000001" not in bucket_key("account", "13800000001")
    assert bucket_key("account", "1") != bucket_key("source", "1")


# ------------------------------------------------------------------------------------------------ audit log


async def test_an_entry_belongs_to_the_person_it_is_about(pool: asyncpg.Pool) -> None:
    admin, someone = await person_with_duties(pool, "610902101001"), await person_with_duties(pool, "610902101002")
    nobody = await person_with_duties(pool)
    async with transaction(pool) as conn:
        for note in (
            Note(action=Action.DEVICE_WIPED, person=admin, about=someone),
            Note(action=Action.LOGGED_OUT, person=admin),
            Note(action=Action.ENROLLED, person=nobody),
            Note(action=Action.HELD_SETTLED, person=nobody, unit="610902101002", detail={"n": 7}),
        ):
            await insert_note(conn, note, Origin(source="1.2.3.4", request="r"), NOW)
    rows = await pool.fetch("SELECT action, county, unit, detail FROM audit_log ORDER BY id")
    assert [(r["action"], r["county"], r["unit"]) for r in rows] == [
        ("device_wiped", 610902, "610902101002"),
        ("logged_out", 610902, "610902101001"),
        ("enrolled", 0, None),
        ("held_settled", 610902, "610902101002"),
    ]
    [settled] = await fetch_entries(pool, AuditFilter(counties=[610902], units=["610902101002"], action="held_settled"), 5)
    assert bytes(settled.detail) == b'{"n":7}'


def test_nothing_changes_or_deletes_an_audit_entry(root: Path) -> None:
    for path in [
        *root.glob("storage/**/*.py"),
        *root.glob("api/*.py"),
        *root.glob("server/**/*.py"),
        *root.glob("storage/migrations/*.sql"),
    ]:
        text = " ".join(path.read_text().split()).upper()
        for verb in ("UPDATE AUDIT_LOG", "DELETE FROM AUDIT_LOG", "TRUNCATE AUDIT_LOG"):
            assert verb not in text, path


# ------------------------------------------------------------------------------------------------ units


async def test_the_cache_follows_the_database_and_does_not_ask_more_than_it_must(pool: asyncpg.Pool) -> None:
    async with transaction(pool) as conn:
        await upsert_units(conn, [unit("610902", level=Level.COUNTY), unit("610902101", "610902")])
    lazy, eager = UnitsCache(pool, check_seconds=3600), UnitsCache(pool, check_seconds=0)
    assert (await lazy.places()).covers("610902", "610902101")
    assert (await eager.places()).covers("610902", "610902101")
    async with transaction(pool) as conn:
        assert await insert_unit(conn, unit("610902101001", "610902101"))
        assert not await insert_unit(conn, unit("610902101001", "610902101"))
    assert "610902101001" in (await eager.places()).units
    assert "610902101001" not in (await lazy.places()).units
    assert await lazy.find("610902101001") is not None, "a miss asks"
    assert "610902101001" in (await lazy.places()).units
    assert await lazy.find("nowhere") is None


async def test_the_version_moves_only_when_something_changed(pool: asyncpg.Pool) -> None:
    before = await fetch_units_version(pool)
    async with transaction(pool) as conn:
        assert await upsert_units(conn, [unit("610902"), unit("610921")]) == 2
        assert await upsert_units(conn, [unit("610902"), unit("610921")]) == 0
    assert await fetch_units_version(pool) == before + 1


async def test_the_county_of_a_unit_never_changes(pool: asyncpg.Pool) -> None:
    """Its records live there; a zone that takes it over later needs them moved."""
    async with transaction(pool) as conn:
        await upsert_units(conn, [unit("610902107")])
        await upsert_units(conn, [unit("610902107", county=610992, parent="610992")])
    loaded = (await load_units(pool))["610902107"]
    assert (loaded.county, loaded.parent) == (610902, "610992")


async def test_many_callers_of_a_cold_cache_ask_once(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def counted(executor: asyncpg.Pool) -> dict[str, Unit]:
        nonlocal asked
        asked += 1
        return await load_units(executor)

    monkeypatch.setattr("storage.units.load_units", counted)
    cache = UnitsCache(pool)
    await asyncio.gather(*(cache.places() for _ in range(50)))
    assert asked == 1


async def test_no_phone_number_gets_into_the_log_of_postgresql(pool: asyncpg.Pool, postgres: EmbeddedPostgres) -> None:
    """Neither where a number is in use, nor where a statement violates an index after all."""
    number, other = (f"1{uuid7().int % 10**10:010d}" for _ in range(2))
    first, second = uuid7(), uuid7()
    async with transaction(pool) as conn:
        assert await insert_person(conn, first, "甲", number, "x", NOW)
        assert not await insert_person(conn, uuid7(), "乙", number, "x", NOW)
        assert await insert_person(conn, second, "丙", other, "x", NOW)
        assert not await correct_person(conn, second, "丙", number)
    before = postgres.log.read_text(errors="replace")
    assert number not in before
    assert "person_phone_live" not in before, "a number is refused without a violated index"
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute("UPDATE person SET phone = $2 WHERE id = $1", second, number)
    after = postgres.log.read_text(errors="replace")
    assert "person_phone_live" in after
    assert number not in after


async def test_two_who_correct_to_one_number_at_once_are_not_both_right(pool: asyncpg.Pool) -> None:
    number = f"1{uuid7().int % 10**10:010d}"
    people = [await person_with_duties(pool, "610902101001") for _ in range(4)]

    async def correct(person: uuid.UUID) -> bool:
        async with transaction(pool) as conn:
            return await correct_person(conn, person, "同号", number)

    assert sorted(await asyncio.gather(*(correct(person) for person in people))) == [False, False, False, True]


async def test_an_entry_of_the_log_has_a_largest_size(pool: asyncpg.Pool) -> None:
    async with transaction(pool) as conn:
        await insert_note(conn, Note(action=Action.IMPORTED, subject="big", detail={"text": "长" * DETAIL_BYTES_MAX}), Origin(), NOW)
    detail = await pool.fetchval("SELECT detail FROM audit_log WHERE subject = 'big'")
    assert len(detail.encode()) <= DETAIL_BYTES_MAX
    assert '"cut_from_bytes":49' in detail
