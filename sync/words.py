"""Reading a mutation's words: its body as the kind's Struct, and the unit it wants a record to belong to."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from contracts.ids import UnitCode
from contracts.kinds import KINDS
from contracts.meta import Policy, field_rules
from contracts.mutation import CREATE, DELETE, EDIT, Mutation
from contracts.outcomes import Outcome, Reason
from sync.decision import Hold
from sync.machines import transition_of
from sync.places import unit_of

if TYPE_CHECKING:
    from sync.ledger import Ledger


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


def word_fault(mutation: Mutation) -> Reason | None:
    """A kind or operation this server has never heard of."""
    if mutation.kind not in KINDS:
        return Reason.UNKNOWN_KIND
    if mutation.op in (CREATE, EDIT, DELETE):
        return None
    return None if transition_of(mutation.kind, mutation.op) else Reason.UNKNOWN_COMMAND


def body_of(mutation: Mutation) -> msgspec.Struct | str:
    """The body of a creation, or what is wrong with it."""
    if mutation.body is msgspec.UNSET:
        return "body missing"
    try:
        body: msgspec.Struct = body_decoder(mutation.kind).decode(mutation.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return str(error)
    return body


def unit_wanted(mutation: Mutation, ledger: Ledger) -> UnitCode | Hold | None:
    """The unit this mutation gives its record; None: it says nothing about it. Children take their parent's."""
    if mutation.op != CREATE:
        new = mutation.fields.get("unit", (None, None))[1]
        return str(new) if new is not None else None
    kind, body = KINDS[mutation.kind], ledger.bodies[mutation.id]
    if kind.parent is None:
        unit: UnitCode | None = getattr(body, "unit", None)
        return unit
    parent = ledger.records.get(getattr(body, kind.parent))
    if parent is None:
        return Hold(outcome=Outcome.QUARANTINED, reason=Reason.PARENT_MISSING)
    return unit_of(parent.stream)
