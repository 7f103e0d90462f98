"""Is it up, is it ready, and what does it count."""

from __future__ import annotations

import asyncio
import hmac
import time
from enum import Enum
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response, get

from api.auth import PUBLIC, bearer_token
from api.dependencies import GivenResources
from api.loopback import came_from_this_machine
from api.metrics import CONTENT_TYPE
from api.probes import S3_WRITE_SECONDS, SILENT
from api.resources import Resources
from contracts.problems import Problem, ProblemCode
from storage.gauges import fetch_gauges, fetch_migration
from storage.jobs import fetch_backlog
from storage.probe import probe_writing

PROBE_KEY: Final = "health"

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
    """Asks nobody: 200 as long as the process answers at all."""
    return Health(status=Standing.OK)


@get("/health/ready", opt=PUBLIC, tags=["health"], summary="能否提供服务 · Can it serve?")
async def ready(resources: GivenResources) -> Response[Health]:
    """Tries each part by writing. 503 when patrol data cannot be handed in; 200 and `degraded` when only photos cannot. Within three seconds."""
    database, photos = await asyncio.gather(
        resources.probes.database.answer(lambda: _database(resources)), resources.probes.photos.answer(lambda: _photos(resources))
    )
    parts = {"database": database, "photos": photos}
    if database != "ok":
        return Response(Health(status=Standing.DOWN, parts=parts), status_code=503, headers={"Retry-After": "5"})
    standing = Standing.OK if photos == "ok" else Standing.DEGRADED
    return Response(Health(status=standing, parts=parts))


async def _database(resources: Resources) -> str:
    try:
        if await fetch_migration(resources.pool) != resources.migration:
            return "not_migrated"
        found = await probe_writing(resources.pool, resources.now())
    except Exception as error:  # noqa: BLE001 - whatever keeps us from asking is the answer
        log.warning("database_not_ready", error=type(error).__name__)
        return SILENT
    if found != "ok":
        log.warning("database_not_writable", why=found)
    return found


async def _photos(resources: Resources) -> str:
    """Reading each time, writing now and then: S3 keeps room for what was deleted until it tidies up."""
    if resources.objects is None:
        return "not_configured"
    try:
        await resources.objects.head(PROBE_KEY)
    except Exception as error:  # noqa: BLE001 - as above
        log.warning("photos_not_ready", error=type(error).__name__)
        return SILENT
    if time.monotonic() - resources.probes.written_at < S3_WRITE_SECONDS:
        return "ok"
    try:
        await resources.objects.put(PROBE_KEY, b"ok")
        await resources.objects.delete([PROBE_KEY])
    except Exception as error:  # noqa: BLE001 - as above
        log.warning("photos_not_writable", error=type(error).__name__)
        return "not_writable"
    resources.probes.written_at = time.monotonic()
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
    elif not came_from_this_machine(request):
        raise Problem(ProblemCode.NOT_ALLOWED)
