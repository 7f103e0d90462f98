"""What the server failed at is tried again by itself, each alone; what it always fails at stays for a person."""

import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest
from litestar import Litestar

from contracts.people import Role
from server.jobs import DEFERRED_TRIES_MAX, Work, retry_deferred
from server.settings import Settings
from server.work import open_work
from tests.api.office import VILLAGE, Clock, World
from tests.api.photo_story import PhotoPhone

POISON = "ALTER TABLE record ADD CONSTRAINT poison CHECK (kind <> 'site' OR body::text NOT LIKE '%毒%')"
CURE = "ALTER TABLE record DROP CONSTRAINT poison"


@pytest.fixture
async def phone(world: World, client: httpx.AsyncClient) -> PhotoPhone:
    return PhotoPhone(world, await world.person((Role.GRID_MEMBER, VILLAGE)), client)


@pytest.fixture
async def work(settings: Settings, app: Litestar, clock: Clock) -> AsyncIterator[Work]:
    async with open_work(settings, clock) as work:
        yield work


async def sites(phone: PhotoPhone, *names: str) -> list[str]:
    mutations = [phone.mutation("site", uuid.uuid4(), {"name": name, "unit": VILLAGE, "subjects": []}) for name in names]
    return [outcome["outcome"] for outcome in (await phone.push(*mutations))["outcomes"]["outcomes"]]


async def held(pool: asyncpg.Pool) -> list[tuple[int, int]]:
    """(n, tries) of what is open."""
    return [tuple(row) for row in await pool.fetch("SELECT n, tries FROM held WHERE settled_at IS NULL ORDER BY n")]


@pytest.fixture
def later(clock: Clock) -> Callable[[], None]:
    """Long after, so that every pause between two tries is over. PostgreSQL notes the real time when it holds something."""

    def wait() -> None:
        clock.at = datetime.now(UTC) + timedelta(days=400)

    return wait


async def test_what_failed_is_applied_once_the_fault_is_gone(phone, pool, work, later) -> None:
    await pool.execute(POISON)
    assert await sites(phone, "甲", "毒一", "乙", "毒二") == ["applied", "deferred", "applied", "deferred"]
    await pool.execute(CURE)
    later()
    await retry_deferred(work)
    assert await held(pool) == []
    names = {row[0] for row in await pool.fetch("SELECT body->>'name' FROM record WHERE kind = 'site'")}
    assert names == {"甲", "毒一", "乙", "毒二"}


async def test_one_that_fails_again_does_not_keep_the_others_back(phone, pool, work, later) -> None:
    await pool.execute(POISON)
    await sites(phone, "毒", "大毒")
    await pool.execute(CURE)
    await pool.execute(POISON.replace("毒", "大毒"))
    later()
    await retry_deferred(work)
    assert await held(pool) == [(2, 1)]
    for _ in range(DEFERRED_TRIES_MAX + 2):
        await retry_deferred(work)
    assert await held(pool) == [(2, DEFERRED_TRIES_MAX)]  # from here on only a person tries
