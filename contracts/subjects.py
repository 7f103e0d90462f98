"""The codes of what is patrolled (类别): a subject of a checklist, or of a row of a responsibility table.

A record may name another code, of a newer app or by a slip of the hand: it is kept, and flagged as unknown (docs/subjects.md lists them).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache

import msgspec

from contracts.checklist import load_checklists
from contracts.responsibility import load_responsibility


class SubjectCode(msgspec.Struct, frozen=True):
    """A code and what people read."""

    code: str
    zh: str


@cache
def subjects() -> dict[str, SubjectCode]:
    """Every known subject by its code, in the order of codes; a checklist's title goes before a responsibility's."""
    rows = [(row.subject, row.text.zh) for one in load_responsibility().values() for row in one.subjects]
    rows += [(one.slug, one.title.zh) for one in load_checklists().values()]
    return {code: SubjectCode(code, zh) for code, zh in sorted(dict(rows).items())}


@cache
def subject_words() -> dict[str, str]:
    """Every title of a subject -> its code; full-width forms as plain ones."""
    words = [(c.title.zh, c.slug) for c in load_checklists().values()]
    words += [(row.text.zh, row.subject) for one in load_responsibility().values() for row in one.subjects]
    return {unicodedata.normalize("NFKC", title): code for title, code in words}


def unknown_subjects(codes: Iterable[object]) -> list[str]:
    """Those that are no known subject, sorted; what is not text names no subject. Total."""
    known = subjects()
    return sorted({code[:80] for code in codes if isinstance(code, str) and code and code not in known})
