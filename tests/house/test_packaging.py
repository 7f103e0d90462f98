"""The pins install what pyproject.toml asks for, verified, from wherever the installing machine gets its packages."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = ["requirements.txt", "requirements-dev.txt"]
SHELL_SCRIPTS = ["bin/venv", "deploy/install.sh", "deploy/pin-images"]


def pinned(name: str) -> dict[str, set[str]]:
    """{package: versions}; several where Python versions differ."""
    versions: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", (ROOT / name).read_text(), flags=re.MULTILINE):
        versions.setdefault(canonicalize_name(package), set()).add(version)
    return versions


def asked(*extras: str) -> list[Requirement]:
    project = PROJECT["project"]
    return [
        Requirement(line)
        for line in project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    ]


@pytest.mark.parametrize("name", PINS)
def test_pins_are_hashed_and_name_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "//" not in text
    assert "index" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in entry for entry in entries)


def test_pins_satisfy_what_is_asked() -> None:
    dev = [Requirement(line) for line in PROJECT["dependency-groups"]["dev"]]
    for name, requirements in (("requirements.txt", asked("otel")), ("requirements-dev.txt", asked("otel", "sso") + dev)):
        versions = pinned(name)
        for requirement in requirements:
            assert all(version in requirement.specifier for version in versions[canonicalize_name(requirement.name)]), requirement


def test_tests_run_with_what_production_runs_with() -> None:
    production, dev = pinned("requirements.txt"), pinned("requirements-dev.txt")
    assert {name: dev.get(name) for name in production} == production


@pytest.mark.parametrize("name", SHELL_SCRIPTS)
def test_scripts_are_plain_shell(name: str) -> None:
    assert (ROOT / name).stat().st_mode & 0o111
    assert subprocess.run(["sh", "-n", ROOT / name], check=False).returncode == 0


def test_ci_is_executable_and_needs_no_input() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "exec < /dev/null" in script.read_text()
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


@pytest.fixture
def bare_project(tmp_path: Path) -> Path:
    """A copy of what `bin/venv` looks at, without an environment."""
    (tmp_path / "bin").mkdir()
    for name in ("bin/venv", *PINS):
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def set_up(project: Path, python: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": python}
    return subprocess.run(["sh", project / "bin" / "venv", "run"], env=environment, capture_output=True, text=True, check=False)


def test_a_missing_python_is_said(bare_project: Path) -> None:
    result = set_up(bare_project, "no-such-python")
    assert result.returncode == 1
    assert "No Python 3.11 to 3.14 found" in result.stderr


def test_a_python_without_venv_is_said(bare_project: Path) -> None:
    python = bare_project / "python"
    python.write_text('#!/bin/sh\ncase "$2" in *version_info*) exit 0 ;; *) exit 1 ;; esac\n')
    python.chmod(0o755)
    result = set_up(bare_project, str(python))
    assert result.returncode == 1
    assert "apt-get install python3-venv" in result.stderr


def test_a_finished_environment_is_left_alone(bare_project: Path) -> None:
    (bare_project / ".venv" / "bin").mkdir(parents=True)
    python = bare_project / ".venv" / "bin" / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    wanted = subprocess.run(
        "cat requirements.txt bin/venv | cksum", shell=True, cwd=bare_project, capture_output=True, text=True, check=True
    )
    (bare_project / ".venv" / ".installed-run").write_text(wanted.stdout)
    assert set_up(bare_project, "no-such-python").returncode == 0
    (bare_project / "requirements.txt").write_text("changed")
    assert set_up(bare_project, "no-such-python").returncode == 1
