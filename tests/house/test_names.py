"""Names that say nothing, words that promise instead of deliver, addresses that do not belong here."""

import re
from pathlib import Path

import pytest

from tests.house.tree import ROOT, texts, tree

EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "core", "stuff"}
# Each is written so that it does not find itself: this file is in the tree too.
PROMISE = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X])\b")
# Where packages come from is the installing machine's business.
REGISTRIES = re.compile(r"files\.python[h]osted|pypi[.]org|registry\.npm[j]s|npm[m]irror|deb\.[d]ebian\.org|--(?:extra-)?index[-]url")
# A path of the machine somebody worked on.
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:home[/]\w|Users[/]\w|work[/](?:main|shared)|root[/]\.pyenv)")
LOCK_FILES = {"uv.lock", "poetry.lock", "Pipfile.lock"}


def faults(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    found = ((path, pattern.search(text)) for path, text in texts(paths))
    return [f"{path}: {match.group()}" for path, match in found if match]


def test_no_file_has_an_empty_name() -> None:
    assert [path for path in tree() if path.suffix == ".py" and (path.stem in EMPTY_NAMES or path.parent.name in EMPTY_NAMES)] == []


def test_nothing_is_promised_in_a_comment() -> None:
    code = [path for path in tree() if path.suffix in {".py", ".sql", ".sh", ".toml"} or path.name == "Makefile"]
    assert faults(PROMISE, code) == []


def test_no_package_registry_is_named() -> None:
    assert [fault for fault in faults(REGISTRIES, tree()) if not fault.startswith(str(ROOT / "Makefile"))] == []
    assert [path for path in tree() if path.name in LOCK_FILES] == []


def test_no_path_of_somebodys_machine_is_named() -> None:
    assert faults(MACHINE_PATHS, tree()) == []


@pytest.mark.parametrize(
    ("pattern", "backwards"),
    [
        (PROMISE, "retal ODOT #"),
        (REGISTRIES, "lru-xedni-artxe--"),
        (REGISTRIES, "elpmis/gro.ipyp//:sptth"),
        (MACHINE_PATHS, "x/niam/krow/ ees"),
    ],
)
def test_these_checks_can_fail(pattern: re.Pattern[str], backwards: str, tmp_path: Path) -> None:
    (tmp_path / "x.md").write_text(f"a\n{backwards[::-1]}\n")
    assert len(faults(pattern, [tmp_path / "x.md"])) == 1
