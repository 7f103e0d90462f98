"""An embedded SeaweedFS (`weed mini`) in one folder: an S3 server with one identity, on loopback.

    folder/        what we own: credentials, log, pid file, ports
    folder/data/   what SeaweedFS keeps

Its other ports (master, volume, filer) answer on loopback without a password, as SeaweedFS does: whoever may run
programs on this machine can read the photos. A machine with strangers on it gets a SeaweedFS of its own (`compose.yaml`).
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Final

import psutil

from server.embedded.account import Account, ensure_passage, ensure_readable, service_account
from server.embedded.ports import LOOPBACK, free_ports, is_free
from server.embedded.postgres import kept_secret
from server.embedded.process import is_alive, last_lines, read_pid_file, send, spawn, stop, wait_gone, write_pid_file
from server.trouble import StartError

ACCESS_KEY: Final = "xunling"
PORT_NAMES: Final = (
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
)
# No other doors, and nobody is told about us.
CLOSED: Final = (
    "-admin.ui=false",
    "-webdav=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-master.telemetry=false",
    "-s3.autoCreateBucket=false",
)
SOCKETS: Final = Path("/tmp")  # noqa: S108 - SeaweedFS does not ask where
TRIES: Final = 5
START_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 15.0


class EmbeddedS3:
    """One SeaweedFS. `start` and `stop` may be called any number of times; data, endpoint and keys stay."""

    access_key: Final = ACCESS_KEY

    def __init__(self, folder: Path, *, outlives_us: bool = False) -> None:
        """`outlives_us`: it goes on when this process ends; somebody else stops it."""
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        self.log = self.folder / "seaweed.log"
        self._pid_file = self.folder / "pid"
        self._dies_by = None if outlives_us else signal.SIGTERM

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self._ports()['s3.port']}"

    @property
    def secret_key(self) -> str:
        return kept_secret(self.folder / "secret_key")

    @property
    def pid(self) -> int | None:
        process = self._running()
        return process.pid if process else None

    def start(self) -> None:
        """Start and wait until S3 answers. StartError when that is impossible."""
        account = service_account(self.data)
        weed = installed_weed()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(mode=0o700, exist_ok=True)
        account.own(self.data)
        ensure_readable(account, weed)
        ensure_passage(account, weed)
        ensure_passage(account, self.folder)
        self.stop()
        for attempt in range(1, TRIES + 1):
            self._choose_ports(again=attempt > 1)
            if self._launch(weed, account):
                return
        raise StartError("内置 S3 存储无法启动：", f"The embedded S3 server does not start:\n{last_lines(self.log)}")

    def stop(self) -> None:
        """Stop it: gently, then by force. Nothing when it does not run."""
        if process := self._running():
            stop(process, gentle=signal.SIGTERM, grace_seconds=STOP_SECONDS_MAX, last=signal.SIGKILL)
        self._forget()

    def kill(self) -> None:
        """Pull the plug: SIGKILL, as a crash would."""
        if process := self._running():
            send(process, signal.SIGKILL)
            wait_gone(process, 5)
        self._forget()

    # Inside

    def _running(self) -> psutil.Process | None:
        return read_pid_file(self._pid_file, str(self.data))

    def _forget(self) -> None:
        self._pid_file.unlink(missing_ok=True)
        if (self.folder / "ports.json").exists():
            for port in self._ports().values():
                for path in leftover_sockets(port):
                    with contextlib.suppress(OSError):
                        path.unlink()

    def _launch(self, weed: Path, account: Account) -> bool:
        self.log.touch(mode=0o600)
        ports = [f"-{name}={port}" for name, port in self._ports().items()]
        command = [weed, "-logtostderr", "mini", f"-dir={self.data}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", *CLOSED, *ports]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.data),
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }
        child = spawn(command, account=account, log=self.log, folder=self.data, environment=environment, dies_by=self._dies_by)
        write_pid_file(self._pid_file, child)
        return self._wait_ready(child)

    def _wait_ready(self, process: psutil.Process) -> bool:
        """Ready means that S3 itself says who may not enter; 503 comes before. False when the server ended instead."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while is_alive(process) and time.monotonic() < deadline:
            if answers(self._ports()["s3.port"]):
                return True
            time.sleep(0.05)
        self.kill()
        return False

    def _choose_ports(self, *, again: bool) -> None:
        """Keep the last ports while all are free; presigned URLs and notes in the data name them."""
        path = self.folder / "ports.json"
        if path.exists() and not again and all(is_free(port) and not foreign_socket(port) for port in self._ports().values()):
            return
        ports = [port for port in free_ports(2 * len(PORT_NAMES)) if not foreign_socket(port)]
        chosen = dict(zip(PORT_NAMES, ports, strict=False))
        path.write_text(json.dumps(chosen))

    def _ports(self) -> dict[str, int]:
        ports: dict[str, int] = json.loads((self.folder / "ports.json").read_text())
        return ports


def installed_weed() -> Path:
    """The SeaweedFS program of the wheel: beside this Python, else on PATH."""

    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise StartError(
            "找不到内置 S3 程序 weed，请重新安装依赖（make venv）。",
            "The S3 program `weed` is missing: install the packages again (make venv).",
        )
    return Path(found)


def answers(port: int) -> bool:
    """Whether S3 there answers a request without credentials as a working S3 does."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status in (200, 403)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def leftover_sockets(port: int) -> list[Path]:
    """The sockets SeaweedFS leaves behind; their folder is fixed, and their names by their port."""
    return [path for path in SOCKETS.glob(f"seaweedfs-*-{port}.sock") if path.is_socket()]


def foreign_socket(port: int) -> bool:
    """Whether another user's leftover, which we may not replace, lies where SeaweedFS wants its socket."""
    return any(path.stat().st_uid != os.geteuid() for path in leftover_sockets(port)) and os.geteuid() != 0
