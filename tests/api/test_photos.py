"""The journey of a photo's bytes over HTTP, to a real S3, both straight and relayed; each thing that can go wrong, done."""

import uuid
from collections.abc import AsyncIterator
from datetime import datetime

import asyncpg
import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from litestar import Litestar

from contracts.people import Role
from contracts.photos import CHUNK_BYTES
from contracts.receipt import PhotoReceipt
from server.settings import LimitSettings, Settings
from storage.objects import Objects, S3Access, chunk_key, photo_key, sender_key
from tests.api.office import OTHER_COUNTY, TOWNSHIP, VILLAGE, World
from tests.api.photo_story import COUNTY, PhotoPhone, another_device
from tests.photo_builder import jpeg, noise, picture, sha256_of

SMALL = jpeg(picture(1))
LARGE = jpeg(noise(1, 800, 600), quality=95)  # several chunks, the last one short
assert len(SMALL) <= 2 * CHUNK_BYTES < len(LARGE)
PHOTO_BYTES_MAX = 2 * 1024 * 1024


@pytest.fixture(params=["direct", "relayed"])
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    s3 = settings.s3.model_copy(update={"relay": request.param == "relayed"})
    return settings.model_copy(update={"s3": s3, "limits": LimitSettings(photo_bytes_max=PHOTO_BYTES_MAX)})


@pytest.fixture
async def s3_http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
async def phone(world: World, objects: Objects, s3_http: httpx.AsyncClient) -> PhotoPhone:
    return PhotoPhone(world, await world.person((Role.GRID_MEMBER, VILLAGE)), s3_http)


@pytest.fixture
async def objects(app: Litestar) -> Objects:
    """The bucket, emptied: the next test's photos have the same hashes."""
    objects: Objects = app.state.resources.objects
    await objects.delete([each.key for each in await objects.list_under(f"{COUNTY}/")])
    return objects


def problem(answer: httpx.Response, status: int, code: str) -> dict:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["details"]


async def state_of(pool: asyncpg.Pool, data: bytes) -> str:
    return await pool.fetchval("SELECT state FROM blob WHERE county = $1 AND sha256 = $2", COUNTY, sha256_of(data))


async def jobs_of(pool: asyncpg.Pool) -> list[str]:
    return [row[0] for row in await pool.fetch("SELECT dedupe_key FROM pgqueuer")]


async def check_receipt(world: World, receipt: dict, data: bytes) -> None:
    """As a phone does: with the published key."""
    keys = {key["key"]: key["public"] for key in (await world.client.get("/sync/v1/keys")).json()}
    signed = msgspec.convert(receipt, PhotoReceipt)
    assert (signed.county, signed.sha256, signed.bytes) == (COUNTY, sha256_of(data), len(data))
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(keys[signed.key])).verify(bytes.fromhex(signed.sig), signed.signed_bytes())


async def test_a_small_photo_is_one_put_and_has_a_receipt_at_once(phone, world, pool, objects) -> None:
    await phone.announce(SMALL, await phone.site())
    answer = (await phone.ask(sha256_of(SMALL))).json()
    assert (answer["state"], answer["mode"], len(answer["parts"])) == ("upload", "single", 1)
    part = answer["parts"][0]
    assert (part["offset"], part["bytes"], part["have"], part["method"]) == (0, len(SMALL), False, "PUT")
    assert datetime.fromisoformat(part["expires_at"]) > world.clock()
    assert (await phone.send(part, SMALL)).status_code == 200
    done = await phone.complete(sha256_of(SMALL))
    assert (done.status_code, done.json()["state"]) == (200, "received")
    await check_receipt(world, done.json()["receipt"], SMALL)
    assert await objects.read(photo_key(COUNTY, sha256_of(SMALL)), len(SMALL) + 1) == SMALL
    assert await jobs_of(pool) == [f"photo.process/{COUNTY}/{sha256_of(SMALL)}"]


async def test_the_receipt_is_the_same_however_often_it_is_asked_for(phone, world) -> None:
    await phone.announce(SMALL, await phone.site())
    first = (await phone.hand_in(SMALL)).json()
    world.clock.forward(minutes=5)
    assert (await phone.complete(sha256_of(SMALL))).json() == first
    asked = (await phone.ask(sha256_of(SMALL))).json()
    assert (asked["state"], asked["receipt"]) == ("received", first["receipt"])


async def test_a_lost_phone_is_charged_once_for_a_photo_however_often_it_asks(phone, world, pool) -> None:
    """It must not use up what it may hand in by waiting for the worker."""
    await phone.announce(LARGE, await phone.site())
    await pool.execute("UPDATE device SET wiped_at = $2 WHERE id = $1", phone.someone.device, world.clock())
    assert (await phone.hand_in(LARGE)).status_code == 202
    for _ in range(3):
        assert (await phone.complete(sha256_of(LARGE))).status_code == 202
    spent = await pool.fetchval("SELECT bytes FROM wipe_allowance WHERE device = $1", phone.someone.device)
    assert spent == len(LARGE)


async def test_the_exchange_tells_what_is_still_wanted(phone) -> None:
    site = await phone.site()
    await phone.announce(SMALL, site)
    assert (await phone.push())["end"]["photos_wanted"] == [sha256_of(SMALL)]
    await phone.hand_in(SMALL)
    assert (await phone.push())["end"]["photos_wanted"] == []


async def test_a_large_photo_goes_up_in_chunks_and_goes_on_where_the_signal_ended(phone, pool, objects) -> None:
    await phone.announce(LARGE, await phone.site())
    parts = (await phone.ask(sha256_of(LARGE))).json()["parts"]
    assert [part["offset"] for part in parts] == list(range(0, len(LARGE), CHUNK_BYTES))
    assert sum(part["bytes"] for part in parts) == len(LARGE)
    assert (await phone.send(parts[1], LARGE)).status_code == 200
    again = (await phone.ask(sha256_of(LARGE))).json()["parts"]
    assert [part["have"] for part in again] == [index == 1 for index in range(len(parts))]
    assert "url" not in again[1] or again[1]["url"] == ""
    done = await phone.hand_in(LARGE)
    assert (done.status_code, done.json()["state"]) == (202, "verifying")
    assert done.headers["retry-after"]
    assert (await phone.ask(sha256_of(LARGE))).json()["state"] == "verifying"
    assert await jobs_of(pool) == [f"photo.verify/{COUNTY}/{sha256_of(LARGE)}/{phone.someone.device}"]


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["single", "chunks"])
async def test_a_photo_that_was_sent_before_a_restore_has_its_receipt_again(phone, world, objects, data) -> None:
    """The database forgot, S3 did not: the phone only asks where to send it. Somebody else, who never sent it, must."""
    await phone.announce(data, await phone.site())
    await objects.put(photo_key(COUNTY, sha256_of(data)), data, sha256=sha256_of(data))
    await objects.put(sender_key(COUNTY, sha256_of(data), phone.someone.id), b"")
    other = PhotoPhone(world, await world.person((Role.GRID_MEMBER, VILLAGE)), phone.s3)
    await other.announce(data, await other.site())
    assert (await other.ask(sha256_of(data))).json()["state"] == "upload"
    answer = (await phone.ask(sha256_of(data))).json()
    assert answer["state"] == "received"
    await check_receipt(world, answer["receipt"], data)
    assert (await other.ask(sha256_of(data))).json()["state"] == "upload"


async def test_the_answer_to_complete_may_be_lost(phone, world) -> None:
    await phone.announce(SMALL, await phone.site())
    first = (await phone.hand_in(SMALL)).json()
    assert (await phone.ask(sha256_of(SMALL))).json() == first
    assert (await phone.complete(sha256_of(SMALL))).json() == first


async def test_complete_before_all_chunks_are_there_names_the_missing(phone) -> None:
    await phone.announce(LARGE, await phone.site())
    parts = (await phone.ask(sha256_of(LARGE))).json()["parts"]
    await phone.send(parts[0], LARGE)
    details = problem(await phone.complete(sha256_of(LARGE)), 409, "photo_incomplete")
    assert details["missing"] == [part["index"] for part in parts[1:]]
    assert (await phone.hand_in(LARGE)).status_code == 202


async def test_complete_before_anything_is_there(phone) -> None:
    await phone.announce(SMALL, await phone.site())
    assert problem(await phone.complete(sha256_of(SMALL)), 409, "photo_incomplete")["missing"] == [0]
    assert (await phone.hand_in(SMALL)).json()["state"] == "received"


async def test_what_was_not_announced_is_not_taken(phone, world, s3_http) -> None:
    for path in ("uploads", "complete"):
        problem(await phone.ask(sha256_of(SMALL), path), 409, "photo_not_announced")
    await phone.announce(SMALL, await phone.site())
    stranger = PhotoPhone(world, await world.person((Role.GRID_MEMBER, VILLAGE)), s3_http)
    problem(await stranger.ask(sha256_of(SMALL)), 409, "photo_not_announced")


async def test_the_photo_of_held_work_is_taken_all_the_same(phone, pool) -> None:
    """Quarantined: the record it belongs to is unknown. The evidence must not wait for the desk."""
    await phone.announce(SMALL, uuid.uuid4())
    assert phone.outcome == "quarantined"
    assert (await phone.hand_in(SMALL)).json()["state"] == "received"


async def test_bytes_with_another_hash_are_refused_and_the_right_ones_taken(phone, objects) -> None:
    await phone.announce(SMALL, await phone.site())
    [part] = (await phone.ask(sha256_of(SMALL))).json()["parts"]
    refused = await phone.put(part, SMALL[::-1])
    assert refused.status_code in (400, 422)
    assert await objects.head(photo_key(COUNTY, sha256_of(SMALL))) is None
    problem(await phone.complete(sha256_of(SMALL)), 409, "photo_incomplete")
    assert (await phone.hand_in(SMALL)).json()["state"] == "received"


async def test_a_part_of_another_length_is_refused(phone, objects) -> None:
    await phone.announce(LARGE, await phone.site())
    part = (await phone.ask(sha256_of(LARGE))).json()["parts"][0]
    for body in (LARGE[:10], LARGE[: part["bytes"] + 1]):
        assert (await phone.put(part, body)).status_code in (403, 422)
    assert await objects.list_under(f"{COUNTY}/chunks/{sha256_of(LARGE)}/") == []


async def test_an_object_that_s3_should_not_have_taken_is_deleted(phone, objects) -> None:
    """An S3 that does not keep to what we sign: neither size nor hash is believed."""
    await phone.announce(SMALL, await phone.site())
    await phone.ask(sha256_of(SMALL))
    key = chunk_key(COUNTY, sha256_of(SMALL), phone.someone.device, 0)
    await objects.put(key, SMALL[:-1])
    problem(await phone.complete(sha256_of(SMALL)), 409, "photo_incomplete")
    await objects.put(key, SMALL[::-1])
    problem(await phone.complete(sha256_of(SMALL)), 422, "photo_hash_mismatch")
    assert await objects.list_under(f"{COUNTY}/") == []
    assert (await phone.ask(sha256_of(SMALL))).json()["reason"] == "photo_hash_mismatch"
    assert (await phone.hand_in(SMALL)).json()["state"] == "received"


async def test_too_large_a_photo_is_refused_once_and_for_all_without_a_receipt(phone) -> None:
    site = await phone.site()
    await phone.announce(SMALL, site, bytes=PHOTO_BYTES_MAX + 1)
    answer = (await phone.ask(sha256_of(SMALL))).json()
    assert answer == {"state": "refused", "reason": "photo_too_large"}
    assert (await phone.complete(sha256_of(SMALL))).json() == answer
    assert (await phone.push())["end"]["photos_wanted"] == []


async def test_a_wrong_size_in_somebodys_announcement_harms_nobody_else(phone, world, s3_http) -> None:
    site = await phone.site()
    await phone.announce(SMALL, site, bytes=5)
    other = PhotoPhone(world, await world.person((Role.GRID_MEMBER, VILLAGE)), s3_http)
    await other.announce(SMALL, site)
    assert (await other.hand_in(SMALL)).json()["state"] == "received"


async def test_a_phone_sends_its_own_picture_once_for_several_records(phone) -> None:
    site = await phone.site()
    await phone.announce(SMALL, site)
    receipt = (await phone.hand_in(SMALL)).json()["receipt"]
    await phone.announce(SMALL, site, purpose="after")
    assert (await phone.push())["end"]["photos_wanted"] == []
    answer = (await phone.ask(sha256_of(SMALL))).json()
    assert (answer["state"], answer["receipt"]) == ("received", receipt)


async def test_a_new_phone_of_the_same_person_does_not_send_again(phone, world, s3_http) -> None:
    await phone.announce(SMALL, await phone.site())
    receipt = (await phone.hand_in(SMALL)).json()["receipt"]
    new = PhotoPhone(world, await another_device(world, phone.someone), s3_http)
    await new.announce(SMALL, await new.site())
    assert (await new.push())["end"]["photos_wanted"] == []
    assert (await new.ask(sha256_of(SMALL))).json()["receipt"] == receipt


async def test_a_dead_s3_is_said_so_and_the_phone_goes_on_when_it_is_back(phone, app, monkeypatch) -> None:
    await phone.announce(SMALL, await phone.site())
    [part] = (await phone.ask(sha256_of(SMALL))).json()["parts"]
    alive = app.state.resources.objects
    dead = Objects(S3Access(endpoint="http://127.0.0.1:9", bucket="none", access_key="a", secret_key="b"))
    object.__setattr__(app.state.resources, "objects", dead)
    for path in ("uploads", "complete"):
        answer = await phone.ask(sha256_of(SMALL), path)
        problem(answer, 503, "storage_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    if part["url"].startswith("/"):
        problem(await phone.send(part, SMALL), 503, "storage_unavailable")
    object.__setattr__(app.state.resources, "objects", alive)
    assert (await phone.hand_in(SMALL)).json()["state"] == "received"


async def test_a_condemned_blob_is_verified_again_before_any_receipt(phone, pool, objects) -> None:
    site, key = await phone.site(), photo_key(COUNTY, sha256_of(SMALL))
    condemn = "INSERT INTO blob (county, sha256, state) VALUES ($1, $2, 'condemned')"
    await pool.execute(condemn, COUNTY, sha256_of(SMALL))
    await phone.announce(SMALL, site)
    await objects.put(sender_key(COUNTY, sha256_of(SMALL), phone.someone.id), b"")
    assert (await phone.push())["end"]["photos_wanted"] == [sha256_of(SMALL)]
    problem(await phone.complete(sha256_of(SMALL)), 409, "photo_incomplete")  # it is gone: no receipt
    assert (await phone.ask(sha256_of(SMALL))).json()["state"] == "upload"
    await objects.put(key, SMALL, sha256=sha256_of(SMALL))
    answer = (await phone.ask(sha256_of(SMALL))).json()
    assert (answer["state"], answer["receipt"]["bytes"]) == ("received", len(SMALL))  # it is there after all
    assert await state_of(pool, SMALL) == "received"


async def test_malformed_requests(phone) -> None:
    problem(await phone.ask("not a hash"), 422, "invalid_value")


# The relay alone


relayed_only = pytest.mark.parametrize("settings", ["relayed"], indirect=True)  # S3's part: tests/storage/test_objects.py


@relayed_only
async def test_a_relayed_address_expires(phone, world) -> None:
    await phone.announce(SMALL, await phone.site())
    [part] = (await phone.ask(sha256_of(SMALL))).json()["parts"]
    world.clock.forward(hours=2)
    problem(await phone.send(part, SMALL), 410, "upload_expired")
    await world.log_in(phone.someone)
    [fresh] = (await phone.ask(sha256_of(SMALL))).json()["parts"]
    assert (await phone.send(fresh, SMALL)).status_code == 200


@relayed_only
async def test_a_relayed_address_cannot_be_bent(phone) -> None:
    await phone.announce(SMALL, await phone.site())
    [part] = (await phone.ask(sha256_of(SMALL))).json()["parts"]
    base, _, token = part["url"].rpartition("/")
    sealed, _, signature = token.partition(".")
    for bent in (f"{sealed[:-2]}AA.{signature}", f"{sealed}.{signature[:-2]}AA", sealed, f"{sealed}.", "x.y"):
        problem(await phone.put({**part, "url": f"{base}/{bent}"}, SMALL), 403, "not_allowed")


@relayed_only
async def test_a_relayed_part_needs_its_checksum_header(phone) -> None:
    await phone.announce(SMALL, await phone.site())
    [part] = (await phone.ask(sha256_of(SMALL))).json()["parts"]
    problem(await phone.put({**part, "headers": {}}, SMALL), 422, "photo_hash_mismatch")


# Who waits for what, and who may look


async def test_the_office_sees_what_is_waited_for(phone, world) -> None:
    await phone.announce(SMALL, await phone.site())
    await phone.announce(LARGE, uuid.uuid4())  # held: its desk is the township's
    office = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP), kind="console")
    answer = await world.client.get("/photos/v1/wanted", params={"unit": TOWNSHIP}, headers=office.headers)
    waited = answer.json()["photos"]
    assert [photo["sha256"] for photo in waited] == [sha256_of(SMALL), sha256_of(LARGE)]
    assert (waited[0]["unit"], waited[0]["device"], waited[0]["person_name"]) == (VILLAGE, str(phone.someone.device), "人1")
    assert (waited[1]["record"], answer.json()["next"]) == (None, None)
    await phone.hand_in(SMALL)
    answer = await world.client.get("/photos/v1/wanted", params={"unit": TOWNSHIP}, headers=office.headers)
    assert [photo["sha256"] for photo in answer.json()["photos"]] == [sha256_of(LARGE)]


async def test_whoever_only_reads_sees_what_has_a_record_and_no_desk(phone, world) -> None:
    await phone.announce(SMALL, await phone.site())
    await phone.announce(LARGE, uuid.uuid4())  # held
    for role in (Role.ADMIN, Role.AUDITOR):
        reader = await world.person((role, TOWNSHIP), kind="console")
        answer = await world.client.get("/photos/v1/wanted", params={"unit": TOWNSHIP}, headers=reader.headers)
        assert [photo["sha256"] for photo in answer.json()["photos"]] == [sha256_of(SMALL)]


async def test_what_waits_is_counted(phone, world) -> None:
    await phone.announce(SMALL, await phone.site())
    await phone.announce(LARGE, await phone.site())
    await phone.hand_in(LARGE)
    metrics = (await world.client.get("/metrics")).text.splitlines()
    assert "xunling_photos_wanted 2.0" in metrics
    assert 'xunling_jobs{job="photo.verify",state="queued"} 1.0' in metrics


async def test_nobody_else_does(phone, world) -> None:
    office = await world.person((Role.COUNTY_SUPERVISOR, OTHER_COUNTY), kind="console")
    for someone, unit in ((office, TOWNSHIP), (phone.someone, VILLAGE), (office, "nowhere")):
        answer = await world.client.get("/photos/v1/wanted", params={"unit": unit}, headers=someone.headers)
        problem(answer, 403, "not_allowed")


async def test_the_list_goes_on_where_it_was_cut(phone, world, monkeypatch) -> None:
    monkeypatch.setattr("api.photos.WANTED_PAGE", 2)
    site = await phone.site()
    hashes = []
    for seed in range(5):
        data = jpeg(picture(seed, 64, 48))
        hashes.append(sha256_of(data))
        await phone.announce(data, site)
    office = await world.person((Role.TOWNSHIP_LEAD, TOWNSHIP), kind="console")
    seen, after = [], {}
    while after is not None:
        params = {"unit": TOWNSHIP, **after}
        answer = (await world.client.get("/photos/v1/wanted", params=params, headers=office.headers)).json()
        seen += [photo["sha256"] for photo in answer["photos"]]
        after = answer["next"] and {"after": answer["next"]}
    assert seen == hashes


async def look(phone: PhotoPhone, headers: dict[str, str], rendering: str, data: bytes = SMALL) -> httpx.Response:
    path = f"/photos/v1/{COUNTY}/{sha256_of(data)}/{rendering}"
    answer = await phone.world.client.get(path, headers=headers)
    return await phone.s3.get(answer.headers["location"]) if answer.status_code == 302 else answer


async def test_whoever_sees_the_record_sees_the_photo_and_nobody_else(phone, world) -> None:
    await phone.announce(SMALL, await phone.site())
    problem(await look(phone, phone.someone.headers, "original"), 404, "not_found")
    await phone.hand_in(SMALL)
    township = await world.person((Role.TOWNSHIP_STAFF, TOWNSHIP))
    for headers in (phone.someone.headers, township.headers):
        seen = await look(phone, headers, "original")
        assert (seen.status_code, seen.headers["content-type"], seen.content) == (200, "application/octet-stream", SMALL)
    elsewhere = await world.person((Role.COUNTY_SUPERVISOR, OTHER_COUNTY))
    next_village = await world.person((Role.GRID_MEMBER, "610902101002"))
    for stranger in (elsewhere, next_village):
        problem(await look(phone, stranger.headers, "original"), 404, "not_found")
    problem(await look(phone, township.headers, "thumb_320"), 404, "not_found")  # nobody has made it yet
    problem(await look(phone, township.headers, "passwd"), 422, "invalid_value")


async def test_without_a_token_there_is_nothing_to_see(phone, world) -> None:
    for answer in (
        await world.client.get(f"/photos/v1/{COUNTY}/{sha256_of(SMALL)}/original"),
        await world.client.get("/photos/v1/wanted", params={"unit": VILLAGE}),
        await world.client.post("/photos/v1/uploads", json={"county": COUNTY, "sha256": sha256_of(SMALL)}),
    ):
        problem(answer, 401, "not_authenticated")
