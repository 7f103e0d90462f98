"""The console's ledgers: every filter, the three orders, key paging, and that they never lag behind what was pushed."""

import uuid
from datetime import timedelta

import pytest

from contracts.people import Role
from storage.ledger import rebuild_ledgers, rebuild_missing
from tests.api.casework import Office, call, command, read
from tests.world import COUNTY, DEPARTMENT, MORNING, TOWNSHIP, VILLAGE_A, VILLAGE_B

PROBLEMS = "/office/v1/ledgers/problems"


async def test_each_filter_holds_for_what_is_shown(office: Office) -> None:
    site = await office.site("金州路一号工地", address="金州路")
    await office.problem("甲：裸土未覆盖", site=str(site), finding="bare_soil", ledgers=["qinling"], source="hotline_12345")
    b = await office.problem("乙：河道垃圾", unit=VILLAGE_B, subject="river_outfalls", description="岸边堆放建筑垃圾")
    c = await office.problem("丙：油烟")
    await office.assign(b, "2026-11-25")
    await office.assign(c, "2026-12-31", TOWNSHIP)
    await office.supervise(b, "red")
    titles = office.titles
    lead = office.lead
    first = ["甲：裸土未覆盖"]
    assert await titles(lead) == ["乙：河道垃圾", "丙：油烟", *first]
    assert await titles(lead, state="assigned") == ["乙：河道垃圾", "丙：油烟"]
    assert await titles(lead, state=["verified", "closed_out"]) == first
    assert await titles(lead, subject="river_outfalls") == ["乙：河道垃圾"]
    assert await titles(lead, source="hotline_12345") == first
    assert await titles(lead, finding="bare_soil") == first
    assert await titles(lead, name="qinling") == first
    assert await titles(lead, site=str(site)) == first
    assert await titles(lead, unit=VILLAGE_B) == ["乙：河道垃圾"]
    assert await titles(lead, unit=TOWNSHIP, state="verified") == first
    assert await titles(lead, department=DEPARTMENT) == ["乙：河道垃圾"]
    assert await titles(lead, due_from="2026-11-26") == ["丙：油烟"]
    assert await titles(lead, due_from="2026-11-25", due_to="2026-11-25") == ["乙：河道垃圾"]
    assert await titles(lead, due_to="2026-11-24") == []
    assert await titles(lead, colour="red") == ["乙：河道垃圾"]
    assert await titles(lead, colour="white") == []
    assert await titles(lead, returned=1) == []
    assert await titles(lead, is_open=False) == []
    # the field member sees the village, and none of the rest
    assert await titles(office.member) == ["丙：油烟", *first]
    assert await titles(office.handler, "assignments") == ["乙：河道垃圾"]
    assert await titles(office.handler) == []


async def test_the_office_finds_what_names_an_unknown_subject(office: Office) -> None:
    known = (await office.world.client.get("/sync/v1/subjects")).json()
    assert {"code": "construction_dust", "zh": "施工扬尘"} in known
    await office.problem("甲：裸土未覆盖", subject="construction_dust")
    slip = await office.problem("乙：扬尘", subject="dust")
    await office.site("工地", subjects=["inn"])
    assert await office.titles(office.lead, subject_unknown=True) == ["乙：扬尘"]
    assert await office.titles(office.lead, "sites", subject_unknown=True) == ["工地"]
    assert await office.do(office.lead, command("problem", slip, "edit", {"subject": ["dust", "construction_dust"]})) == ["applied"]
    assert await office.titles(office.lead, subject_unknown=True) == []


async def test_overdue_is_judged_by_the_servers_clock_and_closed_work_is_never_overdue(office: Office) -> None:
    late = await office.problem("迟")
    await office.assign(late, "2026-11-20", TOWNSHIP)
    assert await office.titles(office.lead, overdue=True) == []
    office.world.time = MORNING + timedelta(days=1)
    await office.lead.sync()  # logs in again
    assert await office.titles(office.lead, overdue=True) == ["迟"]
    assert await office.titles(office.lead, overdue=False) == []
    (row,) = (await read(office.world, office.lead, PROBLEMS))["rows"]
    assert row["overdue"] is True
    assert row["due_at"] == "2026-11-20T16:00:00Z"
    assert await office.do(office.lead, command("problem", late, "problem.not_true", reason="误报")) == ["rejected"]
    await office.world.pool.execute("UPDATE ledger_entry SET is_open = false")
    assert await office.titles(office.lead, overdue=True) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("金州路", ["裸土", "黑臭"]),  # of the site's name, and the problem's own words
        ("裸", ["裸土"]),
        ("河道 垃圾", ["黑臭"]),
        ("垃圾河道", []),
        ("圾河", []),
        ("ＡＢ－12", ["黑臭"]),  # full-width
        ("ab-12", ["黑臭"]),
        ("ab_12", []),
        ("%", []),
        ("桥头", ["裸土"]),  # of the site's address
        ("没有的字", []),
    ],
)
async def test_chinese_text_is_found_in_title_description_and_the_sites_name(office: Office, text: str, found: list[str]) -> None:
    site = await office.site("金州路一号工地", address="老城桥头")
    await office.problem("裸土", site=str(site))
    await office.problem("黑臭", description="金州路河道里有垃圾，编号 AB-12")
    assert sorted(await office.titles(office.lead, text=text)) == sorted(found)


async def test_a_renamed_site_is_found_by_its_new_name_at_once(office: Office) -> None:
    site = await office.site("旧名工地")
    await office.problem("裸土", site=str(site))
    edit = {
        "id": str(uuid.uuid4()),
        "kind": "site",
        "record": str(site),
        "op": "edit",
        "base": [1, 1],
        "fields": {"name": ["旧名工地", "新名工地"]},
    }
    assert await office.do(office.lead, edit) == ["applied"]
    assert await office.titles(office.lead, text="旧名") == []
    assert await office.titles(office.lead, text="新名") == ["裸土"]


async def test_a_frequent_text_gives_the_same_pages_as_a_rare_one(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    site = await office.site("金州路工地")
    for k in range(5):
        await office.problem(f"扬尘{k}")
    await office.problem("无关", site=str(site))
    await office.problem("更无关")
    rare = [await office.titles(office.lead, text=word, sort="found") for word in ("扬尘", "金州路")]
    monkeypatch.setattr("storage.ledger_search.HITS_MAX", 0)
    frequent = [await office.titles(office.lead, text=word, sort="found") for word in ("扬尘", "金州路")]
    assert rare == frequent == [[f"扬尘{k}" for k in (4, 3, 2, 1, 0)], ["无关"]]


@pytest.mark.parametrize("sort", ["due", "found", "changed"])
async def test_pages_by_key_show_everything_once(office: Office, sort: str) -> None:
    for k in range(7):
        found = {"found_at": f"2026-11-{10 + k // 2}T00:00:00Z"}
        problem = await office.problem(f"p{k}", unit=(VILLAGE_A, VILLAGE_B)[k % 2], **found)
        if k % 3:
            await office.assign(problem, f"2026-12-{20 - k // 2}", TOWNSHIP)
    whole = await read(office.world, office.lead, PROBLEMS, sort=sort)
    assert (whole["total"], whole.get("next")) == ({"count": 7, "more": False}, None)
    seen: list[str] = []
    after = None
    for _ in range(4):
        page = await read(office.world, office.lead, PROBLEMS, sort=sort, limit=2, **({"after": after} if after else {}))
        assert (page.get("total") is None) == (after is not None)
        seen += [row["id"] for row in page["rows"]]
        after = page.get("next")
    assert after is None
    assert seen == [row["id"] for row in whole["rows"]]
    key = {"due": "due_at", "found": "found_at", "changed": "changed_at"}[sort]
    moments = [row[key] or "9999" for row in whole["rows"]]
    assert moments == sorted(moments, reverse=sort != "due")


async def test_a_city_sees_all_its_counties_in_one_order(office: Office) -> None:
    world = office.world
    city = await world.phone(await world.person("市督办", (Role.CITY_SUPERVISOR, "6109")))
    other = await world.phone(await world.person("城关镇长", (Role.TOWNSHIP_LEAD, "610921100")))
    problem = await office.problem("汉滨")
    await office.assign(problem, "2026-12-05", TOWNSHIP)
    for title, day in (("汉阴早", "2026-12-01"), ("汉阴晚", "2026-12-09")):
        record = uuid.uuid4()
        body = {"title": title, "unit": "610921100001", "subject": "construction_dust"}
        fields = {"due_on": [None, day], "leads": [[], ["610921100"]]}
        made = [{"id": str(uuid.uuid4()), "kind": "problem", "record": str(record), "op": "create", "body": body}]
        made += [command("problem", record, "problem.report"), command("problem", record, "problem.assign", fields)]
        assert await office.do(other, *made, county=610921) == ["applied"] * 3
    assert await office.titles(city) == ["汉阴早", "汉滨", "汉阴晚"]
    assert await office.titles(city, county=COUNTY) == ["汉滨"]
    first = await read(world, city, PROBLEMS, limit=1)
    second = await read(world, city, PROBLEMS, limit=1, after=first["next"])
    assert [r["title"] for r in (*first["rows"], *second["rows"])] == ["汉阴早", "汉滨"]
    assert first["total"] == {"count": 3, "more": False}


async def test_every_ledger_lists_its_kind(office: Office) -> None:
    site = await office.site("工地")
    problem = await office.problem("问题", site=str(site))
    await office.assign(problem)
    letter = await office.supervise(problem, "yellow", title="限期整改")
    whistle, task, transfer, inspection = (uuid.uuid4() for _ in range(4))
    made = [
        ("whistle", whistle, {"unit": TOWNSHIP, "title": "吹哨", "problem": str(problem)}),
        ("task", task, {"unit": VILLAGE_A, "title": "巡查", "due_on": "2026-11-30", "sites": [str(site)]}),
        ("inspection", inspection, {"unit": VILLAGE_A, "subject": "construction_dust", "site": str(site), "note": "备注",
                                    "checklist": {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}}),
    ]  # fmt: skip
    for kind, record, body in made:
        mutation = {"id": str(uuid.uuid4()), "kind": kind, "record": str(record), "op": "create", "body": body}
        assert await office.do(office.lead, mutation) == ["applied"], kind
    blow = command("whistle", whistle, "whistle.blow", {"called": [[], [DEPARTMENT]]})
    assert await office.do(office.lead, blow) == ["applied"]
    case = {"unit": str(COUNTY), "flow": "criminal_case", "problem": str(problem), "receiver": "police", "title": "移送"}
    mutation = {"id": str(uuid.uuid4()), "kind": "transfer", "record": str(transfer), "op": "create", "body": case}
    assert await office.do(office.supervisor, mutation) == ["applied"]
    info = case | {"flow": "enforcement_info", "receiver": DEPARTMENT, "title": "执法信息"}
    told = uuid.uuid4()
    steps = [command("transfer", told, f"transfer.{step}") for step in ("approve", "send")]
    sent = [{"id": str(uuid.uuid4()), "kind": "transfer", "record": str(told), "op": "create", "body": info}, *steps]
    assert await office.do(office.supervisor, *sent) == ["applied"] * 3
    assert await office.titles(office.handler, "handovers") == ["执法信息"]
    shown = {
        ledger: sorted(await office.titles(office.supervisor, ledger))
        for ledger in (
            "problems",
            "assignments",
            "whistles",
            "summons",
            "supervisions",
            "tasks",
            "inspections",
            "sites",
            "transfers",
            "handovers",
        )
    }
    assert shown == {
        "problems": ["问题"],
        "assignments": ["问题"],
        "whistles": ["吹哨"],
        "summons": ["吹哨"],
        "supervisions": ["限期整改"],
        "tasks": ["巡查"],
        "inspections": ["construction_dust"],
        "sites": ["工地"],
        "transfers": ["执法信息", "移送"],
        "handovers": ["执法信息"],
    }
    assert await office.titles(office.lead, "transfers") == []  # clues and cases are for supervisors only
    assert await office.titles(office.supervisor, "supervisions", colour="yellow") == ["限期整改"]
    assert await office.titles(office.supervisor, "supervisions", colour="red") == []
    assert await office.titles(office.lead, "tasks", site=str(site)) == ["巡查"]
    assert await office.titles(office.handler, "assignments", colour="yellow") == []  # the letter went to the township
    (row,) = (await read(office.world, office.supervisor, PROBLEMS))["rows"]
    assert (row["colours"], row["site_name"], row["unit_name"]) == (["yellow"], "工地", "甲村")
    lift = command("supervision", letter, "supervision.lift", {"lifted_because": [None, "mistaken"]})
    assert await office.do(office.supervisor, lift) == ["applied"]
    assert await office.titles(office.supervisor, colour="yellow") == []


async def test_a_deleted_record_leaves_its_ledger(office: Office) -> None:
    site = await office.site("工地")
    delete = {"id": str(uuid.uuid4()), "kind": "site", "record": str(site), "op": "delete", "base": [1, 1]}
    assert await office.do(office.lead, delete) == ["applied"]
    assert await office.titles(office.lead, "sites") == []


async def test_what_is_rebuilt_is_what_was_written_with_each_push(office: Office) -> None:
    site = await office.site("金州路工地")
    problem = await office.problem("裸土", site=str(site), found_at="2026-11-19T02:00:00Z")
    await office.assign(problem)
    await office.supervise(problem, "red")
    everything = "SELECT e.*, NULL AS changed_at, NULL AS found_at FROM ledger_entry e ORDER BY record"
    before = await office.world.pool.fetch(everything)
    await office.world.pool.execute("DELETE FROM ledger_entry WHERE kind <> 'site'")
    await office.world.pool.execute("UPDATE ledger_entry SET record = gen_random_uuid()")
    assert await rebuild_ledgers(office.world.pool) == len(before) == 4
    assert await office.world.pool.fetch(everything) == before
    assert await rebuild_missing(office.world.pool) == 0
    await office.world.pool.execute("DELETE FROM ledger_entry")  # as an installation from before there were ledgers
    assert await rebuild_missing(office.world.pool) == 4
    assert await office.world.pool.fetch(everything) == before


async def test_faults_of_a_query_are_said(office: Office) -> None:
    for params in (
        {"after": "x"},
        {"limit": 0},
        {"limit": 201},
        {"sort": "x"},
        {"due_from": "gestern"},
        {"text": "字" * 101},
        {"due_from": "0001-01-01"},
        {"due_to": "9999-12-31"},
    ):
        answer = await call(office.world, office.lead, "GET", PROBLEMS, params=params)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_value"), params
    unknown = await call(office.world, office.lead, "GET", "/office/v1/ledgers/secrets")
    assert unknown.status_code in (404, 422)


async def test_without_a_duty_today_there_is_no_ledger(office: Office) -> None:
    person = await office.world.person("离任")
    await office.world.duty(person, Role.TOWNSHIP_LEAD, TOWNSHIP, MORNING - timedelta(days=9), MORNING - timedelta(days=1))
    gone = await office.world.phone(person)
    refused = await call(office.world, gone, "GET", PROBLEMS)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
