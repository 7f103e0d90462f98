"""What only this installation can make: proofs that a device was logged in before, sealed second factors, hashed recovery codes.

One secret of the keys folder (`accounts.key`), from which each use has a key of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.ids import DeviceId, PersonId
from storage.push import to_ms

NONCE_BYTES: Final = 12
MILLISECONDS: Final = re.compile(r"[0-9]{1,14}", re.ASCII)


class AccountKeys:
    def __init__(self, secret: bytes) -> None:
        self._proofs, self._codes = (hmac.digest(secret, use, hashlib.sha256) for use in (b"device-proof", b"recovery-code"))
        self._aead = AESGCM(hmac.digest(secret, b"second-factor", hashlib.sha256))

    def proof(self, person: PersonId, device: DeviceId, enrolled_at: datetime) -> str:
        """`<milliseconds since 1970>.<HMAC>`: what a device gets with its tokens. At the next log-in it shows that it is no stranger, and when
        it was enrolled first: a restored backup may not know it.
        """
        since_ms = str(to_ms(enrolled_at))
        return f"{since_ms}.{self._mac(person, device, since_ms)}"

    def enrolled_at(self, given: str, person: PersonId, device: DeviceId) -> datetime | None:
        """When the device that brings this proof was enrolled first. None: it is no proof of this person's device."""
        since_ms, _, mac = given.partition(".")
        if not MILLISECONDS.fullmatch(since_ms) or not hmac.compare_digest(mac.encode(), self._mac(person, device, since_ms).encode()):
            return None
        return datetime.fromtimestamp(int(since_ms) / 1000, UTC)

    def _mac(self, person: PersonId, device: DeviceId, since_ms: str) -> str:
        return hmac.new(self._proofs, person.bytes + device.bytes + since_ms.encode(), hashlib.sha256).hexdigest()

    def hash_code(self, person: PersonId, code: str) -> bytes:
        """A recovery code as it is stored: short enough to be typed, so a hash without a key could be searched."""
        return hmac.digest(self._codes, person.bytes + code.encode(), hashlib.sha256)

    def seal(self, person: PersonId, secret: str) -> bytes:
        """A second factor's secret as it is stored; it opens for this person only."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, secret.encode(), person.bytes)

    def open(self, person: PersonId, sealed: bytes) -> str | None:
        """None: it was sealed with another key."""
        try:
            return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], person.bytes).decode()
        except InvalidTag:
            return None
