"""`serve`, as production starts it: in one process or several, ended by a signal, or refusing to start."""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

from server.embedded.ports import free_ports
from server.parts import environment_of
from server.serving import Server, configuration
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


def scraped(port: int) -> tuple[dict[str, float], set[str]]:
    """Samples of one scrape, on a connection of its own, so that any process may answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}, {re.split("[{ ]", line)[0] for line in lines}


def test_whichever_process_is_asked_tells_what_all_of_them_counted(settings: Settings) -> None:
    """Two processes share one socket; one of them is killed, and what it had counted is not forgotten."""
    port = free_ports(1)[0]
    counted = 'xunling_http_requests_total{method="GET",route="/schema/openapi.json",status="200"}'
    with start(settings, port, XUNLING_WORKERS="2") as process:
        try:
            deadline = time.monotonic() + START_SECONDS_MAX
            while not is_answered(port):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            before = scraped(port)[0][counted]
            children = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
            assert len(children) == 2
            for _ in range(40):
                assert is_answered(port)
            assert {scraped(port)[0][counted] for _ in range(12)} == {before + 40}
            children[0].kill()
            children[0].wait(10)
            deadline = time.monotonic() + START_SECONDS_MAX
            while len([c for c in psutil.Process(process.pid).children() if "spawn_main" in " ".join(c.cmdline())]) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            while not is_answered(port):
                time.sleep(0.1)
            samples, names = scraped(port)
            assert samples[counted] >= before + 40
            assert {"xunling_held", "xunling_exchanges_running", "xunling_timers_behind_seconds"} <= names
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def test_a_second_ctrl_c_does_not_cut_the_stopping_short(settings: Settings) -> None:
    server = Server(configuration(settings, "server.serving:application"))
    for _ in range(2):
        server.handle_exit(signal.SIGINT, None)
    assert (server.should_exit, server.force_exit) == (True, False)
