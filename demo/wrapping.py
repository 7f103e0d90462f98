"""Breaking lines that mix Chinese and English. A terminal's cell counts, a Chinese character may end a line, a word may not be cut."""

from __future__ import annotations

import re
from typing import Final

from rich.cells import cell_len
from rich.text import Text

NEVER_FIRST: Final = "，。、；：？！）」』》”’,.;:?!)%…"
NEVER_LAST: Final = "（「『《“‘("
_PIECE: Final = re.compile(r"\s+|[\u2e80-\u9fff\uff00-\uffef\u3000-\u303f]|[^\s\u2e80-\u9fff\uff00-\uffef\u3000-\u303f]+")


def wrapped(text: str, cells: int) -> str:
    """`text` with newlines so that no line is wider than `cells`, as far as its words allow."""
    return "\n".join(line for one in text.split("\n") for line in _lines(one, cells))


def _lines(text: str, cells: int) -> list[str]:
    lines, line = list[str](), ""
    for piece in _unbreakable(_PIECE.findall(text)):
        if line and cell_len(line) + cell_len(piece.rstrip()) > cells:
            lines.append(line.rstrip())
            line = piece.lstrip()
        else:
            line += piece
    return [*lines, line.rstrip()]


def _unbreakable(pieces: list[str]) -> list[str]:
    """Punctuation sticks to what it belongs to."""
    stuck: list[str] = []
    for piece in pieces:
        if stuck and (piece[0] in NEVER_FIRST or stuck[-1][-1] in NEVER_LAST):
            stuck[-1] += piece
        else:
            stuck.append(piece)
    return stuck


def wrapped_text(zh: str, en: str, cells: int, style: str = "") -> Text:
    """Chinese, and its English below it, dimmed."""
    text = Text().append(wrapped(zh, cells), style)
    return text.append("\n" + wrapped(en, cells), "dim") if en else text
