"""A problem (问题): what was found wrong, until it is verified as closed out (销号). Source: domain.md 4.0."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import msgspec

from contracts.ids import PersonId, RecordId, UnitCode
from contracts.kind import ChecklistRef, Code, Comment, Kind, Position, ShortText, Text
from contracts.meta import Policy, field


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is a word of the problem's state machine (sync/machines.py)."""

    unit: Annotated[UnitCode, field("所属单位", Policy.LATEST, max_length=40)]
    subject: Annotated[Code, field("类别", Policy.LATEST)]
    source: Annotated[Code, field("来源", Policy.IMMUTABLE)] = "inspection"
    inspection: Annotated[RecordId | None, field("检查记录", Policy.IMMUTABLE)] = None
    item: Annotated[Code | None, field("检查项", Policy.IMMUTABLE)] = None
    checklist: Annotated[ChecklistRef | None, field("检查清单版本", Policy.IMMUTABLE)] = None
    site: Annotated[RecordId | None, field("监管对象", Policy.LATEST)] = None
    finding: Annotated[Code | None, field("问题类型", Policy.LATEST)] = None
    title: Annotated[ShortText, field("标题", Policy.LATEST)] = ""
    description: Annotated[Text, field("描述", Policy.LATEST)] = ""
    severity: Annotated[Code | None, field("严重程度", Policy.LATEST)] = None
    position: Annotated[Position | None, field("位置", Policy.COMPOUND)] = None
    found_at: Annotated[datetime | None, field("发现时间", Policy.LATEST)] = None
    reported_by: Annotated[PersonId | None, field("上报人", Policy.SERVER)] = None
    departments: Annotated[list[Code], field("责任部门", Policy.SERVER)] = []
    due_on: Annotated[date | None, field("整改期限", Policy.COMMAND)] = None
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "draft"
    suspected_duplicates: Annotated[list[RecordId], field("疑似重复", Policy.SERVER)] = []
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="problem", title="问题", body=Problem)
