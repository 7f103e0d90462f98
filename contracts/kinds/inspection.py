"""A filled-in checklist (检查记录). Two people's inspections of one site are two records; one may also be shared."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from contracts.ids import PersonId, RecordId, UnitCode
from contracts.kind import ChecklistRef, Code, Comment, Kind, Position, Text
from contracts.meta import Policy, field


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """`answers`: item key -> {"value": ..., "note": ..., ...}; every item is a field of its own when merging.

    inspectors     who took part, as its author says, who is one of them; `recorded_by` whose device made it, `submitted_by` whose
                   submitted it: these sign. `recorded_as` in which role: nobody below it rewrites what was found
    odd_answers    items that the checklist version does not have, or whose value is none of their answers: kept, opening nothing
    submitted_at   when it was captured, at the latest, as the server knows it: what coverage is told by
    secret         of an unannounced visit (that of a secret task always is); disclosed with the task
    """

    unit: Annotated[UnitCode, field("所属单位", Policy.LATEST, max_length=40)]
    subject: Annotated[Code, field("类别", Policy.IMMUTABLE)]
    checklist: Annotated[ChecklistRef, field("检查清单版本", Policy.IMMUTABLE)]
    site: Annotated[RecordId | None, field("监管对象", Policy.LATEST)] = None
    task: Annotated[RecordId | None, field("任务", Policy.LATEST)] = None
    inspectors: Annotated[list[PersonId], field("检查人", Policy.UNION, max_length=50)] = []
    visit_mode: Annotated[Code | None, field("检查方式", Policy.LATEST)] = None
    started_at: Annotated[datetime | None, field("开始时间", Policy.LATEST)] = None
    position: Annotated[Position | None, field("位置", Policy.COMPOUND)] = None
    answers: Annotated[dict[str, Any], field("检查项", Policy.EACH, max_length=500)] = {}
    state: Annotated[Literal["draft", "submitted", "amended"], field("状态", Policy.COMMAND)] = "draft"
    secret: Annotated[bool, field("不告知被检查方", Policy.IMMUTABLE)] = False
    recorded_by: Annotated[PersonId | None, field("记录人", Policy.SERVER)] = None
    recorded_as: Annotated[Code | None, field("记录人职责", Policy.SERVER)] = None
    submitted_by: Annotated[PersonId | None, field("提交人", Policy.SERVER)] = None
    odd_answers: Annotated[list[str], field("与清单不符的检查项", Policy.SERVER)] = []
    submitted_at: Annotated[datetime | None, field("提交时间", Policy.SERVER)] = None
    disclosed_at: Annotated[datetime | None, field("告知时间", Policy.SERVER)] = None
    note: Annotated[Text, field("备注", Policy.LATEST)] = ""
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="inspection", title="检查记录", body=Inspection)
