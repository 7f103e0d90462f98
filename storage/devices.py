"""Devices: enrolment, revocation, and the lost phone."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime
from typing import Final, LiteralString

from contracts.access import DeviceIn, DeviceOut
from contracts.caller import DeviceKind
from contracts.ids import DeviceId, PersonId, is_of_store
from contracts.problems import Problem, ProblemCode
from storage.blobs import OFFICE_NAME
from storage.pool import Connection, Executor
from storage.tokens import Lifetimes, Pair, begin_session, end_device_tokens, insert_pair, random_tokens

CLONED: Final = "cloned"
RETIRED: Final = "retired"
NOT_MADE_HERE: Final = "设备编号须由本机新生成（UUIDv7），请更新应用后重新登记"

OFFICE: Final = "office"  # the kind of an identity under which the server numbers; no store is of it, and none enrols under its id

SQL_LOCK_DEVICE: Final[LiteralString] = """
    SELECT person, kind, wiped_at, revoked_at, revoked_why FROM device WHERE id = $1 FOR UPDATE
"""
SQL_UPSERT_DEVICE: Final[LiteralString] = """
    INSERT INTO device (id, person, kind, name, enrolled_at, first_enrolled_at) VALUES ($1, $2, $3, $4, $5::timestamptz, coalesce($6, $5::timestamptz))
    ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, enrolled_at = EXCLUDED.enrolled_at,
                                   first_enrolled_at = least(device.first_enrolled_at, EXCLUDED.first_enrolled_at),
                                   revoked_at = NULL, revoked_why = NULL
    WHERE device.person = EXCLUDED.person
    RETURNING first_enrolled_at
"""
SQL_INSERT_OFFICE: Final[LiteralString] = """
    INSERT INTO device (id, person, kind, name, acts_for, enrolled_at, first_enrolled_at) VALUES ($1, $2, 'office', $3, $4, $5, $5)
    ON CONFLICT (id) DO NOTHING
"""


def office_device(device: DeviceId) -> DeviceId:
    """Under which identity the server numbers what is written over the office routes from a device.

    A phone numbers its own mutations. Were office writes counted in the same sequence, its next push would look like a clone.
    """
    return uuid.uuid5(device, OFFICE)


async def enrol(
    conn: Connection,
    person: PersonId,
    device: DeviceIn,
    now: datetime,
    lifetimes: Lifetimes,
    *,
    enrolled_before: datetime | None = None,
    strong: bool = False,
) -> Pair | ProblemCode:
    """Log a device in: its earlier log-in ends, its numbers and records stay. `strong`: with a second factor.
    `enrolled_before`: proven by the device; a restored backup may not know it (docs/decisions/0029).

    An id that was wiped or cloned never comes back, and one of another person is not taken over: a store belongs to one
    person, so that nobody's unsent work is handed in under another name. The phone then makes a new id.
    Problem: an id that no store makes (docs/access.md); other forms are the server's, and stories show them to everybody.
    """
    if not is_of_store(device.id):
        raise Problem(ProblemCode.INVALID_VALUE, NOT_MADE_HERE, field="device.id", new_device_id_needed=True)
    row = await conn.fetchrow(SQL_LOCK_DEVICE, device.id)
    if row is not None:
        if row["person"] != person or row["kind"] != device.kind.value:
            return ProblemCode.DEVICE_MISMATCH
        if row["wiped_at"] is not None or row["revoked_why"] == CLONED:
            return ProblemCode.DEVICE_REVOKED
    first = await conn.fetchval(SQL_UPSERT_DEVICE, device.id, person, device.kind.value, device.name, now, enrolled_before)
    if first is None:  # another person enrolled the same id in this very moment
        return ProblemCode.DEVICE_MISMATCH
    await conn.execute(SQL_INSERT_OFFICE, office_device(device.id), person, OFFICE_NAME, device.id, now)
    await end_device_tokens(conn, device.id)
    session = begin_session(device.id, person, device.kind.value, now, lifetimes, strong=strong)
    pair = await insert_pair(conn, session, random_tokens(), now, lifetimes)
    return replace(pair, enrolled_at=first)


SQL_FETCH_LIVE: Final[LiteralString] = """
    SELECT id FROM device WHERE person = $1 AND kind <> 'office' AND revoked_at IS NULL AND wiped_at IS NULL
"""
# Those that are logged out already come first, then those that have not refreshed for longest.
SQL_FETCH_IDLE: Final[LiteralString] = """
    SELECT d.id FROM device d
    LEFT JOIN LATERAL (SELECT max(issued_at) AS used_at FROM token WHERE device = d.id AND expires_at > $2) t ON true
    WHERE d.id = ANY ($1::uuid[])
      AND NOT EXISTS (SELECT FROM county c JOIN device_county k ON k.county = c.county AND k.device = d.id WHERE k.n_made > k.n_high)
      AND NOT EXISTS (
          SELECT FROM county c JOIN blob_announcement a ON a.county = c.county AND a.device = d.id
          WHERE a.refused IS NULL AND a.noted_at IS NULL AND NOT EXISTS (
              SELECT FROM blob_sending s
              WHERE s.county = a.county AND s.sha256 = a.sha256 AND s.person = a.person AND s.sent_at IS NOT NULL))
    ORDER BY t.used_at NULLS FIRST, d.enrolled_at, d.id LIMIT $3
"""


async def make_room(conn: Connection, person: PersonId, device: DeviceId, devices_max: int, now: datetime) -> list[DeviceId]:
    """Retire as many of the person's live devices as one more needs (docs/access.md); returns them. The caller holds the person's lock.

    Never one that, by what the server knows, holds a mutation or a photo that was not sent. Problem when there are too few others.
    """
    live = {row["id"] for row in await conn.fetch(SQL_FETCH_LIVE, person)}
    excess = len(live) + 1 - devices_max
    if device in live or excess <= 0:
        return []
    idle = [row["id"] for row in await conn.fetch(SQL_FETCH_IDLE, list(live), now, excess)]
    if len(idle) < excess:
        raise Problem(ProblemCode.TOO_MANY_DEVICES, devices_max=devices_max)
    for one in idle:
        await revoke_device(conn, one, RETIRED, now)
    return idle


SQL_FETCH_DEVICES: Final[LiteralString] = """
    SELECT id, name, kind, enrolled_at, wiped_at, revoked_at, revoked_why
    FROM device WHERE person = $1 AND kind <> 'office' ORDER BY enrolled_at DESC LIMIT 200
"""
SQL_FETCH_SEEN: Final[LiteralString] = "SELECT device, seen_at FROM device_county WHERE county = $1 AND device = ANY ($2::uuid[])"


async def fetch_devices(executor: Executor, person: PersonId, counties: list[int], current: DeviceId | None = None) -> list[DeviceOut]:
    """A person's devices, the newest log-in first. `counties`: where to look for the last exchange."""
    rows = await executor.fetch(SQL_FETCH_DEVICES, person)
    seen: dict[DeviceId, datetime] = {}
    for county in counties:
        for device, at in await executor.fetch(SQL_FETCH_SEEN, county, [row["id"] for row in rows]):
            seen[device] = max(at, seen.get(device, at))
    return [
        DeviceOut(**{**row, "kind": DeviceKind(row["kind"])}, seen_at=seen.get(row["id"]), current=row["id"] == current) for row in rows
    ]


SQL_FETCH_OWNER: Final[LiteralString] = "SELECT person FROM device WHERE id = $1 AND kind <> 'office'"


async def fetch_owner(executor: Executor, device: DeviceId) -> PersonId | None:
    return await executor.fetchval(SQL_FETCH_OWNER, device)


SQL_REVOKE: Final[LiteralString] = """
    UPDATE device SET revoked_at = $2, revoked_why = $3 WHERE id = $1 AND revoked_at IS NULL AND wiped_at IS NULL
"""


async def revoke_device(conn: Connection, device: DeviceId, why: str, now: datetime) -> bool:
    """Its tokens end now. False: it was revoked or wiped already."""
    status = await conn.execute(SQL_REVOKE, device, now, why)
    if status.endswith(" 0"):
        return False
    await end_device_tokens(conn, device)
    return True


SQL_WIPE: Final[LiteralString] = """
    UPDATE device SET wiped_at = $2, revoked_at = NULL, revoked_why = NULL
    WHERE id = $1 AND kind = 'phone' AND wiped_at IS NULL
"""


async def wipe_device(conn: Connection, device: DeviceId, now: datetime) -> bool:
    """Report a phone lost. Its tokens stay good for handing in, so that it hears the order. False: nothing to do."""
    return not (await conn.execute(SQL_WIPE, device, now)).endswith(" 0")


SQL_SPEND_ALLOWANCE: Final[LiteralString] = """
    INSERT INTO wipe_allowance AS w (device, bytes) VALUES ($1, $2)
    ON CONFLICT (device) DO UPDATE SET bytes = w.bytes + EXCLUDED.bytes
    RETURNING bytes
"""


async def spend_allowance(executor: Executor, device: DeviceId, size_bytes: int, bytes_max: int) -> bool:
    """Count what a wiped device hands in (unpacked bytes); False when it has handed in more than it may."""
    spent = await executor.fetchval(SQL_SPEND_ALLOWANCE, device, size_bytes)
    return bool(spent <= bytes_max)
