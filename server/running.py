"""`run`: everything on one machine, for trying out and developing.

Starts PostgreSQL, S3, the worker and the app, and stops them in reverse, whatever happened.
"""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from server.bucket import ensure_bucket
from server.embedded.process import read_pid_file, stop, write_pid_file
from server.installation import DISK_ERRORS, disk_trouble, occupied, url
from server.parts import environment_of, parts
from server.roles import bring_up
from server.seed import seed
from server.serving import serve_on
from server.settings import Settings
from server.signals import Interrupted, interruptible

WORKER_PID = "worker.pid"
WORKER_STOP_SECONDS_MAX = 15.0


def run(settings: Settings) -> None:
    """Returns after Ctrl-C or SIGTERM, with everything stopped. StartError when it cannot start."""
    try:
        with interruptible(), occupied(settings) as listener:
            stop_worker(settings.data_dir / WORKER_PID)  # a killed `run` may have left one, and it needs the parts
            with parts(settings) as complete:
                serve_all(complete, listener)
    except Interrupted:
        say("已停止，数据已保存。 Stopped; the data is kept.")
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise disk_trouble(settings.data_dir, error) from error


def serve_all(settings: Settings, listener: socket.socket) -> None:
    """Prepare the parts, then run worker and app until a signal."""
    bring_up(settings.pg)
    ensure_bucket(settings.s3)
    seed(settings)
    with worker(settings):
        say(f"\n巡岭 Xunling  {url(settings)}\n接口文档 API  {url(settings)}/schema\nCtrl-C 停止 stops\n")
        serve_on(listener, settings)


def run_parts(settings: Settings) -> None:
    """Only PostgreSQL and S3, migrated, until a signal; prints the environment that leads to them."""
    try:
        with interruptible(), occupied(settings), parts(settings) as complete:
            bring_up(complete.pg)
            ensure_bucket(complete.s3)
            say(f"export XUNLING_PG__DSN='{complete.pg.full_dsn()}'")
            say(f"export XUNLING_PG__OWNER_DSN='{complete.pg.full_owner_dsn()}'")
            say(f"export XUNLING_S3__ENDPOINT='{complete.s3.endpoint}'")
            say(f"export XUNLING_S3__ACCESS_KEY='{complete.s3.access_key.get_secret_value()}'")
            say(f"export XUNLING_S3__SECRET_KEY='{complete.s3.secret_key.get_secret_value()}'")
            signal.pause()
    except Interrupted:
        say("# stopped")


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def worker(settings: Settings) -> Iterator[None]:
    """The worker as a process of its own."""
    pid_file = settings.data_dir / WORKER_PID
    command = [sys.executable, "-m", "server", "worker"]
    with subprocess.Popen(command, env=environment_of(settings), stdin=subprocess.DEVNULL, start_new_session=True) as child:
        try:
            write_pid_file(pid_file, psutil.Process(child.pid))
            yield
        finally:
            stop_worker(pid_file)
            child.kill()  # when not even its pid could be noted


def stop_worker(pid_file: Path) -> None:
    if process := read_pid_file(pid_file, "worker"):
        stop(process, gentle=signal.SIGTERM, grace_seconds=WORKER_STOP_SECONDS_MAX, last=signal.SIGKILL)
    pid_file.unlink(missing_ok=True)
