"""Seals over the audit log: a chain of digests, each signed by the installation (decision 0032). Pure: values in, values out.

A seal names its entries and covers them and the seal before. Entries are plain inserts that nobody waits for; the worker seals what has come
since. What was changed, deleted or put in between afterwards no longer fits; what was cut off or made anew with the right key does not fit the
head that went with a backup.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from contracts.ids import County, DeviceId, PersonId, UnitCode

DOMAIN: Final = b"xunling.audit-seal.v1\n"  # no other signature of the installation is over bytes that begin so
NO_SEAL: Final = bytes(32)  # before the first
ENTRIES_MAX: Final = 1000
LOOK_BACK: Final = timedelta(days=1)  # what commits late, or by a clock that is behind, is sealed all the same
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

IsSigned = Callable[[str, str, bytes], bool]
"""(key id, signature in hex, message) -> whether a key of the installation signed it."""


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it is stored. `detail` is its JSON as text."""

    county: County
    id: UUID
    at: datetime
    unit: UnitCode | None
    action: str
    person: PersonId | None
    device: DeviceId | None
    subject: str | None
    detail: str
    source: str
    request: str

    def digest(self) -> bytes:
        """SHA-256 of all members as a JSON list; the time in microseconds since 1970."""
        values = (
            self.county, str(self.id), _microseconds(self.at), self.unit, self.action, _text(self.person), _text(self.device),
            self.subject, self.detail, self.source, self.request,
        )  # fmt: skip
        return hashlib.sha256(msgspec.json.encode(values)).digest()


class AuditSeal(msgspec.Struct, frozen=True, kw_only=True):
    """The head after `number` seals: it stands for all of them, and goes with each backup.

    entries   how many this one covers      digest   of them and of the seal before, in hex
    key       id of the signing key         sig      Ed25519 over `signed_bytes`, in hex
    """

    number: int
    sealed_at: datetime
    entries: int
    digest: str
    key: str
    sig: str = ""

    def signed_bytes(self) -> bytes:
        return DOMAIN + msgspec.json.encode((self.number, _microseconds(self.sealed_at), self.entries, self.digest, self.key))


def chain_digest(number: int, before: bytes, entries: Iterable[bytes]) -> str:
    """Of a seal, in hex. `before`: the digest of the one before; `entries`: their digests, in the order of the seal."""
    return hashlib.sha256(DOMAIN + number.to_bytes(8) + before + b"".join(entries)).hexdigest()


def seal_faults(seal: AuditSeal, before: AuditSeal | None, found: Sequence[LogEntry | None], is_signed: IsSigned | None) -> list[str]:
    """What does not fit about one seal; `found`: its entries as the log has them now, None where one is missing.

    is_signed   None: the keys of the installation are not at hand
    """
    faults = []
    expected = before.number + 1 if before else 1
    if seal.number != expected:
        faults.append(f"seals {expected} to {seal.number - 1} are missing")
    if missing := sum(entry is None for entry in found):
        faults.append(f"{missing} of its {len(found)} entries are missing")
    elif seal.number == expected:
        digest = chain_digest(seal.number, bytes.fromhex(before.digest) if before else NO_SEAL, [e.digest() for e in found if e])
        if digest != seal.digest:
            faults.append("an entry was changed, or the seal before it")
    if len(found) != seal.entries:
        faults.append(f"it names {len(found)} entries, but was made over {seal.entries}")
    if is_signed is not None and not is_signed(seal.key, seal.sig, seal.signed_bytes()):
        faults.append("its signature is not one of this installation's keys")
    return faults


def head_faults(heads: Mapping[str, AuditSeal], seals: Mapping[int, AuditSeal], is_signed: IsSigned | None) -> list[str]:
    """What does not fit the heads that went with backups (name -> head)."""
    faults = []
    for name, head in heads.items():
        there = seals.get(head.number)
        if is_signed is not None and not is_signed(head.key, head.sig, head.signed_bytes()):
            faults.append(f"the head in {name} is not signed by one of this installation's keys")
        elif there is None:
            faults.append(f"{name} has seal {head.number}, which the log lacks: its end was cut off, or an older backup was restored")
        elif (there.digest, there.sealed_at, there.entries) != (head.digest, head.sealed_at, head.entries):
            faults.append(f"{name} has another seal {head.number}: entries up to there were made anew")
    return faults


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
