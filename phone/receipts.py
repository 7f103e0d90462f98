"""Checking the server's word against the keys pinned at enrolment. Nothing own is deleted on an unverified word."""

from __future__ import annotations

import sqlite3
from functools import lru_cache

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from contracts.exchange import Outcomes
from contracts.ids import DeviceId
from contracts.receipt import PhotoReceipt, Receipt, outcomes_digest
from phone.store import fetch_meta, set_meta


class UnknownKeyError(Exception):
    """The receipt names a key this phone has not pinned: ask the server for its keys, then try again."""


class BadReceiptError(Exception):
    """The receipt does not prove what came with it. Nothing may be believed of this answer."""


def fetch_keys(db: sqlite3.Connection) -> dict[str, str]:
    """Key id -> raw public key in hex."""
    return msgspec.json.decode(fetch_meta(db, "keys", "{}"), type=dict[str, str])


def pin_keys(db: sqlite3.Connection, keys: dict[str, str]) -> None:
    """New keys are added; a pinned key is never replaced."""
    set_meta(db, "keys", msgspec.json.encode({**keys, **fetch_keys(db)}).decode())


def verify(receipt: Receipt | PhotoReceipt, keys: dict[str, str]) -> None:
    """Raises UnknownKeyError or BadReceiptError."""
    public = keys.get(receipt.key)
    if public is None:
        raise UnknownKeyError(receipt.key)
    try:
        _public_key(public).verify(bytes.fromhex(receipt.sig), receipt.signed_bytes())
    except (InvalidSignature, ValueError) as error:
        raise BadReceiptError("the signature does not fit") from error


def verify_outcomes(frame: Outcomes, device: DeviceId, keys: dict[str, str]) -> None:
    """The receipt is signed, for this device and county, and covers exactly these outcomes."""
    verify(frame.receipt, keys)
    if (frame.receipt.device, frame.receipt.county) != (device, frame.county):
        raise BadReceiptError("the receipt is for somebody else")
    if frame.receipt.digest != outcomes_digest(frame.outcomes):
        raise BadReceiptError("the receipt covers other outcomes")


@lru_cache(maxsize=64)
def _public_key(public: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
