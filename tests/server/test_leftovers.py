"""A test run leaves nothing behind, also when it is killed."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from tests.house.tree import ROOT

INNER = """
    import os, signal
    from tests import servers

    def test_servers_run(postgres, s3):
        assert postgres.pid
        print("RUNS IN", servers.run_folder(), flush=True)
        {ending}
"""


def users_of(folder: str) -> list[int]:
    return [process.pid for process in psutil.process_iter(["cmdline"]) if any(folder in word for word in process.info["cmdline"] or ())]


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "status"), [("pass", 0), ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)])
def test_a_run_leaves_no_process_and_no_folder(tmp_path: Path, ending: str, status: int) -> None:
    """A pytest of its own, with the servers that all tests share, in a folder for temporary files of its own."""
    scratch = Path(os.environ["TESTS_OF_XUNLING"]) / f"inner-{os.urandom(4).hex()}"  # the servers' user may pass there
    scratch.mkdir(mode=0o711)
    inner = tmp_path / "test_inner.py"
    inner.write_text(textwrap.dedent(INNER.format(ending=ending)))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-c",
        ROOT / "pyproject.toml",
        "-n0",
        "-s",
        "-p",
        "no:cacheprovider",
        inner,
    ]
    environment = os.environ | {"TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == status, ended.stdout + ended.stderr
    folder = ended.stdout.partition("RUNS IN ")[2].split()[0]
    deadline = time.monotonic() + 30
    while (users_of(folder) or any(scratch.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert users_of(folder) == []
    assert list(scratch.iterdir()) == []
