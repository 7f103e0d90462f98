"""Reading what is stored: strict is who writes, not who reads.

A list of words may get shorter, and a record may come from a server whose list is longer. What was stored then stays readable, and
whoever works on such a record answers for what they change of it, not for what stood there before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

Body = TypeVar("Body")


@cache
def _types(shape: type[Any]) -> dict[str, Any]:
    """Name on the wire -> type."""
    return {info.encode_name: info.type for info in msgspec.structs.fields(shape)}


def fault_of(shape: type[Any], values: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """What is wrong with these fields of a body, and with no others."""
    for name in names:
        if name not in values:
            continue
        try:
            msgspec.convert(values[name], _types(shape).get(name, Any))
        except msgspec.ValidationError as error:
            return f"{error} ({name})"
    return None


def read_stored(body: bytes | str, shape: type[Body], needed: Collection[str] = ()) -> Body:
    """The body as this version understands it: a field whose value it does not is at its default.

    Raises what msgspec raises: where that field has no default or is `needed`, or for what is no JSON.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError:
        values = msgspec.json.decode(body)
        if not isinstance(values, dict):
            raise
        kept = {name: value for name, value in values.items() if name in needed or fault_of(shape, values, [name]) is None}
        return msgspec.convert(kept, shape)
