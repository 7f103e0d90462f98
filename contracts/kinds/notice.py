"""A notice (通知): publicity, warnings, letters to a unit."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from contracts.ids import PersonId, UnitCode
from contracts.kind import Code, Kind, ShortText, Text
from contracts.meta import Policy, field


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    unit: Annotated[UnitCode, field("接收单位", Policy.IMMUTABLE, max_length=40)]
    title: Annotated[ShortText, field("标题", Policy.LATEST)]
    text: Annotated[Text, field("内容", Policy.LATEST)] = ""
    category: Annotated[Code, field("类别", Policy.LATEST)] = "notice"
    needs_acknowledgement: Annotated[bool, field("需签收", Policy.IMMUTABLE)] = False
    acknowledged_by: Annotated[list[PersonId], field("已签收", Policy.UNION)] = []
    published_at: Annotated[datetime | None, field("发布时间", Policy.LATEST)] = None


KIND = Kind(name="notice", title="通知", body=Notice)
