"""Spreadsheets: every fault with its row and column, nothing by halves, nothing that was not tried before."""

import io
import uuid
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openpyxl import Workbook, load_workbook

from contracts.importing import FAULT_TEXTS, SHEETS, SITES
from contracts.office import ImportSubject
from contracts.people import Role
from phone.phone import Phone
from server.settings import Settings
from sync.administration import Refusal
from tests.api.casework import Office, call, read
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A, VILLAGE_B, open_world

STAFF: dict[str, list[list[Any]]] = {
    "单位": [
        ["单位代码", "上级单位代码", "级别", "名称"],
        ["610902001001-g1", VILLAGE_A, "网格", "一网格"],
        ["wg2", "610902001001-g1", "team", "小队"],
    ],
    "人员": [["手机号*", "姓名*"], [13900000001, "张三"], ["13900000002", "李四"]],
    "职责": [
        ["手机号", "职责", "单位代码", "开始日期", "结束日期"],
        ["13900000001", "网格员", "610902001001-g1", None, None],
        ["13900000002", "township_staff", TOWNSHIP, "2026-12-01", "2026-12-31"],
    ],
}
HEAD = ["名称", "单位代码", "类别", "纬度", "经度", "坐标系", "保护区分区", "检查周期(天)", "备注"]
SITE_ROWS: list[list[Any]] = [
    HEAD,
    ["一号工地", VILLAGE_A, "construction_dust", 32.6953, 109.0292, "GCJ-02", "一般保护区", 30, "临街"],
    ["二号排口", VILLAGE_B, "river_outfalls、construction_dust", None, None, None, None, None, None],
]


def workbook(sheets: dict[str, list[list[Any]]]) -> bytes:
    book = Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        page = book.create_sheet(title)
        for row in rows:
            page.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def with_row(title: str, row: list[Any]) -> bytes:
    return workbook({**STAFF, title: [*STAFF[title], row]})


@pytest.fixture
async def office(settings: Settings, tmp_path: Path) -> AsyncIterator[Office]:
    async with open_world(settings, tmp_path) as world:
        yield await Office.opened(world)


@pytest.fixture
async def admin(office: Office) -> Phone:
    return await office.world.phone(await office.world.person("管理员", (Role.ADMIN, TOWNSHIP)))


async def send(office: Office, phone: Phone, data: bytes, subject: str = "staff", **params: Any) -> httpx.Response:
    headers = {"Content-Type": "application/octet-stream"}
    return await call(office.world, phone, "POST", f"/office/v1/imports/{subject}", content=data, params=params, headers=headers)


async def stored(office: Office) -> list[int]:
    return [
        await office.world.pool.fetchval(f"SELECT count(*) FROM {table}") for table in ("unit", "person", "duty", "record", "audit_log")
    ]


async def test_staff_is_tried_and_then_imported_whole(office: Office, admin: Phone) -> None:
    data, before = workbook(STAFF), await stored(office)
    tried = (await send(office, admin, data)).json()
    assert (tried["dry_run"], tried["faults"], tried["counts"]) == (True, [], {"单位": 2, "人员": 2, "职责": 2})
    assert await stored(office) == before
    done = await send(office, admin, data, confirm=tried["sha256"])
    assert done.status_code == 200, done.text
    after = await stored(office)
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 2, 2, 0, 7]
    accounts = {account["name"]: account for account in done.json()["accounts"]}
    log_in = {
        "phone": "13900000001",
        "password": accounts["张三"]["password"],
        "device": {"id": str(uuid.uuid4()), "name": "", "kind": "phone"},
    }
    assert (await office.world.client.post("/auth/v1/enrol", json=log_in)).status_code == 200
    people = await read(office.world, admin, "/people/v1/persons", text="李四")
    (duty,) = people["people"][0]["duties"]
    assert (duty["starts"], duty["ends"]) == ("2026-11-30T16:00:00Z", "2026-12-31T16:00:00Z")
    log = await read(office.world, admin, "/audit/v1/entries")
    assert {entry["action"] for entry in log["entries"]} >= {"imported", "unit_created", "person_created", "duty_granted"}
    again = await send(office, admin, data, confirm=tried["sha256"])
    assert again.status_code == 422
    assert {f["code"] for f in again.json()["details"]["faults"]} == {"unit_exists", "account_exists", "duty_exists"}
    assert await stored(office) == [*after[:4], after[4] + 1]  # only the log-in was noted since


@pytest.mark.parametrize(
    ("title", "row", "column", "code"),
    [
        ("单位", ["X Y", VILLAGE_A, "网格", "名"], "单位代码", "not_a_code"),
        ("单位", ["wg9", "610921100001", "网格", "名"], "上级单位代码", "outside_your_units"),
        ("单位", ["wg9", "nowhere", "网格", "名"], "上级单位代码", "unknown_unit"),
        ("单位", ["wg9", VILLAGE_A, "乡镇", "名"], "级别", "unknown_word"),
        ("单位", [VILLAGE_B, TOWNSHIP, "网格", "名"], "单位代码", "unit_exists"),
        ("单位", ["wg2", VILLAGE_A, "网格", "名"], "单位代码", "duplicate"),
        ("单位", ["wg9", VILLAGE_A, "网格", None], "名称", "required"),
        ("单位", ["wg9", VILLAGE_A, "网格", "=1+1"], "名称", "formula"),
        ("单位", ["wg9", VILLAGE_A, "网格", "+cmd|x"], "名称", "looks_like_formula"),
        ("单位", ["wg9", VILLAGE_A, "网格", "@SUM"], "名称", "looks_like_formula"),
        ("人员", ["139", "名"], "手机号", "not_a_phone"),
        ("人员", ["13900000001", "名"], "手机号", "duplicate"),
        ("人员", ["13900000003", "名" * 51], "姓名", "too_long"),
        ("人员", ["13900000003", "无职责"], "手机号", "person_without_duty"),
        ("职责", ["13900000009", "网格员", VILLAGE_A], "手机号", "account_missing"),
        ("职责", ["13900000001", "村长", VILLAGE_A], "职责", "unknown_word"),
        ("职责", ["13900000001", "网格员", "610921100001"], "单位代码", "outside_your_units"),
        ("职责", ["13900000001", "镇办负责人", VILLAGE_A], "单位代码", "role_does_not_fit_unit"),
        ("职责", ["13900000001", "网格员", VILLAGE_A, "明天"], "开始日期", "not_a_date"),
        ("职责", ["13900000001", "网格员", VILLAGE_A, "2026-12-02", "2026-12-01"], "结束日期", "ends_before_it_starts"),
        ("职责", ["13900000001", "网格员", "610902001001-g1"], "手机号", "duplicate"),
    ],
)
async def test_each_fault_names_its_row_and_column_and_stops_everything(
    office: Office, admin: Phone, title: str, row: list[Any], column: str, code: str
) -> None:
    data, before = with_row(title, row), await stored(office)
    tried = (await send(office, admin, data)).json()
    assert [(f["sheet"], f["row"], f["column"], f["code"]) for f in tried["faults"]] == [(title, 4, column, code)]
    assert tried["faults"][0]["text"].startswith(FAULT_TEXTS[code])
    refused = await send(office, admin, data, confirm=tried["sha256"])
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_value")
    assert refused.json()["details"]["faults"] == tried["faults"]
    assert await stored(office) == before


async def test_only_what_was_tried_is_imported(office: Office, admin: Phone) -> None:
    tried = (await send(office, admin, workbook(STAFF))).json()
    other = await send(office, admin, with_row("人员", ["13900000005", "赵六"]), confirm=tried["sha256"])
    assert (other.status_code, other.json()["details"]) == (422, {"field": "confirm"})


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/workbook.xml", b"0" * (65 * 1024 * 1024))
    return buffer.getvalue()


async def test_files_that_are_none_are_refused_without_harm(office: Office, admin: Phone) -> None:
    cases = [(b"", "not_a_workbook"), (b"PK\x03\x04junk", "not_a_workbook"), (b"a,b\n1,2", "not_a_workbook"), (bomb(), "too_large")]
    cases += [(workbook({"单位": [["单位代码"]]}), "column_missing"), (workbook({"别": [["x"]]}), "nothing_to_import")]
    cases += [(workbook({"人员": [["手机号", "姓名"], *[["13900000001", "张"]] * 301]}), "too_many_rows")]
    for data, code in cases:
        tried = await send(office, admin, data)
        assert tried.status_code == 200, tried.text
        assert code in {f["code"] for f in tried.json()["faults"]}, code
    large = await send(office, admin, b"0" * (4 * 1024 * 1024 + 1))
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")


async def test_sites_take_the_one_write_path(office: Office) -> None:
    data = workbook({SITES.title: SITE_ROWS})
    tried = (await send(office, office.lead, data, "sites")).json()
    assert (tried["faults"], tried["counts"]) == ([], {SITES.title: 2})
    assert await office.titles(office.lead, "sites") == []
    for _ in range(2):  # the answer may be lost: the same file again is the same import
        done = await send(office, office.lead, data, "sites", confirm=tried["sha256"])
        assert done.status_code == 200, done.text
    assert sorted(await office.titles(office.lead, "sites")) == ["一号工地", "二号排口"]
    await office.member.sync()
    (site,) = office.member.records("site")
    assert (site.body["subjects"], site.body["protection_zone"], site.body["period_days"]) == (["construction_dust"], "general", 30)
    # at Ankang GCJ-02 lies about 445 m east and 239 m south of WGS-84
    assert 109.0292 - site.body["position"]["lng"] == pytest.approx(0.0048, abs=0.0006)
    assert site.body["position"]["lat"] - 32.6953 == pytest.approx(0.0021, abs=0.0006)
    journal = await office.world.pool.fetchval("SELECT count(*) FROM journal WHERE op = 'create' AND kind = 'site' AND outcome = 'applied'")
    assert journal >= 2


@pytest.mark.parametrize(
    ("row", "column", "code"),
    [
        (["三", "610921100001", "construction_dust"], "单位代码", "not_allowed"),
        (["三", "nowhere", "construction_dust"], "单位代码", "unknown_unit"),
        (["一号工地", VILLAGE_A, "construction_dust"], "名称", "duplicate"),
        (["旧工地", VILLAGE_A, "construction_dust"], "名称", "site_exists"),
        (["三", VILLAGE_A, "扬尘"], "类别", "not_a_code"),
        (["三", VILLAGE_A, "construction_dust", 91, 109], "纬度", "not_a_number"),
        (["三", VILLAGE_A, "construction_dust", 32.6, None], "纬度", "position_incomplete"),
        (["三", VILLAGE_A, "construction_dust", None, None, "BD-09"], "坐标系", "unknown_word"),
        (["三" * 201, VILLAGE_A, "construction_dust"], "名称", "too_long"),
        (["三", VILLAGE_A, "construction_dust", None, None, None, None, 0], "检查周期(天)", "not_a_number"),
        (["三", VILLAGE_A, "construction_dust", None, None, None, None, None, "=HYPERLINK(1)"], "备注", "formula"),
    ],
)
async def test_a_site_with_a_fault_stops_all_sites(office: Office, row: list[Any], column: str, code: str) -> None:
    await office.site("旧工地")
    before = await stored(office)
    data = workbook({SITES.title: [*SITE_ROWS, row]})
    tried = (await send(office, office.lead, data, "sites")).json()
    assert (4, column, code) in [(f["row"], f["column"], f["code"]) for f in tried["faults"]]
    assert (await send(office, office.lead, data, "sites", confirm=tried["sha256"])).status_code == 422
    assert await stored(office) == before


async def test_a_site_that_planning_refuses_takes_the_others_with_it(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    data = workbook({SITES.title: SITE_ROWS})
    tried = (await send(office, office.lead, data, "sites")).json()
    before = await stored(office)
    monkeypatch.setattr("api.imports.sender_of", lambda caller: __import__("sync.decision").decision.Sender(
        device=caller.device, person=caller.person, duties=()))  # fmt: skip
    refused = await send(office, office.lead, data, "sites", confirm=tried["sha256"])
    assert refused.status_code == 422, refused.text
    assert [f["code"] for f in refused.json()["details"]["faults"]] == ["refused", "refused"]
    assert await stored(office) == before


async def test_who_may_import_what(office: Office, admin: Phone) -> None:
    assert (await send(office, office.lead, workbook(STAFF))).status_code == 403
    assert (await send(office, admin, workbook({SITES.title: SITE_ROWS}), "sites")).status_code == 403
    assert (await send(office, office.member, workbook({SITES.title: SITE_ROWS}), "sites")).status_code == 403


@pytest.mark.parametrize("subject", list(ImportSubject))
async def test_the_template_is_what_the_import_reads(office: Office, admin: Phone, subject: ImportSubject) -> None:
    phone = admin if subject is ImportSubject.STAFF else office.lead
    answer = await call(office.world, phone, "GET", f"/office/v1/imports/{subject.value}/template")
    assert answer.status_code == 200
    book = load_workbook(io.BytesIO(answer.content))
    assert book.sheetnames == [*(sheet.title for sheet in SHEETS[subject]), "代码"]
    codes = [row[0] for row in book["代码"].iter_rows(values_only=True)]
    assert VILLAGE_A in codes
    assert DEPARTMENT not in codes
    tried = (await send(office, phone, answer.content, subject.value)).json()
    assert [f["code"] for f in tried["faults"]] == ["nothing_to_import"]
    assert await office.world.pool.fetchval("SELECT count(*) FROM record WHERE county = $1", COUNTY) == 0


def test_every_refusal_of_administration_has_a_text() -> None:
    used = {Refusal.UNKNOWN_UNIT, Refusal.OUTSIDE_YOUR_UNITS, Refusal.ROLE_DOES_NOT_FIT_UNIT, Refusal.LEVEL_IS_NOT_ADDED}
    assert {refusal.value for refusal in used | {Refusal.ENDS_BEFORE_IT_STARTS}} <= set(FAULT_TEXTS)
