"""The word by which a page goes on: what was given is read back, and anything else is refused with its parameter's name."""

import uuid
from datetime import UTC, datetime

import pytest

from api.paging import position_of, position_text
from contracts.problems import Problem, ProblemCode

AT, ID = datetime(2026, 11, 26, 8, tzinfo=UTC), uuid.UUID(int=7)


def test_what_a_page_said_is_read_back() -> None:
    assert position_of(position_text(AT, ID, 3), "after", uuid.UUID, int) == (AT, ID, 3)


@pytest.mark.parametrize(
    "text", ["", "|", "x", f"{AT.isoformat()}", f"{AT.isoformat()}|x", f"2026-11-26T08:00:00|{ID}", f"{AT.isoformat()}|{ID}|1", f"0001-01-01T00:00:00+14:00|{ID}"]
)  # fmt: skip
def test_anything_else_is_refused_by_name(text: str) -> None:
    """Also a moment without a time zone, which no database compares, and one before the first day."""
    with pytest.raises(Problem) as refused:
        position_of(text, "after", uuid.UUID)
    assert (refused.value.code, refused.value.details) == (ProblemCode.INVALID_VALUE, {"field": "after"})
