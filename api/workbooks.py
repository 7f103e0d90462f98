"""Spreadsheets at the edge: reading one that a stranger sent, and writing templates. Nothing here knows what the rows mean.

Both run in a bounded child (`Workbooks`), one at a time: a file that wants too much memory or time ends its child, and nothing else.
Values are read by python-calamine, which has no expat in it; what a person sees beside them by api/workbook_marks.py.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
import xlsxwriter
from python_calamine import CalamineSheet, CalamineWorkbook, SheetTypeEnum

from api.workbook_cells import folded, is_blank, read_cell
from api.workbook_files import UnreadableFile, read_parts
from api.workbook_marks import Marks, Place, Style, read_marks
from contracts.importing import AREA_CELLS_MAX, CODES_SHEET, FAULT_TEXTS, SHEETS, Column, Sheet
from contracts.office import ImportFault, ImportSubject

MEDIA_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class SheetRow(msgspec.Struct, frozen=True):
    """A row that is not blank: `number` as the spreadsheet counts, column name -> text; days as 2026-12-01."""

    number: int
    values: dict[str, str]

    def text(self, name: str) -> str:
        return self.values.get(name, "")


class WorkbookRead(msgspec.Struct):
    """Sheet title -> its rows; and what is wrong with the form."""

    rows: dict[str, list[SheetRow]]
    faults: list[ImportFault]


class Page(msgspec.Struct):
    """A sheet of the file. `rows`: row -> column -> value, both from 0, of the cells that are not blank; `merged`: (first, last) places."""

    title: str
    rows: dict[int, dict[int, Any]]
    marks: Marks
    merged: list[tuple[Place, Place]]


def fault(sheet: Sheet | None, row: int, column: str, code: str, more: str = "") -> ImportFault:
    """`column`: a name of the sheet, or words; shown as its heading."""
    headings = {c.name: c.heading for c in sheet.columns} if sheet else {}
    return fault_of(sheet.title if sheet else "", row, headings.get(column, column), code, more)


def fault_of(title: str, row: int, column: str, code: str, more: str = "") -> ImportFault:
    text = FAULT_TEXTS[code] + (f"：{more}" if more else "")
    return ImportFault(sheet=title, row=row, column=column, code=code, text=text)


def read_workbook(data: bytes, subject: str) -> WorkbookRead:
    """Rows of the known sheets. Everything typed outside of them is a fault."""
    sheets = SHEETS[ImportSubject(subject)]
    try:
        pages = _read_pages(data)
    except UnreadableFile as error:
        return WorkbookRead({}, [fault(None, 0, "", error.code)])
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a stranger's file: any exception of the readers means the same
        return WorkbookRead({}, [fault(None, 0, "", "not_a_workbook")])
    found = WorkbookRead({}, [])
    known = {sheet.title: sheet for sheet in sheets}
    for page in pages:
        sheet = known.pop(folded(page.title), None)
        if sheet is not None:
            reader = SheetReader(sheet, page, found.faults)
            found.rows[sheet.title] = reader.rows()
        elif (page.rows or page.marks.has_drawing or page.marks.comments) and page.title != CODES_SHEET:
            found.faults.append(fault_of(page.title, 0, "", "sheet_unknown"))
    if len(sheets) == 1 and known:
        found.faults.append(fault(sheets[0], 0, "", "sheet_missing"))
    if not found.faults and not any(found.rows.values()):
        found.faults.append(fault(None, 0, "", "nothing_to_import"))
    return found


def _read_pages(data: bytes) -> list[Page]:
    marks = read_marks(read_parts(data))
    with CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
        pages = []
        for sheet in book.sheets_metadata:
            if sheet.typ is SheetTypeEnum.WorkSheet:
                _check_area(marks[sheet.name])
                pages.append(_read_page(book.get_sheet_by_name(sheet.name), marks[sheet.name]))
            else:  # a chart has a title of its own, and no cells
                pages.append(Page(sheet.name, {}, Marks(has_drawing=True), []))
        return pages


def _check_area(marks: Marks) -> None:
    """Reading costs by the area between the first and the last cell, not by the cells."""
    if marks.filled:
        rows, columns = [row for row, _ in marks.filled], [column for _, column in marks.filled]
        if (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1) > AREA_CELLS_MAX:
            raise UnreadableFile("far_cell")


def _read_page(sheet: CalamineSheet, marks: Marks) -> Page:
    rows: dict[int, dict[int, Any]] = {}
    top, left = sheet.start or (0, 0)
    for row, values in enumerate(sheet.to_python(skip_empty_area=True), start=top):
        found = {column: value for column, value in enumerate(values, start=left) if not is_blank(value)}
        if found:
            rows[row] = found
    for row, column in marks.formulas | marks.errors:  # whether or not a value was kept beside it
        rows.setdefault(row, {}).setdefault(column, "")
    return Page(sheet.name, dict(sorted(rows.items())), marks, sheet.merged_cell_ranges or [])


class SheetReader:
    """One sheet on its way from cells to rows; collects faults."""

    def __init__(self, sheet: Sheet, page: Page, faults: list[ImportFault]) -> None:
        self._sheet = sheet
        self._page = page
        self._faults = faults
        self._columns: dict[int, Column] = {}  # where each stands

    def rows(self) -> list[SheetRow]:
        page, sheet = self._page, self._sheet
        if page.marks.is_hidden and page.rows:
            self._say(0, "", "sheet_hidden")
        if page.marks.has_drawing:
            self._say(0, "", "drawing")
        for row, column in sorted(page.marks.comments):
            self._say(row + 1, column_name(column), "comment")
        if not page.rows or not self._read_headings(next(iter(page.rows))):
            return []
        head, *numbers = page.rows
        if numbers and numbers[-1] > sheet.rows_max:  # the first row has the headings
            self._say(0, "", "too_many_rows", f"{sheet.rows_max}，表中写到第 {numbers[-1] + 1} 行")
            return []
        self._fill_merged(head)
        self._look_for_hidden(numbers)
        return [made for number in numbers if (made := self._row(number)) is not None]

    def _say(self, row: int, column: str, code: str, more: str = "") -> None:
        self._faults.append(fault(self._sheet, row, column, code, more))

    def _read_headings(self, row: int) -> bool:
        """Where each column stands; False when what is wrong leaves nothing to read."""
        headings = {column: folded(value).rstrip("* ") for column, value in self._page.rows[row].items()}
        known = {folded(column.heading): column for column in self._sheet.columns}
        before = len(self._faults)
        for column, heading in headings.items():
            if heading in known:
                self._columns[column] = known[heading]
            elif heading:
                self._say(row + 1, heading[:40], "column_unknown")
        found = list(headings.values())
        for heading, wanted in known.items():
            if found.count(heading) > 1:
                self._say(row + 1, wanted.heading, "column_twice")
            if wanted.is_required and heading not in found:
                self._say(row + 1, wanted.heading, "column_missing")
        for (top, left), (bottom, right) in self._page.merged:
            if top <= row <= bottom and (right > left or bottom > top):
                self._say(row + 1, range_name((top, left), (bottom, right)), "merged_heading")
        return len(self._faults) == before

    def _fill_merged(self, head: int) -> None:
        """What stands in a merged range stands in each of its rows that has anything else."""
        for first, last in self._page.merged:
            inside = [row for row in self._page.rows if first[0] <= row <= last[0] and row != head]
            shown = range_name(first, last)
            if any(self._is_covered((row, column), first, last) for row in inside for column in self._page.rows[row]):
                self._say(first[0] + 1, shown, "merged_over")
            elif first[1] not in self._page.rows.get(first[0], {}):
                continue
            elif last[1] > first[1]:
                self._say(first[0] + 1, shown, "merged_across")
            else:
                self._fill(first, inside)

    @staticmethod
    def _is_covered(place: Place, first: Place, last: Place) -> bool:
        """A merged range shows its first cell and covers the others."""
        return place != first and first[1] <= place[1] <= last[1]

    def _fill(self, first: Place, rows: Sequence[int]) -> None:
        page, (top, column) = self._page, first
        for row in rows:
            page.rows[row][column] = page.rows[top][column]
            page.marks.filled[row, column] = page.marks.filled.get(first, Style())
            for marked in (page.marks.formulas, page.marks.errors):
                if first in marked:
                    marked.add((row, column))

    def _look_for_hidden(self, numbers: Sequence[int]) -> None:
        marks = self._page.marks
        hidden = [number + 1 for number in numbers if number in marks.rows_hidden]
        if hidden:
            self._say(hidden[0], "", "rows_hidden", f"第 {spans(hidden)} 行")
        for column in sorted({column for row in self._page.rows.values() for column in row}):
            if marks.is_column_hidden(column):
                name = self._columns[column].name if column in self._columns else column_name(column)
                self._say(0, name, "column_hidden", f"{column_name(column)} 列")

    def _row(self, number: int) -> SheetRow | None:
        """None: nothing in it that is not blank."""
        cells = self._page.rows[number]
        values: dict[str, str] = {}
        wrong: dict[str, tuple[str, str]] = {}
        for place, raw in cells.items():
            column = self._columns.get(place)
            if column is None:
                wrong[column_name(place)] = ("column_without_heading", "")
                continue
            values[column.name], code, more = self._cell((number, place), raw, column)
            if code:
                wrong[column.name] = (code, more)
        if not any(values.values()) and not wrong:
            return None
        for column in self._sheet.columns:
            if column.is_required and not values.get(column.name):
                wrong.setdefault(column.name, ("required", ""))
        for name, (code, more) in wrong.items():
            self._say(number + 1, name, code, more)
        return SheetRow(number + 1, values)

    def _cell(self, place: Place, raw: Any, column: Column) -> tuple[str, str, str]:
        marks = self._page.marks
        style = marks.filled.get(place)
        if place in marks.formulas:
            return "", "formula", ""
        if place in marks.errors or (isinstance(raw, str) and raw.startswith("#") and raw in ERROR_VALUES):
            return "", "cell_error", ""
        if style is not None and style.is_struck:
            return "", "struck_out", ""
        return read_cell(raw, style.format if style is not None else "", column.reads)


ERROR_VALUES: Final = frozenset({"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!"})


def column_name(column: int) -> str:
    """0 -> A."""
    name, left = "", column + 1
    while left:
        left, letter = divmod(left - 1, 26)
        name = chr(ord("A") + letter) + name
    return name


def range_name(first: Place, last: Place) -> str:
    return f"{column_name(first[1])}{first[0] + 1}:{column_name(last[1])}{last[0] + 1}"


def spans(numbers: Sequence[int]) -> str:
    """[3, 5, 6, 7] -> "3、5-7"."""
    starts = [numbers[0], *(b for a, b in pairwise(numbers) if b != a + 1)]
    ends = [*(a for a, b in pairwise(numbers) if b != a + 1), numbers[-1]]
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True)]
    return "、".join(shown[:10]) + ("等" if len(shown) > 10 else "")


def write_template(subject: str, codes: Mapping[str, Sequence[tuple[str, str]]]) -> bytes:
    """Headings (required ones with *), every column as text so that no code loses its zeros, and the words that may be used."""
    buffer = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(buffer, options) as book:
        text = book.add_format({"num_format": "@"})
        head = book.add_format({"bold": True, "bg_color": "#DDEBF7", "num_format": "@"})
        for sheet in SHEETS[ImportSubject(subject)]:
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
