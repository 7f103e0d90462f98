"""The servers every other test stands on."""

import asyncpg
import pytest

from server.embedded.postgres import EmbeddedPostgres
from tests.conftest import S3


async def test_a_database_is_migrated_utf8_and_in_c_order(pool: asyncpg.Pool) -> None:
    assert await pool.fetchval("SELECT count(*) > 0 FROM schema_migrations")
    row = await pool.fetchrow(
        "SELECT pg_encoding_to_char(encoding) AS encoding, datcollate FROM pg_database WHERE datname = current_database()"
    )
    assert dict(row) == {"encoding": "UTF8", "datcollate": "C"}


@pytest.mark.parametrize("turn", [1, 2])
async def test_tests_do_not_see_each_other(turn: int, pool: asyncpg.Pool) -> None:
    await pool.execute("CREATE TABLE only_mine (turn int)")


def test_objects_are_kept(s3: S3) -> None:
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="巡岭.jpg", Body=b"photo")
    assert client.get_object(Bucket=s3.bucket, Key="巡岭.jpg")["Body"].read() == b"photo"


async def test_what_was_committed_survives_a_killed_postgres(private_cluster: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(private_cluster.dsn())
    assert await connection.fetchval("SHOW fsync") == "on"
    await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    killed = private_cluster.pid
    private_cluster.kill()
    assert private_cluster.pid is None
    private_cluster.start()
    assert private_cluster.pid not in (None, killed)
    connection.terminate()
    connection = await asyncpg.connect(private_cluster.dsn())
    assert await connection.fetchval("SELECT one FROM kept") == 1
    await connection.close()
