"""What a repository owes to strangers: how to take part, how to report a hole, checks before a commit, versions that are named."""

import os
import re
import tomllib

from tests.house.tree import ROOT

HEADING = re.compile(r"^## (\S+)", re.MULTILINE)


def test_strangers_are_told_how_to_take_part_and_how_to_report_a_hole() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("CONTRIBUTING.md", "SECURITY.md", "LICENSE"):
        assert (ROOT / name).read_text(encoding="utf-8").strip()
    assert "CONTRIBUTING.md" in readme
    assert "SECURITY.md" in readme


def test_the_hook_runs_the_checks() -> None:
    hook = ROOT / "bin" / "hooks" / "pre-commit"
    assert os.access(hook, os.X_OK)
    assert "make -s check" in hook.read_text()
    assert "core.hooksPath bin/hooks" in (ROOT / "Makefile").read_text()


def test_the_newest_section_of_the_changelog_is_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert HEADING.findall(changelog)[0] == version
    assert "`v<version>`" in changelog
