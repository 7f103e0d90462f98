"""A photo's bytes are here until a verified receipt, and inside the backup where there is one (promise 10)."""

import httpx
import msgspec
import pytest

from contracts.receipt import PhotoReceipt
from phone.exchange import Ended
from phone.faults import Fault, Loss
from tests.phone.pretend_server import COUNTY, problem
from tests.phone.rig import Rig

pytestmark = pytest.mark.anyio
PICTURE = b"\xff\xd8" + bytes(range(250)) * 16  # five parts of the scripted server


@pytest.fixture(params=["file", "memory"])
async def rig(request, tmp_path) -> Rig:
    rig = Rig(tmp_path / "store") if request.param == "file" else Rig()
    await rig.enrolled()
    site = rig.site()
    rig.phone.add_photo(site, PICTURE, item="net", purpose="before")
    return rig


def held(rig: Rig) -> list[bool]:
    return [photo.held for photo in rig.phone.photos()]


async def test_the_record_goes_first_the_bytes_follow_and_then_they_may_go(rig):
    assert (await rig.phone.upload_photos()).ended is Ended.STALLED  # not announced yet: nothing is asked
    assert rig.server.world.parts == {}
    assert rig.phone.photos()[0].reason is None
    await rig.sync()
    uploaded = await rig.phone.upload_photos()
    assert (uploaded.ended, uploaded.sent_bytes, uploaded.received) == (Ended.COMPLETE, len(PICTURE), 1)
    assert list(rig.server.world.photos.values()) == [PICTURE]
    assert held(rig) == [False]


async def test_a_broken_upload_goes_on_where_it_broke(rig):
    await rig.sync()
    sent = []

    def plan(request: httpx.Request) -> Fault:
        if request.url.path.startswith("/parts"):
            sent.append(request.url.path[-1])
            return Fault(loss=Loss.REQUEST if len(sent) == 3 else Loss.NONE)
        return Fault()

    rig.plan = plan
    assert (await rig.phone.upload_photos()).ended is Ended.OFFLINE
    assert held(rig) == [True]
    assert (await rig.phone.upload_photos()).ended is Ended.COMPLETE
    assert sent == ["0", "1", "2", "2", "3", "4"]


async def test_a_lost_last_answer_costs_no_byte(rig):
    await rig.sync()
    answers = iter([*[Fault()] * 6, Fault(loss=Loss.ANSWER)])
    rig.plan = lambda request: next(answers, Fault())
    assert (await rig.phone.upload_photos()).ended is Ended.OFFLINE
    assert held(rig) == [True]
    again = await rig.phone.upload_photos()
    assert (again.ended, again.sent_bytes) == (Ended.COMPLETE, 0)


def _signed(server, receipt, **changes):
    """A receipt that the server really signed, for something else."""
    changed = msgspec.structs.replace(receipt, **changes)
    return msgspec.structs.replace(changed, sig=server.key.sign(changed.signed_bytes()).hex())


WORTHLESS = {
    "unsigned": lambda server, receipt: msgspec.structs.replace(receipt, sig="00" * 64),
    "another picture": lambda server, receipt: _signed(server, receipt, sha256="0" * 64),
    "another size": lambda server, receipt: _signed(server, receipt, bytes=1),
    "another county": lambda server, receipt: _signed(server, receipt, county=610921),
}


@pytest.mark.parametrize("change", WORTHLESS.values(), ids=WORTHLESS.keys())
async def test_no_byte_is_deleted_on_a_receipt_that_proves_nothing(rig, change):
    await rig.sync()
    rig.server.spoil = lambda answer: change(rig.server, answer) if isinstance(answer, PhotoReceipt) else answer
    assert (await rig.phone.upload_photos()).ended is Ended.UNBELIEVABLE
    assert held(rig) == [True]


async def test_with_a_backup_the_bytes_stay_until_it_holds_their_record(rig):
    rig.server.n_safe = 1
    await rig.sync()
    await rig.phone.upload_photos()
    assert held(rig) == [True]
    rig.server.n_safe = 2
    await rig.sync()
    assert held(rig) == [False]


async def test_after_a_restore_the_server_gets_again_what_it_gave_a_receipt_for(rig):
    rig.server.n_safe = 0
    backup = rig.server.backup()
    await rig.sync()
    await rig.phone.upload_photos()
    rig.server.restore(backup)
    await rig.sync()
    assert rig.server.world.photos == {}
    assert (await rig.phone.upload_photos()).received == 1
    assert list(rig.server.world.photos.values()) == [PICTURE]


async def test_one_refused_photo_does_not_stop_the_next(rig):
    site = rig.phone.records("site")[0].id
    rig.phone.add_photo(site, b"second picture")
    await rig.sync()
    first = rig.phone.photos()[0].sha256
    refuse = rig.server._part

    def part(path: str, body: bytes) -> httpx.Response:
        return problem(422, "photo_size_mismatch") if first in path else refuse(path, body)

    rig.server._part = part
    uploaded = await rig.phone.upload_photos()
    assert (uploaded.ended, uploaded.received, uploaded.waiting) == (Ended.STALLED, 1, 1)
    assert [(p.held, p.reason) for p in rig.phone.photos()] == [(True, "photo_size_mismatch"), (False, None)]
    rig.server._part = refuse
    assert (await rig.phone.upload_photos()).ended is Ended.COMPLETE


async def test_bytes_that_were_spoilt_on_the_way_are_sent_again(rig):
    await rig.sync()
    sha256 = rig.phone.photos()[0].sha256
    rig.server.world.parts[sha256] = {0: b"what a broken proxy made of it"}
    assert (await rig.phone.upload_photos()).ended is Ended.STALLED
    assert [(p.held, p.reason) for p in rig.phone.photos()] == [(True, "photo_hash_mismatch")]
    assert (await rig.phone.upload_photos()).ended is Ended.COMPLETE
    assert rig.server.world.photos[sha256] == PICTURE


@pytest.mark.parametrize("status", [403, 410], ids=["by S3", "by the relay"])
async def test_an_expired_address_is_asked_for_again(rig, status):
    await rig.sync()
    refuse, expired = rig.server._part, []

    def part(path: str, body: bytes) -> httpx.Response:
        if not expired:
            expired.append(path)
            return httpx.Response(status)
        return refuse(path, body)

    rig.server._part = part
    assert (await rig.phone.upload_photos()).ended is Ended.COMPLETE


async def test_storage_that_is_down_stops_the_upload_and_nothing_is_lost(rig):
    await rig.sync()
    rig.server._part = lambda path, body: problem(503, "storage_unavailable", Retry_After="7")
    uploaded = await rig.phone.upload_photos()
    assert (uploaded.ended, uploaded.code, uploaded.retry_after_s) == (Ended.BUSY, "storage_unavailable", 7)
    assert held(rig) == [True]


async def test_the_same_picture_on_two_records_is_kept_and_sent_once(rig):
    other = rig.site("other")
    rig.phone.add_photo(other, PICTURE)
    await rig.sync()
    uploaded = await rig.phone.upload_photos()
    assert (uploaded.sent_bytes, uploaded.received) == (len(PICTURE), 1)
    assert len(rig.phone.records("photo")) == 2
    assert rig.phone.children(other)[0].body["sha256"] == rig.phone.photos()[0].sha256
    assert rig.phone.photos()[0].county == COUNTY
