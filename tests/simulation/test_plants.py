"""The simulator sees what it is there to see: each planted bug is caught, and the same days without it are clean."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.embedded.postgres import EmbeddedPostgres
from server.migrate import migrate
from tests import servers
from tests.simulator.installation import Installation
from tests.simulator.plants import PLANTS
from tests.simulator.scenarios import SCENARIOS
from tests.simulator.simulation import Plan, Report, Simulation

SEEDS_MAX = 4  # two processes on one machine are never quite the same twice: a race may need another seed
REQUIRED = {"no_head_lock", "answer_before_commit", "cursor_past_a_gap", "dropped_marker", "overlay_forgotten", "merged_by_wall_clock"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedPostgres]:
    """Durable, so that it may be killed; one for all runs of this file, each in a database of its own."""
    cluster = EmbeddedPostgres(servers.run_folder() / "postgres-of-plants")
    cluster.start()
    migrate(cluster.dsn())
    yield cluster
    cluster.stop()


async def simulated(plan: Plan, cluster: EmbeddedPostgres, folder: Path) -> Report:
    name = f"{plan.plant or 'clean'}_{plan.seed}"
    installation = Installation(cluster, "xunling", name, folder / name, s3=None, plant=plan.plant)
    return await Simulation(plan, installation).run()


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_without_a_plant_the_day_is_clean(scenario: str, cluster: EmbeddedPostgres, tmp_path: Path) -> None:
    report = await simulated(SCENARIOS[scenario], cluster, tmp_path)
    assert report.violations == [], "\n".join(map(str, [*report.violations, *report.story, *report.trace[-80:]]))
    assert report.typed > 50


@pytest.mark.parametrize("name", PLANTS)
async def test_a_planted_bug_is_caught(name: str, cluster: EmbeddedPostgres, tmp_path: Path) -> None:
    plant, plan = PLANTS[name], SCENARIOS[PLANTS[name].scenario]
    seen: set[int] = set()
    for k in range(SEEDS_MAX):
        report = await simulated(replace(plan, plant=name, seed=plan.seed + 100 * k), cluster, tmp_path)
        seen = {violation.promise for violation in report.violations}
        if seen:
            break
    assert seen & set(plant.breaks), f"{plant.what}: {seen or 'nothing'} was seen broken in {SEEDS_MAX} days"


def test_every_required_bug_is_planted_and_as_many_of_our_own() -> None:
    assert PLANTS.keys() >= REQUIRED
    assert len(PLANTS.keys() - REQUIRED) >= len(REQUIRED)
