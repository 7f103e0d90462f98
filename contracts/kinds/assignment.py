"""A problem as the unit that must fix it sees it (交办件): a projection in that unit's stream (design.md section 2).

It has the version of the problem it shows, so that a command on it is judged by what its author saw of the problem.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

import msgspec

from contracts.ids import RecordId, UnitCode
from contracts.kind import Code, Kind, Position, ShortText
from contracts.meta import Policy, field


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """`shown` is the problem's body without what only its own unit may see.

    site_name, site_address, position   where to go: the site is in no stream of this unit; the problem's own position, or else the site's
    """

    unit: Annotated[UnitCode, field("承办单位", Policy.SERVER, max_length=40)]
    problem: Annotated[RecordId, field("问题", Policy.SERVER)]
    problem_unit: Annotated[UnitCode, field("问题所属单位", Policy.SERVER)]
    problem_unit_name: Annotated[ShortText, field("问题所属单位名称", Policy.SERVER)] = ""
    site_name: Annotated[ShortText, field("监管对象名称", Policy.SERVER)] = ""
    site_address: Annotated[ShortText, field("监管对象地址", Policy.SERVER)] = ""
    position: Annotated[Position | None, field("位置", Policy.SERVER)] = None
    part: Annotated[Literal["lead", "supporting"], field("职责", Policy.SERVER)]
    title: Annotated[ShortText, field("标题", Policy.SERVER)] = ""
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "assigned"
    due_on: Annotated[date | None, field("整改期限", Policy.SERVER)] = None
    shown: Annotated[dict[str, Any], field("问题内容", Policy.SERVER)] = {}


KIND = Kind(name="assignment", title="交办件", body=Assignment, server_made=True, projects="problem")
