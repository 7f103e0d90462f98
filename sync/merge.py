"""Merging one mutation's values into a record, field by field (design.md 3.1).

`base` is what the phone saw, never when. A mutation has seen a field if the field's version is at most its root base or
the field's writer is an earlier mutation of the same device. Values that were not seen meet under the field's policy;
a losing value is returned, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from contracts.ids import DeviceId, Version
from contracts.meta import FieldRule, Policy
from sync.state import EVERY_OTHER, RecordState, Writer

MAP_SEPARATOR: Final = "."
MISSING: Final = None  # a key that is not there and a null are the same thing to a merge


class Sight(msgspec.Struct, frozen=True):
    """What the author of a mutation had before them: the root base of the chain, and their own earlier mutations."""

    device: DeviceId
    n: int
    root: Version
    incarnation: int  # the county's, now


class Lost(msgspec.Struct, frozen=True):
    """A value that lost: `kept` is in the record, `lost` is not; each with the mutation (device, n) that wrote it."""

    field: str
    kept: Any
    lost: Any
    kept_by: tuple[DeviceId, int]
    lost_by: tuple[DeviceId, int]


class Merge(msgspec.Struct, frozen=True):
    """The result: what to set (None: nothing differs), what lost, and whether others' unseen work stands beside it."""

    values: dict[str, Any]
    changed: dict[str, Any]
    lost: tuple[Lost, ...]
    beside_others: bool

    def set(self, values: Mapping[str, Any]) -> None:
        """What the server sets in the record beside what was asked for; of what is so already, nothing."""
        for field, value in values.items():
            if self.values.get(field) != value:
                self.values[field] = self.changed[field] = value


def has_seen(sight: Sight, writer: Writer, current: Any, old: Any) -> bool:
    """Whether the author knew the current value of a field when giving it a new one."""
    if writer.device == sight.device and writer.n < sight.n:
        return True
    if sight.root[0] == sight.incarnation:
        return writer.at <= sight.root
    return bool(current == old)  # a base of another incarnation proves nothing by its number (design.md 3.3)


def merge_fields(
    record: RecordState,
    values: Mapping[str, Any],
    edits: Mapping[str, tuple[Any, Any]],
    rules: Mapping[str, FieldRule],
    sight: Sight,
) -> Merge:
    """Merge `edits` ({field: (old, new)}) into `values`, the record's current body."""
    result = dict(values)
    changed: dict[str, Any] = {}
    lost: list[Lost] = []
    for field, (old, new) in edits.items():
        current = get_field(result, field)
        merged = _merge_value(policy_of(field, rules), current, old, new)
        # Who had this very value before them has seen it: own unsent work keeps the root of a chain behind what is on screen.
        seen = current == old or has_seen(sight, record.writer(field), current, old)
        if not seen and current != new and not _is_empty(current) and not _keeps_both(field, rules):
            author, writer = (sight.device, sight.n), record.writer(field)
            lost.append(Lost(field, kept=new, lost=current, kept_by=author, lost_by=(writer.device, writer.n)))
        if merged != current:
            set_field(result, field, merged)
            changed[field] = merged
    beside = any(not has_seen(sight, w, None, w) for w in record.fields.values())
    return Merge(result, changed, tuple(lost), beside)


def _is_empty(value: Any) -> bool:
    """Nothing that a person would miss."""
    return value is MISSING or value in ("", [], {})


def _merge_value(policy: Policy, current: Any, old: Any, new: Any) -> Any:
    match policy:
        case Policy.UNION:
            return _union(current or [], old or [], new or [])
        case Policy.APPEND:
            return _append(current or [], new or [])
        case _:
            return new


def _union(current: list[Any], old: list[Any], new: list[Any]) -> list[Any]:
    """What the author added is added, what they took away goes, what others added stays."""
    kept = [v for v in current if v in new or v not in old]
    return kept + [v for v in new if v not in old and v not in kept]


def _append(current: list[Any], new: list[Any]) -> list[Any]:
    """Entries are never taken away; the same `id` is the same entry."""
    known = {_entry_key(entry) for entry in current}
    return current + [entry for entry in new if _entry_key(entry) not in known]


def _entry_key(entry: Any) -> str:
    return repr(entry.get("id", entry)) if isinstance(entry, dict) else repr(entry)


def _keeps_both(field: str, rules: Mapping[str, FieldRule]) -> bool:
    return policy_of(field, rules) in (Policy.UNION, Policy.APPEND)


def policy_of(field: str, rules: Mapping[str, FieldRule]) -> Policy:
    """The policy of a field path. A field of a newer app is unknown here and merges as LATEST (decision 0001)."""
    name, dot, _ = field.partition(MAP_SEPARATOR)
    rule = rules.get(name)
    if rule is None:
        return Policy.LATEST
    if rule.policy is Policy.EACH:
        return Policy.LATEST if dot else Policy.EACH
    return rule.policy


def get_field(values: Mapping[str, Any], field: str) -> Any:
    name, dot, key = field.partition(MAP_SEPARATOR)
    value = values.get(name, MISSING)
    return value.get(key, MISSING) if dot and isinstance(value, dict) else (MISSING if dot else value)


def set_field(values: dict[str, Any], field: str, value: Any) -> None:
    """Sets in place, copying the one map it touches."""
    name, dot, key = field.partition(MAP_SEPARATOR)
    if dot:
        inner = values.get(name)
        values[name] = {**(inner if isinstance(inner, dict) else {}), key: value}
    else:
        values[name] = value


def spread(edits: Mapping[str, tuple[Any, Any]], rules: Mapping[str, FieldRule]) -> dict[str, tuple[Any, Any]]:
    """A whole map given at once becomes one edit per key, so that two people's items never overwrite each other."""
    spread_edits: dict[str, tuple[Any, Any]] = {}
    for field, (old, new) in edits.items():
        if policy_of(field, rules) is Policy.EACH:
            before = old if isinstance(old, dict) else {}
            after = new if isinstance(new, dict) else {}
            for key in {**before, **after}:
                if before.get(key) != after.get(key):
                    spread_edits[f"{field}{MAP_SEPARATOR}{key}"] = (before.get(key), after.get(key))
        else:
            spread_edits[field] = (old, new)
    return spread_edits


def written(record: RecordState, fields: Iterable[str], writer: Writer) -> dict[str, Writer]:
    """The writers of all fields after `writer` set `fields`."""
    everything = record.fields or {EVERY_OTHER: writer}
    return {**everything, **dict.fromkeys(fields, writer)}
