"""The operators' page says what the program does: its settings, and commands that exist."""

import re

import rich_click as click

from server.__main__ import cli
from server.settings import settings_table
from tests.house.tree import ROOT

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
