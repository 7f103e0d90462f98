"""The second factor: who needs one, setting it up, logging in with it, losing it; and the forced change of a password that an admin has seen."""

import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from litestar import Litestar
from pyotp.totp import TOTP
from uuid_utils.compat import uuid7

from contracts.exchange import LIVE_PATH
from contracts.people import Role
from server.app import create_app
from server.settings import Settings
from tests.api.office import HANBIN, TOWNSHIP, VILLAGE, Clock, Someone, World, client_of, every_route
from tests.api.test_auth import FIELD, change, problem_of, refresh, whoami

pytestmark = pytest.mark.anyio

PATH = "/auth/v1/second-factor/"
NEW = "battery staple"


@pytest.fixture
async def app(settings: Settings, clock: Clock) -> AsyncIterator[Litestar]:
    """As in production: the policy asks for a second factor."""
    auth = settings.auth.model_copy(update={"second_factor_required": True})
    app = create_app(settings.model_copy(update={"auth": auth}), now=clock)
    async with app.lifespan():
        yield app


ENDING_PATHS = {"/auth/v1/logout"}  # would end the log-in that asks
SET_UP = {
    "/auth/v1/password",
    "/auth/v1/second-factor",
    "/auth/v1/second-factor/confirm",
    "/auth/v1/second-factor/recovery-codes",
    "/people/v1/me",
}
FOR_PHONES = {
    "/people/v1/units", "/sync/v1/exchange", "/photos/v1/uploads", "/photos/v1/complete", "/photos/v1/wanted", "/photos/v1/610902/x/x",
}  # fmt: skip


async def post(world: World, someone: Someone, path: str, body: Any = None) -> httpx.Response:
    return await world.client.post(path, json=body, headers=someone.headers)


async def get(world: World, someone: Someone, path: str) -> httpx.Response:
    return await world.client.get(path, headers=someone.headers)


async def set_up(world: World, someone: Someone) -> tuple[TOTP, list[str]]:
    """The authenticator, and the recovery codes."""
    draft = (await post(world, someone, PATH, {"password": someone.password})).json()
    totp = TOTP(draft["secret"])
    confirmed = await post(world, someone, f"{PATH}confirm", {"code": code_of(world, totp)})
    assert confirmed.status_code == 200, confirmed.text
    return totp, confirmed.json()["codes"]


def code_of(world: World, totp: TOTP, steps: int = 0) -> str:
    return totp.generate_otp(int(world.clock().timestamp()) // 30 + steps)


async def log_in(world: World, someone: Someone, code: str = "", **options: Any) -> httpx.Response:
    kind = options.pop("kind", "console")
    return await world.enrol(someone.phone, someone.password, uuid7(), kind=kind, more={"code": code}, **options)


def reset_of(someone: Someone) -> str:
    return f"/people/v1/persons/{someone.id}/second-factor/reset"


async def supervisor(world: World, **options: Any) -> Someone:
    return await world.person((Role.COUNTY_SUPERVISOR, HANBIN), **{"kind": "console", **options})


# ------------------------------------------------------------------------------------------------ who needs one


@pytest.mark.parametrize("duty", [
    (Role.ADMIN, VILLAGE), (Role.AUDITOR, HANBIN), (Role.COUNTY_SUPERVISOR, HANBIN), (Role.CITY_SUPERVISOR, "610900"),
])  # fmt: skip
async def test_who_governs_sets_one_up_before_anything_else(world: World, duty: tuple[Role, str]) -> None:
    someone = await world.person(duty, kind="console")
    assert (await whoami(world, someone.access)).status_code == 200
    for path in ("/people/v1/persons", "/audit/v1/entries", "/office/v1/ledgers/problems", "/people/v1/units", "/devices/v1/"):
        assert problem_of(await get(world, someone, path), 403)["code"] == "second_factor_required", path
    assert (await get(world, someone, PATH)).json() == {"confirmed_at": None, "lacking": True, "recovery_codes_left": 0}
    await set_up(world, someone)
    assert (await get(world, someone, "/people/v1/units")).status_code == 200, "the same log-in goes on"
    fresh = (await refresh(world, someone.refresh)).json()
    someone.access = fresh["access"]
    assert (await get(world, someone, "/people/v1/units")).status_code == 200
    state = (await get(world, someone, PATH)).json()
    assert (state["lacking"], state["recovery_codes_left"]) == (False, 10)


async def test_field_staff_and_townships_need_none(world: World) -> None:
    for duty in (FIELD, (Role.TOWNSHIP_LEAD, TOWNSHIP), (Role.DEPARTMENT_LEAD, "610902-env_bureau")):
        someone = await world.person(duty, kind="console")
        assert (await get(world, someone, "/people/v1/units")).status_code == 200


async def test_a_phone_of_a_supervisor_syncs_without_and_does_nothing_else(world: World) -> None:
    """The device says itself what kind it is, so a phone may do what a phone does, and no more."""
    someone = await supervisor(world, kind="phone")
    body = {"device": str(someone.device), "contract": 1, "counties": []}
    assert (await post(world, someone, "/sync/v1/exchange", body)).status_code != 403
    assert (await get(world, someone, "/people/v1/units")).status_code == 200
    for path in ("/people/v1/persons", "/office/v1/ledgers/problems", "/devices/v1/"):
        assert (await get(world, someone, path)).json()["code"] == "second_factor_required", path


async def test_a_phone_of_an_admin_changes_no_unit_without(world: World) -> None:
    """A thief with the password of an admin only has to call the device a phone."""
    someone = await world.person((Role.ADMIN, HANBIN), kind="phone")
    wanted = {"code": "team-of-a-thief", "parent": HANBIN, "level": "team", "name": "执法队"}
    acts = {
        "/people/v1/units": wanted,
        f"/people/v1/units/{TOWNSHIP}/close": {"closed_on": None},
        f"/people/v1/units/{HANBIN}-env_bureau/name": {"name": "某局"},
    }
    for path, body in acts.items():
        assert problem_of(await post(world, someone, path, body), 403)["code"] == "second_factor_required", path
    assert (await get(world, someone, "/people/v1/units")).status_code == 200


async def test_a_duty_granted_later_asks_for_it_at_once_and_an_ended_one_no_more(world: World) -> None:
    someone = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP), kind="console")
    granted = "INSERT INTO duty (id, person, role, unit, starts) VALUES (gen_random_uuid(), $1, 'admin', $2, $3)"
    await world.pool.execute(granted, someone.id, TOWNSHIP, world.clock())
    assert (await get(world, someone, "/people/v1/units")).status_code == 403
    await world.pool.execute("UPDATE duty SET ends = starts + interval '1 second' WHERE person = $1 AND role = 'admin'", someone.id)
    world.clock.forward(seconds=2)
    assert (await get(world, someone, "/people/v1/units")).status_code == 200


async def test_a_demo_account_needs_none_while_demo_is_on_and_one_as_soon_as_it_is_off(
    world: World, app: Litestar, settings: Settings
) -> None:
    demo, real = await supervisor(world), await supervisor(world)
    await world.pool.execute("UPDATE person SET demo = true WHERE id = $1", demo.id)
    path = "/people/v1/persons"
    for someone in (demo, real):
        assert problem_of(await get(world, someone, path), 403)["code"] == "second_factor_required", "demo is off"
    tried_out = settings.model_copy(update={"auth": settings.auth.model_copy(update={"second_factor_required": True}), "demo": True})
    other = create_app(tried_out, now=world.clock)
    async with other.lifespan(), client_of(other) as client:
        assert (await client.get(path, headers=demo.headers)).status_code == 200
        assert problem_of(await client.get(path, headers=real.headers), 403)["code"] == "second_factor_required", (
            "others have no part in it"
        )


# ------------------------------------------------------------------------------------------------ setting up


async def test_the_uri_is_what_an_authenticator_reads_and_the_secret_is_stored_sealed(world: World) -> None:
    someone = await supervisor(world)
    draft = (await post(world, someone, PATH, {"password": someone.password})).json()
    uri = urlsplit(draft["uri"])
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert parse_qs(uri.query)["secret"] == [draft["secret"]]
    assert someone.phone in uri.path
    stored = await world.pool.fetchval("SELECT secret FROM second_factor WHERE person = $1", someone.id)
    assert draft["secret"].encode() not in stored


async def test_setting_up_needs_the_password_and_a_code_of_the_new_secret(world: World) -> None:
    someone = await supervisor(world)
    assert problem_of(await post(world, someone, PATH, {"password": "not this"}), 401)["code"] == "wrong_credentials"
    assert problem_of(await post(world, someone, f"{PATH}confirm", {"code": "123456"}), 409)["details"] == {"reason": "no_draft"}
    draft = (await post(world, someone, PATH, {"password": someone.password})).json()
    assert problem_of(await post(world, someone, f"{PATH}confirm", {"code": "abcdef"}), 401)["code"] == "second_factor_wrong"
    assert (await log_in(world, someone)).status_code == 200, "what is not confirmed asks nobody for a code"
    again = (await post(world, someone, PATH, {"password": someone.password})).json()
    assert again["secret"] != draft["secret"], "a lost answer: begun again"
    assert (await post(world, someone, f"{PATH}confirm", {"code": code_of(world, TOTP(again["secret"]))})).status_code == 200
    refused = problem_of(await post(world, someone, PATH, {"password": someone.password}), 409)
    assert refused["details"] == {"reason": "second_factor_exists"}


async def test_confirming_ends_the_log_ins_that_showed_none(world: World) -> None:
    someone = await supervisor(world)
    other = Someone(someone.id, someone.phone, someone.password, uuid7())
    await world.log_in(other, kind="console")
    await set_up(world, someone)
    assert (await whoami(world, other.access)).status_code == 401


# ------------------------------------------------------------------------------------------------ logging in


async def test_a_log_in_needs_the_code_on_whatever_it_says_it_is(world: World) -> None:
    someone = await supervisor(world)
    totp, _ = await set_up(world, someone)
    for kind in ("console", "phone"):
        assert problem_of(await log_in(world, someone, kind=kind), 401)["code"] == "second_factor_needed"
        assert problem_of(await log_in(world, someone, "000000", kind=kind), 401)["code"] == "second_factor_wrong"
        world.clock.forward(seconds=30)
        entered = await log_in(world, someone, code_of(world, totp), kind=kind)
        assert entered.status_code == 200, entered.text
        someone.access = entered.json()["access"]
        assert (await get(world, someone, "/people/v1/persons")).status_code == 200
    noted = await world.pool.fetch("SELECT detail FROM audit_log WHERE action = 'login_failed'")
    assert [row["detail"] for row in noted] == ['{"wrong":"second_factor"}'] * 2


async def test_a_code_is_good_once_and_an_older_one_no_more(world: World) -> None:
    someone = await supervisor(world)
    totp, _ = await set_up(world, someone)
    assert (await log_in(world, someone, code_of(world, totp))).status_code == 401, "it confirmed the set-up"
    world.clock.forward(seconds=60)
    assert (await log_in(world, someone, code_of(world, totp))).status_code == 200
    assert problem_of(await log_in(world, someone, code_of(world, totp)), 401)["code"] == "second_factor_wrong"
    assert (await log_in(world, someone, code_of(world, totp, -1))).status_code == 401
    assert (await log_in(world, someone, code_of(world, totp, 1))).status_code == 200, "the authenticator's clock is early"
    world.clock.forward(seconds=90)
    assert (await log_in(world, someone, code_of(world, totp, -2))).status_code == 401, "too late"


async def test_a_code_is_read_as_people_type_it(world: World) -> None:
    someone = await supervisor(world)
    totp, recovery = await set_up(world, someone)
    world.clock.forward(seconds=60)
    code = code_of(world, totp)
    wide = f"{code[:3]} {code[3:]}".translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    assert (await log_in(world, someone, wide)).status_code == 200
    spelt = "-".join(recovery[0][at : at + 4] for at in (0, 4, 8)).upper()
    assert (await log_in(world, someone, spelt)).status_code == 200


async def test_a_recovery_code_is_good_once_and_stored_as_a_hash(world: World) -> None:
    someone = await supervisor(world)
    _, recovery = await set_up(world, someone)
    assert len(set(recovery)) == 10
    dump = "".join(row["t"] for row in await world.pool.fetch("SELECT t::text FROM recovery_code t"))
    assert not any(code in dump or code.encode().hex() in dump for code in recovery)
    assert (await log_in(world, someone, recovery[3])).status_code == 200
    assert problem_of(await log_in(world, someone, recovery[3]), 401)["code"] == "second_factor_wrong"
    entered = (await log_in(world, someone, recovery[4])).json()
    someone.access = entered["access"]
    assert (await get(world, someone, PATH)).json()["recovery_codes_left"] == 8
    fresh = (await post(world, someone, f"{PATH}recovery-codes", {"code": recovery[5]})).json()["codes"]
    assert (await log_in(world, someone, recovery[6])).status_code == 401, "the old ones have ended"
    assert (await log_in(world, someone, fresh[0])).status_code == 200


async def test_codes_are_not_guessed(world: World) -> None:
    someone = await supervisor(world)
    totp, _ = await set_up(world, someone)
    statuses = [(await log_in(world, someone, f"00000{k}")).status_code for k in range(6)]
    assert statuses == [401] * 5 + [429]
    world.clock.forward(minutes=1)
    locked = await log_in(world, someone, code_of(world, totp))
    assert problem_of(locked, 429)["code"] == "account_locked"
    world.clock.forward(minutes=5)
    assert (await log_in(world, someone, code_of(world, totp))).status_code == 200


async def test_a_wrong_password_is_told_before_any_code(world: World) -> None:
    """The code tells nobody that a password was right."""
    someone = await supervisor(world)
    await set_up(world, someone)
    refused = await world.enrol(someone.phone, "not this", uuid7(), more={"code": "123456"})
    assert problem_of(refused, 401)["code"] == "wrong_credentials"


# ------------------------------------------------------------------------------------------------ losing it


async def test_a_second_admin_resets_it_and_nobody_their_own(world: World) -> None:
    one, other = [await world.person((Role.ADMIN, HANBIN), kind="console") for _ in range(2)]
    village = await world.person((Role.ADMIN, VILLAGE), kind="console")
    for someone in (one, other, village):
        await set_up(world, someone)
    assert problem_of(await post(world, one, reset_of(one)), 403)["details"] == {"reason": "own_second_factor"}
    assert problem_of(await post(world, village, reset_of(other)), 404)
    assert (await post(world, one, reset_of(other))).status_code == 204
    assert (await whoami(world, other.access)).status_code == 401
    await world.log_in(other, kind="console")
    assert (await get(world, other, PATH)).json()["lacking"], "and sets it up anew"
    assert problem_of(await post(world, one, reset_of(other)), 409)["details"] == {"reason": "no_second_factor"}
    noted = await world.pool.fetch("SELECT action FROM audit_log WHERE subject = $1 AND action LIKE 'second%' ORDER BY id", str(other.id))
    assert [row["action"] for row in noted] == ["second_factor_set", "second_factor_reset"]


async def test_whoever_has_not_shown_one_resets_nobody_s(world: World) -> None:
    one, other = [await world.person((Role.ADMIN, HANBIN), kind="console") for _ in range(2)]
    await set_up(world, other)
    for kind in ("console", "phone"):
        await world.log_in(one, kind=kind) if kind == "console" else None
        refused = await post(world, one, reset_of(other))
        assert problem_of(refused, 403)["code"] == "second_factor_required"
    assert (await world.pool.fetchval("SELECT count(*) FROM second_factor")) == 1


async def test_without_a_factor_only_the_routes_that_say_so_answer(world: World, app: Litestar) -> None:
    """A new route is closed to log-ins that have not shown what their roles need."""
    for kind in ("console", "phone"):
        someone = await world.person((Role.ADMIN, HANBIN), kind=kind)
        opened = set()
        for method, path, opt in every_route(app):
            if opt.get("public") or path in ENDING_PATHS or path == LIVE_PATH:
                continue
            answer = await world.client.request(method, path, headers=someone.headers, content=b"{}")
            if answer.status_code != 403 or answer.json()["code"] != "second_factor_required":
                opened.add(f"{method} {path}")
        assert {route.split()[1] for route in opened} == SET_UP | (FOR_PHONES if kind == "phone" else set())
        assert ("POST /people/v1/units" in opened) is False


async def test_a_stolen_database_without_the_key_opens_nothing(world: World, app: Litestar) -> None:
    from api.account_keys import AccountKeys

    someone = await supervisor(world)
    await set_up(world, someone)
    sealed = await world.pool.fetchval("SELECT secret FROM second_factor WHERE person = $1", someone.id)
    keys: AccountKeys = app.state.resources.account_keys
    assert keys.open(someone.id, sealed) is not None
    assert keys.open(uuid7(), sealed) is None, "nor does it open for another person"
    assert AccountKeys(b"x" * 32).open(someone.id, sealed) is None


# ------------------------------------------------------------------------------------------------ a password that an admin has seen


async def given(world: World) -> tuple[Someone, str]:
    """Somebody in the field whose password an admin has just reset, and that password."""
    admin, someone = await world.person((Role.ADMIN, HANBIN), kind="console"), await world.person(FIELD)
    await set_up(world, admin)
    return someone, (await post(world, admin, f"/people/v1/persons/{someone.id}/password")).json()["password"]


async def test_a_password_that_an_admin_has_seen_opens_nothing_but_its_change(world: World) -> None:
    someone, seen = await given(world)
    refused = problem_of(await world.enrol(someone.phone, seen, someone.device), 403)
    assert refused["code"] == "password_change_required"
    assert "未提交的内容不受影响" in refused["detail"]
    weak = await world.enrol(someone.phone, seen, someone.device, more={"new_password": "admin123"})
    assert problem_of(weak, 422)["details"]["rule"] == "common"
    assert (await world.enrol(someone.phone, seen, someone.device, more={"new_password": f"{seen}x"})).json()["details"]["rule"] == "same"
    assert (await world.enrol(someone.phone, seen, someone.device, more={"new_password": NEW})).status_code == 200
    assert (await world.enrol(someone.phone, seen, someone.device)).status_code == 401
    assert (await world.enrol(someone.phone, NEW, someone.device)).status_code == 200


async def test_the_password_that_an_admin_has_seen_is_not_its_own_successor(world: World) -> None:
    someone, seen = await given(world)
    for beside in ("x", NEW):
        refused = await world.enrol(someone.phone, beside, someone.device, more={"new_password": seen})
        assert problem_of(refused, 403)["code"] == "password_change_required"
    assert (await world.enrol(someone.phone, seen, someone.device, more={"new_password": seen})).json()["details"]["rule"] == "same"
    assert await world.pool.fetchval("SELECT must_change FROM person WHERE id = $1", someone.id)


async def test_a_device_id_that_is_refused_uses_no_code_and_changes_no_password(world: World) -> None:
    someone, other = await supervisor(world), await world.person(FIELD)
    _, codes = await set_up(world, someone)
    more = {"code": codes[0], "new_password": NEW}
    refused = await world.enrol(someone.phone, someone.password, other.device, kind="console", more=more)
    assert problem_of(refused, 409)["details"] == {"new_device_id_needed": True}
    assert (await log_in(world, someone, codes[0])).status_code == 200


async def test_a_change_whose_answer_was_lost_is_asked_for_again(world: World) -> None:
    someone, seen = await given(world)
    for _ in range(2):
        entered = await world.enrol(someone.phone, seen, someone.device, more={"new_password": NEW})
        assert entered.status_code == 200, entered.text
    someone.access = entered.json()["access"]
    for _ in range(2):
        assert (await change(world, someone, NEW, "another one, not taken")).status_code == 204
    changed = await world.pool.fetchval("SELECT count(*) FROM audit_log WHERE action = 'password_changed'")
    assert changed == 2


async def test_a_password_that_an_admin_has_seen_does_not_pass_for_the_new_one(world: World) -> None:
    """Beside a wrong password it looks like a change whose answer was lost."""
    someone, seen = await given(world)
    for _ in range(2):
        refused = await world.enrol(someone.phone, "not the old one", someone.device, more={"new_password": seen})
        assert problem_of(refused, 403)["code"] == "password_change_required"
    assert await world.pool.fetchval("SELECT must_change FROM person WHERE id = $1", someone.id)
    assert (await world.enrol(someone.phone, seen, someone.device, more={"new_password": NEW})).status_code == 200


async def test_a_new_password_beside_a_wrong_one_is_a_guess_as_well(world: World) -> None:
    someone = await world.person(FIELD, logged_in=False)
    guesses = [await world.enrol(someone.phone, f"guess {k}", uuid7(), more={"new_password": f"guess no. {k}"}) for k in range(3)]
    assert [guess.status_code for guess in guesses] == [401, 401, 429]


def test_the_clock_of_codes_is_unix_time() -> None:
    """Authenticators count half minutes of Unix time; so does step_of."""
    from datetime import UTC, datetime

    from api.codes import new_secret, step_of

    secret, now = new_secret(), datetime.now(UTC)
    assert step_of(secret, TOTP(secret).at(now), now) == int(now.timestamp()) // 30
    assert abs(now.timestamp() - time.time()) < 60
