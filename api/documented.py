"""Says of every operation in the OpenAPI document whether a token is needed."""

from __future__ import annotations

from typing import Final

from litestar.openapi.datastructures import ResponseSpec
from litestar.plugins import ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute

from api.problems import MEDIA_TYPE, ProblemDetails

ANONYMOUS: Final = [{}]


class ProblemResponses(ReceiveRoutePlugin):
    """Sets `security` of the handlers as they are registered, and one problem answer, so that the document has its schema."""

    def receive_route(self, route: BaseRoute) -> None:
        if not isinstance(route, HTTPRoute):
            return
        for handler in route.route_handlers:
            handler.responses = {
                400: ResponseSpec(ProblemDetails, generate_examples=False, media_type=MEDIA_TYPE),
                **(handler.responses or {}),
            }
            if handler.opt.get("public"):
                handler.security = ANONYMOUS
