"""Serving HTTP: in this process for `run`, in several for `serve`."""

import socket

import uvicorn
from litestar import Litestar

from server.app import create_app
from server.logs import configure_logs
from server.settings import Settings, load_settings
from server.trouble import StartError


def application() -> Litestar:
    """What each of several server processes runs; they share nothing but the environment."""
    settings = load_settings()
    configure_logs(settings.log)
    return create_app(settings)


def serve(settings: Settings) -> None:
    """Serve until a signal; requests under way may finish."""
    if settings.workers == 1:
        server = uvicorn.Server(configuration(settings, create_app(settings)))
        server.run()
        refuse_silent_end(server)
        return
    config = configuration(settings, "server.serving:application")
    listener = config.bind_socket()
    uvicorn.supervisors.Multiprocess(config, target=uvicorn.Server(config).run, sockets=[listener]).run()


def serve_on(listener: socket.socket, settings: Settings) -> None:
    """Serve in this process, on a socket that is bound already."""
    server = uvicorn.Server(configuration(settings, create_app(settings)))
    server.run(sockets=[listener])
    refuse_silent_end(server)


def refuse_silent_end(server: uvicorn.Server) -> None:
    """uvicorn logs a failed start and returns as if all were well."""
    if not server.started:
        raise StartError("服务启动失败，原因见上文日志。", "The server did not start; the log above says why.")


def configuration(settings: Settings, app: Litestar | str) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http="httptools",
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
