"""What a stranger reads of the API: every operation, with an example that is true of its schema; and HEAD wherever there is GET."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from litestar import Litestar
from litestar.routes import HTTPRoute

from api.document import operations
from api.head import HeadAsGet
from api.pace import BodyPace
from contracts.kinds import KINDS
from contracts.people import Role
from server.contract import contract
from server.settings import Settings
from tests.api.office import VILLAGE, World

pytestmark = pytest.mark.anyio

NO_EXAMPLE = ("binary",)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(contract(Settings()))
    return decoded


def served(app: Litestar) -> Iterator[tuple[str, str]]:
    """Every (method, path) that a handler of ours answers, but of the documentation itself."""
    for route in app.routes:
        if isinstance(route, HTTPRoute) and not route.path.startswith("/schema"):
            for handler in route.route_handlers:
                yield from ((method.lower(), route.path_format) for method in handler.http_methods if method != "OPTIONS")


async def test_every_route_is_in_the_document_and_on_the_page(app: Litestar, client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    wanted = {(method, path.rstrip("/") or "/") for method, path in served(app)} - {("get", "/")}
    assert {(method, path) for method, path, _ in operations(document)} == wanted
    page = (await client.get("/schema")).text
    assert page.count("<summary><span class=") == len(wanted)
    assert (await client.get("/schema/openapi.json")).json()["info"]["version"] == "0.1.0"


def bodies(operation: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(media type, what is said of it) of the request and of the good answers."""
    yield from operation.get("requestBody", {}).get("content", {}).items()
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            yield from answer.get("content", {}).items()


def test_every_operation_is_described_and_shows_what_travels(document: dict[str, Any]) -> None:
    lacking = {f"{method} {path}" for method, path, one in operations(document) if not (one.get("summary") and one.get("description"))}
    lacking |= {
        f"{method} {path} {media_type}"
        for method, path, one in operations(document)
        for media_type, body in bodies(one)
        if body["schema"].get("format") not in NO_EXAMPLE and "example" not in body
    }
    assert lacking == set()


def test_every_example_is_true_of_its_schema(document: dict[str, Any]) -> None:
    """And no body is left without a schema."""
    wrong = []
    for method, path, operation in operations(document):
        for media_type, body in bodies(operation):
            assert body["schema"], (method, path)
            examples = [body["example"]] if "example" in body else []
            if media_type.endswith("ndjson"):
                examples = [json.loads(line) for example in examples for line in example.splitlines()]
            validator = Draft202012Validator({**body["schema"], "components": document["components"]})
            wrong += [f"{method} {path}: {fault.message[:300]}" for example in examples for fault in validator.iter_errors(example)]
    assert wrong == []


def test_a_body_is_typed_where_its_kind_decides(document: dict[str, Any]) -> None:
    def is_right(mutation: dict[str, Any]) -> bool:
        return Draft202012Validator({"$ref": "#/components/schemas/OfficeMutation", "components": document["components"]}).is_valid(
            mutation
        )

    ids = {"id": "01a22e98-ab45-7219-b237-572ee61a7a15", "record": "01a22e98-ab45-7219-b237-572ee61a7a16"}
    right = {**ids, "kind": "site", "op": "create", "body": {"unit": "610902101001", "name": "一处工地", "subjects": ["construction_dust"]}}
    assert is_right(right)
    assert not is_right({**right, "body": {**right["body"], "name": 7}})
    assert is_right({**right, "kind": "of a newer version", "body": {"name": 7}})
    named = {choice["title"] for choice in document["components"]["schemas"]["BodyByKind"]["oneOf"]}
    assert named == {*KINDS, "…"}


def test_errors_are_described_once(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        assert all("$ref" in answer for status, answer in operation["responses"].items() if status >= "400")


async def test_head_is_answered_wherever_get_is(app: Litestar, client: httpx.AsyncClient) -> None:
    """As GET, without the body."""
    asked = [path for method, path in served(app) if method == "get"]
    assert len(asked) > 20
    for template in [*asked, "/schema", "/schema/openapi.json"]:
        path = template.replace("{", "").replace("}", "")
        head, got = await client.head(path), await client.get(path)
        assert (head.status_code, head.content) == (got.status_code, b""), template
        assert head.headers.get("content-type") == got.headers.get("content-type"), template
    assert (await client.head("/auth/v1/enrol")).status_code == 405


async def test_the_head_of_an_answer_without_end_ends(world: World) -> None:
    someone = await world.person((Role.GRID_MEMBER, VILLAGE))
    answer = await world.client.head("/sync/v1/live", headers=someone.headers)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")


async def test_to_what_paces_bodies_a_head_is_no_client_that_hung_up() -> None:
    """A server says `http.disconnect` as soon as the headers of a HEAD are sent, whose body nobody has read by then."""

    async def endless(_scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert (await receive())["type"] == "http.disconnect"

    async def hung_up() -> Any:
        return {"type": "http.disconnect"}

    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope: Any = {"type": "http", "method": "HEAD", "path": "/sync/v1/live", "headers": []}
    await BodyPace(HeadAsGet(endless))(scope, hung_up, send)
    assert sent == ["http.response.start", "http.response.body"]
