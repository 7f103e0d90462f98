"""No body costs more than its length: hostile ones are read in linear time, and everything in a request has a bound."""

import gc
import importlib
import json
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from msgspec import inspect as types

import api
import contracts
import storage
import sync
from api.reading import LOOSE_BYTES_MAX, MUTATION_DEPTH, decode_request
from contracts.exchange import EXCHANGE_BYTES_MAX, ExchangeRequest
from contracts.problems import Problem
from server.app import create_app
from server.settings import Settings
from sync.intake import DEPTH_MAX, decode_mutation, is_deep, set_deep_aside, without_unreadable
from tests.builders import BYTES_MAX, NOW

KIB = 1024
# What a scanner may stumble over: texts and brackets that never end, and escapes before the end.
SHAPES: dict[str, Callable[[int], bytes]] = {
    "escaped quotes": lambda n: b"[" * 70 + b'"' + b'\\"' * (n // 2),
    "escaped quotes and half an escape": lambda n: b"[" * 70 + b'"' + b'\\"' * (n // 2) + b"\\",
    "backslashes": lambda n: b"[" * 70 + b'"' + b"\\" * n,
    "quotes": lambda n: b"[" * 70 + b'"' * n,
    "open": lambda n: b"[" * n,
    "closed": lambda n: b"]" * n,
    "deep": lambda n: b"[" * (n // 2) + b"]" * (n // 2),
    "flat": lambda n: b"[" * 70 + b"[]," * (n // 3),
    "texts": lambda n: b"[" * 70 + b'"a",' * (n // 4),
    "escapes of NUL": lambda n: b'{"a":"' + b"\\\\" * (n // 4) + b"\\u0000" * (n // 12) + b'"}',
    "digits": lambda n: b'{"a":' + b"9" * n + b"}",
    "blanks": lambda n: b'{"a":' + b" " * n + b"}",
}
FEW, MANY = 48 * KIB, 768 * KIB


def seconds(deed: Callable[[Any], object], what: Any) -> float:
    """Of the deed alone: the collector would walk what other tests have left in memory."""
    gc.disable()
    try:
        before = time.process_time()
        deed(what)
        return time.process_time() - before
    finally:
        gc.enable()


def assert_linear(deed: Callable[[bytes], object], shape: Callable[[int], bytes]) -> None:
    """Sixteen times as much costs sixteen times as long, not 256 times; the share of noise is small, as the least time counts."""
    few, many = shape(FEW), shape(MANY)
    short = max(min(seconds(deed, few) for _ in range(3)), 0.005)
    assert min(seconds(deed, many) for _ in range(2)) < short * (MANY / FEW) * 6


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_a_scan_is_linear(shape: Callable[[int], bytes]) -> None:
    """C1: 40 kB of escaped quotes after a text that does not end took 5 seconds."""
    assert_linear(is_deep, shape)
    assert_linear(lambda raw: set_deep_aside(raw, MUTATION_DEPTH), shape)
    assert_linear(lambda raw: decode_mutation(1, raw, NOW, 2 * MANY), shape)
    assert_linear(without_unreadable, shape)


@pytest.mark.anyio
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
async def test_a_request_that_is_hostile_is_refused_in_time(shape: Callable[[int], bytes]) -> None:
    """Of any size: what is too long to be read loosely is not."""
    head = b'{"device":"0199c0de-0000-7000-8000-000000000001","contract":1,"clock":{"wall_ms":0,"mono_ms":0,"session":"s"},'
    for size in (40 * KIB, LOOSE_BYTES_MAX - KIB, EXCHANGE_BYTES_MAX):
        before = time.process_time()
        with pytest.raises(Problem):
            await decode_request(head + b'"counties":{"610902":{"mutations":[' + shape(size))
        assert time.process_time() - before < 5


@pytest.mark.parametrize("depth", [DEPTH_MAX - 1, DEPTH_MAX, DEPTH_MAX + 1, 5 * DEPTH_MAX])
@pytest.mark.parametrize("inside", [b"", b'"]]]]"', b'"\\"]]]"', b'"[[[["', b"{}", b"[],[]"])
def test_depth_is_counted_outside_texts(depth: int, inside: bytes) -> None:
    raw = b"[" * depth + inside + b"]" * depth
    decoded, deepest = json.loads(raw), depth + (inside in (b"{}", b"[],[]"))
    assert decoded is not None
    assert is_deep(raw + b" " + b"[]" * DEPTH_MAX) == (deepest > DEPTH_MAX)


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Everything that a module of the product compiles, and the patterns of its contracts."""
    for package in (api, contracts, storage, sync):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module: ModuleType = importlib.import_module(info.name)
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    yield f"{info.name}.{name}", value
                if name.endswith("_PATTERN") and isinstance(value, str):
                    yield f"{info.name}.{name}", re.compile(value)


@pytest.mark.parametrize("pattern", dict(patterns()).values(), ids=dict(patterns()).keys())
def test_no_pattern_is_quadratic(pattern: re.Pattern[Any]) -> None:
    """What reads strangers' text is linear, also where the text fails at its end."""
    for part in ("a", " ", "0", '"', "\\", '\\"', "[", "年", "-", "1/", "\t", ".", "，", "<= 1", "Missing required "):
        for end in ("", "\0", "!", "\n"):

            def text(n: int, part: str = part, end: str = end) -> Any:
                made = part * (n // len(part)) + end
                return made if isinstance(pattern.pattern, str) else made.encode()

            few, many = text(KIB), text(16 * KIB)
            for search in (pattern.search, pattern.fullmatch, pattern.match):
                short = max(min(seconds(search, few) for _ in range(2)), 0.0005)
                assert seconds(search, many) < short * 16 * 6, (part, end, search)


# ------------------------------------------------------------------------------------------------ everything has a bound


@pytest.fixture
def app() -> Litestar:
    return create_app(Settings())  # not started


def request_types(app: Litestar) -> Iterator[tuple[str, Any]]:
    yield "exchange", ExchangeRequest
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            data = handler.parsed_fn_signature.parameters.get("data")
            if data is not None:
                yield route.path, data.annotation


def unbounded(kind: Any, path: str, seen: set[type]) -> Iterator[str]:
    """Lists, objects and texts that say no length. A value of any kind is as long as the body, which each route bounds."""
    match kind:
        case types.StructType() if kind.cls not in seen:
            seen.add(kind.cls)
            for field in kind.fields:
                yield from unbounded(field.type, f"{kind.cls.__name__}.{field.name}", seen)
        case types.ListType() | types.SetType() | types.FrozenSetType() | types.VarTupleType():
            yield from [path] if kind.max_length is None else []
            yield from unbounded(kind.item_type, f"{path}[]", seen)
        case types.DictType():
            yield from [path] if kind.max_length is None else []
            yield from unbounded(kind.key_type, f"{path} (key)", seen)
            yield from unbounded(kind.value_type, f"{path}[]", seen)
        case types.StrType() | types.BytesType():
            yield from [path] if kind.max_length is None and not has_length(getattr(kind, "pattern", None)) else []
        case types.UnionType():
            for one in kind.types:
                yield from unbounded(one, path, seen)
        case types.TupleType():
            for one in kind.item_types:
                yield from unbounded(one, path, seen)
        case types.Metadata():
            yield from unbounded(kind.type, path, seen)
        case _:
            pass


def has_length(pattern: str | None) -> bool:
    """Whether it is anchored and repeats nothing without end."""
    return pattern is not None and pattern.startswith("^") and "$" in pattern and not re.search(r"[*+]|\{\d+,\}", pattern)


def test_every_list_text_and_object_of_a_request_has_a_bound(app: Litestar) -> None:
    """H5: `buckets` took as many as fitted into a body."""
    found = {fault for name, kind in request_types(app) for fault in unbounded(types.type_info(kind), name, set())}
    assert found == set()


def test_every_route_with_a_body_has_a_bound_of_its_own(app: Litestar) -> None:
    """64 KiB, unless a route says that it needs more."""
    large = {
        "/sync/v1/exchange": 2 * KIB**2,
        "/office/v1/mutations": 512 * KIB,
        "/office/v1/imports": 4 * KIB**2,
        "/office/v1/draws": 6 * KIB**2,
        "/office/v1/rules": 256 * KIB,
        "/office/v1/held": 512 * KIB,
        "/office/v1/conflicts": 512 * KIB,
    }
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            if handler.http_methods & {"POST", "PUT", "PATCH"} and "relay" not in route.path:  # whose address says how much
                bound = max([64 * KIB, *(size for path, size in large.items() if route.path.startswith(path))])
                assert handler.resolve_request_max_body_size() <= bound, route.path


def test_a_mutation_that_names_very_many_fields_is_not_merged_field_by_field() -> None:
    fields = {f"f{k}": [None, 1] for k in range(501)}
    raw = json.dumps({"id": "0199c0de-0000-7000-8000-000000000001", "n": 1, "kind": "site", "op": "edit", "contract": 1,
                      "record": "0199c0de-0000-7000-8000-000000000002", "at": {"wall_ms": 0, "mono_ms": 0, "session": "s"},
                      "fields": fields}).encode()  # fmt: skip
    incoming = decode_mutation(1, raw, NOW, BYTES_MAX)
    assert (incoming.mutation, incoming.is_too_large) == (None, True)
    assert incoming.envelope.kind == "site"


def test_an_exchange_names_64_streams_for_repair_at_most() -> None:
    message: dict[str, Any] = {"device": "0199c0de-0000-7000-8000-000000000001", "contract": 1,
                               "clock": {"wall_ms": 0, "mono_ms": 0, "session": "s"}}  # fmt: skip
    decode = msgspec.json.Decoder(ExchangeRequest).decode
    names = [f"{k}.field" for k in range(65)]
    assert decode(msgspec.json.encode(message | {"buckets": names[:64] * 9})).buckets == set(names[:64])  # the same again is asked once
    for too_much in ({"buckets": names}, {"repair": {name: [1] for name in names}}):
        with pytest.raises(msgspec.ValidationError):
            decode(msgspec.json.encode(message | too_much))
