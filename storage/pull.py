"""Reading what changed: heads of a scope, pages of streams, digest buckets (design.md 3.2).

A page's head and rows are of one snapshot, because they are one statement. PostgreSQL writes the page's JSON itself:
bodies pass from the table to the phone without being parsed on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, LiteralString

import msgspec

from contracts.exchange import StreamHead
from contracts.ids import County, StreamName
from storage.pool import Executor

SQL_FETCH_HEADS: Final[LiteralString] = """
    SELECT stream, incarnation, seq, count, digest, floor FROM stream_head WHERE county = $1 AND stream = ANY ($2::text[])
"""


async def fetch_heads(executor: Executor, county: County, streams: Collection[StreamName]) -> dict[StreamName, StreamHead]:
    """Heads of the streams that exist."""
    rows = await executor.fetch(SQL_FETCH_HEADS, county, list(streams))
    return {r[0]: StreamHead(county=county, incarnation=r[1], seq=r[2], count=r[3], digest=r[4], floor=r[5]) for r in rows}


class PageRows(msgspec.Struct, frozen=True):
    """One page of one stream: its records and markers as UTF-8 JSON without brackets, and how far it reaches.

    `seq` is the cursor after it; `size` counts rows; `head` is of the same snapshot.
    """

    stream: StreamName
    head: StreamHead
    records: bytes
    markers: bytes
    seq: int
    size: int


# As bytes, because text would be decoded and encoded again on its way through Python.
# Rows of the two indexes are merged by seq; each branch stops at the limit, so history never matters.
SQL_FETCH_PAGES: Final[LiteralString] = """
    SELECT c.stream, h.incarnation, h.seq, h.count, h.digest, h.floor,
           coalesce(convert_to(p.records, 'UTF8'), ''), coalesce(convert_to(p.markers, 'UTF8'), ''),
           coalesce(p.seq, c.seq), coalesce(p.size, 0)
    FROM unnest($2::text[], $3::bigint[]) c (stream, seq)
    CROSS JOIN LATERAL (SELECT * FROM stream_head h WHERE h.county = $1 AND h.stream = c.stream) h
    CROSS JOIN LATERAL (
        SELECT string_agg(x.json, ',' ORDER BY x.seq) FILTER (WHERE NOT x.is_marker) AS records,
               string_agg(x.json, ',' ORDER BY x.seq) FILTER (WHERE x.is_marker) AS markers,
               max(x.seq) AS seq, count(*) AS size
        FROM (
            (SELECT r.seq, false AS is_marker,
                    '{"id":"' || r.id || '","kind":"' || r.kind || '","seq":' || r.seq || ',"v":[' || r.incarnation || ','
                    || r.version || ']' || CASE WHEN r.parent IS NULL THEN '' ELSE ',"parent":"' || r.parent || '"' END
                    || ',"body":' || r.body || '}' AS json
             FROM record r WHERE r.county = $1 AND r.stream = c.stream AND r.seq > c.seq AND NOT r.deleted
             ORDER BY r.seq LIMIT $4)
            UNION ALL
            (SELECT m.seq, true,
                    '{"id":"' || m.record || '","seq":' || m.seq || ',"v":[' || m.incarnation || ',' || m.version || ']}'
             FROM marker m WHERE m.county = $1 AND m.stream = c.stream AND m.seq > c.seq
             ORDER BY m.seq LIMIT $4)
            ORDER BY 1 LIMIT $4) x) p
"""


async def fetch_pages(executor: Executor, county: County, cursor: Mapping[StreamName, int], limit: int) -> list[PageRows]:
    """At most `limit` changes of each stream after its seq, in the order given."""
    rows = await executor.fetch(SQL_FETCH_PAGES, county, list(cursor), list(cursor.values()), limit)
    pages = {
        r[0]: PageRows(
            r[0],
            StreamHead(county=county, incarnation=r[1], seq=r[2], count=r[3], digest=r[4], floor=r[5]),
            r[6],
            r[7],
            # a page that was not cut by the limit reaches the head, whatever seqs rewritten records left behind
            r[8] if r[9] >= limit else r[2],
            r[9],
        )
        for r in rows
    }
    return [pages[stream] for stream in cursor if stream in pages]


SQL_FETCH_BUCKETS: Final[LiteralString] = """
    SELECT h.incarnation, h.seq, h.count, h.digest, h.floor, b.bucket, b.sum
    FROM stream_head h
    LEFT JOIN LATERAL (
        SELECT get_byte(uuid_send(r.id), 15) AS bucket, sum(r.crc)::bigint AS sum
        FROM record r WHERE r.county = $1 AND r.stream = $2 AND NOT r.deleted GROUP BY 1) b ON true
    WHERE h.county = $1 AND h.stream = $2
"""


async def fetch_buckets(executor: Executor, county: County, stream: StreamName) -> tuple[StreamHead, dict[int, int]] | None:
    """The head and the digest sum of each non-empty bucket, of one snapshot. None: no such stream."""
    rows = await executor.fetch(SQL_FETCH_BUCKETS, county, stream)
    if not rows:
        return None
    r = rows[0]
    head = StreamHead(county=county, incarnation=r[0], seq=r[1], count=r[2], digest=r[3], floor=r[4])
    return head, {row[5]: row[6] for row in rows if row[5] is not None}


SQL_FETCH_REPAIR: Final[LiteralString] = """
    SELECT h.incarnation, h.seq, h.count, h.digest, h.floor, coalesce(b.records, '')
    FROM stream_head h
    LEFT JOIN LATERAL (
        SELECT string_agg(
            '{"id":"' || r.id || '","kind":"' || r.kind || '","seq":' || r.seq || ',"v":[' || r.incarnation || ','
            || r.version || ']' || CASE WHEN r.parent IS NULL THEN '' ELSE ',"parent":"' || r.parent || '"' END
            || ',"body":' || r.body || '}', ',') AS records
        FROM record r
        WHERE r.county = $1 AND r.stream = $2 AND NOT r.deleted AND get_byte(uuid_send(r.id), 15) = ANY ($3::int[])) b ON true
    WHERE h.county = $1 AND h.stream = $2
"""


async def fetch_repair(executor: Executor, county: County, stream: StreamName, buckets: Sequence[int]) -> tuple[StreamHead, str] | None:
    """All live records of some buckets as JSON text, with the head of the same snapshot."""
    r = await executor.fetchrow(SQL_FETCH_REPAIR, county, stream, list(buckets))
    if r is None:
        return None
    return StreamHead(county=county, incarnation=r[0], seq=r[1], count=r[2], digest=r[3], floor=r[4]), r[5]
