"""Whether what this installation needs is there: the database with this version's schema, S3 with its bucket, room on the disks."""

import shutil
from collections.abc import Iterator

from server.bucket import ensure_bucket
from server.migrate import migration_files, pending
from server.roles import powers
from server.settings import Settings
from server.trouble import StartError


def check(settings: Settings) -> list[str]:
    """One line for each part that is well. StartError for the first that is not."""
    if missing := pending(settings.pg.full_dsn()):
        raise StartError(
            f"数据库尚未迁移：{', '.join(missing)}。请运行 xunling migrate。",
            f"The database misses migrations: {', '.join(missing)}. Run: xunling migrate",
        )
    ensure_bucket(settings.s3)
    role, may_change = powers(settings.pg.full_dsn())
    rights = (
        "may change the audit log: give it a role of its own (XUNLING_PG__OWNER_DSN, docs/operations.md)"
        if may_change
        else "reads and writes rows only"
    )
    return [
        f"database: schema {max(migration_files())}",
        f"database role {role}: {rights}",
        f"S3: bucket {settings.s3.bucket}",
        *check_disks(settings),
    ]


def check_disks(settings: Settings) -> Iterator[str]:
    """A line for the data folder and for the backups' folder. StartError when one of their disks fills up."""
    for folder in (settings.data_dir, settings.backup.folder):
        if folder is None or not folder.exists():
            continue
        disk = shutil.disk_usage(folder)
        if disk.free < disk.total * settings.observe.disk_free_share_min:
            raise StartError(
                f"磁盘空间不足：{folder} 仅剩 {_gib(disk.free)}（共 {_gib(disk.total)}）。请清理或扩容。",
                f"The disk fills up: {folder} has {_gib(disk.free)} free of {_gib(disk.total)}.",
            )
        yield f"disk: {folder} has {_gib(disk.free)} free"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
