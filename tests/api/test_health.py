"""Health that tells the truth, with the fault injected."""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
from litestar import Litestar
from pydantic import SecretStr

from contracts.people import Role
from contracts.problems import Problem, ProblemCode
from server.app import create_app
from server.embedded.postgres import EmbeddedPostgres
from server.migrate import migration_files
from server.settings import PgSettings, S3Settings, Settings
from tests import servers
from tests.api.office import VILLAGE, Clock, World, client_of

pytestmark = pytest.mark.anyio


async def ready(client: httpx.AsyncClient) -> tuple[int, str, dict[str, str]]:
    answer = await client.get("/health/ready")
    body = answer.json()
    return answer.status_code, body["status"], body["parts"]


async def test_all_is_well(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/live")).json() == {"status": "ok", "parts": {}}
    assert await ready(client) == (200, "ok", {"database": "ok", "photos": "ok"})


async def test_without_s3_patrol_data_is_still_taken(settings: Settings) -> None:
    gone = settings.s3.model_copy(update={"endpoint": "http://127.0.0.1:9"})
    app = create_app(settings.model_copy(update={"s3": gone}))
    async with app.lifespan(), client_of(app) as client:
        assert await ready(client) == (200, "degraded", {"database": "ok", "photos": "unreachable"})


async def test_an_unconfigured_s3_is_named(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"s3": S3Settings()}))
    async with app.lifespan(), client_of(app) as client:
        assert await ready(client) == (200, "degraded", {"database": "ok", "photos": "not_configured"})


async def test_an_s3_that_takes_nothing_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading still works: a volume that is full or locked."""

    async def refuse(*_args: object, **_options: object) -> None:
        raise Problem(ProblemCode.STORAGE_UNAVAILABLE)

    app = create_app(settings)
    async with app.lifespan(), client_of(app) as client:
        monkeypatch.setattr(app.state.resources.objects, "put", refuse)
        assert await ready(client) == (200, "degraded", {"database": "ok", "photos": "not_writable"})
        monkeypatch.undo()
        assert (await ready(client))[:2] == (200, "ok")
        assert await app.state.resources.objects.list_under("health") == [], "the probe leaves nothing behind"


async def test_a_database_that_takes_nothing_is_not_ready(settings: Settings, pool: asyncpg.Pool) -> None:
    name = await pool.fetchval("SELECT current_database()")
    for setting, value, word in (("default_transaction_read_only", "on", "read_only"), ("temp_file_limit", "0", "disk_full")):
        await pool.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        app = create_app(settings)
        async with app.lifespan(), client_of(app) as client:
            assert await ready(client) == (503, "down", {"database": word, "photos": "ok"})
            assert (await client.get("/health/live")).status_code == 200
        await pool.execute(f"ALTER DATABASE {name} RESET {setting}")


async def test_a_full_disk_is_not_ready(settings: Settings, small_disk: Path) -> None:
    """A disk of its own that is filled to the last byte; room again, and all is well."""
    dsn = SecretStr(EmbeddedPostgres(small_disk / "pg").dsn())
    app = create_app(settings.model_copy(update={"pg": PgSettings(dsn=dsn)}))
    async with app.lifespan(), client_of(app) as client:
        assert (await ready(client))[:2] == (200, "ok")
        with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(64 * 1024)):
                pass
        assert await ready(client) == (503, "down", {"database": "disk_full", "photos": "ok"})
        (small_disk / "filler").unlink()
        assert (await ready(client))[:2] == (200, "ok")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 192 MiB with a PostgreSQL in `pg`."""
    folder = servers.run_folder() / f"disk-{os.urandom(4).hex()}"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192m,mode=0711", "tmpfs", folder], check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("only who may mount can fill a disk of a test's own")
    cluster = EmbeddedPostgres(folder / "pg", options={"max_wal_size": "64MB", "min_wal_size": "32MB"})
    cluster.start()
    servers.migrate(cluster.dsn())
    yield folder
    cluster.stop()
    subprocess.run(["umount", "-l", folder], check=True)


async def test_a_frozen_postgresql_is_said_within_three_seconds(settings: Settings, private_cluster: EmbeddedPostgres) -> None:
    """Stopped by SIGSTOP, as by a hanging disk: connections stand, nobody answers. Each caller hears of it in time."""
    app = create_app(settings.model_copy(update={"pg": PgSettings(dsn=SecretStr(private_cluster.dsn()), pool_size_min=1)}))
    async with app.lifespan(), client_of(app) as client:
        assert (await ready(client))[0] == 200
        postmaster = psutil.Process(private_cluster.pid)
        frozen = [*postmaster.children(recursive=True), postmaster]
        try:
            for process in frozen:
                process.suspend()
            for _ in range(3):
                began = time.monotonic()
                assert (await ready(client))[2]["database"] == "unreachable"
                assert time.monotonic() - began < 3
            began = time.monotonic()
            assert (await client.get("/health/live")).status_code == 200
            assert time.monotonic() - began < 1
        finally:
            for process in frozen:
                process.resume()
        deadline = time.monotonic() + 30
        while (await ready(client))[0] != 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def test_a_database_that_is_not_migrated_is_not_ready(world: World) -> None:
    newest = max(migration_files())
    await world.pool.execute("DELETE FROM schema_migrations WHERE version = $1", newest)
    assert await ready(world.client) == (503, "down", {"database": "not_migrated", "photos": "ok"})


async def test_the_server_survives_a_killed_postgresql(settings: Settings, private_cluster: EmbeddedPostgres, clock: Clock) -> None:
    """Down while it is down, 503 with Retry-After for a request, and back by itself without a restart of the server."""
    own = PgSettings(dsn=private_cluster.dsn(), pool_size_min=2)  # type: ignore[arg-type]
    app = create_app(settings.model_copy(update={"pg": own}), now=clock)
    async with app.lifespan(), client_of(app) as client:
        world = World(app.state.resources.pool, client, clock)
        await world.load_places()
        someone = await world.person((Role.GRID_MEMBER, VILLAGE))
        assert (await ready(client))[0] == 200

        private_cluster.kill()
        status, standing, parts = await ready(client)
        assert (status, standing, parts["database"]) == (503, "down", "unreachable")
        assert (await client.get("/health/live")).status_code == 200
        refused = await client.get("/people/v1/me", headers=someone.headers)
        assert refused.status_code == 503
        assert refused.json()["code"] == "storage_unavailable"
        assert "retry-after" in refused.headers

        private_cluster.start()
        answer = await client.get("/people/v1/me", headers=someone.headers)
        assert answer.status_code == 200, "the token is still good and the pool has healed"
        assert (await ready(client))[:2] == (200, "ok")


async def test_a_restart_between_two_requests_is_not_noticed(settings: Settings, private_cluster: EmbeddedPostgres, clock: Clock) -> None:
    """Reading who asks is idempotent, hence tried again on a fresh connection."""
    own = PgSettings(dsn=private_cluster.dsn(), pool_size_min=4)  # type: ignore[arg-type]
    app = create_app(settings.model_copy(update={"pg": own}), now=clock)
    async with app.lifespan(), client_of(app) as client:
        world = World(app.state.resources.pool, client, clock)
        await world.load_places()
        someone = await world.person((Role.GRID_MEMBER, VILLAGE))
        for _ in range(3):
            private_cluster.kill()
            private_cluster.start()
            assert (await client.get("/devices/v1/", headers=someone.headers)).status_code == 200


async def test_metrics_count_requests_by_route_and_never_by_id(world: World, app: Litestar) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    await world.client.get("/people/v1/me", headers=someone.headers)
    await world.client.get(f"/people/v1/persons/{someone.id}", headers=someone.headers)
    await world.client.get("/no/such/path")
    text = (await world.client.get("/metrics")).text
    assert 'xunling_http_requests_total{method="GET",route="/people/v1/me",status="200"} 1.0' in text
    assert 'route="unmatched",status="404"' in text
    assert 'xunling_logins_total{how="ok"} 1.0' in text
    assert str(someone.id) not in text


async def test_metrics_are_not_for_whoever_comes_by_a_proxy_on_this_machine(world: World) -> None:
    answer = await world.client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"})
    assert answer.status_code == 403


async def test_metrics_show_what_waits(world: World) -> None:
    await world.pool.execute(
        "INSERT INTO held (county, device, n, outcome, reason) "
        "SELECT 610902, gen_random_uuid(), n, CASE WHEN n < 3 THEN 'deferred' ELSE 'quarantined' END, 'x' FROM generate_series(1, 5) n"
    )
    await world.pool.execute("INSERT INTO blob (county, sha256) VALUES (610902, 'x')")
    text = (await world.client.get("/metrics")).text
    assert 'xunling_held{outcome="deferred"} 2.0' in text
    assert 'xunling_held{outcome="quarantined"} 3.0' in text
    assert "xunling_photos_wanted 1.0" in text
