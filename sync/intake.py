"""From the bytes of a request to mutations, each decoded on its own, so that one mistyped field harms nobody."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from contracts.exchange import CountyPart
from contracts.ids import RecordId, problem_id
from contracts.kinds import KINDS
from contracts.mutation import CREATE, Envelope, Mutation
from sync.clock import DeviceClock, Interval, captured, certain
from sync.decision import Incoming

NUL: Final = b"\\u0000"  # PostgreSQL has no such character; nobody can have typed it
DEPTH_MAX: Final = 64  # so that what is read here can be read everywhere: decoders follow nesting down the stack
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)

_mutation: Final = msgspec.json.Decoder(Mutation)
_envelope: Final = msgspec.json.Decoder(Envelope)


def take_in(part: CountyPart, server_ms: int, bytes_max: int) -> list[Incoming]:
    """The part's mutations in order, not dated yet: until `dated` all that is known is that they were captured by now.

    What does not decode, or names another number than its place, is kept as bytes.
    """
    unknown = Interval(0, server_ms)
    return [decode_mutation(part.first_n + k, bytes(raw), unknown, bytes_max) for k, raw in enumerate(part.mutations)]


def decode_mutation(n: int, raw: bytes, when: Interval, bytes_max: int) -> Incoming:
    """One mutation. Never raises: what cannot be read becomes an `Incoming` without a mutation."""
    mutation = _decoded(raw) if len(raw) <= bytes_max else None
    if mutation is None or mutation.n != n:
        return Incoming(n=n, raw=raw, captured=when, envelope=_envelope_of(raw), is_too_large=len(raw) > bytes_max)
    return Incoming(n=n, raw=raw, captured=when, mutation=mutation)


def dated(batch: Sequence[Incoming], clock: DeviceClock, server_ms: int, fault: str | None = None) -> list[Incoming]:
    """With the interval of capture, once the device's clock is known; `fault`: it made the server fail before."""
    return [_dated(incoming, clock, server_ms, fault) for incoming in batch]


def _dated(incoming: Incoming, clock: DeviceClock, server_ms: int, fault: str | None) -> Incoming:
    n, mutation = incoming.n, incoming.mutation
    when = certain(n, clock, server_ms) if mutation is None else captured(mutation.at, n, clock, server_ms)
    return Incoming(
        n=n, raw=incoming.raw, captured=when, mutation=mutation, envelope=incoming.envelope, is_too_large=incoming.is_too_large, fault=fault
    )


def decode_raw(raw: bytes) -> tuple[Mutation | None, Envelope]:
    """A held mutation again, as it was stored."""
    mutation = _decoded(raw)
    return mutation, Envelope() if mutation is not None else _envelope_of(raw)


def _decoded(raw: bytes) -> Mutation | None:
    if NUL in raw or is_deep(raw):
        return None
    try:
        return _mutation.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_deep(raw: bytes) -> bool:
    """Whether JSON nests deeper than DEPTH_MAX. Looks only where there are brackets enough for it."""
    if raw.count(b"{") + raw.count(b"[") <= DEPTH_MAX:
        return False
    depth = 0
    for token in _STRUCTURE.finditer(raw):
        first = raw[token.start()]
        depth += (first in b"[{") - (first in b"]}")
        if depth > DEPTH_MAX:
            return True
    return False


def set_deep_aside(raw: bytes, level: int) -> tuple[bytes, dict[bytes, bytes]]:
    """JSON without the objects and lists at this level that nest deeper than DEPTH_MAX: each is a text instead, and stands
    under that text in the second answer. One pass, and no more is understood of it than where brackets open and close.
    """
    kept: list[bytes] = []
    aside: dict[bytes, bytes] = {}
    depth = start = deepest = done = 0
    for token in _STRUCTURE.finditer(raw):
        if raw[token.start()] in b"[{":
            depth += 1
            start, deepest = (token.start(), depth) if depth == level else (start, max(deepest, depth))
        elif raw[token.start()] in b"]}":
            if depth == level and deepest - level >= DEPTH_MAX:
                name = b'"deep %d"' % len(aside)
                aside[name] = raw[start : token.end()]
                kept += raw[done:start], name
                done = token.end()
            depth -= 1
    return b"".join((*kept, raw[done:])), aside


def _envelope_of(raw: bytes) -> Envelope:
    if NUL in raw or is_deep(raw):
        return Envelope()
    try:
        return _envelope.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Envelope()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What planning a batch will probably need, known before anything is read."""

    records: frozenset[RecordId]
    streams: frozenset[str]


class _Homed(msgspec.Struct, frozen=True):
    """Where a creation says it belongs."""

    unit: str | None = None
    parent: RecordId | None = None
    item: str | None = None


_homed: Final = msgspec.json.Decoder(_Homed)


def wanted_of(batch: Sequence[Incoming]) -> Wanted:
    """A guess, to save a second turn: planning names what is missing."""
    records: set[RecordId] = set()
    streams: set[str] = set()
    for incoming in batch:
        mutation = incoming.mutation
        kind = KINDS.get(mutation.kind) if mutation else None
        if mutation is None or kind is None:
            continue
        records.add(mutation.record)
        unit = mutation.fields.get("unit", (None, None))[1]
        if mutation.op == CREATE and mutation.body is not msgspec.UNSET:
            try:
                homed = _homed.decode(mutation.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            unit = homed.unit
            if homed.parent is not None:
                records |= {homed.parent, *([problem_id(homed.parent, homed.item)] if homed.item else [])}
        if mutation.op == "conflict.settle":
            records |= _ids(mutation.args.get("record"))
        if isinstance(unit, str):
            streams.add(f"{unit}.{kind.audience.value}")
    return Wanted(records=frozenset(records), streams=frozenset(streams))


def photos_changed(batch: Sequence[Incoming]) -> set[RecordId]:
    """Photos about which something is said after they were announced: those who see a mirror must see it too."""
    mutations = [incoming.mutation for incoming in batch if incoming.mutation is not None]
    return {mutation.record for mutation in mutations if mutation.kind == "photo" and mutation.op != CREATE}


def _ids(value: object) -> set[RecordId]:
    try:
        return {RecordId(str(value))}
    except ValueError:
        return set()
