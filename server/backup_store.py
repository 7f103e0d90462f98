"""A backup on disk: one folder each, complete or not there, and the photos of all of them once.

    <folder>/objects/<county>/photos/<sha256>   originals, shared: their name is what they hold, so none is copied twice
    <folder>/<moment>/database.dump             pg_dump's archive
    <folder>/<moment>/manifest.json             what belongs to it, with sizes and hashes; written last
    <folder>/<moment>/verified.json             it has been restored and audited, and when

With encryption (server/backup_encryption.py) the archive and the originals end in `.age`, and `objects` names the recipients.
Renderings are made anew and chunks are on their phones still, so neither is kept.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from server.backup_encryption import PLAIN, PLAIN_OBJECTS, SUFFIX, Encryption
from server.settings import S3Settings
from server.trouble import StartError
from sync.sealing import AuditSeal

MANIFEST: Final = "manifest.json"
DUMP: Final = "database.dump"
VERIFIED: Final = "verified.json"
UNFINISHED: Final = ".unfinished-"
PHOTO_KEY: Final = re.compile(r"\d+/photos/([0-9a-f]{64})")
PHOTOS: Final = "/photos/"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`objects`: key -> bytes, as listed after the dump; `has_objects`: they are in the folder `objects_folder`, too.
    `unusable`: keys in S3 that are no photo's, or whose bytes are not those that the key names; they are not in the backup.
    `audit_head`: the newest seal of the audit log before the dump, by which `xunling audit` knows later whether the log was made anew.
    """

    made_at: datetime
    migration: str
    dump_bytes: int
    dump_sha256: str
    has_objects: bool
    objects: dict[str, int]
    objects_folder: str = PLAIN_OBJECTS
    unusable: list[str] = []
    audit_head: AuditSeal | None = None

    @property
    def is_encrypted(self) -> bool:
        return self.objects_folder != PLAIN_OBJECTS


def backup_name(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def list_backups(folder: Path) -> list[Path]:
    """Complete ones, oldest first."""
    return sorted(path.parent for path in folder.glob(f"*/{MANIFEST}") if not path.parent.name.startswith("."))


def newest(folder: Path) -> Path:
    backups = list_backups(folder)
    if not backups:
        raise StartError(f"{folder} 中没有完整的备份。", f"There is no complete backup in {folder}.")
    return backups[-1]


def begun(folder: Path, name: str) -> Path:
    """A fresh place for a backup under way; what killed attempts left is deleted."""
    for leftover in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(leftover)
    path = folder / f"{UNFINISHED}{name}"
    path.mkdir(parents=True, mode=0o700)
    return path


def finish(path: Path, manifest: Manifest) -> Path:
    """On disk first, then under its name: a backup that can be seen is complete."""
    write_synced(path / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    with dump_path(path, manifest).open("rb") as dump:
        os.fsync(dump.fileno())
    final = path.with_name(path.name.removeprefix(UNFINISHED))
    path.rename(final)
    sync_folder(final.parent)
    return final


def read_manifest(backup: Path) -> Manifest:
    try:
        return msgspec.json.decode((backup / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise StartError(f"{backup} 不是完整的备份。", f"{backup} is no complete backup: {error}") from None


def dump_path(backup: Path, manifest: Manifest) -> Path:
    return backup / (DUMP + SUFFIX if manifest.is_encrypted else DUMP)


def check_dump(backup: Path, manifest: Manifest) -> Path:
    """The archive, when it is what was written."""
    path = dump_path(backup, manifest)
    if not path.exists() or path.stat().st_size != manifest.dump_bytes or sha256_of(path) != manifest.dump_sha256:
        raise StartError(f"备份已损坏：{path}", f"The backup is damaged: {path} is not what was written.")
    return path


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ------------------------------------------------------------------------------------------------------ objects


class Bucket:
    """The photos in S3, for a command that may wait for it."""

    def __init__(self, settings: S3Settings) -> None:
        self._name = settings.bucket
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=settings.endpoint,
            aws_access_key_id=settings.access_key.get_secret_value(),
            aws_secret_access_key=settings.secret_key.get_secret_value(),
            region_name=settings.region,
            config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 5}),
        )

    def originals(self) -> dict[str, int]:
        """key -> bytes of every original photo, and of every other object among them."""
        try:
            return dict(self._originals())
        except (BotoCoreError, ClientError) as error:
            raise StartError("无法读取 S3 存储：", f"S3 cannot be read: {error}") from None

    def _originals(self) -> Iterator[tuple[str, int]]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name):
            for each in page.get("Contents", ()):
                if PHOTOS in each["Key"]:
                    yield each["Key"], each["Size"]

    def fetch(self, key: str, path: Path, encryption: Encryption) -> bool:
        """Store one original, if it is not there yet. False when the key is no photo's, or its bytes are not those that the key names."""
        named = PHOTO_KEY.fullmatch(key)
        if named is None:
            return False
        if path.exists():
            return True
        try:
            content = self._client.get_object(Bucket=self._name, Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey:  # deleted since it was listed: nobody has a receipt for it
            return False
        except (BotoCoreError, ClientError) as error:
            raise StartError("无法读取 S3 存储：", f"S3 cannot be read: {error}") from None
        if hashlib.sha256(content).hexdigest() != named[1]:
            return False
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(f"{path.name}.part")
        try:
            write_synced(part, encryption.stored(content))
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        return True

    def put_back(self, key: str, content: bytes) -> None:
        """Upload one original."""
        try:
            self._client.put_object(Bucket=self._name, Key=key, Body=content, ChecksumAlgorithm="SHA256")
        except (BotoCoreError, ClientError) as error:
            raise StartError("无法写入 S3 存储：", f"S3 cannot be written: {error}") from None


def object_path(folder: Path, key: str, encryption: Encryption = PLAIN) -> Path:
    """Where a photo is stored by a backup that is made now."""
    return folder / encryption.objects_folder / (key + encryption.suffix)


def stored_object(folder: Path, key: str, manifest: Manifest) -> Path:
    """Where a backup has stored a photo."""
    return folder / manifest.objects_folder / (key + SUFFIX if manifest.is_encrypted else key)


def read_object(path: Path, key: str, encryption: Encryption) -> bytes:
    """The photo. StartError when it is missing or its bytes are not those that its key names."""
    if not path.exists():
        raise StartError(f"备份缺少照片：{path}", f"The backup lacks a photo: {path}")
    content = encryption.read(path)
    if hashlib.sha256(content).hexdigest() != key.rpartition("/")[2]:
        raise StartError(f"备份已损坏：{path}", f"The backup is damaged: {path} holds other bytes than its name says.")
    return content
