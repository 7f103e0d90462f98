"""How a held mutation ended: a record in the stream of the device that made it (design.md 3.1)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from contracts.ids import DeviceId, MutationId, RecordId
from contracts.kind import Kind
from contracts.meta import Policy, field
from contracts.outcomes import Outcome, Reason
from contracts.people import Audience


class HeldOutcome(msgspec.Struct, frozen=True, kw_only=True):
    device: Annotated[DeviceId, field("设备", Policy.SERVER)]
    n: Annotated[int, field("序号", Policy.SERVER)]
    outcome: Annotated[Outcome, field("结果", Policy.SERVER)]
    reason: Annotated[Reason, field("原因", Policy.SERVER)]
    mutation: Annotated[MutationId | None, field("操作", Policy.SERVER)] = None
    record: Annotated[RecordId | None, field("记录", Policy.SERVER)] = None
    detail: Annotated[dict[str, Any] | None, field("说明", Policy.SERVER)] = None
    message: Annotated[str, field("原因（文字）", Policy.SERVER)] = ""
    final: Annotated[bool, field("已办结", Policy.SERVER)] = False


KIND = Kind(name="outcome", title="待处理结果", body=HeldOutcome, audience=Audience.DEVICE, server_made=True)
