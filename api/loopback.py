"""Is the caller on this machine?"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from litestar import Request

# Who comes by a proxy on this machine is not on it, also where nobody named that proxy.
FORWARDED: Final = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "via")


def came_from_this_machine(request: Request[Any, Any, Any]) -> bool:
    is_forwarded = any(header in request.headers for header in FORWARDED)
    return not is_forwarded and is_loopback(str(request.scope["state"].get("source", "")))


def asked_for_this_machine(request: Request[Any, Any, Any]) -> bool:
    """Whether the browser had one of this machine's own names in its address line. A page from elsewhere whose name was made to lead here
    (DNS rebinding) reads as this machine, but under that name.
    """
    host = request.headers.get("host", "").lower()
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name == "localhost" or is_loopback(name)


def is_loopback(source: str) -> bool:
    try:
        return ip_address(source).is_loopback
    except ValueError:
        return False
