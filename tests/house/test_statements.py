"""Every statement of storage is one that PostgreSQL understands on the migrated schema; no other floor has any."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import asyncpg
import pytest

import storage
from storage.pool import Pool
from tests.house.tree import ROOT, python_files

STATEMENT = re.compile(r"\s*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|CREATE|ALTER|DROP|TRUNCATE|LOCK)\s+\S+")


def modules(package: ModuleType = storage) -> Iterator[ModuleType]:
    yield package
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


def statements(module: ModuleType) -> dict[str, str]:
    """{place: SQL} of a module's `SQL_*` constants, those it imported left out by equality of place."""
    return {
        f"{module.__name__}.{name}": value for name, value in vars(module).items() if name.startswith("SQL_") and isinstance(value, str)
    }


async def refusals(pool: Pool, wanted: dict[str, str]) -> dict[str, str]:
    """{place: what PostgreSQL says} of the statements it does not understand."""
    refused: dict[str, str] = {}
    async with pool.acquire() as connection:
        for place, sql in wanted.items():
            try:
                await connection.prepare(sql)
            except asyncpg.PostgresError as error:
                refused[place] = str(error)
    return refused


async def test_every_statement_prepares(pool: Pool) -> None:
    wanted = {place: sql for module in modules() for place, sql in statements(module).items()}
    assert wanted
    assert await refusals(pool, wanted) == {}


async def test_a_wrong_statement_would_be_noticed(pool: Pool) -> None:
    assert "no_such_table" in (await refusals(pool, {"x": "SELECT 1 FROM no_such_table"}))["x"]


def unnamed_statements(path: Path) -> list[int]:
    """Lines of a file with SQL outside a `SQL_*` constant."""
    parsed = ast.parse(path.read_text())
    named = {id(part) for node in parsed.body if is_constant(node) for part in ast.walk(node)}
    return [
        node.lineno
        for node in ast.walk(parsed)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value) and id(node) not in named
    ]


def is_constant(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id.startswith("SQL_") for target in targets)


@pytest.mark.parametrize("path", python_files("contracts", "sync", "storage", "api"), ids=lambda path: str(path.relative_to(ROOT)))
def test_sql_is_a_named_constant_of_storage(path: Path) -> None:
    assert unnamed_statements(path) == []
    if path.relative_to(ROOT).parts[0] != "storage":
        assert "SQL_" not in path.read_text()


def test_unnamed_sql_would_be_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        'SQL_A = "SELECT 1 FROM a"\nB = "SELECT 1 FROM b"\nasync def f(c):\n    await c.execute("""\n  UPDATE c SET x = 1""")\n'
    )
    assert unnamed_statements(path) == [2, 4]
