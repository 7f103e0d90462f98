"""One mutation's values meet a record, field by field."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.kinds.inspection import Inspection
from contracts.kinds.site import Site
from contracts.meta import Policy, field_rules
from sync.merge import Sight, get_field, has_seen, merge_fields, policy_of, set_field, spread
from sync.state import RecordState
from tests.builders import a_record, a_writer, an_id
from tests.strategies import field_values

SITE = field_rules(Site)
ME = an_id(1)
BLIND = Sight(ME, 5, (1, 0), 1)  # has seen nothing of the record
ALL = Sight(ME, 5, (1, 99), 1)
EDITS = field_values("site").map(lambda values: {field: (None, value) for field, value in values.items()})


def merged(record: RecordState, edits: Any, sight: Sight) -> Any:
    return merge_fields(record, record.values, edits, SITE, sight)


@settings(max_examples=200, deadline=None)
@given(field_values("site"), EDITS, st.sampled_from([BLIND, ALL]))
def test_merging_twice_changes_nothing(before: dict[str, Any], edits: Any, sight: Sight) -> None:
    """Promise 2."""
    record = a_record(**before)
    once = merged(record, edits, sight)
    after = msgspec.structs.replace(record, body=msgspec.json.encode(once.values))
    assert merged(after, edits, sight).changed == {}


@settings(max_examples=200, deadline=None)
@given(field_values("site"), EDITS, st.sampled_from([BLIND, ALL]))
def test_untouched_fields_survive(before: dict[str, Any], edits: Any, sight: Sight) -> None:
    """Promise 3. Also the record itself is not changed in place."""
    record = a_record(**before, from_a_newer_app=[1, {"a": None}])
    was = record.values
    result = merged(record, edits, sight)
    assert {f: v for f, v in result.values.items() if f not in edits} == {f: v for f, v in was.items() if f not in edits}
    assert record.values == was
    assert result.changed.keys() <= edits.keys()


@settings(max_examples=200, deadline=None)
@given(field_values("site"), EDITS, st.sampled_from([BLIND, ALL]))
def test_a_losing_value_is_returned_and_never_dropped(before: dict[str, Any], edits: Any, sight: Sight) -> None:
    """Promise 3. What was in the record and is not there any more had been seen, or is among the lost."""
    record = a_record(**before)
    result = merged(record, edits, sight)
    lost = {one.field: one for one in result.lost}
    for field in edits:
        old, new = get_field(record.values, field), get_field(result.values, field)
        if policy_of(field, SITE) in (Policy.UNION, Policy.APPEND):
            if sight is BLIND:
                assert all(value in new for value in old or [])
        elif old != new and old not in (None, "", [], {}) and sight is BLIND:
            assert (lost[field].lost, lost[field].kept) == (old, new)
            assert lost[field].lost_by == (an_id(7), 1)
            assert lost[field].kept_by == (ME, 5)
        else:
            assert field not in lost


@pytest.mark.parametrize(
    ("current", "old", "new", "expected"),
    [
        (["a", "b"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c"]),
        (["a", "b", "x"], ["a", "b"], ["b"], ["b", "x"]),  # a was taken away, x is somebody else's
        (["x"], ["a"], ["a", "c"], ["x", "c"]),  # a was taken away by somebody else
        ([], None, ["c"], ["c"]),
        (["a"], ["a"], None, []),
    ],
)
def test_sets_keep_what_both_added(current: Any, old: Any, new: Any, expected: Any) -> None:
    """Promise 3."""
    assert merged(a_record(tags=current), {"tags": (old, new)}, BLIND).values["tags"] == expected


def test_entries_are_appended_once_in_commit_order() -> None:
    """Promises 2 and 3."""
    one, two, three = ({"id": f"c{k}", "text": str(k)} for k in (1, 2, 3))
    result = merged(a_record(comments=[one, two]), {"comments": ([one], [one, three])}, BLIND)
    assert result.values["comments"] == [one, two, three]
    assert result.lost == ()


@pytest.mark.parametrize(
    ("sight", "writer", "current", "old", "expected"),
    [
        (Sight(ME, 5, (1, 3), 1), a_writer(3), "x", "y", True),  # at most the root base
        (Sight(ME, 5, (1, 3), 1), a_writer(4), "x", "y", False),
        (Sight(ME, 5, (1, 0), 1), a_writer(4, device=1, n=4), "x", "y", True),  # one's own earlier mutation
        (Sight(ME, 5, (1, 0), 1), a_writer(4, device=1, n=6), "x", "y", False),  # one's own later one, after a restore
        (Sight(ME, 5, (1, 9), 2), a_writer(4), "x", "y", False),  # another incarnation: only the value counts
        (Sight(ME, 5, (1, 9), 2), a_writer(4), "x", "x", True),
        (Sight(ME, 5, (2, 1), 2), a_writer(9, incarnation=1), "x", "y", True),  # versions are compared as pairs
    ],
)
def test_what_an_author_had_seen(sight: Sight, writer: Any, current: Any, old: Any, expected: bool) -> None:
    """Promises 7, 8 and 9. By base and by device, never by a clock."""
    assert has_seen(sight, writer, current, old) is expected


def test_a_whole_map_is_one_edit_per_key() -> None:
    """Promise 3. Two people's items never overwrite one another."""
    rules = field_rules(Inspection)
    edits = {"answers": ({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}), "note": ("", "x")}
    assert spread(edits, rules) == {"answers.b": (2, 3), "answers.c": (None, 4), "note": ("", "x")}


def test_a_key_may_hold_dots_of_its_own() -> None:
    values: dict[str, Any] = {"answers": {"a": 1}}
    set_field(values, "answers.x.y", 2)
    assert values == {"answers": {"a": 1, "x.y": 2}}
    assert get_field(values, "answers.x.y") == 2
