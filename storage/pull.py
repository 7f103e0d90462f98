"""Reading what changed: heads of a scope, pages of streams, digest buckets (design.md 3.2).

A page's head and rows are of one snapshot, because they are one statement. PostgreSQL writes the page's JSON itself:
bodies pass from the table to the phone without being parsed on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, LiteralString

import msgspec

from contracts.exchange import StreamHead
from contracts.ids import County, StreamName
from storage.pool import Executor

PAGE_BYTES_MAX: Final = 512 * 1024  # a page is one line, and a line that broke off is sent again from its first byte

SQL_FETCH_HEADS: Final[LiteralString] = """
    SELECT stream, incarnation, seq, count, digest, floor FROM stream_head WHERE county = $1 AND stream = ANY ($2::text[])
"""


async def fetch_heads(executor: Executor, county: County, streams: Collection[StreamName]) -> dict[StreamName, StreamHead]:
    """Heads of the streams that exist."""
    rows = await executor.fetch(SQL_FETCH_HEADS, county, list(streams))
    return {r[0]: StreamHead(county=county, incarnation=r[1], seq=r[2], count=r[3], digest=r[4], floor=r[5]) for r in rows}


class PageRows(msgspec.Struct, frozen=True):
    """One page of one stream: its records and markers as UTF-8 JSON without brackets, and how far it reaches.

    `seq` is the cursor after it; `size` counts rows; `last`: nothing follows; `head` is of the same snapshot.
    """

    stream: StreamName
    head: StreamHead
    records: bytes
    markers: bytes
    seq: int
    size: int
    last: bool


# As bytes, because text would be decoded and encoded again on its way through Python.
# Rows of the two indexes are merged by seq; each branch stops at the limit, so history never matters.
SQL_FETCH_PAGES: Final[LiteralString] = """
    SELECT c.stream, h.incarnation, h.seq, h.count, h.digest, h.floor,
           coalesce(convert_to(p.records, 'UTF8'), ''), coalesce(convert_to(p.markers, 'UTF8'), ''),
           coalesce(p.seq, c.seq), coalesce(p.size, 0), coalesce(p.size = p.found AND p.found < $4, true)
    FROM unnest($2::text[], $3::bigint[]) c (stream, seq)
    CROSS JOIN LATERAL (SELECT * FROM stream_head h WHERE h.county = $1 AND h.stream = c.stream) h
    CROSS JOIN LATERAL (
        SELECT string_agg(x.json, ',' ORDER BY x.seq) FILTER (WHERE NOT x.is_marker) AS records,
               string_agg(x.json, ',' ORDER BY x.seq) FILTER (WHERE x.is_marker) AS markers,
               max(x.seq) AS seq, count(*) AS size, max(x.found) AS found
        FROM (SELECT y.seq, y.is_marker, y.json, count(*) OVER () AS found,
                     sum(octet_length(y.json)) OVER (ORDER BY y.seq ROWS UNBOUNDED PRECEDING) - octet_length(y.json) AS before
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
            ORDER BY 1 LIMIT $4) y) x
        WHERE x.before < $5) p
"""


async def fetch_pages(
    executor: Executor, county: County, cursor: Mapping[StreamName, int], limit: int, bytes_max: int = PAGE_BYTES_MAX
) -> list[PageRows]:
    """At most `limit` changes of each stream after its seq, in the order given; none begins beyond `bytes_max` of its page."""
    rows = await executor.fetch(SQL_FETCH_PAGES, county, list(cursor), list(cursor.values()), limit, bytes_max)
    pages = {
        r[0]: PageRows(
            r[0],
            StreamHead(county=county, incarnation=r[1], seq=r[2], count=r[3], digest=r[4], floor=r[5]),
            r[6],
            r[7],
            r[2] if r[10] else r[8],  # what was not cut reaches the head, regardless of the seqs that rewritten records left behind
            r[9],
            r[10],
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


# Buckets are counted before they are read, as they lie in the table: those that begin within the bound are sent whole.
SQL_FETCH_REPAIR: Final[LiteralString] = """
    SELECT h.incarnation, h.seq, h.count, h.digest, h.floor, coalesce(b.buckets, '{}'), coalesce(b.records, '')
    FROM stream_head h
    LEFT JOIN LATERAL (
        WITH sized AS (
            SELECT w.bucket, coalesce(sum(pg_column_size(r.body) + 150), 0) AS size
            FROM unnest($3::int[]) w (bucket)
            LEFT JOIN record r ON r.county = $1 AND r.stream = $2 AND NOT r.deleted AND get_byte(uuid_send(r.id), 15) = w.bucket
            GROUP BY w.bucket),
        chosen AS (
            SELECT o.bucket FROM (
                SELECT s.bucket, sum(s.size) OVER (ORDER BY s.bucket ROWS UNBOUNDED PRECEDING) - s.size AS before FROM sized s) o
            WHERE o.before < $4)
        SELECT (SELECT array_agg(c.bucket ORDER BY c.bucket) FROM chosen c) AS buckets, string_agg(
            '{"id":"' || r.id || '","kind":"' || r.kind || '","seq":' || r.seq || ',"v":[' || r.incarnation || ','
            || r.version || ']' || CASE WHEN r.parent IS NULL THEN '' ELSE ',"parent":"' || r.parent || '"' END
            || ',"body":' || r.body || '}', ',') AS records
        FROM record r
        WHERE r.county = $1 AND r.stream = $2 AND NOT r.deleted AND get_byte(uuid_send(r.id), 15) IN (SELECT c.bucket FROM chosen c)) b ON true
    WHERE h.county = $1 AND h.stream = $2
"""


async def fetch_repair(
    executor: Executor, county: County, stream: StreamName, buckets: Collection[int], bytes_max: int = PAGE_BYTES_MAX
) -> tuple[StreamHead, list[int], str] | None:
    """All live records of some of the buckets as JSON text, with the head of the same snapshot: the first that fit, and one at least."""
    r = await executor.fetchrow(SQL_FETCH_REPAIR, county, stream, sorted(buckets), bytes_max)
    if r is None:
        return None
    return StreamHead(county=county, incarnation=r[0], seq=r[1], count=r[2], digest=r[3], floor=r[4]), r[5], r[6]
