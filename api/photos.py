"""A photo's bytes: where to put them, that they are all there, who is still waited for, and looking at them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from litestar import Request, Response, Router, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Stream
from msgspec import Meta

from api.auth import LIMITED, PHONE_WITHOUT_FACTOR, PUBLIC, PUSH_ONLY, charge_wiped
from api.dependencies import GivenCaller, GivenNow, GivenOrigin, GivenPlaces, GivenResources
from api.ledgers import visible_streams
from api.paging import position_of, position_text
from api.photo_urls import PhotoUrls, RelayTicket, check_body
from api.resources import Resources
from api.signing import PublicKey, Signer
from contracts.access import Action
from contracts.caller import Caller, DeviceKind
from contracts.ids import County, UnitCode
from contracts.people import Audience
from contracts.photos import CompleteAnswer, PhotoRequest, PhotoState, UploadAnswer, WantedPhoto, WantedPhotos
from contracts.problems import Problem, ProblemCode
from contracts.receipt import PhotoReceipt
from storage.blobs import Uploader, fetch_wanted
from storage.objects import Objects, photo_key, rendering_key
from storage.photo_views import RENDERING_MEDIA_TYPE, Rendering, fetch_view
from storage.photos import UploadPlan, complete_upload, plan_upload
from storage.rate_limit import Rate, bucket_key, take
from sync.administration import FIELD_ROLES
from sync.permission import OFFICE
from sync.places import unit_of
from sync.scope import AUDIENCES, held_duties, open_duties, streams_of, units_with

VERIFYING_RETRY_SECONDS: Final = 5
VIEW_SECONDS: Final = 120  # a presigned address that a browser follows at once
WANTED_PAGE: Final = 200
DAY_SECONDS: Final = 86_400
RENDERING_SECONDS: Final = 7 * 86_400  # a rendering of a hash never changes: browsers may keep it


@post("/uploads", opt=PUSH_ONLY, status_code=200, summary="照片上传地址 · Where to put which bytes of a photo")
async def plan_photo_upload(data: JSONBody[PhotoRequest], caller: GivenCaller, resources: GivenResources, now: GivenNow) -> UploadAnswer:
    """What is left to be sent of a photo that the caller has announced. Ask again to go on, or for fresh addresses."""
    plan = await plan_upload(resources.pool, s3_of(resources), resources.photo_rules, uploader_of(caller, data), now)
    answer = UploadAnswer(state=plan.state, reason=plan.reason, receipt=receipt_of(plan, data, resources.signer))
    if plan.state is PhotoState.UPLOAD:
        parts = await resources.photo_urls.address(plan.parts, caller.person, s3_of(resources), now)
        return UploadAnswer(state=plan.state, reason=plan.reason, mode="single" if plan.is_single else "chunks", parts=parts)
    if plan.state is PhotoState.VERIFYING:
        return UploadAnswer(state=plan.state, retry_after_s=VERIFYING_RETRY_SECONDS)
    return answer


@post("/complete", opt=PUSH_ONLY, status_code=200, summary="照片已传完 · All parts of a photo are there")
async def complete_photo(
    data: JSONBody[PhotoRequest], caller: GivenCaller, resources: GivenResources, now: GivenNow
) -> Response[CompleteAnswer]:
    """Receipt at once when S3 vouches for the hash; 202 while the worker verifies."""
    plan = await complete_upload(resources.pool, s3_of(resources), resources.photo_rules, uploader_of(caller, data), now)
    await charge_wiped(resources, caller, plan.bytes if plan.is_news else 0)  # once, however often a phone asks
    if plan.state is PhotoState.VERIFYING:
        answer = CompleteAnswer(state=plan.state, retry_after_s=VERIFYING_RETRY_SECONDS)
        return Response(answer, status_code=202, headers={"Retry-After": str(VERIFYING_RETRY_SECONDS)})
    receipt = receipt_of(plan, data, resources.signer)
    return Response(CompleteAnswer(state=plan.state, reason=plan.reason, receipt=receipt))


def uploader_of(caller: Caller, data: PhotoRequest) -> Uploader:
    """The parts are of the caller's device; announced is what the person has announced, on whichever of their devices."""
    return Uploader(county=data.county, sha256=data.sha256, device=caller.device, person=caller.person)


def receipt_of(plan: UploadPlan, data: PhotoRequest, signer: Signer) -> PhotoReceipt | None:
    """The same receipt whenever it is asked for: it says when this person's bytes were received."""
    if plan.received_at is None:
        return None
    at_ms = int(plan.received_at.timestamp() * 1000)
    return signer.sign_photo(PhotoReceipt(county=data.county, sha256=data.sha256, bytes=plan.bytes, at_ms=at_ms, key=signer.key))


def s3_of(resources: Resources) -> Objects:
    if resources.objects is None:
        raise Problem(ProblemCode.STORAGE_UNAVAILABLE)
    return resources.objects


@put("/relay/{token:str}", opt=PUBLIC, status_code=200, request_max_body_size=None, summary="中转上传 · Put a part through this server")
async def relay_part(request: Request[Any, Any, Any], token: FromPath[str], resources: GivenResources, now: GivenNow) -> None:
    """One part, where phones cannot reach S3. The address alone entitles, as at S3; it expires, and names key, length and person.

    Sent again, the same bytes are not stored again; all that comes in is counted against the person's day.
    """
    ticket = resources.photo_urls.open_ticket(token, now)
    await charge_relay(resources, ticket, now)
    body = await read_body(request, ticket.bytes)
    check_body(ticket, dict(request.headers), body)
    await s3_of(resources).put_once(ticket.key, body, sha256=ticket.sha256)


async def charge_relay(resources: Resources, ticket: RelayTicket, now: datetime) -> None:
    """An address may be used again and again until it expires; what a person sends in a day is bounded. Problem: photo_day_full."""
    day_bytes = resources.photo_rules.day_bytes_max
    rate = Rate(capacity=day_bytes, per_second=day_bytes / DAY_SECONDS)
    wait_s = await take(resources.pool, bucket_key("relay", str(ticket.person)), rate, now, ticket.bytes)
    if wait_s is not None:
        raise Problem(ProblemCode.PHOTO_DAY_FULL, retry_after_s=wait_s, bytes_max=day_bytes)


async def read_body(request: Request[Any, Any, Any], size: int) -> bytes:
    """The body, as long as it is not longer than signed."""
    received = bytearray()
    async for block in request.stream():
        received += block
        if len(received) > size:
            raise Problem(ProblemCode.PHOTO_SIZE_MISMATCH, expected=size)
    return bytes(received)


@get("/wanted", opt=LIMITED, summary="等待上传的照片 · Photos that are waited for")
async def list_wanted(
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    unit: FromQuery[UnitCode],
    after: FromQuery[Annotated[str, Meta(max_length=120)] | None] = None,
) -> WantedPhotos:
    """Announced photos of a unit's records whose bytes are not here yet, the longest waited for first.

    Of records that the caller's duties show; a photo that is held has no record yet, and is told to its desk alone.
    """
    county = places.county_of(unit)
    if county is None or not any(places.covers(upper, unit) for upper in office_units(caller, now)):
        raise Problem(ProblemCode.NOT_ALLOWED)
    units = {code for code in places.below(unit) if places.units[code].county == county}
    streams = [stream for stream in visible_streams(caller, places, now) if unit_of(stream) in units]
    desks = sorted(units & units_with(OFFICE, caller.duties, places, now))
    photos = await fetch_wanted(resources.pool, county, streams, desks, cursor_of(after), WANTED_PAGE)
    return WantedPhotos(photos=photos, next=cursor_at(photos[-1]) if len(photos) == WANTED_PAGE else None)


def office_units(caller: Caller, now: datetime) -> list[UnitCode]:
    """Where the caller works in the office today."""
    return [duty.unit for duty in held_duties(caller.duties, now) if Audience.OFFICE in AUDIENCES[duty.role]]


def cursor_at(photo: WantedPhoto) -> str:
    return position_text(photo.since.astimezone(UTC), photo.photo)


def cursor_of(after: str | None) -> tuple[datetime, UUID]:
    if after is None:
        return datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0)
    at, photo = position_of(after, "after", UUID)
    return at, photo


@get("/{county:int}/{sha256:str}/{rendering:str}", opt=LIMITED, summary="查看照片 · Look at a photo")
async def view_photo(
    county: FromPath[County],
    sha256: FromPath[str],
    rendering: FromPath[Rendering],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    origin: GivenOrigin,
) -> Response[Any]:
    """The original or a rendering, for people who may see a record that shows it. `not_found` also while it is being made.

    What a console looks at, or somebody of the office on any device (its kind is the client's own word), is noted in the audit log.
    """
    streams = [s for s, c in streams_of(caller.duties, caller.device, places, now).items() if c == county]
    view = await fetch_view(resources.pool, county, sha256, rendering, streams)
    if view is None:
        raise Problem(ProblemCode.NOT_FOUND)
    if caller.device_kind is DeviceKind.CONSOLE or any(duty.role not in FIELD_ROLES for duty in open_duties(caller.duties, now)):
        resources.readings.note(caller, Action.PHOTO_READ, f"{county}/{sha256}", origin=origin, now=now)
    key = photo_key(county, sha256) if view.name is None else rendering_key(county, sha256, view.name)
    media_type = RENDERING_MEDIA_TYPE if view.name else view.media_type
    return await looked_at(s3_of(resources), resources.photo_urls, key, media_type)


async def looked_at(objects: Objects, urls: PhotoUrls, key: str, media_type: str) -> Response[Any]:
    """Bytes through us, or a redirect to S3 that is good for a moment."""
    if not urls.is_relayed:
        url = await objects.presign_get(key, media_type, VIEW_SECONDS)
        headers = {"Location": url, "Cache-Control": f"private, max-age={VIEW_SECONDS // 2}"}
        return Response(None, status_code=302, headers=headers)
    found = await objects.open(key)
    if found is None:
        raise Problem(ProblemCode.NOT_FOUND)
    headers = {"Cache-Control": f"private, max-age={RENDERING_SECONDS}, immutable", "Content-Length": str(found.bytes)}
    blocks: AsyncIterator[bytes] = found.blocks
    return Stream(blocks, media_type=media_type, headers=headers)


@get("/sync/v1/keys", opt=PUBLIC, tags=["sync"], summary="回执公钥 · Public keys of receipts")
async def list_keys(resources: GivenResources) -> list[PublicKey]:
    """The keys that check receipts, the one in use first."""
    return resources.signer.public_keys


PHOTOS: Final = Router(
    "/photos/v1",
    opt=PHONE_WITHOUT_FACTOR,
    route_handlers=[plan_photo_upload, complete_photo, relay_part, list_wanted, view_photo],
    tags=["photos"],
)
