"""What a person meant: one mutation, as it travels and as the journal keeps it (design.md section 2 and 3.1)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from contracts.ids import MutationId, RecordId, Version

ContractVersion = Annotated[int, Meta(ge=0, le=2**31 - 1)]
CONTRACT_MIN = 1  # the oldest and newest contract this server speaks; older and newer work is kept, not applied
CONTRACT_MAX = 1
MUTATION_BYTES_MAX = 256 * 1024  # as it travels; a server keeps a larger one and does not read it, so a phone must not make one
RECORD_BYTES_MAX = 512 * 1024  # of a record's body: every phone of its stream has to fetch it
RECORD_FIELDS_MAX = 2_000  # fields of a record that have a writer of their own: each entry of a map is one

CREATE, EDIT, DELETE = "create", "edit", "delete"
ARCHIVE = "record.archive"  # of the server alone: a closed, old record leaves the phones (design.md 3.2)


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """The phone's clock at one moment. Trusted only for differences inside one session (design.md 3.1)."""

    wall_ms: Annotated[int, Meta(ge=-(2**53), le=2**53)]  # Unix time the phone believes, milliseconds
    mono_ms: Annotated[int, Meta(ge=0, le=2**53)]  # monotonic clock, milliseconds since the session began
    session: Annotated[str, Meta(max_length=64)]  # new whenever continuity is unproven: reboot, reload, suspend


class Mutation(msgspec.Struct, frozen=True, kw_only=True):
    """One create, edit, delete or named command on one record.

    base    the record version the phone saw, or the id of its own earlier mutation in an offline chain; null at creation
    body    the whole body, for `create` only
    fields  {field: [old, new]} for an edit or a command's own values; `answers.<item>` addresses one key of a map
    args    a command's arguments that are not fields of the record (a reason, a choice)
    """

    id: MutationId
    n: Annotated[int, Meta(ge=1, le=2**53)]
    kind: Annotated[str, Meta(max_length=40)]
    record: RecordId
    op: Annotated[str, Meta(max_length=64)]
    at: Capture
    contract: ContractVersion
    app: Annotated[str, Meta(max_length=40)] = ""
    base: Version | MutationId | None = None
    body: Raw | UnsetType = UNSET
    fields: dict[Annotated[str, Meta(max_length=120)], tuple[Any, Any]] = {}
    args: dict[str, Any] = {}


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The least that is read of a mutation which does not decode, so that the desk can say what it may have been."""

    id: MutationId | None = None
    kind: str | None = None
    record: RecordId | None = None
