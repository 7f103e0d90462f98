"""What a connection, a copied store and a damaged mutation do to one phone's work."""

import shutil
import sqlite3
from pathlib import Path

import httpx
import msgspec

from contracts.exchange import EXCHANGE_PATH
from contracts.ids import problem_id
from contracts.outcomes import Outcome, Reason
from contracts.people import Role
from phone.exchange import Ended
from phone.faults import Fault, Loss
from phone.phone import Phone
from tests.stories.day import (
    OK,
    SITE,
    TASK,
    Day,
    agreed,
    body,
    hidden,
    made,
    only_conflict,
    result,
    seen,
    shared_inspection,
    shared_site,
    sync,
)
from tests.world import COUNTY, PASSWORD, VILLAGE_A, VILLAGE_B


class Exchanges:
    """A plan in which only exchanges fail: the k-th one as told, all others well."""

    def __init__(self, **faults: Fault) -> None:
        self.faults = {int(name.removeprefix("nr")): fault for name, fault in faults.items()}
        self.count = 0

    def __call__(self, request: httpx.Request) -> Fault:
        if request.url.path != EXCHANGE_PATH:
            return Fault()
        self.count += 1
        return self.faults.get(self.count, Fault())


# ---------------------------------------------------------------------------------------------- one phone's order


async def test_a_chain_of_five_offline_edits_applies_in_the_order_it_was_made(day: Day) -> None:
    """Promise 7. Nobody else touched the record: no edit of the chain meets another."""
    a, b = await day.two()
    site = shared_site(a)
    await sync(a, b)
    edits = [a.edit(site, {"note": f"第{k}次"}) for k in range(1, 6)]
    await sync(a, b)
    assert [result(a, edit) for edit in edits] == [(Outcome.APPLIED, OK)] * 5
    assert body(b, site)["note"] == "第5次"
    agreed(a, b)


async def test_a_chain_meets_another_persons_edit_once(day: Day) -> None:
    """Promises 7 and 8. The first edit of the chain conflicts; the later ones saw the first and go through."""
    a, b = await day.two()
    lead = await day.lead()
    site = shared_site(a)
    await sync(a, b)
    b.edit(site, {"note": "乙的说法"})
    first, second = a.edit(site, {"note": "甲一"}), a.edit(site, {"note": "甲二"})
    await sync(b, a, b, lead)
    assert [result(a, edit)[0] for edit in (first, second)] == [Outcome.CONFLICT, Outcome.APPLIED]
    assert body(b, site)["note"] == "甲二"
    assert only_conflict(lead).body["lost"] == "乙的说法"


async def test_a_record_may_be_made_edited_and_finished_in_one_push(day: Day) -> None:
    """Promise 7."""
    lead = await day.lead()
    a = await day.member()
    task = lead.create("task", COUNTY, TASK)
    lead.edit(task, {"note": "先看北门"})
    lead.command(task, "task.finish", {"result": "当场整改"})
    await sync(lead, a)
    assert (body(a, task)["state"], body(a, task)["note"], body(a, task)["result"]) == ("finished", "先看北门", "当场整改")


# ---------------------------------------------------------------------------------------------- answers that do not come


async def test_a_lost_answer_is_repeated_and_changes_nothing(day: Day) -> None:
    """Promise 2."""
    person = await day.world.person("甲", (Role.GRID_MEMBER, VILLAGE_A))
    a = await day.phone_with(person, Exchanges(nr2=Fault(loss=Loss.ANSWER)))
    b = await day.member("乙")
    await sync(a)
    site = shared_site(a)
    edit = a.edit(site, {"comments": [{"id": "c1", "text": "门口有泥"}]})
    assert (await a.sync()).ended is Ended.OFFLINE
    assert a.unsent() == 2
    before = await _state(day)
    await sync(a, b)
    assert await _state(day) == before
    assert result(a, edit) == (Outcome.APPLIED, OK)
    assert len(body(b, site)["comments"]) == 1
    agreed(a, b)


async def test_a_request_that_arrives_twice_counts_once(day: Day) -> None:
    """Promise 2."""
    person = await day.world.person("甲", (Role.GRID_MEMBER, VILLAGE_A))
    a = await day.phone_with(person, Exchanges(nr1=Fault(loss=Loss.TWICE)))
    site = shared_site(a, tags=["一"])
    a.edit(site, {"tags": ["一", "二"]})
    await sync(a)
    assert body(a, site)["tags"] == ["一", "二"]
    assert await day.world.pool.fetchval("SELECT count(*) FROM journal WHERE what = 'mutation'") == 2
    agreed(a)


async def test_an_answer_cut_anywhere_is_made_good(day: Day) -> None:
    """Promises 2 and 5. Whatever had arrived whole counts; the rest comes with the next exchange."""
    b = await day.member("乙")
    for k in range(12):
        shared_site(b, name=f"工地{k}")
    await sync(b)
    for cut in range(0, 2400, 200):
        person = await day.world.person(f"甲{cut}", (Role.GRID_MEMBER, VILLAGE_A))
        a = await day.phone_with(person, Exchanges(nr1=Fault(loss=Loss.CUT, cut_after_bytes=cut)))
        a.create("site", COUNTY, {**SITE, "name": f"断线{cut}"})
        await a.sync()
        await sync(a, b)
        agreed(a, b)
    assert len(b.records("site")) == 24


async def _state(day: Day) -> list[tuple[object, ...]]:
    """All that a repetition might change: records, heads, journal."""
    found = []
    for statement in (
        "SELECT id, stream, seq, version, deleted, body::text FROM record ORDER BY id",
        "SELECT stream, seq, count, digest FROM stream_head ORDER BY stream",
        "SELECT device, n, entry, outcome, reason, version FROM journal ORDER BY device, n, entry",
    ):
        found += [tuple(row.values()) for row in await day.world.pool.fetch(statement)]
    return found


# ---------------------------------------------------------------------------------------------- damaged and foreign work


async def test_one_undecodable_mutation_harms_nobody_but_what_builds_on_it(day: Day) -> None:
    """Promise 3. The damaged one is kept as bytes, the one that builds on it waits, the others go through."""
    a = await day.member()
    b = await day.member("乙")
    good, bad, also_good = shared_site(a, name="好一"), shared_site(a, name="受损一"), shared_site(a, name="好二")
    depends = a.edit(bad, {"note": "接着写"})
    _damage(a, 2, b'"unit"', b'"unit": 17, "was"')
    await sync(a, b)
    assert body(b, good)["name"] == "好一"
    assert body(b, also_good)["name"] == "好二"
    assert b.view(bad) is None
    assert body(a, bad)["note"] == "接着写"  # its author still sees it
    assert result(a, depends) == (Outcome.DEFERRED, Reason.WAITS_FOR.value)
    assert await day.held() == [("quarantined", "malformed"), ("deferred", "waits_for")]
    assert await day.journal_raw("受损一") == 1
    assert a.unsent() == 0


async def test_a_mutation_that_is_not_even_json_is_kept(day: Day) -> None:
    """Promise 3."""
    a = await day.member()
    shared_site(a, name="读不懂")
    later = shared_site(a, name="读得懂")
    a.store.db.execute("UPDATE mutation SET raw = ? WHERE n = 1", ('["读不懂"]'.encode(),))
    assert (await a.sync()).unsent == 0
    assert not seen(a, later).unsent
    assert await day.held() == [("quarantined", "malformed")]
    assert await day.journal_raw("读不懂") == 1


def _damage(phone: Phone, n: int, old: bytes, new: bytes) -> None:
    (raw,) = phone.store.db.execute("SELECT raw FROM mutation WHERE n = ?", (n,)).fetchone()
    assert old in raw
    phone.store.db.execute("UPDATE mutation SET raw = ? WHERE n = ?", (raw.replace(old, new, 1), n))


async def test_fields_of_a_newer_app_survive_a_round_trip_through_an_older_one(day: Day) -> None:
    """Promise 3. An app that does not know a field never erases it."""
    a, b = await day.two()
    site = shared_site(a, drone={"height_m": 40, "route": ["北", "南"]})
    await sync(a, b)
    b.edit(site, {"note": "旧版应用的修改"})
    await sync(b, a)
    assert body(a, site)["drone"] == {"height_m": 40, "route": ["北", "南"]}
    a.edit(site, {"drone": {"height_m": 60}})
    await sync(a, b)
    assert body(b, site)["drone"] == {"height_m": 60}
    agreed(a, b)


# ---------------------------------------------------------------------------------------------- copied stores


async def test_a_cloned_phone_loses_nothing_and_must_enrol_again(day: Day) -> None:
    """Promises 2 and 3. The same number with another mutation: kept for the desk, told to both, and to enrol again."""
    original = await day.member()
    shared_site(original, name="之前")
    await sync(original)
    clone = _copied(day, original)
    shared_site(original, name="原机")
    shared_site(clone, name="副本")
    await sync(original)
    told = await clone.sync()
    assert told.problem == Reason.DEVICE_CLONED.value
    assert await day.journal_raw("原机") == await day.journal_raw("副本") == 1
    assert await day.held() == [("quarantined", "device_cloned")]
    assert (await original.sync()).problem == Reason.DEVICE_CLONED.value


async def test_a_store_put_back_from_an_older_copy_is_noticed(day: Day) -> None:
    """Promise 2. The phone itself sees that the server knows more of it than it made."""
    original = await day.member()
    shared_site(original, name="之前")
    await sync(original)
    old = _copied(day, original)
    shared_site(original, name="之后")
    await sync(original)
    assert (await old.sync()).problem == Reason.DEVICE_CLONED.value


def _copied(day: Day, phone: Phone) -> Phone:
    """Somebody copies the whole store to a second phone."""
    path = Path(phone.store.path).with_suffix(".copy")
    with sqlite3.connect(path) as copy:
        phone.store.db.backup(copy)
    copy.close()
    shutil.copytree(f"{phone.store.path}.photos", f"{path}.photos", dirs_exist_ok=True)
    return Phone(path, day.world.client, durable=False, clock=phone.clock)


# ---------------------------------------------------------------------------------------------- a no opens a problem


async def test_a_no_opens_a_problem_that_knows_who_acts_on_it(day: Day) -> None:
    """Promise 2. Its id follows from inspection and item, so whoever opens it opens the same one."""
    a = await day.member()
    site = shared_site(a, position=None)
    visit = shared_inspection(a, site=str(site), answers={"covering": {"value": "no", "note": "东侧裸土"}})
    a.command(visit, "inspection.submit")
    await sync(a)
    problem = problem_id(visit, "covering")
    assert [view.id for view in a.records("problem")] == [problem]
    opened = body(a, problem)
    assert (opened["state"], opened["finding"], opened["inspection"]) == ("reported", "dust_no_covering", str(visit))
    assert opened["description"] == "东侧裸土"
    assert "housing_bureau" in opened["departments"]
    assert opened["reported_by"] == str(a.account.person)


async def test_a_problem_the_phone_opened_itself_offline_is_the_same_one(day: Day) -> None:
    """Promise 2. The phone had opened it before it handed in the inspection; nothing is doubled, nothing disputed."""
    a = await day.member()
    visit = shared_inspection(a, answers={"covering": {"value": "no"}})
    a.command(visit, "inspection.submit")
    problem = problem_id(visit, "covering")
    _create_as(
        a, problem, {"unit": VILLAGE_A, "subject": "construction_dust", "inspection": str(visit), "item": "covering", "title": "裸土"}
    )
    await sync(a)
    assert [view.id for view in a.records("problem")] == [problem]
    assert body(a, problem)["title"] == "裸土"
    assert body(a, problem)["departments"]
    assert a.disputed() == []


def _create_as(phone: Phone, record: object, fields: dict[str, object]) -> None:
    """A creation under an id that the app derived."""
    phone._enter(COUNTY, record, "problem", "create", None, body=msgspec.json.encode(fields))  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- settlements come back


async def test_a_settlement_reaches_both_phones(day: Day) -> None:
    """Promise 4. Settled as what had lost."""
    a, b, lead, site = await _disputed(day)
    lead.command(only_conflict(lead).id, "conflict.settle", args={"choice": "lost"})
    await sync(lead, a, b)
    assert body(a, site)["contact"] == body(b, site)["contact"] == "张三"
    assert lead.conflicts() == []
    agreed(a, b)


async def test_a_settlement_as_kept_changes_no_record(day: Day) -> None:
    a, b, lead, site = await _disputed(day)
    before = seen(a, site).version
    lead.command(only_conflict(lead).id, "conflict.settle", args={"choice": "kept"})
    await sync(lead, a, b)
    assert body(a, site)["contact"] == body(b, site)["contact"] == "李四"
    assert seen(a, site).version == before
    assert lead.conflicts() == []


async def test_a_settlement_as_something_else(day: Day) -> None:
    a, b, lead, site = await _disputed(day)
    lead.command(only_conflict(lead).id, "conflict.settle", args={"choice": "other", "value": "王五"})
    await sync(lead, a, b)
    assert body(a, site)["contact"] == body(b, site)["contact"] == "王五"


async def test_a_settlement_that_is_no_value_of_the_field_is_refused(day: Day) -> None:
    """Promise 3. The record stays readable for every phone."""
    a, _, lead, site = await _disputed(day)
    settle = lead.command(only_conflict(lead).id, "conflict.settle", args={"choice": "other", "value": {"not": "a name"}})
    await sync(lead, a)
    assert result(lead, settle) == (Outcome.REJECTED, Reason.MALFORMED.value)
    assert body(a, site)["contact"] == "李四"
    assert len(lead.conflicts()) == 1


async def test_a_dispute_over_the_village_is_settled_by_moving_the_record(day: Day) -> None:
    """Promise 6."""
    a = await day.member("甲")
    there = await day.member("乙村", VILLAGE_B)
    lead, other = await day.lead(), await day.lead("另一负责人")
    site = shared_site(a)
    await sync(a, lead, other)
    lead.edit(site, {"unit": VILLAGE_B})
    other.edit(site, {"unit": "610902001"})
    await sync(lead, other, lead)
    lead.command(only_conflict(lead).id, "conflict.settle", args={"choice": "lost"})
    await sync(lead, there, a)
    assert body(there, site)["unit"] == VILLAGE_B
    assert hidden(a, site)
    agreed(there)
    agreed(lead)


async def test_only_an_office_settles(day: Day) -> None:
    a, _, lead, _ = await _disputed(day)
    conflict = only_conflict(lead)
    settle = a.command(conflict.id, "conflict.settle", args={"choice": "lost"}, seen=conflict)
    await sync(a)
    assert result(a, settle)[0] in (Outcome.REJECTED, Outcome.QUARANTINED)


async def _disputed(day: Day) -> tuple[Phone, Phone, Phone, object]:
    """A wrote 张三, B wrote 李四 without having seen it."""
    a, b = await day.two()
    lead = await day.lead()
    site = shared_site(a)
    await sync(a, b)
    a.edit(site, {"contact": "张三"})
    b.edit(site, {"contact": "李四"})
    await sync(a, b, a, lead)
    assert body(a, site)["contact"] == "李四"
    return a, b, lead, site


async def test_enrolling_anew_gives_a_new_device(day: Day) -> None:
    """A second enrolment of the same store is the same device: nothing starts over."""
    a = await day.member()
    device = a.account.device
    number = await day.world.pool.fetchval("SELECT phone FROM person p JOIN device d ON d.person = p.id WHERE d.id = $1", device)
    await a.account.enrol(number, PASSWORD, "again")
    shared_site(a)
    await sync(a)
    assert a.account.device == device
    assert made(a.edit(a.records("site")[0].id, {"note": "x"}))
