"""No pattern takes a final newline: in Python `$` also matches before one, and `13800000001` must not have a twin."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts import access, checklist, draw, kind
from tests.house.tree import ROOT, python_files

END = re.compile(r"(?<!\\)\$(?!\(\?!\\n\))")
"""A dollar that is not followed by `(?!\\n)`, which Python and ECMAScript read alike; `\\Z` is no ECMAScript."""
CLASS = re.compile(r"\[(?:\\.|[^\]\\])*\]")


def is_open(pattern: str) -> bool:
    """Whether a pattern that means to end takes a newline more."""
    return END.search(CLASS.sub("x", pattern)) is not None or "\\Z" in pattern


def written_patterns(path: Path) -> list[str]:
    """The string constants of a file that are patterns from beginning to end, those with placeholders included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(part.value if isinstance(part, ast.Constant) else "x" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return [text for text in found if text.startswith("^") and "$" in text]


@pytest.mark.parametrize("path", python_files("contracts", "sync", "storage", "api", "phone"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pattern_in_the_code_takes_a_final_newline(path: Path) -> None:
    assert [pattern for pattern in written_patterns(path) if is_open(pattern)] == []


def test_the_walk_sees_patterns() -> None:
    assert len([p for path in python_files("contracts", "api") for p in written_patterns(path)]) > 12


def patterns_of(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [pattern for part in schema for pattern in patterns_of(part)]
    if not isinstance(schema, dict):
        return []
    own = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    return own + [pattern for part in schema.values() for pattern in patterns_of(part)]


@pytest.mark.parametrize("name", ["openapi.json", "sync-protocol.schema.json"])
def test_no_pattern_of_the_written_contracts_takes_a_final_newline(name: str) -> None:
    found = patterns_of(json.loads((ROOT / "contracts" / name).read_text(encoding="utf-8")))
    assert len(found) > 4
    assert [pattern for pattern in found if is_open(pattern)] == []


@pytest.mark.parametrize(
    ("shape", "good"),
    [
        (access.Phone, "13800000001"),
        (access.Name, "张三"),
        (kind.Code, "construction_dust"),
        (kind.Heading, "工地"),
        (kind.Sha256, "a" * 64),
        (draw.Nonce, "n" * 16),
        (draw.EntryId, "enterprise-1"),
    ],
)
def test_what_is_good_is_not_good_with_a_newline(shape: Any, good: str) -> None:
    assert msgspec.convert(good, shape) == good
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(f"{good}\n", shape)


def test_unit_codes_and_item_keys_end_where_they_end() -> None:
    assert re.match(access.UNIT_CODE_PATTERN, "wg-1")
    assert not re.match(access.UNIT_CODE_PATTERN, "wg-1\n")
    assert not checklist.ITEM_KEY.match("dust\n")


@pytest.mark.parametrize("wrong", ["^1[3-9][0-9]{9}$", r"^a\Z", "^(?!b$)a"])
def test_these_checks_can_fail(wrong: str) -> None:
    assert is_open(wrong)
    assert not is_open(r"^[0-9$]{3}$(?!\n)")
