"""`serve`, as production starts it: in one process or several, ended by a signal, or refusing to start."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import psutil
import pytest
from pydantic import SecretStr

from server.demo_staff import end_demo
from server.embedded.ports import free_ports
from server.embedded.postgres import EmbeddedPostgres
from server.parts import environment_of
from server.serving import Server, configuration
from server.settings import Settings
from server.trouble import StartError
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


DEMO_LEFT = "INSERT INTO person (id, name, phone, password_hash, demo) VALUES (gen_random_uuid(), '演示', '13911110001', 'x', true)"


def run_sql(dsn: str, sql: str) -> object:
    async def run() -> object:
        conn = await asyncpg.connect(dsn)
        try:
            return await conn.fetchval(sql)
        finally:
            await conn.close()

    return asyncio.run(run())


@pytest.mark.parametrize("demo", ["false", "true"])
def test_serving_in_earnest_shuts_what_a_trial_left(demo: str, database: str, settings: Settings) -> None:
    """Without `migrate` or `run` before it, and with several workers: once, before the first request."""
    run_sql(database, DEMO_LEFT)
    port = free_ports(1)[0]
    with start(settings, port, XUNLING_DEMO=demo, XUNLING_WORKERS="2") as process:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not is_answered(port):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    is_shut = run_sql(database, "SELECT disabled_at IS NOT NULL FROM person WHERE phone = '13911110001'")
    assert (is_shut, output.count("演示已关闭：停用账号 1 个")) == ((True, 1) if demo == "false" else (False, 0)), output


def test_a_database_that_comes_back_soon_delays_the_start_only(private_cluster: EmbeddedPostgres, settings: Settings) -> None:
    run_sql(private_cluster.dsn(), DEMO_LEFT)
    own = settings.model_copy(update={"pg": settings.pg.model_copy(update={"dsn": SecretStr(private_cluster.dsn())})})
    private_cluster.kill()
    with ThreadPoolExecutor(1) as aside:
        started = aside.submit(private_cluster.start)
        end_demo(own)
        started.result()
    assert run_sql(private_cluster.dsn(), "SELECT disabled_at IS NOT NULL FROM person") is True


def test_a_database_that_stays_away_is_said(settings: Settings) -> None:
    gone = SecretStr(f"postgresql://x@127.0.0.1:{free_ports(1)[0]}/x")
    with pytest.raises(StartError):
        end_demo(settings.model_copy(update={"pg": settings.pg.model_copy(update={"dsn": gone})}))


def test_a_database_without_our_schema_is_left_to_migrating(empty_database: str, settings: Settings) -> None:
    end_demo(settings.model_copy(update={"pg": settings.pg.model_copy(update={"dsn": SecretStr(empty_database)})}))
