"""What was seen in received bytes, and finding pictures that look like one."""

from __future__ import annotations

from typing import Final, LiteralString

import asyncpg
import msgspec

from contracts.ids import County, RecordId
from storage.looks import PDQ_QUALITY_MIN, Look
from storage.pool import Connection, Executor
from sync.evidence import NEAR_BITS_MAX, Exif, hash_words, probe_words

SQL_FETCH_LOOK: Final[LiteralString] = """
    SELECT format, width, height, exif, pdq, pdq_quality, damaged FROM picture WHERE county = $1 AND sha256 = $2
"""


async def fetch_look(conn: Executor, county: County, sha256: str) -> Look | None:
    """None: nobody has looked yet, or no picture could be made of it."""
    row = await conn.fetchrow(SQL_FETCH_LOOK, county, sha256)
    if row is None:
        return None
    return Look(
        format=row["format"],
        width=row["width"],
        height=row["height"],
        exif=msgspec.json.decode(row["exif"], type=Exif),
        pdq=row["pdq"].bytes.hex(),
        pdq_quality=row["pdq_quality"],
        is_damaged=row["damaged"],
    )


SQL_INSERT_PICTURE: Final[LiteralString] = """
    INSERT INTO picture (county, sha256, format, width, height, exif, pdq, pdq_quality, words, damaged)
    VALUES ($1, $2, $3, $4, $5, $6::json, $7, $8, $9::bigint[], $10)
    ON CONFLICT (county, sha256) DO NOTHING
"""


async def insert_picture(conn: Connection, county: County, sha256: str, look: Look) -> None:
    """Too plain a picture gets no words: everything plain looks like it."""
    words = hash_words(county, look.pdq) if look.pdq_quality >= PDQ_QUALITY_MIN else []
    await conn.execute(
        SQL_INSERT_PICTURE,
        county,
        sha256,
        look.format,
        look.width,
        look.height,
        msgspec.json.encode(look.exif).decode(),
        asyncpg.BitString.frombytes(bytes.fromhex(look.pdq)),
        look.pdq_quality,
        words,
        look.is_damaged,
    )


class NearPicture(msgspec.Struct, frozen=True, kw_only=True):
    """Another picture that looks the same but for `bits` of 256."""

    sha256: str
    bits: int


# One index look-up a probed word. In one condition (`words && $3`) the planner expects a match in every third row and reads
# the whole table; seen at 400 thousand pictures: 3 ms so, 3.5 s otherwise. What shares a word but differs is dropped by
# counting.
SQL_FETCH_NEAR: Final[LiteralString] = """
    SELECT sha256, min(bits) AS bits FROM (
        SELECT p.sha256, bit_count(p.pdq # $4)::integer AS bits
        FROM unnest($3::bigint[]) w CROSS JOIN LATERAL (
            SELECT sha256, pdq FROM picture WHERE county = $1 AND sha256 <> $2 AND words @> ARRAY[w]) p) near
    WHERE bits <= $5 GROUP BY sha256 ORDER BY min(bits), sha256 LIMIT $6
"""
NEAR_MAX: Final = 50


async def fetch_near(conn: Executor, county: County, sha256: str, look: Look) -> list[NearPicture]:
    """Pictures of the county that look the same, the nearest first."""
    if look.pdq_quality < PDQ_QUALITY_MIN:
        return []
    bits = asyncpg.BitString.frombytes(bytes.fromhex(look.pdq))
    probes = probe_words(county, look.pdq)
    rows = await conn.fetch(SQL_FETCH_NEAR, county, sha256, probes, bits, NEAR_BITS_MAX, NEAR_MAX)
    return [NearPicture(**dict(row)) for row in rows]


# "Before": announced earlier by somebody who has sent the bytes, for another record; or for the same record with another purpose (an "after" that is the
# "before" is what a false rectification looks like). A picture of an unannounced visit, or of something held that may be one, is
# compared with nothing outside it: a flag would tell of it.
SQL_FETCH_EARLIER: Final[LiteralString] = """
    SELECT DISTINCT o.sha256
    FROM blob_announcement a
    JOIN record r ON r.county = a.county AND r.id = a.photo
    JOIN blob_announcement o ON o.county = a.county AND o.sha256 = ANY ($3::text[]) AND o.photo <> a.photo
         AND (o.announced_at, o.photo) < (a.announced_at, a.photo)
    JOIN blob_sending s ON s.county = o.county AND s.sha256 = o.sha256 AND s.person = o.person AND s.sent_at IS NOT NULL
    JOIN record q ON q.county = o.county AND q.id = o.photo AND (q.stream NOT LIKE '%.visit' OR q.stream = r.stream)
    WHERE a.county = $1 AND a.photo = $2
      AND (q.parent IS DISTINCT FROM r.parent OR q.body ->> 'purpose' IS DISTINCT FROM r.body ->> 'purpose')
"""


async def fetch_earlier(conn: Executor, county: County, photo: RecordId, sha256s: list[str]) -> set[str]:
    """Which of these pictures were announced before this photo record, to prove something else."""
    return {row["sha256"] for row in await conn.fetch(SQL_FETCH_EARLIER, county, photo, sha256s)}
