"""Sending photos: ask where to, send what is missing, say that it is complete, keep the receipt (design.md section 4).

Nothing of an upload is remembered here: the server says which parts it has, so an upload goes on after any break.
"""

from __future__ import annotations

from typing import Final

import httpx
import msgspec

from contracts.photos import COMPLETE_PATH, UPLOADS_PATH, CompleteAnswer, Part, PhotoRequest, PhotoState, UploadAnswer
from phone import photos, wire
from phone.account import Account
from phone.exchange import Ended, Pacing, ended_by
from phone.receipts import BadReceiptError, UnknownKeyError
from phone.store import Store

POLL_S: Final = 2.0  # while the server verifies, when it does not say
ASKS_MAX: Final = 2  # how often one photo's addresses are asked for in one go
_EXPIRED: Final = (httpx.codes.FORBIDDEN, httpx.codes.GONE)  # S3's word and the relay's for an address that is too old


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """How an upload went. `waiting`: photos whose bytes are still only here, whatever the reason."""

    ended: Ended
    sent_bytes: int = 0
    received: int = 0
    waiting: int = 0
    code: str | None = None
    retry_after_s: float | None = None


class Uploader:
    """One phone's photos, one after the other: a thin line is not shared."""

    def __init__(self, store: Store, account: Account, bytes_client: httpx.AsyncClient, pacing: Pacing) -> None:
        self._store = store
        self._account = account
        self._bytes_client = bytes_client
        self._pacing = pacing
        self._sent_bytes = 0
        self._received = 0
        self._in_the_way: str | None = None  # what a proxy or the photo store said: not the server's word about a photo
        self._verifying: float | None = None  # seconds after which to ask for a photo that the server still looks at

    async def upload(self) -> Uploaded:
        """All photos whose announcement has its receipt. One photo's refusal does not stop the next."""
        self._sent_bytes = self._received = 0
        self._in_the_way = self._verifying = None
        try:
            for photo in photos.fetch_to_upload(self._store.db):
                await self._upload_patiently(photo)
        except wire.StrangeAnswerError as error:
            return self._result(Ended.UNBELIEVABLE, str(error))
        except wire.OfflineError:
            return self._result(Ended.OFFLINE)
        except wire.RefusedError as refused:
            return self._result(ended_by(refused), refused.code, refused.retry_after_s)
        except BadReceiptError as error:
            return self._result(Ended.UNBELIEVABLE, str(error))
        photos.delete_received(self._store)
        left = photos.count_unreceipted(self._store.db)
        if self._in_the_way is not None:
            return self._result(Ended.REFUSED, self._in_the_way)
        if self._verifying is not None:
            return self._result(Ended.BUSY, retry_after_s=self._verifying)
        return self._result(Ended.COMPLETE if left == 0 else Ended.STALLED)

    async def _upload_patiently(self, photo: photos.HeldPhoto) -> None:
        """One photo to its receipt; while the server verifies it, ask again within the patience."""
        waited_s = 0.0
        while True:
            try:
                answer = await self._upload_once(photo)
            except photos.LostPhotoError as lost:
                self._note(photo, photos.LOST, str(lost))
                return
            except wire.RefusedError as refused:
                if refused.status >= httpx.codes.INTERNAL_SERVER_ERROR or refused.status in _NOT_THIS_PHOTO:
                    raise
                if not refused.is_ours:
                    self._in_the_way = refused.code
                self._note(photo, photos.ANNOUNCED, refused.code)
                return
            await self._note_answer(photo, answer)
            if answer.state is not PhotoState.VERIFYING:
                return
            pause_s = answer.retry_after_s or POLL_S
            if waited_s + pause_s > self._pacing.patience_s:
                self._verifying = pause_s
                return
            waited_s += pause_s
            await self._pacing.sleep(pause_s)

    async def _upload_once(self, photo: photos.HeldPhoto) -> UploadAnswer | CompleteAnswer:
        request = PhotoRequest(county=photo.county, sha256=photo.sha256)
        for attempt in range(ASKS_MAX):
            answer = await self._account.call("POST", UPLOADS_PATH, request, UploadAnswer)
            if answer.state is not PhotoState.UPLOAD:
                return answer
            try:
                await self._send_parts(photo, answer.parts)
                break
            except wire.RefusedError as refused:
                if refused.status not in _EXPIRED or attempt + 1 == ASKS_MAX:
                    raise
        return await self._account.call("POST", COMPLETE_PATH, request, CompleteAnswer)

    async def _send_parts(self, photo: photos.HeldPhoto, parts: list[Part]) -> None:
        missing = [part for part in parts if not part.have]
        content = photos.fetch_bytes(self._store, photo.county, photo.sha256) if missing else b""
        for part in missing:
            piece = content[part.offset : part.offset + part.bytes]
            await self._send_piece(part, piece)
            self._sent_bytes += len(piece)

    async def _send_piece(self, part: Part, piece: bytes) -> None:
        sending = self._bytes_client.stream(part.method, part.url, headers=part.headers, content=piece)
        try:
            async with sending as answer:
                if not answer.is_success:
                    raise await wire.refusal(answer)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise wire.OfflineError(str(error)) from error

    async def _note_answer(self, photo: photos.HeldPhoto, answer: UploadAnswer | CompleteAnswer) -> None:
        try:
            self._store_answer(photo, answer)
        except UnknownKeyError:
            await self._account.fetch_keys()
            try:
                self._store_answer(photo, answer)
            except UnknownKeyError as error:
                raise BadReceiptError(f"the server does not show its key {error}") from error
        self._received += answer.receipt is not None

    def _store_answer(self, photo: photos.HeldPhoto, answer: UploadAnswer | CompleteAnswer) -> None:
        with self._store.transaction("photo answered") as db:
            photos.note_state(db, photo, answer.state.value, answer.reason, answer.receipt)

    def _note(self, photo: photos.HeldPhoto, state: str, reason: str) -> None:
        with self._store.transaction("photo refused") as db:
            photos.note_state(db, photo, state, reason, None)

    def _result(self, ended: Ended, code: str | None = None, retry_after_s: float | None = None) -> Uploaded:
        return Uploaded(
            ended=ended,
            sent_bytes=self._sent_bytes,
            received=self._received,
            waiting=photos.count_unreceipted(self._store.db),
            code=code,
            retry_after_s=retry_after_s,
        )


_NOT_THIS_PHOTO: Final = {httpx.codes.UNAUTHORIZED, httpx.codes.TOO_MANY_REQUESTS}
