"""The phone's SQLite store: one connection, explicit transactions, a crash point on either side of every commit.

Durability is SQLite's: WAL with `synchronous=FULL`, so what `transaction()` has left is on disk. `:memory:` and
`durable=False` exist for load generators, which measure the server and not this machine's disk.
"""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, LiteralString

from phone.faults import CrashPoint, no_crash

MEMORY: Final = ":memory:"
LOCK_PAUSE_S: Final = 0.05
_SCHEMA: Final = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")
_TABLES: Final = ("meta", "county", "stream", "confirmed", "mutation", "photo", "inbox")


class Store:
    """Opening is also recovery: SQLite rolls back what a kill interrupted."""

    def __init__(self, path: Path | str, *, durable: bool = True, crash_point: CrashPoint = no_crash) -> None:
        """`path` is a file, or MEMORY. `photo_folder` is beside the file, None in memory."""
        self.path: Final = str(path)
        self.photo_folder: Final = None if self.path == MEMORY else Path(f"{self.path}.photos")
        self.crash_point: Final = crash_point
        if self.photo_folder is not None:
            self.photo_folder.mkdir(parents=True, exist_ok=True)
        self.db: Final = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        self.db.executescript(_SCHEMA)

    @contextmanager
    def transaction(self, name: str) -> Iterator[sqlite3.Connection]:
        """All or nothing, and durable afterwards. `name` is what its two crash points are called."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
            self.crash_point(f"{name}: before commit")
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise
        self.crash_point(f"{name}: after commit")

    @contextmanager
    def lock(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Against other processes and other phones on this store: the app and its background job. False: it is taken, and `wait` is not set.

        Waiting holds the thread: for moments only. In memory there is nobody else.
        """
        if self.path == MEMORY:
            yield True
            return
        with Path(f"{self.path}.{name}.lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True  # closing the file frees it

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """As `lock`, for as long as it takes: others of this process go on meanwhile."""
        while True:
            with self.lock(name, wait=False) as is_mine:
                if is_mine:
                    yield
                    return
            await asyncio.sleep(LOCK_PAUSE_S)

    def close(self) -> None:
        self.db.close()

    def erase(self) -> None:
        """A wipe order: nothing readable remains, in the tables or in free pages. Photo files are the caller's."""
        self.db.execute("PRAGMA secure_delete = ON")
        with self.transaction("erase") as db:
            for table in _TABLES:
                db.execute(f"DELETE FROM {table}")  # our own constants  # noqa: S608
        self.db.execute("VACUUM")
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


SQL_FETCH_META: Final[LiteralString] = "SELECT value FROM meta WHERE name = ?"


def fetch_meta(db: sqlite3.Connection, name: str, default: Any = None) -> Any:
    """One value of `meta`, as SQLite stores it: str, int, bytes or None."""
    row = db.execute(SQL_FETCH_META, (name,)).fetchone()
    return default if row is None else row[0]


SQL_SET_META: Final[LiteralString] = """
    INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""


def set_meta(db: sqlite3.Connection, name: str, value: str | int | bytes | None) -> None:
    db.execute(SQL_SET_META, (name, value))
