"""A transfer of a clue or case (线索移交、案件移送): a record of its own beside the problem, for a narrower audience.

Four flows that are never merged (domain.md 4.12). A transfer closes nothing: rectification goes on.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from contracts.ids import RecordId, UnitCode
from contracts.kind import Code, Comment, Kind, ShortText, Step, Text
from contracts.meta import Policy, field
from contracts.people import Audience


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """receiver        an organ, by its code: one of the county's departments by its unit or by the word that its unit ends with
    receiver_unit   of enforcement information (`enforcement_info`), since it was sent: the department of the county that has it as a
                    `handover`, and itself says that it was received and what came of it. None: whoever sent it notes that down
    """

    unit: Annotated[UnitCode, field("移交单位", Policy.IMMUTABLE, max_length=40)]
    flow: Annotated[
        Literal["accountability_clue", "criminal_case", "public_interest_litigation", "enforcement_info"],
        field("移交类别", Policy.IMMUTABLE),
    ]
    problem: Annotated[RecordId | None, field("问题", Policy.IMMUTABLE)] = None
    whistle: Annotated[RecordId | None, field("吹哨", Policy.IMMUTABLE)] = None
    receiver: Annotated[Code, field("接收机关", Policy.IMMUTABLE)]
    receiver_unit: Annotated[UnitCode | None, field("接收单位", Policy.SERVER)] = None
    title: Annotated[ShortText, field("标题", Policy.LATEST)]
    text: Annotated[Text, field("线索内容", Policy.LATEST)] = ""
    receipt_number: Annotated[ShortText, field("回执文号", Policy.COMMAND)] = ""
    result: Annotated[Text, field("处理结果", Policy.COMMAND)] = ""
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "proposed"
    steps: Annotated[list[Step], field("办理过程", Policy.SERVER)] = []
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="transfer", title="移交", body=Transfer, audience=Audience.CASE)
