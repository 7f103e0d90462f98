"""What a person sees in a workbook beside its values, and no reader of values says: formulas, errors, formats, what is hidden,
struck out, commented or drawn. Runs in a bounded child (api/workbooks.py).

Tags are found by one linear pattern; entities and document types are not read (calamine refuses them).
"""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from api.workbook_files import WORKBOOK, Parts, UnreadableFile

# The possessive parts keep a tag that does not end from being tried again and again.
TAG: Final = re.compile(r"""<(/?)(?:[\w.-]++:)?([\w.-]++)((?>[^<>"']|"[^"]*+"|'[^']*+')*+)>""")
ATTRIBUTE: Final = re.compile(r"""(?<![\w.:-])([\w.:-]++)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)')""")
REFERENCE: Final = re.compile(r"\$?([A-Za-z]{1,3})\$?([0-9]{1,7})")
HIDDEN_POINTS: Final = 0.01  # rows and columns that are so flat show nothing

# Formats by number that a file does not spell out (ECMA-376 part 1, 18.8.30); the days that Chinese programs number themselves have no spelling.
BUILT_IN: Final[dict[int, str]] = {
    1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?", 13: "# ??/??",
    14: "yyyy-mm-dd", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm", 19: "h:mm:ss", 20: "h:mm", 21: "h:mm:ss",
    22: "yyyy-mm-dd h:mm", 27: "yyyy-m", 28: "m-d", 29: "m-d", 30: "m-d-yy", 31: "yyyy-m-d", 32: "h:mm", 33: "h:mm:ss",
    36: "yyyy-m", 37: "#,##0", 38: "#,##0", 39: "#,##0.00", 40: "#,##0.00", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss", 48: "##0.0E+0",
    49: "@", 50: "yyyy-m", 51: "m-d", 52: "yyyy-m", 53: "m-d", 54: "m-d", 55: "h:mm", 56: "h:mm:ss", 57: "yyyy-m", 58: "m-d",
}  # fmt: skip

Place = tuple[int, int]  # row and column, both from 0


class Style(msgspec.Struct, frozen=True):
    """How cells of one style look. `format`: "" is General."""

    format: str = ""
    is_struck: bool = False


class Marks(msgspec.Struct):
    """Of one sheet. `filled`: the cells that have anything, with their style."""

    is_hidden: bool = False
    filled: dict[Place, Style] = {}
    formulas: set[Place] = set()
    errors: set[Place] = set()
    comments: set[Place] = set()
    rows_hidden: set[int] = set()
    columns_hidden: list[tuple[int, int]] = []  # first and last
    has_drawing: bool = False

    def is_column_hidden(self, column: int) -> bool:
        return any(first <= column <= last for first, last in self.columns_hidden)


def read_marks(parts: Parts) -> dict[str, Marks]:
    """Sheet title, as the file has it -> its marks. UnreadableFile when the parts do not fit together."""
    styles = _styles(parts.get("xl/styles.xml", b""))
    targets = _targets(parts, WORKBOOK)
    found: dict[str, Marks] = {}
    for _, name, attributes in _tags(parts[WORKBOOK]):
        if name == "sheet" and (target := targets.get(attributes.get("id", ""))) is not None:
            marks = _sheet(parts, target[1], styles)
            marks.is_hidden = attributes.get("state", "visible") != "visible"
            found[attributes.get("name", "")] = marks
    return found


def _tags(part: bytes) -> Iterator[tuple[bool, str, dict[str, str]]]:
    """(whether it closes, local name, attributes by their local names) of each tag."""
    try:
        text = part.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFile("not_a_workbook") from None
    for slash, name, rest in TAG.findall(text):
        yield bool(slash), name, {key.rpartition(":")[2]: html.unescape(a or b) for key, a, b in ATTRIBUTE.findall(rest)} if rest else {}


def _targets(parts: Parts, path: str) -> dict[str, tuple[str, str]]:
    """Relation id -> (last word of its type, path of the part)."""
    folder, name = posixpath.split(path)
    found: dict[str, tuple[str, str]] = {}
    for _, tag, attributes in _tags(parts.get(f"{folder}/_rels/{name}.rels", b"")):
        if tag == "Relationship" and attributes.get("TargetMode") != "External":
            target = attributes.get("Target", "").replace("\\", "/").lower()
            kind = attributes.get("Type", "").rpartition("/")[2]
            found[attributes.get("Id", "")] = (kind, posixpath.normpath(posixpath.join("/" + folder, target)).lstrip("/"))
    return found


def _styles(part: bytes) -> list[Style]:
    """By their number, as cells name them."""
    formats, fonts, styles = dict(BUILT_IN), [], []
    within = ""
    for closes, name, attributes in _tags(part):
        if name in ("fonts", "cellXfs", "dxfs"):
            within = "" if closes else name
        elif name == "numFmt":
            formats[_number(attributes.get("numFmtId"))] = attributes.get("formatCode", "")
        elif within == "fonts" and name == "font" and not closes:
            fonts.append(False)
        elif within == "fonts" and name == "strike" and fonts:
            fonts[-1] = attributes.get("val", "1") not in ("0", "false")
        elif within == "cellXfs" and name == "xf" and not closes:
            font = _number(attributes.get("fontId"))
            code = formats.get(_number(attributes.get("numFmtId")), "")
            styles.append(Style("" if code.lower() == "general" else code, font < len(fonts) and fonts[font]))
    return styles


def _sheet(parts: Parts, path: str, styles: list[Style]) -> Marks:
    if path not in parts:
        raise UnreadableFile("not_a_workbook")
    marks = Marks()
    row = column = -1
    style = Style()
    for closes, name, attributes in _tags(parts[path]):
        if closes:
            continue
        if name == "row":
            row, column = _number(attributes.get("r"), row + 2) - 1, -1
            if attributes.get("hidden") in ("1", "true") or _is_flat(attributes.get("ht")):
                marks.rows_hidden.add(row)
        elif name == "c":
            place = _place(attributes["r"]) if "r" in attributes else None
            row, column = place or (row, column + 1)
            number = _number(attributes.get("s"))
            style = styles[number] if number < len(styles) else Style()
            if attributes.get("t") == "e":
                marks.errors.add((row, column))
                marks.filled[row, column] = style
        elif name in ("v", "is", "f"):
            marks.filled[row, column] = style
            if name == "f":
                marks.formulas.add((row, column))
        elif name == "col" and (attributes.get("hidden") in ("1", "true") or _is_flat(attributes.get("width"))):
            marks.columns_hidden.append((_number(attributes.get("min"), 1) - 1, _number(attributes.get("max"), 1) - 1))
    _around(parts, path, marks)
    return marks


def _around(parts: Parts, path: str, marks: Marks) -> None:
    """What lies on the sheet in parts of its own."""
    for kind, target in _targets(parts, path).values():
        if kind == "drawing":
            marks.has_drawing = True
        elif kind in ("comments", "threadedComment"):
            tags = _tags(parts.get(target, b""))
            places = (_place(attributes.get("ref", "")) for _, name, attributes in tags if name in ("comment", "threadedComment"))
            marks.comments |= {place for place in places if place is not None}


def _place(reference: str) -> Place | None:
    found = REFERENCE.fullmatch(reference)
    if found is None:
        return None
    column = 0
    for letter in found[1].upper():
        column = column * 26 + ord(letter) - ord("A") + 1
    return int(found[2]) - 1, column - 1


def _number(text: str | None, otherwise: int = 0) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 9 else otherwise


def _is_flat(size: str | None) -> bool:
    try:
        return size is not None and float(size) < HIDDEN_POINTS
    except ValueError:
        return False
