"""The server and the worker as the demo runs them: the product's own, but that they live in the story's time.

`python -m demo.processes serve|work TIME_FILE PORT`; everything else comes from the environment, as in production. Each ends when its
standard input ends, so that nothing outlives a demo that was killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path

from demo.hours import StoryTime
from server.app import create_app
from server.logs import configure_logs
from server.settings import load_settings

HEARTBEAT = timedelta(seconds=3)  # a job whose worker lost its database is taken up again after this; 30 s in production


def main() -> None:
    what, time_file = sys.argv[1], Path(sys.argv[2])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = load_settings()
    configure_logs(settings.log)
    story = StoryTime(time_file)
    if what == "serve":
        import uvicorn

        from server.serving import configuration

        uvicorn.Server(configuration(settings, create_app(settings, now=story.now))).run()
    else:
        from server.worker import run_worker

        asyncio.run(run_worker(settings, now=story.now, heartbeat=HEARTBEAT))


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):  # unbuffered: nothing may hold a lock when the process ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
