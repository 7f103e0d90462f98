"""Whether the answers of an inspection are answers to its checklist. What is not is kept, and named: nothing is lost, nothing passes unseen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from contracts.checklist import Answer, AnswerType, Checklist

YNN: Final = frozenset({"yes", "no", "na"})


def bare(answer: object) -> object:
    """`{"value": "no", "note": ...}` and `"no"` say the same."""
    return answer.get("value") if isinstance(answer, dict) else answer


def odd_answers(checklists: Mapping[tuple[str, int], Checklist], values: Mapping[str, Any]) -> list[str]:
    """Items that the pinned version does not have, or that are answered with what is none of their answers. Total."""
    ref = values.get("checklist")
    answers = values.get("answers")
    if not isinstance(ref, dict) or not isinstance(answers, dict) or not answers:
        return []
    checklist = checklists.get((f"{ref.get('slug')}.{ref.get('jurisdiction')}", ref.get("version", 0)))
    if checklist is None:
        return []  # it may be a version that is not here yet: that is said when the inspection is submitted
    shapes = {item.key: item.answer for item in checklist.items}
    return sorted(key[:80] for key, answer in answers.items() if key not in shapes or not fits(shapes[key], bare(answer)))


def fits(shape: Answer, value: object) -> bool:
    """Whether a value is an answer of this type; none at all always is."""
    options = {option.key for option in shape.options}
    match shape.type:
        case _ if value is None or value == "":
            return True
        case AnswerType.YNN:
            return value in YNN if isinstance(value, str) else False
        case AnswerType.NUM:
            return value == "na" or (isinstance(value, int | float) and not isinstance(value, bool) and _within(shape, value))
        case AnswerType.CHOICE:
            return isinstance(value, str) and (value in options or value == "na")
        case AnswerType.MULTI_CHOICE:
            return value == "na" or (isinstance(value, list) and all(isinstance(one, str) and one in options for one in value))
        case AnswerType.DATE:
            return isinstance(value, str) and (value == "na" or _is_date(value))
        case AnswerType.TEXT:
            return isinstance(value, str)


def _within(shape: Answer, value: float) -> bool:
    return (shape.min is None or value >= shape.min) and (shape.max is None or value <= shape.max)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
