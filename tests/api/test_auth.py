"""Logging in, tokens and the lock-out, over HTTP."""

import uuid

import pytest

from contracts.people import Role
from tests.api.conftest import VILLAGE, World

pytestmark = pytest.mark.anyio


async def test_a_phone_logs_in_with_number_and_password(world: World) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE), logged_in=False)
    answer = await world.enrol(someone.phone, someone.password, someone.device)
    assert answer.status_code == 200
    body = answer.json()
    assert uuid.UUID(body["person"]) == someone.id
    assert uuid.UUID(body["device"]) == someone.device
    assert body["server_ms"] == int(world.clock().timestamp() * 1000)
    assert answer.headers["cache-control"] == "no-store"
