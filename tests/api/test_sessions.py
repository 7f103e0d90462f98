"""What ends a log-in ends also what is under way, in either order of reaching the database (docs/decisions/0028).

Nothing here hopes for luck: one request is stopped at the step after its decision, and goes on when the other has committed
or waits for the first one's lock.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher
from litestar import Litestar
from pyotp.totp import TOTP
from uuid_utils.compat import uuid7

import api.accounts
import api.log_in
import api.people
import storage.devices
import storage.tokens
from contracts.people import Role
from tests.api.office import HANBIN, VILLAGE, Someone, World
from tests.api.test_auth import FIELD, change, refresh, whoami
from tests.api.test_second_factor import PATH, code_of, reset_of, set_up

pytestmark = pytest.mark.anyio

NEW = "battery staple"


class Stop:
    """Where the first call of a function stops: after what it does, or before it."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.calls = 0

    def after(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def stopped(*args: Any, **options: Any) -> Any:
            found = await function(*args, **options)
            await self._wait()
            return found

        return stopped

    def before(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def stopped(*args: Any, **options: Any) -> Any:
            await self._wait()
            return await function(*args, **options)

        return stopped

    async def _wait(self) -> None:
        self.calls += 1
        if self.calls == 1:
            self.reached.set()
            await self.go_on.wait()


async def race(stop: Stop, pool: asyncpg.Pool, first: Awaitable[httpx.Response], second: Callable[[], Awaitable[Any]]) -> Any:
    """The answers of both: the second begins where the first stands still, which goes on once the second is done or waits for a lock."""
    one = asyncio.ensure_future(first)
    await asyncio.wait_for(stop.reached.wait(), 30)
    other = asyncio.ensure_future(second())
    async with asyncio.timeout(30):
        while not other.done() and not await is_waiting(pool):  # noqa: ASYNC110 - no event tells of a lock
            await asyncio.sleep(0.01)
    stop.go_on.set()
    return await one, await other


async def is_waiting(pool: asyncpg.Pool) -> bool:
    asked = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
    return bool(await pool.fetchval(asked))


async def is_ended(world: World, tokens: dict[str, Any]) -> bool:
    """Neither token of the pair opens anything."""
    return (await whoami(world, tokens["access"])).status_code != 200 and (await refresh(world, tokens["refresh"])).status_code != 200


@pytest.fixture
async def admin(world: World) -> Someone:
    return await world.person((Role.ADMIN, HANBIN))


def ending(world: World, how: str, someone: Someone, other: Someone, admin: Someone) -> Callable[[], Awaitable[httpx.Response]]:
    """What ends the log-in of `someone`; `other` is a second device of the same person."""
    post = world.client.post
    return {
        "change": lambda: change(world, other, someone.password, NEW),
        "reset": lambda: post(f"/people/v1/persons/{someone.id}/password", headers=admin.headers),
        "disable": lambda: post(f"/people/v1/persons/{someone.id}/disable", headers=admin.headers),
        "logout": lambda: post("/auth/v1/logout", headers=someone.headers),
        "revoke": lambda: post(f"/devices/v1/{someone.device}/revoke", headers=admin.headers),
    }[how]


async def two_devices(world: World, kind: str = "phone") -> tuple[Someone, Someone]:
    someone = await world.person(FIELD, kind=kind)
    other = Someone(someone.id, someone.phone, someone.password, uuid7())
    await world.log_in(other)
    return someone, other


# ------------------------------------------------------------------------------------------------ log-in


@pytest.mark.parametrize("how", ["change", "reset", "disable"])
async def test_a_log_in_that_was_checked_before_the_end_opens_nothing(
    world: World, app: Litestar, admin: Someone, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    someone, other = await two_devices(world)
    stop, passwords = Stop(), app.state.resources.passwords
    monkeypatch.setattr(passwords, "is_right", stop.after(passwords.is_right))
    log_in = world.enrol(someone.phone, someone.password, device := uuid7())
    entered, ended = await race(stop, world.pool, log_in, ending(world, how, someone, other, admin))
    assert ended.status_code in (200, 204), ended.text
    assert (entered.status_code, entered.json()["code"]) == ((403, "account_disabled") if how == "disable" else (401, "wrong_credentials"))
    assert await world.pool.fetchval("SELECT count(*) FROM token WHERE device = $1", device) == 0


async def test_hashing_anew_does_not_bring_an_old_password_back(world: World, app: Litestar, monkeypatch: pytest.MonkeyPatch) -> None:
    someone, other = await two_devices(world)
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(someone.password)
    await world.pool.execute("UPDATE person SET password_hash = $2 WHERE id = $1", someone.id, old)
    stop, passwords = Stop(), app.state.resources.passwords
    monkeypatch.setattr(passwords, "hash", stop.after(passwords.hash))
    log_in = world.enrol(someone.phone, someone.password, uuid7())
    entered, changed = await race(stop, world.pool, log_in, lambda: change(world, other, someone.password, NEW))
    assert (entered.status_code, changed.status_code) == (401, 204)
    assert (await world.enrol(someone.phone, someone.password, uuid7())).status_code == 401
    assert (await world.enrol(someone.phone, NEW, uuid7())).status_code == 200


async def test_two_first_log_ins_may_both_hash_anew(world: World, app: Litestar, monkeypatch: pytest.MonkeyPatch) -> None:
    someone = await world.person(FIELD, logged_in=False)
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(someone.password)
    await world.pool.execute("UPDATE person SET password_hash = $2 WHERE id = $1", someone.id, old)
    stop, passwords = Stop(), app.state.resources.passwords
    monkeypatch.setattr(passwords, "hash", stop.after(passwords.hash))
    log_in = world.enrol(someone.phone, someone.password, uuid7())
    answers = await race(stop, world.pool, log_in, lambda: world.enrol(someone.phone, someone.password, uuid7()))
    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("how", ["change", "reset", "disable"])
async def test_a_password_change_that_was_checked_before_the_end_changes_nothing(
    world: World, app: Litestar, admin: Someone, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    someone, other = await two_devices(world)
    stop, passwords = Stop(), app.state.resources.passwords
    monkeypatch.setattr(passwords, "is_right", stop.after(passwords.is_right))
    mine = change(world, someone, someone.password, "another one, not taken")
    refused, ended = await race(stop, world.pool, mine, ending(world, how, someone, other, admin))
    assert ended.status_code in (200, 204), ended.text
    assert refused.status_code in (401, 403)
    assert (await world.enrol(someone.phone, "another one, not taken", uuid7())).status_code == 401


async def test_a_log_in_that_was_checked_before_a_factor_was_set_up_opens_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    someone = await world.person((Role.COUNTY_SUPERVISOR, HANBIN), kind="console")
    stop = Stop()
    monkeypatch.setattr(api.log_in, "fetch_factor", stop.after(api.log_in.fetch_factor))
    entered, _ = await race(stop, world.pool, world.enrol(someone.phone, someone.password, uuid7()), lambda: set_up(world, someone))
    assert (entered.status_code, entered.json()["code"]) == (401, "second_factor_needed"), entered.text


async def test_a_log_in_with_a_factor_that_is_reset_meanwhile_opens_nothing(
    world: World, admin: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    someone = await world.person((Role.COUNTY_SUPERVISOR, HANBIN), kind="console")
    _, codes = await set_up(world, someone)
    stop = Stop()
    monkeypatch.setattr(api.log_in, "fetch_factor", stop.after(api.log_in.fetch_factor))
    log_in = world.enrol(someone.phone, someone.password, uuid7(), more={"code": codes[0]})
    reset = lambda: world.client.post(reset_of(someone), headers=admin.headers)  # noqa: E731
    entered, ended = await race(stop, world.pool, log_in, reset)
    assert ended.status_code == 204, ended.text
    assert (entered.status_code, entered.json()["code"]) == (401, "second_factor_needed"), entered.text


@pytest.mark.parametrize("how", ["confirm", "reset"])
async def test_a_log_in_that_came_first_ends_with_a_factor_that_changes(
    world: World, admin: Someone, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The change waits for the log-in that holds the account, and then ends its tokens."""
    someone = await world.person((Role.COUNTY_SUPERVISOR, HANBIN), kind="console")
    draft, codes = None, [""]
    if how == "reset":
        _, codes = await set_up(world, someone)
    else:
        draft = (await world.client.post(PATH, json={"password": someone.password}, headers=someone.headers)).json()["secret"]

    async def change_factor() -> httpx.Response:
        if draft is None:
            return await world.client.post(reset_of(someone), headers=admin.headers)
        code = code_of(world, TOTP(draft))
        return await world.client.post(f"{PATH}confirm", json={"code": code}, headers=someone.headers)

    stop = Stop()
    monkeypatch.setattr(api.log_in, "enrol", stop.before(api.log_in.enrol))
    log_in = world.enrol(someone.phone, someone.password, uuid7(), more={"code": codes[0]})
    entered, changed = await race(stop, world.pool, log_in, change_factor)
    assert (entered.status_code, changed.status_code // 100) == (200, 2), changed.text
    assert await is_ended(world, entered.json())


# ------------------------------------------------------------------------------------------------ refresh

ENDINGS = ["change", "reset", "disable", "logout", "revoke"]


@pytest.mark.parametrize("how", ENDINGS)
async def test_a_refresh_that_came_first_ends_with_the_rest(
    world: World, admin: Someone, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    someone, other = await two_devices(world, "console")  # a phone of a disabled person may still hand in
    stop = Stop()
    monkeypatch.setattr(storage.tokens, "insert_pair", stop.before(storage.tokens.insert_pair))
    fresh, ended = await race(stop, world.pool, refresh(world, someone.refresh), ending(world, how, someone, other, admin))
    assert (fresh.status_code, ended.status_code // 100) == (200, 2)
    assert await is_ended(world, fresh.json())
    assert await world.pool.fetchval("SELECT count(*) FROM token WHERE device = $1", someone.device) == 0


@pytest.mark.parametrize("how", ENDINGS)
async def test_a_refresh_that_came_second_is_refused(world: World, admin: Someone, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    someone, other = await two_devices(world, "console")
    stop = Stop()
    for module, name in (
        (api.people, "end_person_tokens"),
        (api.accounts, "end_person_tokens"),
        (api.accounts, "end_device_tokens"),
        (storage.devices, "end_device_tokens"),
    ):
        monkeypatch.setattr(module, name, stop.after(getattr(module, name)))
    end = ending(world, how, someone, other, admin)
    ended, fresh = await race(stop, world.pool, end(), lambda: refresh(world, someone.refresh))
    assert ended.status_code // 100 == 2
    assert fresh.status_code == 401, fresh.text
    assert await world.pool.fetchval("SELECT count(*) FROM token WHERE device = $1", someone.device) == 0


async def test_two_refreshes_at_once_get_one_pair_and_both_go_on(world: World) -> None:
    """An app and its background job; seventy minutes later each refreshes again."""
    someone = await world.person(FIELD)
    for _ in range(3):
        one, other = [a.json() for a in await asyncio.gather(refresh(world, someone.refresh), refresh(world, someone.refresh))]
        assert (one["access"], one["refresh"]) == (other["access"], other["refresh"])
        assert one["access_ends"] == other["access_ends"]
        assert (await whoami(world, one["access"])).status_code == 200
        someone.refresh = one["refresh"]
        world.clock.forward(minutes=70)


async def test_a_lost_answer_gives_another_successor_and_ends_the_lost_one(world: World) -> None:
    someone = await world.person(FIELD)
    lost = (await refresh(world, someone.refresh)).json()
    world.clock.forward(minutes=6)
    found = (await refresh(world, someone.refresh)).json()
    assert found["refresh"] != lost["refresh"]
    assert (await whoami(world, lost["access"])).status_code == 401
    assert (await whoami(world, found["access"])).status_code == 200
    assert (await refresh(world, lost["refresh"])).json()["details"] == {"reused": True}, "the holder of the lost one is no friend"
    assert (await whoami(world, found["access"])).status_code == 401


async def test_however_often_it_is_refreshed_a_log_in_is_a_few_rows(world: World) -> None:
    someone = await world.person(FIELD)
    rows = "SELECT count(*) FROM token WHERE device = $1"
    assert {(await refresh(world, someone.refresh)).status_code for _ in range(25)} == {200}
    assert await world.pool.fetchval(rows, someone.device) == 4
    for _ in range(70):
        world.clock.forward(minutes=6)
        someone.refresh = (await refresh(world, someone.refresh)).json()["refresh"]
    assert await world.pool.fetchval(rows, someone.device) <= storage.tokens.SPENT_MAX + 4


async def test_a_device_that_only_refreshes_is_told_to_wait_and_keeps_its_tokens(world: World) -> None:
    someone = await world.person(FIELD)
    statuses, token = [], someone.refresh
    for _ in range(31):
        answer = await refresh(world, token)
        statuses.append(answer.status_code)
        token = answer.json().get("refresh", token)
    assert statuses == [200] * 30 + [429]
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    world.clock.forward(minutes=1)
    assert (await refresh(world, token)).status_code == 200


async def test_no_copy_of_the_database_makes_a_successor(world: World) -> None:
    """The key that is stored is worth nothing without the token, and goes when the token is spent."""
    someone = await world.person(FIELD)
    fresh = (await refresh(world, someone.refresh)).json()
    keys = [r["successor_key"] for r in await world.pool.fetch("SELECT successor_key FROM token WHERE successor_key IS NOT NULL")]
    assert len(keys) == 1
    assert storage.tokens.successors(keys[0], someone.refresh) == (fresh["access"], fresh["refresh"])
    await refresh(world, fresh["refresh"])
    kept = await world.pool.fetch("SELECT successor_key FROM token WHERE successor_key IS NOT NULL")
    assert [r["successor_key"] for r in kept] != keys
    assert len(kept) == 1


# ------------------------------------------------------------------------------------------------ consoles


async def test_a_console_in_use_all_day_is_logged_out_in_the_evening(world: World) -> None:
    someone = await world.person((Role.TOWNSHIP_STAFF, VILLAGE[:9]), kind="console")
    for _ in range(11):
        world.clock.forward(minutes=62)
        fresh = (await refresh(world, someone.refresh)).json()
        someone.access, someone.refresh = fresh["access"], fresh["refresh"]
    world.clock.forward(minutes=37)  # 11 h 59
    assert (await whoami(world, someone.access)).status_code == 200
    world.clock.forward(minutes=2)
    assert (await whoami(world, someone.access)).json()["code"] == "token_expired"
    assert (await refresh(world, someone.refresh)).json()["code"] == "token_expired"


async def test_a_console_that_nobody_uses_is_logged_out_after_hours(world: World) -> None:
    someone = await world.person((Role.TOWNSHIP_STAFF, VILLAGE[:9]), kind="console")
    world.clock.forward(hours=4, minutes=1)
    assert (await refresh(world, someone.refresh)).json()["code"] == "token_expired"
