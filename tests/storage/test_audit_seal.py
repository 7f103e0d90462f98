"""The audit log cannot be changed by the program's role, and what its owner changes is found (decisions 0031, 0032)."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from uuid_utils.compat import uuid7

from api.signing import Signer
from contracts.access import Action
from server.audit import heads_of, run_audit
from server.backup import audit_head
from server.jobs import TIMERS
from server.roles import APPENDED, KEPT, scram_verifier
from server.settings import Settings
from storage.audit_log import Note, Origin, insert_note
from storage.audit_seal import LogAudit, audit_seals, seal_log
from storage.pool import Pool, open_pool
from sync.sealing import AuditSeal
from tests.house.test_statements import modules, statements

NOW = datetime(2026, 12, 1, 8, tzinfo=UTC)
SIGNER = Signer(Ed25519PrivateKey.generate())


async def noted(pool: Pool, count: int, at: datetime = NOW) -> None:
    async with pool.acquire() as conn:
        for number in range(count):
            await insert_note(conn, Note(action=Action.ENROLLED, subject=str(number)), Origin(source="x"), at + timedelta(seconds=number))


async def seal(pool: Pool, at: datetime = NOW, signer: Signer = SIGNER) -> int:
    return await seal_log(pool, signer.key, signer.sign, at)


async def found(pool: Pool, heads: dict[str, AuditSeal] | None = None) -> LogAudit:
    return await audit_seals(pool, heads or {}, SIGNER.is_ours)


@pytest.fixture
async def log(pool: Pool) -> Pool:
    """Three seals over ten entries, a day between each, and two entries that wait."""
    for day, count in enumerate((4, 3, 3)):
        await noted(pool, count, NOW + timedelta(days=3 * day))
        assert await seal(pool, NOW + timedelta(days=3 * day, minutes=5)) == count
        assert await seal(pool, NOW + timedelta(days=3 * day, minutes=10)) == 0, "nothing came since"
    await noted(pool, 2, NOW + timedelta(days=6, minutes=20))
    return pool


async def test_what_nobody_touched_is_sound(log: Pool) -> None:
    assert await found(log) == LogAudit(seals=3, entries=10, unsealed=2, faults=[])


async def test_a_changed_entry_names_its_batch(log: Pool) -> None:
    await log.execute("UPDATE audit_log SET action = 'logged_out' WHERE subject = '1' AND at < $1", NOW + timedelta(hours=1))
    assert (await found(log)).faults == [("seal 1 of 2026-12-01 08:05Z", "an entry was changed, or the seal before it")]


async def test_a_deleted_entry_names_its_batch(log: Pool) -> None:
    await log.execute(
        "DELETE FROM audit_log WHERE subject = '2' AND at BETWEEN $1 AND $2", NOW + timedelta(days=3), NOW + timedelta(days=4)
    )
    assert (await found(log)).faults == [("seal 2 of 2026-12-04 08:05Z", "1 of its 3 entries are missing")]


async def test_an_entry_that_was_put_in_afterwards_is_in_no_seal(log: Pool) -> None:
    await noted(log, 1, NOW + timedelta(hours=1))
    [(where, what)] = (await found(log)).faults
    assert (where, what.startswith("1 entries, the first of 2026-12-01 09:00Z, are in no seal")) == ("log", True)


async def test_a_cut_tail_is_found_by_the_head_in_a_backup(log: Pool) -> None:
    head = await audit_head_of(log)
    await log.execute("DELETE FROM audit_log a USING audit_seal s WHERE s.number = 3 AND a.id = ANY (s.ids)")
    await log.execute("DELETE FROM audit_seal WHERE number = 3")
    await log.execute("DELETE FROM audit_log WHERE at > $1", NOW + timedelta(days=5))
    assert (await found(log)).faults == [], "the chain alone does not show what is no more"
    [(where, what)] = (await found(log, {"20261208": head})).faults
    assert where == "backup"
    assert "20261208 has seal 3, which the log lacks" in what


async def test_a_chain_that_was_signed_anew_with_another_key_is_found(log: Pool) -> None:
    other = Signer(Ed25519PrivateKey.generate())
    await log.execute("UPDATE audit_log SET action = 'logged_out' WHERE subject = '1'")
    await log.execute("DELETE FROM audit_seal")
    await seal(log, NOW, other)
    assert (await found(log)).faults == [("seal 1 of 2026-12-01 08:00Z", "its signature is not one of this installation's keys")]


async def test_a_chain_that_was_made_anew_with_the_right_key_is_found_by_the_head_in_a_backup(log: Pool) -> None:
    head = await audit_head_of(log)
    await log.execute("UPDATE audit_log SET action = 'logged_out' WHERE subject = '1'")
    await log.execute("DELETE FROM audit_seal")
    for day in (0, 3, 6):
        await log.execute("UPDATE audit_log SET at = at")
        await seal(log, NOW + timedelta(days=day, minutes=5))
    assert any("cut off" in what or "made anew" in what for _, what in (await found(log, {"b": head})).faults)


async def audit_head_of(pool: Pool) -> AuditSeal:
    from storage.audit_seal import fetch_head

    head = await fetch_head(pool)
    assert head is not None
    return head


async def test_two_workers_make_one_chain_and_late_entries_are_sealed(pool: Pool) -> None:
    await noted(pool, 1500)
    done = await asyncio.gather(*(seal(pool) for _ in range(4)))
    assert sorted(done) == [0, 0, 0, 1000]
    while await seal(pool):
        pass
    await noted(pool, 1, NOW - timedelta(hours=20))  # by a clock that is behind
    assert await seal(pool, NOW + timedelta(minutes=5)) == 1
    assert await found(pool) == LogAudit(seals=3, entries=1501, unsealed=0, faults=[])


async def test_a_seal_keeps_no_entry_waiting(pool: Pool, database: str) -> None:
    """An entry is written while another transaction is in the middle of a seal, and the other way round."""
    await noted(pool, 3)
    conn = await asyncpg.connect(database)
    try:
        async with conn.transaction():
            await insert_note(conn, Note(action=Action.LOGIN_FAILED), Origin(), NOW)
            assert await asyncio.wait_for(seal(pool), 20) == 3
            await asyncio.wait_for(noted(pool, 1), 20)
    finally:
        await conn.close()
    assert await seal(pool, NOW + timedelta(minutes=1)) == 2


# ------------------------------------------------------------------------------------------------------- the lesser role


async def test_the_role_of_server_and_worker_cannot_change_what_was_done(database: str, app_database: str) -> None:
    owner, conn = await asyncpg.connect(database), await asyncpg.connect(app_database)
    try:
        await insert_note(conn, Note(action=Action.ENROLLED), Origin(), NOW)
        for table in APPENDED:
            assert await conn.fetchval(f"SELECT count(*) >= 0 FROM {table}")
            for statement in (
                f"UPDATE {table} SET {'number = number' if table == 'audit_seal' else 'county = county'}",
                f"DELETE FROM {table}",
                f"TRUNCATE {table}",
                f"ALTER TABLE {table} ADD COLUMN x int",
                f"DROP TABLE {table}",
                f"CREATE TRIGGER t BEFORE INSERT ON {table} EXECUTE FUNCTION fn_pgqueuer_changed()",
                f"SELECT * FROM {table} FOR UPDATE",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await conn.execute(statement)
        for statement in (
            "CREATE TABLE x (a int)", "SET session_replication_role = replica", "DELETE FROM schema_migrations", "DROP INDEX audit_log_at",
            "ALTER ROLE CURRENT_USER SUPERUSER", "SET ROLE xunling", *(f"DELETE FROM {table}" for table in KEPT),
        ):  # fmt: skip
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute(statement)
        assert await owner.fetchval("SELECT count(*) FROM audit_log") == 1
    finally:
        await owner.close()
        await conn.close()


async def test_every_statement_of_storage_is_permitted_to_the_lesser_role(app_database: str) -> None:
    """EXPLAIN asks for the rights that a run would need. All API tests and stories run as this role, too."""
    refused: dict[str, str] = {}
    conn = await asyncpg.connect(app_database)
    try:
        for place, sql in sorted({place: sql for module in modules() for place, sql in statements(module).items()}.items()):
            try:
                await conn.execute(f"EXPLAIN (GENERIC_PLAN) {sql}")
            except asyncpg.InsufficientPrivilegeError as error:
                refused[place] = str(error)
            except asyncpg.PostgresError:
                continue  # what EXPLAIN does not take
    finally:
        await conn.close()
    assert refused == {}


async def test_a_statement_that_is_not_permitted_would_be_noticed(app_database: str) -> None:
    conn = await asyncpg.connect(app_database)
    try:
        if conn.get_server_version().major < 16:
            pytest.skip("EXPLAIN of a statement without its values needs PostgreSQL 16")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute("EXPLAIN (GENERIC_PLAN) UPDATE audit_log SET action = $1")
    finally:
        await conn.close()


async def test_postgresql_takes_the_verifier_for_the_password(database: str) -> None:
    owner = await asyncpg.connect(database)
    name = f"tried_{uuid7().hex}"
    try:
        await owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{scram_verifier('p@ss: 巡岭')}'")
        conn = await asyncpg.connect(database, user=name, password="p@ss: 巡岭")
        await conn.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(database, user=name, password="other")
    finally:
        await owner.execute(f"DROP ROLE {name}")
        await owner.close()


# ------------------------------------------------------------------------------------------------------- the command


def test_the_worker_seals_and_the_command_finds_what_differs(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from server.backup_store import MANIFEST, Manifest, write_synced
    from server.jobs import seal_audit_log
    from server.work import open_work

    async def work() -> AuditSeal | None:
        async with await open_pool(settings.pg.full_owner_dsn()) as pool:
            await noted(pool, 5)
        async with open_work(settings, lambda: NOW) as opened:
            await seal_audit_log(opened)
        return await audit_head(settings)

    assert "audit.seal" in {timer.name for timer in TIMERS}
    head = asyncio.run(work())
    assert head is not None
    assert run_audit(settings)
    assert (
        "audit log: 5 entries in 1 seals, 0 not sealed yet, 0 heads of backups, signatures checked: 0 differences"
        in capsys.readouterr().out
    )

    import msgspec

    backup = tmp_path / "20261201T090000Z"
    backup.mkdir()
    manifest = Manifest(
        made_at=NOW, migration="1", dump_bytes=0, dump_sha256="", has_objects=False, objects={},
        audit_head=msgspec.structs.replace(head, number=2),
    )  # fmt: skip
    write_synced(backup / MANIFEST, msgspec.json.encode(manifest))
    assert set(heads_of([backup])) == {backup.name}
    assert not run_audit(settings, [backup])
    assert f"the head in {backup.name} is not signed" in capsys.readouterr().out


async def test_a_backlog_is_sealed_whole_in_several_batches(pool: Pool) -> None:
    """2,500 entries of ten days ago: no batch leaves one behind that is then called put in later."""
    await noted(pool, 2500, NOW - timedelta(days=10))
    assert [await seal(pool) for _ in range(4)] == [1000, 1000, 500, 0]
    assert await found(pool) == LogAudit(seals=3, entries=2500, unsealed=0, faults=[])
