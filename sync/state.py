"""What the server knows of a record when it plans."""

from __future__ import annotations

from typing import Any

import msgspec

from contracts.ids import NO_VERSION, County, DeviceId, RecordId, StreamName, Version


class Writer(msgspec.Struct, frozen=True, array_like=True):
    """Who last set a field: the record's version at that moment, and the mutation (device and its number)."""

    incarnation: int
    version: int
    device: DeviceId
    n: int

    @property
    def at(self) -> Version:
        return (self.incarnation, self.version)


EVERY_OTHER = "*"  # in `fields`: the writer of all fields that are not named
DELETION = "-"  # in `fields`: who deleted the record


class RecordState(msgspec.Struct, frozen=True, kw_only=True):
    """One record. A missing record is `None`; a deleted one keeps its body, so that a late edit can bring it back.

    body         JSON object as stored
    planned_on   its version in the database when it was read (NO_VERSION: missing), which the write must find again
    """

    id: RecordId
    kind: str
    stream: StreamName
    version: Version
    fields: dict[str, Writer]
    body: bytes
    parent: RecordId | None = None
    deleted: bool = False
    moved_to: County | None = None
    seq: int = 0
    planned_on: Version = NO_VERSION

    @property
    def values(self) -> dict[str, Any]:
        values: dict[str, Any] = msgspec.json.decode(self.body)
        return values

    def writer(self, field: str) -> Writer:
        return self.fields.get(field) or self.fields[EVERY_OTHER]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A locked stream head."""

    stream: StreamName
    incarnation: int
    seq: int
    count: int
    digest: int
