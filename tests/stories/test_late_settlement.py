"""A supervisor settles what was on their screen; what was written meanwhile must not vanish with it.

Found by the simulator: a settlement overwrote the newest value of the field, and no conflict said so.
"""

from pathlib import Path

import pytest

from server.settings import Settings
from tests.stories.day import Day, body, only_conflict, shared_site, sync
from tests.world import open_world


@pytest.mark.parametrize("choice", ["lost", "other"])
async def test_what_was_written_after_the_conflict_arose_is_shown_when_a_settlement_replaces_it(
    choice: str, settings: Settings, tmp_path: Path
) -> None:
    """Promise 3. Parent: 张三 lost to 李四. A writes 王五 upon 李四; the lead, who has not seen that, settles."""
    async with open_world(settings, tmp_path) as world:
        day = Day(world)
        a, b = await day.two()
        lead = await day.lead()
        site = shared_site(a)
        await sync(a, b)
        a.edit(site, {"contact": "张三"})
        b.edit(site, {"contact": "李四"})
        await sync(a, b, a, lead)

        a.edit(site, {"contact": "王五"})
        lead.command(only_conflict(lead).id, "conflict.settle", args={"choice": choice, "value": "赵六"})
        await sync(a, lead, a)

        assert body(a, site)["contact"] == {"lost": "张三", "other": "赵六"}[choice]
        assert only_conflict(lead).body["lost"] == "王五"
        lead.command(only_conflict(lead).id, "conflict.settle", args={"choice": "lost"})
        await sync(lead, a)
        assert body(a, site)["contact"] == "王五"
        assert lead.conflicts() == []
