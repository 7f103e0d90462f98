"""The table of all subjects, made from contracts/subjects.py, so that it cannot fall behind checklists and responsibilities."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from contracts.subjects import subjects

PAGE: Final = Path("docs/subjects.md")
INTRODUCTION: Final = """\
<!-- Made from contracts/subjects.py by `make openapi`. Do not edit. -->
# Subjects (类别)

What is patrolled: every subject of a checklist and of a responsibility table. The same list over HTTP, without logging in: `GET /sync/v1/subjects`.

A record may name a code that is not here, of a newer app or by a slip of the hand. It is taken as it is: its outcome has `unknown_subjects` in `detail`, its
ledgers list it under `subject_unknown=true`, and who may change its subject gives it the right one. A ledger's flag follows the vocabulary at the record's next
change, or at `xunling ledger` for all.

| code | 类别 |
|---|---|
"""


def subject_page() -> str:
    return INTRODUCTION + "".join(f"| `{one.code}` | {one.zh} |\n" for one in subjects().values())


def write_subject_page(root: Path) -> Path:
    path = root / PAGE
    path.write_text(subject_page(), encoding="utf-8")
    return path
