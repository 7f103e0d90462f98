"""Finding text in Chinese without a dictionary: every character and every pair of neighbours is a word.

Words are hashed together with the kind, so that a search in one ledger never reads the postings of another. A hash only
suspects; the folded text settles (storage/ledger_lists.py).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from zlib import crc32


def folded(text: str) -> str:
    """As it is searched: full-width forms and capitals as plain ones, white space as single blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).replace("\x00", "")


def words_of(kind: str, text: str) -> list[int]:
    """Hashes of all characters and pairs of a folded text; pairs do not cross blanks."""
    return sorted({_hash(kind, word) for term in text.split() for word in _parts(term)})


def words_wanted(kind: str, text: str) -> list[int]:
    """Hashes that a row must have to contain every term of a folded query: pairs, or the character if it is alone."""
    return sorted({_hash(kind, word) for term in text.split() for word in (_pairs(term) or [term])})


def patterns_of(text: str) -> list[str]:
    """LIKE patterns of the terms of a folded query: each must be somewhere."""
    return ["%" + term.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%" for term in text.split()]


def _parts(term: str) -> Iterable[str]:
    yield from term
    yield from _pairs(term)


def _pairs(term: str) -> list[str]:
    return [term[k : k + 2] for k in range(len(term) - 1)]


def _hash(kind: str, word: str) -> int:
    """As PostgreSQL's signed integer."""
    value = crc32(f"{kind}/{word}".encode(errors="replace"))
    return value - 2**32 if value >= 2**31 else value
