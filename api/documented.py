"""Adds to every operation of the OpenAPI document what all have in common: problem answers, and whether a token is needed."""

from __future__ import annotations

from typing import Final

from litestar.openapi.datastructures import ResponseSpec
from litestar.plugins import ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute

from api.problems import MEDIA_TYPE, ProblemDetails

ANONYMOUS: Final = [{}]
ALWAYS: Final = {
    400: "请求内容无法识别 · Not understood",
    422: "填写内容不符合要求 · A value is wrong",
    429: "请求过于频繁 · Too many requests; see Retry-After",
    503: "服务器繁忙 · Busy; see Retry-After",
}
WITH_TOKEN: Final = {
    401: "请先登录 · Log in or refresh",
    403: "您的职责不能办理此项 · Not allowed",
    404: "未找到 · Not found, or not yours to see",
}
WITH_BODY: Final = {
    409: "当前状态不能这样办理 · Not in this state",
    413: "请求内容过大 · Too large",
}


class ProblemResponses(ReceiveRoutePlugin):
    """Sets `responses` and `security` of the handlers as they are registered; what a handler says itself stays."""

    def receive_route(self, route: BaseRoute) -> None:
        if not isinstance(route, HTTPRoute):
            return
        for handler in route.route_handlers:
            is_public = bool(handler.opt.get("public"))
            texts = ALWAYS | ({} if is_public else WITH_TOKEN) | (WITH_BODY if "POST" in handler.http_methods else {})
            common = {status: _problem(text) for status, text in texts.items()}
            handler.responses = {**common, **(handler.responses or {})}
            if is_public:
                handler.security = ANONYMOUS


def _problem(text: str) -> ResponseSpec:
    return ResponseSpec(ProblemDetails, generate_examples=False, description=text, media_type=MEDIA_TYPE)
