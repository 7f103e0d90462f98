"""The benchmark still measures what it says: a very small run of everything, on real servers, with everything counted."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench  # noqa: F401 - makes the harness importable by its plain names
from bench import inside
from bench.homecoming import PHONES_PER_VILLAGE, come_home
from bench.ours import Bare, Ours
from bench.report import aims, text
from bench.runs import TINY, machine, measure, seed
from tests import servers

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    """In the run's folder: pytest takes the passage of PostgreSQL's user through its own folders away at every start."""
    folder = servers.run_folder() / f"bench-{uuid.uuid4().hex}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_a_small_run_measures_every_phase_and_loses_nothing(folder: Path) -> None:
    ours, bare = Ours(workers=1), Bare()
    for system in (ours, bare):
        (folder / system.name).mkdir()
    try:
        ours.start(folder / ours.name)
        bare.start(folder / bare.name)
        seed(ours, bare, TINY)
        results = measure(ours, bare, TINY, patience_s=0)
        home = come_home(ours.installation, TINY.phones)
        ours.installation.stop_server()
        steps = inside.measure(ours.installation, TINY.inside)
        held = {run: ours.count_pushed(run) for run in ours.places if run.startswith("r")}
    finally:
        bare.stop()
        ours.stop()

    assert {phase for phase, system in results if system == ours.name} == {"push", "pull-small", "pull-large", "bootstrap"}
    assert results["push", ours.name][0]["acked_total"] == held["r0_xunling"] > 0
    assert results["push", ours.name][0]["refused"] == 0

    assert home.lost == 0
    assert home.tally.acknowledged == home.held == 20 * TINY.phones
    shares = home.tally.pulled / TINY.phones  # each has at least its own work back, at most its village's
    assert 20 <= shares <= 20 * PHONES_PER_VILLAGE

    assert sum(cpu for name, (cpu, _) in steps["push"].items() if name) == pytest.approx(steps["push"][""][0])
    assert {"plan", "database: write", "database: commit", "receipt: sign"} <= steps["push"].keys()
    assert {"database: pages", "pack answer"} <= steps["pull"].keys()

    report = text(machine(folder), results, home, steps, workers=1)
    for aim, got, _ in aims(results, home):
        assert aim in report
        assert got in report
