"""`python -m server run`, as somebody at a terminal meets it."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from server.embedded.ports import free_ports
from tests import servers
from tests.house.tree import ROOT

START_SECONDS_MAX = 60


class Installation:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_ports(1)[0]
        self.environment = {
            **os.environ,
            "XUNLING_DATA_DIR": str(folder / "data"),
            "XUNLING_PORT": str(self.port),
            "XUNLING_LOG__FORMAT": "json",
        }

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        environment = self.environment | variables
        return subprocess.run(
            [sys.executable, "-m", "server", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A `run` that answers; killed at the end if it still runs."""
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "run", *words],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            self.wait_for_answer(process)
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def wait_for_answer(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[0]
            if self.answers():
                return
            time.sleep(0.1)
        pytest.fail("it does not answer")

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/schema/openapi.json", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def processes(self) -> list[str]:
        """Command lines of what runs on this data folder or was told of it."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if any(str(self.folder) in word for word in words) or str(self.folder) in process.environ().get("XUNLING_DATA_DIR", ""):
                    found.append(" ".join(words))
            except psutil.Error:
                continue
        return [line for line in found if line]


@pytest.fixture
def installation() -> Iterator[Installation]:
    folder = servers.run_folder() / f"running-{os.urandom(4).hex()}"
    folder.mkdir()
    yield Installation(folder)
    servers.end_run(folder / "data")


def stop(process: subprocess.Popen[str], sign: signal.Signals) -> str:
    process.send_signal(sign)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Traceback" not in output, output
    return output


def test_it_starts_serves_stops_and_starts_again(installation: Installation) -> None:
    with installation.running("--demo") as process:
        second = installation.command("run")
        assert (second.returncode, "Traceback" in second.stderr) == (1, False)
        assert f"Xunling already runs on this data folder: http://127.0.0.1:{installation.port} (pid {process.pid})" in second.stderr
        busy = installation.command("run", XUNLING_DATA_DIR=str(installation.folder / "other"))
        assert (busy.returncode, "Traceback" in busy.stderr) == (1, False)
        assert f"Cannot listen on 127.0.0.1:{installation.port}" in busy.stderr
        assert f"http://127.0.0.1:{installation.port}" in stop(process, signal.SIGINT)
    assert installation.processes() == []
    with installation.running("--demo") as process:
        stop(process, signal.SIGTERM)
    assert installation.processes() == []


def test_a_killed_run_is_followed_by_a_clean_one(installation: Installation) -> None:
    with installation.running() as process:
        process.kill()
        process.wait()
        assert installation.processes() != []
    with installation.running() as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        stop(process, signal.SIGINT)
    assert installation.processes() == []


def test_a_full_disk_and_a_wrong_setting_are_said_without_a_traceback(installation: Installation) -> None:
    for variables, words in (
        ({"XUNLING_DISK_FREE_BYTES_MIN": str(2**62)}, "is full"),
        ({"XUNLING_PORT": "eighty"}, "XUNLING_PORT: Input should be a valid integer"),
        ({"XUNLING_PG__PASSWORD_FILE": "/nowhere/secret"}, "Cannot read the file named by XUNLING_PG__PASSWORD_FILE"),
        ({"XUNLING_PG__DSN": "postgresql://nobody@127.0.0.1:1/x"}, "Cannot connect to the database"),
    ):
        result = installation.command("run", **variables)
        assert result.returncode == 1
        assert words in result.stderr
        assert "Traceback" not in result.stderr
    assert installation.processes() == []


def test_production_names_what_it_misses(installation: Installation) -> None:
    for command in ("serve", "worker", "check"):
        result = installation.command(command)
        assert result.returncode == 1
        assert "Not configured: XUNLING_PG__DSN, XUNLING_S3__ENDPOINT" in result.stderr


def test_help_lists_the_commands(installation: Installation) -> None:
    shown = installation.command("--help").stdout
    assert all(command in shown for command in ("run", "serve", "worker", "migrate", "check", "config", "openapi"))
