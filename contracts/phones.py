"""Mobile numbers of China: every way they are typed, and the one way they are kept (eleven digits). The only place that knows.

People type `138 0000 0001`, `138-0000-0001`, `+86 13800000001`, `0086…`, `８６…`, with a full-width keyboard, or paste what a contact card shows.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

PHONE_DIGITS: Final = 11
# Between digits people put blanks, hyphens of every kind, dots and brackets; format characters come along when a number is pasted.
_BETWEEN: Final = r"[ \t\u00a0\u2000-\u200f\u202a-\u202e\u202f\u2060\u3000\ufeff\-\u2010-\u2015－.．·•()（）]*"
_DIGIT: Final = r"[0-9０-９]"
_COUNTRY: Final = rf"(?:(?:(?:[+＋]|[0０]{_BETWEEN}[0０]){_BETWEEN})?[8８]{_BETWEEN}[6６]{_BETWEEN})?"
# What may be typed. Length is bounded beside it; blanks and digits never match the same, so it is linear.
TYPED_PHONE_PATTERN: Final = rf"^{_BETWEEN}{_COUNTRY}[1１]{_BETWEEN}[3-9３-９]{_BETWEEN}(?:{_DIGIT}{_BETWEEN}){{9}}$(?!\n)"
TYPED_CHARACTERS_MAX: Final = 64

_TYPED: Final = re.compile(TYPED_PHONE_PATTERN)


def plain_phone(typed: str) -> str | None:
    """The eleven digits of a number as it is kept; None for what is no mobile number."""
    if len(typed) > TYPED_CHARACTERS_MAX or not _TYPED.match(typed):
        return None
    digits = "".join(str(unicodedata.decimal(char)) for char in typed if char.isdecimal())
    return digits[-PHONE_DIGITS:]


def plain_beginning(typed: str) -> str:
    """The digits of the beginning of a number, for looking people up; the text as it is where it holds anything else."""
    plain = unicodedata.normalize("NFKC", re.sub(_BETWEEN, "", typed))
    found = re.fullmatch(r"(?:\+|00)?(?:86(?=1))?([0-9]+)", plain)
    return found[1] if found else typed
