"""Enforcement information as the department that receives it has it (移交件): a projection in that department's office (domain.md 4.12, flow d).

It has the version of the transfer it shows, so that a command on it is judged by what its author saw of the transfer.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from contracts.ids import RecordId, UnitCode
from contracts.kind import Code, Kind, ShortText, Step, Text
from contracts.meta import Policy, field
from contracts.people import Audience


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """`steps`: what was done since it was sent. What its sender said among themselves before is theirs."""

    unit: Annotated[UnitCode, field("接收单位", Policy.SERVER, max_length=40)]
    transfer: Annotated[RecordId, field("移交", Policy.SERVER)]
    transfer_unit: Annotated[UnitCode, field("移交单位", Policy.SERVER)]
    transfer_unit_name: Annotated[ShortText, field("移交单位名称", Policy.SERVER)] = ""
    flow: Annotated[Code, field("移交类别", Policy.SERVER)]
    problem: Annotated[RecordId | None, field("问题", Policy.SERVER)] = None
    whistle: Annotated[RecordId | None, field("吹哨", Policy.SERVER)] = None
    title: Annotated[ShortText, field("标题", Policy.SERVER)] = ""
    text: Annotated[Text, field("线索内容", Policy.SERVER)] = ""
    receipt_number: Annotated[ShortText, field("回执文号", Policy.COMMAND)] = ""
    result: Annotated[Text, field("处理结果", Policy.COMMAND)] = ""
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "sent"
    steps: Annotated[list[Step], field("办理过程", Policy.SERVER)] = []


KIND = Kind(name="handover", title="移交件", body=Handover, audience=Audience.OFFICE, server_made=True, projects="transfer")
