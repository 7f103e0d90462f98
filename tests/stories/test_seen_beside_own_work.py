"""Another's value that is on the screen has been seen, also when own unsent work lies on the same record.

Found by the simulator: the chain's root was older than what the person saw, and two edits one after the other became a
conflict.
"""

from pathlib import Path

import httpx

from contracts.people import Role
from phone.exchange import Ended
from phone.faults import Fault, Loss
from server.settings import Settings
from tests.stories.day import Day, body, shared_site, sync
from tests.world import VILLAGE_A, VILLAGE_B, open_world


async def test_a_value_typed_over_another_that_was_on_the_screen_is_no_conflict(settings: Settings, tmp_path: Path) -> None:
    """Promise 8. A hands in half of the own work, gets B's contact, and the road ends; then A types over B's contact."""
    async with open_world(settings, tmp_path) as world:
        day = Day(world)
        answers = iter([])

        def plan(request: httpx.Request) -> Fault:
            return next(answers, Fault()) if request.url.path.endswith("/exchange") else Fault()

        a = await day.phone_with(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)), plan, mutations_max=1)
        b, lead = await day.member("乙"), await day.lead()
        site = shared_site(a)
        await sync(a, b)
        a.edit(site, {"note": "一"})
        a.edit(site, {"address": "二"})
        b.edit(site, {"contact": "张三"})
        await sync(b)
        answers = iter([Fault(), Fault(loss=Loss.REQUEST)])
        assert (await a.sync()).ended is Ended.OFFLINE
        assert (a.unsent(), body(a, site)["contact"]) == (1, "张三")

        a.edit(site, {"contact": "李四"})
        await sync(a, b, lead)

        assert body(b, site)["contact"] == "李四"
        assert lead.conflicts() == []
        assert a.disputed() == []


async def test_a_record_that_left_shows_all_own_work_until_the_last_of_it_is_answered(settings: Settings, tmp_path: Path) -> None:
    """Promise 3. The office gives A's site to the next village. A's first value is taken, the second still unsent, when the road ends:
    the old copy that is shown meanwhile must have both.
    """
    async with open_world(settings, tmp_path) as world:
        day = Day(world)
        answers = iter([])

        def plan(request: httpx.Request) -> Fault:
            return next(answers, Fault()) if request.url.path.endswith("/exchange") else Fault()

        a = await day.phone_with(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)), plan, mutations_max=1)
        b, lead = await day.member("乙", VILLAGE_B), await day.lead()
        site = shared_site(a)
        await sync(a, lead)
        a.edit(site, {"note": "一"})
        a.edit(site, {"address": "二"})
        lead.edit(site, {"unit": VILLAGE_B})
        await sync(lead)
        answers = iter([Fault(), Fault(loss=Loss.REQUEST)])
        assert (await a.sync()).ended is Ended.OFFLINE
        assert a.unsent() == 1
        assert (body(a, site).get("note"), body(a, site).get("address")) == ("一", "二")

        await sync(a, b)
        assert a.view(site) is None
        assert (body(b, site)["note"], body(b, site)["address"]) == ("一", "二")


async def test_what_was_made_here_and_given_away_unseen_stays_until_the_last_of_it_is_answered(settings: Settings, tmp_path: Path) -> None:
    """Promise 3. The same without a copy: the answer with the site itself was lost, and it has left since."""
    async with open_world(settings, tmp_path) as world:
        day = Day(world)
        answers = iter([Fault(loss=Loss.ANSWER)])

        def plan(request: httpx.Request) -> Fault:
            return next(answers, Fault()) if request.url.path.endswith("/exchange") else Fault()

        a = await day.phone_with(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)), plan, mutations_max=1)
        lead = await day.lead()
        site = shared_site(a)
        assert (await a.sync()).ended is Ended.OFFLINE
        await sync(lead)
        lead.edit(site, {"unit": VILLAGE_B})
        await sync(lead)
        a.edit(site, {"note": "一"})
        answers = iter([Fault(), Fault(loss=Loss.REQUEST)])
        assert (await a.sync()).ended is Ended.OFFLINE
        assert (body(a, site)["name"], body(a, site)["note"]) == ("工地一", "一")
        await sync(a, lead)
        assert a.view(site) is None
        assert body(lead, site)["note"] == "一"
