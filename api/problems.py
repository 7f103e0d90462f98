"""Where problems become HTTP: one status per code, one shape for every error (RFC 9457), also for Litestar's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException, ValidationException
from litestar.types import ExceptionHandlersMap, Scope

from api.pace import ClientGone, handle_client_gone
from contracts.problems import TEXT_ZH, Problem, ProblemCode
from storage.pool import infrastructure_problem, is_unstorable

MEDIA_TYPE: Final = "application/problem+json"
URN: Final = "urn:xunling:problem:"

STATUS: Final[Mapping[ProblemCode, int]] = {
    ProblemCode.MALFORMED_REQUEST: 400,
    ProblemCode.BODY_TOO_LARGE: 413,
    ProblemCode.UNSUPPORTED_ENCODING: 415,
    ProblemCode.NOT_AUTHENTICATED: 401,
    ProblemCode.TOKEN_EXPIRED: 401,
    ProblemCode.WRONG_CREDENTIALS: 401,
    ProblemCode.ACCOUNT_LOCKED: 429,
    ProblemCode.ACCOUNT_DISABLED: 403,
    ProblemCode.PASSWORD_CHANGE_REQUIRED: 403,
    ProblemCode.SECOND_FACTOR_NEEDED: 401,
    ProblemCode.SECOND_FACTOR_WRONG: 401,
    ProblemCode.SECOND_FACTOR_REQUIRED: 403,
    ProblemCode.TOO_MANY_DEVICES: 409,
    ProblemCode.NOT_ALLOWED: 403,
    ProblemCode.NOT_FOUND: 404,
    ProblemCode.METHOD_NOT_ALLOWED: 405,
    ProblemCode.DEVICE_MISMATCH: 409,
    ProblemCode.DEVICE_REVOKED: 403,
    ProblemCode.CONFLICTING_STATE: 409,
    ProblemCode.INVALID_VALUE: 422,
    ProblemCode.TOO_MANY_REQUESTS: 429,
    ProblemCode.TOO_SLOW: 408,
    ProblemCode.BUSY: 503,
    ProblemCode.STORAGE_UNAVAILABLE: 503,
    ProblemCode.PHOTO_NOT_ANNOUNCED: 409,
    ProblemCode.PHOTO_HASH_MISMATCH: 422,
    ProblemCode.PHOTO_SIZE_MISMATCH: 422,
    ProblemCode.PHOTO_TOO_LARGE: 413,
    ProblemCode.PHOTO_EMPTY: 422,
    ProblemCode.PHOTO_DAY_FULL: 429,
    ProblemCode.PHOTO_TOO_MANY_PIXELS: 422,
    ProblemCode.PHOTO_NOT_AN_IMAGE: 422,
    ProblemCode.PHOTO_BOMB: 422,
    ProblemCode.PHOTO_INCOMPLETE: 409,
    ProblemCode.UPLOAD_EXPIRED: 410,
    ProblemCode.INTERNAL: 500,
}

# Litestar's own refusals carry only a status.
CODE_OF_STATUS: Final[Mapping[int, ProblemCode]] = {
    400: ProblemCode.MALFORMED_REQUEST,
    401: ProblemCode.NOT_AUTHENTICATED,
    403: ProblemCode.NOT_ALLOWED,
    404: ProblemCode.NOT_FOUND,
    405: ProblemCode.METHOD_NOT_ALLOWED,
    413: ProblemCode.BODY_TOO_LARGE,
    415: ProblemCode.UNSUPPORTED_ENCODING,
    422: ProblemCode.INVALID_VALUE,
    408: ProblemCode.TOO_SLOW,
    429: ProblemCode.TOO_MANY_REQUESTS,
    503: ProblemCode.BUSY,
}

_BOUND: Final = re.compile(r"[<>]= (-?[0-9.]+)")
_MISSING: Final = re.compile(r"Missing required \w+ parameter '(?P<key>\w+)'")  # Litestar says it in its text only
_MISSING_MEMBER: Final = re.compile(r"missing required field `(\w+)`")  # msgspec names the object, and the member in its text only
_BODY: Final = "data"  # what Litestar calls the whole body

SAID_MAX: Final = 5  # faults that the text names; all are in the details
# (part of what msgspec or Litestar says, code, Chinese with the bound that is ours), the most telling first
FAULTS: Final = (
    ("missing", "missing", "缺少此项"),
    ("unexpected", "unknown_field", "没有这一项"),
    ("Invalid enum value", "unknown_word", "不是可选的内容"),
    (
        "\\u2028",
        "not_one_line",
        "须为一行可读的文字，不能为空，不含换行和控制字符；姓名、单位名称也不含尖括号",
    ),  # HEADING_PATTERN, NAME_PATTERN
    ("matching regex", "not_of_this_form", "格式不正确"),
    ("`array` of length <=", "too_many", "项数过多，最多{}项"),
    ("`array` of length >=", "too_few", "项数过少，至少{}项"),
    ("length <=", "too_long", "内容过长，最多{}个字符"),
    ("length >=", "too_short", "内容过短或为空，至少{}个字符"),
    (" <= ", "too_large", "数值过大，最大为{}"),
    (" >= ", "too_small", "数值过小，最小为{}"),
    ("Invalid", "not_of_this_form", "格式不正确"),
    ("Expected", "wrong_type", "类型不正确"),
)

log = structlog.get_logger("xunling.http")


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request that cannot be served. `code` is for machines, `title` for people, `details` typed by code."""

    type: str
    title: str
    status: int
    code: ProblemCode
    request_id: str
    detail: str = ""
    details: dict[str, Any] = {}


def render_problem(problem: Problem, request_id: str) -> Response[bytes]:
    """The response for a problem. `Retry-After` wherever the problem says when to come again."""
    status = STATUS[problem.code]
    body = ProblemDetails(
        type=URN + problem.code.value,
        title=TEXT_ZH[problem.code],
        status=status,
        code=problem.code,
        request_id=request_id,
        detail=problem.detail,
        details=problem.details,
    )
    headers = {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(msgspec.json.encode(body), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def request_id_of(scope: Scope | dict[str, Any]) -> str:
    """The id that the outermost middleware gave the request."""
    return str(scope.get("state", {}).get("request_id", ""))


def handle_problem(request: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    return render_problem(problem, request_id_of(request.scope))


def handle_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Litestar's own errors in our shape. Its texts are not shown: they quote what was sent."""
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR and error.status_code not in CODE_OF_STATUS:
        return handle_unexpected(request, error)
    response = handle_problem(request, problem_of(error))
    if allow := (error.headers or {}).get("allow"):
        response.headers["Allow"] = allow
    return response


def _fault(key: str, message: str) -> dict[str, str]:
    """A decoder's English in a code and in Chinese; what was sent is not quoted."""
    code, text = next(((code, text) for part, code, text in FAULTS if part in message), ("not_fitting", "不符合要求"))
    bound = _BOUND.search(message)
    if member := _MISSING_MEMBER.search(message):
        key = f"{key}.{member[1]}"
    key = key.removeprefix(_BODY).removeprefix(".") if key.partition(".")[0] == _BODY else key
    return {"key": key, "code": code, "message": text.format(bound[1]) if bound else text}


def problem_of(error: HTTPException) -> Problem:
    """The problem that an HTTP error of the framework amounts to."""
    if isinstance(error, ValidationException):
        faults = [
            _fault(str(fault.get("key", "")), str(fault.get("message", "")))
            for fault in (error.extra if isinstance(error.extra, list) else [])
            if isinstance(fault, dict)
        ]
        if not faults and (missing := _MISSING.match(error.detail)):
            faults = [_fault(missing["key"], "missing")]
        said = "；".join(f"{fault['key']}：{fault['message']}" if fault["key"] else fault["message"] for fault in faults[:SAID_MAX])
        return Problem(ProblemCode.INVALID_VALUE, said, faults=faults)
    return Problem(CODE_OF_STATUS.get(error.status_code, ProblemCode.MALFORMED_REQUEST))


def handle_undecodable(request: Request[Any, Any, Any], _error: SerializationException) -> Response[bytes]:
    return handle_problem(request, Problem(ProblemCode.MALFORMED_REQUEST))


def handle_recursion(request: Request[Any, Any, Any], error: RecursionError) -> Response[bytes]:
    """A body that nests deeper than its decoder follows is no request; any other recursion without end is a bug."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    is_decoder = last is not None and last.tb_frame.f_globals.get("__name__", "").startswith(("litestar.serialization", "msgspec", "json"))
    return handle_problem(request, Problem(ProblemCode.MALFORMED_REQUEST)) if is_decoder else handle_unexpected(request, error)


def handle_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Faults of PostgreSQL and the way to it are 503; all else is a bug: logged in full, shown not at all."""
    if problem := infrastructure_problem(error):
        log.warning("infrastructure_fault", error=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))
        return handle_problem(request, problem)
    if is_unstorable(error):
        log.warning("unstorable_value", error=type(error).__name__)
        return handle_problem(request, Problem(ProblemCode.INVALID_VALUE))
    log.error("unexpected_error", exc_info=error)
    return handle_problem(request, Problem(ProblemCode.INTERNAL))


EXCEPTION_HANDLERS: Final[ExceptionHandlersMap] = {
    Problem: handle_problem,
    ClientGone: handle_client_gone,
    HTTPException: handle_http_exception,
    SerializationException: handle_undecodable,
    RecursionError: handle_recursion,
    Exception: handle_unexpected,
}
