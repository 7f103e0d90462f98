"""`serve`, as production starts it: in one process or several, ended by a signal, or refusing to start."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from server.embedded.ports import free_ports
from server.parts import environment_of
from server.settings import Settings
from tests.house.tree import ROOT

START_SECONDS_MAX = 30


def start(settings: Settings, port: int, **variables: str) -> subprocess.Popen[str]:
    environment = environment_of(settings) | {"XUNLING_PORT": str(port)} | variables
    command = [sys.executable, "-m", "server", "serve"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def is_answered(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/schema/openapi.json", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.parametrize(("workers", "sign"), [("1", signal.SIGTERM), ("1", signal.SIGINT), ("2", signal.SIGTERM)])
def test_it_serves_until_a_signal_and_ends_well(workers: str, sign: signal.Signals, settings: Settings) -> None:
    port = free_ports(1)[0]
    with start(settings, port, XUNLING_WORKERS=workers) as process:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not is_answered(port):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(sign)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert "uvicorn.access" not in output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_busy_port_is_said(workers: str, settings: Settings) -> None:

    with socket.create_server(("127.0.0.1", 0)) as other, start(settings, other.getsockname()[1], XUNLING_WORKERS=workers) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Cannot listen on 127.0.0.1" in output
    assert "Traceback" not in output
