"""The phone as an app uses it. Everything but `enrol`, `sync` and `upload_photos` works without signal.

What a person enters is durable when the call returns. What they see is the confirmed copy with their own work laid over
it; `waiting`, `refused` and `disputed` say what became of the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from msgspec import UNSET, Raw
from uuid_utils.compat import uuid7

from contracts.exchange import Limits
from contracts.ids import County, MutationId, RecordId, Version
from contracts.kind import Position
from contracts.kinds import KINDS
from contracts.mutation import CONTRACT_MAX, CREATE, DELETE, EDIT, Mutation
from contracts.outcomes import Outcome
from contracts.problems import ProblemCode
from phone import copies, outbox, photos
from phone.account import Account
from phone.clock import Clock, SystemClock
from phone.exchange import BATCH_MUTATIONS, LIMITS, PACING, Ended, Pacing, Synced, Syncer, erase
from phone.faults import CrashPoint, no_crash
from phone.inbox import ProtocolError, drain
from phone.overlay import get_field, overlay
from phone.receipts import UnknownKeyError
from phone.store import Store, fetch_meta, set_meta
from phone.uploads import Uploaded, Uploader

APP: Final = "xunling-reference/1"
SYNC: Final = "sync"  # the lock of one sync or upload per store
DEVICE_REVOKED: Final = ProblemCode.DEVICE_REVOKED.value


class RecordView(msgspec.Struct, frozen=True, kw_only=True):
    """A record as the person sees it.

    base      what an edit made from this view is based on: the confirmed version, or the newest own pending mutation
    unsent    numbers of own mutations on it that have no receipt yet
    waiting   numbers of those that wait on a desk (quarantined or deferred)
    """

    id: RecordId
    county: County
    kind: str
    body: dict[str, Any]
    version: Version | None
    base: Version | MutationId
    parent: RecordId | None = None
    deleted: bool = False
    unsent: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()


class Phone:
    """One device and its store. Methods that change something raise ValueError for what cannot be meant."""

    def __init__(
        self,
        path: Path | str,
        client: httpx.AsyncClient,
        *,
        clock: Clock | None = None,
        bytes_client: httpx.AsyncClient | None = None,
        app: str = APP,
        contract: int = CONTRACT_MAX,
        limits: Limits = LIMITS,
        pacing: Pacing = PACING,
        mutations_max: int = BATCH_MUTATIONS,
        durable: bool = True,
        crash_point: CrashPoint = no_crash,
    ) -> None:
        """`path`: a file, or `phone.store.MEMORY`. `bytes_client` reaches S3 where `client` is not a plain one (tests)."""
        self.store: Final = Store(path, durable=durable, crash_point=crash_point)
        self.clock: Final = clock or SystemClock()
        self.account: Final = Account(self.store, client)
        self._app = app
        self._contract = contract
        self._lock = asyncio.Lock()
        self._syncer = Syncer(
            self.store,
            self.account,
            self.clock,
            contract=contract,
            limits=limits,
            pacing=pacing,
            mutations_max=mutations_max,
        )
        self._uploader = Uploader(self.store, self.account, bytes_client or client, pacing)
        self._recover()

    def _recover(self) -> None:
        """Finish what a kill interrupted: frames that had arrived, files of photos let go."""
        with contextlib.suppress(UnknownKeyError, ProtocolError):  # the next sync asks for the key, or for all of it
            drain(self.store)
        photos.delete_unnamed(self.store)

    def close(self) -> None:
        self.store.close()

    # ------------------------------------------------------------------------------------------ with signal

    async def enrol(self, phone: str, password: str, name: str = "", *, new_password: str | None = None, code: str = "") -> None:
        """Log in with the phone number (see `Account.enrol`). Raises phone.wire.RefusedError or OfflineError."""
        await self.account.enrol(phone, password, name, new_password=new_password, code=code)
        await self.account.fetch_units()

    async def sync(self) -> Synced:
        """Exchange until nothing is left to do, or say why not. Never raises for a bad connection or a busy server."""
        async with self._lock, self.store.turn(SYNC):
            synced = await self._syncer.sync()
            if fetch_meta(self.store.db, "wipe") and is_last_word(synced):
                if is_last_word(await self._uploader.upload()):
                    erase(self.store)
                    return msgspec.structs.replace(synced, ended=Ended.WIPED)
            elif synced.ended is not Ended.WIPED:
                photos.delete_received(self.store)
            return synced

    async def upload_photos(self) -> Uploaded:
        """Send the bytes of announced photos, going on where the last attempt broke off."""
        async with self._lock, self.store.turn(SYNC):
            uploaded = await self._uploader.upload()
            self._say_what_is_lost()
            return uploaded

    def _say_what_is_lost(self) -> None:
        """The record that waits for a picture says that this phone has lost it; or has it again, on a card that was put back."""
        known = {(one.county, one.sha256): one.state == photos.LOST for one in self.photos()}
        if fetch_meta(self.store.db, "lost") is None and not any(known.values()):
            return
        for view in self.records("photo"):
            is_lost = known.get((view.county, str(view.body.get("sha256"))))
            if is_lost is not None and is_lost is not view.body.get("lost", False):
                self.edit(view.id, {"lost": is_lost})
        with self.store.transaction("lost photos told") as db:
            set_meta(db, "lost", 1 if any(known.values()) else None)

    # ------------------------------------------------------------------------------------------ entering work

    def create(self, kind: str, county: County | None, body: Mapping[str, Any] | msgspec.Struct) -> RecordId:
        """A new record. `county` None: that of `body.unit`, as told at enrolment."""
        raw = without_nul(msgspec.json.encode(body))
        if county is None:
            unit = msgspec.json.decode(raw, type=dict[str, Any]).get("unit")
            county = self.account.county_of(str(unit))
            if county is None:
                raise ValueError(f"the county of unit {unit} is not known here")
        record = uuid7()
        self._enter(county, record, kind, CREATE, None, body=raw)
        return record

    def edit(self, record: RecordId, values: Mapping[str, Any], *, seen: RecordView | None = None) -> MutationId | None:
        """Give fields new values; `answers.<item>` is one key of a map. None: nothing differs from what was seen.

        `seen` is the view the person had before them when they began to type; by default the present one.
        """
        view = seen or self._seen(record)
        fields = {name: (get_field(view.body, name), new) for name, new in as_json(values).items()}
        changed = {name: pair for name, pair in fields.items() if pair[0] != pair[1]}
        if not changed:
            return None
        return self._enter(view.county, record, view.kind, EDIT, view.base, fields=changed)

    def delete(self, record: RecordId, *, seen: RecordView | None = None) -> MutationId:
        view = seen or self._seen(record)
        return self._enter(view.county, record, view.kind, DELETE, view.base)

    def command(
        self,
        record: RecordId,
        op: str,
        values: Mapping[str, Any] | None = None,
        *,
        args: Mapping[str, Any] | None = None,
        shows: Mapping[str, Any] | None = None,
        seen: RecordView | None = None,
    ) -> MutationId:
        """A named command: `values` are fields it sets, `args` what is no field.

        `shows`: fields as the screen should have them meanwhile (the state it leads to). The server is not told.
        """
        view = seen or self._seen(record)
        fields = {name: (get_field(view.body, name), new) for name, new in as_json(values or {}).items()}
        return self._enter(view.county, record, view.kind, op, view.base, fields=fields, args=args, shows=shows)

    def add_photo(
        self,
        parent: RecordId,
        content: bytes,
        *,
        media_type: str = "image/jpeg",
        item: str | None = None,
        purpose: str = "evidence",
        position: Position | None = None,
        caption: str = "",
    ) -> RecordId:
        """Keep the bytes and announce them: a `photo` record below `parent`. OSError: the phone is full, and nothing was kept."""
        view = self._seen(parent)
        if not content:
            raise ValueError("a photo without bytes: take it again")
        record = uuid7()
        with self.store.lock(photos.SHUTTER):
            body = {
                "parent": parent,
                "sha256": photos.save_bytes(self.store, content),
                "bytes": len(content),
                "media_type": media_type,
                "item": item,
                "purpose": purpose,
                "taken": self.clock.read(),
                "taken_by": self.account.person,
                "position": position,
                "caption": caption,
            }
            try:
                self._enter(view.county, record, "photo", CREATE, None, body=without_nul(msgspec.json.encode(body)), photo=content)
            except (ValueError, sqlite3.Error):
                photos.sweep(self.store)
                raise
        return record

    def _enter(
        self,
        county: County,
        record: RecordId,
        kind: str,
        op: str,
        base: Version | MutationId | None,
        *,
        body: bytes | None = None,
        fields: Mapping[str, tuple[Any, Any]] | None = None,
        args: Mapping[str, Any] | None = None,
        shows: Mapping[str, Any] | None = None,
        photo: bytes | None = None,
    ) -> MutationId:
        """One mutation, with its number and its photo, in one transaction."""
        with self.store.transaction(f"{op} entered") as db:
            mutation = Mutation(
                id=uuid7(),
                n=outbox.take_number(db, county),
                kind=kind,
                record=record,
                op=op,
                at=self.clock.read(),
                contract=self._contract,
                app=self._app,
                base=base,
                body=UNSET if body is None else Raw(body),
                fields=dict(fields or {}),
                args=as_json(args or {}),
            )
            outbox.insert_mutation(db, county, mutation, as_json(shows or {}))
            if photo is not None and body is not None:
                announced = msgspec.json.decode(body, type=_Announced)
                photos.insert_photo(db, self.store, county, mutation.n, announced.sha256, announced.media_type, photo)
        return mutation.id

    # ------------------------------------------------------------------------------------------ looking

    def view(self, record: RecordId) -> RecordView | None:
        """None: not here, or deleted by its own creator before anybody saw it."""
        county = copies.locate(self.store.db, record)
        return None if county is None else self._view(county, record)

    def records(self, kind: str) -> list[RecordView]:
        """All of a kind that the person can see, own creations included, oldest first."""
        views = (self._view(*place) for place in copies.fetch_places(self.store.db, kind))
        return [view for view in views if view is not None and not view.deleted]

    def children(self, parent: RecordId, kind: str = "photo") -> list[RecordView]:
        """What hangs below a record, by its copy's parent or by what was announced here."""
        field = KINDS[kind].parent or "parent"
        return [view for view in self.records(kind) if view.parent == parent or view.body.get(field) == str(parent)]

    def _view(self, county: County, record: RecordId) -> RecordView | None:
        db = self.store.db
        copy, own = copies.fetch_copy(db, county, record), outbox.fetch_overlaid(db, county, record)
        shown = overlay(copy.body if copy else None, own)
        if shown.body is None:
            return None
        return RecordView(
            id=record,
            county=county,
            kind=copy.kind if copy else own[0].mutation.kind,
            body=shown.body,
            version=copy.version if copy else None,
            base=own[-1].mutation.id if own else copy.version if copy else own[-1].mutation.id,
            parent=copy.parent if copy else None,
            deleted=shown.deleted,
            unsent=tuple(p.n for p in own if p.outcome is None),
            waiting=tuple(p.n for p in own if p.outcome is not None and p.outcome.is_held),
        )

    def _seen(self, record: RecordId) -> RecordView:
        view = self.view(record)
        if view is None:
            raise ValueError(f"record {record} is not on this phone")
        return view

    def waiting(self) -> list[outbox.Pending]:
        """Own mutations on a desk: quarantined or deferred."""
        return outbox.fetch_with_outcome(self.store.db, Outcome.QUARANTINED, Outcome.DEFERRED)

    def refused(self) -> list[outbox.Pending]:
        """Own mutations that were rejected, with reason and detail."""
        return outbox.fetch_with_outcome(self.store.db, Outcome.REJECTED)

    def disputed(self) -> list[outbox.Pending]:
        """Own mutations with a value that met another and waits for the supervisor."""
        return outbox.fetch_with_outcome(self.store.db, Outcome.CONFLICT)

    def conflicts(self) -> list[RecordView]:
        """The open conflicts in this person's scope, for a supervisor to settle."""
        return [view for view in self.records("conflict") if view.body.get("state") == "open"]

    def find(self, mutation: MutationId) -> outbox.Pending | None:
        """What became of one mutation."""
        return outbox.fetch_mutation(self.store.db, mutation)

    def unsent(self) -> int:
        """How many mutations may still be only here."""
        return outbox.count_unsent(self.store.db)

    def photos(self) -> list[photos.HeldPhoto]:
        return photos.fetch_photos(self.store.db)

    def streams(self) -> list[copies.Stream]:
        return copies.fetch_streams(self.store.db)

    def digest(self, stream: str) -> tuple[int, int]:
        """(count, digest) of the copies held, to be compared with the stream's head."""
        return copies.sum_stream(self.store.db, stream)


def is_last_word(end: Synced | Uploaded) -> bool:
    """Whether nothing more can be handed in under a wipe order. A refusal ends it only in the server's own words: a proxy's
    page, a lapsed token or an answer that does not verify says nothing about what this phone may still hand in.
    """
    return end.ended in (Ended.COMPLETE, Ended.STALLED) or (end.ended is Ended.REFUSED and end.code == DEVICE_REVOKED)


class _Announced(msgspec.Struct):
    sha256: str
    media_type: str


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON values, as they will be compared and sent."""
    return msgspec.json.decode(without_nul(msgspec.json.encode(dict(values))))


def without_nul(raw: bytes) -> bytes:
    """NUL comes along with what is pasted from Word or a PDF; nobody sees it, and no database keeps it."""
    return msgspec.json.encode(_without_nul(msgspec.json.decode(raw))) if b"\\u0000" in raw else raw


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(one) for one in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(one) for key, one in value.items()}
    return value
