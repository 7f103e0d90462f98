"""Whose name stands under what: the server writes it, whatever a phone says (decision 0012).

A person signs by the device and the duty they push with, never by a name they type. Whatever the server itself pushes (a copy on
its way between counties) was signed where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, get_args, get_type_hints

import msgspec

from contracts.kind import Comment
from contracts.kinds import KINDS
from contracts.meta import Policy, field_rules
from contracts.mutation import Mutation
from sync.decision import Sender
from sync.keeping import MADE_AS, made_as
from sync.merge import get_field
from sync.tally import Tally

MADE_BY: Final[Mapping[str, str]] = {"problem": "reported_by", "inspection": "recorded_by", "whistle": "proposed_by"}
TAKEN_BY: Final = "taken_by"  # of a photo: the app is the camera


@cache
def comment_fields(kind: str) -> tuple[str, ...]:
    """The fields of a kind that hold comments."""
    body = KINDS[kind].body
    hints = get_type_hints(body)
    names = [name for name, rule in field_rules(body).items() if rule.policy is Policy.APPEND]
    return tuple(name for name in names if Comment in get_args(hints[name]))


def signed_body(mutation: Mutation, sender: Sender, tally: Tally) -> dict[str, Any]:
    """What a new record says in other words than its author sent: {field: value}."""
    if sender.is_system:
        return {}
    kind, body, person = mutation.kind, tally.bodies[mutation.id], str(sender.person)
    signed: dict[str, Any] = {MADE_BY[kind]: person} if kind in MADE_BY else {}
    if kind in MADE_AS:
        signed[MADE_AS[kind]] = made_as(sender, body.unit, tally.captured, tally)
    if kind == "inspection" and sender.person not in body.inspectors:
        signed["inspectors"] = with_author([str(one) for one in body.inspectors], person)
    if kind == "photo" and getattr(body, TAKEN_BY) not in (None, sender.person):
        signed[TAKEN_BY] = person
    spoken = [name for name in comment_fields(kind) if getattr(body, name)]
    if spoken:
        values: dict[str, Any] = msgspec.json.decode(mutation.body)  # type: ignore[arg-type]
        signed |= {name: _signed(values[name], [], sender, tally) for name in spoken}
    return signed


def with_author(inspectors: Any, author: str | None) -> Any:
    """Who took part in an inspection: its author first, if nobody named them, and those they named."""
    return [author, *inspectors] if isinstance(inspectors, list) and author is not None and author not in inspectors else inspectors


def signed_edits(
    kind: str, values: Mapping[str, Any], edits: Mapping[str, tuple[Any, Any]], sender: Sender, tally: Tally
) -> dict[str, tuple[Any, Any]]:
    """The edits, with every added comment signed by whoever adds it."""
    if sender.is_system:
        return dict(edits)
    known = {name: _ids(get_field(values, name)) for name in comment_fields(kind) if name in edits}
    return {
        name: (old, _signed(new, old, sender, tally, known[name])) if name in known and isinstance(new, list) else (old, new)
        for name, (old, new) in edits.items()
    }


def _signed(new: Any, old: Any, sender: Sender, tally: Tally, known: frozenset[str] = frozenset()) -> Any:
    """Signed by the sender. What they only hand back (it was on their screen, and the server lost it) is nobody's signature."""
    on_screen = _ids(old)
    mine = {"by": str(sender.person), "at": tally.captured_at().isoformat()}
    return [
        entry if not isinstance(entry, dict) or _id(entry) in known else entry | ({"by": None} if _id(entry) in on_screen else mine)
        for entry in new
    ]


def _ids(entries: Any) -> frozenset[str]:
    return frozenset(_id(entry) for entry in entries or () if isinstance(entry, dict))


def _id(entry: Mapping[str, Any]) -> str:
    return str(entry.get("id"))


def with_signatures(raw: bytes, signed: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(raw), **signed}) if signed else raw
