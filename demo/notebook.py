"""What people typed, value by value, written down before a phone sees it. No code of the product is used here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Any


def at_desk(key: str) -> str:
    """As whose the notebook keeps what a person types at a console and not on the phone."""
    return f"{key}@desk"


@dataclass(frozen=True)
class Typed:
    """One value that a person gave, or one command (`field` empty).

    record   id of the record it was typed into
    what     the record as people call it
    field    a field of the record; `answers.<item>` one answer; `args.<name>` an argument of a command
    """

    number: int
    hand: str
    at_ms: int
    record: str
    what: str
    kind: str
    op: str
    field: str
    value: Json


@dataclass(frozen=True)
class Taken:
    """One photo, by the hash that this notebook computed from the bytes that left the camera."""

    hand: str
    record: str
    sha256: str
    bytes: int
    caption: str


class Notebook:
    def __init__(self) -> None:
        self.typed: list[Typed] = []
        self.taken: list[Taken] = []

    def note(self, hand: str, at_ms: int, record: str, what: str, kind: str, op: str, values: Mapping[str, Json]) -> None:
        """Each value of one act; an act without values (start, delete) is noted as itself."""
        for field, value in values.items() or [("", None)]:
            self.typed.append(Typed(len(self.typed) + 1, hand, at_ms, record, what, kind, op, field, value))

    def note_photo(self, hand: str, record: str, content: bytes, caption: str) -> None:
        self.taken.append(Taken(hand, record, hashlib.sha256(content).hexdigest(), len(content), caption))

    def photos_of(self, hand: str) -> list[Taken]:
        return [photo for photo in self.taken if photo.hand == hand]
