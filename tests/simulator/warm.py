"""What each forked process would otherwise load for itself, half a second of it: imported by the fork server, before any fork.

Nothing here opens a connection or starts a thread; what stays are modules and parsed data.
"""

import importlib

from server.app import create_app
from server.settings import Settings
from storage.objects import S3Access, make_client
from storage.rules import public_holidays

NOWHERE = "http://127.0.0.1:9"

for late in ("anyio._backends._asyncio", "uvicorn.lifespan.on", "uvicorn.loops.uvloop", "uvicorn.protocols.http.httptools_impl"):
    importlib.import_module(late)
public_holidays()
create_app(Settings())  # pyright: ignore[reportCallIssue] - settings come from the environment
make_client(S3Access(endpoint=NOWHERE, bucket="warm", access_key="warm", secret_key="warm"), NOWHERE)
