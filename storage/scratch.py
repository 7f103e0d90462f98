"""Folders for objects at work on this machine's disk (TMPDIR), and what a killed worker has left of them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "xunling-object-"
ABANDONED_SECONDS: Final = 24 * 3600.0  # nothing is at work for minutes: a picture has 120 s, S3 its time-outs


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of its own, which goes with the block. `kill -9` leaves it: see `remove_abandoned`."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        yield Path(folder)


def remove_abandoned() -> int:
    """Remove the folders that killed processes have left; returns how many. What is younger than a day may be at work elsewhere."""
    oldest = time.time() - ABANDONED_SECONDS
    removed = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # another process removes it, or owns it
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder)
                removed += 1
    return removed
