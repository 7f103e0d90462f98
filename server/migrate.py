"""Brings a database to this version's schema: dbmate applies `storage/migrations`, and we refuse edited history.

dbmate takes a lock, so that several servers may start at once, and fails loudly; but it does not notice when a file that was applied
is changed later. So each applied file's SHA-256 is kept in `migration_checksum` and compared first.
"""

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, LiteralString
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from server.trouble import StartError

MIGRATIONS: Final = Path(__file__).resolve().parent.parent / "storage" / "migrations"
LOCAL_HOSTS: Final = ("", "localhost", "127.0.0.1", "[::1]", "::1")

# IF NOT EXISTS alone fails in one of two sessions that make it at once; the lock ends with the transaction.
LOCK_CHECKSUM: Final[LiteralString] = "SELECT pg_advisory_xact_lock(hashtextextended('migration_checksum', 0))"
CREATE_CHECKSUM: Final[LiteralString] = """
    CREATE TABLE IF NOT EXISTS migration_checksum (version text PRIMARY KEY, sha256 text NOT NULL)
"""
FETCH_CHECKSUMS: Final[LiteralString] = "SELECT version, sha256 FROM migration_checksum"
HAS_CHECKSUMS: Final[LiteralString] = "SELECT to_regclass('migration_checksum') IS NOT NULL"
HAS_HISTORY: Final[LiteralString] = "SELECT to_regclass('schema_migrations') IS NOT NULL"
FETCH_APPLIED: Final[LiteralString] = "SELECT version FROM schema_migrations"
INSERT_CHECKSUMS: Final[LiteralString] = """
    INSERT INTO migration_checksum (version, sha256)
    SELECT version, sha256 FROM unnest($1::text[], $2::text[]) u(version, sha256)
    ON CONFLICT (version) DO NOTHING
"""


def migrate(dsn: str, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what is missing and return the versions applied now. StartError when history was edited or a file fails."""
    files = migration_files(folder)
    asyncio.run(_keep_checksums(dsn))
    before = asyncio.run(_check_history(dsn, files))
    try:
        _run_dbmate(dsn, folder)
    finally:  # also what was applied before a later file failed is history now
        asyncio.run(_note_checksums(dsn, files))
    return sorted(set(files) - before)


def pending(dsn: str, folder: Path = MIGRATIONS) -> list[str]:
    """The versions that are still to be applied. StartError when history was edited."""
    files = migration_files(folder)
    return sorted(files.keys() - asyncio.run(_check_history(dsn, files)))


def migration_files(folder: Path = MIGRATIONS) -> dict[str, str]:
    """{version: sha256 of the file}. dbmate's version is the name up to the first underscore."""
    return {path.name.split("_", 1)[0]: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.sql"))}


async def _keep_checksums(dsn: str) -> None:
    conn = await _connect(dsn)
    try:
        await conn.execute("SET client_min_messages = warning")
        async with conn.transaction():
            await conn.execute(LOCK_CHECKSUM)
            await conn.execute(CREATE_CHECKSUM)
    finally:
        await conn.close()


async def _check_history(dsn: str, files: Mapping[str, str]) -> set[str]:
    """The versions already applied; StartError when one of them is unknown here or was edited. Reads only."""
    conn = await _connect(dsn)
    try:
        is_kept = await conn.fetchval(HAS_CHECKSUMS)
        noted = {row["version"]: row["sha256"] for row in await conn.fetch(FETCH_CHECKSUMS)} if is_kept else {}
    finally:
        await conn.close()
    if unknown := sorted(noted.keys() - files.keys()):
        raise StartError(
            f"数据库比本程序新（未知的迁移 {', '.join(unknown)}），请升级程序。",
            f"The database is newer than this program (unknown migrations {', '.join(unknown)}): upgrade the program.",
        )
    if edited := sorted(version for version, sha256 in noted.items() if files[version] != sha256):
        raise StartError(
            f"已执行的迁移文件被改动：{', '.join(edited)}。请恢复原文件，另加新的迁移。",
            f"Migrations were edited after they had been applied: {', '.join(edited)}. Restore them and add a new one instead.",
        )
    return set(noted)


async def _note_checksums(dsn: str, files: Mapping[str, str]) -> None:
    conn = await _connect(dsn)
    try:
        if not await conn.fetchval(HAS_HISTORY):
            return
        applied = [row["version"] for row in await conn.fetch(FETCH_APPLIED)]
        await conn.execute(INSERT_CHECKSUMS, applied, [files[version] for version in applied])
    finally:
        await conn.close()


async def _connect(dsn: str) -> "asyncpg.Connection[asyncpg.Record]":
    try:
        return await asyncpg.connect(dsn, timeout=15)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise StartError(f"无法连接数据库：{error}", f"Cannot connect to the database: {type(error).__name__}: {error}") from None


def _run_dbmate(dsn: str, folder: Path) -> None:
    command = [
        dbmate_program(),
        "--env-file",
        os.devnull,
        "--migrations-dir",
        folder,
        "--no-dump-schema",
        "--migration-lock",
        "up",
        "--strict",
    ]
    environment = {**os.environ, "DATABASE_URL": for_dbmate(dsn)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StartError("数据库迁移失败：", f"Migrating the database failed:\n{(done.stdout + done.stderr).strip()}")


def dbmate_program() -> Path:
    """The dbmate of the wheel: beside this Python, else on PATH."""
    beside = Path(sys.executable).parent / "dbmate"
    found = str(beside) if beside.exists() else shutil.which("dbmate")
    if not found:
        raise StartError(
            "找不到 dbmate，请重新安装依赖（make venv）。", "The program `dbmate` is missing: install the packages again (make venv)."
        )
    return Path(found)


def for_dbmate(dsn: str) -> str:
    """The same address in dbmate's words: it insists on TLS where asyncpg only prefers it."""
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    if "sslmode" not in query:
        is_local = (parts.hostname or "") in LOCAL_HOSTS or query.get("host", "").startswith("/")
        query["sslmode"] = "disable" if is_local else "prefer"
    return urlunsplit(parts._replace(scheme="postgres", query=urlencode(query)))
