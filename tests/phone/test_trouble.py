"""What happens to phones in the field: files that are gone, full cards, portals that answer, an app beside its background job."""

import asyncio
import resource
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from phone import photos
from phone.exchange import Ended
from phone.inbox import store_frames
from phone.wire import StrangeAnswerError
from tests.phone.pretend_server import COUNTY, problem
from tests.phone.rig import Rig

pytestmark = pytest.mark.anyio
PICTURES = [bytes([k]) * 2500 for k in range(3)]


async def with_photos(path: Path, count: int = 3) -> Rig:
    rig = await Rig(path / "store").enrolled()
    site = rig.site()
    for picture in PICTURES[:count]:
        rig.phone.add_photo(site, picture)
    return rig


def file_of(rig: Rig, k: int) -> Path:
    folder = rig.phone.store.photo_folder
    assert folder is not None
    return folder / rig.phone.photos()[k].sha256


def told_lost(rig: Rig) -> list[bool]:
    """What the records of the photos say at the server, in the order of the photos."""
    said = {body["sha256"]: body.get("lost", False) for body in rig.server.bodies().values() if "sha256" in body}
    return [said[one.sha256] for one in rig.phone.photos()]


# -------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(Path.unlink, "file_missing"), (lambda path: path.write_bytes(b""), "file_damaged"), (lambda path: path.write_bytes(bytes(2500)[:-1] + b"x"), "file_damaged")],
    ids=["gone", "emptied", "damaged"],
)  # fmt: skip
async def test_a_photo_whose_file_is_lost_is_shown_and_told_and_the_next_ones_go_up(tmp_path, harm: Callable[[Path], object], reason):
    rig = await with_photos(tmp_path)
    await rig.sync()
    kept = file_of(rig, 0).read_bytes()
    harm(file_of(rig, 0))
    uploaded = await rig.phone.upload_photos()
    assert (uploaded.ended, uploaded.received, uploaded.waiting) == (Ended.STALLED, 2, 1)
    assert list(rig.server.world.photos.values()) == PICTURES[1:]
    assert next((one.state, one.reason) for one in rig.phone.photos()) == (photos.LOST, reason)
    await rig.sync()
    assert told_lost(rig) == [True, False, False]
    assert (await rig.phone.upload_photos()).ended is Ended.STALLED
    assert rig.phone.unsent() == 0  # told once
    file_of(rig, 0).write_bytes(kept)  # the card was put back
    assert (await rig.phone.upload_photos()).ended is Ended.COMPLETE
    await rig.sync()
    assert told_lost(rig) == [False, False, False]


async def test_a_wipe_goes_through_although_a_file_is_lost(tmp_path):
    rig = await with_photos(tmp_path)
    await rig.sync()
    file_of(rig, 0).unlink()
    rig.server.wipe = True
    assert (await rig.phone.sync()).ended is Ended.WIPED
    assert list(rig.server.world.photos.values()) == PICTURES[1:]
    folder = rig.phone.store.photo_folder
    assert folder is not None
    assert (list(folder.iterdir()), rig.phone.account.person, rig.phone.photos()) == ([], None, [])


@contextmanager
def full_card(size: int):
    """No file grows beyond `size`."""
    import signal

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def test_a_full_phone_does_not_become_fuller_with_each_photo(tmp_path):
    rig = await with_photos(tmp_path, count=1)
    folder = rig.phone.store.photo_folder
    assert folder is not None
    before = sorted(path.name for path in folder.iterdir())
    for _ in range(3):
        with full_card(300_000), pytest.raises(OSError, match="large"):
            rig.phone.add_photo(rig.phone.records("site")[0].id, bytes(1_000_000))
        assert sorted(path.name for path in folder.iterdir()) == before
    rig.phone.add_photo(rig.phone.records("site")[0].id, bytes(1_000_000))  # there is room again
    await rig.sync()
    assert (await rig.phone.upload_photos()).received == 2


async def test_files_that_no_photo_names_are_removed_at_a_start(tmp_path):
    rig = await with_photos(tmp_path, count=1)
    folder = rig.phone.store.photo_folder
    assert folder is not None
    named = {path.name for path in folder.iterdir()}
    for name in ("a" * 64, "b" * 64 + ".part"):  # of a kill before the row, and of one while the file was written
        (folder / name).write_bytes(b"x")
    with rig.phone.store.lock(photos.SHUTTER):  # another process takes a photo right now
        rig.reopen()
        assert len(list(folder.iterdir())) == 3
    rig.reopen()
    assert {path.name for path in folder.iterdir()} == named


async def test_a_photo_that_could_not_be_entered_leaves_no_file(tmp_path):
    rig = await with_photos(tmp_path, count=1)
    folder = rig.phone.store.photo_folder
    assert folder is not None
    with pytest.raises(ValueError, match="at most"):
        rig.phone.add_photo(rig.phone.records("site")[0].id, b"x", caption="长" * 300_000)
    assert len(list(folder.iterdir())) == 1


async def test_a_photo_of_no_bytes_is_refused_at_the_shutter(tmp_path):
    rig = await with_photos(tmp_path, count=0)
    with pytest.raises(ValueError, match="without bytes"):
        rig.phone.add_photo(rig.phone.records("site")[0].id, b"")
    assert (rig.phone.photos(), rig.phone.records("photo")) == ([], [])


# -------------------------------------------------------------------------------------------------- the road

GBK = b'{"code":1,"msg":"\xc4\xfa\xba\xc3"}\n'
STRANGE = {
    "GBK": GBK,
    "a known frame in GBK": b'{"frame":"hello","message":"\xc4\xfa\xba\xc3"}\n',
    "an unknown frame in GBK": b'{"frame":"news","message":"\xc4\xfa\xba\xc3"}\n',
    "JSON of another kind": b'{"code":0,"data":[]}\n',
    "a list": b"[1,2]\n",
    "a frame that is no word": b'{"frame":["hello"]}\n',
    "a number": b"1\n",
    "deep JSON": b"[" * 100_000 + b"\n",
    "a number without end": b'{"frame":"end","more":' + b"9" * 5000 + b"}\n",
    "a large number": b'{"frame":"hello","exchange":"x","server_ms":99999999999999999999,"contract_min":1,"contract_max":1}\n',
    "a portal": "<html><meta charset='gbk'>\n<body>请登录</body></html>\n".encode("gbk"),
    "UTF-16": '{"code":1}\n'.encode("utf-16"),
    "a mark in front": b'\xef\xbb\xbf{"frame":"end"}\n',
}


def answering(body: bytes, status: int = 200, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, stream=httpx.ByteStream(body), headers=named)


@pytest.mark.parametrize("body", STRANGE.values(), ids=STRANGE)
async def test_an_answer_that_is_not_ours_is_not_believed_and_the_next_sync_is_an_ordinary_one(tmp_path, body: bytes):
    rig = await with_photos(tmp_path, count=0)
    rig.server.busy = [answering(body)]
    synced = await rig.phone.sync()
    assert (synced.ended, synced.unsent) == (Ended.UNBELIEVABLE, 1)
    assert rig.phone.store.db.execute("SELECT count(*) FROM inbox").fetchone() == (0,)
    await rig.sync()
    assert rig.phone.unsent() == 0


@pytest.mark.parametrize("body", [GBK, STRANGE["deep JSON"]])
async def test_a_phone_that_such_a_line_has_locked_opens_again(tmp_path, body: bytes):
    rig = await with_photos(tmp_path, count=0)
    store_frames(rig.phone.store, 7, 0, [body.strip()])
    rig.reopen()
    await rig.sync()


@pytest.mark.parametrize(
    ("body", "encoding"), [(b"\x1f\x8b junk", "gzip"), (zlib.compress(b"{}"), "gzip"), (b"junk", "zstd"), (b"{}\n", "gzip")]
)
async def test_a_broken_compression_is_no_answer(tmp_path, body: bytes, encoding: str):
    rig = await with_photos(tmp_path, count=0)
    rig.server.busy = [answering(body, Content_Encoding=encoding), answering(body, 403, Content_Encoding=encoding)]
    assert (await rig.phone.sync()).ended is Ended.OFFLINE
    assert (await rig.phone.sync()).ended is Ended.REFUSED
    await rig.sync()


@pytest.mark.parametrize("body", [GBK, b"", b"<html>", b"{}", b"[[", b"[" * 100_000], ids=["GBK", "nothing", "HTML", "{}", "cut", "deep"])
async def test_logging_in_and_sending_photos_say_so_too(tmp_path, body: bytes):
    rig = await with_photos(tmp_path, count=1)
    await rig.sync()
    photo, people = rig.server._photo, rig.server._people
    rig.server._photo = lambda path, wanted: answering(body)
    assert (await rig.phone.upload_photos()).ended is Ended.UNBELIEVABLE
    rig.server._people = lambda path: answering(body)
    with pytest.raises(StrangeAnswerError):
        await rig.phone.enrol("13800000001", "secret")
    rig.server._photo, rig.server._people = photo, people
    assert (await rig.phone.upload_photos()).ended is Ended.COMPLETE


PAGE = b"<html>blocked</html>"
BLOCKED = {
    "uploads 302": ("_photo", b"", 302),
    "uploads 403": ("_photo", PAGE, 403),
    "uploads 404": ("_photo", PAGE, 404),
    "uploads 200": ("_photo", PAGE, 200),
    "uploads JSON": ("_photo", b'{"code":"blocked"}', 403),
    "put 403": ("_part", PAGE, 403),
    "put 302": ("_part", b"", 302),
    "put 400 of the store": ("_part", b"<Error><Code>InvalidDigest</Code></Error>", 400),
}


@pytest.mark.parametrize(("where", "body", "status"), BLOCKED.values(), ids=BLOCKED)
async def test_a_lost_phone_keeps_its_photos_where_the_road_to_the_store_is_blocked(tmp_path, where: str, body: bytes, status: int):
    rig = await with_photos(tmp_path)
    ordinary = getattr(rig.server, where)
    setattr(rig.server, where, lambda *_: answering(body, status))
    rig.server.wipe = True
    assert (await rig.phone.sync()).ended is not Ended.WIPED
    assert [one.held for one in rig.phone.photos()] == [True] * 3
    assert rig.phone.account.person is not None
    setattr(rig.server, where, ordinary)
    assert (await rig.phone.sync()).ended is Ended.WIPED
    assert list(rig.server.world.photos.values()) == PICTURES


async def test_the_servers_own_refusal_of_a_photo_is_its_last_word(tmp_path):
    rig = await with_photos(tmp_path)
    rig.server._photo = lambda path, wanted: problem(422, "photo_too_large")
    rig.server.wipe = True
    assert (await rig.phone.sync()).ended is Ended.WIPED


async def test_a_lost_phone_waits_for_a_photo_that_the_server_still_looks_at(tmp_path):
    rig = await with_photos(tmp_path, count=1)
    ordinary = rig.server._photo
    rig.server._photo = lambda path, wanted: httpx.Response(200, json={"state": "verifying", "retry_after_s": 60})
    rig.server.wipe = True
    assert (await rig.phone.sync()).ended is not Ended.WIPED
    assert [one.held for one in rig.phone.photos()] == [True]
    rig.server._photo = ordinary
    assert (await rig.phone.sync()).ended is Ended.WIPED


# -------------------------------------------------------------------------------------------------- what is typed


async def test_nul_is_dropped_when_it_is_entered(tmp_path):
    rig = await with_photos(tmp_path, count=0)
    site = rig.site(note="纸\0面", tags=["a\0"])
    typed = r"path C:\u0000folder"  # six characters, and no NUL
    rig.phone.edit(site, {"address": "甲\0路", "contact": typed})
    photo = rig.phone.add_photo(site, b"x", caption="\0图")
    await rig.sync()
    bodies = rig.server.bodies()
    assert {name: bodies[site][name] for name in ("note", "tags", "address", "contact")} == {
        "note": "纸面", "tags": ["a"], "address": "甲路", "contact": typed,
    }  # fmt: skip
    assert bodies[photo]["caption"] == "图"
    assert rig.phone.edit(site, {"note": "纸\0面"}) is None  # nothing differs


# -------------------------------------------------------------------------------------------------- two at once


async def test_the_app_and_its_background_job_refresh_once(tmp_path):
    rig = await with_photos(tmp_path, count=0)
    app, job = rig.phone, rig.open()
    rig.server.expired_tokens = {"access-1"}
    tokens, people = rig.server.tokens, rig.server._people
    asked: list[str] = []

    def slow(path: str) -> httpx.Response:
        asked.append(path)
        return people(path)

    rig.server._people = slow
    rig.server._photo = lambda path, wanted: httpx.Response(404)
    await asyncio.gather(app.account.fetch_units(), job.account.fetch_units(), app.sync(), job.sync())
    assert asked.count("/auth/v1/refresh") == 1
    assert rig.server.tokens == tokens + 1
    assert app.unsent() == job.unsent() == 0
    app.close()


async def test_app_and_background_job_do_not_sync_into_each_other(tmp_path):
    rig = await with_photos(tmp_path)
    app, job = rig.phone, rig.open()
    ended = await asyncio.gather(*(phone.sync() for phone in (app, job, app, job)))
    assert {one.ended for one in ended} == {Ended.COMPLETE}
    sent = await asyncio.gather(app.upload_photos(), job.upload_photos())
    assert sorted(one.received for one in sent) == [0, 3]
    rig.assert_agrees()
    assert [(one.state, one.county) for one in app.photos()] == [("received", COUNTY)] * 3
    app.close()
