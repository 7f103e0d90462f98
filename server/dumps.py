"""pg_dump and pg_restore: of the server's own version where this machine has them, else those of the wheel.

The wheel's programs know no TLS: a database that insists on it needs PostgreSQL's own client programs on PATH.
"""

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from server.embedded.postgres import BIN
from server.trouble import StartError

TOKENS = "rate_bucket"  # unlogged: what a crash may forget, a backup may, too


def dump(dsn: str, path: Path) -> None:
    """The whole database, of one moment, as an archive."""
    options = ["--format=custom", "--no-owner", "--no-privileges", f"--exclude-table-data={TOKENS}", f"--file={path}"]
    _run("pg_dump", dsn, options)


def restore(dsn: str, path: Path) -> None:
    """Into an empty database; all of it or, whatever happens, nothing."""
    options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", str(path)]
    _run("pg_restore", dsn, options)


def _run(name: str, dsn: str, options: list[str]) -> None:
    bare, password = without_password(dsn)
    environment = {**os.environ, "PGPASSWORD": password} if password else dict(os.environ)
    command = [program(name, asyncio.run(server_version(dsn))), *options, f"--dbname={bare}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StartError(f"{name} 失败：", f"{name} failed: {done.stderr.strip()[:2000]}")


def without_password(dsn: str) -> tuple[str, str]:
    """The DSN as others may see it in a list of processes, and its password."""
    parts = urlsplit(dsn)
    if parts.password is None:
        return dsn, ""
    user, _, place = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{place}"
    return urlunsplit(parts._replace(netloc=netloc)), unquote(parts.password)


async def server_version(dsn: str) -> int:
    """The server's major version."""
    try:
        conn = await asyncpg.connect(dsn, timeout=15)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise StartError(f"无法连接数据库：{error}", f"Cannot connect to the database: {type(error).__name__}: {error}") from None
    try:
        return conn.get_server_version().major
    finally:
        await conn.close()


def program(name: str, major: int) -> Path:
    """An older pg_restore does not read a newer archive, and a newer one says words that an older server does not know."""
    installed = shutil.which(name)
    if installed is not None:
        said = subprocess.run([installed, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"\) (\d+)", said)
        if found is not None and int(found[1]) == major:
            return Path(installed)
    return BIN / name
