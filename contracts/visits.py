"""How a site is visited (检查方式), and which visits nobody on the inspected side may know of (domain.md 4.9)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from contracts.ids import RecordId, UnitCode
from contracts.kind import Position, ShortText, Text
from contracts.people import Level

# 暗访, 暗查 and 四不两直: "must not be visible to the inspected township, county or object, nor sync to their devices, before the
# visit is over" (domain.md 4.9, derived)
SECRET_MODES: Final = frozenset({"secret_visit", "secret_check", "four_no_two_direct"})

# Who may send visitors. A township's own 暗查 is an ordinary inspection with a mode: nobody above it is to be kept in the dark.
SENDING: Final = frozenset({Level.CITY, Level.COUNTY, Level.ZONE, Level.DEPARTMENT, Level.TEAM})

# 问题来源 (domain.md 4.0)
ProblemSource = Literal[
    "patrol", "whistle", "reward_report", "hotline_12345", "hotline_12369", "petition", "video", "secret_visit", "double_random",
    "spot_check", "joint_check", "central_inspection", "provincial_inspection", "stationed_inspectorate", "audit", "station_alert",
    "fire_point", "assignment",
]  # fmt: skip
# Channels of the public: "the answer goes back to the channel" (domain.md 4.11), "feedback to the reporter" (4.10)
ANSWERED_SOURCES: Final = frozenset({"hotline_12345", "hotline_12369", "petition", "reward_report"})

# The source of a problem that a visit found (domain.md 4.0). What is not named was found on patrol.
SOURCE_OF_MODE: Final[dict[str, ProblemSource]] = {
    **dict.fromkeys(SECRET_MODES, "secret_visit"),
    "double_random": "double_random",
    "spot_check": "spot_check",
    "joint_check": "joint_check",
}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One place to be visited unannounced, with all its visitor needs: the site itself is not on their phone.

    unit   the inspected unit, to which the findings go when they are disclosed
    site   in that unit's county
    """

    unit: UnitCode
    site: RecordId | None = None
    name: ShortText = ""
    address: ShortText = ""
    position: Position | None = None
    note: Annotated[Text, msgspec.Meta(title="说明")] = ""
