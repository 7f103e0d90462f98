"""Positions as phones send them without a fix, in every kind that has one: nothing is held, and an audit reads the same again."""

import json
from typing import Any

import msgspec
import pytest

from contracts.mutation import CREATE, EDIT
from contracts.outcomes import Outcome
from sync.intake import decode_mutation, taken
from tests.builders import BODIES, BYTES_MAX, NOW, a_mutation, a_sender, an_id
from tests.county import VILLAGE_A
from tests.sync.pretend_county import PretendCounty

WORLD = PretendCounty()
HERE = {"lat": 32.6, "lng": 108.9}
KINDS = ["site", "inspection", "problem", "whistle"]
LARGEST = 3.4028234663852886e38
KNOWN = [
    ({**HERE, "accuracy_m": -1}, None),
    ({**HERE, "accuracy_m": -500.5}, None),
    ({**HERE, "accuracy_m": LARGEST}, None),
    ({**HERE, "accuracy_m": 1.7976931348623157e308}, None),
    ({**HERE, "accuracy_m": 0}, None),
    ({**HERE, "accuracy_m": None}, None),
    ({**HERE, "accuracy_m": ""}, "accuracy"),
    ({**HERE, "accuracy_m": "未知"}, "accuracy"),
]
NO_PLACE: list[Any] = [
    {"lat": 0, "lng": 0},
    {"lat": 0.0, "lng": 0.0, "accuracy_m": 0},
    {"lat": 4.9e-324, "lng": 4.9e-324},
    {"lat": -180, "lng": -180, "accuracy_m": -1},
    {"lat": 999, "lng": 999},
    {"lat": None, "lng": None},
    {"lat": -1e9, "lng": 108.9},
    {"accuracy_m": 5},
    {},
]


def creation(kind: str, position: Any, n: int = 50) -> bytes:
    typed = BODIES.get(kind) or {"unit": VILLAGE_A, "title": "渣土车遗撒"}
    body = {**typed, "position": position, "newer": 1.10}
    at = {"wall_ms": 0, "mono_ms": 0, "session": "s"}
    made = {"id": str(an_id(n)), "n": n, "kind": kind, "record": str(an_id(6)), "op": CREATE, "at": at, "contract": 1, "body": body}
    return json.dumps(made).encode()


def planned(raw: bytes, n: int = 50) -> Any:
    return WORLD.plan(a_sender(4), [decode_mutation(n, raw, NOW, BYTES_MAX)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("position", "left_out"), [*KNOWN, *((one, "position") for one in NO_PLACE)])
def test_no_creation_is_held_for_want_of_a_fix(kind: str, position: Any, left_out: str | None) -> None:
    raw = creation(kind, position)
    mutation, said = taken(raw)
    assert mutation is not None
    assert said == ((left_out,) if left_out else ())
    [outcome] = (plan := planned(raw)).outcomes
    assert outcome.reason.value != "malformed", outcome
    kept = json.loads(bytes(mutation.body))  # type: ignore[arg-type]
    assert kept["newer"] == 1.10
    if left_out == "position":
        assert kept["position"] is None
    else:
        assert (kept["position"]["lat"], kept["position"]["lng"]) == (32.6, 108.9)
    if outcome.outcome is Outcome.APPLIED:
        assert (outcome.detail or {}).get("left_out") == ((left_out,) if left_out else None)
        assert json.loads(plan.records[0].body)["position"] == kept["position"]
        assert plan.entries[0].raw == raw


@pytest.mark.parametrize("position", NO_PLACE)
def test_an_edit_without_a_fix_leaves_the_position_as_it_was(position: Any) -> None:
    edit = a_mutation(51, an_id(6), "site", EDIT, base=(1, 1), fields={"position": (HERE, position), "note": ("", "已复查")})
    mutation, said = taken(msgspec.json.encode(edit))
    assert mutation is not None
    assert (said, mutation.fields) == (("position",), {"note": ("", "已复查")})


def test_an_edit_keeps_a_place_whose_accuracy_is_unknown() -> None:
    edit = a_mutation(51, an_id(6), "site", EDIT, base=(1, 1), fields={"position": ({"lat": 0, "lng": 0}, {**HERE, "accuracy_m": -1})})
    mutation, said = taken(msgspec.json.encode(edit))
    assert mutation is not None
    assert (said, mutation.fields) == ((), {"position": (None, {**HERE, "accuracy_m": -1})})


@pytest.mark.parametrize("wrong", ["32.6,108.9", {"lat": "32.6", "lng": 108.9}, [32.6, 108.9], 7])
def test_what_is_no_position_at_all_is_held_as_any_other_wrong_value(wrong: Any) -> None:
    assert [o.outcome for o in planned(creation("site", wrong)).outcomes] == [Outcome.QUARANTINED]
