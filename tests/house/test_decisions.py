"""Every decision is in the index, and every line of the index leads somewhere."""

import re
from pathlib import Path

from tests.house.tree import ROOT

DECISIONS = ROOT / "docs" / "decisions"
LINK = re.compile(r"\]\((\d{4}-[^)]+\.md)\)")


def missing_and_broken(folder: Path) -> tuple[set[str], set[str]]:
    index = folder / "README.md"
    listed = set(LINK.findall(index.read_text())) if index.exists() else set()
    written = {path.name for path in folder.glob("[0-9]*.md")}
    return written - listed, listed - written


def test_the_index_is_complete() -> None:
    assert missing_and_broken(DECISIONS) == (set(), set())


def test_numbers_are_unique() -> None:
    numbers = [path.name[:4] for path in DECISIONS.glob("[0-9]*.md")]
    assert sorted(set(numbers)) == sorted(numbers)


def test_this_check_can_fail(tmp_path: Path) -> None:
    (tmp_path / "0001-a.md").touch()
    assert missing_and_broken(tmp_path) == ({"0001-a.md"}, set())
    (tmp_path / "README.md").write_text("- [b](0002-b.md)")
    assert missing_and_broken(tmp_path) == ({"0001-a.md"}, {"0002-b.md"})
