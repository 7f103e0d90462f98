"""The time of the story: one moment that the demo sets and every process it started reads, through a mapped file."""

from __future__ import annotations

import mmap
import struct
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Final

ANKANG: Final = timezone(timedelta(hours=8))
DAY: Final = date(2026, 10, 22)  # a Thursday, the eve of 霜降: the straw lies in the fields
_MOMENT: Final = struct.Struct("<q")


class StoryTime:
    """Unix milliseconds in a file of eight bytes. It only moves when the story says so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(_MOMENT.pack(_ms_of(DAY, "06:30")))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _MOMENT.size)

    @property
    def ms(self) -> int:
        return int(_MOMENT.unpack_from(self._memory)[0])

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.ms / 1000, UTC)

    def set(self, clock: str, day: date = DAY) -> None:
        """`clock`: "07:30", in Ankang. Never backwards: the server's clock is the one that is right."""
        self._write(max(self.ms, _ms_of(day, clock)))

    def pass_seconds(self, seconds: float) -> None:
        self._write(self.ms + int(seconds * 1000))

    def _write(self, ms: int) -> None:
        _MOMENT.pack_into(self._memory, 0, ms)


def _ms_of(day: date, clock: str) -> int:
    return int(datetime.combine(day, time.fromisoformat(clock), ANKANG).timestamp() * 1000)


def clock_text(ms: float) -> str:
    """ "08:40", in Ankang."""
    return datetime.fromtimestamp(ms / 1000, ANKANG).strftime("%H:%M")


def day_text(ms: float) -> str:
    """ "10-22 08:40", in Ankang."""
    return datetime.fromtimestamp(ms / 1000, ANKANG).strftime("%m-%d %H:%M")
