"""A push reads only the fields that the ledger looks at; the row must be that of the whole body."""

import uuid

import msgspec
import pytest

from storage.ledger_rows import LISTED, ledger_arguments, ledger_row
from sync.state import RecordState

RECORD = uuid.UUID(int=1)
FULL = {
    "state": "draft",
    "status": "closed",
    "name": "ＡＢ工地",
    "title": "题 目\x00",
    "subject": "noise",
    "subjects": ["noise", "dust"],
    "site": str(uuid.UUID(int=2)),
    "problem": str(uuid.UUID(int=3)),
    "whistle": str(uuid.UUID(int=4)),
    "tags": ["a", 1],
    "found_at": "2026-01-01T00:00:00+08:00",
    "started_at": "2026-01-01",
    "due_on": "2026-02-01",
    "colour": "red",
    "returns": 3,
    "note": "噪声 note",
    "shown": {"state": "assigned", "title": "t", "due_on": "2026-03-01", "leads": ["x"]},
    "something_newer": {"deep": [1, 2, {"x": None}]},
}


@pytest.mark.parametrize("body", [{}, FULL, {name: [] for name in FULL}, dict.fromkeys(FULL, 7)])
@pytest.mark.parametrize("kind", sorted(LISTED))
def test_reading_less_makes_the_same_row(kind: str, body: dict[str, object]) -> None:
    state = RecordState(id=RECORD, kind=kind, stream="6109.field", version=(1, 1), fields={}, body=msgspec.json.encode(body))
    assert ledger_arguments([state]) == ([ledger_row(RECORD, kind, "6109.field", state.values)], [])
