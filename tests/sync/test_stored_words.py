"""What is stored and in no list of words (any more) stays readable, and holds up nobody's work; what is written is in the list."""

import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest

from contracts.ids import projection_id
from contracts.kinds import KINDS
from contracts.kinds.problem import Problem
from contracts.outcomes import Outcome, Reason
from contracts.stored import fault_of, read_stored
from tests.builders import a_creation, an_edit, an_id
from tests.sync.test_problem_rules import ASSIGN, ASSIGNMENT, HANDLER, LEAD, MEMBER, PLACE, PROBLEM, Case

WIRE = Path(__file__).parents[1] / "contracts" / "wire"


def store(case: Case, record: Any, **values: Any) -> None:
    """As an earlier or later server left it."""
    state = case.county.records[record]
    case.county.records[record] = msgspec.structs.replace(state, body=msgspec.json.encode(state.values | values))


def test_every_command_goes_on_with_a_problem_whose_source_is_in_no_list() -> None:
    case = Case()
    store(case, PROBLEM, source="mayor_hotline")
    edit = an_edit(case.next(), PROBLEM, case.county.records[PROBLEM].version, "problem", title=("焚烧秸秆", "焚烧秸秆两处"))
    assert case.push(MEMBER, edit).outcome is Outcome.APPLIED
    case.done(LEAD, "assign", ASSIGN)
    photo = case.photo(HANDLER, ASSIGNMENT, "after", 1)
    case.done(HANDLER, "submit_fix", record=ASSIGNMENT, photos=[photo])
    case.done(LEAD, "accept", position=PLACE)
    assert case.values["source"] == case.county.records[ASSIGNMENT].values["shown"]["source"] == "mayor_hotline"
    assert read_stored(case.county.records[PROBLEM].body, Problem).source == "patrol", "so that timers go on"


def test_a_stored_photo_with_a_strange_word_is_shown_like_any_other() -> None:
    case = Case()
    photo = case.photo(MEMBER, PROBLEM, "before", 1)
    store(case, next(r for r in case.county.records if str(r) == photo), purpose="selfie")
    case.done(LEAD, "assign", ASSIGN)
    assert projection_id(next(r for r in case.county.records if str(r) == photo), str(ASSIGNMENT)) in case.county.records


def test_what_is_written_is_in_the_list_and_of_its_shape() -> None:
    case = Case()
    made = case.push(MEMBER, a_creation(case.next(), an_id(180), "problem", source="mayor_hotline"))
    assert (made.outcome, made.reason) == (Outcome.QUARANTINED, Reason.MALFORMED)
    store(case, PROBLEM, source="mayor_hotline")
    version = case.county.records[PROBLEM].version
    wrong = case.push(MEMBER, an_edit(case.next(), PROBLEM, version, "problem", position=(None, {"lat": "x"})))
    assert (wrong.outcome, wrong.reason) == (Outcome.QUARANTINED, Reason.MALFORMED)
    assert "position" in (wrong.detail or {})["error"]


def closed_lists() -> list[tuple[str, str, bool]]:
    """(kind, field, whether it has a default) of every field that takes only words of a list."""
    found = []
    for kind, spec in KINDS.items():
        for info in msgspec.structs.fields(spec.body):
            pending, is_list = [info.type], False
            while pending:
                hint = pending.pop()
                is_list |= get_origin(hint) is Literal
                pending += [one for one in get_args(hint) if get_origin(hint) is not Literal]
            if is_list:
                found.append((kind, info.encode_name, not info.required))
    return found


@pytest.mark.parametrize(("kind", "name", "has_default"), closed_lists())
def test_of_every_kind_a_strange_word_spoils_its_own_field_alone(kind: str, name: str, has_default: bool) -> None:
    shape = KINDS[kind].body
    values = json.loads((WIRE / f"{kind}.json").read_text(encoding="utf-8"))
    strange = values | {name: "no such word"}
    assert fault_of(shape, strange, set(values) - {name}) is None
    assert name in str(fault_of(shape, strange, [name]))
    if has_default:
        read = msgspec.to_builtins(read_stored(json.dumps(strange), shape))
        assert read | {name: 0} == msgspec.to_builtins(msgspec.convert(values, shape)) | {name: 0}
    else:
        with pytest.raises(msgspec.ValidationError):
            read_stored(json.dumps(strange), shape)


def test_the_lists_are_found() -> None:
    assert {("problem", "source", True), ("photo", "purpose", True), ("transfer", "flow", False)} <= set(closed_lists())
