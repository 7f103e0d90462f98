"""How long closed records stay on phones by default: days since the last change. No source states any; configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RETENTION_DAYS: Final[Mapping[str, int]] = {
    "site": 730,
    "task": 400,
    "inspection": 400,
    "problem": 730,
    "notice": 400,
    "conflict": 90,
    "outcome": 90,
}
MARKER_DAYS: Final = 400  # a phone that stayed away longer reads its streams anew
