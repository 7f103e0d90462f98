"""`python -m server run`, as somebody at a terminal meets it."""

import json
import os
import re
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

from server.embedded import EmbeddedPostgres, EmbeddedS3
from server.embedded.ports import free_ports
from server.embedded.process import read_pid_file
from tests import servers
from tests.house.tree import ROOT

START_SECONDS_MAX = 90
END_SECONDS_MAX = 30


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
    def running(self, *words: str, umask: int = -1, waits_for: str = "") -> Iterator[subprocess.Popen[str]]:
        """A `run` that answers, or has said something; killed at the end if it still runs."""
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "run", *words],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            umask=umask,
        )
        try:
            if waits_for:
                assert process.stdout is not None
                assert any(waits_for in line for line in process.stdout)
            else:
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

    def processes(self) -> list[psutil.Process]:
        """What runs on this data folder or has heard of it; first those that may start others."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if words and (
                    any(str(self.folder) in word for word in words) or str(self.folder) in process.environ().get("XUNLING_DATA_DIR", "")
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return sorted(found, key=lambda process: process.create_time())

    def is_deserted(self) -> bool:
        deadline = time.monotonic() + END_SECONDS_MAX
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.processes() == []

    def pid_of(self, part: str) -> int | None:
        data = self.folder / "data"
        match part:
            case "PostgreSQL":
                return EmbeddedPostgres(data / "pg").pid
            case "S3":
                return EmbeddedS3(data / "s3").pid
            case _:
                process = read_pid_file(data / f"{part}.pid", "server")
                return process.pid if process else None

    def killed(self, part: str) -> int:
        """kill -9, as the kernel does when memory is short."""
        pid = self.pid_of(part)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    def comes_back(self, part: str, killed: int) -> bool:
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.pid_of(part) not in (None, killed) and self.is_ready():
                return True
            time.sleep(0.1)
        return False

    def is_ready(self) -> bool:
        """Database and photos answer through the server."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=10) as answer:
                return json.load(answer)["status"] == "ok"
        except OSError:
            return False


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


@pytest.mark.slow
def test_what_is_killed_comes_back_and_all_ends_with_a_killed_run(installation: Installation) -> None:
    """Started as a careful root starts things: nobody else may read what it makes."""
    with installation.running(umask=0o077) as process:
        for part in ("PostgreSQL", "S3", "worker", "server"):
            assert installation.comes_back(part, installation.killed(part)), part
        process.kill()
        assert process.stdout is not None
        said = process.stdout.read()  # until the last of them has closed it
        for part in ("PostgreSQL", "S3", "worker", "server"):
            assert f"{part} ended unexpectedly: starting it again." in said
    assert installation.is_deserted()
    log = (installation.folder / "data" / "pg" / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down"), "it was shut down, not cut off"


def test_a_killed_run_is_followed_by_a_clean_one(installation: Installation) -> None:
    with installation.running() as process:
        process.kill()
        process.wait()
    with installation.running(waits_for="接口文档") as process:  # at once, while the other's parts are still ending
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        stop(process, signal.SIGINT)
    assert installation.is_deserted()


def test_a_full_disk_and_a_wrong_setting_are_said_without_a_traceback(installation: Installation) -> None:
    for variables, words in (
        ({"XUNLING_DISK_FREE_BYTES_MIN": str(2**62)}, "Too little room"),
        ({"XUNLING_PORT": "eighty"}, 'XUNLING_PORT="eighty"'),
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


def test_a_database_that_is_not_there_is_one_line(installation: Installation) -> None:
    nowhere = {"XUNLING_PG__DSN": "postgresql://nobody@127.0.0.1:1/x"}
    for words in (("create-admin", "13911112222", "何静", "610902"), ("ledger",), ("audit",), ("migrate",)):
        result = installation.command(*words, **nowhere)
        assert result.returncode == 1, words
        assert "Traceback" not in result.stderr, words
        assert "annot connect to the database" in result.stderr or "cannot be reached" in result.stderr, words


def first_minutes(readme: str) -> str:
    """The commands of the README's first five minutes."""
    [block] = re.findall(r"```sh\nurl=http.*?```", (ROOT / readme).read_text(encoding="utf-8"), re.DOTALL)
    return block.removeprefix("```sh\n").removesuffix("```")


def bare(commands: str) -> list[str]:
    return [line for line in commands.splitlines() if not line.startswith("#")]


@pytest.mark.slow
def test_the_first_five_minutes_of_the_readme_run_as_they_stand(installation: Installation, tmp_path: Path) -> None:
    """In a folder that looks like the project's own; only the port is another."""
    commands = first_minutes("README.md")
    assert bare(commands) == bare(first_minutes("README.zh-CN.md"))
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)
    (tmp_path / ".data").symlink_to(installation.folder / "data")
    with installation.running("--demo", waits_for="接口文档"):
        script = "set -eu\n" + commands.replace(":8686", f":{installation.port}").replace("\ncurl", "\necho; curl")
        ran = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=90)
        assert ran.returncode == 0, (ran.stdout, ran.stderr)
        listed, reported, assigned, story = (json.loads(line) for line in ran.stdout.splitlines() if line)
    assert len(listed["rows"]) >= 3, "the village has life in it"
    assert [outcome["outcome"] for outcome in reported["outcomes"]] == ["applied"] * 3
    assert assigned["applied"] == 1
    assert story["record"]["body"]["state"] == "assigned"


def test_help_lists_the_commands(installation: Installation) -> None:
    shown = installation.command("--help").stdout
    assert all(command in shown for command in ("run", "serve", "worker", "migrate", "check", "config", "openapi"))
