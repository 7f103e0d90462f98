"""From the journal back to the records: audit replays recorded changes and never plans again (design.md section 2)."""

from __future__ import annotations

from typing import Any

import msgspec

from contracts.ids import RecordId, StreamName, Version
from sync.intake import taken
from sync.merge import set_field


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One journal entry that wrote a record. `raw` is the mutation's, which holds the body of a new record that `patch` does not."""

    record: RecordId
    version: Version
    stream: StreamName | None
    deleted: bool
    patch: dict[str, Any] | None
    raw: bytes | None
    projected: bool = False  # it has the version of its source


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal says a record is."""

    version: Version
    stream: StreamName | None
    deleted: bool
    body: dict[str, Any]


class ReplayFault(Exception):
    """The entries of a record do not follow one from the other."""


def replay(entries: list[Recorded]) -> Replayed:
    """The record after all its entries, which come in order. Raises ReplayFault, saying where the story breaks."""
    state: Replayed | None = None
    for entry in entries:
        before = state.version[1] if state else 0
        follows = entry.version[1] > before if entry.projected else entry.version[1] == before + 1
        if not follows:
            raise ReplayFault(f"version {entry.version} follows {before}")
        state = Replayed(version=entry.version, stream=entry.stream, deleted=entry.deleted, body=_body_after(state, entry))
    if state is None:
        raise ReplayFault("no entry wrote it")
    return state


def _body_after(state: Replayed | None, entry: Recorded) -> dict[str, Any]:
    patch = entry.patch
    if patch is None:
        return _raw_body(entry)
    if "body" in patch:
        body: dict[str, Any] = patch["body"]
        return body
    if state is None and entry.raw is None:
        raise ReplayFault(f"version {entry.version} changes what was never made")
    body = dict(state.body) if state is not None else _raw_body(entry)  # a new record, with what the server signed in it
    for field, value in patch.get("set", {}).items():
        set_field(body, field, value)
    return body


def _raw_body(entry: Recorded) -> dict[str, Any]:
    mutation, _ = taken(entry.raw or b"")
    if mutation is None or mutation.body is msgspec.UNSET:
        raise ReplayFault(f"version {entry.version}: its mutation does not decode")
    body: dict[str, Any] = msgspec.json.decode(mutation.body)
    return body
