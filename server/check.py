"""Whether what this installation needs is there: the database with this version's schema, and S3 with its bucket."""

from server.bucket import ensure_bucket
from server.migrate import migration_files, pending
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
    return [f"database: schema {max(migration_files())}", f"S3: bucket {settings.s3.bucket}"]
