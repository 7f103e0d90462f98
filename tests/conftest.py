"""What every test may ask for.

    database          a migrated PostgreSQL database of this test alone (DSN, as its owner)
    app_database      the same as the lesser role, which the app has in every test
    module_database   the same, shared by the tests of one file
    empty_database    a database without our schema
    pool              asyncpg pool on `database`
    s3                a real S3 with a bucket of this worker alone
    private_cluster   a durable PostgreSQL of this test alone, which it may kill
    settings          Settings for `database` and `s3`, with cheap password hashing

Nothing starts before a test asks for it.
"""

import asyncio
import os
import shutil
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import structlog
from botocore.config import Config
from pydantic import SecretStr

from server.embedded.postgres import EmbeddedPostgres
from server.settings import AuthSettings, PgSettings, S3Settings, Settings
from storage.pool import Pool, open_pool
from tests import servers


def plain_logs() -> None:
    """structlog's own default draws every local variable of a traceback, which takes seconds where an exception is part of a story."""
    structlog.reset_defaults()  # where the product's own configuration was tried before
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, renderer])


def pytest_configure(config: pytest.Config) -> None:
    plain_logs()
    if not hasattr(config, "workerinput"):
        for name in [name for name in os.environ if name.startswith("XUNLING_") or name == "DATABASE_URL"]:
            del os.environ[name]  # the developer's own settings are not the tests'
        servers.begin_run()
        for sign in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: pytest then ends properly, and the servers with it
            signal.signal(sign, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long go first: one that began last would keep one core busy alone (with --no-loadscope-reorder)."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        servers.finish_run()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> EmbeddedPostgres:
    """The run's shared cluster."""
    return servers.shared_postgres()


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    with servers.cloned(postgres) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def module_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    with servers.cloned(postgres) as dsn:
        yield dsn


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    with servers.cloned(postgres, "template1") as dsn:
        yield dsn


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database, size_min=0)
    yield pool
    pool.terminate()  # a test that failed may still hold connections: closing would wait for them
    await asyncio.sleep(0)


@dataclass(frozen=True)
class S3:
    """How to reach the run's S3, and a bucket nobody else uses."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    region: str = "us-east-1"

    def client(self):  # boto3 makes its client classes at run time
        config = Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30)
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=config,
        )


@pytest.fixture(scope="session")
def s3() -> S3:
    server = servers.shared_s3()
    access = S3(server.endpoint, server.access_key, server.secret_key, f"photos-{uuid.uuid4().hex}")
    access.client().create_bucket(Bucket=access.bucket)
    return access


@pytest.fixture
def private_cluster() -> Iterator[EmbeddedPostgres]:
    """Durable and migrated: `cluster.dsn()`, `cluster.kill()`, `cluster.start()`, `cluster.pid`."""
    folder = servers.run_folder() / f"private-{uuid.uuid4().hex}"
    cluster = EmbeddedPostgres(folder)
    cluster.start()
    servers.migrate(cluster.dsn())
    yield cluster
    cluster.stop()
    shutil.rmtree(folder)


@pytest.fixture
def app_database(database: str, postgres: EmbeddedPostgres) -> str:
    return postgres.app_dsn(database.partition("?")[0].rpartition("/")[2])


@pytest.fixture
def settings(database: str, app_database: str, s3: S3, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        pg=PgSettings(dsn=SecretStr(app_database), owner_dsn=SecretStr(database), pool_size_min=0),
        s3=S3Settings(endpoint=s3.endpoint, bucket=s3.bucket, access_key=SecretStr(s3.access_key), secret_key=SecretStr(s3.secret_key)),
        auth=AuthSettings(argon2_memory_kib=8, argon2_rounds=1, second_factor_required=False),
    )


@pytest.fixture
def root() -> Path:
    """The project's folder."""
    return Path(__file__).resolve().parent.parent
