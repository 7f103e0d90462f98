"""What may be patrolled, as codes with what people read."""

from __future__ import annotations

from litestar import get
from litestar.datastructures import CacheControlHeader

from api.auth import PUBLIC
from contracts.subjects import SubjectCode, subjects

CACHED_SECONDS = 3600


@get(
    "/sync/v1/subjects",
    opt=PUBLIC,
    tags=["sync"],
    cache_control=CacheControlHeader(public=True, max_age=CACHED_SECONDS),
    summary="类别代码 · Codes of subjects",
)
async def list_subjects() -> list[SubjectCode]:
    """Every subject that a checklist or a responsibility table names, by code. A record may name another one: it is kept and flagged."""
    return list(subjects().values())
