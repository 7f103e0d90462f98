"""Is the caller on this machine?"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from litestar import Request

FORWARDED: Final = "x-forwarded-for"  # who comes by a proxy on this machine is not on it, also where nobody named that proxy


def came_from_this_machine(request: Request[Any, Any, Any]) -> bool:
    return FORWARDED not in request.headers and is_loopback(str(request.scope["state"].get("source", "")))


def is_loopback(source: str) -> bool:
    try:
        return ip_address(source).is_loopback
    except ValueError:
        return False
