"""A whistle (镇办吹哨): a township calls departments to a place. Source: domain.md 4.1, 4.2."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from contracts.ids import PersonId, RecordId, UnitCode
from contracts.kind import Code, Comment, Kind, Position, ShortText, Step, Text
from contracts.meta import Policy, field


class Whistle(msgspec.Struct, frozen=True, kw_only=True):
    """Proposed by a village or grid member, blown by the township; answered when all required departments have given a result.

    called     department units summoned; `optional` those whose answer is not waited for
    summons    unit -> how its summons stands (state, report-in, result, rating), written when that changes
    proposed_by     who raised it
    due_at          the earliest term that runs for a department that is waited for
    feedback_owed   信息反馈: whoever raised it has not been told yet what became of it
    """

    unit: Annotated[UnitCode, field("所属单位", Policy.IMMUTABLE, max_length=40)]
    title: Annotated[ShortText, field("事由", Policy.LATEST)]
    text: Annotated[Text, field("情况", Policy.LATEST)] = ""
    subject: Annotated[Code | None, field("类别", Policy.LATEST)] = None
    problem: Annotated[RecordId | None, field("问题", Policy.IMMUTABLE)] = None
    site: Annotated[RecordId | None, field("监管对象", Policy.LATEST)] = None
    position: Annotated[Position | None, field("位置", Policy.COMPOUND)] = None
    proposed_by: Annotated[PersonId | None, field("提议人", Policy.SERVER)] = None
    called: Annotated[list[UnitCode], field("被吹哨部门", Policy.COMMAND, max_length=30)] = []
    optional: Annotated[list[UnitCode], field("协助部门", Policy.COMMAND, max_length=30)] = []
    blown_at: Annotated[datetime | None, field("吹哨时间", Policy.SERVER)] = None
    summons: Annotated[dict[str, Any], field("报到情况", Policy.SERVER)] = {}
    due_at: Annotated[datetime | None, field("最近时限", Policy.SERVER)] = None
    feedback_owed: Annotated[bool, field("待反馈", Policy.SERVER)] = False
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "proposed"
    steps: Annotated[list[Step], field("办理过程", Policy.SERVER)] = []
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="whistle", title="吹哨", body=Whistle)
