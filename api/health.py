"""Is it up, is it ready, and what does it count."""

from __future__ import annotations

import asyncio
import hmac
from enum import Enum
from ipaddress import ip_address
from typing import Any

import msgspec
import structlog
from litestar import Request, Response, get

from api.auth import PUBLIC, bearer_token
from api.dependencies import GivenResources
from api.metrics import CONTENT_TYPE
from api.resources import Resources
from contracts.problems import Problem, ProblemCode
from storage.gauges import fetch_gauges, fetch_migration
from storage.jobs import fetch_backlog

PART_SECONDS_MAX = 3.0
FORWARDED = "x-forwarded-for"  # whoever comes by a proxy on this machine is not on it, also where nobody named that proxy

log = structlog.get_logger("xunling.health")


class Standing(str, Enum):
    """ok: all of it. degraded: patrol data can be handed in, but a named part fails. down: it cannot."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """`parts`: name -> "ok" or what is wrong with it, in a word."""

    status: Standing
    parts: dict[str, str] = {}


@get("/health/live", opt=PUBLIC, tags=["health"], summary="进程是否在运行 · Is the process up?")
async def live() -> Health:
    return Health(status=Standing.OK)


@get("/health/ready", opt=PUBLIC, tags=["health"], summary="能否提供服务 · Can it serve?")
async def ready(resources: GivenResources) -> Response[Health]:
    """Asks each part. 503 when patrol data cannot be handed in; 200 and `degraded` when only photos cannot."""
    database, photos = await asyncio.gather(_database(resources), _photos(resources))
    parts = {"database": database, "photos": photos}
    if database != "ok":
        return Response(Health(status=Standing.DOWN, parts=parts), status_code=503, headers={"Retry-After": "5"})
    standing = Standing.OK if photos == "ok" else Standing.DEGRADED
    return Response(Health(status=standing, parts=parts))


async def _database(resources: Resources) -> str:
    try:
        async with asyncio.timeout(PART_SECONDS_MAX):
            applied = await fetch_migration(resources.pool)
    except Exception as error:  # noqa: BLE001 - whatever keeps us from asking is the answer
        log.warning("database_not_ready", error=type(error).__name__)
        return "unreachable"
    return "ok" if applied == resources.migration else "not_migrated"


async def _photos(resources: Resources) -> str:
    if resources.objects is None:
        return "not_configured"
    try:
        async with asyncio.timeout(PART_SECONDS_MAX):
            await resources.objects.head("health")
    except Exception as error:  # noqa: BLE001 - as above
        log.warning("photos_not_ready", error=type(error).__name__)
        return "unreachable"
    return "ok"


@get("/metrics", opt=PUBLIC, tags=["health"], summary="Prometheus", media_type=CONTENT_TYPE)
async def metrics(request: Request[Any, Any, Any], resources: GivenResources) -> Response[bytes]:
    """What all server processes counted, and what stands in the database; from loopback, or with the configured token."""
    _check_may_scrape(request, resources.access.metrics_token)
    exposition = resources.metrics.exposition(await fetch_gauges(resources.pool), await fetch_backlog(resources.pool))
    return Response(exposition, media_type=CONTENT_TYPE)


def _check_may_scrape(request: Request[Any, Any, Any], token: str) -> None:
    if token:
        given = bearer_token(request.headers.get("authorization", ""))
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise Problem(ProblemCode.NOT_AUTHENTICATED)
    elif FORWARDED in request.headers or not _is_loopback(str(request.scope["state"].get("source", ""))):
        raise Problem(ProblemCode.NOT_ALLOWED)


def _is_loopback(source: str) -> bool:
    try:
        return ip_address(source).is_loopback
    except ValueError:
        return False
