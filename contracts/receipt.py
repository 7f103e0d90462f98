"""Receipts: the server's signed word that it keeps what it names (design.md 3.1, promise 1 and 10)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.ids import County, DeviceId
from contracts.outcomes import MutationOutcome


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """All mutations of (device, county) up to and including `n` are committed, but for the holes told apart.

    `digest` covers the outcomes of the answer that carried this receipt; `sig` is Ed25519 (hex) over `signed_bytes`.
    """

    county: County
    device: DeviceId
    incarnation: int
    n: int
    digest: Annotated[str, Meta(max_length=64)]
    at_ms: int  # server time, Unix milliseconds
    key: Annotated[str, Meta(max_length=64)]  # which server key signed
    sig: Annotated[str, Meta(max_length=128)] = ""

    def signed_bytes(self) -> bytes:
        return (
            f"xunling-receipt-1\n{self.county}\n{self.device}\n{self.incarnation}\n{self.n}\n{self.digest}\n{self.at_ms}\n{self.key}\n"
        ).encode()


class PhotoReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes with this SHA-256 are stored and verified; from now on the phone may delete its copy."""

    county: County
    sha256: str
    bytes: int
    at_ms: int
    key: str
    sig: str = ""

    def signed_bytes(self) -> bytes:
        return f"xunling-photo-receipt-1\n{self.county}\n{self.sha256}\n{self.bytes}\n{self.at_ms}\n{self.key}\n".encode()


def outcomes_digest(outcomes: Iterable[MutationOutcome]) -> str:
    """SHA-256 (hex) over one line per outcome: n, mutation id, outcome, reason."""
    h = hashlib.sha256()
    for o in outcomes:
        h.update(f"{o.n} {o.id} {o.outcome.value} {o.reason.value}\n".encode())
    return h.hexdigest()
