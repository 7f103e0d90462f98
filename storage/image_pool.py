"""Where pictures are decoded: in children (storage/children.py), with the bounds that a picture needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from contracts.problems import ProblemCode
from storage.children import Bounds, Children
from storage.looks import Look, StampLine

DECODING: Final = Bounds(memory_bytes=2 * 1024**3, seconds=120)


class ImagePool:
    """Decodes in at most `processes` processes; they start when first needed."""

    def __init__(self, *, processes: int, pixels_max: int, font: Path | None = None, bounds: Bounds = DECODING) -> None:
        self.processes: Final = processes
        self._pixels_max: Final = pixels_max
        self._font: Final = font
        self._children: Final = Children(processes=processes, bounds=bounds)

    async def look_at(self, original: Path, folder: Path, *, alone: bool = False) -> Look | ProblemCode:
        """As storage.imaging.look_at. ChildDied when the decoder did not survive it; `alone`: while it decodes nothing else."""
        return await self._children.run(_look_at, original, folder, self._pixels_max, alone=alone)

    async def write_stamped(self, original: Path, out: Path, lines: Sequence[StampLine]) -> bool:
        """As storage.stamp.write_stamped."""
        return await self._children.run(_write_stamped, original, out, lines, self._font, self._pixels_max)

    async def close(self) -> None:
        """End the processes, also one that is stuck."""
        await self._children.close()


# The decoders are loaded in the child processes only.


def _look_at(original: Path, folder: Path, pixels_max: int) -> Look | ProblemCode:
    from storage.imaging import look_at

    return look_at(original, folder, pixels_max)


def _write_stamped(original: Path, out: Path, lines: Sequence[StampLine], font: Path | None, pixels_max: int) -> bool:
    from storage.stamp import write_stamped

    return write_stamped(original, out, lines, font, pixels_max)
