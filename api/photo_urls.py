"""Where phones put the parts of a photo: straight to S3, or through this server where they cannot reach it.

Both are one PUT to an opaque URL that expires, for exactly one key and one length. A relayed URL carries all of that in its
path, signed (HMAC-SHA256), so the server keeps nothing in memory between the two requests; any replica may serve it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from contracts.ids import PersonId
from contracts.photos import RELAY_PATH, Part
from contracts.problems import Problem, ProblemCode
from storage.objects import Objects, Put, base64_of
from storage.photos import PlannedPart

SIGNATURE_BYTES: Final = 16


class RelayTicket(msgspec.Struct, frozen=True, array_like=True):
    """What a relayed URL allows until `expires` (Unix seconds), and to whose account it goes."""

    key: str
    bytes: int
    sha256: str | None
    expires: int
    person: PersonId


class PhotoUrls:
    """Signs PUTs. `relay_secret` None: phones reach S3 themselves. `public_url` "": relayed URLs are relative to ours."""

    def __init__(self, *, relay_secret: bytes | None, public_url: str = "", seconds: int = 3600) -> None:
        self._secret: Final = relay_secret
        self._public_url: Final = public_url.rstrip("/")
        self._seconds: Final = seconds

    @property
    def is_relayed(self) -> bool:
        return self._secret is not None

    async def address(self, parts: Sequence[PlannedPart], person: PersonId, objects: Objects, now: datetime) -> list[Part]:
        """The parts as the person's phone gets them; those that are there already without URL."""
        expires_at = now.astimezone(UTC) + timedelta(seconds=self._seconds)
        missing = [part.put for part in parts if not part.have]
        urls = iter(self._relayed(missing, person, expires_at) if self.is_relayed else await objects.presign_puts(missing))
        return [addressed(part, "" if part.have else next(urls), expires_at) for part in parts]

    def open_ticket(self, token: str, now: datetime) -> RelayTicket:
        """The ticket of a relayed URL. Problem: not_allowed when we did not sign it, upload_expired."""
        sealed, _, signature = token.partition(".")
        if self._secret is None or not hmac.compare_digest(signature.encode(), self._sign(self._secret, sealed)):
            raise Problem(ProblemCode.NOT_ALLOWED)
        ticket = msgspec.json.decode(decode64(sealed), type=RelayTicket)
        if ticket.expires <= now.timestamp():
            raise Problem(ProblemCode.UPLOAD_EXPIRED)
        return ticket

    def _relayed(self, puts: Sequence[Put], person: PersonId, expires_at: datetime) -> list[str]:
        assert self._secret is not None
        urls = []
        for put in puts:
            ticket = RelayTicket(put.key, put.bytes, put.sha256, int(expires_at.timestamp()), person)
            sealed = encode64(msgspec.json.encode(ticket))
            urls.append(f"{self._public_url}{RELAY_PATH}/{sealed}.{self._sign(self._secret, sealed).decode()}")
        return urls

    @staticmethod
    def _sign(secret: bytes, sealed: str) -> bytes:
        digest = hmac.digest(secret, f"xunling-relay-1\n{sealed}".encode(), hashlib.sha256)
        return encode64(digest[:SIGNATURE_BYTES]).encode()


def addressed(part: PlannedPart, url: str, expires_at: datetime) -> Part:
    if part.have:
        return Part(index=part.index, offset=part.offset, bytes=part.put.bytes, have=True)
    return Part(
        index=part.index,
        offset=part.offset,
        bytes=part.put.bytes,
        have=False,
        url=url,
        headers=part.put.headers,
        expires_at=expires_at,
    )


def check_body(ticket: RelayTicket, headers: dict[str, str], body: bytes) -> None:
    """As S3 would: length and hash are the signed ones. Problem: photo_size_mismatch, photo_hash_mismatch."""
    if len(body) != ticket.bytes:
        raise Problem(ProblemCode.PHOTO_SIZE_MISMATCH, expected=ticket.bytes, found=len(body))
    if ticket.sha256 is None:
        return
    if headers.get("x-amz-checksum-sha256") != base64_of(ticket.sha256):
        raise Problem(ProblemCode.PHOTO_HASH_MISMATCH, header="x-amz-checksum-sha256")
    if hashlib.sha256(body).hexdigest() != ticket.sha256:
        raise Problem(ProblemCode.PHOTO_HASH_MISMATCH)


def encode64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
