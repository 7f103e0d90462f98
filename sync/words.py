"""Reading a mutation's words: its body as the kind's Struct, and fields that are of their shape."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from contracts.ids import is_derived, is_worded, problem_id
from contracts.kinds import KINDS
from contracts.meta import Policy, field_rules
from contracts.mutation import ARCHIVE, CREATE, DELETE, EDIT, Mutation
from contracts.outcomes import Reason
from contracts.stored import fault_of
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


def decoding_fault(kind: str, body: bytes, changed: Iterable[str]) -> str | None:
    """What is wrong with a body that a merge made, in the fields that it changed (paths into a map count as the map)."""
    try:
        body_decoder(kind).decode(body)
    except (msgspec.DecodeError, RecursionError):
        return fault_of(KINDS[kind].body, msgspec.json.decode(body), {path.partition(MAP_SEPARATOR)[0] for path in changed})
    return None


def is_blank(text: str) -> bool:
    """Nothing to read: white space of any kind, marks without width, controls."""
    return all(c.isspace() or unicodedata.category(c) in ("Cc", "Cf") for c in text)


class _Opening(msgspec.Struct, frozen=True):
    """Of a problem: the inspection's item whose `no` opens it."""

    inspection: uuid.UUID | None = None
    item: str | None = None


_opening = msgspec.json.Decoder(_Opening)


def id_fault(mutation: Mutation) -> str | None:
    """An id that the server derives from public facts for what it will make itself: under somebody else's work it would never be made.

    The problem of a `no` is the one that a phone derives, too.
    """
    if is_derived(mutation.id):
        return "id: version 5 is the server's"
    if mutation.op == CREATE and is_derived(mutation.record) and not _is_of_a_no(mutation):
        return "record: version 5 is the server's"
    return None


def worded_fault(mutation: Mutation) -> str | None:
    """An id of what the server puts into words for a person, in what a person sends under an id of their own."""
    if is_worded(mutation.id):
        return "id: version 8 is the server's"
    return "record: version 8 is the server's" if mutation.op == CREATE and is_worded(mutation.record) else None


def _is_of_a_no(mutation: Mutation) -> bool:
    if mutation.kind != "problem" or mutation.body is msgspec.UNSET:
        return False
    try:
        opening = _opening.decode(mutation.body)
    except msgspec.DecodeError:
        return False
    return opening.inspection is not None and opening.item is not None and mutation.record == problem_id(opening.inspection, opening.item)


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
