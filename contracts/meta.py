"""What is declared beside a field: its Chinese label, unit, bounds and merge policy (design.md 3.1).

note: Annotated[str, field("备注", LATEST, max_length=4000)] = ""
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec


class Policy(str, Enum):
    """What happens when two values meet and neither writer had seen the other."""

    UNION = "union"  # a set: keep both
    APPEND = "append"  # a list of entries with an `id`: keep both, in commit order
    LATEST = "latest"  # the later commit is kept, the other value goes to the conflict inbox
    COMPOUND = "compound"  # as LATEST, and the parts of the value always move together (position + accuracy)
    EACH = "each"  # a map: every key is a field of its own, with policy LATEST
    IMMUTABLE = "immutable"  # set at creation, never changed
    COMMAND = "command"  # changed only by commands (states)
    SERVER = "server"  # written only by the server's rules and jobs


class FieldRule(msgspec.Struct, frozen=True, kw_only=True):
    """The declared meaning of one field of one kind."""

    name: str
    label: str
    policy: Policy
    unit: str | None = None


def field(label: str, policy: Policy, *, unit: str | None = None, **bounds: Any) -> msgspec.Meta:
    """Meta of one field. `bounds` are msgspec's: ge, le, max_length, pattern ..."""
    extra = {"policy": policy.value, "unit": unit}
    shown = {"x-policy": policy.value} | ({"x-unit": unit} if unit else {})
    return msgspec.Meta(title=label, extra=extra, extra_json_schema=shown, **bounds)


@cache
def field_rules(body: type[msgspec.Struct]) -> dict[str, FieldRule]:
    """Wire name -> rule, for every field of a kind's body. A field without a declaration is a bug (TypeError)."""
    hints = get_type_hints(body, include_extras=True)
    rules = {}
    for info in msgspec.structs.fields(body):
        meta = _meta_of(hints[info.name])
        if meta is None or meta.extra is None:
            raise TypeError(f"{body.__name__}.{info.name} declares no label and policy")
        rules[info.encode_name] = FieldRule(
            name=info.encode_name,
            label=str(meta.title),
            policy=Policy(meta.extra["policy"]),
            unit=meta.extra["unit"],
        )
    return rules


def _meta_of(hint: Any) -> msgspec.Meta | None:
    if get_origin(hint) is Annotated:
        return next((m for m in get_args(hint)[1:] if isinstance(m, msgspec.Meta) and m.extra), None)
    return None
