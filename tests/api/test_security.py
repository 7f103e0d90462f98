"""Who gets in, what every answer carries, and whom the server believes about addresses."""

import re
from ipaddress import ip_network

import httpx
import pytest
from litestar import Litestar

from api.docs import PAGE_POLICY
from api.proxies import TrustedProxies, source_group
from contracts.people import Role
from server.app import create_app
from server.settings import ObserveSettings, Settings
from tests.api.office import VILLAGE, Clock, World, client_of, every_route
from tests.api.test_auth import problem_of

pytestmark = pytest.mark.anyio

FIELD = (Role.GRID_MEMBER, VILLAGE)
OPEN = re.compile(
    r"/|/auth/v1/(enrol|refresh)|/health/(live|ready)|/metrics|/schema.*|/sync/v1/(keys|subjects)|/photos/v1/relay/.*|/public/v1/draws.*"
)


async def test_every_route_but_the_listed_refuses_without_a_token(app: Litestar, client: httpx.AsyncClient) -> None:
    """A new route is closed unless it says otherwise, and then this list must say so too."""
    routes = every_route(app)
    assert len(routes) > 25
    for method, path, opt in routes:
        is_open = bool(OPEN.fullmatch(path))
        assert bool(opt.get("public")) == is_open, f"{method} {path}: say in OPEN that it needs no token"
        if not is_open:
            for headers in ({}, {"Authorization": "Bearer " + "x" * 43}):
                answer = await client.request(method, path, headers=headers, content=b"{}")
                assert problem_of(answer, 401)["code"] == "not_authenticated", f"{method} {path}"


async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient) -> None:
    for path in ("/health/live", "/no/such/path", "/schema", "/schema/openapi.json", "/people/v1/me"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert len(headers["x-request-id"]) == 32
        assert "server" not in headers
        assert "strict-transport-security" not in headers, "plain HTTP on loopback"


async def test_https_behind_the_proxy_is_kept(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"public_url": "https://xunling.example.cn"}))
    async with app.lifespan(), client_of(app) as client:
        assert (await client.get("/health/live")).headers["strict-transport-security"].startswith("max-age=31536000")


async def test_https_is_believed_from_a_trusted_proxy_only(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"trusted_proxies": (ip_network("10.0.0.0/8"),)}))
    async with app.lifespan():
        for address, kept in (("10.1.2.3", True), ("203.0.113.9", False)):
            async with client_of(app, address) as client:
                answer = await client.get("/health/live", headers={"X-Forwarded-Proto": "https"})
            assert ("strict-transport-security" in answer.headers) == kept


# ------------------------------------------------------------------------------------------------ addresses

PROXIES = TrustedProxies((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))


@pytest.mark.parametrize(("peer", "forwarded", "source"), [
    ("203.0.113.9", "", "203.0.113.9"),
    ("203.0.113.9", "1.2.3.4", "203.0.113.9"),  # anybody can write this header
    ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
    ("10.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),  # what the client wrote stands left of what the proxy added
    ("10.0.0.1", "1.2.3.4, 203.0.113.9, 10.9.9.9", "203.0.113.9"),  # two proxies of ours
    ("10.0.0.1", "", "10.0.0.1"),
    ("10.0.0.1", "nonsense", "10.0.0.1"),
    ("10.0.0.1", "nonsense, 203.0.113.9", "203.0.113.9"),
    ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
    ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
    ("fd00::1", "2001:db8::7", "2001:db8::7"),
    ("testclient", "203.0.113.9", "unknown"),
])  # fmt: skip
def test_the_source_is_the_first_hop_that_is_not_ours(peer: str, forwarded: str, source: str) -> None:
    assert PROXIES.source((peer, 1), {b"x-forwarded-for": forwarded.encode()})[1] == source


def test_an_attacker_s_ipv6_network_is_one_source() -> None:
    assert source_group("2001:db8:1:2::7") == source_group("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert source_group("2001:db8:1:2::7") != source_group("2001:db8:1:3::7")
    assert source_group("203.0.113.9") == "203.0.113.9"
    assert source_group("unknown") == "unknown"


async def test_a_forged_address_does_not_reach_the_audit_log(world: World) -> None:
    someone = await world.person(FIELD, logged_in=False)
    await world.enrol(someone.phone, "not this", someone.device, headers={"X-Forwarded-For": "6.6.6.6"})
    row = await world.pool.fetchrow("SELECT source, request FROM audit_log WHERE action = 'login_failed'")
    assert row is not None
    assert row["source"] == "127.0.0.1"
    assert len(row["request"]) == 32


async def test_a_request_id_is_taken_from_a_trusted_proxy_only(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"trusted_proxies": (ip_network("10.0.0.0/8"),)}))
    async with app.lifespan():
        for address, given, taken in (
            ("10.1.2.3", "proxy-0001", True),
            ("203.0.113.9", "proxy-0001", False),
            ("10.1.2.3", "evil\tline", False),
        ):
            async with client_of(app, address) as client:
                answer = await client.get("/health/live", headers={"X-Request-Id": given})
            assert (answer.headers["x-request-id"] == given) == taken


# ------------------------------------------------------------------------------------------------ logs


async def test_no_secret_and_no_phone_number_is_logged(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    someone = await world.person(FIELD)
    await world.enrol(someone.phone, "a-wrong-password", someone.device)
    await world.client.post("/auth/v1/refresh", json={"refresh": someone.refresh})
    await world.client.get(f"/people/v1/persons?text={someone.phone}", headers=someone.headers)
    await world.client.get("/people/v1/me?token=abc-in-the-query", headers=someone.headers)
    captured = capsys.readouterr()
    logged = captured.out + captured.err
    assert "request_id" in logged
    for secret in (someone.password, "a-wrong-password", someone.access, someone.refresh, someone.phone, "abc-in-the-query"):
        assert secret not in logged


# ------------------------------------------------------------------------------------------------ documentation


async def test_the_documentation_needs_no_internet_and_no_script(client: httpx.AsyncClient) -> None:
    page = await client.get("/schema")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == PAGE_POLICY
    assert "<script" not in page.text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page.text)
    assert "登录并登记设备" in page.text
    assert "Log in and enrol this device" in page.text


async def test_the_openapi_document_has_a_title_in_two_languages_for_every_operation(client: httpx.AsyncClient) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operations = [(m, p, op) for p, item in document["paths"].items() for m, op in item.items() if m in ("get", "post", "put", "delete")]
    assert len(operations) > 20
    for method, path, operation in operations:
        summary = operation.get("summary", "")
        assert re.search("[a-zA-Z]", summary), f"{method} {path}: {summary!r}"
        assert path == "/metrics" or re.search("[\u4e00-\u9fff]", summary), f"{method} {path}: {summary!r}"
        assert operation.get("tags"), f"{method} {path}"


# ------------------------------------------------------------------------------------------------ metrics


async def test_metrics_are_for_loopback_when_no_token_is_set(app: Litestar) -> None:
    async with client_of(app) as near, client_of(app, "203.0.113.9") as far:
        assert (await near.get("/metrics")).status_code == 200
        assert problem_of(await far.get("/metrics"), 403)["code"] == "not_allowed"


async def test_a_proxy_on_loopback_does_not_open_the_metrics(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"trusted_proxies": (ip_network("127.0.0.0/8"),)}))
    async with app.lifespan(), client_of(app) as proxy:
        assert (await proxy.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"})).status_code == 403


async def test_metrics_with_a_token(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"observe": ObserveSettings(metrics_token="s3cret-scraper")}))
    async with app.lifespan(), client_of(app, "203.0.113.9") as client:
        assert (await client.get("/metrics", headers={"Authorization": "Bearer s3cret-scraper"})).status_code == 200
        problem_of(await client.get("/metrics", headers={"Authorization": "Bearer wrong"}), 401)
        problem_of(await client.get("/metrics"), 401)


def test_the_clock_of_the_tests_moves_only_when_told(clock: Clock) -> None:
    assert clock() == clock()
    assert clock.forward(hours=1) == clock()
