"""The phone's copy of the server's records: pages, markers, replacement, repair, leaving, rewind (promises 4, 5, 6, 9)."""

import uuid

import pytest

from contracts.exchange import Limits, Outcomes, Page
from contracts.outcomes import Outcome, Reason
from phone.exchange import Ended
from phone.faults import CrashAt, Fault, Loss
from tests.phone.pretend_server import COUNTY, NEXT_VILLAGE, UNKNOWN_FRAME, VILLAGE
from tests.phone.rig import NEXT_UNIT, UNIT, Rig, others_records

pytestmark = pytest.mark.anyio


async def a_phone_with(count: int, **options) -> tuple[Rig, list[uuid.UUID]]:
    rig = await Rig(**options).enrolled()
    records = others_records(rig.server, count)
    await rig.sync()
    rig.assert_agrees()
    return rig, records


# ------------------------------------------------------------------------------------------------ digest and repair


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM confirmed WHERE rowid % 3 = 0",
        "UPDATE confirmed SET version = version + 5, crc = crc + 1 WHERE rowid % 4 = 0",
        "INSERT INTO confirmed SELECT county, randomblob(16), kind, stream, 1, 1, 1, 1, NULL, body, 99, 1 FROM confirmed",
        "UPDATE confirmed SET stream = '610902001002.field' WHERE rowid % 5 = 0",
    ],
)
async def test_a_damaged_copy_is_noticed_and_only_the_buckets_that_differ_are_repaired(damage):
    rig, records = await a_phone_with(40)
    rig.phone.store.db.execute(damage)
    rig.server.put(records[0], VILLAGE, "site", {"unit": UNIT, "name": "changed"})
    await rig.sync()
    held = rig.phone.store.db.execute("SELECT count(*) FROM confirmed WHERE stream = ?", (VILLAGE,)).fetchone()
    assert held == (40,)
    assert {i: rig.seen(i).body for i in records} == rig.server.bodies()
    asked = [r.repair[VILLAGE] for r in rig.server.requests if r.repair]
    assert len(asked) == 1
    assert 0 < len(asked[0]) < 256
    assert [s.verdict for s in rig.phone.streams()] == ["agrees"]


async def test_a_stream_that_repair_cannot_mend_is_fetched_anew():
    rig, _ = await a_phone_with(5)
    rig.phone.store.db.execute("DELETE FROM confirmed WHERE rowid = 3")
    rig.server.spoil = lambda frame: frame if type(frame).__name__ != "Repair" else _emptied(frame)
    for _ in range(9):
        others_records(rig.server, 1)
        await rig.phone.sync()
        if any(r.cursor == {} for r in rig.server.requests[1:]):
            break
    rig.server.spoil = lambda frame: frame
    await rig.sync()
    rig.assert_agrees()
    assert any(r.cursor == {} for r in rig.server.requests[1:])


def _emptied(frame):
    return type(frame)(stream=frame.stream, head=frame.head, buckets=frame.buckets, records=[])


async def test_an_intact_phone_never_asks_for_repair():
    rig, records = await a_phone_with(10)
    for record in records:
        rig.server.put(record, VILLAGE, "site", {"unit": UNIT, "name": "again"})
        await rig.sync()
    assert not any(r.buckets or r.repair for r in rig.server.requests)


# ------------------------------------------------------------------------------------------------ markers and moves


async def test_a_record_that_moved_is_kept_whichever_page_comes_first():
    for scope in ([VILLAGE, NEXT_VILLAGE], [NEXT_VILLAGE, VILLAGE]):
        rig = await Rig().enrolled()
        rig.server.scope = scope
        (record,) = others_records(rig.server, 1)
        await rig.sync()
        rig.server.put(record, NEXT_VILLAGE, "site", {"unit": NEXT_UNIT, "name": "moved"})
        await rig.sync()
        assert rig.seen(record).body["name"] == "moved"
        rig.assert_agrees()
        rig.assert_never_repaired()


async def test_a_marker_takes_no_copy_that_is_newer_or_of_another_stream():
    rig, (record,) = await a_phone_with(1)
    rig.server.delete(record)
    stale = rig.server.stream(VILLAGE).markers[record]
    rig.server.put(record, VILLAGE, "site", {"unit": UNIT, "name": "revived"})
    await rig.sync()
    rig.server.stream(VILLAGE).seq += 1
    rig.server.stream(VILLAGE).markers[record] = (rig.server.stream(VILLAGE).seq, stale[1])
    await rig.sync()
    assert rig.seen(record).body["name"] == "revived"
    rig.assert_never_repaired()


async def test_what_leaves_stays_visible_for_as_long_as_own_unsent_work_hangs_on_it():
    rig, (record,) = await a_phone_with(1)
    rig.phone.edit(record, {"note": "unsent"})
    rig.server.delete(record)
    # the page arrives in an exchange whose outcomes do not: the push was answered by a busy county
    rig.server.spoil = lambda frame: UNKNOWN_FRAME if isinstance(frame, Outcomes) else frame
    await rig.phone.sync()
    assert rig.seen(record).body["note"] == "unsent"
    assert rig.seen(record).unsent == (1,)
    rig.assert_agrees()  # a detached copy counts in no digest
    rig.server.spoil = lambda frame: frame
    await rig.sync()
    assert rig.phone.view(record) is None
    assert rig.phone.store.db.execute("SELECT count(*) FROM confirmed").fetchone() == (0,)


# ------------------------------------------------------------------------------------------------ replacement


async def test_below_the_floor_the_stream_is_replaced_and_what_was_deleted_is_swept():
    rig, records = await a_phone_with(9, limits=Limits(records=3))
    for record in records[:4]:
        rig.server.delete(record)
    others_records(rig.server, 1, NEXT_VILLAGE)
    rig.server.purge_markers(VILLAGE)
    first = len(rig.server.requests)
    await rig.sync()
    rig.assert_agrees()
    inside = rig.server.requests[first + 1]
    assert inside.replacing == {VILLAGE}  # it took several exchanges, and the server could tell


async def test_a_first_sync_of_several_exchanges_comes_to_an_end_although_it_starts_below_the_floor():
    rig = await Rig(limits=Limits(records=3)).enrolled()
    for record in others_records(rig.server, 12)[6:]:
        rig.server.delete(record)
    rig.server.purge_markers(VILLAGE)
    await rig.sync()
    rig.assert_agrees()
    assert len(rig.server.requests) < 8


async def test_the_sweep_waits_for_the_head_and_spares_unsent_work():
    rig, records = await a_phone_with(9, limits=Limits(records=3))
    rig.server.delete(records[8])
    rig.server.purge_markers(VILLAGE)
    rig.phone.edit(records[8], {"note": "unsent"})
    rig.server.spoil = lambda frame: UNKNOWN_FRAME if isinstance(frame, Outcomes) else frame
    count, answers = 0, iter([Fault(), Fault(loss=Loss.ANSWER)])
    rig.plan = lambda request: next(answers, Fault())
    await rig.phone.sync()
    count = rig.phone.store.db.execute("SELECT count(*) FROM confirmed").fetchone()[0]
    assert count == 9  # replaced up to the cut; nothing swept yet
    await rig.phone.sync()
    rig.assert_agrees()
    assert rig.seen(records[8]).body["note"] == "unsent"


async def test_a_replacement_goes_on_after_a_crash_with_the_same_generation(tmp_path):
    rig, records = await a_phone_with(9, limits=Limits(records=3), path=tmp_path / "store")
    rig.server.delete(records[0])
    rig.server.purge_markers(VILLAGE)
    answers = iter([Fault(), Fault(loss=Loss.REQUEST)])
    rig.plan = lambda request: next(answers, Fault())
    await rig.phone.sync()
    before = rig.phone.streams()[0]
    assert before.replace_from is not None
    rig.reopen(CrashAt(10**9))
    await rig.sync()
    after = rig.phone.streams()[0]
    assert after.generation == before.generation
    assert after.replace_from is None
    rig.assert_agrees()


async def test_a_page_of_another_incarnation_that_is_no_replacement_is_not_believed():
    rig, _ = await a_phone_with(2)
    others_records(rig.server, 1)
    rig.server.spoil = lambda f: (
        Page(stream=f.stream, records=f.records, markers=[], cursor=(9, f.cursor[1]), last=True, head=f.head) if isinstance(f, Page) else f
    )
    before = rig.phone.digest(VILLAGE)
    assert (await rig.phone.sync()).ended is Ended.UNBELIEVABLE
    assert rig.phone.digest(VILLAGE) == before
    rig.server.spoil = lambda frame: frame
    await rig.sync()
    rig.assert_agrees()


# ------------------------------------------------------------------------------------------------ leaving


async def test_a_stream_is_left_only_when_the_own_work_on_its_records_has_its_receipts():
    rig, records = await a_phone_with(4, mutations_max=1)
    for record in records[:3]:
        rig.phone.edit(record, {"note": "before I go"})
    rig.server.scope = [NEXT_VILLAGE]
    answers = iter([Fault(), Fault(loss=Loss.REQUEST)])
    rig.plan = lambda request: next(answers, Fault())
    await rig.phone.sync()
    assert {s.name: s.state for s in rig.phone.streams()} == {NEXT_VILLAGE: "have", VILLAGE: "leaving"}
    assert len(rig.phone.records("site")) == 4
    assert [rig.seen(r).body["note"] for r in records[:3]] == ["before I go"] * 3  # found by the simulator: not the older copy
    await rig.sync()
    assert [s.name for s in rig.phone.streams()] == [NEXT_VILLAGE]
    assert rig.phone.records("site") == []
    assert [rig.server.bodies()[r].get("note") for r in records[:3]] == ["before I go"] * 3


async def test_the_barrier_stands_across_a_restart_and_falls_when_the_stream_is_ours_again(tmp_path):
    rig, records = await a_phone_with(2, mutations_max=1, path=tmp_path / "store")
    for record in records:
        rig.phone.edit(record, {"note": "x"})
    rig.server.scope = [NEXT_VILLAGE]
    answers = iter([Fault(), Fault(loss=Loss.REQUEST)])
    rig.plan = lambda request: next(answers, Fault())
    await rig.phone.sync()
    rig.reopen()
    assert {s.name: s.state for s in rig.phone.streams()}[VILLAGE] == "leaving"
    rig.server.scope = [VILLAGE]
    await rig.sync()
    rig.assert_agrees()
    assert {s.name: s.state for s in rig.phone.streams()} == {VILLAGE: "have"}


async def test_work_on_a_desk_does_not_hold_the_stream_back():
    rig, (record,) = await a_phone_with(1)
    rig.server.judge = lambda m: (Outcome.QUARANTINED, Reason.NO_DUTY)
    rig.phone.edit(record, {"note": "waits"})
    rig.server.scope = [NEXT_VILLAGE]
    await rig.sync()
    assert rig.phone.view(record) is None
    assert [p.n for p in rig.phone.waiting()] == [1]


# ------------------------------------------------------------------------------------------------ rewind


async def test_a_restored_server_is_noticed_and_gets_back_what_it_lost():
    rig, records = await a_phone_with(3)
    backup = rig.server.backup()
    rig.phone.edit(records[0], {"note": "one"})
    made = rig.site("two")
    await rig.sync()
    rig.phone.edit(made, {"note": "three"})
    await rig.sync()
    rig.server.restore(backup)
    await rig.sync()
    bodies = rig.server.bodies()
    assert bodies[records[0]]["note"] == "one"
    assert bodies[made]["note"] == "three"
    assert len({m.id for m in rig.server.world.applied}) == len(rig.server.world.applied) == 3
    assert rig.server.incarnation == 2
    rig.assert_agrees()
    rig.assert_never_repaired()
    assert rig.seen(made).body["note"] == "three"


async def test_a_decision_that_a_restore_undid_is_open_again_on_the_phone():
    """Found by the simulator: the phone went on to say `discarded` of what waited on the desk again."""
    rig, (record,) = await a_phone_with(1)
    rig.server.judge = lambda m: (Outcome.QUARANTINED, Reason.NO_DUTY)
    rig.phone.edit(record, {"note": "waits"})
    await rig.sync()
    backup = rig.server.backup()
    rig.server.settle(rig.phone.account.device, 1, Outcome.REJECTED, Reason.DISCARDED)
    rig.server.judge = lambda m: (Outcome.APPLIED, Reason.OK)
    rig.site("shows the server what it lost")
    await rig.sync()
    assert [p.n for p in rig.phone.refused()] == [1]
    rig.server.restore(backup)
    await rig.sync()
    assert [p.n for p in rig.phone.waiting()] == [1]
    assert rig.phone.refused() == []
    assert rig.seen(record).body["note"] == "waits"


async def test_an_older_version_is_the_newer_truth_after_a_restore():
    rig, (record,) = await a_phone_with(1)
    backup = rig.server.backup()
    for k in range(5):
        rig.server.put(record, VILLAGE, "site", {"unit": UNIT, "name": f"lost {k}"})
    own = rig.site("own")
    await rig.sync()
    assert rig.seen(record).version == (1, 6)
    rig.server.restore(backup)
    await rig.sync()
    assert rig.seen(record).version == (1, 1)
    assert rig.seen(record).body["name"] == "site 1"
    assert own in rig.server.bodies()
    rig.assert_agrees()
    rig.assert_never_repaired()


async def test_a_stream_younger_than_the_backup_is_emptied_and_own_work_on_it_is_handed_in_again():
    rig = await Rig().enrolled()
    team, own = "610902-team.field", "610902001001.field"
    rig.server.scope = [own, team]
    backup = rig.server.backup()
    (theirs,) = others_records(rig.server, 1, team)
    mine = rig.phone.create("site", COUNTY, {"unit": "610902-team", "name": "mine"})
    await rig.sync()
    assert len(rig.phone.records("site")) == 2
    rig.server.restore(backup)
    rig.server.judge = lambda m: (Outcome.REJECTED, Reason.NOT_ALLOWED_NOW)
    await rig.sync()
    assert rig.phone.view(theirs) is None
    assert rig.phone.view(mine) is None
    assert [p.mutation.record for p in rig.phone.refused()] == [mine]
    assert [s.name for s in rig.phone.streams()] == [own]
    rig.assert_agrees()


async def test_what_nobody_holds_any_more_is_said_and_not_offered():
    rig, _ = await a_phone_with(1)
    backup = rig.server.backup()
    for k in range(4):
        rig.site(str(k))
    rig.server.n_safe = 2
    await rig.sync()
    assert rig.phone.store.db.execute("SELECT min(n) FROM mutation").fetchone() == (3,)
    rig.server.restore(backup)
    await rig.phone.sync()
    offered = rig.server.requests[-1].counties[COUNTY]
    assert (offered.n_oldest_held, offered.first_n, len(offered.mutations)) == (3, 3, 2)


@pytest.mark.parametrize("careless", [False, True])
async def test_numbers_between_a_restored_server_and_the_last_receipt_are_not_lost(careless):
    """The backup holds 1, which the phone never had a receipt for; its receipt says 2; it comes with 3."""
    rig = await Rig().enrolled()
    rig.server.careless = careless
    rig.site("1")
    rig.plan = lambda request: Fault(loss=Loss.ANSWER)
    await rig.phone.sync()
    rig.plan = lambda request: Fault()
    rig.site("2")
    backup = rig.server.backup()
    await rig.sync()
    rig.server.restore(backup)
    rig.site("3")
    await rig.sync()
    await rig.sync()
    assert {body["name"] for body in rig.server.bodies().values()} == {"1", "2", "3"}
    assert len(rig.server.world.applied) == 3
    rig.assert_agrees()
    exchanges = rig.server.exchanges
    await rig.sync()
    assert rig.server.exchanges == exchanges + 1  # a hole that was filled is not offered for ever


async def test_a_store_copied_back_from_an_old_phone_is_told_apart():
    """The server knows more of this device than the device itself: a cloned or restored phone must enrol again."""
    rig = await Rig().enrolled()
    rig.server.world.n_high[rig.phone.account.device] = 12
    rig.site()
    synced = await rig.phone.sync()
    assert synced.problem == "device_cloned"
