"""When two problems may be the same one, reported twice (linked, never merged): by place, time, subject and picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import cos, hypot, radians
from typing import Any, Final

import msgspec

from contracts.ids import RecordId
from contracts.mutation import CREATE, Mutation
from sync.decision import Incoming
from sync.state import RecordState

NEAR_M: Final = 100.0  # two phones at one place differ by their accuracy, 30 m and more under trees
METRES_PER_DEGREE: Final = 111_320.0


NEAR_DEGREES: Final = NEAR_M / METRES_PER_DEGREE  # of latitude
ENDED: Final = frozenset({"not_true", "closed_out", "look_back_passed"})  # what comes up again there is a new report


def is_suspect(new: RecordState, other: RecordState, within: timedelta | None = None) -> bool:
    """Of the same subject, at the same site or within 100 m, and (where a rule says how long) found at about the same time."""
    a, b = new.values, other.values
    if new.kind != "problem" or not may_be_same(a, other) or a.get("subject") != b.get("subject"):
        return False
    if within is not None and _apart(a.get("found_at"), b.get("found_at")) > within:
        return False
    if a.get("site") is not None and a.get("site") == b.get("site"):
        return True
    return _near(a.get("position"), b.get("position"))


def may_be_same(a: dict[str, Any], other: RecordState) -> bool:
    """Whether it is worth asking: both are open, and nothing says that they differ. Problems of one inspection are different items."""
    if other.kind != "problem" or other.deleted:
        return False
    b = other.values
    if a.get("state") in ENDED or b.get("state") in ENDED:
        return False
    if a.get("inspection") is not None and a.get("inspection") == b.get("inspection"):
        return False
    return len({v.get("finding") for v in (a, b)} - {None}) <= 1


def _apart(a: Any, b: Any) -> timedelta:
    """How long lies between two moments; nothing where one is not told, or not with a zone."""
    try:
        return abs(datetime.fromisoformat(str(a)) - datetime.fromisoformat(str(b)))
    except (ValueError, TypeError):
        return timedelta(0)


def _near(a: dict[str, Any] | None, b: dict[str, Any] | None) -> bool:
    if not a or not b:
        return False
    north = (a["lat"] - b["lat"]) * METRES_PER_DEGREE
    east = (a["lng"] - b["lng"]) * METRES_PER_DEGREE * cos(radians(a["lat"]))
    return hypot(north, east) <= NEAR_M


class Alike(msgspec.Struct, frozen=True):
    """Where to look for problems that a new one may repeat: at its site, and around it wherever in the county."""

    subject: str
    site: str | None
    lat: float | None


class _Spot(msgspec.Struct, frozen=True):
    lat: float | None = None


class _Placed(msgspec.Struct, frozen=True):
    subject: str | None = None
    site: str | None = None
    position: _Spot | None = None


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
        if placed is not None and placed.subject is not None:
            lat = placed.position.lat if placed.position else None
            wanted.add(Alike(placed.subject, placed.site, lat))
    return {one for one in wanted if one.site is not None or one.lat is not None}


def _body_of(mutation: Mutation) -> bytes | None:
    return None if mutation.body is msgspec.UNSET else bytes(mutation.body)


def _placed(body: bytes | None) -> _Placed | None:
    try:
        return msgspec.json.decode(body, type=_Placed) if body is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
