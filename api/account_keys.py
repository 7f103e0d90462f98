"""What only this installation can make: proofs that a device was logged in before, sealed second factors, hashed recovery codes.

One secret of the keys folder (`accounts.key`), from which each use has a key of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.ids import DeviceId, PersonId

NONCE_BYTES: Final = 12


class AccountKeys:
    def __init__(self, secret: bytes) -> None:
        self._proofs, self._codes = (hmac.digest(secret, use, hashlib.sha256) for use in (b"device-proof", b"recovery-code"))
        self._aead = AESGCM(hmac.digest(secret, b"second-factor", hashlib.sha256))

    def proof(self, person: PersonId, device: DeviceId) -> str:
        """What a device gets with its tokens: at the next log-in it shows that it is no stranger."""
        return hmac.new(self._proofs, person.bytes + device.bytes, hashlib.sha256).hexdigest()

    def is_proof(self, given: str, person: PersonId, device: DeviceId) -> bool:
        return hmac.compare_digest(given.encode(), self.proof(person, device).encode())

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
