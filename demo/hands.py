"""A person with a phone: the reference phone with its own store and clock, a radio that loses things, and the notebook beside it.

Everything a person types goes through here, so that the notebook has it before the phone does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from contracts.ids import MutationId, RecordId
from contracts.kind import Position
from demo.hours import StoryTime
from demo.notebook import Notebook
from demo.people import COUNTY, Member
from demo.pictures import photo
from demo.radio import Radio, Signal
from phone.clock import SimulatedClock
from phone.exchange import Ended, Pacing, Synced
from phone.phone import Phone, RecordView
from phone.uploads import Uploaded

PATIENCE_S: Final = 30.0
DAY_MS: Final = 86_400_000


class Hand:
    """`mutations`: everything that was entered, in order, for the account."""

    def __init__(self, member: Member, folder: Path, url: str, time: StoryTime, notebook: Notebook, *, days_ahead: int = 0) -> None:
        self.member = member
        self.path = folder / f"{member.key}.sqlite"
        self.radio = Radio(member.key)
        self.clock = SimulatedClock(lambda: time.ms, offset_ms=days_ahead * DAY_MS)
        self.notebook = notebook
        self.time = time
        self.made: list[MutationId] = []
        self.what: dict[RecordId, str] = {}  # record -> how people call it
        self._client = httpx.AsyncClient(transport=self.radio, base_url=url, timeout=PATIENCE_S)
        self.phone = self._opened()

    def _opened(self) -> Phone:
        return Phone(self.path, self._client, clock=self.clock, pacing=Pacing(patience_s=PATIENCE_S))

    @property
    def name(self) -> str:
        return self.member.name

    def reopen(self) -> None:
        """The phone is switched on again: the same file, another clock session."""
        self.phone.close()
        self.clock.reboot()
        self.phone = self._opened()

    async def close(self) -> None:
        self.phone.close()
        await self._client.aclose()

    # ------------------------------------------------------------------------------------------ typing

    def create(self, kind: str, what: str, body: Mapping[str, Any]) -> RecordId:
        record = self.phone.create(kind, COUNTY, body)
        self.what[record] = what
        values = {f"{k}.{item}": one for k, v in body.items() if k == "answers" for item, one in v.items()}
        self._noted(record, what, kind, "create", {**{k: v for k, v in body.items() if k != "answers"}, **values}, None)
        return record

    def edit(self, record: RecordId, what: str, values: Mapping[str, Any]) -> MutationId | None:
        kind = self.seen(record).kind
        made = self.phone.edit(record, values)
        self._noted(record, what, kind, "edit", values, made)
        return made

    def delete(self, record: RecordId, what: str) -> MutationId:
        kind = self.seen(record).kind
        made = self.phone.delete(record)
        self._noted(record, what, kind, "delete", {}, made)
        return made

    def command(
        self,
        record: RecordId,
        what: str,
        op: str,
        values: Mapping[str, Any] | None = None,
        *,
        args: Mapping[str, Any] | None = None,
        shows: Mapping[str, Any] | None = None,
    ) -> MutationId:
        kind = self.seen(record).kind
        made = self.phone.command(record, op, values, args=args, shows=shows)
        typed = {**(values or {}), **{f"args.{name}": value for name, value in (args or {}).items()}}
        self._noted(record, what, kind, op, typed, made)
        return made

    def take_photo(
        self,
        parent: RecordId,
        scene: str,
        caption: str,
        place: Position,
        *,
        item: str | None = None,
        purpose: str = "evidence",
        large: bool = False,
    ) -> RecordId:
        seed = f"{self.member.key}/{caption}"
        content = photo(scene, seed, wall_ms=self.clock.read().wall_ms, lat=place.lat, lng=place.lng, large=large)
        self.notebook.note_photo(self.member.key, str(parent), content, caption)
        record = self.phone.add_photo(parent, content, item=item, purpose=purpose, position=place, caption=caption)
        self._noted(record, f"照片「{caption}」", "photo", "create", {"caption": caption}, None)
        return record

    def _noted(self, record: RecordId, what: str, kind: str, op: str, values: Mapping[str, Any], made: MutationId | None) -> None:
        self.notebook.note(self.member.key, self.time.ms, str(record), what, kind, op, values)
        if made is not None:
            self.made.append(made)

    def seen(self, record: RecordId) -> RecordView:
        view = self.phone.view(record)
        assert view is not None, f"{record} is not on the phone of {self.name}"
        return view

    # ------------------------------------------------------------------------------------------ signal

    async def sync(self, signal: Signal | None = None) -> Synced:
        """One attempt. `signal`: what there is for this attempt; afterwards none again."""
        return await self._with(signal, self.phone.sync)

    async def upload(self, signal: Signal | None = None) -> Uploaded:
        return await self._with(signal, self.phone.upload_photos)

    async def _with(self, signal: Signal | None, attempt: Any) -> Any:
        before = self.radio.signal
        self.radio.signal = signal or before
        try:
            return await attempt()
        finally:
            self.radio.signal = before

    async def sync_fully(self, signal: Signal | None = None, tries_max: int = 8) -> Synced:
        """Until nothing is left; what a person does by pressing the button again."""
        synced = await self.sync(signal)
        for _ in range(tries_max):
            if synced.ended is Ended.COMPLETE:
                return synced
            synced = await self.sync(signal)
        raise RuntimeError(f"{self.name}'s phone does not get through: {synced}")
