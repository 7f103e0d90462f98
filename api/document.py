"""What Litestar cannot say of the API by itself: bodies that are read by hand, bodies whose kind decides, errors once, examples.

A pure function over the OpenAPI document, applied before anybody sees it: the JSON, the page, and contracts/openapi.json.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from api.frames import MEDIA_TYPE as FRAMES_MEDIA_TYPE
from api.problems import MEDIA_TYPE as PROBLEM
from api.workbooks import MEDIA_TYPE as WORKBOOK
from contracts.draw import DrawFile
from contracts.exchange import Buckets, End, ExchangeRequest, Hello, Outcomes, Page, Repair, Scope
from contracts.kinds import KINDS
from contracts.mutation import Mutation
from contracts.rules import RULE_BODIES

METHODS: Final = ("get", "put", "post", "delete", "patch", "head")
SCHEMAS: Final = "#/components/schemas/"
FRAMES: Final = (Hello, Outcomes, Scope, Page, Buckets, Repair, End)
BODIES: Final = {name: kind.body for name, kind in KINDS.items()}
BY_KIND: Final = ("Mutation", "OfficeMutation", "WireRecord", "StoryRecord")  # schemas with `kind` and `body`
BY_RULE: Final = ("PublishRule", "RuleVersion")  # with `name` and `body`
EXAMPLES: Final = Path(__file__).with_name("examples.json")
BINARY: Final = {"type": "string", "format": "binary"}

ERRORS: Final = {
    "400": "请求内容无法识别 · Not understood",
    "401": "请先登录 · Log in or refresh",
    "403": "您的职责不能办理此项 · Not allowed",
    "404": "未找到 · Not found, or not yours to see",
    "409": "当前状态不能这样办理 · Not in this state",
    "413": "请求内容过大 · Too large",
    "422": "填写内容不符合要求 · A value is wrong",
    "429": "请求过于频繁 · Too many requests; see Retry-After",
    "503": "服务器繁忙 · Busy; see Retry-After",
}
ALWAYS: Final = ("400", "422", "429", "503")
WITH_TOKEN: Final = ("401", "403", "404")
WITH_BODY: Final = ("409", "413")

# "post /path" -> media type and schema of a body that the handler reads itself
REQUESTS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "post /sync/v1/exchange": ("application/json", {"$ref": SCHEMAS + "ExchangeRequest"}),
    "post /office/v1/imports/{subject}": (WORKBOOK, BINARY),
    "put /photos/v1/relay/{token}": ("application/octet-stream", BINARY),
}
# "get /path" -> media type and schema of an answer that is no JSON
ANSWERS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "post /sync/v1/exchange": (FRAMES_MEDIA_TYPE.decode(), {"oneOf": [{"$ref": SCHEMAS + frame.__name__} for frame in FRAMES]}),
    "get /sync/v1/live": ("text/event-stream", {"type": "string"}),
    "get /photos/v1/{county}/{sha256}/{rendering}": ("image/jpeg", BINARY),
    "get /office/v1/imports/{subject}/template": (WORKBOOK, BINARY),
    "get /public/v1/draws/{commitment}/file": ("application/json", {"$ref": SCHEMAS + "DrawFile"}),
    "post /office/v1/draws/{county}/{draw}/disclose": ("application/json", {"$ref": SCHEMAS + "DrawFile"}),
}


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every (method, path, operation), by path."""
    for path, item in sorted(document["paths"].items()):
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def completed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The whole document; the given one is not changed."""
    whole: dict[str, Any] = copy.deepcopy(dict(document))
    add_schemas(whole["components"])
    whole["components"]["responses"] = {f"Problem{status}": problem(text) for status, text in ERRORS.items()}
    examples = read_examples()
    for method, path, operation in operations(whole):
        name = f"{method} {path}"
        tidy(operation)
        add_bodies(name, operation)
        add_errors(method, operation)
        add_examples(operation, examples.get(name, {}))
    return whole


def add_schemas(components: dict[str, Any]) -> None:
    """Those of the sync protocol, of every kind's body and of every rule's; then the bodies that their kind decides."""
    schemas: dict[str, Any] = components["schemas"]
    schemas |= sync_schemas(frozenset(schemas))
    schemas["CountyPart"]["properties"]["mutations"]["items"] = {"$ref": SCHEMAS + "Mutation"}  # read one by one, each for itself
    schemas["BodyByKind"] = chosen_by("kind", body_names(frozenset(schemas)))
    schemas["BodyByRule"] = chosen_by("name", {rule: body.__name__ for rule, body in RULE_BODIES.items()})
    for decided, names in (("BodyByKind", BY_KIND), ("BodyByRule", BY_RULE)):
        for name in names:
            schemas[name]["allOf"] = [{"$ref": SCHEMAS + decided}]


def body_names(present: frozenset[str]) -> dict[str, str]:
    """Kind -> name of its body's schema: another one than that of an answer which is called alike."""
    return {kind: f"{body.__name__}Body" if f"{body.__name__}Body" in present else body.__name__ for kind, body in BODIES.items()}


def sync_schemas(taken: frozenset[str]) -> dict[str, Any]:
    """Schemas by name. A kind's body whose name an answer has already is called `...Body`; anything else of that name is the same thing."""
    shapes = (ExchangeRequest, Mutation, DrawFile, *FRAMES, *BODIES.values(), *RULE_BODIES.values())
    _, found = msgspec.json.schema_components(shapes, ref_template=SCHEMAS + "{name}")
    renamed = {body.__name__: f"{body.__name__}Body" for body in BODIES.values() if body.__name__ in taken}
    text = msgspec.json.encode(found).decode()
    for old, new in renamed.items():
        text = text.replace(f'"{SCHEMAS}{old}"', f'"{SCHEMAS}{new}"')
    decoded: dict[str, Any] = msgspec.json.decode(text)
    named = {renamed.get(name, name): schema for name, schema in decoded.items()}
    return {name: schema for name, schema in named.items() if name not in taken}


def chosen_by(member: str, named: Mapping[str, str]) -> dict[str, Any]:
    """`oneOf`, by what `member` says; the body may be absent, and words that are not listed may come of newer versions."""
    choices = [
        {"title": word, "properties": {member: {"const": word}, "body": {"anyOf": [{"$ref": SCHEMAS + name}, {"type": "null"}]}}}
        for word, name in sorted(named.items())
    ]
    return {"oneOf": [*choices, {"title": "…", "properties": {member: {"not": {"enum": sorted(named)}}}}]}


def problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {PROBLEM: {"schema": {"$ref": SCHEMAS + "ProblemDetails"}}}}


def tidy(operation: dict[str, Any]) -> None:
    """Away with what says nothing."""
    if not operation.get("deprecated"):
        operation.pop("deprecated", None)
    for answer in operation["responses"].values():
        if not answer.get("headers"):
            answer.pop("headers", None)


def add_bodies(name: str, operation: dict[str, Any]) -> None:
    if name in REQUESTS:
        media_type, schema = REQUESTS[name]
        operation["requestBody"] = {"required": True, "content": {media_type: {"schema": schema}}}
    if name in ANSWERS:
        media_type, schema = ANSWERS[name]
        success(operation)["content"] = {media_type: {"schema": schema}}


def success(operation: dict[str, Any]) -> dict[str, Any]:
    """The answer of the operation when all goes well."""
    found: dict[str, Any] = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
    return found


def add_errors(method: str, operation: dict[str, Any]) -> None:
    statuses = [*ALWAYS, *(WITH_TOKEN if operation.get("security") != [{}] else ()), *(WITH_BODY if method in ("post", "put") else ())]
    operation["responses"] |= {status: {"$ref": f"#/components/responses/Problem{status}"} for status in sorted(statuses)}


def add_examples(operation: dict[str, Any], example: Mapping[str, Any]) -> None:
    """`request` and `answer`, as they were seen to travel."""
    if "request" in example:
        for media in operation.get("requestBody", {}).get("content", {}).values():
            media["example"] = example["request"]
    if "answer" in example:
        for media in success(operation).get("content", {}).values():
            media["example"] = example["answer"]


@cache
def read_examples() -> Mapping[str, Mapping[str, Any]]:
    """{"method /path": {"request": ..., "answer": ...}}."""
    found: Mapping[str, Mapping[str, Any]] = msgspec.json.decode(EXAMPLES.read_bytes())
    return found
