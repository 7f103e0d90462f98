"""How the day is told: one line an event, Chinese first, with the phone's signal beside it. Plain where nobody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Final

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from demo.radio import Signal
from demo.wrapping import wrapped, wrapped_text

WIDTH_MAX: Final = 104
BARS: Final = {Signal.NONE: Text(" ✕  ", "red"), Signal.ONE_BAR: Text("▂   ", "yellow"), Signal.GOOD: Text("▂▄▆█", "green")}
SERVER: Final = Text("════", "cyan")
COLUMNS: Final = (5, 4, 10)  # of an event, before its story
READING_S: Final = 0.35  # where somebody watches, a line stays a moment before the next


class Teller:
    """Prints. `hurried`: no pauses for reading (tests, pipes)."""

    def __init__(self, *, plain: bool = False, hurried: bool = False) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(encoding="utf-8", errors="replace")
        self.console = Console(highlight=False, no_color=plain or None, force_terminal=False if plain else None)
        self.console.width = min(self.console.width, WIDTH_MAX)
        self.is_watched = self.console.is_terminal and not hurried

    def show(self, what: RenderableType) -> None:
        self.console.print(what)

    def title(self, zh: str, en: str, more: str) -> None:
        story = Text(wrapped(more, self.console.width - 6))
        self.show(Panel(Group(Text(zh, "bold"), Text(en, "dim"), Text(), story), border_style="cyan", padding=(1, 2)))

    def legend(self) -> None:
        """What the signs beside the clock mean."""
        signs = (*((BARS[signal], signal.value) for signal in reversed(Signal)), (SERVER, "办公室、服务器"))
        self.show(Text.assemble(*(part for sign, word in signs for part in (" ", sign, " ", (word, "dim"), "  "))))

    def chapter(self, zh: str, en: str) -> None:
        """A heading; its English stands below where both do not fit into one line."""
        fits = cell_len(f"{zh}  {en} ─") <= self.console.width
        title = Text.assemble((zh, "bold cyan"), *(["  ", (en, "dim")] if fits else []))
        self.show(Padding(Rule(title, style="cyan", align="left"), (1, 0, 0, 0)))
        if not fits:
            self.show(Text(wrapped(en, self.console.width), "dim"))

    def event(self, clock: str, who: str, where: str, zh: str, en: str, signal: Signal | None = None, *, mark: str = "") -> None:
        """`signal` None: the server, or a desk in the office. `mark`: the style of what matters."""
        row = Table.grid(padding=(0, 2, 0, 0))
        for width in (*COLUMNS, None):
            row.add_column(width=width, overflow="fold")
        person = Text.assemble((who, "bold"), "\n", (where, "dim"))
        story = wrapped_text(zh, en, self.console.width - sum(COLUMNS) - 2 * len(COLUMNS) - 2, mark)
        row.add_row(Text(clock, "bold"), BARS[signal] if signal else SERVER, person, story)
        self.show(Padding(row, (0, 0, 0, 1)))
        if self.is_watched:
            time.sleep(READING_S)

    def note(self, zh: str, en: str) -> None:
        """A line below a table."""
        self.show(
            Padding(Text.assemble(wrapped(zh, self.console.width - 2), "\n", (wrapped(en, self.console.width - 2), "dim")), (0, 0, 0, 1))
        )

    def check(self, holds: bool, zh: str, en: str) -> None:
        """One line of the proof."""
        row = Table.grid(padding=(0, 1, 0, 0))
        row.add_row(Text("✓" if holds else "✗", "bold green" if holds else "bold red"), wrapped_text(zh, en, self.console.width - 6))
        self.show(Padding(row, (0, 0, 0, 1)))

    def wrong(self, zh: str, en: str = "") -> None:
        """What does not hold, in red."""
        self.show(Padding(wrapped_text(zh, en, self.console.width - 6, "bold red"), (0, 0, 0, 3)))

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Something that takes seconds."""
        began = time.monotonic()
        if self.is_watched:
            with self.console.status(text):
                yield
        else:
            yield
        self.show(Text.assemble((" ✓ ", "green"), text, (f"  {time.monotonic() - began:.1f} s", "dim")))

    @contextmanager
    def journeys(self) -> Iterator[Progress]:
        """A bar for each phone that comes home."""
        progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}", table_column=None),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[kib]:>10}"),
            TextColumn("{task.fields[state]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        with progress:
            yield progress
