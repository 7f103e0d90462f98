"""`make sweep WHOLE=100 EACH=25 JOBS=2`: seeds that nobody has used, of the whole mix and of each scenario; two runs at a time.

What is judged is the committed version, in a copy of its own. Each run is written to tests/simulator/seeds.tsv as it ends; stopped and
started again, a sweep does what is still missing at this version. Status 1 when a promise was broken.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulator.scenarios import SCENARIOS
from tests.simulator.seed_log import (
    LOG,
    WHOLE,
    Run,
    UncommittedError,
    append_run,
    check_out,
    fresh_seeds,
    left_to_do,
    read_runs,
    version_of,
)

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / ".data" / "sweep"  # what runs printed that were not clean
# Runs of one scenario share a cluster and an S3, which take as long to start and stop as a short day takes to live.
BATCH = {WHOLE: 2}
BATCH_OTHERS = 5
SECONDS_MAX = 900.0  # of one run; they take a minute
STOP_SECONDS_MAX = 20.0

Results = list[tuple[str, int]]  # of each run that ended: result, seconds
Runner = Callable[[str, list[int]], Awaitable[Results]]


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped as by Ctrl-C: what is under way is stopped, too
    options = arguments()
    goals = {WHOLE: options.whole, **dict.fromkeys(SCENARIOS, options.each)}
    if options.scenario:
        goals = {options.scenario: goals[options.scenario]}
    try:
        version = version_of(ROOT)
    except UncommittedError as error:
        print(f"a sweep judges a committed version; these are not committed:\n{error}")
        return 2
    with only_sweep(), tempfile.TemporaryDirectory(prefix="xunling-sweep-") as folder:
        check_out(ROOT, Path(folder))
        sweep = Sweep(version, goals, lambda scenario, seeds: run_batch(Path(folder), scenario, seeds))
        asyncio.run(sweep.run(options.jobs))
    return tell(read_runs(), version)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.sweep", description=__doc__)
    parser.add_argument("--whole", type=int, default=100, help="runs of the whole mix at this version")
    parser.add_argument("--each", type=int, default=25, help="runs of each scenario at this version")
    parser.add_argument("--scenario", choices=[WHOLE, *sorted(SCENARIOS)], help="only this one")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    return parser.parse_args()


@contextlib.contextmanager
def only_sweep() -> Iterator[None]:
    """Two sweeps at once would take the same seeds."""
    with LOG.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@dataclass
class Sweep:
    """goals: scenario -> how many runs this version should have."""

    version: str
    goals: dict[str, int]
    runner: Runner
    log: Path = LOG
    _broken: list[Run] = field(default_factory=list)

    async def run(self, jobs: int) -> None:
        runs = read_runs(self.log)
        self._left, self._seeds = left_to_do(runs, self.version, self.goals), fresh_seeds(runs)
        print(f"version {self.version}: to do {self._left or 'nothing'}", flush=True)
        await asyncio.gather(*(self._lane() for _ in range(jobs)))

    async def _lane(self) -> None:
        while (batch := self._next_batch()) is not None:
            scenario, seeds = batch
            while seeds:
                results = await self.runner(scenario, seeds)
                for seed, (result, seconds) in zip(seeds, results, strict=False):
                    self._note(Run(seed, scenario, self.version, result, seconds))
                seeds = seeds[len(results) :]

    def _next_batch(self) -> tuple[str, list[int]] | None:
        """Of what is furthest from its goal: a sweep that is stopped early has tried something of everything."""
        if not self._left:
            return None
        scenario = max(self._left, key=lambda one: self._left[one] / self.goals[one])
        count = min(self._left[scenario], BATCH.get(scenario, BATCH_OTHERS))
        self._left[scenario] -= count
        if not self._left[scenario]:
            del self._left[scenario]
        return scenario, [next(self._seeds) for _ in range(count)]

    def _note(self, run: Run) -> None:
        append_run(run, self.log)
        print(run.line(), flush=True)


async def run_batch(folder: Path, scenario: str, seeds: list[int]) -> Results:
    """Results of the seeds, in order, as far as the process came; at least one: that of the seed at which it died."""
    results = folder / f"results-{seeds[0]}"
    results.touch()
    command = [sys.executable, "-m", "tests.simulator", "--seed", str(seeds[0]), "--runs", str(len(seeds)), "--results", str(results)]
    if scenario != WHOLE:
        command += ["--scenario", scenario]
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.STDOUT}
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, start_new_session=True, **pipes)
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), SECONDS_MAX * len(seeds))
        ended = "died"
    except TimeoutError:
        printed, ended = b"", "no end"
    finally:
        await stop(process)
    found = [(result, int(seconds)) for result, seconds in (line.split("\t") for line in results.read_text().splitlines())]
    if process.returncode != 0:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        (OUTPUT / f"{scenario}-{seeds[0]}.log").write_bytes(printed)
    return found if len(found) == len(seeds) else [*found, (ended, 0)]


async def stop(process: asyncio.subprocess.Process) -> None:
    """It stops its database and S3 itself, which are in sessions of their own; killed, it would leave them behind."""
    with contextlib.suppress(ProcessLookupError, TimeoutError):
        process.terminate()
        await asyncio.wait_for(process.wait(), STOP_SECONDS_MAX)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def tell(runs: list[Run], version: str) -> int:
    """What this version has come to."""
    mine = [run for run in runs if run.version == version]
    clean = Counter(run.scenario for run in mine if run.is_clean)
    for scenario, count in sorted(Counter(run.scenario for run in mine).items()):
        print(f"{scenario:10} {clean[scenario]:4} of {count} clean")
    broken = [run for run in mine if not run.is_clean]
    for run in broken:
        day = "" if run.scenario == WHOLE else f" --scenario {run.scenario}"
        print(f"{run.result}: python -m tests.simulator --seed {run.seed}{day}")
    print(
        f"seeds {min(r.seed for r in mine)} to {max(r.seed for r in mine)}; the log is {LOG.relative_to(ROOT)}"
        if mine
        else "nothing was run"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
