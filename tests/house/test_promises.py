"""Each of the ten promises is stated once, names files that are there, and is cited by tests that prove it."""

import ast
import re
from pathlib import Path

from tests.house.tree import ROOT, python_files

README = ROOT / "sync" / "README.md"
STATED = re.compile(r"^(\d+)\. \*\*[^*]+\*\*(.*?)(?=^\d+\. \*\*|^## |\Z)", re.MULTILINE | re.DOTALL)
CITED = re.compile(r"\bPromises? ([0-9]+(?:(?:, | and )[0-9]+)*)")
NAMED = re.compile(r"(?:tests/[a-z_/]+/)?test_[a-z_]+\.py|tests/[a-z_]+/(?=[*,])")


def stated(text: str) -> dict[int, str]:
    return {int(number): rest for number, rest in STATED.findall(text)}


def cited(source: str) -> set[int]:
    """Promise numbers in the docstrings of tests."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for numbers in CITED.findall(ast.get_docstring(node) or ""):
                found |= {int(n) for n in re.findall(r"\d+", numbers)}
    return found


def missing_files(rest: str, root: Path) -> list[str]:
    """Named test files that are not there; one without a folder is in the folder named before it."""
    folder, missing = "", []
    for name in NAMED.findall(rest):
        folder = name.rpartition("/")[0] or folder
        path = f"{folder}/{name.rpartition('/')[2]}"
        if not (root / path).exists():
            missing.append(path)
    return missing


def test_there_are_ten_promises_and_each_names_its_tests() -> None:
    promises = stated(README.read_text(encoding="utf-8"))
    assert list(promises) == list(range(1, 11))
    assert {number: missing_files(rest, ROOT) for number, rest in promises.items() if missing_files(rest, ROOT)} == {}
    assert all(NAMED.search(rest) for rest in promises.values())


def test_each_promise_is_cited_by_a_test_and_nothing_else_is() -> None:
    found = set().union(*(cited(path.read_text(encoding="utf-8")) for path in python_files("tests")))
    assert found == set(stated(README.read_text(encoding="utf-8")))


def test_this_check_can_fail(tmp_path: Path) -> None:
    assert stated("1. **A.** b\n   *tests/sync/test_x.py*\n2. **C.** d\n") == {1: " b\n   *tests/sync/test_x.py*\n", 2: " d\n"}
    assert cited('def test_a():\n    """Promises 3, 4 and 11."""\ndef helper():\n    """Promise 9."""\n') == {3, 4, 11}
    assert missing_files(" *tests/sync/test_x.py, test_y.py*", tmp_path) == ["tests/sync/test_x.py", "tests/sync/test_y.py"]
