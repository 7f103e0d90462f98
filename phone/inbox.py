"""Frames: stored as they come, then applied one by one, each in the transaction that takes it out of the inbox.

So a frame that arrived whole counts, however the connection or the phone ended, and none is applied twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final, LiteralString, assert_never

import msgspec

from contracts.exchange import Buckets, End, Frame, Hello, Outcomes, Page, Repair, Scope
from contracts.ids import DeviceId
from contracts.kinds.outcome import KIND as OUTCOME
from contracts.kinds.outcome import HeldOutcome
from phone import copies, outbox, photos
from phone.receipts import BadReceiptError, fetch_keys, verify_outcomes
from phone.store import Store, fetch_meta, set_meta

# What bytes from the road lead decoders and SQLite to: a text that is no UTF-8, a nesting without end, a number without end.
UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, sqlite3.IntegrityError, sqlite3.DataError)
FRAME: Final[msgspec.json.Decoder[Frame]] = msgspec.json.Decoder(Frame)
HELD_OUTCOME: Final = msgspec.json.Decoder(HeldOutcome)
_KNOWN: Final = {"hello", "outcomes", "scope", "page", "buckets", "repair", "end"}


class ProtocolError(Exception):
    """The answer cannot be believed or understood; what of it was not applied yet is thrown away."""


SQL_INSERT_FRAME: Final[LiteralString] = "INSERT INTO inbox (exchange, ordinal, raw) VALUES (?, ?, ?)"


def store_frames(store: Store, exchange: int, first_ordinal: int, lines: Iterable[bytes]) -> None:
    """Durable before any of them is acted on."""
    with store.transaction("frames stored") as db:
        set_meta(db, "exchange", exchange)
        db.executemany(SQL_INSERT_FRAME, [(exchange, first_ordinal + i, line) for i, line in enumerate(lines)])


SQL_FETCH_FRAME: Final[LiteralString] = "SELECT exchange, ordinal, raw FROM inbox ORDER BY exchange, ordinal LIMIT 1"


def drain(store: Store) -> int:
    """Apply everything stored; also the first thing a phone does after it was killed. Returns how many were applied.

    Raises ProtocolError, with the inbox emptied; or UnknownKeyError, with the frame still in it.
    """
    applied = 0
    while (row := store.db.execute(SQL_FETCH_FRAME).fetchone()) is not None:
        exchange, ordinal, raw = row
        try:
            apply(store, exchange, ordinal, decode(raw))
        except (ProtocolError, BadReceiptError, copies.ContinuityError, *UNREADABLE) as error:
            discard(store)
            raise ProtocolError(str(error)) from error
        applied += 1
    return applied


def decode(raw: bytes) -> Frame | None:
    """None: a frame of a newer protocol, to be passed over. Raises ProtocolError."""
    try:
        return FRAME.decode(raw)
    except UNREADABLE as error:
        if _is_newer(raw):
            return None
        raise ProtocolError(f"unreadable frame: {error}") from error


def _is_newer(raw: bytes) -> bool:
    """Whether it is a frame at all, of a kind that this phone does not know. A gateway's answer is not one."""
    try:
        frame = msgspec.json.decode(raw)
    except UNREADABLE:
        return False
    return isinstance(frame, dict) and isinstance(frame.get("frame"), str) and frame["frame"] not in _KNOWN


SQL_DELETE_FRAME: Final[LiteralString] = "DELETE FROM inbox WHERE exchange = ? AND ordinal = ?"


def apply(store: Store, exchange: int, ordinal: int, frame: Frame | None) -> None:
    """One frame, whole or not at all."""
    with store.transaction(f"frame {type(frame).__name__} applied") as db:
        match frame:
            case None:
                pass
            case Hello():
                _apply_hello(db, frame)
            case Outcomes():
                _apply_outcomes(db, frame, exchange)
            case Scope():
                copies.apply_scope(db, frame, exchange)
            case Page():
                copies.apply_page(db, frame, exchange)
                _apply_held_outcomes(db, frame, exchange)
            case Buckets():
                copies.apply_buckets(db, frame)
            case Repair():
                copies.apply_repair(db, frame, exchange)
                _apply_held_outcomes(db, frame, exchange)
            case End():
                _apply_end(db, frame, exchange)
            case _:
                assert_never(frame)
        db.execute(SQL_DELETE_FRAME, (exchange, ordinal))


SQL_DELETE_FRAMES: Final[LiteralString] = "DELETE FROM inbox"


def discard(store: Store) -> None:
    """Forget what is not applied; the next exchange brings it again."""
    with store.transaction("frames discarded") as db:
        db.execute(SQL_DELETE_FRAMES)


def _apply_hello(db: sqlite3.Connection, frame: Hello) -> None:
    set_meta(db, "server_ms", frame.server_ms)
    set_meta(db, "problem", frame.problem)
    set_meta(db, "message", frame.message)
    if frame.wipe:
        set_meta(db, "wipe", 1)


def _apply_outcomes(db: sqlite3.Connection, frame: Outcomes, exchange: int) -> None:
    verify_outcomes(frame, _device(db), fetch_keys(db))
    if outbox.apply_outcomes(db, frame, exchange):
        set_meta(db, "problem", "device_cloned")


def _apply_held_outcomes(db: sqlite3.Connection, frame: Page | Repair, exchange: int) -> None:
    server_ms = int(fetch_meta(db, "server_ms", 0))
    for record in frame.records:
        if record.kind == OUTCOME.name:
            body = HELD_OUTCOME.decode(record.body)
            if body.device == _device(db):
                outbox.apply_held_outcome(db, frame.head.county, body, exchange, server_ms)
    outbox.release_by_version(db)


def _apply_end(db: sqlite3.Connection, frame: End, exchange: int) -> None:
    set_meta(db, "ended", exchange)
    set_meta(db, "more", int(frame.more))
    photos.mark_wanted(db, frame.photos_wanted)
    outbox.delete_safe(db, int(fetch_meta(db, "server_ms", 0)))


def _device(db: sqlite3.Connection) -> DeviceId:
    return DeviceId(fetch_meta(db, "device"))
