"""Lower never imports upper; the judgement is pure; a phone knows only the contracts."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.tree import FLOORS, ROOT

LINTER = Path(sys.executable).parent / "lint-imports"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    config = ROOT / "pyproject.toml"
    return subprocess.run([LINTER, "--config", config, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def test_the_floors_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("contracts", "sync"),
        ("sync", "storage"),
        ("storage", "api"),
        ("api", "server"),
        ("sync", "asyncio"),
        ("sync", "asyncpg"),
        ("sync", "time"),
        ("sync", "os"),
        ("phone", "sync"),
        ("api", "phone"),
    ],
)
def test_the_linter_would_notice(importer: str, imported: str, tmp_path: Path) -> None:
    for floor in FLOORS:
        (tmp_path / floor).mkdir()
        (tmp_path / floor / "__init__.py").write_text(f"import {imported}\n" if floor == importer else "")
    result = lint(tmp_path)
    assert result.returncode == 1
    assert "1 broken" in result.stdout


def test_every_package_at_the_root_is_a_floor_and_is_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = {name for name in project["tool"]["setuptools"]["packages"]["find"]["include"] if "." not in name}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert shipped == set(FLOORS)
    assert packages - {"bench", "demo"} <= set(FLOORS)


def test_no_folder_of_tests_is_a_package() -> None:
    """With `tests/sync/__init__.py` pytest would import that folder as our `sync`."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_the_page_of_the_judgement_names_each_of_its_files() -> None:
    page = (ROOT / "sync/README.md").read_text(encoding="utf-8")
    files = [path.name for path in (ROOT / "sync").glob("*.py") if path.name != "__init__.py"]
    assert [name for name in files if f"`{name}`" not in page] == []
