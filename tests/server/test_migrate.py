"""Migrating is repeatable, may happen twice at once, and refuses edited history."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from server.embedded import EmbeddedPostgres
from server.migrate import for_dbmate, migrate, pending
from server.trouble import StartError


def write(folder: Path, version: str, up: str) -> Path:
    path = folder / f"{version}_test.sql"
    path.write_text(f"-- migrate:up\n{up}\n-- migrate:down\n")
    return path


async def has_table(dsn: str, name: str) -> bool:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name)
    finally:
        await connection.close()


def test_what_is_missing_is_applied_once(empty_database: str, tmp_path: Path) -> None:
    write(tmp_path, "1", "CREATE TABLE a (x int);")
    assert pending(empty_database, tmp_path) == ["1"]
    assert migrate(empty_database, tmp_path) == ["1"]
    assert migrate(empty_database, tmp_path) == []
    write(tmp_path, "2", "CREATE TABLE b (x int);")
    assert pending(empty_database, tmp_path) == ["2"]
    assert migrate(empty_database, tmp_path) == ["2"]


def test_several_servers_may_start_at_once(empty_database: str, tmp_path: Path) -> None:
    write(tmp_path, "1", "CREATE TABLE a (x int); SELECT pg_sleep(0.2);")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: migrate(empty_database, tmp_path), range(4)))
    assert pending(empty_database, tmp_path) == []


def test_an_edited_migration_is_refused(empty_database: str, tmp_path: Path) -> None:
    path = write(tmp_path, "1", "CREATE TABLE a (x int);")
    migrate(empty_database, tmp_path)
    path.write_text(path.read_text().replace("int", "bigint"))
    with pytest.raises(StartError, match="edited after they had been applied: 1"):
        migrate(empty_database, tmp_path)


def test_a_database_of_a_newer_program_is_refused(empty_database: str, tmp_path: Path) -> None:
    path = write(tmp_path, "1", "CREATE TABLE a (x int);")
    migrate(empty_database, tmp_path)
    path.unlink()
    with pytest.raises(StartError, match=r"newer than this program \(unknown migrations 1\)"):
        migrate(empty_database, tmp_path)


async def test_a_failing_migration_leaves_no_half_and_is_said(empty_database: str, tmp_path: Path) -> None:
    write(tmp_path, "1", "CREATE TABLE a (x int);")
    broken = write(tmp_path, "2", "CREATE TABLE b (x int); SELECT no_such_function();")
    with pytest.raises(StartError, match="no_such_function"):
        await asyncio.to_thread(migrate, empty_database, tmp_path)
    assert (await has_table(empty_database, "a"), await has_table(empty_database, "b")) == (True, False)
    broken.unlink()
    write(tmp_path, "1", "CREATE TABLE a (y int);")
    with pytest.raises(StartError, match="edited"):  # what was applied before the failure is history, too
        await asyncio.to_thread(migrate, empty_database, tmp_path)


def test_a_database_that_is_not_there_is_said(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    with pytest.raises(StartError, match='Cannot connect to the database: InvalidCatalogNameError: database "nowhere"'):
        migrate(postgres.dsn("nowhere"), tmp_path)


@pytest.mark.parametrize(
    ("dsn", "url"),
    [
        ("postgresql://a:p@127.0.0.1:5/d", "postgres://a:p@127.0.0.1:5/d?sslmode=disable"),
        ("postgresql://a:p@/d?host=%2Frun&port=5", "postgres://a:p@/d?host=%2Frun&port=5&sslmode=disable"),
        ("postgresql://a:p@db.example.cn/d", "postgres://a:p@db.example.cn/d?sslmode=prefer"),
        ("postgresql://a:p@db/d?sslmode=verify-full", "postgres://a:p@db/d?sslmode=verify-full"),
    ],
)
def test_dbmate_is_told_about_tls_in_its_own_words(dsn: str, url: str) -> None:
    assert for_dbmate(dsn) == url
