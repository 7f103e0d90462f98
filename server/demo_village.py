"""A day of work in the demo township, so that the first call shows something: sites, visits, problems, a whistle, a conflict, photos.

Played by the reference phone against the app itself, in this process, at yesterday's hours: nothing is written past the door that phones
use. It happens once; a township in which anything stands already is left alone.
"""

from __future__ import annotations

import asyncio
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, LiteralString, NamedTuple, cast

import httpx
import structlog
from PIL import Image, ImageDraw

from contracts.ids import RecordId, projection_id
from contracts.kind import Position
from phone.clock import SimulatedClock
from phone.exchange import Ended
from phone.phone import Phone
from phone.wire import OfflineError, RefusedError
from server.app import create_app
from server.demo_staff import DemoPerson, demo_staff
from server.settings import Settings
from storage.pool import open_pool
from sync.rules import CHINA

COUNTY: Final = 610902
ENVIRONMENT, HOUSING = "610902-env_bureau", "610902-housing_bureau"
BEGINS: Final = timedelta(hours=8)  # in China
SQL_IS_INHABITED: Final[LiteralString] = (
    "SELECT EXISTS (SELECT FROM record WHERE county = $1 AND kind = 'site' AND stream LIKE '610902101%')"
)

log = structlog.get_logger("xunling.demo")


class Spot(NamedTuple):
    """An invented site. `subject`: also the slug of its checklist."""

    name: str
    unit: str
    subject: str
    address: str
    at: Position


def place(lat: float, lng: float) -> Position:
    return Position(lat=lat, lng=lng, accuracy_m=6.0)


SPOTS: Final = {
    "quarter": Spot("张滩社区安置房三期工地", "610902101001", "construction_dust", "沿江路东段", place(32.6712, 109.1385)),
    "outfall": Spot("黄洋河左岸 2 号排口", "610902101001", "river_outfall", "黄洋河桥下游 200 米", place(32.6698, 109.1422)),
    "mixer": Spot("余湾商砼搅拌站", "610902101002", "construction_dust", "余湾路口", place(32.6655, 109.1301)),
    "field": Spot("后堰村河坝玉米地", "610902101202", "open_burning", "后堰村二组", place(32.6521, 109.1587)),
    "inn": Spot("王湾人家农家乐", "610902101203", "farmhouse_inn", "王湾村一组", place(32.6433, 109.1644)),
}


class Story:
    """Time, the door, and people with phones."""

    def __init__(self, begins: datetime, client: httpx.AsyncClient, folder: Path, staff: Mapping[str, DemoPerson]) -> None:
        self.at = begins
        self.client = client
        self.folder = folder
        self.staff = staff
        self.phones: dict[str, Phone] = {}
        self.sites: dict[str, RecordId] = {}

    def now(self) -> datetime:
        return self.at

    def later(self, minutes: int) -> None:
        self.at += timedelta(minutes=minutes)

    async def enrol(self, name: str) -> Phone:
        one = self.staff[name]
        clock = SimulatedClock(lambda: int(self.at.timestamp() * 1000))
        phone = self.phones[name] = Phone(self.folder / f"{one.phone}.sqlite", self.client, clock=clock, durable=False)
        await phone.enrol(one.phone, one.password, "演示手机")
        await self.sync(phone)
        return phone

    async def sync(self, *phones: Phone) -> None:
        """A refusal is a broken story: it raises."""
        for phone in phones:
            synced = await phone.sync()
            if synced.ended is not Ended.COMPLETE or phone.refused():
                raise RuntimeError(f"the demo day does not go on: {synced} {phone.refused()[-1:]}")
            await phone.upload_photos()

    def visit(self, phone: Phone, key: str, answers: Mapping[str, tuple[str, str]], note: str = "") -> RecordId:
        """An inspection with its answers, not submitted yet."""
        spot = SPOTS[key]
        body = {
            "unit": spot.unit,
            "subject": spot.subject,
            "checklist": {"slug": spot.subject, "jurisdiction": "ankang", "version": 1},
            "site": str(self.sites[key]),
            "position": spot.at,
            "answers": {item: {"value": value, "note": said} if said else {"value": value} for item, (value, said) in answers.items()},
            "note": note,
        }
        return phone.create("inspection", COUNTY, body)

    def photo(self, phone: Phone, parent: RecordId, key: str, caption: str, item: str | None = None, purpose: str = "evidence") -> RecordId:
        content = drawn(caption)
        return phone.add_photo(parent, content, item=item, purpose=purpose, position=SPOTS[key].at, caption=caption)


def drawn(caption: str) -> bytes:
    """A picture that no camera took: hills, and a stripe whose colour is the caption's."""
    image = Image.new("RGB", (960, 720), (188, 205, 214))
    draw = ImageDraw.Draw(image)
    for layer, green in enumerate((150, 122, 96)):
        ridge = [(x * 160, 250 + layer * 110 - 60 * ((x * 7 + layer * 3 + len(caption)) % 3)) for x in range(7)]
        draw.polygon([(0, 720), *ridge, (960, 720)], fill=(green // 2, green, green // 2))
    draw.rectangle((0, 600, 960, 640), fill=tuple(64 + byte % 160 for byte in caption.encode()[-3:]))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=82)
    return out.getvalue()


async def sites_are_entered(story: Story) -> None:
    clerk = await story.enrol("孙丽")
    for key, spot in SPOTS.items():
        body = {"name": spot.name, "unit": spot.unit, "subjects": [spot.subject], "address": spot.address, "position": spot.at}
        story.sites[key] = clerk.create("site", COUNTY, body)
    await story.sync(clerk)
    for name in ("李秀英", "陈大山", "赵国庆", "刘桂花", "吴永强"):
        await story.enrol(name)


async def people_go_round(story: Story) -> None:
    """Visits, with what is wrong; a problem that somebody saw on the way."""
    story.later(70)
    li, chen, zhao, liu = (story.phones[name] for name in ("李秀英", "陈大山", "赵国庆", "刘桂花"))
    dusty = story.visit(li, "quarter", {"sprinkling": ("yes", ""), "covering": ("no", "东侧裸土约 40 方未覆盖"), "washing": ("yes", "")})
    story.photo(li, dusty, "quarter", "东侧裸土", item="covering")
    li.command(dusty, "inspection.submit", shows={"state": "submitted"})
    story.later(25)
    fine = story.visit(chen, "mixer", {"sprinkling": ("yes", ""), "covering": ("yes", ""), "washing": ("yes", "")}, "料仓已封闭，喷淋正常")
    chen.command(fine, "inspection.submit", shows={"state": "submitted"})
    story.later(20)
    greasy = story.visit(liu, "inn", {"discharge_clean": ("no", "厨房废水直排门前水沟")})
    story.photo(liu, greasy, "inn", "厨房废水直排", item="discharge_clean")
    liu.command(greasy, "inspection.submit", shows={"state": "submitted"})
    story.later(15)
    body = {"unit": SPOTS["field"].unit, "title": "河坝有人焚烧秸秆", "subject": "open_burning", "position": SPOTS["field"].at}
    smoke = zhao.create("problem", COUNTY, {**body, "site": str(story.sites["field"]), "description": "约半亩，已劝止，余火已扑灭"})
    story.photo(zhao, smoke, "field", "河坝余烟")
    zhao.command(smoke, "problem.report", shows={"state": "reported"})
    await story.sync(li, chen, zhao, liu)


async def two_write_one_field(story: Story) -> None:
    """Neither heard of the other: a conflict for the desk."""
    li, clerk, site = story.phones["李秀英"], story.phones["孙丽"], story.sites["quarter"]
    await story.sync(clerk, li)
    li.edit(site, {"contact": "项目经理许师傅"})
    clerk.edit(site, {"contact": "安全员孟工"})
    story.later(10)
    await story.sync(clerk, li)


async def the_township_acts(story: Story) -> None:
    """A problem is assigned with a deadline; a department is called by whistle and signs."""
    story.later(120)
    lead, li = story.phones["吴永强"], story.phones["李秀英"]
    await story.sync(lead)
    [dusty] = [one for one in lead.records("problem") if one.body.get("item") == "covering"]
    lead.command(dusty.id, "problem.verify", shows={"state": "verified"})
    due_on = (story.now().astimezone(CHINA) + timedelta(days=5)).date().isoformat()
    lead.command(dusty.id, "problem.assign", {"due_on": due_on, "leads": [HOUSING]}, shows={"state": "assigned"})
    body = {
        "unit": SPOTS["outfall"].unit,
        "title": "黄洋河 2 号排口来源不明",
        "text": "晴天有水流出，村里查不清管线",
        "position": SPOTS["outfall"].at,
    }
    whistle = li.create("whistle", COUNTY, body)
    await story.sync(li, lead)
    lead.command(whistle, "whistle.blow", {"called": [ENVIRONMENT]}, shows={"state": "blown"})
    await story.sync(lead)
    story.later(40)
    clerk_of_environment, head_of_housing = await story.enrol("郑敏"), await story.enrol("冯涛")
    clerk_of_environment.command(projection_id(whistle, ENVIRONMENT), "summons.sign", shows={"state": "signed"})
    head_of_housing.command(projection_id(dusty.id, HOUSING), "problem.start", shows={"state": "rectifying"})
    await story.sync(clerk_of_environment, head_of_housing, lead, li)


SCENES: Final = (sites_are_entered, people_go_round, two_write_one_field, the_township_acts)


def settle(settings: Settings) -> None:
    """Play the day, once. What keeps it from being played is logged: a demo without it is still a demo."""
    try:
        with quiet():
            asyncio.run(_settle(settings))
    except (OfflineError, RefusedError, RuntimeError) as error:
        log.warning("demo_day_not_played", why=str(error))


async def _settle(settings: Settings) -> None:
    async with await open_pool(settings.pg.full_dsn(), size_min=0, size_max=1) as pool:
        if await pool.fetchval(SQL_IS_INHABITED, COUNTY):
            return
    yesterday = datetime.now(CHINA).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    staff = {one.name: one for one in demo_staff(settings.data_dir / "secrets")}
    with tempfile.TemporaryDirectory(prefix="xunling-demo-day-") as folder:
        story = Story((yesterday + BEGINS).astimezone(UTC), cast(Any, None), Path(folder), staff)
        app = create_app(settings, now=story.now)
        transport = httpx.ASGITransport(app=cast(Any, app))
        async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://demo", timeout=30) as client:
            story.client = client
            try:
                for scene in SCENES:
                    await scene(story)
            finally:
                for phone in story.phones.values():
                    phone.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Requests of the day are not logged one by one."""
    http = logging.getLogger("xunling.http")
    before = http.level
    http.setLevel(logging.WARNING)
    try:
        yield
    finally:
        http.setLevel(before)
