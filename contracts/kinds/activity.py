"""A publicity activity (宣传教育活动): date, place, people, photo. Source: domain.md 4.2 (derived)."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.ids import PersonId, RecordId, UnitCode
from contracts.kind import Code, Comment, Kind, Position, ShortText, Text
from contracts.meta import Policy, field


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """Photos hang below it. `reached`: how many of the public were there, as estimated; no list of them is kept.

    subject_record   the problem or whistle on account of which it was held
    """

    unit: Annotated[UnitCode, field("开展单位", Policy.LATEST, max_length=40)]
    title: Annotated[ShortText, field("活动", Policy.LATEST)]
    held_on: Annotated[date, field("日期", Policy.LATEST)]
    place: Annotated[ShortText, field("地点", Policy.LATEST)] = ""
    position: Annotated[Position | None, field("位置", Policy.COMPOUND)] = None
    topic: Annotated[Code | None, field("主题", Policy.LATEST)] = None
    subject_record: Annotated[RecordId | None, field("有关事项", Policy.LATEST)] = None
    organisers: Annotated[list[PersonId], field("开展人员", Policy.UNION, max_length=50)] = []
    reached: Annotated[Annotated[int, Meta(ge=0, le=10_000_000)] | None, field("参加群众人数", Policy.LATEST)] = None
    text: Annotated[Text, field("内容", Policy.LATEST)] = ""
    comments: Annotated[list[Comment], field("留言", Policy.APPEND)] = []


KIND = Kind(name="activity", title="宣传活动", body=Activity)
