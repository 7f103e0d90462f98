"""The phone's copy of the server's records, changed by frames only (design.md 3.2).

The order of two copies of one record is (incarnation of the stream that brought it, version): after a rewind an older
version may be the newer truth. A copy leaves in one of two ways: deleted, or detached while own unsent work needs it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Final, LiteralString

import msgspec

from contracts.digest import MODULUS, bucket_of, record_crc
from contracts.exchange import BUCKETS, Buckets, Marker, Page, Repair, Scope, StreamHead, WireRecord
from contracts.ids import County, RecordId, StreamName
from phone.outbox import release_by_version, release_caught_up

REPAIRS_MAX: Final = 3  # then the stream is fetched anew


class ContinuityError(Exception):
    """A page does not follow from what is held: applying it would leave a gap (promise 5)."""


class Stream(msgspec.Struct, frozen=True):
    """One row of `stream`."""

    name: StreamName
    county: County
    state: str
    incarnation: int
    seq: int
    generation: int
    replace_from: int | None
    verdict: str
    buckets: list[int]
    repairs: int


SQL_FETCH_STREAMS: Final[LiteralString] = """
    SELECT name, county, state, incarnation, seq, generation, replace_from, verdict, buckets, repairs
    FROM stream ORDER BY name
"""


def fetch_streams(db: sqlite3.Connection) -> list[Stream]:
    return [_stream(row) for row in db.execute(SQL_FETCH_STREAMS)]


SQL_FETCH_STREAM: Final[LiteralString] = """
    SELECT name, county, state, incarnation, seq, generation, replace_from, verdict, buckets, repairs
    FROM stream WHERE name = ?
"""


def fetch_stream(db: sqlite3.Connection, name: StreamName) -> Stream | None:
    row = db.execute(SQL_FETCH_STREAM, (name,)).fetchone()
    return None if row is None else _stream(row)


def _stream(row: tuple[Any, ...]) -> Stream:
    return Stream(*row[:8], buckets=msgspec.json.decode(row[8], type=list[int]), repairs=row[9])


SQL_HAVE_STREAM: Final[LiteralString] = """
    INSERT INTO stream (name, county, state) VALUES (?, ?, 'have') ON CONFLICT (name) DO UPDATE SET state = 'have'
"""
SQL_LEAVE_STREAM: Final[LiteralString] = "UPDATE stream SET state = 'leaving' WHERE name = ?"


def apply_scope(db: sqlite3.Connection, scope: Scope, exchange: int) -> None:
    """Have what is named, raise the drop barrier of what is not ours any more, and leave what can be left."""
    db.executemany(SQL_HAVE_STREAM, [(name, head.county) for name, head in scope.streams.items()])
    db.executemany(SQL_LEAVE_STREAM, [(name,) for name in scope.drop])
    leave_streams(db)
    held = {stream.name: stream for stream in fetch_streams(db)}
    for stream in held.values():
        if stream.state == "have" and stream.name not in scope.streams:
            empty_stream(db, stream)
    for name, head in scope.streams.items():
        note_head(db, held[name], head, exchange)
    release_all_caught_up(db, exchange)


SQL_FETCH_COUNTIES: Final[LiteralString] = "SELECT county FROM county"


def release_all_caught_up(db: sqlite3.Connection, exchange: int) -> None:
    for (county,) in db.execute(SQL_FETCH_COUNTIES).fetchall():
        release_caught_up(db, county, exchange)
    delete_detached(db)


SQL_FETCH_LEAVABLE: Final[LiteralString] = """
    SELECT name FROM stream s WHERE state = 'leaving' AND NOT EXISTS (
        SELECT 1 FROM mutation m JOIN confirmed c ON c.county = m.county AND c.record = m.record
        WHERE m.outcome IS NULL AND m.county = s.county AND c.stream = s.name)
"""
SQL_DELETE_STREAM_COPIES: Final[LiteralString] = "DELETE FROM confirmed WHERE stream = ?"
SQL_DELETE_STREAM: Final[LiteralString] = "DELETE FROM stream WHERE name = ?"


def leave_streams(db: sqlite3.Connection) -> None:
    """Promise 6: the records of a stream go once no own work on them is without a receipt."""
    leavable = db.execute(SQL_FETCH_LEAVABLE).fetchall()
    db.executemany(SQL_DELETE_STREAM_COPIES, leavable)
    db.executemany(SQL_DELETE_STREAM, leavable)


def empty_stream(db: sqlite3.Connection, stream: Stream) -> None:
    """Ours, and yet without a head: the server was restored to before its first record."""
    take_copies(db, db.execute(SQL_FETCH_COPIES, (stream.name,)).fetchall(), stream.name)
    db.execute(SQL_DELETE_STREAM, (stream.name,))


SQL_ADD_STREAM: Final[LiteralString] = """
    INSERT INTO stream (name, county, state) VALUES (?, ?, 'have') ON CONFLICT DO NOTHING
"""
SQL_MOVE_CURSOR: Final[LiteralString] = """
    UPDATE stream SET incarnation = ?, seq = ?, generation = ?, replace_from = ? WHERE name = ?
"""


def apply_page(db: sqlite3.Connection, page: Page, exchange: int) -> None:
    """Raises ContinuityError. A page at or behind the cursor was applied before and changes nothing."""
    db.execute(SQL_ADD_STREAM, (page.stream, page.head.county))
    stream = fetch_stream(db, page.stream)
    assert stream is not None
    incarnation, seq = page.cursor
    same = stream.incarnation == incarnation
    begins = page.replace and (stream.replace_from is None or not same)
    if same and seq < stream.seq and not begins:
        return
    if not page.replace and not same and stream.incarnation != 0:
        raise ContinuityError(f"{page.stream}: a page of incarnation {incarnation} upon {stream.incarnation}")
    generation, replace_from = stream.generation, stream.replace_from
    if begins:
        generation, replace_from = generation + 1, page.head.seq
    put_records(db, page.records, page.stream, page.head.county, incarnation, generation)
    take_marked(db, page.markers, page.stream, page.head.county, incarnation)
    if replace_from is not None and page.last and seq >= replace_from:
        sweep(db, page.stream, generation)
        replace_from = None
    db.execute(SQL_MOVE_CURSOR, (incarnation, seq, generation, replace_from, page.stream))
    release_by_version(db)
    if page.last:
        moved = fetch_stream(db, page.stream)
        assert moved is not None
        note_head(db, moved, page.head, exchange)
        release_all_caught_up(db, exchange)


SQL_PUT_RECORD: Final[LiteralString] = """
    INSERT INTO confirmed (county, record, kind, stream, seq, seen, incarnation, version, parent, body, crc, generation)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (county, record) DO UPDATE SET
        kind = excluded.kind, stream = excluded.stream, seq = excluded.seq, seen = excluded.seen,
        incarnation = excluded.incarnation, version = excluded.version, parent = excluded.parent, body = excluded.body,
        crc = excluded.crc, generation = excluded.generation
    WHERE confirmed.stream IS NULL OR (excluded.seen, excluded.incarnation, excluded.version)
        >= (confirmed.seen, confirmed.incarnation, confirmed.version)
"""


def put_records(
    db: sqlite3.Connection,
    records: Iterable[WireRecord],
    stream: StreamName,
    county: County,
    seen: int,
    generation: int,
) -> None:
    """Keep each record unless a newer copy is here: it may have come by the stream it moved to."""
    db.executemany(
        SQL_PUT_RECORD,
        [
            (
                *(county, r.id.bytes, r.kind, stream, r.seq, seen, *r.v),
                *(r.parent.bytes if r.parent else None, bytes(r.body), record_crc(r.id, r.v), generation),
            )
            for r in records
        ],
    )


# A copy that own work still needs is detached, any other is deleted. "Needs": unsent, or not yet shown by pages.
SQL_DETACH_MARKED: Final[LiteralString] = """
    UPDATE confirmed SET stream = NULL
    WHERE county = ? AND record = ? AND stream = ? AND (seen, incarnation, version) <= (?, ?, ?) AND EXISTS (
        SELECT 1 FROM mutation m WHERE m.county = confirmed.county AND m.record = confirmed.record AND m.released = 0
            AND (m.outcome IS NULL OR m.settled IS NOT NULL))
"""
SQL_DELETE_MARKED: Final[LiteralString] = """
    DELETE FROM confirmed
    WHERE county = ? AND record = ? AND stream = ? AND (seen, incarnation, version) <= (?, ?, ?)
"""


def take_marked(db: sqlite3.Connection, markers: Iterable[Marker], stream: StreamName, county: County, seen: int) -> None:
    """Take out each copy that is of this stream and not newer than its marker."""
    rows = [(county, marker.id.bytes, stream, seen, *marker.v) for marker in markers]
    db.executemany(SQL_DETACH_MARKED, rows)
    db.executemany(SQL_DELETE_MARKED, rows)


SQL_FETCH_UNSWEPT: Final[LiteralString] = "SELECT county, record FROM confirmed WHERE stream = ? AND generation < ?"


def sweep(db: sqlite3.Connection, stream: StreamName, generation: int) -> None:
    """Take out what the replacement did not bring."""
    take_copies(db, db.execute(SQL_FETCH_UNSWEPT, (stream, generation)).fetchall(), stream)


def take_copies(db: sqlite3.Connection, copies: Iterable[tuple[County, bytes]], stream: StreamName) -> None:
    """Take out these copies of this stream, whatever their version."""
    rows = [(county, record, stream, *_ANY_VERSION) for county, record in copies]
    db.executemany(SQL_DETACH_MARKED, rows)
    db.executemany(SQL_DELETE_MARKED, rows)


_ANY_VERSION: Final = (2**62, 2**62, 2**62)

SQL_DELETE_DETACHED: Final[LiteralString] = """
    DELETE FROM confirmed WHERE stream IS NULL AND NOT EXISTS (
        SELECT 1 FROM mutation m WHERE m.county = confirmed.county AND m.record = confirmed.record AND m.released = 0
            AND (m.outcome IS NULL OR m.settled IS NOT NULL))
"""


def delete_detached(db: sqlite3.Connection) -> None:
    """Delete the detached copies that no own work needs any more."""
    db.execute(SQL_DELETE_DETACHED)


SQL_SUM_STREAM: Final[LiteralString] = "SELECT count(*), coalesce(sum(crc), 0) FROM confirmed WHERE stream = ?"


def sum_stream(db: sqlite3.Connection, stream: StreamName) -> tuple[int, int]:
    """(count, digest) of the copies held, computed from the copies themselves."""
    count, total = db.execute(SQL_SUM_STREAM, (stream,)).fetchone()
    return count, total % MODULUS


SQL_NOTE_VERDICT: Final[LiteralString] = """
    UPDATE stream SET reached = max(reached, ?), verdict = ?, repairs = ?, incarnation = ?, seq = ? WHERE name = ?
"""


def note_head(db: sqlite3.Connection, stream: Stream, head: StreamHead, exchange: int) -> None:
    """If the cursor stands at this head: the stream is read, and count and digest must agree (promise 4)."""
    never_written = stream.incarnation == 0 and head.seq == 0
    if not never_written and (stream.incarnation, stream.seq) != (head.incarnation, head.seq):
        return
    if stream.replace_from is not None:
        return
    if sum_stream(db, stream.name) == (head.count, head.digest):
        verdict, repairs, cursor = "agrees", 0, (head.incarnation, head.seq)
    elif stream.repairs < REPAIRS_MAX:
        verdict, repairs, cursor = "differs", stream.repairs, (head.incarnation, head.seq)
    else:
        verdict, repairs, cursor = "unknown", 0, (0, 0)  # no cursor: the stream is sent anew
    db.execute(SQL_NOTE_VERDICT, (exchange, verdict, repairs, *cursor, stream.name))


SQL_FETCH_SHARES: Final[LiteralString] = "SELECT record, crc FROM confirmed WHERE stream = ?"
SQL_WANT_BUCKETS: Final[LiteralString] = "UPDATE stream SET verdict = ?, buckets = ? WHERE name = ?"


def apply_buckets(db: sqlite3.Connection, frame: Buckets) -> None:
    """Compare bucket by bucket; the ones that differ are asked for in the next exchange."""
    sums = [0] * BUCKETS
    for record, crc in db.execute(SQL_FETCH_SHARES, (frame.stream,)):
        sums[record[-1]] += crc
    differing = [i for i, (own, theirs) in enumerate(zip(sums, frame.sums, strict=True)) if own % MODULUS != theirs]
    verdict = "repair" if differing else "unknown"
    db.execute(SQL_WANT_BUCKETS, (verdict, msgspec.json.encode(differing).decode(), frame.stream))


SQL_FETCH_COPIES: Final[LiteralString] = "SELECT county, record FROM confirmed WHERE stream = ?"
SQL_NOTE_REPAIR: Final[LiteralString] = """
    UPDATE stream SET verdict = 'unknown', buckets = '[]', repairs = repairs + 1 WHERE name = ?
"""


def apply_repair(db: sqlite3.Connection, frame: Repair, exchange: int) -> None:
    """Replace the copies in these buckets. The snapshot may be ahead of the cursor: later pages then bring the same again."""
    stream = fetch_stream(db, frame.stream)
    if stream is None:
        return
    buckets = set(frame.buckets)
    rows = db.execute(SQL_FETCH_COPIES, (frame.stream,)).fetchall()
    take_copies(db, [row for row in rows if row[1][-1] in buckets], frame.stream)
    wanted = [r for r in frame.records if bucket_of(r.id) in buckets]
    put_records(db, wanted, frame.stream, frame.head.county, frame.head.incarnation, stream.generation)
    db.execute(SQL_NOTE_REPAIR, (frame.stream,))
    release_by_version(db)
    repaired = fetch_stream(db, frame.stream)
    assert repaired is not None
    note_head(db, repaired, frame.head, exchange)
    delete_detached(db)


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """One confirmed record as held."""

    county: County
    id: RecordId
    kind: str
    stream: StreamName | None
    version: tuple[int, int]
    parent: RecordId | None
    body: dict[str, Any]


SQL_FETCH_COPY: Final[LiteralString] = """
    SELECT county, record, kind, stream, incarnation, version, parent, body FROM confirmed
    WHERE county = ? AND record = ?
"""


def fetch_copy(db: sqlite3.Connection, county: County, record: RecordId) -> Copy | None:
    row = db.execute(SQL_FETCH_COPY, (county, record.bytes)).fetchone()
    return None if row is None else _copy(row)


# Own pending work first: it says where the person put the record. Then the copy that came last.
SQL_LOCATE: Final[LiteralString] = """
    SELECT county FROM (
        SELECT 0 AS turn, -n AS turn_within, county FROM mutation WHERE record = ?1 AND released = 0
        UNION ALL
        SELECT stream IS NULL, -rowid, county FROM confirmed WHERE record = ?1)
    ORDER BY turn, turn_within LIMIT 1
"""


def locate(db: sqlite3.Connection, record: RecordId) -> County | None:
    """The county whose copy of the record to show; None: not here."""
    row = db.execute(SQL_LOCATE, (record.bytes,)).fetchone()
    return None if row is None else int(row[0])


SQL_FETCH_PLACES: Final[LiteralString] = """
    SELECT record, county FROM confirmed WHERE kind = ?1
    UNION
    SELECT record, county FROM mutation WHERE released = 0 AND op = 'create' AND kind = ?1
    ORDER BY record
"""


def fetch_places(db: sqlite3.Connection, kind: str) -> list[tuple[County, RecordId]]:
    """Where each visible record of a kind is kept, oldest first (ids are UUIDv7)."""
    return [(county, RecordId(bytes=record)) for record, county in db.execute(SQL_FETCH_PLACES, (kind,))]


def _copy(row: tuple[Any, ...]) -> Copy:
    county, record, kind, stream, incarnation, version, parent, body = row
    return Copy(
        county=county,
        id=RecordId(bytes=record),
        kind=kind,
        stream=stream,
        version=(incarnation, version),
        parent=RecordId(bytes=parent) if parent else None,
        body=msgspec.json.decode(body),
    )
