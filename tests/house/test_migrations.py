"""The migrations lead to exactly the schema that `storage/schema.sql` explains."""

import difflib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from server.embedded.postgres import BIN
from server.migrate import MIGRATIONS
from tests.house.tree import ROOT

SCHEMA = ROOT / "storage" / "schema.sql"
BOOKKEEPING = ("schema_migrations", "migration_checksum")
NAME = re.compile(r"\d{14}_[a-z0-9_]+\.sql")
SQUAWK = Path(sys.executable).parent / "squawk"


def dump(dsn: str) -> str:
    """The schema of a database in one order, whatever order it came about in."""
    tables = [f"--exclude-table={name}" for name in BOOKKEEPING]
    command = [BIN / "pg_dump", "--schema-only", "--no-owner", "--no-privileges", *tables, dsn]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return normalised(text)


def normalised(text: str) -> str:
    """Without comments, session settings and blank lines; columns of a table sorted, as ALTER TABLE adds them last."""
    lines = [line for line in text.splitlines() if line and not line.startswith(("--", "\\", "SET ", "SELECT pg_catalog.set_config"))]
    return re.sub(r"(CREATE TABLE \S+ \(\n)(.*?)(\n\))", sorted_columns, "\n".join(lines), flags=re.DOTALL)


def sorted_columns(table: re.Match[str]) -> str:
    return table[1] + "\n".join(sorted(line.rstrip(",") for line in table[2].splitlines())) + table[3]


def load(dsn: str, sql: str) -> None:
    subprocess.run([BIN / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", dsn], input=sql, text=True, check=True)


def test_migrations_rebuild_the_reference_schema(database: str, empty_database: str) -> None:
    load(empty_database, SCHEMA.read_text())
    migrated, explained = dump(database).splitlines(), dump(empty_database).splitlines()
    difference = "\n".join(difflib.unified_diff(migrated, explained, "the migrations", "storage/schema.sql", n=1, lineterm=""))
    if difference:
        pytest.fail(difference, pytrace=False)


def test_a_difference_would_be_noticed(database: str) -> None:
    before = dump(database)
    load(database, "CREATE TABLE z (a int); ALTER TABLE z ADD b int NOT NULL DEFAULT 1")
    assert dump(database) != before


def test_the_order_of_columns_is_no_difference(database: str, empty_database: str) -> None:
    load(database, "CREATE TABLE z (a int, b int)")
    load(empty_database, "CREATE TABLE z (b int, a int)")
    assert "CREATE TABLE public.z" in dump(empty_database)
    assert dump(empty_database).splitlines()[-4:] == ["CREATE TABLE public.z (", "    a integer", "    b integer", ");"]


@pytest.mark.parametrize("path", sorted(MIGRATIONS.glob("*")), ids=lambda path: path.name)
def test_a_migration_is_well_named_and_complete(path: Path) -> None:
    assert NAME.fullmatch(path.name)
    text = path.read_text()
    assert text.startswith("-- migrate:up")
    assert "\n-- migrate:down" in text


def test_versions_are_unique() -> None:
    versions = [path.name.split("_")[0] for path in MIGRATIONS.glob("*.sql")]
    assert sorted(set(versions)) == sorted(versions)


def lint(folder: Path, migrations: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """squawk, on the way up only: the way down is for developers."""
    for name, text in migrations.items():
        (folder / name).write_text(re.split(r"^-- migrate:down", text, flags=re.MULTILINE)[0])
    command = [SQUAWK, "--config", ROOT / ".squawk.toml", *sorted(folder.glob("*.sql"))]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"NO_COLOR": "1"})


def test_migrations_are_safe_to_run(tmp_path: Path) -> None:
    result = lint(tmp_path, {path.name: path.read_text() for path in MIGRATIONS.glob("*.sql")})
    assert result.returncode == 0, result.stdout


def test_an_unsafe_migration_would_be_noticed(tmp_path: Path) -> None:
    unsafe = "-- migrate:up\nALTER TABLE record ADD COLUMN x bigint NOT NULL;\n-- migrate:down\nDROP TABLE record;\n"
    result = lint(tmp_path, {"1.sql": unsafe})
    assert result.returncode == 1
    assert "DROP TABLE" not in result.stdout
