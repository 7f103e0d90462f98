"""Where a page ended, as one word that the next request brings back: `2026-11-26T08:00:00+00:00|018f...`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from contracts.problems import Problem, ProblemCode

SEPARATOR: Final = "|"


def position_text(at: datetime, *rest: object) -> str:
    return SEPARATOR.join((at.isoformat(), *map(str, rest)))


def position_of(text: str, field: str, *rest: Callable[[str], Any]) -> tuple[Any, ...]:
    """The moment, and what each of `rest` reads after it. Problem: invalid_value, with the parameter's name."""
    moment, *words = text.split(SEPARATOR, len(rest))
    try:
        return (_moment(moment), *(read(word) for read, word in zip(rest, words, strict=True)))
    except (ValueError, OverflowError):
        raise Problem(ProblemCode.INVALID_VALUE, "翻页位置无法识别", field=field) from None


def _moment(text: str) -> datetime:
    """One that a database holds: without a time zone it is none."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(text)
    return at.astimezone(UTC)
