"""A photo's bytes on the phone: kept from the shutter to the verified receipt (promise 10).

The file is on disk before the record that announces it is written, and it is deleted after the store has said so; a
kill between two steps leaves a file too many, never one too few.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final, LiteralString

import msgspec

from contracts.ids import County
from contracts.receipt import PhotoReceipt
from phone.receipts import BadReceiptError, fetch_keys, verify
from phone.store import Store

ANNOUNCED: Final = "announced"
SHUTTER: Final = "shutter"  # the lock from the first byte of a file to its row
LOST: Final = "lost"  # its file is not here any more, or damaged: shown to the person, and looked for again
FILE_MISSING, FILE_DAMAGED = "file_missing", "file_damaged"


class LostPhotoError(Exception):
    """A cleaner app, a full or a dying card took it. The text is the reason."""


class HeldPhoto(msgspec.Struct, frozen=True, kw_only=True):
    """One photo the phone knows; `held`: its bytes are here."""

    county: County
    sha256: str
    bytes: int
    media_type: str
    state: str
    reason: str | None
    held: bool


def save_bytes(store: Store, content: bytes) -> str:
    """Make the bytes durable and return their SHA-256 (hex). In memory they come with `insert_photo`."""
    sha256 = hashlib.sha256(content).hexdigest()
    if store.photo_folder is None:
        return sha256
    partial = store.photo_folder / f"{sha256}.part"
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:  # a full phone must not become fuller with each press of the shutter
        partial.unlink(missing_ok=True)
        raise
    store.crash_point("photo written")
    partial.rename(store.photo_folder / sha256)
    _sync_folder(store.photo_folder)
    store.crash_point("photo named")
    return sha256


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


SQL_INSERT_PHOTO: Final[LiteralString] = """
    INSERT INTO photo (county, sha256, n, bytes, media_type, content) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (county, sha256) DO UPDATE SET
        n = excluded.n, state = 'announced', reason = NULL, receipt = NULL, held = 1, content = excluded.content
"""


def insert_photo(db: sqlite3.Connection, store: Store, county: County, n: int, sha256: str, media_type: str, content: bytes) -> None:
    """In the transaction of the mutation `n` that announces it."""
    stored = content if store.photo_folder is None else None
    db.execute(SQL_INSERT_PHOTO, (county, sha256, n, len(content), media_type, stored))


SQL_FETCH_CONTENT: Final[LiteralString] = "SELECT content FROM photo WHERE county = ? AND sha256 = ? AND held = 1"


def fetch_bytes(store: Store, county: County, sha256: str) -> bytes:
    """Raises LookupError when they were let go, LostPhotoError when they should be here and are not."""
    row = store.db.execute(SQL_FETCH_CONTENT, (county, sha256)).fetchone()
    if row is None:
        raise LookupError(sha256)
    if store.photo_folder is None:
        return bytes(row[0])
    try:
        content = (store.photo_folder / sha256).read_bytes()
    except OSError:
        raise LostPhotoError(FILE_MISSING) from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise LostPhotoError(FILE_DAMAGED)
    return content


SQL_FETCH_PHOTOS: Final[LiteralString] = """
    SELECT county, sha256, bytes, media_type, state, reason, held FROM photo ORDER BY county, n
"""


def fetch_photos(db: sqlite3.Connection) -> list[HeldPhoto]:
    return [_photo(row) for row in db.execute(SQL_FETCH_PHOTOS)]


# A photo can go once the server knows its announcement: the mutation has an outcome, or was deleted as safe.
SQL_FETCH_TO_UPLOAD: Final[LiteralString] = """
    SELECT p.county, p.sha256, p.bytes, p.media_type, p.state, p.reason, p.held FROM photo p
    WHERE p.held = 1 AND p.receipt IS NULL AND NOT EXISTS (
        SELECT 1 FROM mutation m WHERE m.county = p.county AND m.n = p.n AND m.outcome IS NULL)
    ORDER BY p.county, p.n
"""


def fetch_to_upload(db: sqlite3.Connection) -> list[HeldPhoto]:
    """The photos without a receipt whose announcement has one, oldest first."""
    return [_photo(row) for row in db.execute(SQL_FETCH_TO_UPLOAD)]


def _photo(row: tuple[County, str, int, str, str, str | None, int]) -> HeldPhoto:
    county, sha256, size, media_type, state, reason, held = row
    return HeldPhoto(county=county, sha256=sha256, bytes=size, media_type=media_type, state=state, reason=reason, held=bool(held))


SQL_COUNT_UNRECEIPTED: Final[LiteralString] = "SELECT count(*) FROM photo WHERE held = 1 AND receipt IS NULL"


def count_unreceipted(db: sqlite3.Connection) -> int:
    return int(db.execute(SQL_COUNT_UNRECEIPTED).fetchone()[0])


SQL_NOTE_STATE: Final[LiteralString] = """
    UPDATE photo SET state = ?, reason = ?, receipt = coalesce(?, receipt) WHERE county = ? AND sha256 = ?
"""


def note_state(db: sqlite3.Connection, photo: HeldPhoto, state: str, reason: str | None, receipt: PhotoReceipt | None) -> None:
    """Store what the server said. Raises BadReceiptError or UnknownKeyError for a receipt that proves nothing."""
    if receipt is not None:
        verify(receipt, fetch_keys(db))
        if (receipt.county, receipt.sha256, receipt.bytes) != (photo.county, photo.sha256, photo.bytes):
            raise BadReceiptError("the receipt is for another photo")
    raw = None if receipt is None else msgspec.json.encode(receipt)
    db.execute(SQL_NOTE_STATE, (state, reason, raw, photo.county, photo.sha256))


SQL_MARK_WANTED: Final[LiteralString] = """
    UPDATE photo SET state = 'announced', receipt = NULL WHERE sha256 = ? AND held = 1 AND receipt IS NOT NULL
"""


def mark_wanted(db: sqlite3.Connection, wanted: Iterable[str]) -> None:
    """After a restore the server may want bytes again that it gave a receipt for: send what is still here."""
    db.executemany(SQL_MARK_WANTED, [(sha256,) for sha256 in wanted])


SQL_LET_GO: Final[LiteralString] = """
    UPDATE photo SET held = 0, content = NULL
    WHERE held = 1 AND receipt IS NOT NULL AND EXISTS (
        SELECT 1 FROM county c WHERE c.county = photo.county AND (c.n_safe IS NULL OR c.n_safe >= photo.n))
"""
SQL_FETCH_LET_GO: Final[LiteralString] = """
    SELECT sha256 FROM photo GROUP BY sha256 HAVING max(held) = 0
"""


def delete_received(store: Store) -> None:
    """Delete the bytes that have a verified receipt and, where there is a backup, are inside it."""
    with store.transaction("photos let go") as db:
        db.execute(SQL_LET_GO)
    delete_let_go(store)


def delete_let_go(store: Store) -> None:
    """The files of photos that the store has let go; also after a kill between the two steps."""
    if store.photo_folder is None:
        return
    names = {path.name for path in store.photo_folder.iterdir()}
    if names:
        for (sha256,) in store.db.execute(SQL_FETCH_LET_GO).fetchall():
            if sha256 in names:
                (store.photo_folder / sha256).unlink(missing_ok=True)


SQL_FETCH_HELD: Final[LiteralString] = "SELECT sha256 FROM photo WHERE held = 1"


def delete_unnamed(store: Store) -> None:
    """At a start: what a kill left between the file and its row. Not while another process takes a photo."""
    with store.lock(SHUTTER, wait=False) as is_free:
        if is_free:
            sweep(store)


def sweep(store: Store) -> None:
    """Delete the files that no photo names. The caller has the lock SHUTTER."""
    if store.photo_folder is None:
        return
    named = {sha256 for (sha256,) in store.db.execute(SQL_FETCH_HELD)}
    for path in store.photo_folder.iterdir():
        if path.name not in named:
            path.unlink(missing_ok=True)


SQL_FORGET_HELD: Final[LiteralString] = "UPDATE photo SET held = 0, content = NULL"


def delete_all(store: Store) -> None:
    """A wipe order. The rows go first, so that a kill in between leaves nothing that anybody waits for."""
    with store.transaction("photos forgotten") as db:
        db.execute(SQL_FORGET_HELD)
    if store.photo_folder is not None:
        for path in store.photo_folder.iterdir():
            path.unlink()
