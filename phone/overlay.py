"""What the person sees: the confirmed copy with their own pending mutations laid over it. Pure.

A value of a set or an append-only list is laid over as what was added and taken away, so that other people's entries
that arrived meanwhile stay visible; any other value is simply the newer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from contracts.kinds import KINDS
from contracts.meta import Policy, field_rules
from contracts.mutation import CREATE, DELETE
from phone.outbox import Pending


class Overlaid(msgspec.Struct, frozen=True):
    """`body` is None when there is nothing to show: no copy, and nothing created here."""

    body: dict[str, Any] | None
    deleted: bool


def overlay(confirmed: dict[str, Any] | None, pending: Iterable[Pending]) -> Overlaid:
    """Never changes `confirmed`."""
    body, deleted = confirmed, False
    for own in pending:
        mutation = own.mutation
        if mutation.op == CREATE and isinstance(mutation.body, Raw):
            body = {**(body or {}), **msgspec.json.decode(mutation.body)}
        elif mutation.op == DELETE:
            deleted = True
        elif body is not None:
            body = dict(body)
            for field, (old, new) in mutation.fields.items():
                seen = get_field(body, field)
                set_field(body, field, laid_over(policy_of(mutation.kind, field), seen, old, new))
            body.update(own.shows)
            deleted = False  # the edit survives a deletion (design.md 3.1), and so does the person's view of it
    return Overlaid(body, deleted)


def laid_over(policy: Policy, seen: Any, old: Any, new: Any) -> Any:
    """The value to show for a field that is `seen` in the copy and that the person changed from `old` to `new`."""
    if policy is Policy.UNION and isinstance(new, list):
        before, now = old or [], seen or []
        kept = [v for v in now if v in new or v not in before]
        return kept + [v for v in new if v not in before and v not in kept]
    if policy is Policy.APPEND and isinstance(new, list):
        known = [_entry_key(entry) for entry in seen or []]
        return [*(seen or []), *(entry for entry in new if _entry_key(entry) not in known)]
    return new


def policy_of(kind: str, field: str) -> Policy:
    """LATEST for what this app does not know, and for one key of a map."""
    known = KINDS.get(kind)
    rule = field_rules(known.body).get(field) if known else None
    return Policy.LATEST if rule is None else rule.policy


def get_field(body: Mapping[str, Any], field: str) -> Any:
    """`answers.dust_net` is one key of the map `answers`; anything missing is None."""
    name, dot, key = field.partition(".")
    value = body.get(name)
    if not dot:
        return value
    return value.get(key) if isinstance(value, dict) else None


def set_field(body: dict[str, Any], field: str, value: Any) -> None:
    """Sets in place; the one map it touches is copied first."""
    name, dot, key = field.partition(".")
    if not dot:
        body[name] = value
        return
    inner = body.get(name)
    body[name] = {**(inner if isinstance(inner, dict) else {}), key: value}


def _entry_key(entry: Any) -> Any:
    return entry.get("id", str(entry)) if isinstance(entry, dict) else str(entry)
