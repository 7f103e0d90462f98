"""From the bytes of a request to mutations, each decoded on its own, so that one mistyped field harms nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import accumulate
from math import isfinite
from typing import Final

import msgspec
from msgspec.structs import replace

from contracts.exchange import CountyPart
from contracts.ids import RecordId, problem_id
from contracts.kinds import KINDS
from contracts.mutation import CREATE, Envelope, Mutation
from sync.clock import DeviceClock, Interval, captured, certain
from sync.decision import Incoming
from sync.located import with_places_only

NUL: Final = b"\\u0000"
_nul: Final = re.compile(rb"(?<!\\)((?:\\\\)*+)\\u0000")  # the escape itself: after a backslash that is escaped it is six letters
FIELDS_MAX: Final = 500  # that one edit may name: each is merged by itself, and may become a conflict of its own
NUL_LEFT_OUT, UNREADABLE_LEFT_OUT = "nul", "unreadable"  # `left_out` in the detail of an outcome
DEPTH_MAX: Final = 64  # so that what is read here can be read everywhere: decoders follow nesting down the stack
# A text that does not end reaches to the end of the bytes, and nothing is tried twice (`*+`): the time is linear in the length of any input.
_TEXT: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_texts: Final = re.compile(_TEXT, re.DOTALL)
_structure: Final = re.compile(_TEXT + rb"|[\[\]{}]", re.DOTALL)
_OPENS_AND_CLOSES: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1 as signed bytes
_ALL_ELSE: Final = bytes(set(range(256)) - set(b"[]{}"))

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
    mutation, left_out = _decoded(raw) if len(raw) <= bytes_max else (None, ())
    is_too_large = len(raw) > bytes_max or (mutation is not None and len(mutation.fields) > FIELDS_MAX)
    if mutation is None or mutation.n != n or is_too_large:
        return Incoming(n=n, raw=raw, captured=when, envelope=envelope_of(raw), is_too_large=is_too_large)
    return Incoming(n=n, raw=raw, captured=when, mutation=mutation, left_out=left_out)


def dated(batch: Sequence[Incoming], clock: DeviceClock, server_ms: int, fault: str | None = None) -> list[Incoming]:
    """With the interval of capture, once the device's clock is known; `fault`: it made the server fail before."""
    return [_dated(incoming, clock, server_ms, fault) for incoming in batch]


def _dated(incoming: Incoming, clock: DeviceClock, server_ms: int, fault: str | None) -> Incoming:
    n, mutation = incoming.n, incoming.mutation
    when = certain(n, clock, server_ms) if mutation is None else captured(mutation.at, n, clock, server_ms)
    return replace(incoming, captured=when, fault=fault)


def decode_held(n: int, raw: bytes, bytes_max: int, *, mend: bool) -> tuple[Mutation | None, tuple[str, ...]]:
    """A held mutation again, as it was stored, and what was left out of it. One with more fields than FIELDS_MAX stays held.

    mend    a person answers for it: characters and numbers that JSON does not have are left out, and it takes the number of its place
    """
    if len(raw) > bytes_max:
        return None, ()
    mutation, left_out = taken(raw) if mend else _decoded(raw)
    if mutation is None or len(mutation.fields) > FIELDS_MAX or (mutation.n != n and not mend):
        return None, ()
    return (mutation if mutation.n == n else replace(mutation, n=n)), left_out


def taken(raw: bytes) -> tuple[Mutation | None, tuple[str, ...]]:
    """A mutation as the server took it, of the bytes that the journal keeps: at arrival, or mended when a person released it."""
    mutation, left_out = _decoded(raw)
    if mutation is None and (mended := without_unreadable(raw)) is not None:
        mutation, left_out = _decoded(mended)
        left_out = (UNREADABLE_LEFT_OUT, *left_out)
    return mutation, left_out


def _decoded(raw: bytes) -> tuple[Mutation | None, tuple[str, ...]]:
    """PostgreSQL has no NUL, and nobody can have typed one: it came with something pasted, and is left out, as is a position that says no place."""
    left_out: tuple[str, ...] = ()
    if NUL in raw and (cleaned := _nul.sub(rb"\1", raw)) != raw:
        raw, left_out = cleaned, (NUL_LEFT_OUT,)
    if is_deep(raw):
        return None, ()
    try:
        mutation, no_place = with_places_only(_mutation.decode(raw), raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, ()
    return mutation, (*left_out, *no_place)


def without_unreadable(raw: bytes) -> bytes | None:
    """JSON of what is no JSON: half a surrogate pair and bytes that are no UTF-8 become U+FFFD; members that are no finite number are left out,
    and null in a list. None: no JSON even so.
    """
    try:
        value = json.loads(
            raw.decode(errors="replace"), strict=False, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_finite_members
        )
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


_NOT_FINITE: Final = object()


def _no_number(_word: str) -> object:
    return _NOT_FINITE


def _finite(text: str) -> object:
    number = float(text)
    return number if isfinite(number) else _NOT_FINITE


def _finite_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return {name: value for name, value in pairs if value is not _NOT_FINITE}


def is_deep(raw: bytes) -> bool:
    """Whether JSON nests deeper than DEPTH_MAX. Looks only where there are brackets enough for it."""
    if raw.count(b"{") + raw.count(b"[") <= DEPTH_MAX:
        return False
    steps = memoryview(_texts.sub(b"", raw).translate(_OPENS_AND_CLOSES, _ALL_ELSE)).cast("b")
    return max(accumulate(steps), default=0) > DEPTH_MAX


def set_deep_aside(raw: bytes, level: int) -> tuple[bytes, dict[bytes, bytes]]:
    """JSON without the objects and lists at this level that nest deeper than DEPTH_MAX: each is a text instead, and stands
    under that text in the second answer. One pass, and no more is understood of it than where brackets open and close.
    """
    kept: list[bytes] = []
    aside: dict[bytes, bytes] = {}
    depth = start = deepest = done = 0
    for token in _structure.finditer(raw):
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


def envelope_of(raw: bytes) -> Envelope:
    """What may be known of a mutation that does not decode. Its texts are stored, so a NUL is left out of them, too."""
    try:
        return _envelope.decode(_nul.sub(rb"\1", raw) if NUL in raw else raw)
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
