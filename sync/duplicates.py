"""When two problems may be the same one, reported twice (linked, never merged)."""

from __future__ import annotations

from math import cos, hypot, radians
from typing import Any, Final

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
