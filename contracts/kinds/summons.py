"""A summons (部门报到): one department's part of a whistle, in that department's own stream. Source: domain.md 4.1."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from contracts.ids import RecordId, UnitCode
from contracts.kind import Code, Comment, Kind, Position, ShortText, Step, Text
from contracts.meta import Policy, field

ClockName = Literal["sign", "report_in", "result"]


class Corrected(msgspec.Struct, frozen=True, kw_only=True):
    """What a term was before a calendar was published, and when it was corrected."""

    due_at: datetime
    at: datetime


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """One term that ran: since when, until when, by which version of the rule, and after how many steps of the story it began.

    unpublished   years that it rests on although their working days were not published (decision 0036)
    """

    clock: ClockName
    since: datetime
    due_at: datetime
    rule_version: int | None = None
    steps: int = 0
    unpublished: list[int] = []
    corrected: list[Corrected] = []


class Summons(msgspec.Struct, frozen=True, kw_only=True):
    """The three clocks run from the blowing, by the whistle rule in force then (`rule_version`); none without a rule.

    site_name, site_address, position   where to go: the site is in no stream of the department; the whistle's own position, or else the site's
    required   waited for; a department that only assists has no clock
    clocks     every term that ever ran: insisted on, the department has all three anew; sent back, that of the result
    """

    unit: Annotated[UnitCode, field("部门", Policy.SERVER, max_length=40)]
    whistle: Annotated[RecordId, field("吹哨", Policy.SERVER)]
    whistle_unit: Annotated[UnitCode, field("吹哨单位", Policy.SERVER)]
    whistle_unit_name: Annotated[ShortText, field("吹哨单位名称", Policy.SERVER)] = ""
    title: Annotated[ShortText, field("事由", Policy.SERVER)]
    text: Annotated[Text, field("情况", Policy.SERVER)] = ""
    problem: Annotated[RecordId | None, field("问题", Policy.SERVER)] = None
    site: Annotated[RecordId | None, field("监管对象", Policy.SERVER)] = None
    site_name: Annotated[ShortText, field("监管对象名称", Policy.SERVER)] = ""
    site_address: Annotated[ShortText, field("监管对象地址", Policy.SERVER)] = ""
    position: Annotated[Position | None, field("位置", Policy.SERVER)] = None
    required: Annotated[bool, field("必须报到", Policy.SERVER)] = True
    called_at: Annotated[datetime | None, field("吹哨时间", Policy.SERVER)] = None
    sign_due_at: Annotated[datetime | None, field("签收时限", Policy.SERVER)] = None
    report_in_due_at: Annotated[datetime | None, field("报到时限", Policy.SERVER)] = None
    result_due_at: Annotated[datetime | None, field("反馈时限", Policy.SERVER)] = None
    rule_version: Annotated[int | None, field("时限规则版本", Policy.SERVER)] = None
    terms_note: Annotated[ShortText, field("时限说明", Policy.SERVER)] = ""
    clocks: Annotated[list[Clock], field("历次时限", Policy.SERVER)] = []
    contact: Annotated[ShortText, field("联系人", Policy.COMMAND)] = ""
    reported_in_at: Annotated[datetime | None, field("报到时间", Policy.SERVER)] = None
    reported_in_position: Annotated[Position | None, field("报到位置", Policy.SERVER)] = None
    result: Annotated[Text, field("办理结果", Policy.COMMAND)] = ""
    legal_basis: Annotated[Text, field("退回依据", Policy.COMMAND)] = ""
    refusals: Annotated[int, field("退回次数", Policy.SERVER)] = 0
    rating: Annotated[int | None, field("评价", Policy.SERVER, unit="1..5")] = None
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "called"
    steps: Annotated[list[Step], field("办理过程", Policy.SERVER)] = []
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="summons", title="报到", body=Summons, server_made=True)
