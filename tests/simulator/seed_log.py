"""The log of seeds (seeds.tsv): which were run, on which version, and how they ended. Committed, so that no seed is taken for new twice."""

import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

LOG = Path(__file__).with_name("seeds.tsv")
FIRST = 20_001  # every seed below was used before this log began
WHOLE = "whole"  # the whole mix: 20 phones, 8 hours
CLEAN = "clean"
# What a run depends on. Documents and other tests may change under a sweep.
JUDGED = ("api", "contracts", "phone", "server", "storage", "sync", "tests/simulator", "tests/photo_builder.py", "requirements-dev.txt")


@dataclass(frozen=True)
class Run:
    """result: `clean`; the promises that were broken, as `broken 3 12`; `died` or `no end` where the simulator did not finish."""

    seed: int
    scenario: str
    version: str
    result: str
    seconds: int

    @property
    def is_clean(self) -> bool:
        return self.result == CLEAN

    def line(self) -> str:
        return "\t".join(map(str, astuple(self)))


HEADER = "\t".join(field.name for field in fields(Run))


def read_runs(log: Path = LOG) -> list[Run]:
    header, *lines = log.read_text().splitlines()
    assert header == HEADER, f"{log} has other columns"
    return [Run(int(seed), scenario, version, result, int(seconds)) for seed, scenario, version, result, seconds in map(_cells, lines)]


def _cells(line: str) -> list[str]:
    return line.split("\t")


def append_run(run: Run, log: Path = LOG) -> None:
    with log.open("a") as file:
        file.write(run.line() + "\n")


def fresh_seeds(runs: Iterable[Run]) -> Iterator[int]:
    """Seeds that no logged run has used, of any scenario and version."""
    seed = max((run.seed for run in runs), default=FIRST - 1)
    while True:
        seed += 1
        yield seed


def left_to_do(runs: Iterable[Run], version: str, goals: dict[str, int]) -> dict[str, int]:
    """Scenario -> runs still missing at this version. A broken run counts: the version is not clean, and more seeds do not make it so."""
    done = [run.scenario for run in runs if run.version == version]
    left = {scenario: goal - done.count(scenario) for scenario, goal in goals.items()}
    return {scenario: count for scenario, count in left.items() if count > 0}


class UncommittedError(Exception):
    """A log that names a version needs one."""


def version_of(root: Path) -> str:
    """The last commit that changed what a run depends on. UncommittedError where that is not committed."""
    judged = [*JUDGED, f":!{LOG.relative_to(LOG.parents[2])}"]
    changed = _git(root, "status", "--porcelain", "--", *judged)
    if changed:
        raise UncommittedError(changed)
    return _git(root, "log", "-1", "--format=%h", "--abbrev=12", "--", *judged)


def check_out(root: Path, into: Path) -> None:
    """The committed files: what is edited meanwhile does not reach the runs."""
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=root, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(into)], input=archive.stdout, check=True)


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
