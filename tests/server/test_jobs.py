"""Jobs are found under the name and with the payload under which storage asks for them, and do what they are for."""

from pathlib import Path

import msgspec

from contracts.people import Role
from server.jobs import JOBS, Work, archive_records, purge_markers, sweep_transfers
from server.settings import RetentionSettings, Settings
from server.work import open_work, retention_rules
from tests.carrying import OTHER_COUNTY, OTHER_VILLAGE
from tests.photo_builder import jpeg, picture
from tests.world import COUNTY, TOWNSHIP, VILLAGE_A, World, open_world

SITE = {"name": "界河工地", "unit": VILLAGE_A, "subjects": ["construction_dust"]}


async def run_queued(world: World, work: Work, prefix: str) -> list[str]:
    """Run what waits in the queue under a prefix, as the worker would; the names of the jobs."""
    jobs = {job.name: job for job in JOBS}
    rows = await world.pool.fetch("DELETE FROM pgqueuer WHERE entrypoint LIKE $1 RETURNING entrypoint, payload", f"{prefix}%")
    for row in rows:
        job = jobs[row["entrypoint"]]
        await job.run(work, msgspec.json.decode(row["payload"], type=job.payload), 0)
    return [row["entrypoint"] for row in rows]


async def test_a_site_with_its_photo_is_carried_by_jobs(settings: Settings, tmp_path: Path) -> None:
    async with open_world(settings, tmp_path) as world, open_work(settings, lambda: world.time) as work:
        a = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
        lead = await world.phone(await world.person("镇长", (Role.TOWNSHIP_LEAD, TOWNSHIP)))
        site = a.create("site", COUNTY, SITE)
        a.add_photo(site, jpeg(picture(8)))
        await a.sync()
        await a.upload_photos()
        await lead.sync()
        lead.edit(site, {"unit": OTHER_VILLAGE})
        await lead.sync()
        assert await run_queued(world, work, "transfer.") == ["transfer.carry"]
        await sweep_transfers(work)
        assert await run_queued(world, work, "transfer.") == ["transfer.carry_blob"]
        await sweep_transfers(work)
        assert await run_queued(world, work, "transfer.") == []
        assert await world.pool.fetchval("SELECT state FROM blob WHERE county = $1", OTHER_COUNTY) == "received"


async def test_the_nightly_timers_use_the_settings(settings: Settings, tmp_path: Path) -> None:
    """A task that is closed for a day, a marker that is a month old."""
    retention = RetentionSettings(task_days=1, marker_days=30)
    settings = settings.model_copy(update={"retention": retention})
    assert retention_rules(retention).days["task"] == 1
    async with open_world(settings, tmp_path) as world, open_work(settings, lambda: world.time) as work:
        lead = await world.phone(await world.person("镇长", (Role.TOWNSHIP_LEAD, TOWNSHIP)))
        task = lead.create("task", COUNTY, {"title": "查工地", "unit": VILLAGE_A})
        gone = lead.create("site", COUNTY, SITE)
        await lead.sync()
        lead.command(task, "task.finish", {"result": "已查"})
        lead.delete(gone)
        await lead.sync()
        await world.pool.execute("UPDATE record SET changed_at = $1", world.time)
        await world.pool.execute("UPDATE marker SET left_at = $1", world.time)
        world.at(60 * 24 * 2)
        await archive_records(work)
        await purge_markers(work)
        stream = "SELECT stream FROM record WHERE id = $1"
        assert await world.pool.fetchval(stream, task) == f"{VILLAGE_A}.archive"
        assert await world.pool.fetchval("SELECT max(floor) FROM stream_head") == 0
        world.at(60 * 24 * 31)
        await purge_markers(work)
        assert await world.pool.fetchval("SELECT max(floor) FROM stream_head") > 0
        assert await world.pool.fetchval("SELECT count(*) FROM marker WHERE record = $1", gone) == 0
