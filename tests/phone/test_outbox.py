"""What a person enters: numbered, durable, based on what they saw, and deleted only when the server has it for good."""

import json
import uuid

import pytest

from contracts.exchange import Page
from contracts.outcomes import Outcome, Reason
from phone.outbox import KEPT_WITHOUT_BACKUP_MS, fetch_unsent, offer_again
from tests.phone.pretend_server import COUNTY, NEXT_VILLAGE, UNKNOWN_FRAME, VILLAGE
from tests.phone.rig import NEXT_UNIT, UNIT, Rig, others_records

pytestmark = pytest.mark.anyio


def raw_of(rig: Rig, n: int) -> dict:
    row = rig.phone.store.db.execute("SELECT raw FROM mutation WHERE county = ? AND n = ?", (COUNTY, n)).fetchone()
    return json.loads(row[0])


async def test_numbers_have_no_gap_and_are_never_given_twice(tmp_path):
    rig = await Rig(tmp_path / "store").enrolled()
    rig.site("a")
    rig.site("b")
    rig.reopen()
    rig.site("c")
    assert [n for (n,) in rig.phone.store.db.execute("SELECT n FROM mutation ORDER BY n")] == [1, 2, 3]


async def test_what_the_server_would_keep_cut_is_refused_when_it_is_entered():
    """Promise 3. The receipt would cover the rest, too, and the phone let go of the whole."""
    rig = await Rig().enrolled()
    record = rig.site("a")
    with pytest.raises(ValueError, match="at most"):
        rig.phone.edit(record, {"note": "长" * 100_000})
    rig.phone.edit(record, {"note": "长" * 80_000})
    assert [n for (n,) in rig.phone.store.db.execute("SELECT n FROM mutation ORDER BY n")] == [1, 2]
    assert rig.seen(record).body["note"] == "长" * 80_000


async def test_the_base_is_the_version_seen_then_the_own_earlier_mutation():
    rig = await Rig().enrolled()
    (record,) = others_records(rig.server, 1)
    await rig.sync()
    first = rig.phone.edit(record, {"note": "once"})
    rig.phone.edit(record, {"note": "twice"})
    assert raw_of(rig, 1)["base"] == [1, 1]
    assert raw_of(rig, 2)["base"] == str(first)
    assert raw_of(rig, 2)["fields"] == {"note": ["once", "twice"]}


async def test_a_creation_has_no_base_and_what_follows_builds_on_it():
    rig = await Rig().enrolled()
    record = rig.site()
    rig.phone.edit(record, {"name": "new name"})
    assert raw_of(rig, 1)["base"] is None
    assert raw_of(rig, 2)["base"] == raw_of(rig, 1)["id"]


async def test_an_edit_is_based_on_what_was_on_the_screen_not_on_what_came_meanwhile():
    rig = await Rig().enrolled()
    (record,) = others_records(rig.server, 1)
    await rig.sync()
    on_screen = rig.seen(record)
    rig.server.put(record, VILLAGE, "site", {"unit": UNIT, "name": "theirs", "subjects": []})
    await rig.sync()
    rig.phone.edit(record, {"name": "mine"}, seen=on_screen)
    assert raw_of(rig, 1)["base"] == [1, 1]
    assert raw_of(rig, 1)["fields"] == {"name": ["site 1", "mine"]}


async def test_one_answer_of_a_checklist_is_a_field_of_its_own():
    rig = await Rig().enrolled()
    record = rig.phone.create("inspection", COUNTY, {"unit": UNIT, "answers": {"net": {"value": "yes"}}})
    rig.phone.edit(record, {"answers.net": {"value": "no"}, "answers.fog": {"value": "yes"}})
    fields = raw_of(rig, 2)["fields"]
    assert fields == {"answers.net": [{"value": "yes"}, {"value": "no"}], "answers.fog": [None, {"value": "yes"}]}
    assert rig.seen(record).body["answers"] == {"net": {"value": "no"}, "fog": {"value": "yes"}}


async def test_saving_without_a_change_makes_no_mutation():
    rig = await Rig().enrolled()
    record = rig.site("same")
    assert rig.phone.edit(record, {"name": "same"}) is None
    assert rig.phone.unsent() == 1


async def test_a_record_of_an_unknown_unit_or_not_here_cannot_be_meant():
    rig = await Rig().enrolled()
    with pytest.raises(ValueError, match="county"):
        rig.phone.create("site", None, {"unit": "999999999999", "name": "x", "subjects": []})
    with pytest.raises(ValueError, match="not on this phone"):
        rig.phone.edit(others_records(rig.server, 1)[0], {"name": "x"})


async def test_own_work_stays_visible_until_a_page_shows_it_also_when_only_its_receipt_came():
    rig = await Rig().enrolled()
    (record,) = others_records(rig.server, 1)
    await rig.sync()
    rig.phone.edit(record, {"note": "mine"})
    rig.server.scope.clear()  # the receipt comes, no page does
    rig.server.spoil = lambda frame: UNKNOWN_FRAME if type(frame).__name__ == "Scope" else frame
    await rig.phone.sync()
    own = rig.phone.find(rig.seen(record).base)
    assert own is not None
    assert own.outcome is Outcome.APPLIED
    assert rig.seen(record).body["note"] == "mine"
    rig.server.scope.append(VILLAGE)
    rig.server.spoil = lambda frame: frame
    await rig.sync()
    assert rig.seen(record).version == (1, 2)
    assert rig.seen(record).base == (1, 2)
    assert rig.seen(record).body["note"] == "mine"


async def test_own_work_stays_visible_until_the_slowest_stream_is_read():
    rig = await Rig().enrolled()
    (record,) = others_records(rig.server, 1)
    rig.server.scope = [NEXT_VILLAGE, VILLAGE]
    await rig.sync()
    rig.phone.edit(record, {"note": "mine"})
    rig.server.spoil = lambda f: UNKNOWN_FRAME if isinstance(f, Page) and f.stream == VILLAGE else f
    await rig.phone.sync()  # the other stream's head is reached, this one's page got lost
    assert rig.phone.unsent() == 0
    assert rig.seen(record).body["note"] == "mine"
    rig.server.spoil = lambda frame: frame
    await rig.sync()
    assert rig.seen(record).base == (1, 2)


async def test_a_later_value_of_somebody_else_replaces_own_work_once_pages_show_both():
    rig = await Rig().enrolled()
    (record,) = others_records(rig.server, 1)
    await rig.sync()
    rig.phone.edit(record, {"name": "mine"})
    await rig.sync()
    rig.server.put(record, VILLAGE, "site", {"unit": UNIT, "name": "theirs, later", "subjects": []})
    await rig.sync()
    assert rig.seen(record).body["name"] == "theirs, later"


async def test_what_was_rejected_is_not_shown_as_if_it_were_so_but_is_told():
    rig = await Rig().enrolled()
    (record,) = others_records(rig.server, 1)
    await rig.sync()
    rig.server.judge = lambda m: (Outcome.REJECTED, Reason.NOT_ALLOWED_NOW)
    rig.phone.command(record, "task.accept", shows={"state": "accepted"})
    assert rig.seen(record).body["state"] == "accepted"
    await rig.sync()
    assert "state" not in rig.seen(record).body
    assert [(p.reason, p.mutation.op) for p in rig.phone.refused()] == [("not_allowed_now", "task.accept")]


async def test_work_on_a_desk_stays_visible_as_waiting_and_its_end_is_learnt_by_a_record():
    rig = await Rig().enrolled()
    (record,) = others_records(rig.server, 1)
    await rig.sync()
    rig.server.judge = lambda m: (Outcome.QUARANTINED, Reason.NO_DUTY)
    rig.phone.edit(record, {"note": "seen at night"})
    await rig.sync()
    assert rig.seen(record).waiting == (1,)
    assert rig.seen(record).body["note"] == "seen at night"
    rig.server.settle(rig.phone.account.device, 1, Outcome.APPLIED, Reason.RELEASED)
    rig.server.scope.reverse()  # the device's own stream is read first, then a village with other news
    rig.server.put(uuid.uuid4(), VILLAGE, "site", {"unit": UNIT, "name": "news"})
    await rig.sync()  # its end is known, but this village's page may have been read before it
    assert rig.seen(record).body["note"] == "seen at night"
    rig.server.put(record, VILLAGE, "site", {"unit": UNIT, "name": "site 1", "note": "seen at night", "subjects": []})
    await rig.sync()
    assert rig.phone.waiting() == []
    assert rig.seen(record).base == (1, 2)


async def test_waiting_work_stays_visible_although_every_stream_is_read_to_its_head():
    rig = await Rig().enrolled()
    (record,) = others_records(rig.server, 1)
    await rig.sync()
    rig.server.judge = lambda m: (Outcome.DEFERRED, Reason.SERVER_FAILED)
    rig.server._tell = lambda *args, **final: None  # no record of the device's own stream says so again
    rig.phone.edit(record, {"note": "mine"})
    await rig.sync()
    await rig.sync()
    assert rig.seen(record).body["note"] == "mine"
    assert rig.seen(record).waiting == (1,)


async def test_discarded_work_is_taken_off_the_screen_and_told():
    rig = await Rig().enrolled()
    (record,) = others_records(rig.server, 1)
    await rig.sync()
    rig.server.judge = lambda m: (Outcome.DEFERRED, Reason.SERVER_FAILED)
    rig.phone.edit(record, {"note": "broken"})
    await rig.sync()
    rig.server.settle(rig.phone.account.device, 1, Outcome.REJECTED, Reason.DISCARDED)
    await rig.sync()
    assert "note" not in rig.seen(record).body
    assert [p.reason for p in rig.phone.refused()] == ["discarded"]


async def test_a_creation_outside_the_own_scope_disappears_from_the_lists_once_everything_is_read():
    rig = await Rig().enrolled()
    record = rig.phone.create("problem", COUNTY, {"unit": NEXT_UNIT, "subject": "dust"})
    await rig.sync()
    assert rig.phone.view(record) is None
    assert record in rig.server.bodies("610902001002.field")


async def test_without_a_backup_mutations_are_kept_thirty_server_days():
    rig = await Rig().enrolled()
    rig.site()
    await rig.sync()
    rig.server.now_ms += KEPT_WITHOUT_BACKUP_MS - 60_000
    await rig.sync()
    assert rig.phone.store.db.execute("SELECT count(*) FROM mutation").fetchone() == (1,)
    rig.server.now_ms += 120_000
    await rig.sync()
    assert rig.phone.store.db.execute("SELECT count(*) FROM mutation").fetchone() == (0,)
    rig.site()
    assert raw_of(rig, 2)["n"] == 2  # a number is not given out again because nothing is held any more


async def test_with_a_backup_mutations_are_kept_until_they_are_inside_it_and_only_from_the_front():
    rig = await Rig().enrolled()
    rig.server.n_safe = 0
    judged = iter([Outcome.APPLIED, Outcome.DEFERRED, Outcome.APPLIED])
    rig.server.judge = lambda m: (next(judged), Reason.OK)
    for name in "abc":
        rig.site(name)
    await rig.sync()
    held = "SELECT n FROM mutation ORDER BY n"
    rig.server.now_ms += 2 * KEPT_WITHOUT_BACKUP_MS
    await rig.sync()
    assert rig.phone.store.db.execute(held).fetchall() == [(1,), (2,), (3,)]
    rig.server.n_safe = 3
    await rig.sync()
    assert rig.phone.store.db.execute(held).fetchall() == [(2,), (3,)]  # 2 still waits on its desk
    assert rig.server.requests[-1].counties[COUNTY].n_oldest_held == 1


async def test_what_a_desk_refuses_after_weeks_can_be_read_for_thirty_days_from_then():
    """Promise 3. It came home when its receipt was 35 days old: the refusal went in the exchange that brought it."""
    rig = await Rig().enrolled()
    rig.server.judge = lambda m: (Outcome.QUARANTINED, Reason.NO_DUTY)
    rig.site()
    await rig.sync()
    rig.server.settle(rig.phone.account.device, 1, Outcome.REJECTED, Reason.DISCARDED)
    rig.server.now_ms += KEPT_WITHOUT_BACKUP_MS + 60_000
    for _ in range(3):
        await rig.sync()
        assert [one.reason for one in rig.phone.refused()] == ["discarded"]
    rig.server.now_ms += KEPT_WITHOUT_BACKUP_MS + 60_000
    await rig.sync()
    assert rig.phone.refused() == []


async def test_a_batch_is_an_unbroken_run_of_numbers():
    rig = await Rig().enrolled()
    for k in range(5):
        rig.site(str(k))
    await rig.sync()
    offer_again(rig.phone.store.db, COUNTY, 2, 3)
    offer_again(rig.phone.store.db, COUNTY, 5, 5)
    first_n, batch = fetch_unsent(rig.phone.store.db, COUNTY, 50, 10**6)
    assert (first_n, [json.loads(bytes(raw))["n"] for raw in batch]) == (2, [2, 3])
    await rig.sync()
    assert rig.phone.unsent() == 0


async def test_a_batch_too_large_is_halved_until_it_passes():
    rig = await Rig(mutations_max=40).enrolled()
    rig.server.mutations_max = 7
    for k in range(30):
        rig.site(str(k))
    await rig.sync()
    assert rig.phone.unsent() == 0
    assert len(rig.server.bodies()) == 30


async def test_others_entries_of_a_set_stay_visible_below_own_additions():
    rig = await Rig().enrolled()
    (record,) = others_records(rig.server, 1)
    rig.server.put(record, VILLAGE, "site", {"unit": UNIT, "name": "s", "subjects": ["dust", "noise"]})
    await rig.sync()
    rig.phone.edit(record, {"subjects": ["dust", "sewage"]})
    rig.phone.store.db.execute("UPDATE confirmed SET body = ?", (json.dumps({"subjects": ["dust", "noise", "smoke"]}),))
    assert rig.seen(record).body["subjects"] == ["dust", "smoke", "sewage"]
