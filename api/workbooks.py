"""Spreadsheets at the edge: reading one that a stranger sent, and writing templates. Nothing here knows what the rows mean."""

from __future__ import annotations

import io
import unicodedata
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

import msgspec
import xlsxwriter
from openpyxl import load_workbook

from contracts.importing import CODES_SHEET, FAULT_TEXTS, TAGS_MAX, TEXT_CHARACTERS_MAX, UNPACKED_BYTES_MAX, Column, Sheet
from contracts.office import ImportFault

COLUMNS_MAX: Final = 60
PARTS_MAX: Final = 500
PIECE_BYTES: Final = 1024 * 1024
OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # .xls, and any workbook with a password
NO_WIDTH: Final[dict[int, None]] = dict.fromkeys((0, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))  # copied along and never seen
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


# A line of a sheet as the file has it: its number, and of each cell the value and the kind (openpyxl's data_type).
Line = tuple[int, list[tuple[Any, str]]]


def read_workbook(data: bytes, sheets: Sequence[Sheet]) -> tuple[dict[str, list[SheetRow]], list[ImportFault]]:
    """(sheet -> its rows, faults of form). Bounded: a bomb, a formula or too many rows end in a fault, never in memory or time."""
    if data.startswith(OLE_MAGIC):
        return {}, [fault(None, 0, "", "old_or_encrypted")]
    try:
        if not _is_bounded(data):
            return {}, [fault(None, 0, "", "too_large")]
        lines = _read_lines(data, sheets)
    except Exception:  # noqa: BLE001 - a stranger's file: whatever it makes of the library says the same
        return {}, [fault(None, 0, "", "not_a_workbook")]
    faults = _sheet_faults(lines, sheets)
    rows = {sheet.title: list(_read_rows(sheet, lines[sheet.title], faults)) for sheet in sheets if sheet.title in lines}
    if not faults and not any(rows.values()):
        faults.append(fault(None, 0, "", "nothing_to_import"))
    return rows, faults


def _is_bounded(data: bytes) -> bool:
    """Whether all parts together are short, and have few tags: an empty one packs to nothing, and costs as much to read as a full one."""
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        infos = parts.infolist()
        if len(infos) > PARTS_MAX or sum(info.file_size for info in infos) > UNPACKED_BYTES_MAX:
            return False
        tags = 0
        for info in infos:
            with parts.open(info) as part:
                while (piece := part.read(PIECE_BYTES)) and tags <= TAGS_MAX:
                    tags += piece.count(b"<")
    return tags <= TAGS_MAX


def _read_lines(data: bytes, sheets: Sequence[Sheet]) -> dict[str, list[Line]]:
    """The lines that are not blank, of each sheet that is known and as many as it may have and one more; of others the first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a file without styles is as good as any
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=False, keep_links=False)
        rows_max = {sheet.title: sheet.rows_max for sheet in sheets}
        found: dict[str, list[Line]] = {}
        for page in book.worksheets:
            cells = page.iter_rows(max_row=rows_max.get(page.title, 0) + 2, max_col=COLUMNS_MAX)
            lines = [(number, [(cell.value, cell.data_type) for cell in row]) for number, row in enumerate(cells, start=1)]
            found[page.title] = [line for line in lines if not all(_is_blank(value) for value, _ in line[1])]
    return found


def _sheet_faults(lines: Mapping[str, Sequence[Line]], sheets: Sequence[Sheet]) -> list[ImportFault]:
    """What is typed into a sheet that nobody reads must not be taken for imported."""
    known = {sheet.title for sheet in sheets}
    faults = [
        ImportFault(sheet=title, row=0, column="", code="sheet_unknown", text=FAULT_TEXTS["sheet_unknown"])
        for title, found in lines.items()
        if found and title not in known and title != CODES_SHEET
    ]
    if len(sheets) == 1 and sheets[0].title not in lines:
        faults.append(fault(sheets[0], 0, "", "sheet_missing"))
    return faults


def _read_rows(sheet: Sheet, lines: Sequence[Line], faults: list[ImportFault]) -> Iterable[SheetRow]:
    if not lines:
        return
    places, wrong = _columns(sheet, lines[0])
    faults += wrong
    if wrong:
        return
    for number, cells in lines[1:]:
        if number > sheet.rows_max + 1:
            faults.append(fault(sheet, 0, "", "too_many_rows", str(sheet.rows_max)))
            return
        found = {column: cells[k] for column, k in places.items() if k < len(cells) and not _is_blank(cells[k][0])}
        if found:
            yield _row(sheet, number, found, faults)


def _columns(sheet: Sheet, line: Line) -> tuple[dict[Column, int], list[ImportFault]]:
    """(column -> where it stands, what is wrong with the headings)."""
    number, cells = line
    headings = [_folded(value).rstrip("* ") if value is not None else "" for value, _ in cells]
    known = {_folded(column.heading): column for column in sheet.columns}
    places = {known[heading]: k for k, heading in enumerate(headings) if heading in known}
    wrong = [fault(sheet, number, heading[:40], "column_unknown") for heading in headings if heading and heading not in known]
    wrong += [fault(sheet, number, column.heading, "column_twice") for word, column in known.items() if headings.count(word) > 1]
    wrong += [
        fault(sheet, number, column.heading, "column_missing") for column in sheet.columns if column.is_required and column not in places
    ]
    return places, wrong


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _row(sheet: Sheet, number: int, found: Mapping[Column, tuple[Any, str]], faults: list[ImportFault]) -> SheetRow:
    values = {column.name: _value(raw, column) for column, (raw, _) in found.items()}
    wrong = {column.name: code for column, (raw, kind) in found.items() if (code := _cell_fault(raw, values[column.name], kind))}
    wrong |= {column.name: "required" for column in sheet.columns if column.is_required and not values.get(column.name)}
    faults += [fault(sheet, number, name, code) for name, code in wrong.items()]
    return SheetRow(number, {name: "" if name in wrong else value for name, value in values.items()})


def _cell_fault(raw: Any, value: Value, kind: str) -> str | None:
    if kind == "f":
        return "formula"
    if kind == "e":
        return "cell_error"
    if not isinstance(value, str):
        return None
    # a spreadsheet takes full-width signs for plain ones, and looks past blanks
    if isinstance(raw, str) and (raw.startswith(FORMULA_STARTS) or _folded(value[:1]).startswith(FORMULA_STARTS)):
        return "looks_like_formula"
    return "too_long" if len(value) > TEXT_CHARACTERS_MAX else None


def _value(raw: Any, column: Column) -> Value:
    """Text, or a day. A number as people write it: a phone number has no decimal point."""
    if isinstance(raw, datetime):
        return raw.date()
    if isinstance(raw, date):
        return raw
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    text = str(raw).translate(NO_WIDTH).strip()
    return text if column.is_text else _folded(text)


def _folded(value: Any) -> str:
    """As a code or a heading is compared: full-width forms, brackets and digits are the plain ones."""
    return unicodedata.normalize("NFKC", str(value)).translate(NO_WIDTH).strip()


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
