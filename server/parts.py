"""PostgreSQL and S3 for as long as a block runs: the ones the settings name, or embedded ones where they name none."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pydantic import SecretStr

from server.embedded import EmbeddedPostgres, EmbeddedS3
from server.settings import LEVEL, PREFIX, Settings
from server.trouble import StartError

OWNERS = PREFIX + LEVEL.join(("PG", "OWNER_"))  # no server and no worker gets the owner's credentials


@contextmanager
def parts(settings: Settings) -> Iterator[Settings]:
    """Start what is missing and yield settings that name everything. Stops S3 first, then PostgreSQL."""
    with ExitStack() as started:
        if not settings.pg.dsn.get_secret_value():
            settings = started.enter_context(_with_postgres(settings))
        if not settings.s3.endpoint:
            settings = started.enter_context(_with_s3(settings))
        yield settings


def named_postgres(settings: Settings, server: EmbeddedPostgres) -> Settings:
    """Settings that name an embedded one, by both of its roles."""
    roles = {"dsn": SecretStr(server.app_dsn()), "owner_dsn": SecretStr(server.dsn())}
    return settings.model_copy(update={"pg": settings.pg.model_copy(update=roles)})


@contextmanager
def present_postgres(settings: Settings) -> Iterator[Settings]:
    """The database that the settings name, else the embedded one: the running server's, or started for the block."""
    server = EmbeddedPostgres(settings.data_dir / "pg")
    if settings.pg.dsn.get_secret_value():
        yield settings
    elif server.pid is not None:
        yield named_postgres(settings, server)
    elif server.cluster.exists():
        with _with_postgres(settings) as started:
            yield started
    else:
        raise StartError(
            f"{settings.data_dir} 中还没有数据库：先运行 make run，或设置 XUNLING_PG__DSN。",
            f"There is no database in {settings.data_dir} yet: make run first, or set XUNLING_PG__DSN.",
        )


def found(settings: Settings) -> Settings:
    """Settings that also name the embedded parts that run on the data folder now, where they name none themselves. Starts nothing."""
    postgres, s3 = EmbeddedPostgres(settings.data_dir / "pg"), EmbeddedS3(settings.data_dir / "s3")
    if not settings.pg.dsn.get_secret_value() and postgres.pid is not None:
        settings = named_postgres(settings, postgres)
    if not settings.s3.endpoint and s3.pid is not None:
        settings = _named_s3(settings, s3)
    return settings


def require(settings: Settings, *names: str) -> None:
    """Refuse to go on without these parts, `pg` or `s3`: only `run` and `parts` start embedded ones."""
    values = {"pg": ("XUNLING_PG__DSN", settings.pg.dsn.get_secret_value()), "s3": ("XUNLING_S3__ENDPOINT", settings.s3.endpoint)}
    if missing := [values[name][0] for name in names if not values[name][1]]:
        folder = settings.data_dir.absolute()
        raise StartError(
            f"缺少配置：{'、'.join(missing)}，{folder} 上也没有运行中的巡岭。试用：先在另一终端运行 make run；正式环境：带上其环境变量（docs/how-to/deploy.md）。",
            f"Not configured: {', '.join(missing)}; and no Xunling runs on {folder}. To try it out: make run in another terminal first. "
            "In production: with the installation's environment (docs/how-to/deploy.md).",
        )


@contextmanager
def _with_postgres(settings: Settings) -> Iterator[Settings]:
    server = EmbeddedPostgres(settings.data_dir / "pg")
    try:
        server.start()
        yield named_postgres(settings, server)
    finally:
        server.stop()


@contextmanager
def _with_s3(settings: Settings) -> Iterator[Settings]:
    server = EmbeddedS3(settings.data_dir / "s3")
    try:
        server.start()
        yield _named_s3(settings, server)
    finally:
        server.stop()


def _named_s3(settings: Settings, server: EmbeddedS3) -> Settings:
    keys = {"access_key": SecretStr(server.access_key), "secret_key": SecretStr(server.secret_key)}
    return settings.model_copy(update={"s3": settings.s3.model_copy(update={"endpoint": server.endpoint, **keys})})


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment in which a child process finds the same parts."""
    named = {
        ("data_dir",): str(settings.data_dir.absolute()),
        ("demo",): str(settings.demo).lower(),
        ("pg", "dsn"): settings.pg.full_dsn(),
        ("s3", "endpoint"): settings.s3.endpoint,
        ("s3", "access_key"): settings.s3.access_key.get_secret_value(),
        ("s3", "secret_key"): settings.s3.secret_key.get_secret_value(),
        ("log", "format"): settings.log.format,
        ("log", "level"): settings.log.level,
    }
    environment = {**os.environ, **{PREFIX + LEVEL.join(place).upper(): value for place, value in named.items()}}
    return {name: value for name, value in environment.items() if not name.upper().startswith(OWNERS)}
