"""A patrol task (巡查任务): who should look at what, until when. Sources: domain.md 4.9, 4.15 and section 6."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

import msgspec

from contracts.ids import PersonId, RecordId, UnitCode
from contracts.kind import Code, Comment, Kind, ShortText, Step, Text
from contracts.meta import Policy, field
from contracts.visits import Target


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """`steps` is its story: who accepted, started and finished it, also when that came late or twice.

    origin          the plan or response that made it; `origin_revision` and `occurs_on` say for which occurrence
    secret          an unannounced visit: it lives in the visit stream of the unit that sends it, and nowhere else
    targets         of an unannounced visit: where to go, and whom the findings are disclosed to
    inspections     of an unannounced visit: what its visitors found
    """

    title: Annotated[ShortText, field("任务", Policy.LATEST)]
    unit: Annotated[UnitCode, field("承办单位", Policy.LATEST, max_length=40)]
    subject: Annotated[Code | None, field("类别", Policy.LATEST)] = None
    sites: Annotated[list[RecordId], field("监管对象", Policy.UNION, max_length=500)] = []
    assignee: Annotated[PersonId | None, field("承办人", Policy.LATEST)] = None
    due_on: Annotated[date | None, field("截止日期", Policy.LATEST)] = None
    visit_mode: Annotated[Code | None, field("检查方式", Policy.IMMUTABLE)] = None
    secret: Annotated[bool, field("不告知被检查方", Policy.IMMUTABLE)] = False
    targets: Annotated[list[Target], field("检查地点", Policy.IMMUTABLE, max_length=200)] = []
    origin: Annotated[RecordId | None, field("来源", Policy.SERVER)] = None
    origin_revision: Annotated[int | None, field("来源版次", Policy.SERVER)] = None
    occurs_on: Annotated[date | None, field("计划日期", Policy.SERVER)] = None
    state: Annotated[Literal["open", "accepted", "started", "finished", "cancelled"], field("状态", Policy.COMMAND)] = "open"
    result: Annotated[Text, field("完成情况", Policy.COMMAND)] = ""
    cancel_reason: Annotated[Text, field("取消原因", Policy.COMMAND)] = ""
    inspections: Annotated[list[RecordId], field("检查记录", Policy.SERVER)] = []
    disclosed_at: Annotated[datetime | None, field("告知时间", Policy.SERVER)] = None
    note: Annotated[Text, field("备注", Policy.LATEST)] = ""
    steps: Annotated[list[Step], field("办理过程", Policy.SERVER)] = []
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="task", title="巡查任务", body=Task)
