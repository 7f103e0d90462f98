"""A short run of everything: kills of server and PostgreSQL, storms, restores. `make simulate` runs it long."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_a_short_rough_day_keeps_all_promises(root: Path) -> None:
    """The very command of `make simulate`, with its own cluster, as a person would run it."""
    command = [sys.executable, "-m", "tests.simulator", "--seed", "1", "--phones", "8", "--hours", "4"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-4000:]
    assert "all promises held" in run.stdout


def test_a_broken_promise_is_status_1_and_names_the_seed(root: Path) -> None:
    command = [sys.executable, "-m", "tests.simulator", "--seed", "5", "--phones", "6", "--hours", "3", "--gentle", "--plant", "scope_leak"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 1, run.stdout[-4000:]
    assert "seeds that fail: 5" in run.stdout
    assert "again: python -m tests.simulator --seed 5 --phones 6 --hours 3 --gentle" in run.stdout
