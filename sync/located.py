"""Positions as phones send them when they have none: what is no place on earth is left out, and the rest of the mutation stands.

Without a fix, phones write 0,0, the smallest double (4.9E-324), 999, -180,-180 (kCLLocationCoordinate2DInvalid) or null (what JSON makes
of NaN); without an accuracy they write -1, the greatest float, null or nothing. A place that is known is kept, and an accuracy that says nothing
of a place's is unknown (contracts.kind.Position.error_m). What is no position of any kind stays as it is, and is judged as any other value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from contracts.kind import Position
from contracts.mutation import CREATE, Mutation

NO_FIX_DEGREES: Final = 1e-4
POSITION_LEFT_OUT, ACCURACY_LEFT_OUT = "position", "accuracy"  # `left_out` in the detail of an outcome
_NAMED: Final = b'"position"'
_FAULTS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Placed(msgspec.Struct, frozen=True):
    position: Position | None = None


_placed: Final = msgspec.json.Decoder(_Placed)


def given(position: Position | None) -> Position | None:
    """None for 0,0 (in the Gulf of Guinea), which phones and cameras write when they have no fix."""
    if position is None or (abs(position.lat) < NO_FIX_DEGREES and abs(position.lng) < NO_FIX_DEGREES):
        return None
    return position


def placed(value: Any) -> tuple[Any, str | None]:
    """A position as it is kept (None: it says no place), and what was left out of it."""
    if not isinstance(value, Mapping) or not all(_is_number(value.get(name)) for name in ("lat", "lng")):
        return value, None
    known = {name: part for name, part in value.items() if name != "accuracy_m" or _is_number(part)}
    try:
        position = msgspec.convert({"lat": known.get("lat"), "lng": known.get("lng")}, Position)
    except msgspec.ValidationError:
        return None, POSITION_LEFT_OUT
    if given(position) is None:
        return None, POSITION_LEFT_OUT
    return known, None if len(known) == len(value) else ACCURACY_LEFT_OUT


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def with_places_only(mutation: Mutation, raw: bytes) -> tuple[Mutation, tuple[str, ...]]:
    """A mutation without positions that say no place, and what was left out. An edit that would have put none leaves the position as it is."""
    if _NAMED not in raw:
        return mutation, ()
    if mutation.op == CREATE and mutation.body is not msgspec.UNSET:
        return _created(mutation)
    return _edited(mutation) if "position" in mutation.fields else (mutation, ())


def _created(mutation: Mutation) -> tuple[Mutation, tuple[str, ...]]:
    body = bytes(mutation.body)  # type: ignore[arg-type]
    try:
        said = _placed.decode(body).position
        if said is None or given(said) is not None:
            return mutation, ()
    except _FAULTS:
        pass
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        kept, left_out = placed(msgspec.json.decode(members["position"]))
    except (*_FAULTS, KeyError):
        return mutation, ()
    if left_out is None:
        return mutation, ()
    members["position"] = msgspec.Raw(msgspec.json.encode(kept))
    return replace(mutation, body=msgspec.Raw(msgspec.json.encode(members))), (left_out,)


def _edited(mutation: Mutation) -> tuple[Mutation, tuple[str, ...]]:
    old, new = mutation.fields["position"]
    kept, left_out = placed(new)
    others = {name: pair for name, pair in mutation.fields.items() if name != "position"}
    if left_out != POSITION_LEFT_OUT:
        others["position"] = (placed(old)[0], kept)
    return replace(mutation, fields=others), (left_out,) if left_out else ()
