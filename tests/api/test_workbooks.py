"""A workbook is read as the person who filled it sees it, or a fault names what is read otherwise (docs/office-api.md, Imports)."""

import asyncio
import io
import re
import time
import zipfile
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
import xlsxwriter
from openpyxl import Workbook
from openpyxl.comments import Comment
from openpyxl.styles import Font

from api.import_queue import ImportQueue
from api.unit_names import with_codes
from api.workbook_files import UnreadableFile, read_parts
from api.workbooks import SheetRow, WorkbookRead, read_workbook
from contracts.importing import DUTIES, FAULT_TEXTS, SHEETS, SITES
from contracts.office import ImportSubject
from contracts.problems import Problem, ProblemCode
from storage.children import Bounds
from sync.places import Places
from tests.county import UNITS as COUNTY_UNITS
from tests.world import TOWNSHIP, VILLAGE_A, VILLAGE_B

PEOPLE_HEAD = ["手机号", "姓名"]
DUTY_HEAD = ["手机号", "职责", "单位代码", "开始日期", "结束日期"]
SITE_HEAD = [column.heading for column in SITES.columns]
NAMES = {column.heading: column.name for column in (*SITES.columns, *DUTIES.columns)}


def written(fill: Callable[[xlsxwriter.Workbook], None], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True, **options}) as book:
        fill(book)
    return buffer.getvalue()


def plain(sheets: dict[str, list[list[Any]]]) -> bytes:
    def fill(book: xlsxwriter.Workbook) -> None:
        for title, rows in sheets.items():
            page = book.add_worksheet(title)
            for k, row in enumerate(rows):
                page.write_row(k, 0, row)

    return written(fill)


PERSON: dict[str, list[list[Any]]] = {"人员": [PEOPLE_HEAD, ["13900000001", "张三"]]}


def changed(data: bytes, change: Callable[[str, bytes], bytes | None], name: Callable[[str], str] = lambda n: n) -> bytes:
    """The file with its parts changed (None: left out) or named otherwise."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for path in old.namelist():
            part = change(path, old.read(path))
            if part is not None:
                new.writestr(name(path), part)
    return made.getvalue()


def same(_path: str, part: bytes) -> bytes:
    return part


def edited(data: bytes, fill: Callable[[Any], None]) -> bytes:
    """As openpyxl writes it."""
    book = Workbook()
    book.remove(book.active)
    fill(book)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def with_sheet(fill: Callable[[Any], None], title: str = "人员") -> bytes:
    def made(book: Any) -> None:
        page = book.create_sheet(title)
        fill(page)

    return edited(b"", made)


def values(found: WorkbookRead, title: str) -> list[dict[str, str]]:
    return [row.values for row in found.rows[title]]


def codes(found: WorkbookRead) -> list[tuple[int, str, str]]:
    return [(fault.row, fault.column, fault.code) for fault in found.faults]


# -------------------------------------------------------------------------------------------------- files


def strict(path: str, part: bytes) -> bytes:
    """As Excel saves a "Strict Open XML Spreadsheet"."""
    part = part.replace(b"http://schemas.openxmlformats.org/spreadsheetml/2006/main", b"http://purl.oclc.org/ooxml/spreadsheetml/main")
    return part.replace(b"http://schemas.openxmlformats.org/officeDocument/2006", b"http://purl.oclc.org/ooxml/officeDocument")


def with_names_of_nothing(path: str, part: bytes) -> bytes:
    names = b'<definedNames><definedName name="_xlnm.Print_Area" localSheetId="9">#REF!</definedName><definedName>x</definedName></definedNames>'
    return part.replace(b"<calcPr", names + b"<calcPr") if path == "xl/workbook.xml" else part


@pytest.mark.parametrize(
    "data",
    [
        changed(plain(PERSON), same, lambda path: path.replace("/", "\\")),
        changed(plain(PERSON), same, lambda path: path.replace("sharedStrings", "SharedStrings")),
        changed(plain(PERSON), same, str.upper),
        changed(plain(PERSON), strict),
        changed(plain(PERSON), with_names_of_nothing),
        changed(plain(PERSON), lambda path, part: re.sub(rb"<dcterms:created[^>]*>[^<]*", b"<dcterms:created>0000-00-00T00:00:00Z", part)),
        changed(plain(PERSON), lambda path, part: re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1"', part)),
        changed(plain(PERSON), lambda path, part: part.replace(b'<fill><patternFill patternType="gray125"/></fill>', b"<fill/>")),
        changed(plain(PERSON), lambda path, part: None if path == "xl/styles.xml" else part),
        changed(plain(PERSON), lambda path, part: None if path.startswith("docProps") else part),
        changed(plain(PERSON), lambda path, part: part.replace(b'Target="worksheets', b'Target="/xl/worksheets')),
        with_sheet(lambda page: [page.append(row) for row in PERSON["人员"]]),
        plain({" 人员 ": PERSON["人员"]}),
    ],
    ids=["backslashes", "case of strings", "capitals", "strict", "names of nothing", "no such date", "dimension", "empty fill", "no styles",
         "no properties", "targets from the root", "openpyxl", "blanks around the title"],
)  # fmt: skip
def test_what_excel_and_wps_open_is_read(data: bytes) -> None:
    found = read_workbook(data, "staff")
    assert (codes(found), values(found, "人员")) == ([], [{"phone": "13900000001", "name": "张三"}])


def archive(**parts: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for path, text in parts.items():
            made.writestr(path.replace("__", "/").replace("_", "."), text)
    return buffer.getvalue()


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "file_is_empty"),
        (bytes(100), "file_is_empty"),
        (plain(PERSON)[:2000], "file_is_cut"),
        (OLE + "Workbook".encode("utf-16-le"), "old_xls"),
        (OLE + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
        (archive(xl__workbook_bin="x"), "xlsb"),
        (archive(word__document_xml="<x/>"), "other_office_file"),
        (archive(content_xml="<x/>", mimetype="application/vnd.oasis.opendocument.spreadsheet"), "other_office_file"),
        ("手机号,姓名\n13900000001,张三\n".encode("gbk"), "plain_text"),
        ("手机号\t姓名\n".encode("utf-16"), "plain_text"),
        ("<html><meta charset='gbk'><table><tr><td>手机号</td></tr></table>".encode("gbk"), "web_page"),
        (b"MIME-Version: 1.0\nContent-Type: multipart/related", "web_page"),
        (b"%PDF-1.7\n%\xe2\xe3", "not_a_workbook"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not_a_workbook"),
        (changed(plain(PERSON), lambda path, part: b"<junk" if path == "xl/styles.xml" else part), "not_a_workbook"),
        (changed(plain(PERSON), lambda path, part: part.decode().encode("utf-16") if path.endswith("sheet1.xml") else part), "not_a_workbook"),
    ],
)  # fmt: skip
def test_another_file_says_what_to_do(data: bytes, code: str) -> None:
    found = read_workbook(data, "staff")
    assert ([fault.code for fault in found.faults], found.rows) == ([code], {})
    assert re.search(r"请", FAULT_TEXTS[code])


def test_two_parts_of_one_name_are_not_read() -> None:
    """Two readers would read two workbooks."""
    made = io.BytesIO(plain(PERSON))
    with zipfile.ZipFile(made, "a") as parts:
        parts.writestr("XL/worksheets/sheet1.xml", b"<worksheet/>")
    assert codes(read_workbook(made.getvalue(), "staff")) == [(0, "", "not_a_workbook")]


# -------------------------------------------------------------------------------------------------- rows and sheets


def test_a_merged_cell_is_of_all_its_rows() -> None:
    def fill(page: Any) -> None:
        page.append(DUTY_HEAD)
        for k in range(3):
            page.append([f"1390000000{k}", "网格员", VILLAGE_A, "2026-12-01", "2027-12-31" if k == 0 else None])
        page.merge_cells("E2:E9")  # further down than there are rows

    found = read_workbook(with_sheet(fill, "职责"), "staff")
    assert (codes(found), [row["ends"] for row in values(found, "职责")]) == ([], ["2027-12-31"] * 3)


@pytest.mark.parametrize(
    ("merged", "code"),
    [("D2:E2", "merged_across"), ("D1:E1", "merged_heading"), ("E1:E2", "merged_heading")],
)
def test_a_merged_range_that_cannot_be_read_is_named(merged: str, code: str) -> None:
    def fill(page: Any) -> None:
        page.append(DUTY_HEAD)
        page.append(["13900000001", "网格员", VILLAGE_A, "2026-12-01"])
        page.merge_cells(merged)

    assert (merged, code) in {(column, code) for _, column, code in codes(read_workbook(with_sheet(fill, "职责"), "staff"))}


def test_what_a_merged_cell_covers_is_told() -> None:
    data = changed(
        plain(PERSON),
        lambda path, part: part.replace(
            b"</sheetData>", b'</sheetData><mergeCells><mergeCell ref="B1:B1"/><mergeCell ref="A2:B2"/></mergeCells>'
        ),
    )
    assert (2, "A2:B2", "merged_over") in codes(read_workbook(data, "staff"))


@pytest.mark.parametrize("rows", [[*range(1, 2001), *range(2002, 2052)], [1, 2, 2004]], ids=["behind a blank row", "far below"])
def test_rows_beyond_the_limit_are_told(rows: list[int]) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        page = book.add_worksheet(SITES.title)
        page.write_row(0, 0, SITE_HEAD)
        for row in rows:
            page.write_row(row, 0, [f"场{row}", VILLAGE_A, "施工扬尘"])

    (fault,) = read_workbook(written(fill), "sites").faults
    assert (fault.code, str(max(rows) + 1) in fault.text) == ("too_many_rows", True)


def test_rows_between_blank_ones_are_read() -> None:
    found = read_workbook(plain({"人员": [PEOPLE_HEAD, *[[]] * 50, ["13900000001", "张三"]]}), "staff")
    assert [(row.number, row.text("name")) for row in found.rows["人员"]] == [(52, "张三")]


def far(book: xlsxwriter.Workbook) -> None:
    page = book.add_worksheet("人员")
    page.write_row(0, 0, PEOPLE_HEAD)
    page.write(1_000_000, 10_000, "x")


def chart(book: xlsxwriter.Workbook) -> None:
    book.add_worksheet("人员").write_row(0, 0, PEOPLE_HEAD)
    drawn = book.add_chart({"type": "column"})
    drawn.add_series({"values": "=人员!$A$1:$A$2"})
    book.add_chartsheet("图").set_chart(drawn)


def other_sheet(book: xlsxwriter.Workbook) -> None:
    book.add_worksheet("人员").write_row(0, 0, PEOPLE_HEAD)
    book.add_worksheet("二组人员").write_row(4, 0, ["13900000001", "张三"])


def second_of_a_title(book: xlsxwriter.Workbook) -> None:
    for title in ("人员", "人员 "):
        page = book.add_worksheet(title)
        page.write_row(0, 0, PEOPLE_HEAD)
        page.write_row(1, 0, ["13900000001", "张三"])


def far_column(book: xlsxwriter.Workbook) -> None:
    page = book.add_worksheet("人员")
    page.write_row(0, 0, PEOPLE_HEAD)
    page.write_row(1, 0, ["13900000001", "张三"])
    page.write(1, 100, "此人已调离")


@pytest.mark.parametrize(
    ("fill", "code"),
    [(far, "far_cell"), (chart, "sheet_unknown"), (other_sheet, "sheet_unknown"), (second_of_a_title, "sheet_unknown"), (far_column, "column_without_heading")],
)  # fmt: skip
def test_what_stands_where_nobody_reads_is_told(fill: Callable[[xlsxwriter.Workbook], None], code: str) -> None:
    assert code in [fault.code for fault in read_workbook(written(fill), "staff").faults]


def hidden(how: str) -> bytes:
    def fill(book: xlsxwriter.Workbook) -> None:
        page = book.add_worksheet("人员")
        page.write_row(0, 0, PEOPLE_HEAD)
        for row in range(1, 5):
            page.write_row(row, 0, [f"1390000000{row}", "张三"])
        if how == "rows":
            for row in (1, 3, 4):
                page.set_row(row, options={"hidden": True})
        elif how == "flat":
            page.set_row(2, 0)
        elif how == "column":
            page.set_column(0, 0, options={"hidden": True})
        else:
            book.add_worksheet("x").activate()
            page.hide() if how == "sheet" else page.very_hidden()

    return written(fill)


@pytest.mark.parametrize(
    ("how", "fault"),
    [("rows", (2, "", "rows_hidden", "第 2、4-5 行")), ("flat", (3, "", "rows_hidden", "第 3 行")), ("column", (0, "手机号", "column_hidden", "A 列")),
     ("sheet", (0, "", "sheet_hidden", "")), ("deep", (0, "", "sheet_hidden", ""))],
)  # fmt: skip
def test_what_is_hidden_is_told(how: str, fault: tuple[int, str, str, str]) -> None:
    (found,) = read_workbook(hidden(how), "staff").faults
    assert (found.row, found.column, found.code) == fault[:3]
    assert found.text.endswith(fault[3])


def test_hidden_rows_without_anything_are_no_matter() -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        page = book.add_worksheet("人员")
        page.write_row(0, 0, PEOPLE_HEAD)
        page.write_row(1, 0, ["13900000001", "张三"])
        page.set_row(7, options={"hidden": True})
        page.set_column(9, 9, options={"hidden": True})

    assert read_workbook(written(fill), "staff").faults == []


def drawn(book: xlsxwriter.Workbook) -> None:
    page = book.add_worksheet("人员")
    page.write_row(0, 0, PEOPLE_HEAD)
    page.write_row(1, 0, ["13900000001", "张三"])
    page.insert_textbox(3, 3, "李四 13900000002")


def commented(page: Any) -> None:
    for row in PERSON["人员"]:
        page.append(row)
    page["B2"].comment = Comment("已调离", "镇办")


def struck(page: Any) -> None:
    for row in PERSON["人员"]:
        page.append(row)
    page["B2"].font = Font(strike=True)


@pytest.mark.parametrize(
    ("data", "fault"),
    [(written(drawn), (0, "", "drawing")), (with_sheet(commented), (2, "B", "comment")), (with_sheet(struck), (2, "姓名", "struck_out"))],
)
def test_what_lies_on_the_cells_is_told(data: bytes, fault: tuple[int, str, str]) -> None:
    assert codes(read_workbook(data, "staff")) == [fault]


# -------------------------------------------------------------------------------------------------- cells


def cell(heading: str, value: Any, number_format: str = "", **options: Any) -> tuple[str, str]:
    """(what is read, code of the fault) of one cell that a spreadsheet program wrote."""

    def fill(book: xlsxwriter.Workbook) -> None:
        sheet, head = (SITES, SITE_HEAD) if heading in SITE_HEAD and heading != "单位代码" else (DUTIES, DUTY_HEAD)
        page = book.add_worksheet(sheet.title)
        page.write_row(0, 0, head)
        shown = book.add_format({"num_format": number_format}) if number_format else None
        if isinstance(value, str):
            page.write_string(1, head.index(heading), value, shown)
        else:
            page.write(1, head.index(heading), value, shown)

    subject = "sites" if heading in SITE_HEAD and heading != "单位代码" else "staff"
    found = read_workbook(written(fill, **options), subject)
    (row,) = next(iter(found.rows.values()))
    return row.text(NAMES[heading]), next((f.code for f in found.faults if f.column == heading), "")


MOMENT = datetime(2026, 3, 5)


@pytest.mark.parametrize(
    ("heading", "value", "number_format", "read"),
    [
        # telephone numbers
        ("手机号", 13900000001, "", "13900000001"),
        ("手机号", 13900000001, "0.00E+00", "13900000001"),
        ("手机号", 13900000001, "000 0000 0000", "13900000001"),
        ("手机号", "+86 139-0000-0001", "", "13900000001"),
        ("手机号", "'13900000001", "", "13900000001"),
        ("手机号", "１３９\u3000００００\u00a0０００１", "", "13900000001"),
        ("手机号", "\u202d13900000001\u202c", "", "13900000001"),
        ("手机号", "13900000001.0", "", "13900000001"),
        ("联系电话", "0915-3212345", "", "0915-3212345"),
        ("联系电话", 9153212345, "0000-0000000", "09153212345"),
        # days
        ("结束日期", MOMENT, "yyyy-mm-dd", "2026-03-05"),
        ("结束日期", MOMENT, 'yyyy"年"m"月"d"日"', "2026-03-05"),
        ("结束日期", MOMENT, "[$-804]yyyy/m/d;@", "2026-03-05"),
        ("结束日期", datetime(2026, 3, 5, 23, 59), "yyyy-mm-dd hh:mm", "2026-03-05"),
        ("结束日期", "2026.3.5", "", "2026-03-05"),
        ("结束日期", "2026年3月5日", "", "2026-03-05"),
        ("结束日期", "2026年 3月 5号", "", "2026-03-05"),
        ("结束日期", "２０２６／３／５", "", "2026-03-05"),
        ("结束日期", "2026-03-05 00:00:00", "", "2026-03-05"),
        ("结束日期", 20260305, "", "2026-03-05"),
        # codes, words, names
        ("单位代码", int(VILLAGE_A), "", VILLAGE_A),
        ("单位代码", "610902 001 001", "", VILLAGE_A),
        ("单位代码", 7, "000", "007"),
        ("责任人", "张\u3000三", "", "张三"),
        ("责任人", "欧阳 修", "", "欧阳 修"),
        ("责任人", "买买提 • 艾力", "", "买买提·艾力"),
        ("责任人", "John  Smith", "", "John Smith"),
        ("名称", 101, "", "101"),
        ("备注", "一行\r\n二行", "", "一行\n二行"),
        ("备注", True, "", "TRUE"),
        # numbers
        ("纬度", 32.695312345, "0.00", "32.695312345"),
        ("纬度", "３２．６９", "", "32.69"),
        ("检查周期(天)", 30.0, "0", "30"),
    ],
)  # fmt: skip
def test_a_cell_is_read_as_it_is_seen(heading: str, value: Any, number_format: str, read: str) -> None:
    assert cell(heading, value, number_format) == (read, "")


@pytest.mark.parametrize(
    ("heading", "value", "number_format", "code"),
    [
        ("手机号", 13900000000, "0.00E+00", "digits_lost"),
        ("手机号", "1.39E+10", "", "digits_lost"),
        ("手机号", 139000000011234567, "", "digits_lost"),
        ("手机号", MOMENT, "yyyy-mm-dd", "became_date"),
        ("手机号", "-13900000001", "", ""),  # a hyphen in front is typed, too
        ("联系电话", 9153212345, "", "zeros_lost"),
        ("单位代码", 1234, "", "zeros_lost"),
        ("单位代码", "6.10902E+11", "", "digits_lost"),
        ("名称", MOMENT, 'm"月"d"日"', "became_date"),
        ("名称", 0.5, "h:mm", "became_date"),
        ("名称", "=1+1", "", "looks_like_formula"),
        ("名称", "'=1+1", "", "looks_like_formula"),
        ("名称", "＝cmd", "", "looks_like_formula"),
        ("名称", 5, '0"号工地"', "shown_otherwise"),
        ("结束日期", MOMENT, 'yyyy"年"m"月"', "shown_otherwise"),
        ("结束日期", MOMENT, "m-d", "shown_otherwise"),
        ("结束日期", 46357, "", "not_a_date"),
        ("结束日期", "长期", "", "not_a_date"),
        ("结束日期", "26.3.5", "", "not_a_date"),
        ("结束日期", "2026-02-30", "", "not_a_date"),
        ("检查周期(天)", 0.3, "0%", "shown_otherwise"),
        ("检查周期(天)", 30000, "0,", "shown_otherwise"),
        ("检查周期(天)", "30天", "", "not_a_number"),
        ("纬度", "1_000", "", "not_a_number"),
        ("纬度", "nan", "", "not_a_number"),
        ("纬度", "32°41′", "", "not_a_number"),
    ],
)  # fmt: skip
def test_a_cell_that_is_read_otherwise_is_told(heading: str, value: Any, number_format: str, code: str) -> None:
    assert cell(heading, value, number_format)[1] == code


def test_days_of_the_other_system_are_the_same_days() -> None:
    assert cell("结束日期", MOMENT, "yyyy-mm-dd", date_1904=True) == ("2026-03-05", "")


@pytest.mark.parametrize(("formula", "kept"), [("=1+1", 2), ('="张三"', "张三"), ("=NA()", "#N/A"), ("=1+1", "")])
def test_a_formula_is_told_with_and_without_its_value(formula: str, kept: Any) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        page = book.add_worksheet("人员")
        page.write_row(0, 0, PEOPLE_HEAD)
        page.write(1, 0, "13900000001")
        page.write_formula(1, 1, formula, None, kept)

    assert codes(read_workbook(written(fill), "staff")) == [(2, "姓名", "formula")]


def in_sheet(cells: str) -> bytes:
    def change(path: str, part: bytes) -> bytes:
        return re.sub(rb'<row r="2".*</row>', f'<row r="2">{cells}</row>'.encode(), part) if path.endswith("sheet1.xml") else part

    return changed(plain(PERSON), change)


@pytest.mark.parametrize(
    ("cells", "read"),
    [
        ('<c t="inlineStr"><is><t>13900000001</t></is></c><c t="inlineStr"><is><r><t>张</t></r><r><rPr><b/></rPr><t>三</t></r><rPh sb="0" eb="1"><t>zhang</t></rPh></is></c>', "张三"),
        ('<c r="A2"><v>13900000001</v></c><c r="B2" t="str"><v>张三</v></c>', "张三"),
    ],
    ids=["rich text with its reading", "without a place"],
)  # fmt: skip
def test_rich_text_is_its_text(cells: str, read: str) -> None:
    found = read_workbook(in_sheet(cells), "staff")
    assert (codes(found), values(found, "人员")) == ([], [{"phone": "13900000001", "name": read}])


def test_an_error_value_is_told() -> None:
    assert (2, "姓名", "cell_error") in codes(
        read_workbook(in_sheet('<c r="A2"><v>13900000001</v></c><c r="B2" t="e"><v>#N/A</v></c>'), "staff")
    )


def test_units_may_be_named() -> None:
    """By their name, also behind the names of the units above; a name of several units is a fault that gives their codes."""
    places = Places(COUNTY_UNITS)
    reach = set(places.below(TOWNSHIP))
    township = places.units[TOWNSHIP].name
    for name, read in (("甲村", VILLAGE_A), (f"{township} 乙村", VILLAGE_B), (VILLAGE_B, VILLAGE_B), ("丙村", "丙村"), ("一网格", "wg1")):
        rows = {"单位": [SheetRow(2, {"code": "wg1", "parent": "甲村", "name": "一网格"})], "职责": [SheetRow(2, {"unit": name})]}
        found, faults = with_codes(rows, SHEETS[ImportSubject.STAFF], places, reach)
        assert (found["职责"][0].text("unit"), found["单位"][0].text("parent"), faults) == (read, VILLAGE_A, [])
    rows = {"单位": [SheetRow(2, {"code": "wg1", "parent": VILLAGE_A, "name": "甲村"})], "职责": [SheetRow(2, {"unit": "甲村"})]}
    _, (fault,) = with_codes(rows, SHEETS[ImportSubject.STAFF], places, reach)
    assert (fault.code, fault.sheet, VILLAGE_A in fault.text, "wg1" in fault.text) == ("unit_ambiguous", "职责", True, True)


# -------------------------------------------------------------------------------------------------- costs


def attribute(size: int) -> bytes:
    """One attribute that is very long and packs to little."""

    def change(path: str, part: bytes) -> bytes:
        return part.replace(b"<sheetData>", b'<sheetData x="' + b"a" * size + b'">') if path.endswith("sheet1.xml") else part

    return changed(plain(PERSON), change)


def long_text_everywhere() -> bytes:
    """A text of 1 MB that 70,000 cells show: 70 GB, if each had its own."""
    cells = "".join('<row><c t="s"><v>0</v></c></row>' for _ in range(70_000))

    def change(path: str, part: bytes) -> bytes:
        if path.endswith("sheet1.xml"):
            return re.sub(rb"<sheetData>.*</sheetData>", f"<sheetData>{cells}</sheetData>".encode(), part)
        return re.sub(rb"<si>.*</si>", b"<si><t>" + b"x" * 1_000_000 + b"</t></si>", part) if "sharedStrings" in path else part

    return changed(plain(PERSON), change)


def test_a_file_that_costs_much_is_refused_before_it_is_read() -> None:
    for data in (
        attribute(55_000_000),
        archive(xl__workbook_xml="<a/>" * 600_000),
        archive(xl__workbook_xml="x", **{f"p{k}": "" for k in range(501)}),
    ):
        began = time.process_time()
        with pytest.raises(UnreadableFile) as refused:
            read_parts(data)
        assert refused.value.code == "too_large"
        assert time.process_time() - began < 5


async def test_a_file_that_its_reader_does_not_survive_harms_nobody() -> None:
    queue = ImportQueue(Bounds(memory_bytes=512 * 1024**2, seconds=60))
    try:
        costly = asyncio.create_task(queue.read(long_text_everywhere(), "staff"))
        beside = asyncio.create_task(queue.read(plain(PERSON), "staff"))
        assert [fault.code for fault in (await costly).faults] == ["too_costly"]
        assert values(await beside, "人员") == [{"phone": "13900000001", "name": "张三"}]
    finally:
        await queue.close()


async def test_an_account_imports_one_file_at_a_time_and_a_few_accounts_wait() -> None:
    queue, person = ImportQueue(), uuid4()
    async with queue.turn(person), queue.turn(uuid4()):
        with pytest.raises(Problem) as refused:
            async with queue.turn(person):
                pass
        assert (refused.value.code, bool(refused.value.retry_after_s)) == (ProblemCode.TOO_MANY_REQUESTS, True)
    async with queue.turn(person):
        pass
    try:
        files = [asyncio.create_task(queue.read(plain(PERSON), "staff")) for _ in range(30)]
        ended = await asyncio.gather(*files, return_exceptions=True)
    finally:
        await queue.close()
    busy = [one for one in ended if isinstance(one, Problem)]
    assert {(one.code, one.retry_after_s is not None, "表格" in one.detail) for one in busy} == {(ProblemCode.BUSY, True, True)}
    assert all(values(one, "人员") for one in ended if isinstance(one, WorkbookRead))
    assert 0 < len(ended) - len(busy) <= 9
