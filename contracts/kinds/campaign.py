"""A vehicle road-check campaign (机动车路检路查): a joint action of departments on some days. Source: domain.md 4.20."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec

from contracts.ids import UnitCode
from contracts.kind import Code, Comment, Kind, Position, ShortText, Step, Text
from contracts.meta import Policy, field
from contracts.people import Audience


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """Counted as one campaign with its days, never by vehicles (domain.md 4.20). It counts in the month it starts in."""

    unit: Annotated[UnitCode, field("组织单位", Policy.IMMUTABLE, max_length=40)]
    title: Annotated[ShortText, field("行动", Policy.LATEST)]
    category: Annotated[Code, field("类别", Policy.IMMUTABLE)] = "road_check"
    departments: Annotated[list[ShortText], field("参加部门", Policy.UNION, max_length=20)] = []
    starts_on: Annotated[date, field("开始日期", Policy.LATEST)]
    ends_on: Annotated[date, field("结束日期", Policy.LATEST)]
    place: Annotated[ShortText, field("地点", Policy.LATEST)] = ""
    position: Annotated[Position | None, field("位置", Policy.COMPOUND)] = None
    result: Annotated[Text, field("结果", Policy.COMMAND)] = ""
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "planned"
    note: Annotated[Text, field("备注", Policy.LATEST)] = ""
    steps: Annotated[list[Step], field("办理过程", Policy.SERVER)] = []
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="campaign", title="路检路查行动", body=Campaign, audience=Audience.OFFICE)
