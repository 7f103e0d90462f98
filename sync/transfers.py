"""A record moves to another county by copy, and what follows it there (design.md 3.1).

In the transaction that plans the move, the record becomes a deleted one that knows where it went, and a `Transfer` says
what the job pushes into the other county: a creation with the body, under an id derived from the record and its version.
Mutations that arrive later are transfers, too, under ids derived from their own. Their base means nothing there, so they
carry one that proves nothing: what they have seen is told by their old values, as after a rewind (design.md 3.3).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from contracts.ids import NO_VERSION, County, DeviceId, PersonId, RecordId, asked_id, derived_mutation_id
from contracts.kinds import KINDS
from contracts.mutation import CONTRACT_MAX, CREATE, EDIT, Capture, Mutation
from sync.decision import Sender
from sync.state import RecordState

_SERVER: Final = Capture(wall_ms=0, mono_ms=0, session="server")
ARRIVES: Final = "from"  # in `args` of a creation by the server: [county, incarnation, version] it was copied from


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """One mutation to be pushed in `target`, after all earlier ones of its family (a record and its children).

    device, n, person   of the mutation that caused it
    by_system           the server may write what a person may not: a copy, or what a job wrote
    is_copy             the record itself; otherwise a late mutation on it
    """

    family: RecordId
    target: County
    mutation: Mutation
    device: DeviceId
    n: int
    person: PersonId
    by_system: bool
    is_copy: bool
    sha256: str | None = None  # of a photo, whose bytes go after it


class _Pictured(msgspec.Struct):
    sha256: str


def leaving(record: RecordState, n: int, county: County, sender: Sender) -> Transfer:
    """The record itself, on its way to the county it moved to; `n` moved it."""
    assert record.moved_to is not None
    return Transfer(
        family=family_of(record),
        target=record.moved_to,
        mutation=copy_of(record, county),
        device=sender.device,
        n=n,
        person=sender.person,
        by_system=True,
        is_copy=True,
        sha256=sha256_of(record),
    )


def late(mutation: Mutation, record: RecordState, sender: Sender) -> Transfer:
    """A mutation that follows a record which has moved."""
    assert record.moved_to is not None
    return Transfer(
        family=family_of(record),
        target=record.moved_to,
        mutation=forwarded(mutation),
        device=sender.device,
        n=mutation.n,
        person=sender.person,
        by_system=sender.is_system,
        is_copy=False,
    )


def family_of(record: RecordState) -> RecordId:
    return record.parent or record.id


def copy_of(record: RecordState, county: County) -> Mutation:
    """The creation of the record as it left, in the county it moved to. The same leaving never makes two."""
    return Mutation(
        id=derived_mutation_id("transfer", county, record.id, *record.version),
        n=1,
        kind=record.kind,
        record=record.id,
        op=CREATE,
        at=_SERVER,
        contract=CONTRACT_MAX,
        app="server",
        body=msgspec.Raw(record.body),
        args={ARRIVES: [county, *record.version]},
    )


def forwarded(mutation: Mutation) -> Mutation:
    """A late mutation as it is pushed where its record lives now; forwarded twice on its way, it still is the same one."""
    return replace(mutation, id=asked_id("forward", mutation.id), n=1, base=NO_VERSION, contract=CONTRACT_MAX)


def settling(mutation: Mutation, record: RecordState, field: str, old: Any, new: Any) -> Mutation:
    """What a supervisor decided on a conflict whose record has moved meanwhile, as an edit of that record."""
    return replace(mutation, kind=record.kind, record=record.id, op=EDIT, fields={field: (old, new)}, args={}, base=NO_VERSION)


def sha256_of(record: RecordState) -> str | None:
    return msgspec.json.decode(record.body, type=_Pictured).sha256 if KINDS[record.kind].name == "photo" else None


def arrives(mutation: Mutation) -> bool:
    """Whether this is a copy that a transfer brings. Only meaningful of the server's own mutations."""
    return mutation.op == CREATE and ARRIVES in mutation.args
