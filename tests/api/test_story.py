"""One call tells everything about a record that the caller may see, and nothing that the caller may not."""

import uuid
from typing import Any

from contracts.ids import problem_id, projection_id
from contracts.people import Role
from storage.devices import office_device
from tests.api.casework import HERE, Office, call, command, create, read
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A, VILLAGE_B


async def story(office: Office, phone: Any, record: Any) -> Any:
    return await read(office.world, phone, f"/office/v1/records/{COUNTY}/{record}")


async def ended(office: Office) -> dict[str, Any]:
    """A problem with a photo, refused and accepted commands, a whistle, a letter, a conflict, a transfer and a neighbour."""
    site = await office.site("金州路工地")
    member, lead, supervisor, handler = office.member, office.lead, office.supervisor, office.handler
    await member.sync()
    problem = member.create("problem", COUNTY, {"unit": VILLAGE_A, "subject": "construction_dust", "title": "裸土", "site": str(site)})
    photo = member.add_photo(problem, b"before", purpose="before")
    member.command(problem, "problem.report")
    await member.sync()
    related = await office.problem("同一处油烟")
    await office.done(lead, command("problem", problem, "problem.verify"))
    await lead.sync()
    await office.assign(problem)
    await handler.sync()
    refused = command("assignment", projection_id(problem, DEPARTMENT), "problem.submit_fix", note="没有照片")
    assert await office.do(handler, refused) == ["rejected"]
    letter = await office.supervise(problem, "red")
    whistle, transfer = uuid.uuid4(), uuid.uuid4()
    await office.done(lead, create("whistle", whistle, {"unit": TOWNSHIP, "title": "吹哨", "problem": str(problem)}))
    await office.done(lead, command("whistle", whistle, "whistle.blow", {"called": [[], [DEPARTMENT]]}))
    case = {"unit": str(COUNTY), "flow": "criminal_case", "problem": str(problem), "receiver": "police", "title": "移送"}
    await office.done(supervisor, create("transfer", transfer, case))
    edit = {"id": str(uuid.uuid4()), "kind": "problem", "record": str(problem), "op": "edit", "base": [1, 1]}
    await office.done(lead, edit | {"fields": {"title": ["裸土", "裸土未覆盖"]}})
    assert await office.do(supervisor, edit | {"id": str(uuid.uuid4()), "fields": {"title": ["裸土", "裸露黄土"]}}) == ["conflict"]
    link = command("problem", problem, "problem.link", other=str(related))
    await office.done(lead, link)
    return {
        "problem": problem,
        "photo": photo,
        "site": site,
        "whistle": whistle,
        "transfer": transfer,
        "letter": letter,
        "related": related,
    }


async def test_a_problem_is_told_whole_to_the_county(office: Office) -> None:
    made = await ended(office)
    told = await story(office, office.supervisor, made["problem"])
    body = told["record"]["body"]
    assert body["title"] == "裸露黄土"
    assert [step["command"] for step in body["steps"]][:3] == ["problem.report", "problem.verify", "problem.assign"]
    done = [(e.get("op"), e["outcome"]) for e in told["entries"] if e["what"] == "mutation"]
    applied = [op if outcome in ("applied", "merged") else (op, outcome) for op, outcome in done]
    assert applied == [
        "create",
        "problem.report",
        "problem.verify",
        "problem.assign",
        ("problem.submit_fix", "rejected"),
        "edit",
        ("edit", "conflict"),
        "problem.link",
    ]
    edits = [e for e in told["entries"] if e.get("op") == "edit"]
    assert edits[0]["fields"] == {"title": ["裸土", "裸土未覆盖"]}
    (refused,) = [e for e in told["entries"] if e["outcome"] == "rejected"]
    assert refused["args"] == {"note": "没有照片"}
    assert told["people"][refused["person"]] == "住建经办"
    assert told["people"][told["entries"][0]["person"]] == "甲村网格员"
    assert told["entries"][0]["captured_from"] <= told["entries"][0]["captured_to"]
    beside = {name: [one["id"] for one in told[name]] for name in ("whistles", "supervisions", "transfers", "sites", "problems")}
    assert beside == {
        "whistles": [str(made["whistle"])],
        "supervisions": [str(made["letter"])],
        "transfers": [str(made["transfer"])],
        "sites": [str(made["site"])],
        "problems": [str(made["related"])],
    }
    assert [a["body"]["unit"] for a in told["assignments"]] == [DEPARTMENT]
    assert [s["body"]["unit"] for s in told["summons"]] == [DEPARTMENT]
    assert [(c["body"]["state"], c["body"]["lost"]) for c in told["conflicts"]] == [("open", "裸土未覆盖")]
    assert told["supervisions"][0]["body"]["grounds"] == {"reason": "长期未整改"}
    (photo,) = told["photos"]
    assert (photo["id"], photo["purpose"], photo["links"]) == (str(made["photo"]), "before", {})
    assert told["units"][VILLAGE_A] == "甲村"
    assert told["units"][DEPARTMENT] == "区住建局"


async def test_each_sees_of_a_story_what_lies_in_their_duties(office: Office) -> None:
    made = await ended(office)
    township = await story(office, office.lead, made["problem"])
    assert (township["transfers"], township["assignments"], township["summons"]) == ([], [], [])  # the department's own, and a case
    assert [one["id"] for one in township["supervisions"]] == [str(made["letter"])]
    village = await story(office, office.member, made["problem"])
    assert (village["conflicts"], village["supervisions"], village["whistles"]) == ([], [], [])
    assert [one["id"] for one in village["sites"]] == [str(made["site"])]
    assignment = projection_id(made["problem"], DEPARTMENT)
    department = await story(office, office.handler, assignment)
    assert department["record"]["body"]["shown"]["title"] == "裸露黄土"
    assert (department["problems"], department["sites"]) == ([], [])
    assert [p["purpose"] for p in department["photos"]] == ["before"]
    refused = await call(office.world, office.handler, "GET", f"/office/v1/records/{COUNTY}/{made['problem']}")
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    other = await office.world.phone(await office.world.person("汉阴", (Role.COUNTY_SUPERVISOR, "610921")))
    for county in (COUNTY, 610921):
        answer = await call(office.world, other, "GET", f"/office/v1/records/{county}/{made['problem']}")
        assert answer.status_code == 404


async def test_a_photo_is_linked_when_its_bytes_are_here(office: Office) -> None:
    problem = await office.problem("裸土")
    await office.member.sync()
    office.member.add_photo(problem, b"before", purpose="before")
    await office.member.sync()
    await office.world.pool.execute(
        "UPDATE record SET body = (body::jsonb || '{\"received_at\": \"2026-11-20T01:00:00Z\"}')::json WHERE kind = 'photo'"
    )
    (photo,) = (await story(office, office.lead, problem))["photos"]
    assert photo["links"]["thumb_320"] == f"/photos/v1/{COUNTY}/{photo['sha256']}/thumb_320"
    assert set(photo["links"]) == {"original", "stamped", "thumb_320", "thumb_1280"}


async def test_work_that_waits_on_a_desk_is_told_to_that_desk_alone(office: Office) -> None:
    site = await office.site("工地")
    stranger = await office.world.phone(await office.world.person("乙村", (Role.GRID_MEMBER, VILLAGE_B)))
    edit = {
        "id": str(uuid.uuid4()),
        "kind": "site",
        "record": str(site),
        "op": "edit",
        "base": [1, 1],
        "fields": {"note": ["", "外村写的"]},
    }
    assert await office.do(stranger, edit) == ["quarantined"]
    told = await story(office, office.lead, site)
    assert [(e["outcome"], e.get("fields")) for e in told["entries"]][-1] == ("quarantined", {"note": ["", "外村写的"]})
    assert "外村写的" not in str(await story(office, office.member, site))
    path = f"/office/v1/held/{COUNTY}/{office_device(stranger.account.device)}/1/release"
    assert (await call(office.world, office.lead, "POST", path, json={})).status_code == 200
    assert (await story(office, office.member, site))["record"]["body"]["note"] == "外村写的"
    assert "外村写的" in str((await story(office, office.member, site))["entries"])


async def test_a_whistle_and_a_site_are_told_the_same_way(office: Office) -> None:
    made = await ended(office)
    inspection, task = uuid.uuid4(), uuid.uuid4()
    dust = {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}
    body = {"unit": VILLAGE_A, "subject": "construction_dust", "site": str(made["site"]), "checklist": dust}
    assert await office.do(office.lead, create("inspection", inspection, body)) == ["applied"]
    body = {"unit": VILLAGE_A, "title": "巡查", "sites": [str(made["site"])]}
    assert await office.do(office.lead, create("task", task, body)) == ["applied"]
    site = await story(office, office.lead, made["site"])
    assert [one["id"] for one in site["problems"]] == [str(made["problem"])]
    assert [one["id"] for one in site["inspections"]] == [str(inspection)]
    assert [one["id"] for one in site["tasks"]] == [str(task)]
    sign = command("summons", projection_id(made["whistle"], DEPARTMENT), "summons.sign")
    report = command("summons", projection_id(made["whistle"], DEPARTMENT), "summons.report_in", position=HERE)
    await office.done(office.handler, sign, report)
    whistle = await story(office, office.supervisor, made["whistle"])
    assert [one["body"]["state"] for one in whistle["summons"]] == ["reported_in"]
    assert [one["id"] for one in whistle["problems"]] == [str(made["problem"])]
    told = [e["op"] for e in whistle["entries"]]
    assert told[:2] == ["create", "whistle.blow"]
    assert "summons.told" in told


async def test_the_pictures_of_the_check_item_prove_the_problem_it_opened(office: Office) -> None:
    inspection, problem = uuid.uuid4(), uuid.uuid4()
    dust = {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}
    body = {"unit": VILLAGE_A, "subject": "construction_dust", "checklist": dust}
    await office.done(office.lead, create("inspection", inspection, body))
    opened = {"title": "裸土", "unit": VILLAGE_A, "subject": "construction_dust", "inspection": str(inspection), "item": "cover"}
    await office.done(office.lead, create("problem", problem, opened))
    pictures = {}
    for item in ("cover", "wash"):
        picture = {
            "parent": str(inspection),
            "sha256": item.encode().hex().ljust(64, "0"),
            "bytes": 9,
            "media_type": "image/jpeg",
            "item": item,
        }
        pictures[item] = uuid.uuid4()
        await office.done(office.lead, create("photo", pictures[item], picture))
    assert [p["id"] for p in (await story(office, office.lead, problem))["photos"]] == [str(pictures["cover"])]
    assert {p["id"] for p in (await story(office, office.lead, inspection))["photos"]} == {str(p) for p in pictures.values()}


async def test_an_inspection_lists_what_it_opened_for_whoever_may_see_it(office: Office) -> None:
    inspection = uuid.uuid4()
    dust = {"slug": "construction_dust", "jurisdiction": "ankang", "version": 1}
    body = {
        "unit": VILLAGE_A,
        "subject": "construction_dust",
        "checklist": dust,
        "answers": {"sprinkling": "no", "cover": {"value": "yes"}},
    }
    await office.done(office.lead, create("inspection", inspection, body), command("inspection", inspection, "inspection.submit"))
    told = await story(office, office.member, inspection)
    assert [one["id"] for one in told["problems"]] == [str(problem_id(inspection, "sprinkling"))]
    assert told["problems"][0]["body"]["inspection"] == str(inspection)


async def test_the_office_of_a_problem_sees_in_which_colour_those_stand_who_must_fix_it(office: Office) -> None:
    problem, other = await office.problem("裸土"), await office.problem("油烟")
    await office.assign(problem)
    await office.supervise(problem, "yellow", DEPARTMENT)
    await office.supervise(problem, "red", VILLAGE_B)  # has no part in it
    await office.supervise(other, "white", DEPARTMENT)
    told = await story(office, office.lead, problem)
    assert [(one["colour"], one["unit"]) for one in told["colours"]] == [("yellow", DEPARTMENT)]
    assert told["colours"][0]["issued_at"] is not None
    assert [one["body"]["unit"] for one in told["supervisions"]] == [VILLAGE_B], "the letter is the department's"
    assert (await story(office, office.member, problem))["colours"] == [], "letters are for desks"
    assignment = projection_id(problem, DEPARTMENT)
    assert (await story(office, office.handler, assignment))["colours"] == []


async def test_the_township_sees_the_colour_of_a_summons_of_its_whistle_until_it_is_lifted(office: Office) -> None:
    whistle = uuid.uuid4()
    await office.done(office.lead, create("whistle", whistle, {"unit": TOWNSHIP, "title": "吹哨"}))
    await office.done(office.lead, command("whistle", whistle, "whistle.blow", {"called": [[], [DEPARTMENT]]}))
    letter = await office.supervise(projection_id(whistle, DEPARTMENT), "white", DEPARTMENT)
    assert [(c["colour"], c["unit"]) for c in (await story(office, office.lead, whistle))["colours"]] == [("white", DEPARTMENT)]
    lift = command("supervision", letter, "supervision.lift", {"lifted_because": [None, "mistaken"]}, reason="误发")
    await office.done(office.supervisor, lift)
    assert (await story(office, office.lead, whistle))["colours"] == []
