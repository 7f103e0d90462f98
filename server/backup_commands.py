"""`python -m server backup ...`."""

from pathlib import Path

import rich_click as click

from server.logs import configure_logs
from server.settings import Settings, load_settings


@click.group()
def backup() -> None:
    """Make, verify and restore backups (docs/operations.md has the drill)."""


@backup.command()
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder of backups [XUNLING_BACKUP__FOLDER]")
@click.option("--objects/--no-objects", default=None, help="Copy the photos, too. Default: when S3 is the embedded one.")
def create(folder: Path | None, objects: bool | None) -> None:
    """Database and photos into a folder. Not worth anything before it is verified."""
    from server import backup as backups
    from server.backup_store import read_manifest

    settings = prepared()
    place = backups.backup_folder(settings, folder)
    with_objects = objects if objects is not None else not settings.s3.endpoint
    if not settings.backup.recipients:
        click.echo("备份未加密：请设置 XUNLING_BACKUP__RECIPIENTS。 The backup is not encrypted: set XUNLING_BACKUP__RECIPIENTS.", err=True)
    with backups.reached(settings) as complete:
        path = backups.create(complete, place, with_objects=with_objects)
    if unusable := read_manifest(path).unusable:
        click.echo(
            f"S3 中有不是照片或已损坏的对象，未备份 Objects in S3 that are no photos or are damaged, left out: {', '.join(unusable[:10])}",
            err=True,
        )
    click.echo(path)


@backup.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
def verify(path: Path | None) -> None:
    """Restore PATH (the newest) into a throw-away PostgreSQL and audit it; then phones may let go of what it has."""
    from server import backup as backups
    from server.backup_store import newest

    settings = prepared()
    chosen = (path or newest(backups.backup_folder(settings, None))).absolute()
    with backups.reached(settings) as complete:
        found = backups.verify(complete, chosen)
    click.echo(f"{chosen}: {found.records} records, {found.photos} photos; n_safe raised for {found.devices} devices")


KEY_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@backup.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--identity", type=KEY_FILE, help="A custodian's key file.")
def drill(path: Path, identity: Path | None) -> None:
    """Restore PATH into a throw-away PostgreSQL, audit it, read every photo. Needs no server, no settings, nothing but the key."""
    from server import backup as backups
    from server.backup_encryption import Encryption, read_identity

    keys = (read_identity(identity),) if identity else ()
    found = backups.drill(path.absolute(), Encryption(identities=keys))
    click.echo(f"{path}: {found.records} records, {found.photos} photos; 备份可以恢复。 This backup can be restored.")


@backup.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def key(path: Path) -> None:
    """Write a custodian's secret key to PATH (a stick; nothing of it stays here) and print the public key for the settings."""
    from server.backup_encryption import make_identity

    click.echo(make_identity(path))


@backup.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--identity", type=KEY_FILE, help="A custodian's key file, where the server's own keys are lost.")
def restore(path: Path, identity: Path | None) -> None:
    """PATH into an empty database, photos into S3; then every county begins a new incarnation."""
    from server import backup as backups

    with backups.reached(prepared()) as complete:
        done = backups.restore(complete, path.absolute(), identity=identity)
    click.echo(f"{done.photos} photos put back; incarnations begun: {len(done.incarnations)}")
    click.echo("各手机下次连接时将自动补交备份中没有的数据。 Phones hand in what the backup lacks at their next contact.")


@backup.command()
def restored() -> None:
    """This database was restored by other means: every county begins a new incarnation."""
    import asyncio

    from server import backup as backups

    with backups.reached(prepared()) as complete:
        for county, incarnation in asyncio.run(backups.begin(complete.pg.full_dsn(), backups.utc_now())).items():
            click.echo(f"{county}: incarnation {incarnation}")


def prepared() -> Settings:
    settings = load_settings()
    configure_logs(settings.log)
    return settings
