"""The server as a process that can be killed: the real app under uvicorn, with the simulation's time.

Processes are forked from a fork server that has imported everything once, so a restart costs a tenth of a second and a
simulated day can hold many. What runs in them is `create_app`, as in production; only `now` differs, and a planted bug.
"""

import mmap
import os
import signal
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from server.app import create_app
from server.logs import configure_logs
from server.serving import configuration
from server.settings import Settings
from tests.simulator.plants import plant_in_server
from tests.simulator.poison import poison_the_planner

_MOMENT = struct.Struct("<q")


class SharedTime:
    """One moment (Unix ms) that the simulation sets and every server process reads, through a mapped file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(_MOMENT.pack(0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _MOMENT.size)

    @property
    def ms(self) -> int:
        return int(_MOMENT.unpack_from(self._memory)[0])

    @ms.setter
    def ms(self, moment: int) -> None:
        _MOMENT.pack_into(self._memory, 0, moment)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.ms / 1000, UTC)


def run_server(settings: Settings, time_path: Path, log_path: Path, plant: str | None) -> None:
    """The body of one server process. Never returns before it is told to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the simulation's to handle
    with log_path.open("ab", buffering=0) as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    configure_logs(settings.log)
    poison_the_planner()
    now = SharedTime(time_path).now
    plant_in_server(plant, now)
    app = create_app(settings, now=now)
    uvicorn.Server(configuration(settings, app)).run()
