"""The server and the worker as the demo runs them: the product's own, but that they live in the story's time.

`python -m demo.processes serve|work|follow TIME_FILE`; everything else comes from the environment, as in production. Each ends when its
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
from server.settings import Settings, load_settings

HEARTBEAT = timedelta(seconds=3)  # a job whose worker lost its database is taken up again after this; 30 s in production
LOOK_S = 0.1


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
        asyncio.run(_work(settings, story, follows=what == "follow"))


async def _work(settings: Settings, story: StoryTime, *, follows: bool) -> None:
    from server.worker import run_worker

    striking = asyncio.create_task(_strike(settings, story)) if follows else None
    await run_worker(settings, now=story.now, heartbeat=HEARTBEAT)
    if striking is not None:
        striking.cancel()


async def _strike(settings: Settings, story: StoryTime) -> None:
    """The product's casework timers, at the story's moments: its cron table counts minutes of a clock that the story outruns."""
    from server.jobs import run_casework_timers
    from server.work import open_work

    async with open_work(settings, story.now) as work:
        done = 0
        while True:
            if (now := story.ms) != done:
                await run_casework_timers(work)
                done = now
            await asyncio.sleep(LOOK_S)


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):  # unbuffered: nothing may hold a lock when the process ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
