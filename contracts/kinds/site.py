"""A supervised object (监管对象): a building site, an outfall, an inn."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.ids import UnitCode
from contracts.kind import Code, Comment, Kind, Position, ShortText, Text
from contracts.meta import Policy, field


class Site(msgspec.Struct, frozen=True, kw_only=True):
    name: Annotated[ShortText, field("名称", Policy.LATEST)]
    unit: Annotated[UnitCode, field("所属单位", Policy.LATEST, max_length=40)]
    subjects: Annotated[list[Code], field("监管类别", Policy.UNION, max_length=20)]
    position: Annotated[Position | None, field("位置", Policy.COMPOUND)] = None
    address: Annotated[ShortText, field("地址", Policy.LATEST)] = ""
    protection_zone: Annotated[Literal["core", "key", "general", "outside"] | None, field("秦岭保护区分区", Policy.LATEST)] = None
    contact: Annotated[ShortText, field("责任人", Policy.LATEST)] = ""
    contact_phone: Annotated[ShortText, field("联系电话", Policy.LATEST)] = ""
    status: Annotated[Literal["active", "paused", "closed"], field("状态", Policy.LATEST)] = "active"
    period_days: Annotated[Annotated[int, Meta(ge=1, le=3660)] | None, field("检查周期", Policy.LATEST, unit="day")] = None
    closed_on: Annotated[date | None, field("关闭日期", Policy.LATEST)] = None
    tags: Annotated[list[ShortText], field("标签", Policy.UNION, max_length=50)] = []
    note: Annotated[Text, field("备注", Policy.LATEST)] = ""
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="site", title="监管对象", body=Site)
