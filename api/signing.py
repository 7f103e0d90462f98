"""The server's word: Ed25519 signatures on receipts (contracts/receipt.py), checkable by anyone with the public keys.

A key's id is the first 16 hex digits of the SHA-256 of its public key. Older keys stay public after a change, so a
phone can check a receipt that it got before it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from contracts.receipt import PhotoReceipt, Receipt

KEY_ID_HEX_DIGITS: Final = 16
RECENT_MAX: Final = 4096  # about 2 MB


class PublicKey(msgspec.Struct, frozen=True, kw_only=True):
    """One verification key: `public` is the raw 32 bytes in hex."""

    key: str
    public: str
    algorithm: str = "Ed25519"


class Signer:
    """Signs with one key; knows every key that ever signed."""

    def __init__(self, private: Ed25519PrivateKey, retired: Sequence[Ed25519PublicKey] = ()) -> None:
        self._private = private
        self._public = {key_id(public): public for public in (private.public_key(), *retired)}
        # A phone that hands in batch after batch shows the receipt of the one before: what this process signed it knows again
        # by looking, which is a twentieth of the price of checking.
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self.key: Final = key_id(private.public_key())

    @property
    def public_keys(self) -> list[PublicKey]:
        """All of them, the one in use first."""
        return [PublicKey(key=key, public=public.public_bytes_raw().hex()) for key, public in self._public.items()]

    def sign_receipt(self, receipt: Receipt) -> Receipt:
        """The receipt with `key` and `sig` filled in; whatever stood there before is replaced."""
        named = msgspec.structs.replace(receipt, key=self.key)
        message = named.signed_bytes()
        sig = self._private.sign(message).hex()
        self._recent[sig] = message
        if len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)
        return msgspec.structs.replace(named, sig=sig)

    def sign_photo(self, receipt: PhotoReceipt) -> PhotoReceipt:
        """As `sign_receipt`."""
        named = msgspec.structs.replace(receipt, key=self.key)
        return msgspec.structs.replace(named, sig=self._private.sign(named.signed_bytes()).hex())

    def sign(self, message: bytes) -> str:
        """Ed25519 (hex) with the key in use."""
        return self._private.sign(message).hex()

    def has_signed(self, receipt: Receipt | PhotoReceipt) -> bool:
        """Whether one of our keys really signed this. False for anything else, never an error."""
        return self._recent.get(receipt.sig) == receipt.signed_bytes() or self.is_ours(receipt.key, receipt.sig, receipt.signed_bytes())

    def is_ours(self, key: str, sig: str, message: bytes) -> bool:
        """Whether the key of this id is one of ours and really signed the message (hex). Never an error."""
        public = self._public.get(key)
        try:
            signature = bytes.fromhex(sig)
        except ValueError:
            return False
        return public is not None and is_signature(public, signature, message)


def is_signature(public: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def key_id(public: Ed25519PublicKey) -> str:
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:KEY_ID_HEX_DIGITS]
