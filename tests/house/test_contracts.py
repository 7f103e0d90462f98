"""The written contracts are those of the code, and are valid documents."""

import json
from pathlib import Path

import jsonschema
import pytest

from contracts.exchange import Hello
from contracts.kinds import KINDS
from contracts.rules import RULE_BODIES
from server.contract import OPENAPI, PROTOCOL, contract, protocol_schema
from server.rule_page import EXAMPLES, PAGE, rule_page
from server.settings import Settings
from server.subject_page import PAGE as SUBJECT_PAGE
from server.subject_page import subject_page
from server.workflows import FOLDER, pages, states_of
from sync.machines import MACHINES, MOVED
from sync.permission import who_may
from sync.rule_faults import first_fault
from sync.words import guarded_fields
from tests.house.tree import ROOT


def written(path: Path) -> bytes:
    return (ROOT / path).read_bytes()


def test_the_http_contract_is_current() -> None:
    assert written(OPENAPI) == contract(Settings()), "run: make openapi"


def test_the_protocol_schema_is_current() -> None:
    assert written(PROTOCOL) == protocol_schema(), "run: make openapi"


def test_the_protocol_schema_is_one_and_names_every_kind() -> None:
    schema = json.loads(protocol_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["x-kinds"].keys() == KINDS.keys()
    assert all(kind["body"].removeprefix("#/$defs/") in schema["$defs"] for kind in schema["x-kinds"].values())


def test_the_schema_refuses_what_the_code_refuses() -> None:
    schema = json.loads(protocol_schema())
    hello = {"frame": "hello", "exchange": "x", "server_ms": 1, "contract_min": 1, "contract_max": 1}
    one = {"$ref": f"#/$defs/{Hello.__name__}", "$defs": schema["$defs"]}
    jsonschema.validate(hello, one)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(hello | {"server_ms": "noon"}, one)


def test_every_field_of_every_kind_shows_its_label_and_policy() -> None:
    schema = json.loads(protocol_schema())
    for name, kind in KINDS.items():
        for field, shape in schema["$defs"][kind.body.__name__]["properties"].items():
            assert shape.get("title") or "$ref" in shape or "anyOf" in shape, f"{name}.{field}"
            assert "x-policy" in json.dumps(shape), f"{name}.{field}"


def test_the_page_of_rules_is_current_and_its_examples_hold() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == rule_page(), "run: make openapi"
    assert EXAMPLES.keys() == RULE_BODIES.keys()
    for name, body in EXAMPLES.items():
        assert first_fault(name, body, by_city=False) is None


def test_the_page_of_subjects_is_current() -> None:
    assert (ROOT / SUBJECT_PAGE).read_text(encoding="utf-8") == subject_page(), "run: make openapi"


def test_the_workflow_pages_are_current() -> None:
    folder = ROOT / FOLDER
    made = pages()
    assert {path.name for path in folder.glob("*.md")} == made.keys(), "run: make openapi"
    assert all((folder / name).read_text(encoding="utf-8") == content for name, content in made.items()), "run: make openapi"


def test_every_state_of_a_machine_can_be_reached_and_every_command_may_be_given() -> None:
    for kind, machine in MACHINES.items():
        default = next((default for name, default in guarded_fields(kind) if name == "state"), None)
        reached = {default, *(t.to for t in machine.values()), *(moved.to for moved in MOVED.get(kind, ()))}
        assert set(states_of(kind)) <= reached, kind
        assert all(who_may(kind, command) for command in machine), kind
