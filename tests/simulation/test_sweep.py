"""The sweep: seeds that nobody used, each logged once, and what is still missing after it was stopped."""

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from tests.simulator.scenarios import SCENARIOS
from tests.simulator.seed_log import FIRST, HEADER, WHOLE, Run, fresh_seeds, left_to_do, read_runs
from tests.simulator.sweep import Results, Sweep

OLD = Run(FIRST + 7, "weather", "abc", "clean", 3)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "seeds.tsv"
    path.write_text(f"{HEADER}\n{OLD.line()}\n")
    return path


class Runner:
    """Every run is clean, but those of the seeds in `bad`: there the process dies."""

    def __init__(self, bad: set[int] = frozenset()) -> None:
        self.bad = bad
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, scenario: str, seeds: list[int]) -> Results:
        self.asked += [(scenario, seed) for seed in seeds]
        results: Results = []
        for seed in seeds:
            results.append(("died", 0) if seed in self.bad else ("clean", 2))
            if seed in self.bad:
                break
        return results


async def test_a_sweep_takes_seeds_that_nobody_used_and_logs_each(log: Path) -> None:
    runner = Runner()
    await Sweep("new", {WHOLE: 3, "weather": 6}, runner, log).run(2)
    runs = [run for run in read_runs(log) if run.version == "new"]
    assert Counter(run.scenario for run in runs) == {WHOLE: 3, "weather": 6}
    assert sorted(run.seed for run in runs) == [FIRST + 8 + k for k in range(9)]


async def test_a_stopped_sweep_does_what_is_missing(log: Path) -> None:
    await Sweep("new", {WHOLE: 1, "weather": 2}, Runner(), log).run(1)
    runner = Runner()
    await Sweep("new", {WHOLE: 1, "weather": 5}, runner, log).run(1)
    assert [scenario for scenario, _ in runner.asked] == ["weather"] * 3
    await Sweep("new", {WHOLE: 1, "weather": 5}, again := Runner(), log).run(1)
    assert again.asked == []
    await Sweep("newer", {WHOLE: 1}, other := Runner(), log).run(1)
    assert len(other.asked) == 1, "another version has done nothing yet"


async def test_a_run_that_died_is_logged_and_the_rest_of_its_batch_goes_on(log: Path) -> None:
    bad = FIRST + 9
    await Sweep("new", {"weather": 5}, Runner({bad}), log).run(1)
    runs = {run.seed: run.result for run in read_runs(log) if run.version == "new"}
    assert runs == {FIRST + 8 + k: "died" if FIRST + 8 + k == bad else "clean" for k in range(5)}


def test_a_broken_run_is_not_made_good_by_another_seed() -> None:
    assert left_to_do([Run(FIRST, "day", "v", "broken 3", 9)], "v", {"day": 2}) == {"day": 1}


def test_the_committed_log_uses_no_seed_twice() -> None:
    runs = read_runs()
    assert max(Counter(run.seed for run in runs).values(), default=1) == 1
    assert {run.scenario for run in runs} <= {WHOLE, *SCENARIOS}
    assert all(run.seed >= FIRST for run in runs)
    used = {run.seed for run in runs}
    assert used.isdisjoint(islice(fresh_seeds(runs), 1000))
