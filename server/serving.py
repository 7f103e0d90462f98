"""Serving HTTP: in this process for `run`, in several for `serve`."""

import contextlib
import gc
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from types import FrameType

import uvicorn
from litestar import Litestar
from uvicorn.server import STARTUP_FAILURE  # pyright: ignore[reportPrivateImportUsage]
from uvicorn.supervisors.multiprocess import Multiprocess

from api.metrics import FOLDER_VARIABLE
from server.app import create_app
from server.demo_staff import end_demo
from server.embedded.process import end_with_parent
from server.installation import bound
from server.logs import configure_logs
from server.patience import PatientProtocol
from server.settings import Settings, load_settings
from server.signals import Interrupted, interruptible
from server.trouble import StartError


def application() -> Litestar:
    """What each of several server processes runs; they share nothing but the environment, and end with the process that made them."""
    end_with_parent(signal.SIGTERM, os.getppid())
    settings = load_settings()
    configure_logs(settings.log)
    app = create_app(settings)
    spare_collector()
    return app


def spare_collector() -> None:
    """Objects made at the start live as long as the process: the garbage collector leaves them out, and takes new ones in larger lots.

    A full pass over them would stop every request for about 0.1 s, and costs a push about a tenth of its processor time (bench/inside.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5000, 20, 10)  # objects; young, middle passes


def serve(settings: Settings, fd: int | None = None) -> None:
    """Serve until a signal; requests under way may finish. `fd`: an inherited socket to serve on. StartError when it cannot start."""
    binding = bound(settings.host, settings.port) if fd is None else socket.socket(fileno=fd)
    with contextlib.suppress(Interrupted), interruptible(), binding as listener:
        end_demo(settings)
        if settings.workers == 1:
            serve_on(listener, settings)
        else:
            serve_in_processes(listener, settings)


def serve_in_processes(listener: socket.socket, settings: Settings) -> None:
    """Several processes on one socket. One that dies is replaced; SIGHUP replaces them one by one."""
    with counted_together():
        supervisor = Multiprocess(configuration(settings, "server.serving:application"), [listener])
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise failed_start()


@contextlib.contextmanager
def counted_together() -> Iterator[None]:
    """Processes that start within count into one folder, so that whichever is asked for metrics tells those of all."""
    with tempfile.TemporaryDirectory(prefix="xunling-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER_VARIABLE]


class Server(uvicorn.Server):
    """The first signal wins, as everywhere here (server/signals.py): stopping is bounded by `graceful_seconds`, and a second Ctrl-C does not
    cut it short in the middle of closing connections.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            super().handle_exit(sig, frame)


def serve_on(listener: socket.socket, settings: Settings) -> None:
    """Serve in this process, on a socket that is bound already."""
    server = Server(configuration(settings, create_app(settings)))
    spare_collector()
    server.run(sockets=[listener])
    if not server.started:  # uvicorn logs a failed start and returns as if all were well
        raise failed_start()


def failed_start() -> StartError:
    return StartError("服务启动失败，原因见上文日志。", "The server did not start; the log above says why.")


def configuration(settings: Settings, app: Litestar | str) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http=PatientProtocol,
        loop="auto",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # api/proxies.py reads them, also behind several proxies
        timeout_graceful_shutdown=settings.graceful_seconds,
        limit_concurrency=None,
        backlog=2048,
    )
