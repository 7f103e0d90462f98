"""Spreadsheets: every fault with its row and column, nothing by halves, nothing that was not tried before."""

import asyncio
import io
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from types import FrameType
from typing import Any

import httpx
import pytest
import xlsxwriter
from openpyxl import Workbook, load_workbook
from uuid_utils.compat import uuid7

from api import imports
from api.import_rows import Administered, check_staff
from api.workbooks import SheetRow
from contracts.importing import FAULT_TEXTS, SHEETS, SITES
from contracts.office import ImportSubject
from contracts.people import Duty, Level, Role, Unit
from contracts.problems import Problem
from phone.phone import Phone
from storage.importing import lock_accounts, lock_staff
from storage.people import correct_person, fetch_accounts, lock_duties_of, lock_duty, lock_number
from storage.pool import transaction
from storage.units import insert_unit
from sync.administration import Refusal
from sync.places import Places
from tests.api.casework import Office, call, read
from tests.county import UNITS as COUNTY_UNITS
from tests.world import COUNTY, DEPARTMENT, TOWNSHIP, VILLAGE_A, VILLAGE_B

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
    ["二号排口", VILLAGE_B, "river_outfall、施工扬尘", None, None, None, None, None, None],
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
async def admin(office: Office) -> Phone:
    return await office.world.phone(await office.world.person("管理员", (Role.ADMIN, TOWNSHIP)))


async def send(office: Office, phone: Phone, data: bytes, subject: str = "staff", **params: Any) -> httpx.Response:
    headers = {"Content-Type": "application/octet-stream"}
    return await call(office.world, phone, "POST", f"/office/v1/imports/{subject}", content=data, params=params, headers=headers)


async def stored(office: Office) -> list[int]:
    return [
        await office.world.pool.fetchval(f"SELECT count(*) FROM {table}")
        for table in ("unit", "person", "duty", "record", "audit_log WHERE action <> 'people_listed'")
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
        "device": {"id": str(uuid7()), "name": "", "kind": "phone"},
    }
    assert (await office.world.client.post("/auth/v1/enrol", json=log_in)).json()["code"] == "password_change_required"
    assert (await office.world.client.post("/auth/v1/enrol", json=log_in | {"new_password": "河边第三棵大柳树"})).status_code == 200
    people = await read(office.world, admin, "/people/v1/persons", text="李四")
    (duty,) = people["people"][0]["duties"]
    assert (duty["starts"], duty["ends"]) == ("2026-11-30T16:00:00Z", "2026-12-31T16:00:00Z")
    log = await read(office.world, admin, "/audit/v1/entries")
    assert {entry["action"] for entry in log["entries"]} >= {"imported", "unit_created", "person_created", "duty_granted"}
    # the answer may be lost, and the list grows: what is here already is passed over, what is new is made, passwords are not told again
    again = await send(office, admin, data, confirm=tried["sha256"])
    assert again.status_code == 200, again.text
    assert (again.json()["unchanged"], again.json()["accounts"]) == ({"单位": 2, "人员": 2, "职责": 2}, [])
    assert await stored(office) == [*after[:4], after[4] + 2]  # only the log-in and its new password were noted since
    grown = workbook(
        {**STAFF, "人员": [*STAFF["人员"], ["13900000003", "王五"]], "职责": [*STAFF["职责"], ["13900000003", "网格员", VILLAGE_A]]}
    )
    tried = (await send(office, admin, grown)).json()
    done = (await send(office, admin, grown, confirm=tried["sha256"])).json()
    assert (done["unchanged"], [a["name"] for a in done["accounts"]]) == ({"单位": 2, "人员": 2, "职责": 2}, ["王五"])


async def test_passwords_of_a_lost_answer_are_made_anew_until_somebody_has_logged_in(office: Office, admin: Phone) -> None:
    data = workbook(STAFF)
    tried = (await send(office, admin, data)).json()
    lost = (await send(office, admin, data, confirm=tried["sha256"])).json()["accounts"]
    again = (await send(office, admin, data, confirm=tried["sha256"])).json()
    assert again["unchanged"] == {"单位": 2, "人员": 2, "职责": 2}
    assert [(one["person"], one["name"]) for one in again["accounts"]] == [(one["person"], one["name"]) for one in lost]
    assert not {one["password"] for one in lost} & {one["password"] for one in again["accounts"]}
    log = await read(office.world, admin, "/audit/v1/entries")
    reset = [entry for entry in log["entries"] if entry["action"] == "password_reset"]
    assert {(entry["subject"], entry["detail"]["sha256"]) for entry in reset} == {(one["person"], tried["sha256"]) for one in lost}
    chosen = {"new_password": "河边第三棵大柳树"}
    for accounts, status in ((lost, 401), (again["accounts"], 200)):
        log_in = {key: accounts[0][key] for key in ("phone", "password")} | {"device": {"id": str(uuid7()), "kind": "phone"}} | chosen
        assert (await office.world.client.post("/auth/v1/enrol", json=log_in)).status_code == status
    assert (await send(office, admin, data, confirm=tried["sha256"])).json()["accounts"] == []
    one = accounts[1]  # of whom nobody has logged in, but the list has arrived
    log_in = {key: one[key] for key in ("phone", "password")} | {"device": {"id": str(uuid7()), "kind": "phone"}} | chosen
    assert (await office.world.client.post("/auth/v1/enrol", json=log_in)).status_code == 200


async def test_passwords_are_made_anew_by_the_same_file_alone(office: Office, admin: Phone) -> None:
    """Another file that says the same is no lost answer: printed passwords go on."""
    data = workbook(STAFF)
    sha256 = (await send(office, admin, data)).json()["sha256"]
    await send(office, admin, data, confirm=sha256)
    other = workbook({**STAFF, "人员": [*STAFF["人员"], [None, None]], "单位": [["级别", "名称", "单位代码", "上级单位代码"]]})
    tried = (await send(office, admin, other)).json()
    assert (tried["faults"], tried["sha256"] == sha256) == ([], False)
    assert (await send(office, admin, other, confirm=tried["sha256"])).json()["accounts"] == []


async def test_what_is_here_otherwise_is_a_fault(office: Office, admin: Phone) -> None:
    """A spreadsheet corrects nothing behind anybody's back: a name, a parent, the days of a duty."""
    first = workbook(STAFF)
    await send(office, admin, first, confirm=(await send(office, admin, first)).json()["sha256"])
    other = {
        "单位": [STAFF["单位"][0], ["wg2", "610902001001-g1", "team", "别队"]],
        "人员": [STAFF["人员"][0], ["13900000001", "张三丰"]],
        "职责": [STAFF["职责"][0], ["13900000002", "镇办工作人员", TOWNSHIP, "2026-12-01", "2027-12-31"]],
    }
    tried = (await send(office, admin, workbook(other))).json()
    assert {f["code"] for f in tried["faults"]} == {"unit_exists", "account_exists", "duty_exists"}


@pytest.mark.parametrize(
    ("title", "row", "column", "code"),
    [
        ("单位", ["X Y", VILLAGE_A, "网格", "名"], "单位代码", "not_a_code"),
        ("单位", ["610999", VILLAGE_A, "网格", "名"], "单位代码", "not_a_code"),  # of some county, perhaps
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


async def test_what_people_type_is_read_as_they_mean_it(office: Office, admin: Phone) -> None:
    """Full-width digits and brackets, numbers in groups, blanks around, days as they are written, a number that became a decimal."""
    typed = {
        "人员": [["手机号＊", " 姓名 "], ["１３９００００００１１", "　张 三　"], ["139 0000-0012", "李四"], [13900000013.0, "王\u200b五"]],
        "职责": [
            ["手机号", "职责", "单位代码", "开始日期", "结束日期"],
            ["13900000011", "村（社区）负责人", f" {VILLAGE_A} ", "2026/12/1", "2027年1月31日"],
            [13900000012, "网格员", VILLAGE_A, "2026.12.1", None],
            ["139 0000 0013", "网格员", int(VILLAGE_A), datetime(2026, 12, 1, 9, 30), None],
        ],
    }
    data = workbook(typed)
    tried = (await send(office, admin, data)).json()
    assert tried["faults"] == []
    assert (await send(office, admin, data, confirm=tried["sha256"])).status_code == 200
    rows = await office.world.pool.fetch(
        "SELECT p.name, y.role, y.unit, y.starts, y.ends FROM person p JOIN duty y ON y.person = p.id WHERE p.phone LIKE '1390000001%' ORDER BY p.phone"
    )
    starts = datetime(2026, 11, 30, 16, tzinfo=UTC)
    assert [tuple(row) for row in rows] == [
        ("张三", "village_lead", VILLAGE_A, starts, datetime(2027, 1, 31, 16, tzinfo=UTC)),
        ("李四", "grid_member", VILLAGE_A, starts, None),
        ("王五", "grid_member", VILLAGE_A, starts, None),
    ]


@pytest.mark.parametrize(
    ("sheets", "where", "code"),
    [
        ({"人员名单": [["手机号", "姓名"], ["13900000001", "张三"]]}, ("人员名单", 0, ""), "sheet_unknown"),
        ({"职责": [[*STAFF["职责"][0][:3], "开始时间"], ["13900000001", "网格员", VILLAGE_A, "2030-01-01"]]}, ("职责", 1, "开始时间"), "column_unknown"),
        ({"人员": [["手机号", "姓名", "手机号"], ["13900000001", "张三", "13900000002"]]}, ("人员", 1, "手机号"), "column_twice"),
        ({"人员": [["汉滨区人员表"], ["手机号", "姓名"]]}, ("人员", 1, "汉滨区人员表"), "column_unknown"),
        ({"人员": [["手机号", "姓名"], ["13900000001", " =1+1"]]}, ("人员", 2, "姓名"), "looks_like_formula"),
        ({"人员": [["手机号", "姓名"], ["13900000001", "＝cmd"]]}, ("人员", 2, "姓名"), "looks_like_formula"),
        ({"人员": [["手机号", "姓名"], ["13900000001", "#N/A"]]}, ("人员", 2, "姓名"), "cell_error"),
        ({"人员": [["手机号", "姓名"], ["13900000001", "\u200b"]]}, ("人员", 2, "姓名"), "required"),
        ({"人员": [["手机号", "姓名"], [1.39e9, "张三"]]}, ("人员", 2, "手机号"), "not_a_phone"),
        ({"职责": [STAFF["职责"][0], ["13900000001", "网格员", VILLAGE_A, 46357]]}, ("职责", 2, "开始日期"), "not_a_date"),
        ({"职责": [STAFF["职责"][0], ["13900000001", "网格员", VILLAGE_A, "2026-02-30"]]}, ("职责", 2, "开始日期"), "not_a_date"),
    ],
)  # fmt: skip
async def test_nothing_that_was_typed_is_passed_over_in_silence(
    office: Office, admin: Phone, sheets: dict[str, list[list[Any]]], where: tuple[str, int, str], code: str
) -> None:
    data = workbook(sheets)
    tried = (await send(office, admin, data)).json()
    assert (*where, code) in {(f["sheet"], f["row"], f["column"], f["code"]) for f in tried["faults"]}
    refused = await send(office, admin, data, confirm=tried["sha256"])
    assert refused.status_code == 422


def as_excel(shared: str, cell: str = "0") -> bytes:
    """A file as spreadsheet programs write it: texts stand in a part of their own, cells name them by number."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        book.add_worksheet("人员").write_row(0, 0, ["手机号", "姓名"])
    made = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            text = old.read(name).decode()
            new.writestr(name, shared if name == "xl/sharedStrings.xml" else text.replace("<v>0</v>", f"<v>{cell}</v>"))
    return made.getvalue()


SHARED = '<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{}</sst>'
LAUGHS = '<!DOCTYPE l [<!ENTITY a "{}">]>'.format("x" * 100_000)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (as_excel(SHARED.format("<si><t/></si>" * 600_000)), "too_large"),  # 25 KB that kept a processor busy for half a minute
        (as_excel(SHARED.format("<si><t>x</t></si>"), cell="999999"), "not_a_workbook"),  # a text that there is not
        (as_excel(LAUGHS + SHARED.format("<si><t>&a;</t></si>" * 2000)), "not_a_workbook"),
        (as_excel('<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + SHARED.format("<si><t>&x;</t></si>")), "not_a_workbook"),
        (as_excel('<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" x="' + "a" * 55_000_000 + '"/>'), "too_large"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4096), "old_xls"),
    ],
    ids=["many empty texts", "a text too far", "entities", "a file of the server", "a long attribute", "old"],
)
async def test_a_hostile_file_costs_nothing_and_says_why(office: Office, admin: Phone, data: bytes, code: str) -> None:
    began = time.process_time()  # of this process with all its threads: whatever else the machine does
    tried = await send(office, admin, data)
    assert tried.status_code == 200, tried.text
    assert [f["code"] for f in tried.json()["faults"]] == [code]
    assert time.process_time() - began < 5


async def test_a_full_file_is_within_the_bounds(office: Office) -> None:
    """2000 sites with every column filled, as a spreadsheet program writes them."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        page = book.add_worksheet(SITES.title)
        page.write_row(0, 0, [column.heading for column in SITES.columns])
        for k in range(1, SITES.rows_max + 1):
            values = [
                f"工地{k}",
                VILLAGE_A,
                "construction_dust",
                f"路{k}号",
                32.7,
                109.0,
                "WGS-84",
                5,
                "一般保护区",
                f"人{k}",
                "0915",
                30,
                "甲、乙",
                f"备注{k}",
            ]
            page.write_row(k, 0, values)
    tried = (await send(office, office.lead, buffer.getvalue(), "sites")).json()
    assert (tried["faults"], tried["counts"]) == ([], {SITES.title: SITES.rows_max})


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/workbook.xml", b"0" * (65 * 1024 * 1024))
    return buffer.getvalue()


async def test_files_that_are_none_are_refused_without_harm(office: Office, admin: Phone) -> None:
    cases = [(b"", "file_is_empty"), (b"PK\x03\x04junk", "file_is_cut"), (b"a,b\n1,2", "plain_text"), (bomb(), "too_large")]
    cases += [(workbook({"单位": [["单位代码"]]}), "column_missing"), (workbook({"人员": [["手机号", "姓名"]]}), "nothing_to_import")]
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
        (["三", VILLAGE_A, "扬尘"], "类别", "unknown_word"),
        (["三", VILLAGE_A, "qwerty"], "类别", "unknown_word"),
        (["三", VILLAGE_A, "construction_dust", 0, 0, "WGS-84"], "纬度", "not_in_china"),
        (["三", VILLAGE_A, "construction_dust", 89.02, 32.69, "WGS-84"], "纬度", "not_in_china"),
        (["三", VILLAGE_A, "construction_dust", 32.69, 109.02], "坐标系", "datum_missing"),
        (["三", VILLAGE_A, "construction_dust", None, None, None, None, 1.5], "检查周期(天)", "not_whole"),
        (["三", VILLAGE_A, "construction_dust", 91, 109], "纬度", "not_a_number"),
        (["三", VILLAGE_A, "construction_dust", 32.6, None], "纬度", "position_incomplete"),
        (["三", VILLAGE_A, "construction_dust", None, None, "BD-09"], "坐标系", "unknown_word"),
        (["三" * 201, VILLAGE_A, "construction_dust"], "名称", "too_long"),
        (["三\n四", VILLAGE_A, "construction_dust"], "名称", "not_one_line"),
        (["\u200b", VILLAGE_A, "construction_dust"], "名称", "required"),
        ([None, VILLAGE_A, "construction_dust"], "名称", "required"),
        (["三", VILLAGE_A, None], "类别", "required"),
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


# ------------------------------------------------------------------------------------------------ people who are here already (decision 0030)

DUTY_HEAD = ["手机号", "职责", "单位代码", "开始日期", "结束日期"]


def staff(people: list[list[Any]], duties: list[list[Any]]) -> bytes:
    return workbook({"人员": [["手机号", "姓名"], *people], "职责": [DUTY_HEAD, *duties]})


async def faults(office: Office, admin: Phone, data: bytes) -> list[tuple[str, str]]:
    return [(f["column"], f["code"]) for f in (await send(office, admin, data)).json()["faults"]]


async def test_an_import_gives_no_more_than_an_admin_may(office: Office, admin: Phone) -> None:
    """The same rules as by hand: no duty for oneself, no person of other units, no auditor who administers, no made-up past."""
    world = office.world
    own = await world.pool.fetchval("SELECT phone FROM person WHERE name = '管理员'")
    elsewhere = await world.person("外县", (Role.COUNTY_SUPERVISOR, "610921"))
    auditor = await world.person("审计", (Role.AUDITOR, TOWNSHIP))
    found = await faults(
        office,
        admin,
        staff(
            [[elsewhere.number, elsewhere.name]],
            [
                [own, "镇办负责人", TOWNSHIP, None, None],
                [elsewhere.number, "网格员", VILLAGE_A, None, None],
                [auditor.number, "系统管理员", TOWNSHIP, None, None],
                [auditor.number, "网格员", VILLAGE_A, "2020-01-01", None],
            ],
        ),
    )
    assert sorted(found) == [
        ("开始日期", "starts_too_early"),
        ("手机号", "account_elsewhere"),
        ("手机号", "not_to_yourself"),
        ("手机号", "person_outside_your_units"),
        ("职责", "auditor_is_apart"),
    ]


async def test_an_import_does_not_tell_whether_a_guessed_name_is_that_of_a_number_elsewhere(office: Office, admin: Phone) -> None:
    elsewhere = await office.world.person("外县", (Role.COUNTY_SUPERVISOR, "610921"))
    answers = [(await send(office, admin, staff([[elsewhere.number, name]], []))).json() for name in ("外县", "别人")]
    assert [[f["code"] for f in a["faults"]] for a in answers] == [["account_elsewhere"]] * 2
    assert [a["unchanged"] for a in answers] == [{}, {}]


async def test_a_successor_is_imported_with_the_number_of_who_was_disabled(office: Office, admin: Phone) -> None:
    world = office.world
    former = await world.person("前任", (Role.GRID_MEMBER, VILLAGE_A))
    assert (await call(world, admin, "POST", f"/people/v1/persons/{former.id}/disable")).status_code == 204
    duty = [former.number, "网格员", VILLAGE_A, None, None]
    assert await faults(office, admin, staff([[former.number, "前任"]], [duty])) == [("手机号", "account_disabled")] * 2
    assert await faults(office, admin, staff([], [duty])) == [("手机号", "account_disabled")]
    typed = f"+86 {former.number[:3]}-{former.number[3:]}"
    data = staff([[typed, "继任"]], [[typed, *duty[1:]]])
    tried = (await send(office, admin, data)).json()
    assert tried["faults"] == []
    (made,) = (await send(office, admin, data, confirm=tried["sha256"])).json()["accounts"]
    assert (made["name"], made["phone"]) == ("继任", former.number)
    assert await world.pool.fetchval("SELECT name FROM person WHERE id = $1", former.id) == "前任"
    note = await world.pool.fetchval("SELECT detail ->> 'to' FROM audit_log WHERE action = 'number_passed_on'")
    assert note == made["person"]


async def test_a_duty_that_was_given_meanwhile_lets_an_import_begin_anew(office: Office, admin: Phone) -> None:
    world = office.world
    member = await world.person("网格", (Role.GRID_MEMBER, VILLAGE_A))
    known = await fetch_accounts(world.pool, [member.number])
    await world.duty(member, Role.AUDITOR, TOWNSHIP, world.time)
    async with transaction(world.pool) as conn:
        with pytest.raises(Problem, match="刚被更改"):
            await lock_accounts(conn, known)
        await lock_accounts(conn, await fetch_accounts(conn, [member.number]))


async def waits_for_a_lock(office: Office) -> None:
    """Until somebody in this database waits for a lock that another holds."""
    for _ in range(3000):
        if await office.world.pool.fetchval(SQL_WAITS):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waited")


SQL_WAITS = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"


async def test_an_import_and_the_correction_of_a_number_lock_in_one_order(office: Office, admin: Phone) -> None:
    """The file gives a duty to somebody whose number is being corrected to one that the file gives to a new account."""
    member = await office.world.person("老成员", (Role.GRID_MEMBER, VILLAGE_A))
    head, people, duties = STAFF["单位"][0], STAFF["人员"], STAFF["职责"]
    given = [member.number, "网格员", VILLAGE_B, None, None]
    data = workbook({"单位": [head], "人员": people[:2], "职责": [duties[0], ["13900000001", "网格员", VILLAGE_A, None, None], given]})
    tried = (await send(office, admin, data)).json()
    assert tried["faults"] == []
    async with transaction(office.world.app.state.resources.pool) as conn:
        await lock_number(conn, "13900000001")
        importing = asyncio.create_task(send(office, admin, data, confirm=tried["sha256"]))
        await waits_for_a_lock(office)
        assert await correct_person(conn, member.id, "老成员", "13900000001")  # a deadlock, if the import held the person
    answer = await importing
    assert (answer.status_code, answer.json()["code"]) == (409, "conflicting_state"), answer.text


async def test_imports_that_make_the_same_units_queue(office: Office, admin: Phone) -> None:
    """In another order they would wait for each other."""
    rows = [[f"610902001001-g{k}", VILLAGE_A, "网格", f"{k}网格"] for k in (1, 2)]
    data = workbook({**STAFF, "单位": [STAFF["单位"][0], *rows], "职责": [row[:5] for row in STAFF["职责"]]})
    tried = (await send(office, admin, data)).json()
    assert tried["faults"] == []
    first, second = [Unit(code=row[0], county=COUNTY, parent=VILLAGE_A, level=Level.GRID, name=row[3]) for row in rows]
    async with transaction(office.world.app.state.resources.pool) as conn:
        await lock_staff(conn, [second, first], [], {})
        assert await insert_unit(conn, second)
        importing = asyncio.create_task(send(office, admin, data, confirm=tried["sha256"]))
        await waits_for_a_lock(office)
        assert await insert_unit(conn, first)  # a deadlock, if the other had begun with this one
    answer = await importing
    assert (answer.status_code, answer.json()["code"]) == (409, "conflicting_state"), answer.text


async def test_disabling_and_a_repeated_grant_lock_in_one_order(office: Office, admin: Phone) -> None:
    member = await office.world.person("老成员", (Role.GRID_MEMBER, VILLAGE_A))
    duty = await office.world.pool.fetchval("SELECT id FROM duty WHERE person = $1", member.id)
    async with transaction(office.world.app.state.resources.pool) as conn:
        assert await lock_duty(conn, duty) is not None
        disabling = asyncio.create_task(call(office.world, admin, "POST", f"/people/v1/persons/{member.id}/disable"))
        await waits_for_a_lock(office)
        assert await lock_duties_of(conn, member.id)  # a deadlock, if the other held the person
    answer = await disabling
    assert answer.status_code == 204, answer.text


def opcodes(check: Callable[[], Any]) -> int:
    """What the interpreter does for it: the same on every machine, however busy it is."""
    counted = 0

    def trace(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal counted
        frame.f_trace_opcodes = True
        counted += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        check()
    finally:
        sys.settrace(before)
    return counted


def many(rows: int) -> dict[str, list[SheetRow]]:
    """A file of staff with so many units, people and duties; each unit below the township."""
    phones = [str(13900000000 + k) for k in range(rows)]
    return {
        "单位": [SheetRow(k, {"code": f"610902001-t{k}", "parent": TOWNSHIP, "level": "team", "name": f"队{k}"}) for k in range(rows)],
        "人员": [SheetRow(k, {"phone": phone, "name": f"人{k}"}) for k, phone in enumerate(phones)],
        "职责": [
            SheetRow(k, {"phone": phone, "role": "township_staff", "unit": TOWNSHIP, "starts": "", "ends": ""})
            for k, phone in enumerate(phones)
        ],
    }


def test_rows_are_judged_in_time_that_grows_with_the_rows_alone() -> None:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    admin = [Duty(person=uuid7(), role=Role.ADMIN, unit=TOWNSHIP, starts=now - timedelta(days=9))]
    by = Administered(admin=admin, known={}, places=Places(COUNTY_UNITS), now=now, backdated_days=7)
    staff, faults = check_staff(many(20), by)
    assert (faults, len(staff.units), len(staff.people), len(staff.duties)) == ([], 20, 20, 20)
    few, twice = (opcodes(partial(check_staff, many(rows), by)) for rows in (150, 300))
    assert few > 10_000
    assert twice < 2.2 * few


async def test_rows_are_judged_beside_the_event_loop(office: Office, admin: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[str, set[int]] = {}

    def watch(name: str) -> None:
        judge = getattr(imports, name)

        def watched(*arguments: Any) -> Any:
            threads.setdefault(name, set()).add(threading.get_ident())
            return judge(*arguments)

        monkeypatch.setattr(imports, name, watched)

    for name in ("with_codes", "check_staff", "check_sites"):
        watch(name)
    assert (await send(office, admin, workbook(STAFF))).status_code == 200
    assert (await send(office, office.lead, workbook({"对象": SITE_ROWS}), "sites")).status_code == 200
    assert threads.keys() == {"with_codes", "check_staff", "check_sites"}
    assert threading.get_ident() not in set().union(*threads.values())
