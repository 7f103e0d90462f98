"""What is public: the commitments, and the signed file of a draw once it is disclosed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import Response, Router, get
from litestar.params import FromPath, FromQuery
from msgspec import Meta

from api.auth import PUBLIC
from api.dependencies import GivenPlaces, GivenResources
from api.paging import position_of, position_text
from api.resources import Resources
from contracts.draw import (
    FORMAT,
    DrawFile,
    DrawResult,
    PublishedPage,
    canonical,
    digests_of,
    ordered,
    published,
    seed_of,
)
from contracts.problems import Problem, ProblemCode
from storage import draws
from storage.draws import DrawRecord, Opened

PAGE_ROWS: Final = 100


def made_file(resources: Resources, found: DrawRecord, opened: Opened, result: DrawResult) -> tuple[DrawFile, bytes]:
    """The file and its bytes, from the record and what was sealed, and nothing else: made again it is the same file."""
    body, seeded, last, departed = found.body, found.step("draw.seed"), found.step("draw.disclose"), found.step("draw.depart")
    drawn = found.step("draw.draw") or found.step("draw.fail")
    assert opened.secret is not None
    assert opened.statement is not None
    assert seeded is not None
    assert drawn is not None
    assert last is not None
    assert body.prepared_by is not None
    assert body.committed_by is not None
    assert body.seeded_by is not None
    file = DrawFile(
        format=FORMAT,
        plan=published(ordered(opened.plan), result),
        secret=opened.secret.hex(),
        digests=digests_of(opened.plan, opened.secret),
        statement=opened.statement,
        prepared_by=body.prepared_by,
        committed_by=body.committed_by,
        nonce=body.nonce,
        nonce_by=body.seeded_by,
        nonce_at=seeded.at,
        seed=seed_of(opened.secret, body.nonce, opened.statement.commitment).hex(),
        result=result,
        drawn_at=drawn.at,
        departed_at=departed.at if departed else None,
        why=str(last.args.get("reason", "")),
        disclosed_at=last.at,
        public=resources.signer.public_keys[0].public,
        key=resources.signer.key,
    )
    file = msgspec.structs.replace(file, sig=resources.signer.sign(file.signed_bytes()))
    return file, canonical(file) + b"\n"


def as_file(content: bytes, commitment: str) -> Response[bytes]:
    headers = {"Content-Disposition": f'attachment; filename="draw-{commitment[:16]}.json"'}
    return Response(content, media_type="application/json", headers=headers)


@get("", opt=PUBLIC, summary="抽查承诺公示 · Published commitments")
async def list_published(
    resources: GivenResources, places: GivenPlaces, before: FromQuery[Annotated[str, Meta(max_length=120)] | None] = None
) -> PublishedPage:
    """A hash, how and when; since when it has its nonce; whether it was disclosed or given up. Of all counties together: nothing says
    who drew whom.
    """
    rows = await draws.fetch_published(resources.pool, places.counties, published_key(before), PAGE_ROWS)
    last = rows[-1].statement if len(rows) == PAGE_ROWS else None
    return PublishedPage(draws=rows, next=position_text(last.at, last.commitment) if last else None)


def published_key(before: str | None) -> tuple[datetime, str]:
    return draws.END if before is None else position_of(before, "before", str)


@get("/{commitment:str}/file", opt=PUBLIC, summary="抽查结果文件 · The disclosed file")
async def download_file(resources: GivenResources, places: GivenPlaces, commitment: FromPath[str]) -> Response[bytes]:
    """For `xunling draw verify`. Not found before disclosure."""
    content = await draws.fetch_file(resources.pool, places.counties, commitment)
    if content is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return as_file(content, commitment)


PUBLIC_DRAWS: Final = Router("/public/v1/draws", route_handlers=[list_published, download_file], tags=["public"])
