"""A patrol task (巡查任务): who should look at what, until when."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec

from contracts.ids import PersonId, RecordId, UnitCode
from contracts.kind import Code, Comment, Kind, ShortText, Text
from contracts.meta import Policy, field


class Task(msgspec.Struct, frozen=True, kw_only=True):
    title: Annotated[ShortText, field("任务", Policy.LATEST)]
    unit: Annotated[UnitCode, field("承办单位", Policy.LATEST, max_length=40)]
    subject: Annotated[Code | None, field("类别", Policy.LATEST)] = None
    sites: Annotated[list[RecordId], field("监管对象", Policy.UNION, max_length=500)] = []
    assignee: Annotated[PersonId | None, field("承办人", Policy.LATEST)] = None
    due_on: Annotated[date | None, field("截止日期", Policy.LATEST)] = None
    state: Annotated[Literal["open", "accepted", "started", "finished", "cancelled"], field("状态", Policy.COMMAND)] = "open"
    result: Annotated[Text, field("完成情况", Policy.COMMAND)] = ""
    cancel_reason: Annotated[Text, field("取消原因", Policy.COMMAND)] = ""
    note: Annotated[Text, field("备注", Policy.LATEST)] = ""
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="task", title="巡查任务", body=Task)
