"""The simulator sees what it is there to see: each planted bug is caught, and the same days without it are clean."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from server.embedded.postgres import EmbeddedPostgres
from server.migrate import migrate
from server.settings import S3Settings
from tests import servers
from tests.conftest import S3
from tests.simulator.installation import Installation
from tests.simulator.plants import PLANTS
from tests.simulator.scenarios import SCENARIOS
from tests.simulator.simulation import Plan, Report, Simulation

SEEDS_MAX = 8  # two processes on one machine are never quite the same twice: a race may need another seed
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


@pytest.fixture
def simulated(cluster: EmbeddedPostgres, s3: S3, tmp_path: Path) -> Callable[[str, Plan], Awaitable[Report]]:
    """Run a plan of a scenario to its end."""

    async def simulated(scenario: str, plan: Plan) -> Report:
        name = f"{plan.plant or 'clean'}_{plan.seed}"
        keys = {"access_key": SecretStr(s3.access_key), "secret_key": SecretStr(s3.secret_key)}
        bucket = S3Settings(endpoint=s3.endpoint, bucket=f"simulated-{name}".replace("_", "-"), **keys)
        with_photos = bucket if scenario in ("photos", "casework", "fixes", "timers") else None
        installation = Installation(cluster, "xunling", name, tmp_path / name, s3=with_photos, plant=plan.plant)
        return await Simulation(plan, installation).run()

    return simulated


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_without_a_plant_the_day_is_clean(scenario: str, simulated: Callable[[str, Plan], Awaitable[Report]]) -> None:
    report = await simulated(scenario, SCENARIOS[scenario])
    assert report.violations == [], "\n".join(map(str, [*report.violations, *report.story, *report.trace[-80:]]))
    assert report.typed > 50


@pytest.mark.parametrize("name", PLANTS)
async def test_a_planted_bug_is_caught(name: str, simulated: Callable[[str, Plan], Awaitable[Report]]) -> None:
    plant, plan = PLANTS[name], SCENARIOS[PLANTS[name].scenario]
    seen: set[int] = set()
    for k in range(SEEDS_MAX):
        report = await simulated(plant.scenario, replace(plan, plant=name, seed=plan.seed + 100 * k))
        seen |= {violation.promise for violation in report.violations}
        if seen & set(plant.breaks):
            break
    assert seen & set(plant.breaks), f"{plant.what}: {seen or 'nothing'} was seen broken in {SEEDS_MAX} days"


def test_every_required_bug_is_planted_and_as_many_of_our_own() -> None:
    assert PLANTS.keys() >= REQUIRED
    assert len(PLANTS.keys() - REQUIRED) >= len(REQUIRED)
