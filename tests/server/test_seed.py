"""What an installation starts with, on a real database."""

import asyncio
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher
from uuid_utils.compat import uuid7

from contracts.people import Duty, Level, Role
from server.app import create_app
from server.demo_staff import ROSTER, demo_staff
from server.first_admin import create_admin, reset_second_factor
from server.places import Area, Zone, area_units, department_units, read_areas, read_zones
from server.seed import seed
from server.settings import Settings
from server.trouble import StartError
from storage.credentials import update_password
from storage.people import insert_duty, insert_person
from storage.units import load_units
from sync.places import Places

pytestmark = pytest.mark.anyio


async def enrol(settings: Settings, phone: str, password: str, **more: str) -> httpx.Response:
    app = create_app(settings)
    async with app.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:  # type: ignore[arg-type]
        body = {"phone": phone, "password": password, "device": {"id": str(uuid7())}, **more}
        return await client.post("/auth/v1/enrol", json=body)


def test_the_shipped_places_are_whole() -> None:
    units = area_units(read_areas(), read_zones())
    counts = {level: sum(u.level is level for u in units) for level in Level}
    assert (counts[Level.CITY], counts[Level.COUNTY], counts[Level.ZONE]) == (2, 11, 3)
    assert (counts[Level.TOWNSHIP], counts[Level.VILLAGE]) == (154, 2111)
    places = Places([*units, *department_units(units)])
    assert len(places.units) == len(units) + len(list(department_units(units))), "no code twice"
    for unit in places.units.values():
        top = places.units[str(unit.county)]
        assert top.county == unit.county
        assert unit.parent is None or unit.parent in places.units
        assert unit.code == top.code or places.covers(top.code, unit.code), f"{unit.code} lies in its own partition"


def test_a_zone_takes_its_township_with_all_villages() -> None:
    places = Places(area_units(read_areas(), read_zones()))
    assert places.line("610902107001") == ("610902107001", "610902107", "610992", "610900")
    assert {places.units[code].county for code in places.below("610902107")} == {610992}
    assert not places.covers("610902", "610902107001"), "the district no longer answers for it"
    assert places.units["610902101"].county == 610902


def test_a_zone_may_take_a_single_village() -> None:
    areas = [a for a in read_areas() if a.code[:9] in ("61", "6109", "610902", "610902100") or a.code.startswith("610902100")]
    zone = Zone(code=610991, name="高新区", city="610900", takes=("610902100001",))
    places = Places(area_units(areas, [zone]))
    assert places.line("610902100001") == ("610902100001", "610991", "610900")
    assert places.units["610902100002"].county == 610902


@pytest.mark.parametrize("area", [
    Area("61090210", Level.TOWNSHIP, "short", "610902"),
    Area("61090210A", Level.TOWNSHIP, "letter", "610902"),
    Area("610921100", Level.TOWNSHIP, "elsewhere", "610902"),
])  # fmt: skip
def test_a_code_that_does_not_fit_is_refused_by_name(tmp_path: Path, area: Area) -> None:
    file = tmp_path / "areas.csv"
    file.write_text(
        f"code,level,name,parent\n61,province,陕西省,\n6109,city,安康市,61\n610902,county,汉滨区,6109\n{','.join(map(str, (area.code, area.level.value, area.name, area.parent)))}\n"
    )
    with pytest.raises(ValueError, match=area.code):
        read_areas(file)


def test_a_zone_that_takes_an_unknown_township_is_refused() -> None:
    with pytest.raises(ValueError, match="610902999"):
        area_units(read_areas(), [Zone(code=610991, name="x", city="610900", takes=("610902999",))])


async def test_seeding_is_idempotent_and_names_given_by_hand_stay(settings: Settings, pool: asyncpg.Pool) -> None:
    async def everything() -> list[list[asyncpg.Record]]:
        return [
            await pool.fetch(f"SELECT * FROM {t} ORDER BY 1, 2")
            for t in ("unit", "county", "record", "stream_head", "person", "duty", "unit_version")
        ]

    await asyncio.to_thread(seed, settings)
    await pool.execute("INSERT INTO unit VALUES ('610902101001-g1', 610902, '610902101001', 'grid', '第一网格', NULL)")
    before = await everything()
    await asyncio.to_thread(seed, settings)
    assert await everything() == before
    assert len(await load_units(pool)) > 2700
    published = await pool.fetchval("SELECT count(DISTINCT county) FROM record WHERE kind = 'checklist'")
    assert published == await pool.fetchval("SELECT count(*) FROM county"), "every partition has its checklists"


async def test_demo_staff_exist_only_in_demo_mode(settings: Settings, pool: asyncpg.Pool, capsys: pytest.CaptureFixture[str]) -> None:
    await asyncio.to_thread(seed, settings)
    assert await pool.fetchval("SELECT count(*) FROM person WHERE phone LIKE '138000000%'") == 0

    demo = settings.model_copy(update={"demo": True})
    await asyncio.to_thread(seed, demo)
    staff = demo_staff(settings.data_dir / "secrets")
    shown = capsys.readouterr().out
    assert all(one.phone in shown and one.password in shown for one in staff)
    for one in staff:
        assert (await enrol(demo, one.phone, one.password)).status_code == 200, one

    capsys.readouterr()
    await asyncio.to_thread(seed, settings)  # the same data, started in earnest
    assert re.fullmatch(r"演示已关闭：停用账号 14 个、结束职责 0 项、停用设备 14 台.*\n", capsys.readouterr().out)
    await asyncio.to_thread(seed, settings)
    assert capsys.readouterr().out == "", "said once"
    refused = await enrol(settings, staff[0].phone, staff[0].password)
    assert refused.status_code == 403
    assert refused.json()["code"] == "account_disabled"

    await asyncio.to_thread(seed, demo)
    assert (await enrol(demo, staff[0].phone, staff[0].password)).status_code == 200


async def test_what_the_demo_staff_made_ends_with_them(settings: Settings, pool: asyncpg.Pool) -> None:
    await asyncio.to_thread(seed, settings.model_copy(update={"demo": True}))
    admin = demo_staff(settings.data_dir / "secrets")[12]
    made, given, real = uuid7(), uuid7(), uuid7()
    since = datetime(2026, 6, 1, tzinfo=UTC)
    async with pool.acquire() as conn:
        await insert_person(conn, made, "演示所建", "13911110001", "x", since, by=admin.id)
        for person, phone in ((given, "13911110002"), (real, "13911110003")):
            await insert_person(conn, person, "真人", phone, "x", since)
            await insert_duty(conn, uuid7(), Duty(person=person, role=Role.GRID_MEMBER, unit="610902101001", starts=since))
        await insert_duty(conn, uuid7(), Duty(person=real, role=Role.AUDITOR, unit="610902", starts=since), by=admin.id)
        await update_password(conn, given, "y", by=admin.id)
        await conn.execute("INSERT INTO device (id, person, kind) VALUES ($1, $1, 'console')", made)
        tokens = "INSERT INTO token (hash, device, family, purpose, issued_at, expires_at) VALUES ('x', $1, $1, 'access', now(), now())"
        await conn.execute(tokens, made)
    await asyncio.to_thread(seed, settings)
    shut = {row["id"] for row in await pool.fetch("SELECT id FROM person WHERE disabled_at IS NOT NULL")}
    assert {made, given, admin.id} <= shut
    assert real not in shut
    open_duties = await pool.fetch("SELECT role FROM duty WHERE person = $1 AND ends IS NULL", real)
    assert [row["role"] for row in open_duties] == ["grid_member"], "what a demo account granted has ended"
    assert await pool.fetchval("SELECT revoked_at FROM device WHERE id = $1", made) is not None
    assert await pool.fetchval("SELECT count(*) FROM token") == 0


async def test_a_demo_password_that_somebody_changed_outlives_a_restart(
    settings: Settings, pool: asyncpg.Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = settings.model_copy(update={"demo": True})
    await asyncio.to_thread(seed, demo)
    one = demo_staff(settings.data_dir / "secrets")[0]
    await pool.execute(
        "UPDATE person SET password_hash = $2 WHERE id = $1",
        one.id,
        PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("my own password"),
    )
    capsys.readouterr()
    await asyncio.to_thread(seed, demo)
    assert (await enrol(demo, one.phone, "my own password")).status_code == 200
    assert one.password not in capsys.readouterr().out, "what no longer opens is not shown"
    (settings.data_dir / "secrets" / "demo_staff.json").unlink()  # a new data folder beside an old database
    await asyncio.to_thread(seed, demo)
    anew = demo_staff(settings.data_dir / "secrets")[0]
    assert (await enrol(demo, anew.phone, anew.password)).status_code == 200


def test_no_county_has_a_court_that_only_a_city_has() -> None:
    courts = [unit.name for unit in department_units(area_units(read_areas(), read_zones())) if "中级" in unit.name]
    assert courts == ["安康市中级人民法院"]


async def test_demo_passwords_are_this_installations_own_and_closed_to_others(tmp_path: Path) -> None:
    here, there = demo_staff(tmp_path / "a"), demo_staff(tmp_path / "b")
    assert len(here) == len(ROSTER)
    assert all(a.password != b.password for a, b in zip(here, there, strict=True))
    assert [one.password for one in here] == [one.password for one in demo_staff(tmp_path / "a")], "made once"
    assert stat.S_IMODE((tmp_path / "a" / "demo_staff.json").stat().st_mode) == 0o600


async def test_the_first_admin_is_made_on_the_command_line(settings: Settings, pool: asyncpg.Pool) -> None:
    await asyncio.to_thread(seed, settings)
    password = await asyncio.to_thread(create_admin, settings, "13911112222", "何静", "610902")
    assert (await enrol(settings, "13911112222", password)).json()["code"] == "password_change_required"
    assert (await enrol(settings, "13911112222", password, new_password="河边第三棵大柳树")).status_code == 200
    assert await asyncio.to_thread(create_admin, settings, "13911112222", "何静", "610921") == ""
    duties = await pool.fetch("SELECT d.unit FROM duty d JOIN person p ON p.id = d.person WHERE p.phone = '13911112222' ORDER BY 1")
    assert [row["unit"] for row in duties] == ["610902", "610921"]
    actions = await pool.fetch("SELECT action, source FROM audit_log ORDER BY id")
    assert [(r["action"], r["source"]) for r in actions if r["source"] == "command line"] == [
        ("person_created", "command line"),
        ("duty_granted", "command line"),
        ("duty_granted", "command line"),
    ]


async def test_a_second_factor_is_reset_on_the_command_line(settings: Settings, pool: asyncpg.Pool) -> None:
    await asyncio.to_thread(seed, settings)
    await asyncio.to_thread(create_admin, settings, "13911112222", "何静", "610902")
    with pytest.raises(StartError):
        await asyncio.to_thread(reset_second_factor, settings, "13911112222")
    await pool.execute(
        "INSERT INTO second_factor (person, secret, confirmed_at) SELECT id, 'x', now() FROM person WHERE phone = '13911112222'"
    )
    await asyncio.to_thread(reset_second_factor, settings, "13911112222")
    assert await pool.fetchval("SELECT count(*) FROM second_factor") == 0
    assert await pool.fetchval("SELECT source FROM audit_log WHERE action = 'second_factor_reset'") == "command line"


@pytest.mark.parametrize(("phone", "unit"), [("12345", "610902"), ("13911112222", "999999")])
async def test_a_wrong_number_or_unit_is_said_clearly(settings: Settings, phone: str, unit: str) -> None:
    with pytest.raises(StartError):
        await asyncio.to_thread(create_admin, settings, phone, "何静", unit)
