"""What a new installation starts with: places, published checklists, and in demo mode a small staff."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from contracts.ids import County
from server.demo_staff import DemoPerson, demo_staff, disable_demo, say_ended, seed_demo
from server.places import JURISDICTIONS, seed_places
from server.settings import Settings
from storage.checklists import publish_checklists
from storage.ledger import rebuild_missing
from storage.pool import Pool, open_pool
from storage.reference import reference_of
from storage.units import load_units
from sync.places import Places

CITY_DIGITS = 4  # of a county's code
CHANGED = "（已自行修改 changed）"


def seed(settings: Settings) -> None:
    """Load what is missing. With `demo`, print who the demo staff are; without it, their accounts are shut."""
    staff, changed = asyncio.run(_seed(settings))
    if staff:
        print(_shown(staff, changed), flush=True)


async def _seed(settings: Settings) -> tuple[list[DemoPerson], set[str]]:
    now = datetime.now(UTC)
    async with await open_pool(settings.pg.full_dsn(), size_min=0, size_max=2) as pool:
        async with pool.acquire() as conn:
            await seed_places(conn)
        await _publish(pool, now)
        await rebuild_missing(pool)
        if not settings.demo:
            say_ended(await disable_demo(pool, now))
            return [], set()
        staff = demo_staff(settings.data_dir / "secrets")
        return staff, await seed_demo(pool, staff, now)


async def _publish(pool: Pool, now: datetime) -> None:
    """Every partition gets the checklists of its jurisdiction."""
    reference = reference_of(Places((await load_units(pool)).values()))
    counties: set[County] = {unit.county for unit in reference.places.units.values()}
    for county in sorted(counties):
        if jurisdiction := JURISDICTIONS.get(str(county)[:CITY_DIGITS]):
            await publish_checklists(pool, reference, county, jurisdiction, now)


def _shown(staff: list[DemoPerson], changed: set[str]) -> str:
    """Whoever has chosen another password knows it; it is kept as a hash."""
    lines = ["", "演示账号 Demo accounts（仅演示模式可用 only in demo mode）", "手机号 phone   密码 password    姓名与职责 who"]
    lines += [
        f"{one.phone}    {CHANGED if one.phone in changed else one.password}    {one.name}  {one.title}（{one.role.value}, {one.unit}）"
        for one in staff
    ]
    return "\n".join(lines)
