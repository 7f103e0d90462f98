"""Published checklists reach phones as records, once."""

from pathlib import Path

from contracts.checklist import load_checklists
from contracts.people import Role
from server.settings import Settings
from storage.checklists import publish_checklists
from storage.reference import reference_of
from storage.units import load_units
from sync.places import Places
from tests.world import COUNTY, VILLAGE_A, open_world


async def test_a_phone_holds_every_checklist_of_its_jurisdiction(settings: Settings, tmp_path: Path) -> None:
    wanted = {c.id for c in load_checklists().values() if c.jurisdiction == "ankang"}
    async with open_world(settings, tmp_path) as world:
        reference = reference_of(Places((await load_units(world.pool)).values()))
        assert await publish_checklists(world.pool, reference, COUNTY, "ankang", world.time) == len(wanted)
        assert await publish_checklists(world.pool, reference, COUNTY, "ankang", world.time) == 0
        phone = await world.phone(await world.person("甲", (Role.GRID_MEMBER, VILLAGE_A)))
        await phone.sync()
        held = {f"{v.body['slug']}.{v.body['jurisdiction']}" for v in phone.records("checklist")}
        assert held == wanted
