"""An installation of its own for the demo: PostgreSQL, S3, server and worker, all real, in one folder, on free ports."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from demo.hours import StoryTime
from server.bucket import ensure_bucket
from server.embedded import EmbeddedPostgres, EmbeddedS3
from server.embedded.ports import free_ports
from server.installation import locked, prepared_folder
from server.parts import environment_of, named_postgres
from server.roles import bring_up
from server.seed import seed
from server.settings import load_settings
from server.trouble import StartError

ROOT: Final = Path(__file__).resolve().parent.parent
READY_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 10.0
NOT_OURS: Final = ("XUNLING_", "DATABASE_URL")


def forget_environment() -> None:
    """Whatever database this machine's environment names, the demo must never find it."""
    for name in [name for name in os.environ if name.startswith(NOT_OURS)]:
        del os.environ[name]


class Installation:
    """Started and stopped part by part, so that a scene can kill one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self.postgres = EmbeddedPostgres(folder / "pg")
        self.s3 = EmbeddedS3(folder / "s3")
        self.time = StoryTime(folder / "time")
        self.settings = load_settings(data_dir=folder, port=free_ports(1)[0], log={"level": "warning"})
        self.url = f"http://127.0.0.1:{self.settings.port}"
        self._server: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None

    # ------------------------------------------------------------------------------------------ life

    def start_database(self) -> None:
        self.postgres.start()
        self.settings = named_postgres(self.settings, self.postgres)
        bring_up(self.settings.pg)

    def start_objects(self) -> None:
        self.s3.start()
        found = {
            "endpoint": self.s3.endpoint,
            "access_key": SecretStr(self.s3.access_key),
            "secret_key": SecretStr(self.s3.secret_key),
            "relay": False,  # phones put bytes straight into S3
        }
        s3 = self.settings.s3.model_copy(update=found)
        self.settings = self.settings.model_copy(update={"s3": s3})
        ensure_bucket(s3)

    def seed(self) -> None:
        """The divisions of Ankang and Lizhou, the special zones, the departments, the published checklists."""
        seed(self.settings)

    def start_server(self) -> None:
        """Returns when it answers."""
        self._server = self._spawn("serve")
        until = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < until and self._server.poll() is None:
            with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{self.url}/health/live", timeout=2):
                return
            time.sleep(0.05)
        last = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
        raise StartError(f"演示服务器未能启动，日志见 {self.log}", f"The demo's server did not start; see {self.log}:\n{last}")

    def start_worker(self, *, by_story: bool = False) -> None:
        """`by_story`: its casework timers strike whenever the story's clock has moved, not once a minute of ours."""
        self._worker = self._spawn("follow" if by_story else "work")

    def kill_server(self) -> int:
        """kill -9, whatever it is doing; returns the pid that was."""
        assert self._server is not None
        pid = self._server.pid
        self._server.kill()
        self._server.wait()
        return pid

    def kill_worker(self) -> int:
        assert self._worker is not None
        pid = self._worker.pid
        self._worker.kill()
        self._worker.wait()
        return pid

    def kill_postgres(self) -> int:
        """kill -9 of the postmaster: what was not durable is gone."""
        pid = self.postgres.pid
        assert pid is not None
        self.postgres.kill()
        return pid

    def stop_worker(self) -> None:
        """What is under way is finished first."""
        assert self._worker is not None
        self._worker.send_signal(signal.SIGTERM)
        _wait(self._worker)

    def stop(self) -> None:
        """Everything, gently, whatever of it runs."""
        for child in (self._worker, self._server):
            if child is not None and child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in (self._worker, self._server):
            if child is not None:
                _wait(child)
        self.s3.stop()
        self.postgres.stop()

    # ------------------------------------------------------------------------------------------ inside

    @property
    def dsn(self) -> str:
        """As the owner: a judge may look at everything."""
        return self.settings.pg.full_owner_dsn()

    def _spawn(self, what: str) -> subprocess.Popen[bytes]:
        told = {"XUNLING_PORT": str(self.settings.port), "XUNLING_S3__RELAY": "false", "XUNLING_AUTH__SECOND_FACTOR_REQUIRED": "false"}
        environment = environment_of(self.settings) | told
        command = [sys.executable, "-m", "demo.processes", what, str(self.time.path)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextmanager
def open_installation(folder: Path) -> Iterator[Installation]:
    """An empty one in `folder`, which is the demo's alone; stopped at the end, its files left to be looked at."""
    folder = prepared_folder(folder, load_settings().disk_free_bytes_min)
    with locked(folder / "lock", "make demo"):
        _clear(folder)
        installation = Installation(folder)
        try:
            yield installation
        finally:
            installation.stop()


def _clear(folder: Path) -> None:
    """What an earlier demo left; a killed one may have left PostgreSQL and S3 running."""
    if (folder / "pg").exists():
        EmbeddedPostgres(folder / "pg").stop()
    if (folder / "s3").exists():
        EmbeddedS3(folder / "s3").stop()
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()
