"""Connections. The only file that opens any.

Three promises to the floors above: nobody waits in an endless queue (past the bound it is `busy` at once); a fault of the
infrastructure is told apart from a fault of the data by sqlstate only; an idempotent call survives a restart of PostgreSQL.

No JSON codec is set: bodies stay the text that they are stored as, and are passed on without being read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, LiteralString, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from contracts.problems import Problem, ProblemCode

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Executor: TypeAlias = "Connection | Pool"
T = TypeVar("T")

# U+0000 as itself, and as an escape inside a JSON body that an index looks into.
UNSTORABLE: Final = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
# 08 connection, 40 rollback (deadlock, serialization), 53 out of resources, 55 not in a usable state, 57 operator
# intervention (restart, cancel), 58 system error. Everything else is a fault of the statement or of the data.
BUSY_CLASSES: Final = frozenset({"40", "53", "55"})
DOWN_CLASSES: Final = frozenset({"08", "57", "58"})
QUERY_CANCELED: Final = "57014"

RETRY_PAUSES_S: Final = (0.05, 0.2, 0.5, 1.0, 2.0)  # a restart takes 1 to 3 s; longer than that the caller shall come again
BUSY_RETRY_S: Final = 2
DOWN_RETRY_S: Final = 5


class SteadyConnection(asyncpg.Connection):
    """Leaves no session state behind: nothing here uses SET, LISTEN, cursors or session locks outside a transaction.

    So the reset that asyncpg sends whenever a connection goes back to the pool has nothing to do; without it an exchange
    takes four round trips less (docs/performance.md). An open transaction is rolled back all the same.
    """

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


class BoundedPool(asyncpg.Pool):
    """A pool whose queue is bounded in length and time. Refusals are `Problem`s with Retry-After."""

    __slots__ = ("acquire_seconds_max", "waiting", "waiting_max")

    def __init__(self, dsn: str, *, waiting_max: int, acquire_seconds_max: float, **options: Any) -> None:
        super().__init__(dsn, **options)
        self.waiting = 0  # acquisitions under way; those of free connections end without giving way to another task
        self.waiting_max = waiting_max
        self.acquire_seconds_max = acquire_seconds_max

    def is_free(self) -> bool:
        return self._queue is not None and not self._queue.empty()

    async def _acquire(self, timeout: float | None) -> Any:
        if self.waiting >= self.waiting_max:
            raise Problem(ProblemCode.BUSY, retry_after_s=BUSY_RETRY_S)
        self.waiting += 1
        try:
            # a free connection needs no clock; opening one has its own
            return await super()._acquire(None if self.is_free() else timeout or self.acquire_seconds_max)  # pyright: ignore[reportAttributeAccessIssue]
        except TimeoutError:
            raise Problem(ProblemCode.BUSY, retry_after_s=BUSY_RETRY_S) from None
        except OSError as error:  # nobody listens, or the socket is gone
            raise Problem(ProblemCode.STORAGE_UNAVAILABLE, retry_after_s=DOWN_RETRY_S) from error
        finally:
            self.waiting -= 1


async def open_pool(
    dsn: str,
    *,
    size_min: int = 1,
    size_max: int = 10,
    waiting_max: int = 256,
    acquire_seconds_max: float = 10.0,
    statement_seconds_max: float = 30.0,
    application_name: str = "xunling",
) -> Pool:
    """Open a pool. Connections set what Citus needs and plain PostgreSQL ignores (design.md section 7)."""
    pool = BoundedPool(
        dsn,
        waiting_max=waiting_max,
        acquire_seconds_max=acquire_seconds_max,
        min_size=size_min,
        max_size=size_max,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        loop=None,
        connection_class=SteadyConnection,
        record_class=asyncpg.Record,
        timeout=acquire_seconds_max,
        server_settings={
            "application_name": application_name,
            "citus.override_table_visibility": "off",
            "statement_timeout": str(int(statement_seconds_max * 1000)),
            "idle_in_transaction_session_timeout": str(int(statement_seconds_max * 2000)),
            "timezone": "UTC",
        },
    )
    try:
        return await pool
    except BaseException:
        pool.terminate()
        raise


@asynccontextmanager
async def transaction(
    pool: Pool,
    *,
    isolation: Literal["read_committed", "repeatable_read", "serializable"] | None = None,
    readonly: bool = False,
) -> AsyncIterator[Connection]:
    """A connection inside one transaction: committed at the end, rolled back by any exception."""
    async with pool.acquire() as conn, conn.transaction(isolation=isolation, readonly=readonly):
        yield conn


@asynccontextmanager
async def snapshot(pool: Pool) -> AsyncIterator[Connection]:
    """A connection whose statements all see the same moment."""
    async with transaction(pool, isolation="repeatable_read", readonly=True) as conn:
        yield conn


# A filter that is not asked for must not cost anything, so each call of a list is planned with its own values.
SQL_PLAN_EACH: Final[LiteralString] = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true)"


async def retrying(call: Callable[[], Awaitable[T]]) -> T:
    """Run an idempotent call again while PostgreSQL restarts or rolls it back; bounded, then the last error."""
    for pause_s in RETRY_PAUSES_S:
        try:
            return await call()
        except Exception as error:
            if not is_passing(error):
                raise
        await asyncio.sleep(pause_s)
    return await call()


def is_passing(error: BaseException) -> bool:
    """Whether another try may succeed where this one failed. A full queue is not: trying again makes it longer."""
    if isinstance(error, Problem):
        return error.code is ProblemCode.STORAGE_UNAVAILABLE
    return infrastructure_problem(error) is not None and getattr(error, "sqlstate", None) != QUERY_CANCELED


def is_unstorable(error: Exception) -> bool:
    """A value that was asked with and PostgreSQL cannot hold: U+0000, a number out of range. Nothing was read or written."""
    return type(error) is asyncpg.DataError or isinstance(error, UNSTORABLE)


def is_infrastructure(error: BaseException) -> bool:
    """Whether PostgreSQL or the way to it failed, or is too busy: the same may be written later. Else it is the data that cannot be."""
    return isinstance(error, Problem | OSError) or infrastructure_problem(error) is not None


def infrastructure_problem(error: BaseException) -> Problem | None:
    """The problem to answer with when PostgreSQL or the way to it failed; None when the fault is ours or the data's."""
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(error, asyncpg.PostgresError) and isinstance(sqlstate, str):
        if sqlstate[:2] in BUSY_CLASSES or sqlstate == QUERY_CANCELED:
            return Problem(ProblemCode.BUSY, retry_after_s=BUSY_RETRY_S)
        if sqlstate[:2] in DOWN_CLASSES:
            return Problem(ProblemCode.STORAGE_UNAVAILABLE, retry_after_s=DOWN_RETRY_S)
        return None
    if isinstance(error, asyncpg.InterfaceError):
        # ... but wrong arguments are an InterfaceError too, and they are ours
        return None if isinstance(error, ValueError) else Problem(ProblemCode.STORAGE_UNAVAILABLE, retry_after_s=DOWN_RETRY_S)
    if isinstance(error, asyncpg.InternalClientError | ConnectionError | TimeoutError):
        return Problem(ProblemCode.STORAGE_UNAVAILABLE, retry_after_s=DOWN_RETRY_S)
    return None
