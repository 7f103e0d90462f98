"""Reading a mutation's words: its body as the kind's Struct, and fields that are of their shape."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from contracts.kinds import KINDS
from contracts.meta import Policy, field_rules
from contracts.mutation import ARCHIVE, CREATE, DELETE, EDIT, Mutation
from contracts.outcomes import Reason
from sync.machines import transition_of
from sync.merge import MAP_SEPARATOR


@cache
def body_decoder(kind: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(KINDS[kind].body)


@cache
def guarded_fields(kind: str) -> tuple[tuple[str, Any], ...]:
    """(field, default) of what a device must leave alone at creation: states and the server's own fields."""
    rules = field_rules(KINDS[kind].body)
    return tuple(
        (info.name, info.default if info.default_factory is msgspec.NODEFAULT else info.default_factory())
        for info in msgspec.structs.fields(KINDS[kind].body)
        if rules[info.encode_name].policy in (Policy.COMMAND, Policy.SERVER)
    )


def state_now(kind: str, values: dict[str, Any]) -> str:
    """The state of a record; a body that does not say it is in the kind's first state."""
    default = next((default for name, default in guarded_fields(kind) if name == "state"), "")
    return str(values.get("state", default))


def word_fault(mutation: Mutation) -> Reason | None:
    """A kind or operation this server has never heard of."""
    if mutation.kind not in KINDS:
        return Reason.UNKNOWN_KIND
    if mutation.op in (CREATE, EDIT, DELETE, ARCHIVE):
        return None
    return None if transition_of(mutation.kind, mutation.op) else Reason.UNKNOWN_COMMAND


def body_of(mutation: Mutation) -> msgspec.Struct | str:
    """The body of a creation, or what is wrong with it."""
    if mutation.body is msgspec.UNSET:
        return "body missing"
    try:
        body: msgspec.Struct = body_decoder(mutation.kind).decode(mutation.body)
        msgspec.json.decode(mutation.body)  # also what a newer app put there: it is stored and sent on as it is
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return str(error)
    return body


def decoding_fault(kind: str, body: bytes) -> str | None:
    """What is wrong with a body that a merge made."""
    try:
        body_decoder(kind).decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        return str(error)
    return None


def shape_fault(mutation: Mutation) -> str | None:
    """A value that cannot be merged: a path into what is no map, or another shape than the field's policy works on."""
    rules = field_rules(KINDS[mutation.kind].body)
    for path, pair in mutation.fields.items():
        name, dot, _ = path.partition(MAP_SEPARATOR)
        rule = rules.get(name)
        if rule is None:
            continue
        if dot and rule.policy is not Policy.EACH:
            return f"{name} is one value: {path} is no field"
        shape = {Policy.UNION: list, Policy.APPEND: list, Policy.EACH: dict}.get(rule.policy)
        if shape is not None and not dot and any(v is not None and not isinstance(v, shape) for v in pair):
            return f"{name} must be a {shape.__name__}, before and after"
    return None
