"""What is known of one device in one county, without a push."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, LiteralString

import msgspec

from contracts.exchange import CountyPart
from contracts.ids import County, DeviceId
from storage.pool import Executor
from sync.gaps import Gap, gap_before
from sync.rewind import is_rewound

WANTED_MAX: Final = 500  # of one answer; the rest is told next time
NOTE_EVERY: Final = timedelta(minutes=1)  # a pull alone refreshes the capture clock's lower bound this often


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    incarnation: int
    n_high: int
    n_safe: int | None
    holes: list[tuple[int, int]]
    seen_at: datetime | None


SQL_FETCH_CONTACT: Final[LiteralString] = """
    SELECT c.incarnation, coalesce(d.n_high, 0), d.n_safe, coalesce(d.holes, '[]'), d.seen_at
    FROM county c LEFT JOIN device_county d ON d.county = c.county AND d.device = $2
    WHERE c.county = $1
"""


async def fetch_contact(executor: Executor, county: County, device: DeviceId) -> Contact | None:
    """None: no such county."""
    row = await executor.fetchrow(SQL_FETCH_CONTACT, county, device)
    if row is None:
        return None
    holes = msgspec.json.decode(row[3], type=list[tuple[int, int]])
    return Contact(incarnation=row[0], n_high=row[1], n_safe=row[2], holes=holes, seen_at=row[4])


def needs_push(contact: Contact, part: CountyPart, proven: tuple[int, int] | None, now: datetime) -> bool:
    """Whether a part without mutations has something to record all the same: a rewind, a hole, or the passing of time."""
    if part.mutations or contact.seen_at is None or now - contact.seen_at > NOTE_EVERY:
        return True
    if proven is not None and is_rewound(proven, contact.incarnation, contact.n_high):
        return True
    return gap_before(part, contact.n_high) is not Gap.NONE


SQL_FETCH_WANTED_OF_DEVICE: Final[LiteralString] = """
    SELECT DISTINCT a.sha256 FROM blob_announcement a
    WHERE a.county = $1 AND a.device = $2 AND a.noted_at IS NULL AND a.refused IS NULL AND NOT EXISTS (
        SELECT FROM blob_sending s WHERE s.county = $1 AND s.sha256 = a.sha256 AND s.person = a.person AND s.sent_at IS NOT NULL)
    ORDER BY a.sha256 LIMIT $3
"""


async def fetch_wanted_of_device(executor: Executor, counties: list[County], device: DeviceId) -> list[str]:
    """SHA-256 of photos this device announced and whose bytes its person has not sent: whether others have changes nothing."""
    wanted: set[str] = set()
    for county in counties:
        wanted |= {row[0] for row in await executor.fetch(SQL_FETCH_WANTED_OF_DEVICE, county, device, WANTED_MAX)}
    return sorted(wanted)[:WANTED_MAX]
