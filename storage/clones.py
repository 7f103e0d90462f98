"""Two phones with one identity: what the second one sends is kept, and both must enrol again (design.md 3.1)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Final, LiteralString

import msgspec

from contracts.ids import County, DeviceId
from storage.pool import Connection
from sync.decision import Incoming, Sender

SQL_KEEP_CLONE: Final[LiteralString] = """
    INSERT INTO journal (county, device, n, entry, what, mutation, person, outcome, reason, detail, raw)
    VALUES ($1, $2, 1, 0, 'mutation', $3, $4, 'quarantined', 'device_cloned', $5::json, $6)
    ON CONFLICT DO NOTHING
"""
SQL_HOLD_CLONE: Final[LiteralString] = """
    INSERT INTO held (county, device, n, mutation, person, outcome, reason, detail, unit)
    VALUES ($1, $2, 1, $3, $4, 'quarantined', 'device_cloned', $5::json, $6)
    ON CONFLICT DO NOTHING
"""
SQL_REVOKE_DEVICE: Final[LiteralString] = """
    UPDATE device SET revoked_at = now(), revoked_why = 'cloned' WHERE id = $1 AND revoked_at IS NULL
"""


async def keep_clones(conn: Connection, county: County, sender: Sender, clones: Sequence[Incoming]) -> None:
    """The number was taken: the bytes go to the desk under an identity of their own, and the device must enrol again."""
    for clone in clones:
        mutation = clone.mutation.id if clone.mutation else clone.envelope.id
        identity = clone_device(sender.device, clone)
        detail = msgspec.json.encode({"device": str(sender.device), "n": clone.n}).decode()
        await conn.execute(SQL_KEEP_CLONE, county, identity, mutation, sender.person, detail, clone.raw)
        unit = sender.duties[0].unit if sender.duties else str(county)
        await conn.execute(SQL_HOLD_CLONE, county, identity, mutation, sender.person, detail, unit)
    await conn.execute(SQL_REVOKE_DEVICE, sender.device)


def clone_device(device: DeviceId, clone: Incoming) -> DeviceId:
    """The identity under which a cloned phone's mutation is kept: of its bytes, since it may have no readable id."""
    return uuid.uuid5(device, f"clone/{clone.n}/{hashlib.sha256(clone.raw).hexdigest()}")
