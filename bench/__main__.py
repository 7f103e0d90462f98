"""`python -m bench` (or `make bench`): measure Xunling beside the bare PostgreSQL limit on this machine, without any peers.

    python -m bench              three repeats, 2 million records, a thousand phones: about five minutes
    python -m bench --quick      a smaller look, about a minute
    python -m bench --workers 2  with two server processes

What the numbers mean, and what was reached when: docs/performance.md.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from bench import inside
from bench.homecoming import come_home
from bench.ours import Bare, Ours
from bench.report import text
from bench.runs import FULL, QUICK, Size, machine, measure, seed


def run(size: Size, folder: Path, *, workers: int, patience_s: float) -> str:
    """The whole benchmark in a folder of its own; returns the report."""
    ours, bare = Ours(workers=workers), Bare()
    here = machine(folder)
    started = []
    try:
        for system in (ours, bare):
            place = folder / system.name
            place.mkdir()
            started.append(system)
            system.start(place)
        seed(ours, bare, size)
        results = measure(ours, bare, size, patience_s)
        home = come_home(ours.installation, size.phones)
        ours.installation.stop_server()
        steps = inside.measure(ours.installation, size.inside)
    finally:
        for system in reversed(started):
            system.stop()
    return text(here, results, home, steps, workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=int, default=2, help="server processes")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to spend in all on waiting for a quiet machine")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="xunling-bench-"))
    try:
        print(run(QUICK if args.quick else FULL, folder, workers=args.workers, patience_s=args.patience))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
