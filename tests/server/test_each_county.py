"""What one county's timer trips over stays in that county (server/jobs.py)."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

import server.jobs
from api.resources import utc_now
from contracts.problems import Problem, ProblemCode
from server.jobs import Work, each_county, run_casework_timers
from server.settings import Settings
from server.work import open_work
from storage.cleaning import fetch_counties


@pytest.fixture
async def work(settings: Settings, pool: asyncpg.Pool) -> AsyncIterator[Work]:
    async with open_work(settings, utc_now) as opened:
        await pool.executemany(
            "INSERT INTO county (county, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", [(1, "甲"), (2, "乙"), (3, "丙")]
        )
        yield opened


async def test_the_other_counties_get_their_letters_though_one_has_a_record_that_breaks_its_timer(work, monkeypatch) -> None:
    served: list[int] = []

    async def trips(_pool: object, _reference: object, county: int, _now: object) -> int:
        if county == 1:
            raise ValueError("a body of another time")
        served.append(county)
        return 1

    monkeypatch.setattr(server.jobs, "run_timers", trips)
    counties = await fetch_counties(work.pool)
    await run_casework_timers(work)
    assert len(counties) >= 3
    assert served == [county for county in counties if county != 1]


async def test_a_fault_that_would_meet_every_county_ends_the_round(work) -> None:
    asked: list[int] = []

    async def gone(county: int) -> None:
        asked.append(county)
        raise Problem(ProblemCode.STORAGE_UNAVAILABLE)

    with pytest.raises(Problem):
        await each_county(work, gone)
    assert len(asked) == 1
