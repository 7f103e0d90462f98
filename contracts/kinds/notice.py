"""A notice (通知): a letter, a warning, publicity material to a unit or to some roles of it. Source: domain.md 4.2, 4.22."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from contracts.ids import PersonId, RecordId, UnitCode
from contracts.kind import Code, Kind, ShortText, Step, Text
from contracts.meta import Policy, field
from contracts.people import Role


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One unit's copy. It can be withdrawn by whoever sent it, never unsent, and its words stay those that were signed for.

    letter    what was sent to several units at once has one letter in common
    roles     who of the unit it is for; empty: everybody with a duty there
    acknowledged_by   by notice.acknowledge only: nobody signs for another
    """

    unit: Annotated[UnitCode, field("接收单位", Policy.IMMUTABLE, max_length=40)]
    title: Annotated[ShortText, field("标题", Policy.IMMUTABLE)]
    text: Annotated[Text, field("内容", Policy.IMMUTABLE)] = ""
    category: Annotated[Code, field("类别", Policy.IMMUTABLE)] = "notice"
    letter: Annotated[RecordId | None, field("函件", Policy.IMMUTABLE)] = None
    sent_by_unit: Annotated[UnitCode | None, field("发送单位", Policy.IMMUTABLE)] = None
    roles: Annotated[list[Role], field("接收职责", Policy.IMMUTABLE, max_length=20)] = []
    subject_record: Annotated[RecordId | None, field("有关事项", Policy.IMMUTABLE)] = None
    needs_acknowledgement: Annotated[bool, field("需签收", Policy.IMMUTABLE)] = False
    acknowledge_by: Annotated[datetime | None, field("签收时限", Policy.IMMUTABLE)] = None
    acknowledged_by: Annotated[list[PersonId], field("已签收", Policy.SERVER)] = []
    published_at: Annotated[datetime | None, field("发布时间", Policy.IMMUTABLE)] = None
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "published"
    steps: Annotated[list[Step], field("办理过程", Policy.SERVER)] = []


KIND = Kind(name="notice", title="通知", body=Notice)
