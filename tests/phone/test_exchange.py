"""The loop around the exchange: receipts, tokens, busy servers, wipe orders, versions, the wire itself."""

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.exchange import Outcomes
from contracts.mutation import Mutation
from phone.exchange import Ended
from phone.faults import Fault, Loss
from phone.wire import Lines, decompressor
from tests.phone.pretend_server import COUNTY, UNKNOWN_FRAME, VILLAGE, problem
from tests.phone.rig import Rig, others_records

pytestmark = pytest.mark.anyio


# ------------------------------------------------------------------------------------------------ receipts


def _spoilt(change):
    """A server whose Outcomes frames are changed after they were signed."""
    return lambda frame: change(frame) if isinstance(frame, Outcomes) else frame


SPOILT = {
    "unsigned": lambda f: msgspec.structs.replace(f, receipt=msgspec.structs.replace(f.receipt, sig="")),
    "a higher number": lambda f: msgspec.structs.replace(f, receipt=msgspec.structs.replace(f.receipt, n=99)),
    "other outcomes": lambda f: msgspec.structs.replace(f, outcomes=f.outcomes[:-1]),
    "another county": lambda f: msgspec.structs.replace(f, county=610921),
}


@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT.keys())
async def test_a_receipt_that_proves_nothing_changes_nothing(change):
    rig = await Rig().enrolled()
    record = rig.site("mine")
    rig.server.spoil = _spoilt(change)
    assert (await rig.phone.sync()).ended is Ended.UNBELIEVABLE
    assert rig.phone.unsent() == 1
    assert rig.seen(record).unsent == (1,)
    rig.server.spoil = lambda frame: frame
    await rig.sync()
    assert len(rig.server.world.applied) == 1


async def test_an_outcome_above_its_receipt_is_not_believed():
    rig = await Rig().enrolled()
    rig.site()
    rig.site()
    rig.server.world.n_high[rig.phone.account.device] = 0
    real = rig.server._mutate

    def only_one(device, n, mutation):
        answer = real(device, n, mutation)
        rig.server.world.n_high[device] = 1
        return answer

    rig.server._mutate = only_one
    await rig.phone.sync()
    assert rig.phone.unsent() == 1


async def test_a_new_key_is_fetched_once_and_a_pinned_one_is_never_replaced():
    rig = await Rig().enrolled()
    rig.server.key, rig.server.key_id = Ed25519PrivateKey.generate(), "key-2"
    rig.site()
    await rig.sync()
    assert rig.phone.unsent() == 0
    rig.server.key = Ed25519PrivateKey.generate()  # the same name, another key: an impostor
    rig.site()
    assert (await rig.phone.sync()).ended is Ended.UNBELIEVABLE
    await rig.phone.enrol("13800000001", "secret")
    assert (await rig.phone.sync()).ended is Ended.UNBELIEVABLE
    assert rig.phone.unsent() == 1


async def test_a_key_the_server_does_not_show_stops_nothing_for_ever():
    rig = await Rig().enrolled()
    rig.site()
    rig.server.spoil = _spoilt(lambda f: msgspec.structs.replace(f, receipt=msgspec.structs.replace(f.receipt, key="secret")))
    assert (await rig.phone.sync()).ended is Ended.UNBELIEVABLE
    rig.server.spoil = lambda frame: frame
    await rig.sync()


# ------------------------------------------------------------------------------------------------ tokens and load


async def test_a_stale_token_is_refreshed_on_the_way():
    rig = await Rig().enrolled()
    rig.site()
    rig.server.expired_tokens.add("access-1")
    await rig.sync()
    assert rig.server.tokens == 2


async def test_an_ended_login_is_said_and_everything_stays():
    rig = await Rig().enrolled()
    rig.site()
    rig.server.expired_tokens |= {f"access-{k}" for k in range(9)}
    synced = await rig.phone.sync()
    assert (synced.ended, synced.code, synced.unsent) == (Ended.REFUSED, "token_expired", 1)
    rig.server.expired_tokens.clear()
    await rig.phone.enrol("13800000001", "secret")
    await rig.sync()


async def test_a_busy_server_is_given_the_time_it_asks_for_and_some_more():
    rig = await Rig().enrolled()
    rig.server.busy = [problem(503, "busy", Retry_After="2"), problem(429, "too_many_requests")]
    await rig.sync()
    assert rig.slept == [3.0, 7.5]  # jitter 0.5; without Retry-After five seconds


async def test_a_long_wait_is_left_to_the_caller():
    rig = await Rig().enrolled()
    rig.server.busy = [problem(503, "busy", Retry_After="600")]
    synced = await rig.phone.sync()
    assert (synced.ended, synced.retry_after_s, rig.slept) == (Ended.BUSY, 600, [])


async def test_no_signal_is_an_ordinary_result():
    rig = await Rig().enrolled()
    rig.plan = lambda request: Fault(loss=Loss.REQUEST)
    rig.site()
    assert (await rig.phone.sync()).ended is Ended.OFFLINE
    assert rig.phone.unsent() == 1


async def test_a_server_that_asks_for_more_without_moving_is_not_asked_for_ever():
    rig = await Rig().enrolled()
    rig.server._pages = lambda request: ([], True)
    others_records(rig.server, 1)
    assert (await rig.phone.sync()).ended is Ended.STALLED
    assert rig.server.exchanges <= 3


# ------------------------------------------------------------------------------------------------ versions


async def test_frames_of_a_newer_protocol_are_passed_over():
    rig = await Rig().enrolled()
    others_records(rig.server, 2)
    real = rig.server._exchange
    rig.server._exchange = lambda request: [
        UNKNOWN_FRAME,
        *real(request),
    ]
    await rig.sync()
    rig.assert_agrees()


async def test_fields_of_a_newer_app_survive_in_copies_and_on_the_screen():
    rig = await Rig().enrolled()
    (record,) = others_records(rig.server, 1)
    rig.server.put(record, VILLAGE, "drone_flight", {"unit": "610902001001", "altitude_m": 120})
    await rig.sync()
    rig.phone.edit(record, {"pilot": "王"})
    assert rig.seen(record).body == {"unit": "610902001001", "altitude_m": 120, "pilot": "王"}


async def test_a_problem_of_the_whole_device_is_shown_and_goes_away_again():
    rig = await Rig().enrolled()
    rig.server.problem = "contract_too_old"
    assert (await rig.phone.sync()).problem == "contract_too_old"
    rig.server.problem = None
    assert (await rig.phone.sync()).problem is None


# ------------------------------------------------------------------------------------------------ wipe


async def test_a_wiped_phone_hands_in_its_work_and_forgets_everything(tmp_path):
    rig = await Rig(tmp_path / "store", mutations_max=2).enrolled()
    others_records(rig.server, 5)
    await rig.sync()
    site = rig.site("未交 secret words")
    for k in range(4):
        rig.phone.edit(site, {"note": f"secret {k}"})
    rig.phone.add_photo(site, b"secret picture")
    wiped = rig.phone.account.device
    rig.server.wipe = True
    synced = await rig.phone.sync()
    assert synced.ended is Ended.WIPED
    assert len(rig.server.world.applied) == 6
    assert rig.phone.records("site") == []
    assert rig.phone.photos() == []
    assert rig.phone.account.person is None
    assert rig.phone.account.device != wiped
    folder = rig.phone.store.photo_folder
    assert folder is not None
    assert list(folder.iterdir()) == []
    rig.phone.close()
    assert b"secret" not in (tmp_path / "store").read_bytes()


async def test_a_wiped_phone_without_signal_shows_nothing_and_still_holds_what_was_never_handed_in():
    rig = await Rig(mutations_max=1).enrolled()
    others_records(rig.server, 5)
    await rig.sync()
    rig.site("a")
    rig.site("b")
    rig.server.wipe = True
    answers = iter([Fault(), Fault(loss=Loss.REQUEST)])
    rig.plan = lambda request: next(answers, Fault())
    assert (await rig.phone.sync()).ended is Ended.OFFLINE
    assert rig.phone.store.db.execute("SELECT count(*) FROM confirmed").fetchone() == (0,)
    assert rig.phone.unsent() == 1
    assert (await rig.phone.sync()).ended is Ended.WIPED
    assert len(rig.server.world.applied) == 2


@pytest.mark.parametrize(
    "answer", [problem(401, "not_authenticated"), problem(413, "body_too_large"), httpx.Response(403, content=b"<html>")]
)
async def test_a_wiped_phone_gives_up_its_own_work_at_the_servers_word_only(answer):
    """Neither a lapsed token nor a hotel's log-in page says that nothing can be handed in any more."""
    rig = await Rig(mutations_max=1).enrolled()
    rig.site("a")
    rig.site("b")
    rig.server.wipe = True
    answers = iter([Fault(), Fault(loss=Loss.REQUEST)])
    rig.plan = lambda request: next(answers, Fault())
    assert (await rig.phone.sync()).ended is Ended.OFFLINE
    rig.server.busy = [answer, answer]  # again after a refresh
    assert (await rig.phone.sync()).ended is Ended.REFUSED
    assert rig.phone.unsent() == 1
    rig.server.busy = []
    assert (await rig.phone.sync()).ended is Ended.WIPED
    assert len(rig.server.world.applied) == 2


async def test_a_lost_phone_that_comes_too_late_to_hand_in_is_wiped_by_the_refusal():
    rig = await Rig().enrolled()
    others_records(rig.server, 5)
    await rig.sync()
    rig.site("a")
    rig.server.busy = [problem(403, "device_revoked", {"wipe": True})]
    assert (await rig.phone.sync()).ended is Ended.WIPED
    assert rig.phone.records("site") == []
    assert rig.phone.account.person is None


async def test_a_revoked_phone_keeps_everything():
    rig = await Rig().enrolled()
    others_records(rig.server, 5)
    await rig.sync()
    rig.site("a")
    rig.server.busy = [problem(403, "device_revoked")]
    assert (await rig.phone.sync()).ended is Ended.REFUSED
    assert rig.phone.unsent() == 1
    assert len(rig.phone.records("site")) == 6


# ------------------------------------------------------------------------------------------------ the wire


async def test_large_requests_travel_compressed_and_small_ones_do_not():
    rig = await Rig().enrolled()
    for k in range(40):
        rig.site(f"工地 {k}")
    await rig.sync()
    part = rig.server.requests[0].counties[COUNTY]
    assert len(part.mutations) == 40
    assert msgspec.json.decode(part.mutations[39], type=Mutation).n == 40
    assert part.n_made == 40


def test_lines_never_hand_out_what_is_not_ended():
    lines = Lines()
    assert lines.feed(b'{"a":1}\n{"b"') == [b'{"a":1}']
    assert lines.feed(b":2}") == []
    assert lines.feed(b"\n\n") == [b'{"b":2}']


def test_several_compressed_frames_in_a_row_are_one_stream():
    zstd = pytest.importorskip("backports.zstd")
    content = zstd.compress(b"one\n") + zstd.compress(b"two\n")
    for size in (1, 3, 7, len(content)):
        unpack = decompressor("zstd")
        pieces = [unpack.decompress(content[i : i + size]) for i in range(0, len(content), size)]
        assert b"".join(pieces) == b"one\ntwo\n"
