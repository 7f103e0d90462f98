"""Heavy-pollution weather response (重污染天气应急): started, responding, lifted. Source: domain.md 4.15.

Warning levels are not stated in any source: `level` is text, as the order that was received has it. Lizhou's three steps
(forecast, tracking, evaluated) are the other path through the same machine.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from contracts.ids import RecordId, UnitCode
from contracts.kind import Code, Comment, Kind, ShortText, Step, Text
from contracts.kinds.plan import Recurrence
from contracts.meta import Policy, field
from contracts.people import Audience


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """While it is responding (or tracking), every object on the cut list (应急减排清单) has a check (EMER-1).

    unit           the city or a county
    cut_list_tag   sites in the unit that carry this tag are on the list; `sites` are on it besides
    repeats        RRULE over days; none: one check per object
    """

    unit: Annotated[UnitCode, field("响应单位", Policy.IMMUTABLE, max_length=40)]
    title: Annotated[ShortText, field("响应", Policy.LATEST)]
    level: Annotated[ShortText, field("预警级别（按文件原文）", Policy.LATEST)] = ""
    order_number: Annotated[ShortText, field("文号", Policy.LATEST)] = ""
    cut_list_tag: Annotated[ShortText, field("减排清单标签", Policy.LATEST)] = ""
    sites: Annotated[list[RecordId], field("减排清单对象", Policy.UNION, max_length=2000)] = []
    repeats: Annotated[Recurrence | None, field("检查频次", Policy.LATEST)] = None
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "drafted"
    note: Annotated[Text, field("备注", Policy.LATEST)] = ""
    steps: Annotated[list[Step], field("办理过程", Policy.SERVER)] = []
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="response", title="重污染天气应急响应", body=Response, audience=Audience.OFFICE)
