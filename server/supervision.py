"""Watching over what `run` has started: what ends by itself is started again, what keeps ending ends everything."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import psutil

from server.embedded import EmbeddedPostgres, EmbeddedS3
from server.embedded.process import collect, read_pid_file, start_child, stop, write_pid_file
from server.serving import failed_start
from server.settings import Settings
from server.trouble import StartError

LOOK_SECONDS: Final = 0.3
DEATHS_MAX: Final = 4
DEATHS_WITHIN_SECONDS: Final = 60.0
STOP_SECONDS_MAX: Final = 15.0
ANSWER_SECONDS_MAX: Final = 120.0


class Part(Protocol):
    """Something that should run until we stop it. `start` after an end brings it back at the same address."""

    name: str

    @property
    def address(self) -> str: ...
    @property
    def runs(self) -> bool: ...
    def start(self) -> None: ...


class Database:
    name = "PostgreSQL"

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder)

    @property
    def address(self) -> str:
        return self._server.dsn()

    @property
    def runs(self) -> bool:
        return self._server.pid is not None

    def start(self) -> None:
        self._server.start()


class Objects:
    name = "S3"

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedS3(folder)

    @property
    def address(self) -> str:
        return self._server.endpoint

    @property
    def runs(self) -> bool:
        return self._server.pid is not None

    def start(self) -> None:
        self._server.start()


class Program:
    """A command of ours (`python -m server ...`) as a process of its own, found again by its pid file."""

    address = ""

    def __init__(
        self, name: str, words: Sequence[str], environment: dict[str, str], pid_file: Path, *, listener: socket.socket | None = None
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "server", *words]
        self._environment = environment
        self._pid_file = pid_file
        self._descriptors = () if listener is None else (listener.fileno(),)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        self._child = start_child(self._command, dies_by=signal.SIGTERM, env=self._environment, pass_fds=self._descriptors)
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended already
            write_pid_file(self._pid_file, psutil.Process(self._child.pid))

    def stop(self) -> None:
        """What is under way is finished first, within bounds. Also one that a killed `run` has left."""
        if process := read_pid_file(self._pid_file, "server"):
            stop(process, gentle=signal.SIGTERM, grace_seconds=STOP_SECONDS_MAX, last=signal.SIGKILL)
        if self._child is not None:
            self._child.kill()  # when not even its pid could be noted
            self._child.wait()
        self._pid_file.unlink(missing_ok=True)


@contextmanager
def running(program: Program) -> Iterator[Program]:
    try:
        program.start()
        yield program
    finally:
        program.stop()


def embedded_parts(settings: Settings) -> list[Part]:
    """Those that `parts` starts for these settings, in the same order."""
    found: list[Part] = []
    if not settings.pg.dsn.get_secret_value():
        found.append(Database(settings.data_dir / "pg"))
    if not settings.s3.endpoint:
        found.append(Objects(settings.data_dir / "s3"))
    return found


def watch(parts: Sequence[Part]) -> None:
    """Until a signal: bring back what has ended. StartError when one ends again and again, or cannot come back."""
    addresses = {part.name: part.address for part in parts}
    deaths = {part.name: deque[float](maxlen=DEATHS_MAX) for part in parts}
    while True:
        collect()
        for part in parts:
            if not part.runs:
                bring_back(part, deaths[part.name])
                if part.address != addresses[part.name]:
                    raise moved(part)
        time.sleep(LOOK_SECONDS)


def bring_back(part: Part, deaths: deque[float]) -> None:
    now = time.monotonic()
    deaths.append(now)
    if len(deaths) == DEATHS_MAX and now - deaths[0] < DEATHS_WITHIN_SECONDS:
        raise StartError(
            f"{part.name} 在 {DEATHS_WITHIN_SECONDS:.0f} 秒内退出了 {DEATHS_MAX} 次，已全部停止。",
            f"{part.name} ended {DEATHS_MAX} times within {DEATHS_WITHIN_SECONDS:.0f} seconds: everything is stopped.",
        )
    say(f"{part.name} 意外退出，正在重新启动。 {part.name} ended unexpectedly: starting it again.")
    part.start()


def moved(part: Part) -> StartError:
    return StartError(
        f"{part.name} 的端口被其他程序占用，已全部停止。请再次启动。",
        f"Another program took the port of {part.name} while it was down: everything is stopped. Start again.",
    )


def wait_answering(server: Program, address: tuple[str, int]) -> None:
    """Until the server answers. StartError when it ends instead; its log says why."""
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    while not answers(address):
        if not server.runs or time.monotonic() > deadline:
            raise failed_start()
        time.sleep(0.05)


def answers(address: tuple[str, int]) -> bool:
    connection = http.client.HTTPConnection(*address, timeout=2)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def say(text: str) -> None:
    print(text, flush=True)
