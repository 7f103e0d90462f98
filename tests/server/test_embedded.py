"""The embedded servers survive what happens to them: kills, stale files, strange folders."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from server.embedded import EmbeddedPostgres, EmbeddedS3, ports, postmaster_pid
from server.embedded.account import Account, ensure_passage, ensure_readable, read_acl, service_account
from server.embedded.ports import free_ports, handed_out, is_free
from server.embedded.postgres import HASTY
from server.embedded.process import read_pid_file, write_pid_file
from server.trouble import StartError
from tests import servers


@pytest.fixture
def folder() -> Iterator[Path]:
    """Below the run's folder, so that nothing stays if a test is interrupted. With a blank and Chinese in its name."""
    path = servers.run_folder() / f"embedded {os.urandom(4).hex()} 巡岭"
    path.mkdir()
    yield path
    servers.end_run(path)


@pytest.fixture
def postgres(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder / "pg", options=HASTY)


@pytest.fixture
def s3(folder: Path) -> EmbeddedS3:
    return EmbeddedS3(folder / "s3")


async def value(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def run_and_die(program: str) -> None:
    """Run Python that is killed by SIGKILL, as a lost `run` would be."""
    code = textwrap.dedent(program) + "\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL


def a_foreign_process() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


# PostgreSQL


async def test_postgres_starts_stops_and_keeps_data_password_and_port(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    first = postgres.dsn()
    await value(first, "CREATE TABLE kept AS SELECT '巡岭'::text AS name")
    postgres.stop()
    assert postgres.pid is None
    postgres.start()
    assert postgres.dsn() == first
    assert await value(postgres.tcp_dsn(), "SELECT name FROM kept") == "巡岭"


async def test_postgres_wants_its_password_and_listens_on_loopback_only(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    for dsn in (postgres.dsn(), postgres.tcp_dsn()):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(dsn, password="guessed")
    assert await value(postgres.dsn(), "SHOW listen_addresses") == "127.0.0.1"
    assert stat.S_IMODE((postgres.folder / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(postgres.cluster.stat().st_mode) == 0o700
    assert await value(postgres.dsn(), "SELECT rolname FROM pg_roles WHERE rolsuper") == "xunling"


async def test_a_killed_postgres_is_started_again_at_once(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    for _ in range(3):
        postgres.kill()
        postgres.start()
    assert await value(postgres.dsn(), "SELECT 1") == 1


async def test_a_postgres_that_outlived_its_parent_is_taken_over(postgres: EmbeddedPostgres) -> None:
    run_and_die(f"""
        from pathlib import Path
        from server.embedded import EmbeddedPostgres
        EmbeddedPostgres(Path({str(postgres.folder)!r}), outlives_us=True).start()
    """)
    orphan = postgres.pid
    assert orphan is not None
    postgres.start()
    assert postgres.pid != orphan
    assert await value(postgres.dsn(), "SELECT 1") == 1


async def test_a_stale_pid_file_that_names_a_strangers_process_harms_neither(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    pid_file = postgres.cluster / "postmaster.pid"
    stale = pid_file.read_text().split("\n", 1)[1]
    postgres.kill()
    with a_foreign_process() as stranger:
        pid_file.write_text(f"{stranger.pid}\n{stale}")
        assert postmaster_pid(postgres.cluster) is None
        postgres.stop()
        postgres.start()
        assert stranger.poll() is None
        stranger.kill()
    assert await value(postgres.dsn(), "SELECT 1") == 1


def test_a_cluster_that_was_never_finished_is_made_anew(postgres: EmbeddedPostgres) -> None:
    (postgres.cluster / "base").mkdir(parents=True)
    postgres.start()
    assert postgres.pid


def test_a_folder_for_temporary_files_that_is_ours_alone_does_not_stop_root(
    postgres: EmbeddedPostgres, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's server runs as another user, who does not get into it (fails without the mend for root alone)."""
    private = folder / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(private))
    postgres.start()
    assert list(private.iterdir()) == []
    postgres.stop()


def test_a_damaged_cluster_is_said_with_its_log(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    postgres.stop()
    (postgres.cluster / "global" / "pg_control").unlink()
    with pytest.raises(StartError, match=r"does not start(.|\n)*pg_control"):
        postgres.start()
    assert postgres.pid is None


async def test_a_folder_too_deep_for_a_socket_is_served_by_port(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    postgres = EmbeddedPostgres(deep / "pg", options=HASTY)
    postgres.start()
    try:
        assert "127.0.0.1" in postgres.dsn()
        assert await value(postgres.dsn(), "SELECT 1") == 1
    finally:
        postgres.stop()


# S3


def bucket_client(s3: EmbeddedS3, secret: str | None = None):
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=secret or s3.secret_key,
        region_name="us-east-1",
        config=config,
    )


def object_when_served(s3: EmbeddedS3, key: str) -> bytes:
    """S3 answers before its volumes have reported in; until then it says InternalError and means later."""
    until = time.monotonic() + 60
    while True:
        try:
            body: bytes = bucket_client(s3).get_object(Bucket="photos", Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "InternalError" or time.monotonic() > until:
                raise
            time.sleep(0.5)
        else:
            return body


def test_s3_survives_a_kill_and_wants_its_secret(s3: EmbeddedS3) -> None:
    s3.start()
    endpoint = s3.endpoint
    client = bucket_client(s3)
    client.create_bucket(Bucket="photos")
    client.put_object(Bucket="photos", Key="a", Body=b"x" * 1_000_000)
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        bucket_client(s3, "guessed").list_buckets()
    s3.kill()
    assert s3.pid is None
    s3.start()
    assert s3.endpoint == endpoint
    assert len(object_when_served(s3, "a")) == 1_000_000
    assert stat.S_IMODE((s3.folder / "secret_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(s3.data.stat().st_mode) == 0o700
    s3.stop()
    assert s3.pid is None


def test_an_s3_that_outlived_its_parent_is_taken_over(s3: EmbeddedS3) -> None:
    run_and_die(f"""
        from pathlib import Path
        from server.embedded import EmbeddedS3
        EmbeddedS3(Path({str(s3.folder)!r}), outlives_us=True).start()
    """)
    orphan = s3.pid
    assert orphan is not None
    s3.start()
    assert s3.pid not in (None, orphan)
    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE
    s3.kill()


def test_s3_moves_to_other_ports_when_its_own_are_taken_and_keeps_its_objects(s3: EmbeddedS3) -> None:
    s3.start()
    client = bucket_client(s3)
    client.create_bucket(Bucket="photos")
    client.put_object(Bucket="photos", Key="a", Body=b"kept")
    s3.kill()
    noted = json.loads((s3.folder / "ports.json").read_text())

    with socket.create_server(("127.0.0.1", noted["s3.port"])):
        s3.start()
        assert bucket_client(s3).get_object(Bucket="photos", Key="a")["Body"].read() == b"kept"
        s3.kill()


# What both stand on


def test_a_pid_file_is_believed_only_when_everything_fits(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with a_foreign_process() as process:
        while not psutil.Process(process.pid).cmdline():  # the kernel shows it a moment after the program began
            time.sleep(0.01)
        write_pid_file(path, psutil.Process(process.pid))
        assert read_pid_file(path, "time.sleep")
        assert read_pid_file(path, "another program") is None
        noted = json.loads(path.read_text())
        path.write_text(json.dumps(noted | {"started": noted["started"] - 100}))
        assert read_pid_file(path, "time.sleep") is None
        process.kill()
    for damaged in ("", "{}", "[]", '{"pid": "x", "started": 1}'):
        path.write_text(damaged)
        assert read_pid_file(path, "time.sleep") is None


def test_free_ports_are_free_different_and_not_given_to_connections() -> None:
    found = free_ports(20)
    assert len(set(found)) == 20
    assert all(map(is_free, found))
    assert not set(found) & set(handed_out())


def test_where_the_kernel_hands_out_everything_any_port_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "range").write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "HANDED_OUT", tmp_path / "range")
    assert all(map(is_free, ports.free_ports(3)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's end")
def test_postgres_and_s3_end_with_the_process_that_started_them(postgres: EmbeddedPostgres, s3: EmbeddedS3) -> None:
    """Also when they were started in a thread that is over."""
    run_and_die(f"""
        import threading
        from pathlib import Path
        from server.embedded import EmbeddedPostgres, EmbeddedS3
        for start in (EmbeddedPostgres(Path({str(postgres.folder)!r})).start, EmbeddedS3(Path({str(s3.folder)!r})).start):
            thread = threading.Thread(target=start)
            thread.start()
            thread.join()
        assert EmbeddedPostgres(Path({str(postgres.folder)!r})).pid
        assert EmbeddedS3(Path({str(s3.folder)!r})).pid
    """)
    deadline = time.monotonic() + 30
    while (postgres.pid or s3.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (postgres.pid, s3.pid) == (None, None)
    assert "database system is shut down" in postgres.log.read_text(), "it was shut down, not cut off"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down")
def test_what_root_installed_under_a_strict_umask_can_be_read_and_run(folder: Path) -> None:
    programs = folder / "programs"
    (programs / "bin").mkdir(parents=True)
    program, data = programs / "bin" / "postgres", programs / "postgres.bki"
    program.write_text("#!/bin/sh")
    data.write_text("data")
    account = Account(12345, 12345, steps_down=True)
    for path, mode in ((program, 0o700), (data, 0o600), (program.parent, 0o700), (programs, 0o700), (folder, 0o700)):
        path.chmod(mode)
    assert not account.can("-r", data)
    ensure_readable(account, programs)
    ensure_passage(account, program)
    assert (account.can("-r", data), account.can("-x", program), account.can("-w", data)) == (True, True, False)
    assert (stat.S_IMODE(data.stat().st_mode), stat.S_IMODE(folder.stat().st_mode) & 0o007) == (0o644, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down")
def test_root_steps_down(folder: Path) -> None:
    account = service_account(folder / "new")
    assert account.steps_down
    assert account.uid != 0
    os.chown(folder, 12345, 12345)
    assert service_account(folder) == Account(12345, 12345, steps_down=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down")
def test_one_user_more_may_pass_and_nothing_else_changes(folder: Path) -> None:
    folder.chmod(0o700)
    passer, other = Account(12345, 12345, steps_down=True), Account(54321, 54321, steps_down=True)
    assert not passer.can("-x", folder)
    ensure_passage(passer, folder)
    assert passer.can("-x", folder)
    assert not passer.can("-r", folder)
    assert not other.can("-x", folder)
    assert read_acl(folder)[0x20, 0xFFFFFFFF] == 0
