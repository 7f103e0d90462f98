"""One PostgreSQL and one S3 per test run, shared by its workers, started by whoever needs one first.

The run's folder is made by the controlling pytest process and named to the workers in the environment. That process also
stops what was started, however the run ends; what a killed run left behind is swept by the next one.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from server.embedded.postgres import BIN, HASTY, EmbeddedPostgres
from server.embedded.seaweed import EmbeddedS3
from server.migrate import migrate  # noqa: F401 - of an empty database, for tests
from server.roles import bring_up
from server.settings import PgSettings

RUN_VARIABLE = "TESTS_OF_XUNLING"  # not of the product's prefix: it would wonder about it
PREFIX = "xunling-tests-"
TEMPLATE = "template_xunling"
# Another PostgreSQL's programs, for the lane `make test-pg15`; the embedded one without it
POSTGRES_BIN = Path(os.environ.get("POSTGRES_BIN", BIN))


def begin_run() -> None:
    """Make this run's folder; sweep what killed runs left."""
    for leftover in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = leftover.name.removeprefix(PREFIX).split("-")[0]
        if leftover.stat().st_uid == os.geteuid() and not (owner.isdigit() and psutil.pid_exists(int(owner))):
            end_run(leftover)
    os.environ[RUN_VARIABLE] = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
    watched.append(watching(run_folder()))


watched: list[subprocess.Popen[bytes]] = []


def watching(folder: Path) -> subprocess.Popen[bytes]:
    """A process that does `end_run` when ours has ended, also by `kill -9`: its standard input ends then."""
    command = [sys.executable, "-m", "tests.servers", str(folder)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, start_new_session=True)


def finish_run() -> None:
    """What `begin_run` began, ended in order."""
    end_run(run_folder())
    for process in watched:
        process.communicate()


def end_run(folder: Path) -> None:
    """Stop every server with data below a run's folder, then delete it."""
    for cluster in folder.glob("*/cluster"):
        EmbeddedPostgres(cluster.parent).stop()
    for pid_file in folder.glob("*/pid"):
        EmbeddedS3(pid_file.parent).kill()
    shutil.rmtree(folder, ignore_errors=True)


def run_folder() -> Path:
    return Path(os.environ[RUN_VARIABLE])


@contextmanager
def turn(name: str) -> Iterator[None]:
    """One worker at a time."""
    with (run_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def shared_postgres() -> EmbeddedPostgres:
    """The run's cluster, with the migrated template. Hasty: it forgets a crash of the machine, nothing else."""
    options = HASTY | {"max_connections": "300"}
    server = EmbeddedPostgres(run_folder() / "postgres", options=options, binaries=POSTGRES_BIN, outlives_us=True)
    tried = run_folder() / "postgres-tried"
    with turn("postgres"):
        if not tried.exists():
            tried.write_text("the first worker could not start PostgreSQL or migrate")
            server.start()
            make_template(server)
            tried.write_text("")
    if failure := tried.read_text():
        pytest.fail(failure, pytrace=False)
    return server


def make_template(server: EmbeddedPostgres) -> None:
    """A migrated database nobody connects to, so that it can be cloned at any time."""
    psql(server, f"CREATE DATABASE {TEMPLATE}")
    bring_up(PgSettings(dsn=SecretStr(server.app_dsn(TEMPLATE)), owner_dsn=SecretStr(server.dsn(TEMPLATE))))
    psql(server, f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false")


def shared_s3() -> EmbeddedS3:
    server = EmbeddedS3(run_folder() / "s3", outlives_us=True)
    with turn("s3"):
        if server.pid is None:
            server.start()
    return server


def psql(server: EmbeddedPostgres, statement: str) -> None:
    """Run a statement as superuser, outside any event loop."""
    subprocess.run([BIN / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", server.dsn(), "-c", statement], check=True)


@contextmanager
def cloned(server: EmbeddedPostgres, template: str = TEMPLATE) -> Iterator[str]:
    """A fresh copy of a database for as long as the block runs; yields its DSN."""
    name = f"test_{uuid.uuid4().hex}"
    psql(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.dsn(name)
    psql(server, f"DROP DATABASE {name} WITH (FORCE)")


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_run(Path(sys.argv[1]))
