"""The API's documentation: OpenAPI 3.1 as JSON, and one page made from it, without a script and without the internet."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, Final

import msgspec
from litestar import Request, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Server, Tag

from api.auth import PUBLIC
from api.document import completed, operations

SCHEMA_PATH: Final = "/schema"
TITLE: Final = "巡岭 Xunling"
VERSION: Final = metadata.version("xunling")
ABOUT: Final = "县级生态环境网格巡查后端，离线优先。The backend of a county's environmental patrol, offline first."
TAGS: Final = {
    "auth": "登录与凭证 · Logging in",
    "devices": "设备 · Devices",
    "people": "人员、职责与单位 · People, duties and units",
    "sync": "同步 · Sync",
    "photos": "照片 · Photos",
    "office": "办公室：台账、待办、交办、规则、导入 · The office: ledgers, desks, assigning, rules, imports",
    "draws": "双随机抽查 · Draws",
    "public": "对外公示 · Public",
    "audit": "审计日志 · Audit log",
    "health": "运行状况 · Health",
}
STYLE: Final = """
body{font:15px/1.5 system-ui,"Noto Sans SC","Microsoft YaHei",sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1c2b22}
h2{margin-top:2.5rem;border-bottom:2px solid #2f6f4e}summary{cursor:pointer;padding:.35rem 0}code,pre{font:13px/1.45 monospace}
pre{background:#f2f5f2;padding:.75rem;overflow:auto}.m{display:inline-block;min-width:4rem;font-weight:700;color:#2f6f4e}
.free{color:#777;font-size:.85em}details{border-bottom:1px solid #e0e6e1}.said{white-space:pre-wrap}
"""
STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PAGE_POLICY: Final = f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def openapi_config(public_url: str) -> OpenAPIConfig:
    """The document at /schema/openapi.json, the page at /schema."""
    return OpenAPIConfig(
        title=TITLE,
        version=VERSION,
        description=ABOUT,
        servers=[Server(url=public_url or "/")],
        tags=[Tag(name=name, description=text) for name, text in TAGS.items()],
        security=[{"bearer": []}],
        use_handler_docstrings=True,
        components=Components(security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}),
        openapi_router=Router(
            SCHEMA_PATH,
            route_handlers=[],
            opt=PUBLIC,
            include_in_schema=False,
            response_headers={"content-security-policy": PAGE_POLICY},
        ),
        render_plugins=[PagePlugin(), DocumentPlugin()],
    )


class DocumentPlugin(JsonRenderPlugin):
    """The completed document as JSON."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json")
        self._written = b""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        self._written = self._written or self.render_json(request, completed(openapi_schema))
        return self._written


class PagePlugin(OpenAPIRenderPlugin):
    """Every operation and every schema as plain HTML. The policy allows this one style and nothing else."""

    def __init__(self) -> None:
        super().__init__(path="/")
        self._written = b""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002 - the base decides
        self._written = self._written or "".join(_page(completed(openapi_schema))).encode()
        return self._written


def _page(schema: Mapping[str, Any]) -> Iterator[str]:
    yield f'<!DOCTYPE html><html lang="zh-CN"><head><meta charset="utf-8"><title>{TITLE}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{STYLE}</style></head><body><h1>{TITLE} <small>{VERSION}</small></h1><p>{ABOUT}</p>"
    yield f'<p><a href="{SCHEMA_PATH}/openapi.json">openapi.json</a></p>'
    for tag, title in TAGS.items():
        yield f"<h2>{_e(title)}</h2>"
        for method, path, operation in operations(schema):
            if tag in operation["tags"]:
                yield from _operation(method, path, operation)
    yield "<h2>出错时的应答 · Problems</h2>"
    for name, one in sorted(schema["components"]["responses"].items()):
        yield f'<p id="{_e(name)}"><code>{_e(name.removeprefix("Problem"))}</code> {_e(one["description"])}</p>'
    yield '<p>application/problem+json: <a href="#ProblemDetails">ProblemDetails</a></p>'
    yield "<h2>数据结构 · Schemas</h2>"
    for name, one in sorted(schema["components"]["schemas"].items()):
        yield f'<details id="{_e(name)}"><summary>{_e(name)}</summary>{_e(one.get("description", ""))}{_json(one)}</details>'
    yield "</body></html>"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    free = "" if operation.get("security") != [{}] else ' <span class="free">无需登录 no token</span>'
    yield f'<details><summary><span class="m">{method.upper()}</span> <code>{_e(path)}</code> {_e(operation.get("summary", ""))}{free}</summary>'
    yield f"<p class=said>{_e(operation.get('description', ''))}</p>"
    for title, part in (("参数 Parameters", "parameters"), ("请求 Request", "requestBody"), ("应答 Responses", "responses")):
        if operation.get(part):
            yield f"<h4>{title}</h4>{_json(operation[part])}"
    yield "</details>"


def _json(value: Any) -> str:
    return f"<pre>{_e(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())}</pre>"


def _e(text: str) -> str:
    return html.escape(text)
