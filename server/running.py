"""`run`: everything on one machine, for trying out and developing.

Starts PostgreSQL, S3, the worker and the server, watches over them (server/supervision.py), and stops them in reverse in any
case. When this process is killed, the kernel tells all of them to end.
"""

import socket

from server.bucket import ensure_bucket
from server.demo_village import settle
from server.installation import DISK_ERRORS, bound, disk_trouble, occupied, url
from server.parts import environment_of, parts
from server.roles import bring_up
from server.seed import seed
from server.settings import Settings
from server.signals import Interrupted, interruptible
from server.supervision import Part, Program, embedded_parts, running, say, wait_answering, watch


def run(settings: Settings) -> None:
    """Returns after Ctrl-C or SIGTERM, with everything stopped. StartError when it cannot start, or a part cannot be kept running."""
    try:
        with interruptible(), occupied(settings) as folder:
            for name in ("server", "worker"):
                Program(name, (), {}, folder / f"{name}.pid").stop()  # those of a killed `run` may still be ending
            with bound(settings.host, settings.port) as listener, parts(settings) as complete:
                serve_all(complete, listener, embedded_parts(settings))
    except Interrupted:
        say("已停止，数据已保存。 Stopped; the data is kept.")
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise disk_trouble(settings.data_dir, error) from error


def serve_all(settings: Settings, listener: socket.socket, embedded: list[Part]) -> None:
    """Prepare the parts, then run worker and server until a signal."""
    bring_up(settings.pg)
    ensure_bucket(settings.s3)
    seed(settings)
    if settings.demo:
        settle(settings)
    folder, environment = settings.data_dir, environment_of(settings)
    words = ("serve", "--fd", str(listener.fileno()))
    with (
        running(Program("worker", ("worker",), environment, folder / "worker.pid")) as worker,
        running(Program("server", words, environment, folder / "server.pid", listener=listener)) as server,
    ):
        wait_answering(server, listener.getsockname()[:2])
        say(f"\n巡岭 Xunling  {url(settings)}\n接口文档 API  {url(settings)}/schema\nCtrl-C 停止 stops\n")
        watch([*embedded, worker, server])


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
            watch(embedded_parts(settings))
    except Interrupted:
        say("# stopped")
