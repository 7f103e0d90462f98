"""The command line, `python -m server` or `xunling`. Thin: each command hands over to a function of its own module.

Those modules are imported inside the commands, so that `--help` and a wrong configuration answer at once.
"""

import os
import sys
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import rich_click as click

from server.backup_commands import backup
from server.logs import configure_logs
from server.settings import Settings, load_settings, settings_in_force, settings_table, unknown_variables
from server.trouble import StartError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(metadata.version("xunling"), prog_name="xunling")
def cli() -> None:
    """巡岭 Xunling: environmental patrol for a county, offline first."""


def prepared(**overrides: object) -> Settings:
    settings = load_settings(**overrides)
    for line in unknown_variables():
        click.echo(line, err=True)
    configure_logs(settings.log)
    return settings


def prepared_with(*parts: str) -> Settings:
    """Settings that name these parts, `pg` or `s3`: as they are set, else those of the `make run` that has the data folder."""
    from server.parts import found, require

    settings = found(prepared())
    require(settings, *parts)
    return settings


@cli.command()
@click.option("--demo", is_flag=True, help="With demo staff; their passwords are printed.")
def run(demo: bool) -> None:
    """Everything on this machine: embedded database and S3, worker and server."""
    from server.running import run

    overrides: dict[str, object] = {"demo": True} if demo else {}
    if "XUNLING_LOG__FORMAT" not in os.environ and sys.stderr.isatty():
        overrides["log"] = {"format": "console"}
    run(prepared(**overrides))


@cli.command()
@click.option("--fd", type=int, hidden=True, help="A socket that is bound already, inherited from the process that starts us.")
def serve(fd: int | None) -> None:
    """The server alone, in production: database and S3 are named by the settings."""
    from server.parts import require
    from server.serving import serve

    settings = prepared()
    require(settings, "pg", "s3")
    serve(settings, fd)


@cli.command()
def worker() -> None:
    """The worker alone: jobs and timers."""
    from server.parts import require
    from server.worker import work

    settings = prepared()
    require(settings, "pg", "s3")
    work(settings)


@cli.command()
def migrate() -> None:
    """Bring the database to this version's schema, rights, places and checklists; as its owner (XUNLING_PG__OWNER_DSN)."""
    from server.roles import bring_up
    from server.seed import seed

    settings = prepared_with("pg")
    applied = bring_up(settings.pg)
    seed(settings)
    click.echo("\n".join(applied) if applied else "nothing to do")


@cli.command("create-admin")
@click.argument("phone")
@click.argument("name")
@click.argument("unit")
def create_admin(phone: str, name: str, unit: str) -> None:
    """The first admin: PHONE, NAME and the code of the UNIT they administer. Prints a password to be changed."""
    from server.first_admin import create_admin

    settings = prepared_with("pg")
    password = create_admin(settings, phone, name, unit)
    click.echo(
        f"密码 password: {password}" if password else "该手机号已有账号，已授予职责。 The number had an account; the duty was granted."
    )


@cli.command("secrets")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def make_secrets(folder: Path) -> None:
    """Make the random secrets of a production installation in FOLDER, each once; what exists stays."""
    from server.deployment import make_secrets

    made = make_secrets(folder)
    click.echo("\n".join(map(str, made)) if made else "nothing to do")


@cli.command("reset-second-factor")
@click.argument("phone")
def reset_second_factor(phone: str) -> None:
    """Take the second factor from the account with this PHONE number: for an admin who lost it and has no other admin beside them."""
    from server.first_admin import reset_second_factor

    settings = prepared_with("pg")
    reset_second_factor(settings, phone)
    click.echo("已重置，下次登录时重新设置。 It is set up anew at the next log-in.")


@cli.command()
def check() -> None:
    """Is everything there that this installation needs? Status 1 when not."""
    from server.check import check

    settings = prepared_with("pg", "s3")
    click.echo("\n".join(check(settings)))


@cli.command()
@click.option("--markdown", is_flag=True, help="The table of all settings, for the manual.")
def config(markdown: bool) -> None:
    """The settings in force; secrets only as set or not set."""
    if markdown:
        click.echo(settings_table(), nl=False)
        return
    for name, value in settings_in_force(load_settings()).items():
        click.echo(f"{name}={value}")


@cli.command()
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where contracts/ is.")
def openapi(root: Path) -> None:
    """Write what is made from the code: HTTP contract, the sync protocol's JSON Schema, workflow pages."""
    from server.contract import write_contracts
    from server.rule_page import write_rule_page
    from server.subject_page import write_subject_page
    from server.workflows import write_pages

    for path in (*write_contracts(load_settings(), root), *write_pages(root), write_rule_page(root), write_subject_page(root)):
        click.echo(path)


@cli.command()
@click.option(
    "--backup",
    "backups",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Compare the audit log with the head in this backup, too; repeat it for several.",
)
def audit(backups: tuple[Path, ...]) -> None:
    """Recompute heads, digests, records and the audit log's seals; status 1 when anything differs."""
    from server.audit import run_audit
    from server.parts import present_postgres

    with present_postgres(prepared()) as settings:
        is_sound = run_audit(settings, backups)
    if not is_sound:
        sys.exit(1)


cli.add_command(backup)


@cli.command()
def ledger() -> None:
    """Make the console's ledgers, and what coverage counts, anew from the records; the server may run meanwhile."""
    from server.ledger import rebuild

    settings = prepared_with("pg")
    click.echo(f"{rebuild(settings)} 行 rows")


@cli.command()
def parts() -> None:
    """Only the embedded database and S3, for developing; prints where they are. Ctrl-C stops them."""
    from server.running import run_parts

    run_parts(prepared())


@cli.group()
def keys() -> None:
    """The installation's keys (docs/how-to/deploy.md says how each is rotated)."""


@keys.command("rotate")
def rotate_keys() -> None:
    """A new signing key; older receipts stay valid by the old public key. Restart servers and workers afterwards."""
    from server.keys import rotate_signing_key

    click.echo(f"旧公钥 old public key: {rotate_signing_key(prepared().keys_folder)}")
    click.echo("请重启服务与后台任务。 Restart servers and workers.")


@cli.group()
def draw() -> None:
    """Random draws (双随机): verify what was disclosed."""


@draw.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key", "keys", multiple=True, help="A public key (hex) of the server, as published at /sync/v1/keys; repeat it for several."
)
@click.option("--commitment", help="The hash that was published before the draw.")
def verify_draw(file: Path, keys: tuple[str, ...], commitment: str | None) -> None:
    """Recompute the draw in FILE: needs no database, no network, no settings. Status 1 and what differs, if anything does."""
    from server.draws import report, verify_file

    content, found = verify_file(file, keys, commitment)
    click.echo("\n".join(report(content, found, keys=keys, commitment=commitment)))
    if found:
        sys.exit(1)


def main() -> None:
    """Run the command line. What an operator can mend is said without a traceback; status 1."""
    try:
        cli()
    except StartError as trouble:
        give_up(str(trouble))
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            give_up(f"无法读写 {error.filename}：{error.strerror}\nCannot read or write {error.filename}: {error.strerror}")
        if not is_out_of_reach(error):
            raise
        why = error.__cause__ or error
        give_up(f"无法连接数据库或 S3：{why}\nThe database or S3 cannot be reached: {type(why).__name__}: {why}")


def give_up(message: str) -> NoReturn:
    click.echo(f"\n{message}", err=True)
    sys.exit(1)


def is_out_of_reach(error: Exception) -> bool:
    from storage.pool import is_passing

    return is_passing(error)


if __name__ == "__main__":
    main()
