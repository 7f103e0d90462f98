"""`xunling ledger`: the read model of the ledgers, made anew from the records."""

from __future__ import annotations

import asyncio

from server.settings import Settings
from storage.ledger import rebuild_ledgers
from storage.pool import open_pool


def rebuild(settings: Settings) -> int:
    """How many rows were written."""
    return asyncio.run(_rebuild(settings))


async def _rebuild(settings: Settings) -> int:
    async with await open_pool(settings.pg.full_dsn(), size_min=0, size_max=2) as pool:
        return await rebuild_ledgers(pool)
