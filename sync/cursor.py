"""Where a phone is in a stream, and where its next page begins (design.md 3.2)."""

from __future__ import annotations

import msgspec

from contracts.exchange import Cursor, StreamHead


class Start(msgspec.Struct, frozen=True):
    """Read changes after `seq`; `replace`: the pages replace what the phone holds of the stream."""

    seq: int
    replace: bool

    def is_behind(self, head: StreamHead) -> bool:
        return self.replace or self.seq < head.seq


def start_of(cursor: Cursor | None, head: StreamHead, *, replacing: bool) -> Start:
    """Anew from 0: no cursor, another incarnation, a seq never given, or below the floor where markers are gone."""
    if cursor is None or cursor[0] != head.incarnation or cursor[1] > head.seq:
        return Start(0, replace=True)
    if replacing:
        return Start(cursor[1], replace=True)
    if 0 < cursor[1] < head.floor:
        return Start(0, replace=True)
    return Start(cursor[1], replace=False)
