"""Spreadsheets at the edge: reading one that a stranger sent, and writing templates. Nothing here knows what the rows mean."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

import msgspec
import xlsxwriter
from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from contracts.importing import CODES_SHEET, FAULT_TEXTS, TEXT_CHARACTERS_MAX, UNPACKED_BYTES_MAX, Sheet
from contracts.office import ImportFault

COLUMNS_MAX: Final = 60
PARTS_MAX: Final = 500
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
MEDIA_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

Value = str | date


class SheetRow(msgspec.Struct, frozen=True):
    """A row that is not blank: `number` as the spreadsheet counts, column name -> value."""

    number: int
    values: dict[str, Value]

    def text(self, name: str) -> str:
        value = self.values.get(name, "")
        return value if isinstance(value, str) else value.isoformat()


def fault(sheet: Sheet | None, row: int, column: str, code: str, more: str = "") -> ImportFault:
    """`column`: a name of the sheet, or words; shown as its heading."""
    headings = {c.name: c.heading for c in sheet.columns} if sheet else {}
    return ImportFault(
        sheet=sheet.title if sheet else "",
        row=row,
        column=headings.get(column, column),
        code=code,
        text=FAULT_TEXTS[code] + (f"：{more}" if more else ""),
    )


def read_workbook(data: bytes, sheets: Sequence[Sheet]) -> tuple[dict[str, list[SheetRow]], list[ImportFault]]:
    """(sheet -> its rows, faults of form). Bounded: a bomb, a formula or too many rows end in a fault, never in memory."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            infos = parts.infolist()
            if len(infos) > PARTS_MAX or sum(info.file_size for info in infos) > UNPACKED_BYTES_MAX:
                return {}, [fault(None, 0, "", "too_large")]
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=False, keep_links=False)
        faults: list[ImportFault] = []
        rows = {sheet.title: list(_read_sheet(book, sheet, len(sheets) == 1, faults)) for sheet in sheets}
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError, SyntaxError, EOFError, TypeError, AttributeError):
        return {}, [fault(None, 0, "", "not_a_workbook")]  # whatever a broken file makes of the library
    if not faults and not any(rows.values()):
        faults.append(fault(None, 0, "", "nothing_to_import"))
    return rows, faults


def _read_sheet(book: Any, sheet: Sheet, is_needed: bool, faults: list[ImportFault]) -> Iterable[SheetRow]:
    if sheet.title not in book.sheetnames:
        if is_needed:
            faults.append(fault(sheet, 0, "", "sheet_missing"))
        return
    lines = book[sheet.title].iter_rows(max_row=sheet.rows_max + 2, max_col=COLUMNS_MAX)
    headings = [str(cell.value or "").strip().rstrip("*") for cell in next(iter(lines), ())]
    places = {column.name: headings.index(column.heading) for column in sheet.columns if column.heading in headings}
    missing = [column for column in sheet.columns if column.name not in places and column.is_required]
    faults += [fault(sheet, 1, column.heading, "column_missing") for column in missing]
    if missing:
        return
    for number, cells in enumerate(lines, start=2):
        values = {name: cells[k].value for name, k in places.items() if k < len(cells) and not _is_blank(cells[k].value)}
        if not values:
            continue
        if number > sheet.rows_max + 1:
            faults.append(fault(sheet, 0, "", "too_many_rows", str(sheet.rows_max)))
            return
        kinds = {name: cells[k].data_type for name, k in places.items() if name in values}
        yield _row(sheet, number, values, kinds, faults)


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _row(sheet: Sheet, number: int, found: dict[str, Any], kinds: dict[str, str], faults: list[ImportFault]) -> SheetRow:
    values: dict[str, Value] = {}
    for name, raw in found.items():
        value = _value(raw)
        if kinds[name] == "f":
            faults.append(fault(sheet, number, name, "formula"))
        elif isinstance(raw, str) and isinstance(value, str) and raw.startswith(FORMULA_STARTS):
            faults.append(fault(sheet, number, name, "looks_like_formula"))
        elif isinstance(value, str) and len(value) > TEXT_CHARACTERS_MAX:
            faults.append(fault(sheet, number, name, "too_long"))
        else:
            values[name] = value
            continue
        values[name] = ""
    wrong = {name for name in found if values[name] == ""}
    faults += [
        fault(sheet, number, column.name, "required")
        for column in sheet.columns
        if column.is_required and not values.get(column.name) and column.name not in wrong
    ]
    return SheetRow(number, values)


def _value(raw: Any) -> Value:
    """Text, or a day. A number as people write it: a phone number has no decimal point."""
    if isinstance(raw, datetime):
        return raw.date()
    if isinstance(raw, date):
        return raw
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    return str(raw).strip().replace("\x00", "")


def write_template(sheets: Sequence[Sheet], codes: Mapping[str, Sequence[tuple[str, str]]]) -> bytes:
    """Headings (required ones with *), every column as text so that no code loses its zeros, and the words that may be used."""
    buffer = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(buffer, options) as book:
        text = book.add_format({"num_format": "@"})
        head = book.add_format({"bold": True, "bg_color": "#DDEBF7", "num_format": "@"})
        for sheet in sheets:
            page = book.add_worksheet(sheet.title)
            page.freeze_panes(1, 0)
            page.set_column(0, len(sheet.columns) - 1, 18, text)
            for k, column in enumerate(sheet.columns):
                page.write_string(0, k, column.heading + ("*" if column.is_required else ""), head)
        page = book.add_worksheet(CODES_SHEET)
        page.set_column(0, 2 * len(codes), 20, text)
        for k, (title, words) in enumerate(codes.items()):
            page.write_string(0, 2 * k, title, head)
            for line, (code, meaning) in enumerate(words, start=1):
                page.write_string(line, 2 * k, code, text)
                page.write_string(line, 2 * k + 1, meaning, text)
    return buffer.getvalue()
