"""The day that `make run` starts with: played once, in a few seconds, and seen by everybody it concerns."""

import asyncio
import time
from typing import Any, cast

import asyncpg
import httpx
import pytest
from uuid_utils.compat import uuid7

from server.app import create_app
from server.demo_staff import demo_staff
from server.demo_village import settle
from server.seed import seed
from server.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_a_demo_begins_with_a_village_in_which_people_have_worked(settings: Settings, pool: asyncpg.Pool) -> None:
    demo = settings.model_copy(update={"demo": True})
    await asyncio.to_thread(seed, demo)
    began = time.monotonic()
    await asyncio.to_thread(settle, demo)
    assert time.monotonic() - began < 60
    counts = dict(await pool.fetch("SELECT kind, count(*) FROM record WHERE kind <> 'checklist' AND county = 610902 GROUP BY kind"))
    expected = {
        "site": 5,
        "inspection": 3,
        "problem": 3,
        "assignment": 1,
        "whistle": 1,
        "summons": 1,
        "conflict": 1,
        "photo": 4,
    }  # one photo also where it was assigned to
    assert {kind: counts.get(kind) for kind in expected} == expected
    assert await pool.fetchval("SELECT count(*) FROM blob WHERE received_at IS NOT NULL") == 3
    assert await pool.fetchval("SELECT count(*) FROM held") == 0

    app = create_app(demo)
    async with app.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app=cast(Any, app)), base_url="http://x") as client:
        lead = demo_staff(demo.data_dir / "secrets")[7]
        login = {"phone": lead.phone, "password": lead.password, "device": {"id": str(uuid7()), "kind": "console"}}
        access = (await client.post("/auth/v1/enrol", json=login)).json()["access"]
        shown = (await client.get("/office/v1/ledgers/problems", headers={"Authorization": f"Bearer {access}"})).json()
        assert {row["title"] for row in shown["rows"]} >= {"河坝有人焚烧秸秆"}
        assert {row["body"]["state"] for row in shown["rows"]} == {"reported", "rectifying"}

    everything = await pool.fetch("SELECT * FROM record ORDER BY county, id")
    await asyncio.to_thread(settle, demo)
    assert await pool.fetch("SELECT * FROM record ORDER BY county, id") == everything, "played once"
