"""Hypothesis strategies: JSON values, edits of every kind, whole days of several devices, and bytes gone wrong."""

from typing import Any

import msgspec
from hypothesis import strategies as st

from contracts.kinds import KINDS
from contracts.meta import Policy, field_rules
from contracts.mutation import CREATE, DELETE, EDIT
from sync.machines import MACHINES
from tests.builders import BODIES, an_id
from tests.county import COUNTY, TOWNSHIP, VILLAGE_A, VILLAGE_B

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
json_scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts
json_values = st.recursive(
    json_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)

WORDS = st.sampled_from(["甲", "乙", "丙", "丁"])
UNITS = st.sampled_from([VILLAGE_A, VILLAGE_B, TOWNSHIP, "610921100001", "nowhere", ""])
PLACES = st.builds(lambda lat, lng: {"lat": lat, "lng": lng, "accuracy_m": 5.0}, st.floats(32, 33), st.floats(108, 109))
COMMENTS = st.lists(st.builds(lambda k: {"id": f"c{k}", "text": f"留言{k}"}, st.integers(0, 9)), max_size=3, unique_by=lambda c: c["id"])
ANSWERS = st.dictionaries(
    st.sampled_from(["sprinkling", "covering", "hardening"]),
    st.builds(lambda v: {"value": v}, st.sampled_from(["yes", "no", "na"])),
    max_size=3,
)

SENSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "name": WORDS,
    "note": WORDS,
    "title": WORDS,
    "contact": WORDS,
    "caption": WORDS,
    "description": WORDS,
    "unit": UNITS,
    "position": st.none() | PLACES,
    "tags": st.lists(WORDS, max_size=3, unique=True),
    "subjects": st.lists(st.sampled_from(["a", "b", "c"]), max_size=3, unique=True),
    "comments": COMMENTS,
    "answers": ANSWERS,
    "answers.covering": st.builds(lambda v: {"value": v}, st.sampled_from(["yes", "no"])),
}


def sensible_fields(kind: str) -> dict[str, st.SearchStrategy[Any]]:
    """Field path -> values a person might enter, for the fields this kind has."""
    rules = field_rules(KINDS[kind].body)
    return {path: values for path, values in SENSIBLE.items() if path.partition(".")[0] in rules}


def field_values(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=sensible_fields(kind))


def kinds() -> st.SearchStrategy[str]:
    return st.sampled_from(sorted(BODIES))


def operations(kind: str) -> st.SearchStrategy[str]:
    return st.sampled_from([CREATE, EDIT, DELETE, *sorted(MACHINES.get(kind, {}))])


RECORDS = st.integers(1, 4).map(an_id)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a person does on one phone: `sync` or a mutation whose base is what that phone shows."""

    device: int
    sync: bool = False
    kind: str = "site"
    record: int = 1
    op: str = EDIT
    values: dict[str, Any] = {}
    args: dict[str, Any] = {}


@st.composite
def steps(draw: st.DrawFn, devices: int = 3, records: int = 4, sync_odds: int = 3) -> Step:
    device = draw(st.integers(1, devices))
    if draw(st.integers(1, sync_odds)) == 1:
        return Step(device=device, sync=True)
    record = draw(st.integers(1, records))
    kind = sorted(BODIES)[record % len(BODIES)] if records > 1 else "site"
    op = draw(operations(kind))
    return Step(device=device, record=record, kind=kind, op=op, values=draw(field_values(kind)), args=draw(st.just({}) | reasons()))


def reasons() -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(["reason", "choice", "value", "department"]), json_values, max_size=2)


def days(devices: int = 3, records: int = 4, length: int = 25) -> st.SearchStrategy[list[Step]]:
    return st.lists(steps(devices, records), max_size=length)


def mutable_paths(kind: str) -> list[str]:
    """Fields that two people may write, by policy LATEST."""
    rules = field_rules(KINDS[kind].body)
    return [name for name in sensible_fields(kind) if name in rules and rules[name].policy is Policy.LATEST and name != "unit"]


def damaged(raw: bytes) -> st.SearchStrategy[bytes]:
    """Bytes with some replaced, cut out, doubled or cut off."""
    size = max(1, len(raw))

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        out = raw
        for at, length, put in changes:
            at = at % (len(out) + 1)
            out = out[:at] + put + out[at + length :]
        return out

    spots = st.tuples(
        st.integers(0, size), st.integers(0, 6), st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"]", b"\\u0000", b"null", b"\xff"])
    )
    return st.lists(spots, min_size=1, max_size=3).map(apply)


COUNTIES = st.sampled_from([COUNTY])
