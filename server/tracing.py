"""OpenTelemetry, when an address for traces is configured (extra `otel`): one span per request and per statement.

Statements carry their text, which is a constant of ours, and never their arguments. Span names are route templates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from server.trouble import StartError

if TYPE_CHECKING:
    from opentelemetry.trace import Span

SERVICE = "xunling"


def traced(app: ASGIApp, endpoint: str) -> ASGIApp:
    """The app with tracing around it; itself when no endpoint is set. StartError when the extra is not installed."""
    if not endpoint:
        return app
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise StartError(
            "已配置链路追踪，但未安装 otel 组件：pip install 'xunling[otel]'",
            "Tracing is configured, but the extra is not installed: pip install 'xunling[otel]'",
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    instrumentor = AsyncPGInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(tracer_provider=provider)
    middleware: Any = OpenTelemetryMiddleware(  # its idea of ASGI's types is not Litestar's
        Named(app), tracer_provider=provider, excluded_urls="/health/.*,/metrics", exclude_spans=["receive", "send"]
    )
    return middleware


class Named:
    """Gives the request's span its route template: Litestar knows it only after routing, and raw paths hold ids."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from opentelemetry import trace

        span: Span = trace.get_current_span()

        async def named_send(message: Message) -> None:
            if message["type"] == "http.response.start":  # the span ends with the answer's last byte
                template = str(scope.get("path_template") or "unmatched")
                span.update_name(f"{scope.get('method', '')} {template}")
                span.set_attribute("http.route", template)
            await send(message)

        await self.app(scope, receive, named_send)
