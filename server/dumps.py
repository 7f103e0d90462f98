"""pg_dump and pg_restore: of the server's own version where this machine has them, else those of the wheel.

The wheel's programs know no TLS: a database that insists on it needs PostgreSQL's own client programs on PATH.
"""

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from server.backup_encryption import PLAIN, SUFFIX, Encryption
from server.embedded.postgres import BIN
from server.trouble import StartError

TOKENS = "rate_bucket"  # unlogged: what a crash may forget, a backup may, too


def dump(dsn: str, path: Path, encryption: Encryption = PLAIN) -> None:
    """The whole database, of one moment, as an archive; encrypted while it is written, so that no plain copy is on the disk."""
    options = ["--format=custom", "--no-owner", "--no-privileges", f"--exclude-table-data={TOKENS}"]
    if not encryption.recipients:
        _run("pg_dump", dsn, [*options, f"--file={path}"])
        return
    with path.open("wb") as target, _piped("pg_dump", dsn, options, stdout=subprocess.PIPE) as process:
        encryption.encrypt(_given(process.stdout), target)


def restore(dsn: str, path: Path, encryption: Encryption = PLAIN) -> None:
    """Into an empty database; all of it or, whatever happens, nothing."""
    options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
    if path.suffix != SUFFIX:
        _run("pg_restore", dsn, [*options, str(path)])
        return
    with path.open("rb") as source, _piped("pg_restore", dsn, options, stdin=subprocess.PIPE) as process:
        encryption.decrypt(source, _given(process.stdin))
        _given(process.stdin).close()


def _run(name: str, dsn: str, options: list[str]) -> None:
    command, environment = _command(name, dsn, options)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _failed(name, done.stderr)


@contextmanager
def _piped(
    name: str, dsn: str, options: list[str], stdin: int | None = None, stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The program, with what it reads or writes in our hands. It is killed when the block fails: a restore then leaves nothing."""
    command, environment = _command(name, dsn, options)
    with (
        tempfile.TemporaryFile() as complaint,
        subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=complaint) as process,
    ):
        trouble: Exception | None = None
        try:
            yield process
        except BrokenPipeError as error:  # it ended early, and says why below
            trouble = error
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0 or trouble is not None:
            complaint.seek(0)
            raise _failed(name, complaint.read().decode(errors="replace"))


def _given(pipe: IO[bytes] | None) -> BinaryIO:
    assert pipe is not None
    return cast(BinaryIO, pipe)


def _failed(name: str, complaint: str) -> StartError:
    return StartError(f"{name} 失败：", f"{name} failed: {complaint.strip()[:2000]}")


def _command(name: str, dsn: str, options: list[str]) -> tuple[list[str | Path], dict[str, str]]:
    """(command, environment): the password is in the environment, where no list of processes shows it."""
    bare, password = without_password(dsn)
    environment = {**os.environ, "PGPASSWORD": password} if password else dict(os.environ)
    return [program(name, asyncio.run(server_version(dsn))), *options, f"--dbname={bare}"], environment


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
