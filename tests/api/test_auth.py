"""Logging in, tokens and the lock-out, over HTTP."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from litestar import Litestar
from uuid_utils.compat import uuid7

from contracts.people import Role
from tests.api.office import VILLAGE, Someone, World, client_of

pytestmark = pytest.mark.anyio

FIELD = (Role.GRID_MEMBER, VILLAGE)


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    return body


async def whoami(world: World, access: str) -> httpx.Response:
    return await world.client.get("/people/v1/me", headers={"Authorization": f"Bearer {access}"})


async def refresh(world: World, token: str) -> httpx.Response:
    return await world.client.post("/auth/v1/refresh", json={"refresh": token})


# ------------------------------------------------------------------------------------------------ logging in


async def test_a_phone_logs_in_with_number_and_password(world: World) -> None:
    someone = await world.person(FIELD, logged_in=False)
    answer = await world.enrol(someone.phone, someone.password, someone.device)
    assert answer.status_code == 200
    body = answer.json()
    assert uuid.UUID(body["person"]) == someone.id
    assert uuid.UUID(body["device"]) == someone.device
    assert body["server_ms"] == int(world.clock().timestamp() * 1000)
    assert answer.headers["cache-control"] == "no-store"
    assert (await whoami(world, body["access"])).status_code == 200


async def test_only_hashes_of_tokens_and_passwords_are_stored(world: World) -> None:
    someone = await world.person(FIELD)
    dump = ""
    for table in ("token", "device", "person", "audit_log", "rate_bucket"):
        rows = await world.pool.fetch(f"SELECT t::text FROM {table} t")
        dump += "\n".join(row["t"] for row in rows)
    assert str(someone.device) in dump
    for secret in (someone.access, someone.refresh, someone.password):
        assert secret not in dump
        assert secret.encode().hex() not in dump


async def test_a_wrong_password_and_an_unknown_number_are_told_alike(world: World) -> None:
    someone = await world.person(FIELD, logged_in=False)
    wrong = problem_of(await world.enrol(someone.phone, "not this", someone.device), 401)
    unknown = problem_of(await world.enrol("13700000000", "not this", someone.device), 401)
    for answer in (wrong, unknown):
        answer.pop("request_id")
    assert wrong == unknown
    assert wrong["code"] == "wrong_credentials"
    assert wrong["title"] == "手机号或密码不正确"


async def test_an_unknown_number_costs_a_password_check_too(world: World, app: Litestar, monkeypatch: pytest.MonkeyPatch) -> None:
    """No enumeration by timing: the same work is done whether or not there is such an account."""
    passwords = app.state.resources.passwords
    checked: list[str] = []
    verify = passwords._verify
    monkeypatch.setattr(passwords, "_verify", lambda kept, given: checked.append(kept) or verify(kept, given))
    someone = await world.person(FIELD, logged_in=False)
    await world.enrol(someone.phone, "not this", someone.device)
    await world.enrol("13700000000", "not this", someone.device)
    assert len(checked) == 2
    parameters = [kept.rsplit("$", 2)[0] for kept in checked]
    assert parameters[0] == parameters[1]


async def test_a_disabled_account_is_told_only_to_who_knows_the_password(world: World) -> None:
    someone = await world.person(FIELD, logged_in=False)
    await world.pool.execute("UPDATE person SET disabled_at = $2 WHERE id = $1", someone.id, world.clock())
    assert problem_of(await world.enrol(someone.phone, someone.password, someone.device), 403)["code"] == "account_disabled"
    assert problem_of(await world.enrol(someone.phone, "not this", someone.device), 401)["code"] == "wrong_credentials"


async def test_a_hash_of_old_parameters_is_made_anew_at_the_log_in(world: World) -> None:
    from argon2 import PasswordHasher

    someone = await world.person(FIELD, logged_in=False)
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(someone.password)
    await world.pool.execute("UPDATE person SET password_hash = $2 WHERE id = $1", someone.id, old)
    await world.log_in(someone)
    kept = await world.pool.fetchval("SELECT password_hash FROM person WHERE id = $1", someone.id)
    assert kept.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    await world.log_in(someone)


# ------------------------------------------------------------------------------------------------ lock-out


async def test_five_wrong_passwords_lock_the_account_and_time_unlocks_it(world: World) -> None:
    someone = await world.person(FIELD, logged_in=False)
    for _ in range(5):
        problem_of(await world.enrol(someone.phone, "not this", someone.device), 401)
    locked = await world.enrol(someone.phone, someone.password, someone.device)
    assert problem_of(locked, 429)["code"] == "account_locked"
    assert 0 < int(locked.headers["retry-after"]) <= 300
    world.clock.forward(seconds=int(locked.headers["retry-after"]))
    assert (await world.enrol(someone.phone, someone.password, someone.device)).status_code == 200


async def test_an_unknown_number_locks_like_a_known_one(world: World) -> None:
    for _ in range(5):
        problem_of(await world.enrol("13700000000", "not this", uuid7()), 401)
    assert problem_of(await world.enrol("13700000000", "not this", uuid7()), 429)["code"] == "account_locked"


async def test_guesses_at_the_same_time_do_not_slip_past_the_lock_out(world: World) -> None:
    someone = await world.person(FIELD, logged_in=False)
    answers = await asyncio.gather(*(world.enrol(someone.phone, f"guess {i}", someone.device) for i in range(20)))
    assert sorted(a.status_code for a in answers) == [401] * 5 + [429] * 15


async def test_a_good_log_in_forgets_the_wrong_ones_before_it(world: World) -> None:
    someone = await world.person(FIELD, logged_in=False)
    for _ in range(3):
        for _ in range(4):
            problem_of(await world.enrol(someone.phone, "not this", someone.device), 401)
        await world.log_in(someone)


async def test_one_address_cannot_try_many_accounts(world: World, app: Litestar) -> None:
    async with client_of(app, "203.0.113.9") as attacker:
        world.client, own = attacker, world.client
        statuses = [(await world.enrol(f"137{i:08d}", "123456", uuid7())).status_code for i in range(102)]
        world.client = own
    assert statuses == [401] * 100 + [429] * 2
    someone = await world.person(FIELD)  # from another address all is well
    assert someone.access


async def test_good_log_ins_do_not_use_up_the_address_of_a_township(world: World) -> None:
    """Mobile networks put thousands of phones behind one address."""
    people = [await world.person(FIELD, logged_in=False) for _ in range(6)]
    for someone in people * 20:
        await world.log_in(someone)


async def test_right_passwords_are_counted_too(world: World) -> None:
    someone = await world.person(FIELD, logged_in=False)
    statuses = [(await world.enrol(someone.phone, someone.password, someone.device)).status_code for _ in range(31)]
    assert statuses == [200] * 30 + [429]
    world.clock.forward(minutes=2)
    await world.log_in(someone)


# ------------------------------------------------------------------------------------------------ tokens


async def test_an_access_token_ends_after_its_hour(world: World) -> None:
    someone = await world.person(FIELD)
    world.clock.forward(minutes=59)
    assert (await whoami(world, someone.access)).status_code == 200
    world.clock.forward(minutes=2)
    assert problem_of(await whoami(world, someone.access), 401)["code"] == "token_expired"


async def test_a_phone_that_was_offline_for_weeks_refreshes(world: World) -> None:
    someone = await world.person(FIELD)
    world.clock.forward(days=150)
    fresh = (await refresh(world, someone.refresh)).json()
    assert (await whoami(world, fresh["access"])).status_code == 200


async def test_a_refresh_token_ends_too(world: World) -> None:
    someone = await world.person(FIELD)
    world.clock.forward(days=181)
    assert problem_of(await refresh(world, someone.refresh), 401)["code"] == "token_expired"


async def test_a_console_ends_after_hours_without_use(world: World) -> None:
    someone = await world.person(FIELD, kind="console")
    world.clock.forward(hours=13)
    assert problem_of(await refresh(world, someone.refresh), 401)["code"] == "token_expired"


async def test_a_lost_answer_to_a_refresh_does_not_lock_the_phone_out(world: World) -> None:
    someone = await world.person(FIELD)
    for _ in range(3):  # the answers never arrive
        assert (await refresh(world, someone.refresh)).status_code == 200
    world.clock.forward(days=3)
    fresh = (await refresh(world, someone.refresh)).json()
    assert (await refresh(world, fresh["refresh"])).status_code == 200


async def test_a_spent_refresh_token_that_comes_back_ends_the_log_in(world: World) -> None:
    someone = await world.person(FIELD)
    second = (await refresh(world, someone.refresh)).json()
    third = (await refresh(world, second["refresh"])).json()  # the second was used: the first is spent
    reused = problem_of(await refresh(world, someone.refresh), 401)
    assert reused["details"] == {"reused": True}
    for access in (someone.access, second["access"], third["access"]):
        assert problem_of(await whoami(world, access), 401)["code"] == "not_authenticated"
    assert (await refresh(world, third["refresh"])).status_code == 401
    noted = await world.pool.fetchval(
        "SELECT count(*) FROM audit_log WHERE action = 'refresh_reused' AND subject = $1", str(someone.device)
    )
    assert noted == 1


async def test_of_two_holders_of_one_token_the_second_is_found_out(world: World) -> None:
    """A thief refreshes with a copy. When the owner does, later than a request can be under way, the thief's pair ends."""
    someone = await world.person(FIELD)
    thief = (await refresh(world, someone.refresh)).json()
    world.clock.forward(minutes=6)
    owner = (await refresh(world, someone.refresh)).json()
    assert owner["refresh"] != thief["refresh"]
    assert problem_of(await refresh(world, thief["refresh"]), 401)["details"] == {"reused": True}
    assert (await refresh(world, owner["refresh"])).status_code == 401


async def test_refreshes_at_the_same_time_agree(world: World) -> None:
    someone = await world.person(FIELD)
    answers = await asyncio.gather(*(refresh(world, someone.refresh) for _ in range(8)))
    assert [a.status_code for a in answers] == [200] * 8
    assert len({a.json()["refresh"] for a in answers}) == 1, "one token has one successor"
    assert (await refresh(world, answers[0].json()["refresh"])).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer nonsense", "Bearer 凭证", "Bearer a\0b"])
async def test_what_is_no_token_is_refused(world: World, header: str) -> None:
    answer = await world.client.get("/people/v1/me", headers={b"Authorization": header.encode()} if header else {})
    assert problem_of(answer, 401)["code"] == "not_authenticated"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_refresh_token_is_no_access_token_and_the_other_way_round(world: World) -> None:
    someone = await world.person(FIELD)
    assert (await whoami(world, someone.refresh)).status_code == 401
    assert (await refresh(world, someone.access)).status_code == 401


async def test_logging_out_ends_the_tokens_of_this_device_only(world: World) -> None:
    someone = await world.person(FIELD)
    phone = Someone(someone.id, someone.phone, someone.password, uuid7())
    await world.log_in(phone)
    assert (await world.client.post("/auth/v1/logout", headers=someone.headers)).status_code == 204
    assert (await whoami(world, someone.access)).status_code == 401
    assert (await refresh(world, someone.refresh)).status_code == 401
    assert (await whoami(world, phone.access)).status_code == 200


async def test_logging_in_again_ends_the_devices_earlier_tokens(world: World) -> None:
    someone = await world.person(FIELD)
    before = someone.access
    await world.log_in(someone)
    assert (await whoami(world, before)).status_code == 401


# ------------------------------------------------------------------------------------------------ passwords


async def change(world: World, someone: Someone, old: str, new: str) -> httpx.Response:
    return await world.client.post("/auth/v1/password", json={"old": old, "new": new}, headers=someone.headers)


async def test_a_changed_password_logs_all_other_devices_out(world: World) -> None:
    someone = await world.person(FIELD)
    other = Someone(someone.id, someone.phone, someone.password, uuid7())
    await world.log_in(other)
    assert (await change(world, someone, someone.password, "battery staple")).status_code == 204
    assert (await whoami(world, someone.access)).status_code == 200
    assert (await whoami(world, other.access)).status_code == 401
    assert (await world.enrol(someone.phone, someone.password, uuid7())).status_code == 401
    assert (await world.enrol(someone.phone, "battery staple", uuid7())).status_code == 200


async def test_the_old_password_is_needed_and_guesses_are_counted(world: World) -> None:
    someone = await world.person(FIELD)
    for _ in range(5):
        problem_of(await change(world, someone, "not this", "battery staple"), 401)
    assert problem_of(await change(world, someone, someone.password, "battery staple"), 429)["code"] == "account_locked"


@pytest.mark.parametrize("new", ["short", "11111111", "aaaabbbb", "12345678", "correct horse"])
async def test_a_password_that_anyone_would_try_first_is_refused(world: World, new: str) -> None:
    someone = await world.person(FIELD)
    assert problem_of(await change(world, someone, someone.password, new), 422)["code"] == "invalid_value"


async def test_the_phone_number_is_no_password(world: World) -> None:
    someone = await world.person(FIELD)
    assert problem_of(await change(world, someone, someone.password, f"x{someone.phone}"), 422)["details"]["reason"] == "password_too_weak"


async def test_too_many_password_checks_at_once_are_told_to_come_again(world: World, app: Litestar) -> None:
    gate = app.state.resources.passwords._gate
    gate._waiting_max = 4  # of which one address may have two
    people = [await world.person(FIELD, logged_in=False) for _ in range(12)]
    async with gate.slot("a"), gate.slot("b"):  # both places are taken: two wait, the rest hear 503 at once
        calls = [asyncio.create_task(world.enrol(p.phone, p.password, p.device)) for p in people]
        while gate.waiting + gate.refused < len(people):  # noqa: ASYNC110 - the gate has no event for it
            await asyncio.sleep(0.01)
    answers = await asyncio.gather(*calls)
    assert sorted(a.status_code for a in answers) == [200] * 2 + [503] * 10
    busy = next(a for a in answers if a.status_code == 503)
    assert problem_of(busy, 503)["code"] == "busy"
    assert 1 <= int(busy.headers["retry-after"]) <= 60


# ------------------------------------------------------------------------------------------------ lock-out as a weapon


async def proof_of(world: World, someone: Someone) -> str:
    """What the person's device got with its tokens."""
    answer = await world.enrol(someone.phone, someone.password, someone.device)
    proof: str = answer.json()["proof"]
    return proof


async def test_strangers_do_not_lock_the_right_person_out_of_their_own_phone(world: World) -> None:
    someone = await world.person(FIELD)
    proof = await proof_of(world, someone)
    for _ in range(6):
        await world.enrol(someone.phone, "not this", uuid7())
    assert (await world.enrol(someone.phone, someone.password, uuid7())).status_code == 429, "a stranger, for all we know"
    assert (await world.enrol(someone.phone, someone.password, someone.device, proof=proof)).status_code == 200
    assert (await world.enrol(someone.phone, someone.password, uuid7())).status_code == 429, "which gives strangers no tries"


async def test_strangers_do_not_keep_anybody_from_changing_a_password(world: World) -> None:
    someone = await world.person(FIELD)
    for _ in range(6):
        await world.enrol(someone.phone, "not this", uuid7())
    assert (await change(world, someone, someone.password, "battery staple")).status_code == 204


async def test_an_address_that_is_locked_out_lets_known_phones_in(world: World) -> None:
    """A township behind one address, with somebody in it who guesses."""
    someone = await world.person(FIELD)
    proof = await proof_of(world, someone)
    for k in range(101):
        await world.enrol(f"137{k:08d}", "123456", uuid7())
    assert (await world.enrol(someone.phone, someone.password, someone.device)).json()["code"] == "too_many_requests"
    assert (await world.enrol(someone.phone, someone.password, someone.device, proof=proof)).status_code == 200
    for _ in range(101):
        await refresh(world, "x" * 43)
    assert (await refresh(world, "x" * 43)).status_code == 429
    token = (await world.enrol(someone.phone, someone.password, someone.device, proof=proof)).json()["refresh"]
    assert (await refresh(world, token)).status_code == 200


async def test_a_known_device_has_five_tries_of_its_own(world: World) -> None:
    someone = await world.person(FIELD)
    proof = await proof_of(world, someone)
    statuses = [(await world.enrol(someone.phone, "not this", someone.device, proof=proof)).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    assert (await world.enrol(someone.phone, someone.password, uuid7())).status_code == 200


@pytest.mark.parametrize("of", ["another device", "another person", "nothing"])
async def test_a_proof_is_of_this_person_and_this_device(world: World, of: str) -> None:
    someone, other = await world.person(FIELD), await world.person(FIELD)
    proof = {
        "another device": lambda: proof_of(world, someone),
        "another person": lambda: proof_of(world, other),
    }.get(of)
    given, device = (await proof() if proof else "a" * 64), (uuid7() if of == "another device" else someone.device)
    for _ in range(5):
        await world.enrol(someone.phone, "not this", uuid7())
    assert (await world.enrol(someone.phone, someone.password, device, proof=given)).json()["code"] == "account_locked"


async def test_a_restored_server_learns_from_the_proof_when_a_device_was_enrolled(world: World) -> None:
    """A backup from before the enrolment: what the device hands back was not made after it logged in again."""
    someone = await world.person(FIELD)
    proof = await proof_of(world, someone)
    fetch = "SELECT first_enrolled_at FROM device WHERE id = $1"
    enrolled = await world.pool.fetchval(fetch, someone.device)
    since, _, mac = proof.partition(".")
    for given, is_kept in ((f"{int(since) - 86_400_000}.{mac}", False), ("", False), (proof, True)):
        await world.pool.execute("TRUNCATE device CASCADE")
        world.clock.forward(days=1)
        assert (await world.enrol(someone.phone, someone.password, someone.device, proof=given)).status_code == 200
        first = await world.pool.fetchval(fetch, someone.device)
        assert (abs(first - enrolled) < timedelta(milliseconds=1)) == is_kept
