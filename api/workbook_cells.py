"""One cell as the person who filled it sees it: the text that is meant, or what is wrong with it. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final, cast

from contracts.importing import TEXT_CHARACTERS_MAX, Reads
from contracts.phones import plain_phone

# Copied along and never seen: NUL, soft hyphens, marks of width and of direction.
NO_WIDTH: Final[dict[int, None]] = dict.fromkeys((0, 0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF))
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
APOSTROPHES: Final = ("'", "＇", "‘", "’")  # typed before a number so that it stays text
DIGITS_KEPT: Final = 1e15  # a number in a cell has fifteen digits; what is longer has lost some

DAY: Final = re.compile(
    r"([0-9]{4})\s*[-/.年]\s*([0-9]{1,2})\s*[-/.月]\s*([0-9]{1,2})\s*[日号]?(?:[T\s]+[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.0+)?)?)?"
)
DAY_IN_DIGITS: Final = re.compile(r"((?:19|20)[0-9]{2})([0-9]{2})([0-9]{2})")
SCIENTIFIC: Final = re.compile(r"[0-9](?:\.[0-9]+)?E\+?[0-9]+", re.IGNORECASE)
DECIMAL: Final = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?|[-+]?\.[0-9]+")
WHOLE_WITH_POINT: Final = re.compile(r"(?<![0-9])([0-9]++)\.0++")
NATIONAL_CODE: Final = re.compile(r"[0-9]{6}|[0-9]{9}|[0-9]{12}")
SPACED_NAME: Final = re.compile(r"[\u3400-\u9fff](?: [\u3400-\u9fff])+")
MIDDLE_DOTS: Final = re.compile(r"(?<=[\u3400-\u9fff])\s*[·•‧∙⋅・･．․]\s*(?=[\u3400-\u9fff])")

QUOTED: Final = re.compile(r'"[^"]*"|\\.|_.|\*.')
COLOURS: Final = re.compile(r"\[(?:black|blue|cyan|green|magenta|red|white|yellow|color ?[0-9]+|\$-[0-9a-f]+)\]", re.IGNORECASE)
PLAIN_FORMAT: Final = re.compile(r"[#0?](?:[#0?, -]*[#0?])?(?:\.[#0?]+)?")
ZEROS: Final = re.compile(r"[0 -]+")

Reading = tuple[str, str, str]  # the text, the code of what is wrong with it or "", more to say about that


def day_written(text: str) -> date | None:
    """2026-12-01, 2026/12/1, 2026.12.1, 2026年12月1日 (also 号, or with a time behind it) and 20261201 are one day; None for any other value."""
    found = DAY.fullmatch(text) or DAY_IN_DIGITS.fullmatch(text)
    try:
        return date(*(int(part) for part in found.groups())) if found else None
    except ValueError:
        return None


def folded(value: Any) -> str:
    """As a code or a heading is compared: full-width forms, brackets and digits are the plain ones."""
    return unicodedata.normalize("NFKC", str(value)).translate(NO_WIDTH).strip()


def is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.translate(NO_WIDTH).strip())


def read_cell(value: Any, number_format: str, reads: Reads) -> Reading:
    """`value` as python_calamine gives it; `number_format` of the cell, "" is General."""
    if isinstance(value, str):
        return _typed(value, reads)
    if isinstance(value, bool):
        return str(value).upper(), "", ""
    if isinstance(value, int | float):
        return _number(float(value), number_format, reads)
    if not isinstance(value, date):  # a time of day, or a span
        return "", "not_a_date" if reads is Reads.DAY else "became_date", str(value)
    return _day(value, number_format, reads)


def _day(value: date, number_format: str, reads: Reads) -> Reading:
    day = value.date() if isinstance(value, datetime) else value
    if reads is not Reads.DAY:
        return "", "became_date", day.isoformat()
    shown = COLOURS.sub("", QUOTED.sub("", number_format)).lower()
    if "d" not in shown or "y" not in shown:  # 2026年12月, of a cell that holds the first of December
        return "", "shown_otherwise", f"{number_format}，存储的是 {day.isoformat()}"
    return day.isoformat(), "", ""


def _number(value: float, number_format: str, reads: Reads) -> Reading:
    text = str(int(value)) if value.is_integer() else f"{value:.15g}"
    if abs(value) >= DIGITS_KEPT:
        return "", "digits_lost", f"{value:.6G}"
    shown = COLOURS.sub("", number_format.split(";", maxsplit=1)[0]).strip()
    if "E+" in shown.upper():
        if reads is not Reads.NUMBER and text.endswith("0000"):
            return "", "digits_lost", f"{value:.2E}"
    elif shown not in ("", "@", "General"):
        if not PLAIN_FORMAT.fullmatch(shown):
            return "", "shown_otherwise", f"{number_format}，存储的是 {text}"
        if value.is_integer() and ZEROS.fullmatch(shown):  # shows zeros that the number has not
            return READERS[reads](text.zfill(shown.count("0")))
    if reads is Reads.DAY:
        return _day_in_number(text)
    if reads is Reads.UNIT and not NATIONAL_CODE.fullmatch(text):
        return "", "zeros_lost", text
    if reads is Reads.CONTACT and plain_phone(text) is None:
        return "", "zeros_lost", text
    return READERS[reads](text)


def _day_in_number(text: str) -> Reading:
    found = day_written(text)
    if found is None and text.isdecimal() and 20_000 < int(text) < 100_000:
        guess = date(1899, 12, 30) + timedelta(days=int(text))
        return "", "not_a_date", f"{text}，可能是 {guess.isoformat()}，请把单元格格式改为日期"
    return READERS[Reads.DAY](text)


def _typed(raw: str, reads: Reads) -> Reading:
    text = raw.translate(NO_WIDTH)
    if text.strip().startswith(APOSTROPHES):
        text = text.strip().lstrip("".join(APOSTROPHES))
    is_phone = reads in (Reads.PHONE, Reads.CONTACT) and plain_phone(text.strip()) is not None  # +86 is no formula
    # a spreadsheet takes full-width signs for plain ones, and looks past blanks
    if not is_phone and (text.startswith(FORMULA_STARTS) or folded(text).startswith(FORMULA_STARTS)):
        return "", "looks_like_formula", ""
    if len(text) > TEXT_CHARACTERS_MAX:
        return "", "too_long", ""
    return READERS[reads](text.strip())


def _text(text: str) -> Reading:
    return text.replace("\r\n", "\n").replace("\r", "\n"), "", ""


def _name(text: str) -> Reading:
    """张 三 and 张　三 are 张三, as they are padded to stand below names of three; each dot between parts of a name is one dot."""
    spaced = re.sub(r"[^\S\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+", " ", text)
    plain = spaced.replace(" ", "") if SPACED_NAME.fullmatch(spaced) else MIDDLE_DOTS.sub("·", spaced)
    return plain, "", ""


def _word(text: str) -> Reading:
    return folded(text), "", ""


def _unit(text: str) -> Reading:
    plain = re.sub(r"\s+", "", folded(text))
    if SCIENTIFIC.fullmatch(plain):
        return "", "digits_lost", plain
    return WHOLE_WITH_POINT.sub(r"\1", plain) if WHOLE_WITH_POINT.fullmatch(plain) else plain, "", ""


def _phone(text: str) -> Reading:
    """Eleven digits, or what was typed: the rows say that it is no number."""
    plain = folded(text)
    if SCIENTIFIC.fullmatch(plain):
        return "", "digits_lost", plain
    found = WHOLE_WITH_POINT.fullmatch(plain)
    return plain_phone(found[1] if found else text) or plain, "", ""


def _day_typed(text: str) -> Reading:
    found = day_written(folded(text))
    return (found.isoformat(), "", "") if found is not None and 2000 <= found.year <= 2200 else ("", "not_a_date", text[:40])


def _number_typed(text: str) -> Reading:
    plain = folded(text)
    return (plain, "", "") if DECIMAL.fullmatch(plain) else ("", "not_a_number", plain[:40])


READERS: Final[Mapping[Reads, Callable[[str], Reading]]] = cast(
    "Mapping[Reads, Callable[[str], Reading]]",
    {
        Reads.TEXT: _text,
        Reads.NAME: _name,
        Reads.WORD: _word,
        Reads.UNIT: _unit,
        Reads.PHONE: _phone,
        Reads.CONTACT: _phone,
        Reads.DAY: _day_typed,
        Reads.NUMBER: _number_typed,
    },
)
