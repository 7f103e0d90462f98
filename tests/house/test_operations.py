"""The operators' page says what the program does: its settings, and commands that exist."""

import re
import shlex

import pytest
import rich_click as click

from server.__main__ import cli
from server.settings import settings_table
from tests.house.tree import ROOT

DEPLOY = ROOT / "docs" / "how-to" / "deploy.md"
COMMAND = re.compile(r"(?:(?<!alert .)\bxunling|-m server|compose run --rm(?= backup)) ([a-z][^`|;&#\n]*)")
PAGE = ROOT / "docs" / "operations.md"


def test_the_table_of_settings_is_current() -> None:
    assert PAGE.read_text().endswith(settings_table()), "run: python -m server config --markdown"


def test_every_command_it_names_exists() -> None:
    named = set(re.findall(r"(?:xunling|python -m server) ((?:backup )?[a-z]+)", PAGE.read_text())) - {"config"}
    assert len(named) > 5
    for words in named:
        command: click.Command = cli
        for word in words.split():
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), word)
            assert found is not None, words
            command = found


def parse(command: click.Command, words: list[str]) -> None:
    """Read the words as the command line would, without doing anything. click.UsageError when it would refuse them."""
    if isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words
        parse(found, words[1:])
    else:
        command.make_context(command.name, words)


def code_of(page: str) -> list[str]:
    return [
        *re.findall(r"```sh\n(.*?)```", page, re.DOTALL),
        *re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", page, flags=re.DOTALL)),
    ]


def test_every_command_line_of_the_deployment_page_is_one_the_program_reads() -> None:
    lines = [words for code in code_of(DEPLOY.read_text()) for words in COMMAND.findall(code) if not words.startswith("means")]
    assert {line.split()[0] for line in lines} >= {"create-admin", "check", "keys", "backup", "reset-second-factor", "audit", "migrate"}
    for line in lines:
        words = shlex.split(line)
        parse(cli, [*words, "13900000000"] if words == ["reset-second-factor"] else words)
    with pytest.raises(click.UsageError):
        parse(cli, ["keys", "rotate", "--wrong"])


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_what_the_readme_prints_ends_with_a_newline(page: str) -> None:
    lines = [line for line in (ROOT / page).read_text().splitlines() if line.startswith("curl ")]
    assert len(lines) >= 4
    assert all("-w '\\n'" in line for line in lines)
