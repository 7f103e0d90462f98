"""A problem (问题): what was found wrong, until it is verified as closed out (销号). Source: domain.md 4.0, 4.5 to 4.7."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import msgspec

from contracts.ids import PersonId, RecordId, UnitCode
from contracts.kind import ChecklistRef, Code, Comment, Kind, Position, ShortText, Step, Text
from contracts.meta import Policy, field
from contracts.visits import ProblemSource


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is a word of the problem's machine (sync/machines.py); `steps` is its story, one entry per command.

    reported_by, reported_as  who found it, and in which role: until it is verified nobody below that role rewrites it
    lead, supporting     units that must fix it (domain.md 2.5: two leads are two units in `leads`)
    returns, rebounds    how often a submission was returned as bad rectification, and how often it came back after close-out
    handed_in            leads that have handed in their part since it was last sent back; accepted when all have
    suspended_from       the state to which it resumes
    secret, disclosed_at found by an unannounced visit; its own unit sees it only from then on
    source_body, source_batch, source_on, source_reference
                         who handed it down or passed it on, in which round, when, and where its image or text is kept
    listed_on, unlisted_on  since when it is listed (挂牌督办), and when the listing was lifted
    closed_on            the day it was closed out (domain.md 4.6); none once it has come back
    look_back_result     held, rebound or false; of the last look-back since it was closed out
    feedback_owed        信息反馈: it came by a channel of the public, which has not been told the result yet
    whistles             blown about it: the departments that are called are shown its photos
    related              the same problem from another source: linked, never merged; each of the two names the other
    suspected_duplicates what may be the same, by place, time, subject or picture; a person links it, or says that it is not
    distinct             what a person has said is another problem: it is not suggested again
    """

    unit: Annotated[UnitCode, field("所属单位", Policy.LATEST, max_length=40)]
    subject: Annotated[Code, field("类别", Policy.LATEST)]
    source: Annotated[ProblemSource, field("来源", Policy.IMMUTABLE)] = "patrol"
    source_number: Annotated[ShortText, field("来源编号", Policy.LATEST)] = ""
    source_body: Annotated[ShortText, field("来源单位", Policy.LATEST)] = ""
    source_batch: Annotated[Code | None, field("批次", Policy.LATEST)] = None
    source_on: Annotated[date | None, field("交办日期", Policy.LATEST)] = None
    source_reference: Annotated[ShortText, field("影像或原文出处", Policy.LATEST)] = ""
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
    ledgers: Annotated[list[Code], field("所属台账", Policy.UNION, max_length=20)] = []
    measures: Annotated[Text, field("整改措施", Policy.LATEST)] = ""
    reported_by: Annotated[PersonId | None, field("上报人", Policy.SERVER)] = None
    reported_as: Annotated[Code | None, field("上报人职责", Policy.SERVER)] = None
    departments: Annotated[list[Code], field("责任部门建议", Policy.SERVER)] = []
    leads: Annotated[list[UnitCode], field("牵头单位", Policy.COMMAND, max_length=2)] = []
    supporting: Annotated[list[UnitCode], field("配合单位", Policy.COMMAND, max_length=20)] = []
    due_on: Annotated[date | None, field("整改期限", Policy.COMMAND)] = None
    listed_level: Annotated[Code | None, field("挂牌督办级别", Policy.COMMAND)] = None
    listed_on: Annotated[date | None, field("挂牌日期", Policy.SERVER)] = None
    unlisted_on: Annotated[date | None, field("摘牌日期", Policy.SERVER)] = None
    closed_on: Annotated[date | None, field("销号日期", Policy.SERVER)] = None
    look_back_on: Annotated[date | None, field("回头看日期", Policy.COMMAND)] = None
    look_back_result: Annotated[Code | None, field("回头看结果", Policy.SERVER)] = None
    suspended_until: Annotated[date | None, field("中止至", Policy.COMMAND)] = None
    suspended_from: Annotated[Code | None, field("中止前状态", Policy.SERVER)] = None
    submitted_by: Annotated[PersonId | None, field("提交人", Policy.SERVER)] = None
    handed_in: Annotated[list[UnitCode], field("已提交的牵头单位", Policy.SERVER)] = []
    returns: Annotated[int, field("退回次数", Policy.SERVER)] = 0
    rebounds: Annotated[int, field("反弹次数", Policy.SERVER)] = 0
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "draft"
    secret: Annotated[bool, field("不告知被检查方", Policy.IMMUTABLE)] = False
    disclosed_at: Annotated[datetime | None, field("告知时间", Policy.SERVER)] = None
    feedback_owed: Annotated[bool, field("待反馈", Policy.SERVER)] = False
    whistles: Annotated[list[RecordId], field("相关吹哨", Policy.SERVER)] = []
    related: Annotated[list[RecordId], field("关联问题", Policy.SERVER)] = []
    suspected_duplicates: Annotated[list[RecordId], field("疑似重复", Policy.SERVER)] = []
    distinct: Annotated[list[RecordId], field("已核非同一问题", Policy.SERVER)] = []
    steps: Annotated[list[Step], field("办理过程", Policy.SERVER)] = []
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="problem", title="问题", body=Problem)
