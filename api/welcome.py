"""GET /: what a stranger's browser gets. What this is, where to go on, and, where an installation is for trying out, who may log in."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any, Final

from litestar import MediaType, Request, Response, get

from api.auth import PUBLIC
from api.demo_accounts import DemoAccount
from api.dependencies import GivenResources
from api.loopback import asked_for_this_machine, came_from_this_machine

STYLE: Final = """
body{font:16px/1.7 system-ui,"Noto Sans SC","Microsoft YaHei",sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#1c2b22}
h1{color:#2f6f4e}h2{margin-top:2.2rem;font-size:1.1rem;border-bottom:2px solid #2f6f4e}a{color:#2f6f4e}.en{color:#667;font-size:.9em}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #e0e6e1}
code{font:14px/1.5 monospace}
"""
STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
VERSION: Final = metadata.version("xunling")


@get("/", opt=PUBLIC, include_in_schema=False, media_type=MediaType.HTML)
async def welcome(request: Request[Any, Any, Any], resources: GivenResources) -> Response[str]:
    """One page without a script and without anything from elsewhere. Passwords of demo accounts are for this machine only."""
    is_here = came_from_this_machine(request) and asked_for_this_machine(request)
    page = "".join(written(resources.demo, with_passwords=is_here))
    return Response(page, media_type=MediaType.HTML, headers={"content-security-policy": POLICY, "cache-control": "no-store"})


def written(accounts: Sequence[DemoAccount], *, with_passwords: bool) -> Iterator[str]:
    yield '<!DOCTYPE html><html lang="zh-CN"><head><meta charset="utf-8"><title>巡岭 Xunling</title>'
    yield f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
    yield f"<h1>巡岭 Xunling <small>{html.escape(VERSION)}</small></h1>"
    yield "<p>县区生态环境网格巡查的后台服务：网格员没有信号也能填检查清单、拍照、报问题，有信号时一次同步；镇办吹哨、部门报到、三色督办、销号。</p>"
    yield '<p class="en">The backend of a county\'s environmental patrol, offline first. This address is for programs: '
    yield "the phone app and the office console talk to it.</p>"
    yield "<h2>去哪里 · Where to go</h2><ul>"
    yield '<li><a href="/schema">接口文档</a> <span class="en">every operation, with examples</span></li>'
    yield '<li><a href="/schema/openapi.json">openapi.json</a> <span class="en">the same for programs</span></li>'
    yield '<li><a href="/health/ready">运行状况</a> <span class="en">is it well?</span></li>'
    yield '<li><a href="/public/v1/draws">双随机抽查公示</a> <span class="en">published draws</span></li></ul>'
    yield "<p>您是网格员或工作人员？请打开本单位发给您的应用，用手机号登录；没有账号请联系本单位管理员。<br>"
    yield '<span class="en">Patrol or office staff: open the app that your unit gave you; your unit\'s administrator makes accounts.</span></p>'
    if accounts:
        yield from demo(accounts, with_passwords=with_passwords)
    yield "</body></html>"


def demo(accounts: Sequence[DemoAccount], *, with_passwords: bool) -> Iterator[str]:
    where = "" if with_passwords else "密码只在运行巡岭的那台机器上显示。"
    yield f"<h2>演示账号 · Demo accounts</h2><p>这是演示环境，人员是虚构的。{where} "
    yield '<span class="en">Invented people; the README goes on with their first five minutes.</span></p>'
    yield "<table><tr><th>手机号</th><th>初始密码</th><th>姓名与职责</th></tr>"
    for one in accounts:
        password = f"<code>{html.escape(one.password)}</code>" if with_passwords else "·"
        yield f"<tr><td><code>{html.escape(one.phone)}</code></td><td>{password}</td><td>{html.escape(one.name)}　{html.escape(one.title)}</td></tr>"
    yield "</table>"
