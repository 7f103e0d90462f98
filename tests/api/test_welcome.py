"""GET /: a stranger is answered, and hears no password."""

import asyncio

import httpx
import pytest

from server.app import create_app
from server.demo_staff import demo_staff
from server.seed import seed
from server.settings import Settings
from tests.api.office import client_of

pytestmark = pytest.mark.anyio


async def test_a_stranger_is_told_what_this_is_and_where_to_go(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert all(link in answer.text for link in ('href="/schema"', 'href="/health/ready"', 'lang="zh-CN"', "巡岭", "offline first"))
    assert "演示账号" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not any(word in answer.text for word in ("<script", "http://", "https://", "src=", "style=", " on"))
    for link in ("/schema", "/schema/openapi.json", "/health/ready", "/public/v1/draws"):
        assert (await client.get(link)).status_code == 200, link


async def test_a_demo_names_its_accounts_and_their_passwords_on_this_machine_only(settings: Settings) -> None:
    demo = settings.model_copy(update={"demo": True})
    await asyncio.to_thread(seed, demo)
    staff = demo_staff(demo.data_dir / "secrets")
    app = create_app(demo)
    async with app.lifespan(), client_of(app) as here, client_of(app, "203.0.113.9") as elsewhere:
        own_names = ("127.0.0.1:8686", "localhost:8686", "[::1]:8686", "LOCALHOST")
        near = [(await here.get("/", headers={"host": name})).text for name in own_names]
        far = [(await elsewhere.get("/", headers={"host": "127.0.0.1"})).text, (await here.get("/")).text]
        proxied = [{"host": "127.0.0.1", header: "203.0.113.9"} for header in ("x-forwarded-for", "x-real-ip", "forwarded", "via")]
        names = ("rebound.example:8686", "127.0.0.1.example", "localhost.example", "[::ffff:203.0.113.9]", "", "::1")
        far += [(await here.get("/", headers=headers)).text for headers in [*proxied, *({"host": name} for name in names)]]
    for page in near:
        assert all(one.phone in page and one.password in page and one.name in page for one in staff)
    for page in far:
        assert all(one.phone in page and one.password not in page for one in staff)
