"""A conflict (冲突): a losing value that waits for a supervisor's tap (design.md 3.1)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from contracts.ids import DeviceId, MutationId, PersonId, RecordId, UnitCode
from contracts.kind import Code, Kind, ShortText
from contracts.meta import Policy
from contracts.meta import field as declared
from contracts.people import Audience


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """`kept` is in the record, `lost` is not. Settled by `conflict.settle` (args: choice, value).

    kept_by, lost_by   device and n of the mutation that wrote each; null where the record itself stands against a deletion
    mutation, person, device   whose arrival made the two meet: the later of both
    """

    unit: Annotated[UnitCode, declared("裁定单位", Policy.SERVER, max_length=40)]
    record: Annotated[RecordId, declared("记录", Policy.SERVER)]
    record_kind: Annotated[Code, declared("记录类型", Policy.SERVER)]
    record_unit: Annotated[UnitCode, declared("记录所属单位", Policy.SERVER)]
    record_title: Annotated[ShortText, declared("记录名称", Policy.SERVER)]
    field: Annotated[str, declared("字段", Policy.SERVER)]
    kept: Annotated[Any, declared("现值", Policy.SERVER)] = None
    lost: Annotated[Any, declared("落选值", Policy.SERVER)] = None
    kept_by: Annotated[tuple[DeviceId, int] | None, declared("现值来源", Policy.SERVER)] = None
    lost_by: Annotated[tuple[DeviceId, int] | None, declared("落选值来源", Policy.SERVER)] = None
    mutation: Annotated[MutationId | None, declared("引发操作", Policy.SERVER)] = None
    person: Annotated[PersonId | None, declared("提交人", Policy.SERVER)] = None
    device: Annotated[DeviceId | None, declared("设备", Policy.SERVER)] = None
    why: Annotated[Code, declared("原因", Policy.SERVER)] = "overlap"
    opened_at: Annotated[datetime | None, declared("发生时间", Policy.SERVER)] = None
    state: Annotated[Literal["open", "settled"], declared("状态", Policy.COMMAND)] = "open"
    choice: Annotated[Literal["kept", "lost", "other"] | None, declared("裁定", Policy.COMMAND)] = None
    settled_by: Annotated[PersonId | None, declared("裁定人", Policy.COMMAND)] = None


KIND = Kind(name="conflict", title="冲突", body=Conflict, audience=Audience.OFFICE, server_made=True)
