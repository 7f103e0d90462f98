"""The person's own work: numbered, kept as the bytes that travel, deleted only when the server has it for good.

An outcome is stored only together with a verified receipt that covers it, so `outcome IS NULL` means "may still be only
here". What the overlay needs is in `released`: a mutation is shown over the confirmed copy until pages show it.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final, LiteralString

import msgspec
from msgspec import Raw

from contracts.exchange import CountyPart, Outcomes
from contracts.ids import County, MutationId, RecordId
from contracts.kinds.outcome import HeldOutcome
from contracts.mutation import MUTATION_BYTES_MAX, Mutation
from contracts.outcomes import MutationOutcome, Outcome
from contracts.receipt import Receipt

KEPT_WITHOUT_BACKUP_MS: Final = 30 * 24 * 3600 * 1000
_NEVER: Final = 2**62

SQL_TAKE_NUMBER: Final[LiteralString] = """
    INSERT INTO county (county, n_made) VALUES (?, 1)
    ON CONFLICT (county) DO UPDATE SET n_made = n_made + 1 RETURNING n_made
"""


def take_number(db: sqlite3.Connection, county: County) -> int:
    """The next `n` of this county; gone for good once the transaction commits."""
    return int(db.execute(SQL_TAKE_NUMBER, (county,)).fetchone()[0])


SQL_INSERT_MUTATION: Final[LiteralString] = """
    INSERT INTO mutation (county, n, id, record, kind, op, raw, shows) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


def insert_mutation(db: sqlite3.Connection, county: County, mutation: Mutation, shows: dict[str, Any]) -> None:
    """Raises ValueError for more than the server keeps whole: its receipt for the rest would cost the end of it."""
    raw = msgspec.json.encode(mutation)
    if len(raw) > MUTATION_BYTES_MAX:
        raise ValueError(f"{len(raw)} bytes in one entry; at most {MUTATION_BYTES_MAX} are kept")
    values = (county, mutation.n, mutation.id.bytes, mutation.record.bytes, mutation.kind, mutation.op, raw)
    db.execute(SQL_INSERT_MUTATION, (*values, msgspec.json.encode(shows).decode()))


SQL_FETCH_COUNTIES: Final[LiteralString] = """
    SELECT c.county, c.n_made, c.receipt, (SELECT min(n) FROM mutation m WHERE m.county = c.county) FROM county c
"""


def fetch_parts(db: sqlite3.Connection, mutations_max: int, bytes_max: int) -> dict[County, CountyPart]:
    """Every county's share of the next request. The limits bound each county's batch; one mutation always fits."""
    parts = {}
    for county, n_made, receipt, oldest in db.execute(SQL_FETCH_COUNTIES).fetchall():
        first_n, batch = fetch_unsent(db, county, mutations_max, bytes_max)
        parts[county] = CountyPart(
            n_made=n_made,
            n_oldest_held=oldest or 0,
            first_n=first_n,
            mutations=batch,
            receipt=None if receipt is None else msgspec.json.decode(receipt, type=Receipt),
        )
    return parts


SQL_FETCH_UNSENT: Final[LiteralString] = """
    SELECT n, raw FROM mutation WHERE county = ? AND outcome IS NULL ORDER BY n LIMIT ?
"""


def fetch_unsent(db: sqlite3.Connection, county: County, mutations_max: int, bytes_max: int) -> tuple[int, list[Raw]]:
    """(first number, an unbroken run of raw mutations from there); (0, []) when all have an outcome."""
    first_n, batch, size = 0, list[Raw](), 0
    for n, raw in db.execute(SQL_FETCH_UNSENT, (county, mutations_max)):
        size += len(raw)
        if batch and (n != first_n + len(batch) or size > bytes_max):
            break
        first_n = first_n or n
        batch.append(Raw(raw))
    return first_n, batch


SQL_COUNT_UNSENT: Final[LiteralString] = "SELECT count(*) FROM mutation WHERE outcome IS NULL"


def count_unsent(db: sqlite3.Connection) -> int:
    return int(db.execute(SQL_COUNT_UNSENT).fetchone()[0])


SQL_FETCH_COUNTY: Final[LiteralString] = """
    SELECT n_made, receipt_incarnation, receipt_n, holes FROM county WHERE county = ?
"""


def apply_outcomes(db: sqlite3.Connection, frame: Outcomes, exchange: int) -> bool:
    """Store what became of own mutations; the caller has verified the receipt. True: this store is a stale copy.

    Promise 9: a server that knows less than an earlier receipt said was restored, and is offered the rest again; so is
    one that gave up numbers that are still here.
    """
    row = db.execute(SQL_FETCH_COUNTY, (frame.county,)).fetchone()
    n_made, receipt_incarnation, receipt_n, holes = row or (0, 0, 0, "[]")
    if frame.n_high < receipt_n:
        offer_again(db, frame.county, frame.n_high + 1, n_made)
    known_holes = msgspec.json.decode(holes, type=list[tuple[int, int]])
    for first, last in frame.holes:
        if (first, last) not in known_holes:  # once: the server never forgets that it had given them up
            offer_again(db, frame.county, first, last)
    for outcome in frame.outcomes:
        if outcome.n <= frame.receipt.n:
            apply_outcome(db, frame.county, outcome, frame.receipt.at_ms, exchange)
    newer = (frame.receipt.incarnation, frame.receipt.n) > (receipt_incarnation, receipt_n)
    store_high_water(db, frame, frame.receipt if newer else None)
    return frame.n_high > n_made


SQL_OFFER_AGAIN: Final[LiteralString] = """
    UPDATE mutation SET outcome = NULL, reason = NULL, detail = NULL, message = NULL, became_incarnation = NULL, became_version = NULL,
        receipted_ms = NULL, settled = NULL, released = 0
    WHERE county = ? AND n BETWEEN ? AND ?
"""


def offer_again(db: sqlite3.Connection, county: County, first: int, last: int) -> None:
    """Whatever is still held in this range is unsent once more, and overlaid again."""
    db.execute(SQL_OFFER_AGAIN, (county, first, last))


SQL_APPLY_OUTCOME: Final[LiteralString] = """
    UPDATE mutation SET outcome = ?, reason = ?, detail = ?, message = ?, became_incarnation = ?, became_version = ?,
        receipted_ms = coalesce(receipted_ms, ?), settled = ?, released = ?
    WHERE county = ? AND n = ? AND id = coalesce(?, id)
"""


def apply_outcome(db: sqlite3.Connection, county: County, outcome: MutationOutcome, receipted_ms: int, exchange: int) -> None:
    """`exchange`: from which on a stream that is read to its head shows the result."""
    became = outcome.version or (None, None)
    settled = None if outcome.outcome.is_held else exchange
    detail = None if outcome.detail is None else msgspec.json.encode(outcome.detail).decode()
    word, reason = outcome.outcome.value, outcome.reason.value
    gone = outcome.outcome is Outcome.REJECTED
    where = (county, outcome.n, outcome.id.bytes if outcome.id else None)
    db.execute(SQL_APPLY_OUTCOME, (word, reason, detail, outcome.message, *became, receipted_ms, settled, gone, *where))


SQL_APPLY_HELD_OUTCOME: Final[LiteralString] = """
    UPDATE mutation SET outcome = ?1, reason = ?2, detail = ?3, message = ?4, became_incarnation = NULL, became_version = NULL,
        receipted_ms = CASE WHEN settled IS NULL AND ?5 IS NOT NULL THEN ?6 ELSE receipted_ms END,
        settled = ?5, released = ?7
    WHERE county = ?8 AND n = ?9 AND outcome IS NOT NULL
"""


def apply_held_outcome(db: sqlite3.Connection, county: County, body: HeldOutcome, exchange: int, server_ms: int) -> None:
    """A page of the device's own stream tells how a waiting mutation stands, or ended; after a restore it may wait again.

    It was settled by a transaction of its own, which other pages of this same exchange may not show yet: so the overlay
    stays until the streams have been read in the next one. What version that made of the record is not told here, and the
    version in the first answer is older than the settlement. The 30 days in which a refusal can be read (`delete_safe`) begin with its end.
    """
    settled = exchange + 1 if body.final else None
    gone = body.final and body.outcome is Outcome.REJECTED
    detail = None if body.detail is None else msgspec.json.encode(body.detail).decode()
    said = (body.outcome.value, body.reason.value, detail, body.message or None)
    db.execute(SQL_APPLY_HELD_OUTCOME, (*said, settled, server_ms, gone, county, body.n))


SQL_STORE_HIGH_WATER: Final[LiteralString] = """
    INSERT INTO county (county, n_high, n_safe, incarnation, holes) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (county) DO UPDATE SET
        n_high = excluded.n_high, n_safe = excluded.n_safe, incarnation = excluded.incarnation, holes = excluded.holes
"""
SQL_STORE_RECEIPT: Final[LiteralString] = """
    UPDATE county SET receipt_incarnation = ?, receipt_n = ?, receipt = ? WHERE county = ?
"""


def store_high_water(db: sqlite3.Connection, frame: Outcomes, receipt: Receipt | None) -> None:
    holes = msgspec.json.encode(frame.holes).decode()
    db.execute(SQL_STORE_HIGH_WATER, (frame.county, frame.n_high, frame.n_safe, frame.incarnation, holes))
    if receipt is not None:
        raw = msgspec.json.encode(receipt)
        db.execute(SQL_STORE_RECEIPT, (receipt.incarnation, receipt.n, raw, frame.county))


SQL_RELEASE_BY_VERSION: Final[LiteralString] = """
    UPDATE mutation SET released = 1
    WHERE released = 0 AND settled IS NOT NULL AND became_version IS NOT NULL AND EXISTS (
        SELECT 1 FROM confirmed c WHERE c.county = mutation.county AND c.record = mutation.record
            AND c.stream IS NOT NULL AND (c.incarnation, c.version) >= (became_incarnation, became_version))
"""


def release_by_version(db: sqlite3.Connection) -> None:
    """The page that brings a record to the outcome's version (or later) ends the overlay."""
    db.execute(SQL_RELEASE_BY_VERSION)


SQL_RELEASE_CAUGHT_UP: Final[LiteralString] = """
    WITH read (until) AS (SELECT coalesce((SELECT min(reached) FROM stream WHERE county = ?1 AND state = 'have'), ?2))
    UPDATE mutation SET released = 1
    WHERE county = ?1 AND released = 0 AND settled <= (SELECT until FROM read)
        AND NOT EXISTS (SELECT 1 FROM confirmed c JOIN stream s ON s.name = c.stream
            WHERE c.county = mutation.county AND c.record = mutation.record AND s.state = 'leaving')
        AND (EXISTS (SELECT 1 FROM confirmed c
                WHERE c.county = mutation.county AND c.record = mutation.record AND c.stream IS NOT NULL)
            OR NOT EXISTS (SELECT 1 FROM mutation m
                WHERE m.county = mutation.county AND m.record = mutation.record AND m.released = 0
                    AND (m.outcome IS NULL OR m.settled > (SELECT until FROM read))))
"""


def release_caught_up(db: sqlite3.Connection, county: County, exchange: int) -> None:
    """All streams were read to their heads after the outcome: what they do not show is not in this person's scope.

    A stream behind the drop barrier is read no more: what is shown of it stays overlaid until it goes. So does all own work on a
    record that has left, as long as some of it is still to be answered: until then the old copy is shown, which has none of it.
    """
    db.execute(SQL_RELEASE_CAUGHT_UP, (county, exchange))


SQL_FIRST_TO_KEEP: Final[LiteralString] = """
    SELECT n FROM mutation
    WHERE county = ?1 AND NOT (released = 1 AND settled IS NOT NULL AND (
        CASE WHEN ?2 IS NULL THEN receipted_ms < ?3
             ELSE n <= ?2 AND (outcome IN ('applied', 'merged') OR receipted_ms < ?3) END))
    ORDER BY n LIMIT 1
"""
SQL_DELETE_SAFE: Final[LiteralString] = "DELETE FROM mutation WHERE county = ? AND n < ?"
SQL_FETCH_SAFE: Final[LiteralString] = "SELECT county, n_safe FROM county"


def delete_safe(db: sqlite3.Connection, server_ms: int) -> None:
    """Delete from the front what a verified backup has, or what had its receipt 30 server days ago without backups.

    Refusals and conflicts stay those 30 days in any case: the person should have had time to read them.
    """
    for county, n_safe in db.execute(SQL_FETCH_SAFE).fetchall():
        old = server_ms - KEPT_WITHOUT_BACKUP_MS
        row = db.execute(SQL_FIRST_TO_KEEP, (county, n_safe, old)).fetchone()
        db.execute(SQL_DELETE_SAFE, (county, _NEVER if row is None else row[0]))


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """One own mutation as the phone holds it."""

    county: County
    n: int
    mutation: Mutation
    shows: dict[str, Any]
    outcome: Outcome | None
    reason: str | None
    detail: dict[str, Any] | None
    message: str | None  # what people read of the outcome; None: it went as asked
    released: bool


SQL_FETCH_OVERLAID: Final[LiteralString] = """
    SELECT county, n, raw, shows, outcome, reason, detail, message, released FROM mutation
    WHERE county = ? AND record = ? AND released = 0 ORDER BY n
"""


def fetch_overlaid(db: sqlite3.Connection, county: County, record: RecordId) -> list[Pending]:
    """The mutations shown over a record's confirmed copy, in the order they were made."""
    return [_pending(row) for row in db.execute(SQL_FETCH_OVERLAID, (county, record.bytes))]


SQL_FETCH_WITH_OUTCOME: Final[LiteralString] = """
    SELECT county, n, raw, shows, outcome, reason, detail, message, released FROM mutation
    WHERE outcome IN (SELECT value FROM json_each(?)) ORDER BY county, n
"""


def fetch_with_outcome(db: sqlite3.Connection, *outcomes: Outcome) -> list[Pending]:
    words = msgspec.json.encode([o.value for o in outcomes]).decode()
    return [_pending(row) for row in db.execute(SQL_FETCH_WITH_OUTCOME, (words,))]


SQL_FETCH_MUTATION: Final[LiteralString] = """
    SELECT county, n, raw, shows, outcome, reason, detail, message, released FROM mutation WHERE id = ?
"""


def fetch_mutation(db: sqlite3.Connection, mutation: MutationId) -> Pending | None:
    """None: never made here, or deleted because the server has it for good."""
    row = db.execute(SQL_FETCH_MUTATION, (mutation.bytes,)).fetchone()
    return None if row is None else _pending(row)


def _pending(row: tuple[Any, ...]) -> Pending:
    county, n, raw, shows, outcome, reason, detail, message, released = row
    return Pending(
        county=county,
        n=n,
        mutation=msgspec.json.decode(raw, type=Mutation),
        shows=msgspec.json.decode(shows),
        outcome=None if outcome is None else Outcome(outcome),
        reason=reason,
        detail=None if detail is None else msgspec.json.decode(detail),
        message=message,
        released=bool(released),
    )
