"""Backups: made, verified by restoring them, restored in earnest (docs/operations.md has the drill).

create     database and photos into a folder, complete or not there at all; encrypted for the custodians
verify     restored into a throw-away PostgreSQL and audited; only then phones are told that it has their work (n_safe)
drill      the same with a custodian's key, without the server, and every photo is read; nobody is told
restore    into an empty database; every county begins a new incarnation, and phones hand in what the backup lacks
restored   the same last step after a restore by other means (a base backup, point-in-time recovery)
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from api.resources import utc_now
from server import dumps
from server.backup_encryption import SUFFIX, Encryption, load_encryption
from server.backup_store import (
    DUMP,
    VERIFIED,
    Bucket,
    Manifest,
    backup_name,
    begun,
    check_dump,
    finish,
    object_path,
    read_manifest,
    read_object,
    sha256_of,
    stored_object,
    write_synced,
)
from server.bucket import ensure_bucket
from server.embedded import EmbeddedPostgres
from server.installation import locked, prepared_folder, url
from server.migrate import migrate, migration_files
from server.parts import found, parts
from server.roles import bring_up
from server.settings import Settings
from server.trouble import StartError
from storage.audit import audit
from storage.audit_seal import fetch_head
from storage.backups import CountyMarks, KeptBlob, fetch_kept, fetch_marks, is_empty, raise_safe
from storage.incarnation import begin_incarnations
from storage.objects import photo_key
from storage.pool import Pool, open_pool
from sync.sealing import AuditSeal

FaultPoint = Callable[[str], None]  # named places between two steps, where a test raises
SECONDS_MAX = 3600.0


def no_fault(_point: str) -> None:
    """Nothing happens."""


@contextmanager
def reached(settings: Settings) -> Iterator[Settings]:
    """Settings that name a database and an S3 that run: those of the settings, those of a running `run`, or our own."""
    settings = found(settings)
    with ExitStack() as held:
        if not settings.pg.dsn.get_secret_value() or not settings.s3.endpoint:
            folder = prepared_folder(settings.data_dir, settings.disk_free_bytes_min)
            held.enter_context(locked(folder / "lock", url(settings)))
        yield held.enter_context(parts(settings))


# -------------------------------------------------------------------------------------------------------- create


def create(
    settings: Settings, folder: Path, *, with_objects: bool, now: Callable[[], datetime] = utc_now, at: FaultPoint = no_fault
) -> Path:
    """Make a backup and return its folder. The dump comes first: everything it has a receipt for is in S3 afterwards.

    When it fails it leaves nothing behind but photos, which the next one needs as well.
    """
    moment = now()
    if (folder / backup_name(moment)).exists():
        raise StartError("这一秒已有一个备份。", "There is a backup of this very second already.")
    encryption = load_encryption(settings)
    path = begun(folder, backup_name(moment))
    try:
        return finish(path, _fill(settings, path, encryption, with_objects=with_objects, moment=moment, at=at))
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _fill(settings: Settings, path: Path, encryption: Encryption, *, with_objects: bool, moment: datetime, at: FaultPoint) -> Manifest:
    archive = path / (DUMP + encryption.suffix)
    head = asyncio.run(audit_head(settings))
    dumps.dump(settings.pg.full_owner_dsn(), archive, encryption)
    at("dumped")
    bucket = Bucket(settings.s3)
    objects = bucket.originals()
    unusable: list[str] = []
    for key in objects if with_objects else ():
        if not bucket.fetch(key, object_path(path.parent, key, encryption), encryption):
            unusable.append(key)
        at("object")
    at("copied")
    return Manifest(
        made_at=moment,
        migration=max(migration_files()),
        dump_bytes=archive.stat().st_size,
        dump_sha256=sha256_of(archive),
        has_objects=with_objects,
        objects={key: size for key, size in objects.items() if key not in unusable},
        objects_folder=encryption.objects_folder,
        unusable=unusable,
        audit_head=head,
    )


async def audit_head(settings: Settings) -> AuditSeal | None:
    """The newest seal: the part of the audit log in the dump up to there is fixed by it."""
    async with await open_pool(settings.pg.full_owner_dsn(), size_min=0) as pool:
        return await fetch_head(pool)


# -------------------------------------------------------------------------------------------------------- verify


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out: how many records and photos the copy has, and how many devices may let go."""

    at: datetime
    records: int
    photos: int
    devices: int


def verify(settings: Settings, backup: Path, *, now: Callable[[], datetime] = utc_now, at: FaultPoint = no_fault) -> Verified:
    """Restore it into a PostgreSQL of its own and audit it. StartError, and nothing is said to phones, when anything is wrong."""
    manifest = read_manifest(backup)
    records, kept, marks = examine(backup, manifest, load_encryption(settings), at)
    devices = asyncio.run(tell(settings, marks))
    at("told")
    verified = Verified(at=now(), records=records, photos=len(kept), devices=devices)
    write_synced(backup / VERIFIED, msgspec.json.encode(verified))
    return verified


def drill(backup: Path, encryption: Encryption) -> Verified:
    """What a custodian can see without the server: the copy passes the audit, and every photo is what its name says."""
    manifest = read_manifest(backup)
    records, kept, _ = examine(backup, manifest, encryption, no_fault)
    for blob in kept if manifest.has_objects else ():
        key = photo_key(blob.county, blob.sha256)
        read_object(stored_object(backup.parent, key, manifest), key, encryption)
    return Verified(at=utc_now(), records=records, photos=len(kept), devices=0)


def examine(backup: Path, manifest: Manifest, encryption: Encryption, at: FaultPoint) -> tuple[int, list[KeptBlob], list[CountyMarks]]:
    """(records, photos with a receipt, how far every device's work is in it), after the copy has passed every check."""
    path = check_dump(backup, manifest)
    with tempfile.TemporaryDirectory(prefix="xunling-verify-") as scratch, running(EmbeddedPostgres(Path(scratch) / "pg")) as server:
        dsn = server.dsn()
        dumps.restore(dsn, path, encryption)
        migrate(dsn)
        at("restored")
        found = asyncio.run(inspect(dsn))
    check_objects(backup, manifest, found[1])
    at("audited")
    return found


@contextmanager
def running(server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


async def inspect(dsn: str) -> tuple[int, list[KeptBlob], list[CountyMarks]]:
    """(records, photos with a receipt, how far every device's work is in it) of a copy that the audit finds sound."""
    async with await open_pool(dsn, statement_seconds_max=SECONDS_MAX) as pool:
        reports = [report async for report in audit(pool)]
        differences = [f"{d.county} {d.what} {d.where}: {d.says}" for report in reports for d in report.differences]
        if differences:
            raise StartError("备份未通过审计：", "The backup does not pass the audit:\n" + "\n".join(differences[:20]))
        return sum(report.records for report in reports), list(await fetch_kept(pool)), await fetch_marks(pool)


def check_objects(backup: Path, manifest: Manifest, kept: list[KeptBlob]) -> None:
    """Every photo with a receipt was in S3 when the backup was made, and is in the folder if they were copied."""
    for blob in kept:
        key = photo_key(blob.county, blob.sha256)
        is_listed = manifest.objects.get(key) == blob.bytes
        if not is_listed or (manifest.has_objects and not _is_whole(stored_object(backup.parent, key, manifest), blob.bytes)):
            raise StartError(f"备份缺少照片：{key}", f"The backup lacks a photo for which there is a receipt: {key}")


def _is_whole(path: Path, size: int) -> bool:
    """By its size; an encrypted one is longer by age's header. `drill` reads them."""
    stored = path.stat().st_size if path.exists() else -1
    return stored > size if path.suffix == SUFFIX else stored == size


async def tell(settings: Settings, marks: list[CountyMarks]) -> int:
    """n_safe rises in the live database."""
    async with await open_pool(settings.pg.full_dsn(), statement_seconds_max=SECONDS_MAX) as pool:
        return sum([await raise_safe(pool, county) for county in marks])


# ------------------------------------------------------------------------------------------------------- restore


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """`incarnations`: county -> the one that begins now. `photos`: put back into S3."""

    photos: int
    incarnations: dict[int, int]


def restore(
    settings: Settings,
    backup: Path,
    *,
    identity: Path | None = None,
    now: Callable[[], datetime] = utc_now,
    at: FaultPoint = no_fault,
) -> Restored:
    """Photos first, which may be repeated; then the database, all of it or nothing; then the incarnations.

    `identity`: a custodian's key file, where the server's own keys are lost.
    """
    manifest = read_manifest(backup)
    encryption = load_encryption(settings, identity)
    path = check_dump(backup, manifest)
    dsn = settings.pg.full_owner_dsn()
    asyncio.run(require_empty(dsn))
    ensure_bucket(settings.s3)
    photos = put_back(settings, backup, manifest, encryption, at) if manifest.has_objects else 0
    at("photos")
    dumps.restore(dsn, path, encryption)
    at("database")
    bring_up(settings.pg)
    return Restored(photos=photos, incarnations=asyncio.run(begin(dsn, now())))


async def require_empty(dsn: str) -> None:
    async with await open_pool(dsn, size_min=0) as pool:
        if not await is_empty(pool):
            raise StartError(
                "数据库不是空的。请先另建一个空数据库（内置数据库：停止后把数据目录中的 pg 移走）。",
                "The database is not empty. Make an empty one first (the embedded one: stop, and move `pg` out of the data folder). "
                "If an earlier restore was interrupted after its data was in, only this step is missing: xunling backup restored",
            )


def put_back(settings: Settings, backup: Path, manifest: Manifest, encryption: Encryption, at: FaultPoint) -> int:
    """Upload the originals that S3 lacks; returns how many."""
    bucket, count = Bucket(settings.s3), 0
    present = bucket.originals()
    for key, size in manifest.objects.items():
        if present.get(key) != size:
            bucket.put_back(key, read_object(stored_object(backup.parent, key, manifest), key, encryption))
            count += 1
        at("object")
    return count


async def begin(dsn: str, now: datetime) -> dict[int, int]:
    """Phones read their streams anew and offer what this database lacks (design.md 3.3)."""
    pool: Pool = await open_pool(dsn, statement_seconds_max=SECONDS_MAX)
    async with pool:
        return await begin_incarnations(pool, now)


def backup_folder(settings: Settings, given: Path | None) -> Path:
    folder = given or settings.backup.folder
    if folder is None:
        raise StartError("请用 --to 或 XUNLING_BACKUP__FOLDER 指定备份目录。", "Name the folder: --to or XUNLING_BACKUP__FOLDER.")
    return folder.absolute()
