"""A supervision letter (督办单): white, yellow or red, by rule or by hand. Source: domain.md 4.3, 4.4."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from contracts.ids import RecordId, UnitCode
from contracts.kind import Code, Comment, Kind, Moment, ShortText, Step, Text
from contracts.meta import Policy, field
from contracts.rules import Colour


class Supervision(msgspec.Struct, frozen=True, kw_only=True):
    """It lives in the stream of the unit that must answer. "Why is this red?" is answered by `grounds`.

    subject_record   what it is about: a problem, summons or whistle; of what followed a letter that is about none, that letter
    grounds          rule version, trigger, facts and moments as they were when it was issued; by hand: the reason
    issued_at        by rule: the due moment; by hand: when it reached the server
    term_note        that `due_at` rests on a year whose working days were not published then
    lifted_because   answered: the issuer accepted the answer; overturned: evidence that came late shows there was no ground;
                     closed: what it was about is done, or is no more (docs/rules.md); mistaken: it should not have been issued
    """

    unit: Annotated[UnitCode, field("被督办单位", Policy.IMMUTABLE, max_length=40)]
    colour: Annotated[Colour, field("颜色", Policy.IMMUTABLE)]
    title: Annotated[ShortText, field("事由", Policy.LATEST)]
    text: Annotated[Text, field("要求", Policy.LATEST)] = ""
    issued_by_unit: Annotated[UnitCode, field("督办单位", Policy.IMMUTABLE, max_length=40)]
    subject_record: Annotated[RecordId | None, field("督办事项", Policy.IMMUTABLE)] = None
    subject_kind: Annotated[Code | None, field("事项类型", Policy.IMMUTABLE)] = None
    previous: Annotated[RecordId | None, field("前一督办单", Policy.IMMUTABLE)] = None
    issued_at: Annotated[Moment | None, field("发出时间", Policy.IMMUTABLE)] = None
    due_at: Annotated[Moment | None, field("答复时限", Policy.IMMUTABLE)] = None
    term_note: Annotated[ShortText, field("时限说明", Policy.SERVER)] = ""
    grounds: Annotated[dict[str, Any], field("依据", Policy.IMMUTABLE)] = {}
    answer: Annotated[Text, field("答复", Policy.COMMAND)] = ""
    lifted_because: Annotated[Code | None, field("解除原因", Policy.COMMAND)] = None
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "issued"
    steps: Annotated[list[Step], field("办理过程", Policy.SERVER)] = []
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="supervision", title="督办单", body=Supervision)
