"""Identifiers. Plain aliases, so that a signature says what it wants (design.md section 2)."""

from __future__ import annotations

import hashlib
import uuid
from typing import Final

County = int  # GB/T 2260 code of a county-level unit, a configured zone code, or the city itself
UnitCode = str  # "610902001001" (village), "610902001" (township), "610902" (county), "610902-sthj" (department)
StreamName = str  # "<unit>.<audience>"
RecordId = uuid.UUID
MutationId = uuid.UUID
DeviceId = uuid.UUID
PersonId = uuid.UUID
Version = tuple[int, int]  # (incarnation, n): compared as a pair

NO_VERSION: Final[Version] = (0, 0)  # "the record is missing"

_OPENED: Final = uuid.UUID("6f1d2c1e-6c0b-5e0a-9d52-0b6f6a1c9a01")  # fixed for ever: ids below are derived from it


def problem_id(inspection: RecordId, item: str) -> RecordId:
    """The problem that a `no` opens: two phones that open it offline open the same one (design.md section 2)."""
    return uuid.uuid5(_OPENED, f"problem/{inspection}/{item}")


def projection_id(source: RecordId, where: str) -> RecordId:
    """What shows a record in another stream: one per source and unit (or parent, for a photo)."""
    return uuid.uuid5(_OPENED, f"projection/{source}/{where}")


def conflict_id(mutation: MutationId, record: RecordId, field: str) -> RecordId:
    """One conflict record per losing value; of its record, too, because two devices may have given one id to two mutations."""
    return uuid.uuid5(_OPENED, f"conflict/{mutation}/{record}/{field}")


def outcome_id(mutation_key: str) -> RecordId:
    """The record that tells a phone how its held mutation ended. Key: '<device>/<county>/<n>'."""
    return uuid.uuid5(_OPENED, f"outcome/{mutation_key}")


def derived_mutation_id(*parts: object) -> MutationId:
    """The id of a mutation made by a rule, timer or forwarding job: the same cause never makes two (design.md 3.1)."""
    return uuid.uuid5(_OPENED, "mutation/" + "/".join(str(p) for p in parts))


def is_derived(one: uuid.UUID) -> bool:
    """Whether only the server makes such an id. Anybody can work one out, so nobody else may use one first (sync/words.py)."""
    return one.version == 5


def is_worded(one: uuid.UUID) -> bool:
    """Whether only the server makes such an id, of a write that a person asks it for (`asked_id`). It, too, can be worked out by anybody."""
    return one.version == 8


def is_of_store(device: DeviceId) -> bool:
    """Whether a store made this device id, as enrolling asks of it; every other identity is the server's, which numbers under it."""
    return device.version == 7


def asked_id(*parts: object) -> uuid.UUID:
    """The id of a person's write that the server puts into words: over an office route, or after a record that moved. Once, however often."""
    value = int.from_bytes(hashlib.sha256("/".join(["asked", *map(str, parts)]).encode()).digest()[:16])
    return uuid.UUID(int=value & ~(0xF << 76 | 0x3 << 62) | 8 << 76 | 0x2 << 62)  # RFC 9562: version 8
