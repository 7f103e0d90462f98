"""Who may look at a photo: people who may see a record that shows it, be it where it was taken or beside a problem or whistle.

A record shows the bytes when the person who announced it has sent them: to name a SHA-256 opens nothing (decision 0033).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, LiteralString

import msgspec

from contracts.ids import County, RecordId, StreamName
from storage.pool import Executor

RENDERING_MEDIA_TYPE: Final = "image/jpeg"
UNKNOWN_MEDIA_TYPE: Final = "application/octet-stream"  # until the decoder has seen what it is, regardless of what was announced


class Rendering(str, Enum):
    """What can be asked for."""

    ORIGINAL = "original"
    STAMPED = "stamped"
    THUMB_320 = "thumb_320"
    THUMB_1280 = "thumb_1280"


class View(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: of the rendering below the hash's key; None: the original, of this media type."""

    name: str | None
    media_type: str


def stamped_name(photo: RecordId) -> str:
    """A stamp belongs to one record: another record that shows the same bytes has another place and time."""
    return f"stamped-{photo}.jpg"


SQL_FETCH_VIEW: Final[LiteralString] = """
    SELECT p.format, p.sha256 IS NOT NULL AS looked_at, a.photo, a.noted_at IS NOT NULL AND p.sha256 IS NOT NULL AS stamped
    FROM blob b
    JOIN blob_announcement a ON a.county = b.county AND a.sha256 = b.sha256
    LEFT JOIN picture p ON p.county = b.county AND p.sha256 = b.sha256
    WHERE b.county = $1 AND b.sha256 = $2 AND b.received_at IS NOT NULL AND EXISTS (
        SELECT FROM blob_sending s WHERE s.county = a.county AND s.sha256 = a.sha256 AND s.person = a.person AND s.sent_at IS NOT NULL)
    AND EXISTS (
        SELECT FROM record r WHERE r.county = a.county AND r.id = a.photo AND r.kind = 'photo' AND NOT r.deleted AND r.stream = ANY ($3::text[])
        UNION ALL
        SELECT FROM record m WHERE m.county = a.county AND (m.body ->> 'mirror_of') = a.photo::text AND m.kind = 'photo' AND NOT m.deleted
        AND m.stream = ANY ($3::text[]))
    ORDER BY stamped DESC, a.announced_at LIMIT 1
"""


async def fetch_view(conn: Executor, county: County, sha256: str, rendering: Rendering, streams: Sequence[StreamName]) -> View | None:
    """What to show somebody who has these streams; None when there is nothing, or nothing yet, or nothing for him."""
    row = await conn.fetchrow(SQL_FETCH_VIEW, county, sha256, list(streams))
    if row is None:
        return None
    match rendering:
        case Rendering.ORIGINAL:
            return View(name=None, media_type=row["format"] or UNKNOWN_MEDIA_TYPE)
        case Rendering.STAMPED:
            return View(name=stamped_name(row["photo"]), media_type=RENDERING_MEDIA_TYPE) if row["stamped"] else None
        case Rendering.THUMB_320 | Rendering.THUMB_1280:
            return View(name=f"{rendering.value}.jpg", media_type=RENDERING_MEDIA_TYPE) if row["looked_at"] else None
