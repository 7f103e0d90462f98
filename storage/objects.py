"""S3: the bytes of photos. Every boto3 call runs in a thread, with a limit of its own, never on the event loop.

Keys, all below the county:

    <county>/photos/<sha256>                       the original, untouched
    <county>/senders/<sha256>/<person>             empty: this person has sent these bytes
    <county>/chunks/<sha256>/<device>/<index>      parts on their way; by device, so that nobody can spoil another's upload
    <county>/renderings/<sha256>/<name>            thumbnails and stamped pictures: made anew at any time
"""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar
from uuid import UUID

import anyio.to_thread
import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from contracts.ids import County, DeviceId, PersonId
from contracts.problems import Problem, ProblemCode

T = TypeVar("T")

CONNECT_SECONDS_MAX: Final = 3
READ_SECONDS_MAX: Final = 20
RETRY_AFTER_SECONDS: Final = 30
DELETE_KEYS_MAX: Final = 1000  # of S3, per request
READ_BYTES: Final = 1024 * 1024
BINARY: Final = "application/octet-stream"


def photo_key(county: County, sha256: str) -> str:
    return f"{county}/photos/{sha256}"


def chunks_prefix(county: County, sha256: str, device: DeviceId) -> str:
    return f"{county}/chunks/{sha256}/{device}/"


def chunk_key(county: County, sha256: str, device: DeviceId, index: int) -> str:
    return f"{chunks_prefix(county, sha256, device)}{index:05d}"


def senders_prefix(county: County, sha256: str) -> str:
    return f"{county}/senders/{sha256}/"


def sender_key(county: County, sha256: str, person: PersonId) -> str:
    return f"{senders_prefix(county, sha256)}{person}"


def uuid_of(text: str) -> UUID | None:
    """The id that a part of a key is. None: an object that we did not put there."""
    try:
        return UUID(text)
    except ValueError:
        return None


def rendering_key(county: County, sha256: str, name: str) -> str:
    return f"{county}/renderings/{sha256}/{name}"


class S3Access(msgspec.Struct, frozen=True, kw_only=True):
    """Where S3 is and who we are there. `public_endpoint`: the same S3 as phones reach it."""

    endpoint: str
    public_endpoint: str = ""
    region: str = "us-east-1"
    bucket: str
    access_key: str
    secret_key: str
    threads_max: int = 16
    presigned_seconds: int = 3600


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    """`sha256` in hex: what S3 itself computed when it took the bytes; None when it did not."""

    key: str
    bytes: int
    modified: datetime
    sha256: str | None = None


class OpenObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object under way: its length is known, its bytes come when asked for."""

    bytes: int
    blocks: AsyncIterator[bytes]


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """One PUT to be signed: exactly these many bytes; with `sha256` S3 takes no others."""

    key: str
    bytes: int
    sha256: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What must be sent with it, beside Content-Length, which every HTTP client sets by itself."""
        return {"x-amz-checksum-sha256": base64_of(self.sha256)} if self.sha256 else {}


class Objects:
    """The bucket. Every method raises Problem(storage_unavailable) when S3 cannot be reached or fails."""

    def __init__(self, access: S3Access) -> None:
        self._bucket: Final = access.bucket
        self._presigned_seconds: Final = access.presigned_seconds
        self._client: Final = make_client(access, access.endpoint)
        self._public: Final = make_client(access, access.public_endpoint or access.endpoint)
        self._limit: Final = anyio.CapacityLimiter(access.threads_max)

    async def ensure_bucket(self) -> None:
        """Make the bucket when it is missing."""

        def ensure() -> None:
            try:
                self._client.head_bucket(Bucket=self._bucket)
            except ClientError as error:
                if status_of(error) != 404:
                    raise
                self._client.create_bucket(Bucket=self._bucket)

        await self._call(ensure)

    async def close(self) -> None:
        await self._call(self._client.close)
        await self._call(self._public.close)

    async def head(self, key: str) -> StoredObject | None:
        """None when there is no such object."""

        def head() -> StoredObject | None:
            try:
                found = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if status_of(error) == 404:
                    return None
                raise
            sha256 = hex_of(found.get("ChecksumSHA256"))
            return StoredObject(key=key, bytes=found["ContentLength"], modified=found["LastModified"], sha256=sha256)

        return await self._call(head)

    async def list_under(self, prefix: str) -> list[StoredObject]:
        """All objects whose key starts with `prefix`, by key."""

        def list_under() -> list[StoredObject]:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            return [
                StoredObject(key=each["Key"], bytes=each["Size"], modified=each["LastModified"])
                for page in pages
                for each in page.get("Contents", ())
            ]

        return await self._call(list_under)

    async def list_page(self, prefix: str, after: str = "", count: int = DELETE_KEYS_MAX) -> list[StoredObject]:
        """The next `count` objects below `prefix` whose key is greater than `after`."""

        def list_page() -> list[StoredObject]:
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, StartAfter=after, MaxKeys=count)
            return [StoredObject(key=each["Key"], bytes=each["Size"], modified=each["LastModified"]) for each in page.get("Contents", ())]

        return await self._call(list_page)

    async def put(self, key: str, body: bytes | Path, *, sha256: str | None = None, media_type: str = BINARY) -> None:
        """Store bytes or a file; S3 checks their SHA-256 (hex), or without one that they arrive as they are."""
        wanted = {"Bucket": self._bucket, "Key": key, "ContentType": media_type}
        wanted |= {"ChecksumSHA256": base64_of(sha256)} if sha256 else {"ChecksumAlgorithm": "SHA256"}

        def put() -> None:
            with open_body(body) as file:
                self._client.put_object(Body=file, **wanted)

        await self._call(put)

    async def put_once(self, key: str, body: bytes, *, sha256: str | None = None) -> None:
        """As `put`, but bytes that are there already are not stored again: a store may keep what is overwritten for long."""
        there = await self.head(key)
        if there is None or there.bytes != len(body) or await self.read(key, len(body)) != body:
            await self.put(key, body, sha256=sha256)

    async def open(self, key: str) -> OpenObject | None:
        """The object, to be read block by block; None when there is no such object."""
        found = await self._call(lambda: self._get(key))
        return found and OpenObject(bytes=found["ContentLength"], blocks=self._blocks(found["Body"]))

    async def read(self, key: str, bytes_max: int) -> bytes | None:
        """The object's bytes, at most `bytes_max` of them; None when there is no such object."""

        def read() -> bytes | None:
            found = self._get(key)
            return found and found["Body"].read(bytes_max)

        return await self._call(read)

    async def append_to(self, key: str, path: Path, each: Callable[[bytes], None]) -> bool:
        """Append the object's bytes to a file and show every block to `each`. False when there is no such object."""

        def append() -> bool:
            found = self._get(key)
            if found is None:
                return False
            with path.open("ab") as file:
                for block in found["Body"].iter_chunks(READ_BYTES):
                    file.write(block)
                    each(block)
            return True

        return await self._call(append)

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are already gone are no error."""

        def delete() -> None:
            for start in range(0, len(keys), DELETE_KEYS_MAX):
                batch = [{"Key": key} for key in keys[start : start + DELETE_KEYS_MAX]]
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": batch, "Quiet": True})
                if errors := answer.get("Errors"):
                    raise unavailable(f"delete: {errors[0].get('Code')}")

        if keys:
            await self._call(delete)

    async def presign_puts(self, puts: Sequence[Put]) -> list[str]:
        """URLs for phones, all in one thread call: signing costs CPU time."""

        def presign() -> list[str]:
            return [self._presign_put(put) for put in puts]

        return await self._call(presign) if puts else []

    async def presign_get(self, key: str, media_type: str, seconds: int) -> str:
        """A URL that reads one object for a short time."""
        wanted = {"Bucket": self._bucket, "Key": key, "ResponseContentType": media_type}
        return await self._call(lambda: self._public.generate_presigned_url("get_object", Params=wanted, ExpiresIn=seconds))

    async def _blocks(self, body: Any) -> AsyncIterator[bytes]:
        while block := await self._call(lambda: body.read(READ_BYTES)):
            yield block

    # Inside, in a thread

    def _presign_put(self, put: Put) -> str:
        wanted: dict[str, Any] = {"Bucket": self._bucket, "Key": put.key, "ContentLength": put.bytes}
        if put.sha256:
            wanted["ChecksumSHA256"] = base64_of(put.sha256)
        return self._public.generate_presigned_url("put_object", Params=wanted, ExpiresIn=self._presigned_seconds)

    def _get(self, key: str) -> Any | None:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if status_of(error) == 404:
                return None
            raise

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._limit)
        except (BotoCoreError, ClientError, OSError) as error:
            raise unavailable(type(error).__name__) from error


def make_client(access: S3Access, endpoint: str) -> Any:
    """Path style: the bucket's name needs no DNS entry. One retry of our own; phones and jobs come again anyway."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=access.region,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=CONNECT_SECONDS_MAX,
            read_timeout=READ_SECONDS_MAX,
            retries={"total_max_attempts": 2, "mode": "standard"},
            max_pool_connections=access.threads_max,
        ),
    )


def unavailable(why: str) -> Problem:
    return Problem(ProblemCode.STORAGE_UNAVAILABLE, why, retry_after_s=RETRY_AFTER_SECONDS)


def status_of(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def open_body(body: bytes | Path) -> BinaryIO:
    return io.BytesIO(body) if isinstance(body, bytes) else body.open("rb")


def base64_of(sha256_hex: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256_hex)).decode()


def hex_of(sha256_base64: str | None) -> str | None:
    return base64.b64decode(sha256_base64).hex() if sha256_base64 else None
