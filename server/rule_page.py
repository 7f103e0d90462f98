"""The reference of all rules that can be published, made from their shapes (contracts/rules.py), so that it cannot fall behind them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts.rules import RULE_BODIES, RuleName

PAGE: Final = Path("docs/rules.md")
HEADING: Final = "<!-- Made from contracts/rules.py by `make openapi`. Do not edit. -->"
INTRODUCTION: Final = """\
# Rules: what each county decides for itself

What no source states (response times, colour triggers, look-back terms, seasons) is published here as dated versions. There is no default: without a version
nothing is due and nothing is issued. The numbers in the examples show the form and recommend nothing.

`POST /office/v1/rules` publishes a version: `county`, `name`, `starts` (when it begins to hold; not in the past), `body`, `note`. By the county's
supervisor or admin. `GET /office/v1/rules?county=` lists all that ever held, and which hold now. A version is never edited or deleted; what was decided under it is explained
by it for ever. A moment is judged by the version in force at that moment, not by the one in force when somebody looks.
"""
EXAMPLES: Final[dict[RuleName, dict[str, Any]]] = {
    RuleName.CALENDAR: {"days_off": ["2027-04-06"], "days_worked": ["2027-04-10"]},
    RuleName.WHISTLE: {"sign": {"hours": 4}, "report_in": {"working_days": 1}, "result": {"working_days": 5}},
    RuleName.COLOURS: {
        "triggers": [
            {"key": "late", "colour": "white", "fact": "overdue", "answer_within": {"working_days": 3}},
            {"key": "silent", "colour": "yellow", "fact": "unanswered", "after": {"working_days": 1}},
        ]
    },
    RuleName.REMINDERS: {"before": [{"working_days": 2}]},
    RuleName.LOOK_BACK: {"after": {"working_days": 30}},
    RuleName.SEASONS: {"seasons": [{"key": "wheat_harvest", "from_on": "2027-05-20", "to_on": "2027-06-20"}]},
    RuleName.DUPLICATES: {"within_days": 14},
}


NOTES: Final[dict[RuleName, str]] = {
    RuleName.COLOURS: """\
- A trigger calls for a letter when its fact has lasted for `after` without a break. Fixed, suspended (no longer than the suspension said) or extended
  before that moment: no letter. Returned or resumed after the deadline: the time counts from then.
- Each unit that leads has a time of its own: whoever takes over an overdue problem is not answerable for the days before.
- A letter that is not answered is followed by the next colour, while what it is about is still to be done, by the rules of who issued it.
- A new version holds from `starts`. What the old one had issued is not issued again; what was still to come under the old one and is due
  by the new one comes when the new one begins. What was over before the first version is not written about.
- The city's rules write to counties: `addressee: county`. They are published for the city's own partition and judge the problems of all its counties.
- Evidence captured in time that arrives late overturns a letter and those that followed it: they are lifted with `overturned`, never erased.
- What has ended is not pressed for any more. A letter that a rule issued is lifted with `closed` when its problem is closed out, or its summons is confirmed
  by the township: nobody owes an answer about work that was done and checked, and the letter stays in the history, late as it was. What is no more, because it
  is not true, was withdrawn, declined, cancelled or deleted, or is now another county's, takes all its letters with it, also those by hand. A letter by hand about
  what was done stays until it is lifted by whoever issued it: who asked by hand judges the answer. A letter issued after the end stays, too.
"""
}


def members(shape: dict[str, Any]) -> Iterator[str]:
    """A table row for each member of a struct's JSON Schema."""
    yield "| member | type | required |"
    yield "|---|---|---|"
    for name, member in shape.get("properties", {}).items():
        yield f"| `{name}` | {type_of(member)} | {'yes' if name in shape.get('required', ()) else ''} |"


def type_of(member: dict[str, Any]) -> str:
    """In words: what JSON Schema says of one member."""
    if ref := member.get("$ref"):
        name = ref.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := member.get("anyOf"):
        return " or ".join(type_of(choice) for choice in choices)
    if words := member.get("enum"):
        return " / ".join(f"`{word}`" for word in words)
    if member.get("type") == "array":
        return f"list of {type_of(member.get('items', {}))}"
    said = [str(member.get("format") or member.get("type", "any"))]
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "maxLength": "length ≤"}
    said += [f"{sign} {member[bound]}" for bound, sign in bounds.items() if bound in member]
    said += [f"`{member['pattern']}`"] if "pattern" in member else []
    return ", ".join(said)


def section(title: str, shape: dict[str, Any]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    first, _, more = inspect.cleandoc(shape.get("description", "")).partition("\n\n")
    yield first
    if more:
        yield f"\n```text\n{more}\n```"
    yield ""
    yield from members(shape)


def rule_page() -> str:
    """The whole page: every rule with its members and an example that holds, then the shapes they share."""
    _, shapes = msgspec.json.schema_components(RULE_BODIES.values(), ref_template="{name}")
    lines = [HEADING, INTRODUCTION]
    for name, body in RULE_BODIES.items():
        example = msgspec.json.format(msgspec.json.encode(EXAMPLES[name]), indent=2).decode()
        lines += [*section(name.value, shapes.pop(body.__name__)), "", NOTES.get(name, ""), "```json", example, "```", ""]
    for name, shape in shapes.items():
        if "properties" in shape:
            lines += [*section(name, shape), ""]
        else:
            lines += [f"## {name}", "", type_of(shape), ""]
    return "\n".join(lines).rstrip() + "\n"


def write_rule_page(root: Path) -> Path:
    """Write the page below `root`; returns where."""
    (root / PAGE).write_text(rule_page(), encoding="utf-8")
    return root / PAGE
