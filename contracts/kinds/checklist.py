"""A published checklist version as a synced record, so that a phone can fill it in without signal."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from contracts.ids import UnitCode
from contracts.kind import Code, Kind
from contracts.meta import Policy, field
from contracts.people import Audience


class PublishedChecklist(msgspec.Struct, frozen=True, kw_only=True):
    """`definition` is a contracts.checklist.Checklist, as published."""

    unit: Annotated[UnitCode, field("发布单位", Policy.IMMUTABLE, max_length=40)]
    slug: Annotated[Code, field("类别", Policy.IMMUTABLE)]
    jurisdiction: Annotated[Code, field("辖区", Policy.IMMUTABLE)]
    version: Annotated[int, field("版本", Policy.IMMUTABLE, ge=1)]
    definition: Annotated[dict[str, Any], field("定义", Policy.IMMUTABLE)]


KIND = Kind(name="checklist", title="检查清单", body=PublishedChecklist, audience=Audience.COUNTY, server_made=True)
