"""A provable random draw (双随机、一公开) as a record: its states and its story, never its pool or its list (docs/draws.md).

It lives in the secret stream of the unit that draws, which the inspected side has no duty over. What is drawn from and what was
drawn is sealed beside it (storage/draws.py): no phone and no journal has it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from contracts.ids import PersonId, UnitCode
from contracts.kind import Code, Kind, Sha256, ShortText, Step
from contracts.meta import Policy, field
from contracts.people import Audience


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    unit: Annotated[UnitCode, field("抽查单位", Policy.IMMUTABLE, max_length=40)]
    title: Annotated[ShortText, field("抽查事项", Policy.IMMUTABLE)]
    prepared_by: Annotated[PersonId | None, field("准备人", Policy.IMMUTABLE)] = None
    commitment: Annotated[Sha256 | None, field("承诺哈希", Policy.COMMAND)] = None
    committed_by: Annotated[PersonId | None, field("承诺人", Policy.SERVER)] = None
    nonce: Annotated[ShortText, field("随机数", Policy.COMMAND)] = ""
    seeded_by: Annotated[PersonId | None, field("随机数提供人", Policy.SERVER)] = None
    state: Annotated[Code, field("状态", Policy.COMMAND)] = "prepared"
    steps: Annotated[list[Step], field("办理过程", Policy.SERVER)] = []


KIND = Kind(name="draw", title="随机抽查", body=Draw, audience=Audience.SECRET, sealed=True)
