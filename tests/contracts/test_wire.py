"""Exact wire examples: bytes as they travel, for every message and kind (tests/contracts/wire).

`messages.txt` has one message a line, `<kind>.json` the body of one kind with every field it has. They are the protocol's
own examples: whoever writes a client in another language decodes them, and gets the same bytes back when encoding.
A change here is a change of the protocol.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.exchange import Frame, Page, WireRecord
from contracts.kinds import KINDS
from contracts.mutation import Mutation

WIRE = Path(__file__).parent / "wire"
MODULES = ("exchange", "mutation", "outcomes", "receipt", "photos", "access", "desk")
EXAMPLES = [tuple(line.split(" ", 1)) for line in (WIRE / "messages.txt").read_text(encoding="utf-8").splitlines()]


def messages() -> dict[str, type[msgspec.Struct]]:
    """`module.Name` -> type, of every message that travels."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(f"contracts.{name}")
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__:
                found[f"{name}.{kind.__name__}"] = kind
    return found


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[f"{k}-{name}" for k, (name, _) in enumerate(EXAMPLES)])
def test_a_message_is_these_bytes(name: str, text: str) -> None:
    message = msgspec.json.decode(text.encode(), type=messages()[name])
    assert msgspec.json.encode(message).decode() == text


def test_every_message_has_an_example() -> None:
    assert set(messages()) == {name for name, _ in EXAMPLES}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_body_is_these_bytes(name: str) -> None:
    """Every field is in the example: a new one is added to tests/contracts/wire/<kind>.json, too."""
    text = (WIRE / f"{name}.json").read_text(encoding="utf-8").strip()
    body = msgspec.json.decode(text, type=KINDS[name].body, strict=True)
    assert msgspec.json.encode(body).decode() == text
    given = json.loads(text)
    assert set(given) == {field.encode_name for field in msgspec.structs.fields(KINDS[name].body)}


@pytest.mark.parametrize("name", [name for name, _ in EXAMPLES if name.startswith("exchange.") and '"frame"' in dict(EXAMPLES)[name]])
def test_a_frame_is_known_by_its_tag(name: str) -> None:
    text = next(text for n, text in EXAMPLES if n == name)
    assert type(msgspec.json.decode(text, type=Frame)) is messages()[name]


def with_unknown(value: Any) -> Any:
    """A member of a newer contract in every object."""
    if isinstance(value, dict):
        return {key: with_unknown(v) for key, v in value.items()} | {"x_newer": {"any": ["thing", 1]}}
    return [with_unknown(v) for v in value] if isinstance(value, list) else value


DATA = {"exchange.ExchangeRequest", "exchange.Scope"}  # with maps whose keys are data


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, t in EXAMPLES if n not in DATA and '"fields":{"' not in t])
def test_what_a_newer_contract_adds_is_passed_over(name: str, text: str) -> None:
    newer = text.removesuffix("}") + ',"x_newer":{"any":["thing",1]}}'
    assert msgspec.json.encode(msgspec.json.decode(newer, type=messages()[name])).decode() == text


def test_unknown_fields_of_a_body_survive_a_round_trip() -> None:
    """Promise 3. A body is passed on as it is, not as this version understands it."""
    body = b'{"name":"a","x_newer":{"any":[1.10,null,{}]},"z":1e2}'
    raw = b'{"id":"01979c3e-8a00-7000-8000-000000000101","kind":"site","seq":1,"v":[1,1],"body":%s}' % body
    assert bytes(msgspec.json.decode(raw, type=WireRecord).body) == body
    assert msgspec.json.encode(msgspec.json.decode(raw, type=WireRecord)) == raw
    page = next(text for name, text in EXAMPLES if name == "exchange.Page")
    assert '"drone":{"height_m":40}' in msgspec.json.encode(msgspec.json.decode(page, type=Page)).decode()
    creation = next(text for name, text in EXAMPLES if name == "mutation.Mutation" and '"create"' in text)
    assert b'"drone":1' in bytes(msgspec.json.decode(creation, type=Mutation).body)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_body_with_every_object_extended_still_decodes(name: str) -> None:
    """Promise 3. An app one version ahead is understood as far as this one goes."""
    given = json.loads((WIRE / f"{name}.json").read_text(encoding="utf-8"))
    newer = json.dumps({key: with_unknown(value) for key, value in given.items()} | {"x_newer": 1}).encode()
    body = msgspec.json.decode(newer, type=KINDS[name].body)
    assert msgspec.json.encode(body)
