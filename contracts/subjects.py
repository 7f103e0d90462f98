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
def titled() -> tuple[SubjectCode, ...]:
    """Every title of every code: those of responsibility tables, then those of checklists."""
    named = [(row.subject, row.text.zh) for one in load_responsibility().values() for row in one.subjects]
    named += [(one.slug, one.title.zh) for one in load_checklists().values()]
    return tuple(SubjectCode(code, zh) for code, zh in named)


@cache
def subjects() -> dict[str, SubjectCode]:
    """Every known subject by its code, in the order of codes; of several titles the last counts."""
    found = {one.code: one for one in titled()}
    return {code: found[code] for code in sorted(found)}


@cache
def subject_words() -> dict[str, str]:
    """Every title of a subject -> its code; full-width forms as plain ones."""
    return {unicodedata.normalize("NFKC", one.zh): one.code for one in titled()}


def unknown_subjects(codes: Iterable[object]) -> list[str]:
    """Those that are no known subject, sorted; what is not text names no subject. Total."""
    known = subjects()
    return sorted({code[:80] for code in codes if isinstance(code, str) and code and code not in known})
