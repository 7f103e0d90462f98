"""A backup on disk: one folder each, complete or not there, and the photos of all of them once.

    <folder>/objects/<county>/photos/<sha256>   originals, shared: their name is what they hold, so none is copied twice
    <folder>/<moment>/database.dump             pg_dump's archive
    <folder>/<moment>/manifest.json             what belongs to it, with sizes and hashes; written last
    <folder>/<moment>/verified.json             it has been restored and audited, and when

Renderings are made anew and chunks are on their phones still, so neither is kept.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from server.settings import S3Settings
from server.trouble import StartError

MANIFEST: Final = "manifest.json"
DUMP: Final = "database.dump"
VERIFIED: Final = "verified.json"
OBJECTS: Final = "objects"
UNFINISHED: Final = ".unfinished-"
PHOTOS: Final = "/photos/"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`objects`: key -> bytes, as listed after the dump; `has_objects`: they are in the folder, too."""

    made_at: datetime
    migration: str
    dump_bytes: int
    dump_sha256: str
    has_objects: bool
    objects: dict[str, int]


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
    with (path / DUMP).open("rb") as dump:
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


def check_dump(backup: Path, manifest: Manifest) -> Path:
    """The archive, when it is what was written."""
    path = backup / DUMP
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
        """key -> bytes of every original photo."""
        try:
            return dict(self._originals())
        except (BotoCoreError, ClientError) as error:
            raise StartError("无法读取 S3 存储：", f"S3 cannot be read: {error}") from None

    def _originals(self) -> Iterator[tuple[str, int]]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name):
            for each in page.get("Contents", ()):
                if PHOTOS in each["Key"]:
                    yield each["Key"], each["Size"]

    def fetch(self, key: str, path: Path) -> None:
        """Download one original, if it is not there yet. StartError when its bytes are not those it is named by."""
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(f"{path.name}.part")
        try:
            self._client.download_file(self._name, key, str(part))
        except (BotoCoreError, ClientError) as error:
            raise StartError("无法读取 S3 存储：", f"S3 cannot be read: {error}") from None
        if sha256_of(part) != path.name:
            raise StartError(f"照片内容与校验值不符：{key}", f"The photo {key} holds other bytes than its name says.")
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(path)

    def put_back(self, key: str, path: Path, present: dict[str, int]) -> bool:
        """Upload one original, if S3 lacks it. Whether it did."""
        if present.get(key) == path.stat().st_size:
            return False
        if sha256_of(path) != path.name:
            raise StartError(f"备份已损坏：{path}", f"The backup is damaged: {path} holds other bytes than its name says.")
        try:
            with path.open("rb") as file:
                self._client.put_object(Bucket=self._name, Key=key, Body=file, ChecksumAlgorithm="SHA256")
        except (BotoCoreError, ClientError) as error:
            raise StartError("无法写入 S3 存储：", f"S3 cannot be written: {error}") from None
        return True


def object_path(folder: Path, key: str) -> Path:
    return folder / OBJECTS / key
