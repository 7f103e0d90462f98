"""To know a SHA-256 is no right, and no power: what one sender announces or sends neither opens nor harms another's photo."""

import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
from litestar import Litestar

from contracts.people import Role
from contracts.photos import CHUNK_BYTES
from server.jobs import Work
from server.settings import LimitSettings, Settings
from server.work import open_work
from storage.objects import Objects
from tests.api.office import TOWNSHIP, VILLAGE, World
from tests.api.photo_story import COUNTY, PhotoPhone
from tests.api.photo_work import body_of, work_off
from tests.photo_builder import jpeg, noise, picture, sha256_of

SMALL = jpeg(picture(1))
LARGE = jpeg(noise(1, 800, 600), quality=95)
PHOTO_BYTES_MAX = 2 * 1024 * 1024
DAY_BYTES_MAX = 64 * 1024 * 1024
RENDERINGS = ("original", "stamped", "thumb_320", "thumb_1280")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    limits = LimitSettings(photo_bytes_max=PHOTO_BYTES_MAX, photo_day_bytes_max=DAY_BYTES_MAX)
    return settings.model_copy(update={"limits": limits})


@pytest.fixture
async def objects(app: Litestar) -> Objects:
    objects: Objects = app.state.resources.objects
    await objects.delete([each.key for each in await objects.list_under(f"{COUNTY}/")])
    return objects


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
async def victim(world: World, objects: Objects, http: httpx.AsyncClient) -> PhotoPhone:
    return PhotoPhone(world, await world.person((Role.GRID_MEMBER, VILLAGE)), http)


@pytest.fixture
async def attacker(world: World, victim: PhotoPhone, http: httpx.AsyncClient) -> PhotoPhone:
    """Sees every record of the village, and thus every SHA-256."""
    return PhotoPhone(world, await world.person((Role.GRID_MEMBER, VILLAGE)), http)


@pytest.fixture
async def work(settings: Settings, world: World) -> AsyncIterator[Work]:
    async with open_work(settings, world.clock) as work:
        yield work


async def look(phone: PhotoPhone, data: bytes, rendering: str) -> httpx.Response:
    path = f"/photos/v1/{COUNTY}/{sha256_of(data)}/{rendering}"
    answer = await phone.world.client.get(path, headers=phone.someone.headers)
    return await phone.s3.get(answer.headers["location"]) if answer.status_code == 302 else answer


# One sender's announcement and another's bytes


@pytest.mark.parametrize("size", [PHOTO_BYTES_MAX + 1, 0, 2**53, 5])
async def test_a_false_size_suppresses_nobody_elses_photo(victim, attacker, pool, work, size) -> None:
    site = await victim.site()
    photo = await victim.announce(SMALL, site)
    lie = await attacker.announce(SMALL, site, bytes=size)
    refused = (await attacker.ask(sha256_of(SMALL))).json()
    assert size == 5 or (refused["state"], "receipt" in refused) == ("refused", False)
    await attacker.complete(sha256_of(SMALL))
    await work_off(pool, work)
    done = (await victim.hand_in(SMALL)).json()
    assert (done["state"], done["receipt"]["bytes"]) == ("received", len(SMALL))
    await work_off(pool, work)
    seen, lied = await body_of(pool, photo), await body_of(pool, lie)
    assert (seen["rendered"], seen.get("refused")) == (True, None)
    expected = {5: None, 0: "photo_empty"}.get(size, "photo_too_large")
    assert (lied.get("refused"), lied.get("width"), lied.get("received_at")) == (expected, None, None)
    assert (await victim.push())["end"]["photos_wanted"] == []


async def test_a_size_that_was_wrong_at_first_can_be_announced_anew(victim, pool) -> None:
    """Refused is the announcement, not the photo; the same phone may know better later."""
    site = await victim.site()
    await victim.announce(SMALL, site, bytes=PHOTO_BYTES_MAX + 1)
    assert (await victim.ask(sha256_of(SMALL))).json() == {"state": "refused", "reason": "photo_too_large"}
    assert (await victim.push())["end"]["photos_wanted"] == []
    await victim.announce(SMALL, site)
    assert (await victim.push())["end"]["photos_wanted"] == [sha256_of(SMALL)]
    assert (await victim.hand_in(SMALL)).json()["state"] == "received"


async def test_hostile_chunks_neither_delay_nor_destroy_anothers(victim, attacker, pool, work) -> None:
    site = await victim.site()
    await victim.announce(LARGE, site)
    await attacker.announce(LARGE, site)
    for part in (await attacker.ask(sha256_of(LARGE))).json()["parts"]:
        await attacker.put(part, bytes(part["bytes"]))
    assert (await attacker.complete(sha256_of(LARGE))).status_code == 202
    answer = (await victim.ask(sha256_of(LARGE))).json()
    assert (answer["state"], [part["have"] for part in answer["parts"]]) == ("upload", [False] * len(answer["parts"]))
    await victim.send(answer["parts"][0], LARGE)
    await work_off(pool, work)
    anew = (await attacker.ask(sha256_of(LARGE))).json()
    assert (anew["state"], anew["reason"]) == ("upload", "photo_hash_mismatch")
    answer = (await victim.ask(sha256_of(LARGE))).json()
    assert (answer["state"], answer.get("reason"), answer["parts"][0]["have"]) == ("upload", None, True)
    assert (await victim.hand_in(LARGE)).status_code == 202
    await work_off(pool, work)
    assert (await victim.ask(sha256_of(LARGE))).json()["state"] == "received"


async def test_what_was_announced_as_another_type_is_served_as_what_it_is(victim, attacker, pool, work) -> None:
    site = await victim.site()
    await attacker.announce(SMALL, site, media_type="text/html")
    await victim.announce(SMALL, site)
    await victim.hand_in(SMALL)
    seen = await look(victim, SMALL, "original")
    assert seen.headers["content-type"] == "application/octet-stream"  # until the decoder has looked
    await work_off(pool, work)
    seen = await look(victim, SMALL, "original")
    assert (seen.headers["content-type"], seen.content) == ("image/jpeg", SMALL)


# To know a hash is no right


async def test_who_only_knows_the_hash_gets_no_receipt_and_sees_nothing(world, pool, work, objects, http) -> None:
    """The photo lies in the neighbouring village; the attacker names its hash on an own record."""
    owner = PhotoPhone(world, await world.person((Role.GRID_MEMBER, "610902101002")), http)
    await owner.announce(SMALL, await owner.site(unit="610902101002"))
    await owner.hand_in(SMALL)
    await work_off(pool, work)
    attacker = PhotoPhone(world, await world.person((Role.GRID_MEMBER, VILLAGE)), http)
    photo = await attacker.announce(SMALL, await attacker.site(), bytes=7)
    unknown = jpeg(picture(77))
    await attacker.announce(unknown, await attacker.site(), bytes=7)
    known_answer, unknown_answer = [(await attacker.ask(sha256_of(data))).json() for data in (SMALL, unknown)]
    assert without_addresses(known_answer) == without_addresses(unknown_answer)
    assert known_answer["state"] == "upload"
    for data in (SMALL, unknown):
        assert (await attacker.complete(sha256_of(data))).json()["code"] == "photo_incomplete"
    assert (await attacker.push())["end"]["photos_wanted"] == sorted([sha256_of(SMALL), sha256_of(unknown)])
    await work_off(pool, work)
    for rendering in RENDERINGS:
        assert (await look(attacker, SMALL, rendering)).status_code == 404
    assert (await look(owner, SMALL, "original")).content == SMALL
    body = await body_of(pool, photo)
    assert {"received_at", "width", "flags", "rendered"}.isdisjoint(key for key, value in body.items() if value)


def without_addresses(answer: dict) -> dict:
    kept = ("index", "offset", "bytes", "have", "method")
    return {**answer, "parts": [{name: part[name] for name in kept} for part in answer["parts"]]}


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["single", "chunks"])
async def test_who_has_the_bytes_sends_them_and_the_duplicate_is_dropped(victim, attacker, world, pool, work, objects, data) -> None:
    """Then all is as if nobody had handed them in before, also the time of the receipt."""
    site = await victim.site()
    await victim.announce(data, site)
    await victim.hand_in(data)
    await work_off(pool, work)
    first = (await victim.ask(sha256_of(data))).json()["receipt"]
    world.clock.forward(minutes=3)
    photo = await attacker.announce(data, site)
    assert (await attacker.ask(sha256_of(data))).json()["state"] == "upload"
    sent = await attacker.hand_in(data)
    assert sent.status_code == (200 if data is SMALL else 202)
    await work_off(pool, work)
    second = (await attacker.ask(sha256_of(data))).json()["receipt"]
    assert second["at_ms"] - first["at_ms"] == 180_000
    assert (await body_of(pool, photo))["rendered"] is True
    keys = [each.key for each in await objects.list_under(f"{COUNTY}/")]
    assert [key for key in keys if "/photos/" in key] == [f"{COUNTY}/photos/{sha256_of(data)}"]
    assert not [key for key in keys if "/chunks/" in key]
    assert (await look(victim, data, "original")).content == data


async def test_the_requests_to_s3_are_the_same_whether_or_not_the_bytes_are_here(victim, attacker, objects, monkeypatch) -> None:
    """Nothing is to be told from the time it takes."""
    called: list[str] = []
    for name in ("head", "put", "list_under", "delete", "append_to"):
        plain = getattr(Objects, name)

        def counted(self: Objects, *arguments: object, _name: str = name, _plain=plain, **more: object) -> object:
            called.append(_name)
            return _plain(self, *arguments, **more)

        monkeypatch.setattr(Objects, name, counted)
    calls = []
    for phone in (victim, attacker):
        await phone.announce(SMALL, await phone.site())
        called.clear()
        assert (await phone.hand_in(SMALL)).json()["state"] == "received"
        calls.append(list(called))
    assert calls[0] == calls[1]


# Quotas: what is too much waits on the phone


async def test_a_day_of_photos_is_bounded_by_bytes_and_what_is_too_much_waits(victim, attacker, world) -> None:
    site = await victim.site()
    data = [jpeg(picture(seed, 64, 48)) for seed in range(40)]
    for each in data:
        await victim.announce(each, site, bytes=PHOTO_BYTES_MAX)
    answers = [await victim.ask(sha256_of(each)) for each in data]
    assert [answer.status_code for answer in answers] == [200] * 32 + [429] * 8
    told = answers[-1]
    assert (told.json()["code"], told.json()["details"]["bytes_max"]) == ("photo_day_full", DAY_BYTES_MAX)
    assert "手机" in told.json()["title"]
    assert int(told.headers["retry-after"]) > 0
    assert (await victim.ask(sha256_of(data[0]))).status_code == 200  # what was begun goes on
    assert len((await victim.push())["end"]["photos_wanted"]) == 40  # nothing is forgotten
    await attacker.announce(SMALL, site)
    assert (await attacker.hand_in(SMALL)).json()["state"] == "received"  # nobody else is concerned
    world.clock.forward(hours=25)
    await world.log_in(victim.someone)
    assert (await victim.ask(sha256_of(data[-1]))).status_code == 200


async def test_an_ordinary_day_of_five_hundred_photos_meets_no_quota() -> None:
    assert LimitSettings().photo_day_bytes_max >= 500 * 10 * 1024**2


async def test_a_relayed_address_used_again_does_not_grow_the_store(victim, objects, monkeypatch) -> None:
    puts: list[str] = []
    plain = Objects.put

    async def counted(self: Objects, key: str, *arguments: object, **more: object) -> None:
        puts.append(key)
        await plain(self, key, *arguments, **more)

    monkeypatch.setattr(Objects, "put", counted)
    await victim.announce(LARGE, await victim.site())
    part = (await victim.ask(sha256_of(LARGE))).json()["parts"][0]
    assert part["url"].startswith("/")
    for _ in range(5):
        assert (await victim.send(part, LARGE)).status_code == 200
    assert len(puts) == 1
    assert (await victim.put(part, bytes(part["bytes"]))).status_code == 200  # other bytes: the phone read its file again
    assert len(puts) == 2


async def test_what_comes_in_through_relayed_addresses_is_counted_for_the_person(victim, attacker, world) -> None:
    site = await victim.site()
    await victim.announce(LARGE, site)
    await attacker.announce(LARGE, site)
    part = (await attacker.ask(sha256_of(LARGE))).json()["parts"][0]
    assert part["bytes"] == CHUNK_BYTES
    statuses = [(await attacker.put(part, b"")).status_code for _ in range(DAY_BYTES_MAX // CHUNK_BYTES + 2)]
    assert statuses[-1] == 429
    assert 429 not in statuses[: DAY_BYTES_MAX // CHUNK_BYTES]
    assert (await victim.hand_in(LARGE)).status_code == 202


# Odd announcements


@pytest.mark.parametrize(
    "odd",
    [
        {"media_type": "image/jpg"},
        {"media_type": "image/heif"},
        {"media_type": ""},
        {"position": {"lat": 32.6, "lng": 108.9, "accuracy_m": -1}},
        {"position": {"lat": 32.6, "lng": 108.9, "accuracy_m": 3e9}},
        {"item": "围挡"},
        {"caption": "长" * 201},
    ],
    ids=str,
)
async def test_an_odd_announcement_is_a_photo_like_any_other(victim, pool, work, odd) -> None:
    photo = await victim.announce(SMALL, await victim.site(), **odd)
    assert victim.outcome == "applied"
    assert (await victim.hand_in(SMALL)).json()["state"] == "received"
    await work_off(pool, work)
    body = await body_of(pool, photo)
    assert (body["rendered"], body["format"]) == (True, "image/jpeg")
    for name, value in odd.items():
        assert body[name] == ({**value, "mocked": None} if name == "position" else value)


@pytest.mark.parametrize(
    "odd",
    [
        {"media_type": 7},
        {"purpose": "art"},
        {"caption": ["长"]},
        {"taken": "yesterday"},
        {"bytes": str(len(SMALL))},
        {"bytes": float(len(SMALL))},
    ],
    ids=str,
)
async def test_what_cannot_be_understood_is_held_and_its_bytes_are_taken(victim, pool, odd) -> None:
    """Evidence waits for no desk: the SHA-256 and the size are readable."""
    await victim.announce(SMALL, await victim.site(), **odd)
    assert victim.outcome == "quarantined"
    assert (await victim.push())["end"]["photos_wanted"] == [sha256_of(SMALL)]
    assert (await victim.hand_in(SMALL)).json()["state"] == "received"


async def test_a_mutation_that_does_not_even_decode_announces_its_photo(victim) -> None:
    site = await victim.site()
    record = uuid.uuid4()
    body = {"parent": str(site), "sha256": sha256_of(SMALL), "bytes": len(SMALL), "media_type": "image/jpeg"}
    mutation = {**victim.mutation("photo", record, body), "at": "no clock"}
    outcome = (await victim.push(mutation))["outcomes"]["outcomes"][0]
    assert outcome["outcome"] == "quarantined"
    assert (await victim.hand_in(SMALL)).json()["state"] == "received"


async def test_an_empty_photo_has_a_last_word(victim, pool, work) -> None:
    photo = await victim.announce(b"", await victim.site())
    assert victim.outcome == "applied"
    assert (await victim.ask(sha256_of(b""))).json() == {"state": "refused", "reason": "photo_empty"}
    assert (await victim.push())["end"]["photos_wanted"] == []
    await work_off(pool, work)
    assert (await body_of(pool, photo))["refused"] == "photo_empty"


# What the phone has lost


async def test_the_phone_says_that_it_has_lost_a_photo_and_the_office_sees_it(victim, world, pool, work) -> None:
    photo = await victim.announce(SMALL, await victim.site())
    version = await pool.fetchrow("SELECT incarnation, version FROM record WHERE id = $1", photo)
    edit = {**victim.mutation("photo", photo, {}), "op": "edit", "base": list(version), "fields": {"lost": [False, True]}}
    del edit["body"]
    outcome = (await victim.push(edit))["outcomes"]["outcomes"][0]
    assert outcome["outcome"] == "applied"
    office = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP), kind="console")
    [waited] = (await world.client.get("/photos/v1/wanted", params={"unit": TOWNSHIP}, headers=office.headers)).json()["photos"]
    assert (waited["photo"], waited["lost"]) == (str(photo), True)
    assert (await victim.hand_in(SMALL)).json()["state"] == "received"  # it was found after all
    await work_off(pool, work)
    body = await body_of(pool, photo)
    assert (body["lost"], body["rendered"]) == (False, True)


# Whose turn it is


async def test_pictures_are_looked_at_in_turns_by_person(victim, attacker, pool, work) -> None:
    """Many or large pictures of one person wait behind one of another's; a receipt goes before all of them."""
    site = await victim.site()
    many = [jpeg(picture(seed, 64, 48)) for seed in range(3)]
    for data in many:
        await attacker.announce(data, site)
        await attacker.hand_in(data)
    await victim.announce(SMALL, site)
    await victim.announce(LARGE, site)
    await victim.hand_in(SMALL)
    await victim.hand_in(LARGE)
    jobs = await pool.fetch("SELECT dedupe_key FROM pgqueuer ORDER BY priority DESC, id")
    places = [row["dedupe_key"].split("/")[2] for row in jobs]
    assert places[0] == sha256_of(LARGE)  # to be verified
    assert places.index(sha256_of(SMALL)) < places.index(sha256_of(many[1])) < places.index(sha256_of(many[2]))
    await work_off(pool, work)
    await pool.execute("UPDATE picture SET width = 8000, height = 6000 WHERE sha256 = $1", sha256_of(many[0]))
    last = [jpeg(picture(seed, 64, 48)) for seed in (8, 9)]
    for phone, data in zip((attacker, victim), last, strict=True):
        await phone.announce(data, site)
        await phone.hand_in(data)
    turns = [await pool.fetchval("SELECT priority FROM pgqueuer WHERE dedupe_key LIKE '%' || $1", sha256_of(data)) for data in last]
    assert turns[0] <= turns[1] - 3  # four ordinary pictures' worth of pixels
