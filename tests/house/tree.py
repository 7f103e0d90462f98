"""The files of this project, as they would be committed."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FLOORS = ("contracts", "sync", "storage", "api", "server", "phone")
UNTRACKED = {".git", ".venv", ".data", "__pycache__", "node_modules", ".pytest_cache", ".ruff_cache", ".hypothesis", "dist", "build"}


def tree() -> list[Path]:
    """Every file that is committed, or would be: what git ignores is not ours. Without git, every file."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and UNTRACKED.isdisjoint(path.relative_to(ROOT).parts)]


def texts(paths: list[Path]) -> Iterator[tuple[Path, str]]:
    """(path, text) of those that are text."""
    for path in paths:
        try:
            yield path, path.read_text()
        except UnicodeDecodeError:
            continue


def python_files(*folders: str) -> list[Path]:
    return [path for path in tree() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]
