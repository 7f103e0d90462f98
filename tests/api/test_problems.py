"""RFC 9457: every code has a status, a text and a way to be seen; every error has this one shape."""

import ast
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar, get
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from api.problems import CODE_OF_STATUS, STATUS, URN, problem_of
from contracts.importing import FAULT_TEXTS
from contracts.people import Role
from contracts.problems import DETAIL_ZH, TEXT_ZH, Problem, ProblemCode
from tests.api.office import VILLAGE, World, client_of

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
SOURCES = [path for floor in ("api", "server", "storage", "sync") for path in (ROOT / floor).glob("*.py")]


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= c <= "\u9fff" for c in text)


def test_every_code_has_a_status_a_chinese_title_and_says_in_chinese_what_to_do() -> None:
    assert set(STATUS) == set(TEXT_ZH) == set(DETAIL_ZH) == set(ProblemCode)
    assert all(400 <= status < 600 for status in STATUS.values())
    assert all(is_chinese(text) for text in (*TEXT_ZH.values(), *DETAIL_ZH.values()))
    assert all(DETAIL_ZH[code] != TEXT_ZH[code] for code in ProblemCode), "the detail says more than the title"


def raised() -> Iterator[tuple[str, ast.Call]]:
    """(where, call) of every problem that our code makes."""
    for path in sorted(SOURCES):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem" and node.args:
                yield f"{path.parent.name}/{path.name}:{node.lineno}", node


def texts_of(detail: ast.expr) -> list[str]:
    """The texts that a detail is put together from, as far as they stand in the code."""
    return [part.value for part in ast.walk(detail) if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def test_whatever_our_code_says_to_a_person_is_chinese() -> None:
    """What an expression takes from elsewhere (a table, a decoder) is Chinese there: FAULT_TEXTS, TEXT_ZH of outcomes, first_fault."""
    found = list(raised())
    assert len(found) > 80, "the walk sees them"
    shown = [(where, call) for where, call in found if not is_of_the_server(call)]
    said = [(where, texts_of(call.args[1])) for where, call in shown if len(call.args) > 1]
    wrong = [(where, texts) for where, texts in said if texts and not any(map(is_chinese, texts)) and not is_key(texts)]
    assert wrong == []
    assert all(is_chinese(text) for text in FAULT_TEXTS.values())


def is_of_the_server(call: ast.Call) -> bool:
    """503: nothing that whoever asks could mend."""
    code = call.args[0]
    return isinstance(code, ast.Attribute) and code.attr in ProblemCode.__members__ and STATUS[ProblemCode[code.attr]] >= 500


def is_key(texts: list[str]) -> bool:
    return all(text in FAULT_TEXTS or not re.search("[A-Za-z]", text) for text in texts)


def test_every_status_of_the_framework_has_a_code_of_that_status() -> None:
    assert all(STATUS[code] == status for status, code in CODE_OF_STATUS.items())


@get("/raise/{code:str}", opt={"public": True})
async def raise_problem(code: FromPath[str]) -> None:
    raise Problem(ProblemCode(code), "more about it", retry_after_s=7, number=3, names=["一"])


@get("/raise-error/{kind:str}", opt={"public": True})
async def raise_error(kind: FromPath[str]) -> None:
    match kind:
        case "bug":
            raise RuntimeError("the secret is hunter2")
        case "teapot":
            raise HTTPException(status_code=418)
        case "gateway":
            raise HTTPException(status_code=502, detail="internal address 10.0.0.5")
        case _:
            raise getattr(asyncpg, kind)('relation "person" at host db-7')


@pytest.fixture
def faulty(app: Litestar) -> Litestar:
    app.register(raise_problem)
    app.register(raise_error)
    return app


def shape_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "code", "request_id", "detail", "details"}
    assert body["type"] == f"{URN}{code}"
    assert body["code"] == code
    assert body["status"] == status
    assert body["title"] == TEXT_ZH[ProblemCode(code)]
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


@pytest.mark.parametrize("code", list(ProblemCode))
async def test_every_problem_is_rendered_in_one_shape(faulty: Litestar, code: ProblemCode) -> None:
    async with client_of(faulty) as client:
        answer = await client.get(f"/raise/{code.value}")
    body = shape_of(answer, STATUS[code], code.value)
    assert body["detail"] == "more about it"
    assert body["details"] == {"number": 3, "names": ["一"]}
    assert answer.headers["retry-after"] == "7"


async def test_a_bug_is_logged_in_full_and_shown_not_at_all(faulty: Litestar, capsys: pytest.CaptureFixture[str]) -> None:
    async with client_of(faulty) as client:
        answer = await client.get("/raise-error/bug")
    body = shape_of(answer, 500, "internal")
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    logged = capsys.readouterr().out
    assert "RuntimeError" in logged
    assert body["request_id"] in logged


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("ConnectionDoesNotExistError", 503, "storage_unavailable"),  # 08003: PostgreSQL was restarted
        ("ConnectionFailureError", 503, "storage_unavailable"),  # 08006: a worker of Citus is gone
        ("CannotConnectNowError", 503, "storage_unavailable"),  # 57P03
        ("AdminShutdownError", 503, "storage_unavailable"),  # 57P01
        ("PostgresIOError", 503, "storage_unavailable"),  # 58030
        ("InterfaceError", 503, "storage_unavailable"),
        ("InternalClientError", 503, "storage_unavailable"),
        ("DeadlockDetectedError", 503, "busy"),  # 40P01
        ("SerializationError", 503, "busy"),  # 40001
        ("TooManyConnectionsError", 503, "busy"),  # 53300
        ("DiskFullError", 503, "busy"),  # 53100
        ("LockNotAvailableError", 503, "busy"),  # 55P03
        ("QueryCanceledError", 503, "busy"),  # 57014: the statement timeout
        ("UniqueViolationError", 500, "internal"),
        ("UndefinedTableError", 500, "internal"),
    ],
)  # fmt: skip
async def test_faults_of_the_infrastructure_are_503_and_those_of_statements_500(
    faulty: Litestar, kind: str, status: int, code: str
) -> None:
    async with client_of(faulty) as client:
        answer = await client.get(f"/raise-error/{kind}")
    shape_of(answer, status, code)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert "person" not in answer.text


async def test_a_gateway_error_of_the_framework_shows_nothing_of_the_inside(faulty: Litestar) -> None:
    async with client_of(faulty) as client:
        answer = await client.get("/raise-error/gateway")
    shape_of(answer, 500, "internal")
    assert "10.0.0.5" not in answer.text


async def test_a_status_without_a_code_is_a_malformed_request(faulty: Litestar) -> None:
    async with client_of(faulty) as client:
        shape_of(await client.get("/raise-error/teapot"), 400, "malformed_request")


async def test_an_unknown_path_is_not_found(client: httpx.AsyncClient) -> None:
    shape_of(await client.get("/no/such/path"), 404, "not_found")
    shape_of(await client.get("/people/v1/persons/no-uuid"), 404, "not_found")


async def test_a_wrong_method_names_the_right_ones(client: httpx.AsyncClient) -> None:
    answer = await client.get("/auth/v1/enrol")
    shape_of(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]


async def test_what_is_no_json_is_malformed(client: httpx.AsyncClient) -> None:
    for body in (
        b"{",
        b"\xff\xfe",
        b"[1,2",
        b'{"phone": "138',
        b"nul",
        b'{"phone": "\xff\xfe"}',
        b'{"\xc3": 1}',
        b'{"phone": "\xed\xa0\x80"}',
    ):
        for path in ("/auth/v1/enrol", "/auth/v1/refresh"):
            answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
            shape_of(answer, 400, "malformed_request")


async def test_a_wrong_field_is_named_and_its_value_is_not_repeated(client: httpx.AsyncClient) -> None:
    wrong = {"phone": "12", "password": "my-secret-word", "device": {"id": "x"}}
    answer = await client.post("/auth/v1/enrol", json=wrong)
    body = shape_of(answer, 422, "invalid_value")
    assert body["details"]["faults"]
    assert "my-secret-word" not in answer.text


async def test_a_wrong_query_parameter_is_named(world: World) -> None:
    someone = await world.person((Role.ADMIN, VILLAGE))
    answer = await world.client.get("/people/v1/persons?limit=100000", headers=someone.headers)
    body = shape_of(answer, 422, "invalid_value")
    assert body["details"]["faults"][0]["key"] == "limit"


async def test_a_field_of_the_wrong_type_is_invalid_not_a_crash(client: httpx.AsyncClient) -> None:
    for wrong in ([], 7, "x", None, {}, {"phone": 7}, {"phone": ["13800000001"], "password": {}, "device": []}):
        answer = await client.post("/auth/v1/enrol", content=json.dumps(wrong), headers={"Content-Type": "application/json"})
        shape_of(answer, 422, "invalid_value")


def test_the_framework_s_own_words_are_not_shown() -> None:
    problem = problem_of(HTTPException(status_code=400, detail="quotes what was sent"))
    assert problem.detail == DETAIL_ZH[ProblemCode.MALFORMED_REQUEST]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/people/v1/duties", {"person": str(uuid.UUID(int=7)), "duty": {"role": "king", "unit": "610902"}}, "unknown_word"),
        ("/people/v1/duties", {"person": "x", "duty": {"role": "auditor", "unit": "610902"}}, "not_of_this_form"),
        ("/people/v1/duties", {"person": str(uuid.UUID(int=7))}, "missing"),
        ("/auth/v1/password", {"old": "x", "new": "short"}, "too_short"),
        ("/auth/v1/password", {"old": "x" * 129, "new": "long enough"}, "too_long"),
        ("/auth/v1/password", {"old": 7, "new": "long enough"}, "wrong_type"),
    ],
)
async def test_what_is_wrong_with_a_request_is_said_in_chinese(world: World, path: str, body: dict[str, Any], code: str) -> None:
    admin = await world.person((Role.ADMIN, "610902"))
    refused = (await world.client.post(path, json=body, headers=admin.headers)).json()
    fault = refused["details"]["faults"][0]
    assert (refused["code"], fault["code"]) == ("invalid_value", code), refused
    assert not re.search("[A-Za-z]", fault["message"])
    assert fault["message"] in refused["detail"]


async def test_a_refusal_of_administration_says_why_in_chinese(world: World) -> None:
    admin = await world.person((Role.ADMIN, "610902"))
    for unit, level in (("610902101001", "county"), ("nowhere", "grid"), ("610921", "grid")):
        body = {"code": "wg-new", "parent": unit, "level": level, "name": "名"}
        refused = (await world.client.post("/people/v1/units", json=body, headers=admin.headers)).json()
        assert re.fullmatch("[^A-Za-z]+", refused["detail"]), refused


async def test_the_same_unit_again_is_the_same_unit(world: World) -> None:
    """An answer may be lost."""
    admin = await world.person((Role.ADMIN, "610902"))
    body = {"code": "wg-new", "parent": "610902101001", "level": "grid", "name": "一网格"}
    answers = [await world.client.post("/people/v1/units", json=body, headers=admin.headers) for _ in range(2)]
    assert [a.status_code for a in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    other = await world.client.post("/people/v1/units", json=body | {"name": "二网格"}, headers=admin.headers)
    assert (other.status_code, other.json()["code"]) == (409, "conflicting_state")


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({}, "phone"),
        ({"phone": "13800000001"}, "password"),
        ({"phone": "13800000001", "password": "x"}, "device"),
        ({"phone": "13800000001", "password": "x", "device": {}}, "device.id"),
        ({"phone": "13800000001\n", "password": "x", "device": {"id": str(uuid.UUID(int=7))}}, "phone"),
    ],
)
async def test_what_is_missing_or_wrong_in_a_log_in_is_named_by_its_own_name(
    client: httpx.AsyncClient, body: dict[str, Any], key: str
) -> None:
    refused = await client.post("/auth/v1/enrol", json=body)
    assert [fault["key"] for fault in shape_of(refused, 422, "invalid_value")["details"]["faults"]] == [key]
    assert refused.json()["detail"].startswith(f"{key}：")


def test_what_a_console_may_be_told_says_nothing_of_a_phone() -> None:
    """The same refusals meet a browser: what is not of a phone alone does not speak of one."""
    of_a_log_in = (ProblemCode.BUSY, ProblemCode.STORAGE_UNAVAILABLE, ProblemCode.TOO_MANY_REQUESTS, ProblemCode.ACCOUNT_LOCKED)
    assert [code for code in of_a_log_in if "手机上" in TEXT_ZH[code] + DETAIL_ZH[code]] == []
