"""When two problems may be the same one, reported twice (linked, never merged)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, hypot, radians
from typing import Any, Final

import msgspec

from contracts.ids import RecordId, StreamName
from contracts.mutation import CREATE, Mutation
from contracts.people import Audience
from sync.decision import Incoming
from sync.places import stream_name
from sync.state import RecordState

NEAR_M: Final = 100.0  # two phones at one place differ by their accuracy, 30 m and more under trees
METRES_PER_DEGREE: Final = 111_320.0


def is_suspect(new: RecordState, other: RecordState) -> bool:
    """Same kind, subject and site, or same subject within 100 m; problems of one inspection are different items."""
    if other.kind != "problem" or new.kind != "problem" or other.deleted:
        return False
    a, b = new.values, other.values
    if a.get("subject") != b.get("subject") or b.get("state") == "closed_out":
        return False
    if a.get("inspection") is not None and a.get("inspection") == b.get("inspection"):
        return False
    findings = {v.get("finding") for v in (a, b)} - {None}
    if len(findings) > 1:
        return False
    if a.get("site") is not None and a.get("site") == b.get("site"):
        return True
    return _near(a.get("position"), b.get("position"))


def _near(a: dict[str, Any] | None, b: dict[str, Any] | None) -> bool:
    if not a or not b:
        return False
    north = (a["lat"] - b["lat"]) * METRES_PER_DEGREE
    east = (a["lng"] - b["lng"]) * METRES_PER_DEGREE * cos(radians(a["lat"]))
    return hypot(north, east) <= NEAR_M


class Alike(msgspec.Struct, frozen=True):
    """Where to look for problems that a new one may repeat."""

    stream: StreamName
    subject: str
    site: str | None


class _Placed(msgspec.Struct, frozen=True):
    unit: str | None = None
    subject: str | None = None
    site: str | None = None


def alike_wanted(batch: Sequence[Incoming], records: Mapping[RecordId, RecordState]) -> set[Alike]:
    """For every problem the batch may open: by itself, or by a `no` on an inspection it submits or amends."""
    created = {i.mutation.record: i.mutation for i in batch if i.mutation and i.mutation.op == CREATE}
    wanted: set[Alike] = set()
    for incoming in batch:
        mutation = incoming.mutation
        if mutation is None:
            continue
        body: bytes | None = None
        if mutation.kind == "problem" and mutation.op == CREATE:
            body = _body_of(mutation)
        elif mutation.kind == "inspection" and mutation.op != CREATE:
            state = records.get(mutation.record)
            made = created.get(mutation.record)
            body = state.body if state else _body_of(made) if made else None
        placed = _placed(body)
        if placed is not None and placed.unit is not None and placed.subject is not None:
            wanted.add(Alike(stream_name(placed.unit, Audience.FIELD), placed.subject, placed.site))
    return wanted


def _body_of(mutation: Mutation) -> bytes | None:
    return None if mutation.body is msgspec.UNSET else bytes(mutation.body)


def _placed(body: bytes | None) -> _Placed | None:
    try:
        return msgspec.json.decode(body, type=_Placed) if body is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
